//! What people let clients do, over the API.

use super::Call;
use crate::control::Fault;
use crate::control::given::{self, Done, Ending, Listed, Listing};

pub async fn list(call: Call, what: Listing) -> Result<Listed, Fault> {
    given::list(call.store()?, &call.world.config, &what, call.now).await
}

pub async fn end(call: Call, asked: Ending) -> Result<Done, Fault> {
    let witness = call.recorder(asked.by.as_deref())?;
    given::end(&call.hand(&witness)?, &asked).await
}
