//! The keys of issuers, over the API.

use super::Call;
use super::audit::Nothing;
use crate::control::Fault;
use crate::control::keys::{self, Decision, Listed, Listing, Outcome, Versions};

pub async fn list(call: Call, what: Listing) -> Result<Listed, Fault> {
    keys::list(call.store()?, &call.world.config, &what).await
}

pub async fn versions(call: Call, _: Nothing) -> Result<Versions, Fault> {
    keys::versions(call.store()?).await
}

pub async fn approve(call: Call, asked: Decision) -> Result<Outcome, Fault> {
    let witness = call.recorder(asked.by.as_deref())?;
    keys::approve(&call.hand(&witness)?, &asked).await
}

pub async fn reject(call: Call, asked: Decision) -> Result<Outcome, Fault> {
    let witness = call.recorder(asked.by.as_deref())?;
    keys::reject(&call.hand(&witness)?, &asked).await
}
