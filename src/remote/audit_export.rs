//! Where do copies of audit lines go? To an OTLP collector over HTTP, from a thread of their own.
//!
//! The queue is bounded in bytes: what finds no room, and what a collector does not take, is lost there and counted. Knows
//! nothing of what a line says.

use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

use super::{BuildError, collector};
use crate::config::Traces;
use crate::trace::logs;

/// Batches that wait; their bytes are bounded where they come from.
const QUEUE: usize = 1_024;
/// Of one export, from the name lookup to the answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a collector that did not answer is left alone.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the last lines are tried when the process ends.
const LAST: Duration = Duration::from_secs(2);

/// Batches of whole lines on their way.
pub struct Export {
    client: reqwest::Client,
    endpoint: String,
    instance: String,
    queue: mpsc::Receiver<Vec<u8>>,
}

impl Export {
    /// The way in, and what empties it when [`Self::run`] is called.
    ///
    /// # Errors
    /// Where no client can be made, as with an unusable TLS setup.
    pub fn new(traces: &Traces, instance: String) -> Result<(mpsc::Sender<Vec<u8>>, Self), BuildError> {
        let client = collector::client(traces, TIMEOUT)?;
        let (batches, queue) = mpsc::channel(QUEUE);
        Ok((batches, Self { client, endpoint: traces.endpoint.clone(), instance, queue }))
    }

    /// Sends until every sender is gone. `done` is told of each batch, and whether the collector took it.
    pub async fn run(mut self, done: impl Fn(&[u8], bool)) {
        let mut failing = false;
        while let Some(batch) = self.queue.recv().await {
            let ending = self.queue.is_closed();
            let wait = if ending { LAST } else { TIMEOUT };
            let taken = tokio::time::timeout(wait, self.send(&batch)).await.unwrap_or(false);
            done(&batch, taken);
            match (taken, failing) {
                (false, false) => tracing::warn!("audit lines are not taken by the collector"),
                (true, true) => tracing::info!("audit lines are taken by the collector again"),
                _ => {}
            }
            failing = !taken;
            if failing && ending {
                // What is left would find the same.
                while let Some(batch) = self.queue.recv().await {
                    done(&batch, false);
                }
            } else if failing {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn send(&self, lines: &[u8]) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let body = logs::export(lines, u64::try_from(now.as_nanos()).unwrap_or_default(), &self.instance);
        self.client.post(&self.endpoint).body(body).send().await.is_ok_and(|answer| answer.status().is_success())
    }
}
