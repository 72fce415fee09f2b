//! The tools of pinned upstreams, over the API. The servers are asked each time, of one upstream at a time.

use tokio::sync::OwnedSemaphorePermit;

use super::Call;
use crate::control::Fault;
use crate::control::tools::{Approval, Done, Look, Question, Shown, pinned};

pub async fn compare(call: Call, question: Question) -> Result<Shown, Fault> {
    let (look, _turn) = look(&call, &question.upstream).await?;
    Ok(look.shown())
}

pub async fn approve(call: Call, asked: Approval) -> Result<Done, Fault> {
    let witness = call.recorder(asked.by.as_deref())?;
    let (look, _turn) = look(&call, &asked.upstream).await?;
    look.approve(&asked, &witness.actor, call.now, &witness).await
}

async fn look<'a>(call: &'a Call, upstream: &str) -> Result<(Look<'a>, OwnedSemaphorePermit), Fault> {
    let turn = call.api.looks.clone().acquire_owned().await.map_err(|_| Fault::Busy("nobody looks any more".into()))?;
    let route = pinned(&call.world.config, upstream)?;
    let own = call.world.upstream_tokens.own(route).await;
    let own = own.map_err(|error| Fault::Busy(format!("the credential of `{upstream}` cannot be obtained: {error}")))?;
    Ok((Look::at(route, own.as_ref()).await?, turn))
}
