//! Is the person still there? Asked at each refresh.

use super::{Call, Fault, Server};
use crate::oauth::Person;
use crate::store::authorization::Grant;

impl Server {
    /// The person as the login says now; none where it says that the person is gone, and the grant with it.
    pub(super) async fn still_there(&self, _call: &Call<'_>, _grant: &Grant, person: Person) -> Result<Option<Person>, Fault> {
        Ok(Some(person))
    }
}
