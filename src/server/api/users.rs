//! Accounts, over the API.

use super::Call;
use super::audit::Nothing;
use crate::control::Fault;
use crate::control::users::{self, Change, Groups, Invite, Listed, Offered, Outcome, Removal, Which, WithUse};

pub async fn list(call: Call, _: Nothing) -> Result<Listed, Fault> {
    users::list(call.store()?, &call.world.config).await
}

pub async fn show(call: Call, which: Which) -> Result<WithUse, Fault> {
    users::show(call.store()?, &call.world.config, &which, call.now).await
}

pub async fn invite(call: Call, asked: Invite) -> Result<Offered, Fault> {
    let witness = call.recorder(asked.by.as_deref())?;
    users::invite(&call.hand(&witness)?, &asked).await
}

pub async fn reset(call: Call, asked: Change) -> Result<Offered, Fault> {
    let witness = call.recorder(asked.by.as_deref())?;
    users::reset(&call.hand(&witness)?, &asked).await
}

pub async fn disable(call: Call, asked: Change) -> Result<Outcome, Fault> {
    let witness = call.recorder(asked.by.as_deref())?;
    users::disable(&call.hand(&witness)?, &asked).await
}

pub async fn enable(call: Call, asked: Change) -> Result<Outcome, Fault> {
    let witness = call.recorder(asked.by.as_deref())?;
    users::enable(&call.hand(&witness)?, &asked).await
}

pub async fn end(call: Call, asked: Change) -> Result<Outcome, Fault> {
    let witness = call.recorder(asked.by.as_deref())?;
    users::end(&call.hand(&witness)?, &asked).await
}

pub async fn regroup(call: Call, asked: Groups) -> Result<Outcome, Fault> {
    let witness = call.recorder(asked.by.as_deref())?;
    users::regroup(&call.hand(&witness)?, &asked).await
}

pub async fn remove_passkey(call: Call, asked: Removal) -> Result<Outcome, Fault> {
    let witness = call.recorder(asked.by.as_deref())?;
    users::remove_passkey(&call.hand(&witness)?, &asked).await
}
