//! The access review, over the API. One is made at a time, apart from the threads that answer: it reads the whole inventory.

use tokio::runtime::Handle;

use super::Call;
use crate::control::Fault;
use crate::control::reviews::{self, Attestation, Done, Question};
use crate::review::Reviewed;

pub async fn review(call: Call, question: Question) -> Result<Reviewed, Fault> {
    make(&call, &question).await
}

/// The review, for whoever shows it.
pub async fn make(call: &Call, question: &Question) -> Result<Reviewed, Fault> {
    let (own, question) = (call.clone(), question.clone());
    apart(call, async move { reviews::review(own.store()?, &own.world.config, &question, own.now).await }).await
}

pub async fn attest(call: Call, asked: Attestation) -> Result<Done, Fault> {
    let own = call.clone();
    let attested = async move {
        let witness = own.recorder(asked.by.as_deref())?;
        reviews::attest(&own.hand(&witness)?, &asked).await
    };
    apart(&call, attested).await
}

async fn apart<T: Send + 'static>(call: &Call, work: impl Future<Output = Result<T, Fault>> + Send + 'static) -> Result<T, Fault> {
    let ended = || Fault::Busy("the review was ended".into());
    let turn = call.api.reviews.clone().acquire_owned().await.map_err(|_| ended())?;
    let runtime = Handle::current();
    let done = tokio::task::spawn_blocking(move || {
        let done = runtime.block_on(work);
        drop(turn);
        done
    });
    done.await.map_err(|_| ended())?
}
