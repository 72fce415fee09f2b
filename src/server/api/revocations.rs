//! Revocations, over the API.

use std::time::Duration;

use super::Call;
use crate::control::Fault;
use crate::control::revocations::{self, Confirmations, Done, Listed, Listing, Question, Wanted};

/// The longest that an answer waits for replicas.
const LONGEST: Duration = Duration::from_secs(60);

pub async fn list(call: Call, what: Listing) -> Result<Listed, Fault> {
    revocations::list(call.store()?, &what).await
}

pub async fn revoke(call: Call, wanted: Wanted) -> Result<Done, Fault> {
    let wait = wait(wanted.wait.as_deref())?;
    let bounds = call.world.config.store.as_ref().map(|store| store.bounds).ok_or(Fault::NoStore)?;
    let witness = call.recorder(wanted.by.as_deref())?;
    let hand = call.hand(&witness)?;
    let revoked = revocations::revoke(&hand, &bounds, &wanted).await?;
    let last = revoked.last().map_or(0, |last| last.seq);
    let confirmations = match wait {
        Some(wait) => Some(revocations::confirmations(hand.store, last, wait).await?),
        None => None,
    };
    Ok(Done { revoked, confirmations })
}

pub async fn replicas(call: Call, question: Question) -> Result<Confirmations, Fault> {
    let wait = wait(question.wait.as_deref())?.unwrap_or_default();
    let store = call.store()?;
    let seq = match question.seq {
        Some(seq) => seq,
        None => store.head().await?,
    };
    revocations::confirmations(store, seq, wait).await
}

fn wait(text: Option<&str>) -> Result<Option<Duration>, Fault> {
    let Some(text) = text else { return Ok(None) };
    match humantime::parse_duration(text) {
        Ok(wait) if wait <= LONGEST => Ok(Some(wait)),
        _ => Err(Fault::Invalid(format!("`wait` is a time such as `30s`, of at most {} seconds", LONGEST.as_secs()))),
    }
}
