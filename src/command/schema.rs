//! `doorward schema`: the JSON Schema of the configuration, for editors.

use super::{Failure, say};
use crate::config;

pub fn run() -> Result<(), Failure> {
    say(&config::schema())
}
