//! Clients, over the API.

use super::Call;
use crate::control::Fault;
use crate::control::clients::{self, Approval, Decision, Listed, Listing, Outcome, Ownership, Which, WithHistory};

pub async fn list(call: Call, what: Listing) -> Result<Listed, Fault> {
    clients::list(call.store().ok(), &call.world.config, &what).await
}

pub async fn show(call: Call, which: Which) -> Result<WithHistory, Fault> {
    clients::show(call.store().ok(), &call.world.config, &which, call.now).await
}

pub async fn approve(call: Call, asked: Approval) -> Result<Outcome, Fault> {
    let witness = call.recorder(asked.by.as_deref())?;
    clients::approve(&call.hand(&witness)?, &asked).await
}

pub async fn own(call: Call, asked: Ownership) -> Result<Outcome, Fault> {
    let witness = call.recorder(asked.by.as_deref())?;
    clients::own(&call.hand(&witness)?, &asked).await
}

pub async fn suspend(call: Call, asked: Decision) -> Result<Outcome, Fault> {
    let witness = call.recorder(asked.by.as_deref())?;
    clients::suspend(&call.hand(&witness)?, &asked).await
}

pub async fn resume(call: Call, asked: Decision) -> Result<Outcome, Fault> {
    let witness = call.recorder(asked.by.as_deref())?;
    clients::resume(&call.hand(&witness)?, &asked).await
}

pub async fn retire(call: Call, asked: Decision) -> Result<Outcome, Fault> {
    let witness = call.recorder(asked.by.as_deref())?;
    clients::retire(&call.hand(&witness)?, &asked).await
}
