//! Writes down what was counted in memory, beside the requests: none of them waits for it.
//!
//! What cannot be written waits for the next time, within a bound. A process that is killed loses the counts of the last seconds.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

use super::observed::ROOM;
use super::{Error, Store};
use crate::governance::Observed;
use crate::governance::observed::Waiting;

/// Between two writings: at least so long, and so many times as long as the last one took.
const PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const SHARE: u32 = 20;
/// Facts in one transaction: whoever revokes something meanwhile waits for one of them at most.
const PAGE: usize = 1_024;
/// Between two looks whether there is too much; sooner after so many facts.
const TRIM: Duration = Duration::from_secs(60);
const MANY: usize = 10_000;
/// Rows that fall out in one transaction.
const FALLEN: i64 = 1_000;

/// Takes what was counted from memory to the store.
pub struct Observing {
    store: Store,
    observed: Arc<Observed>,
    waiting: Waiting,
    /// Facts written since there was a look whether there is too much.
    written: usize,
}

impl Observing {
    pub fn new(store: Store, observed: Arc<Observed>) -> Self {
        Self { store, observed, waiting: Waiting::default(), written: 0 }
    }

    /// Goes on until it is told to stop, then writes once more.
    pub async fn follow(mut self, mut stop: oneshot::Receiver<()>) {
        let (mut pause, mut trimmed) = (PAUSE, Instant::now());
        loop {
            let stopped = tokio::time::timeout(pause, &mut stop).await.is_ok();
            let begun = Instant::now();
            if let Err(error) = self.write().await {
                tracing::warn!(%error, "what was used cannot be written down yet");
            }
            if stopped {
                return;
            }
            if self.written >= MANY || (self.written > 0 && trimmed.elapsed() >= TRIM) {
                self.trim().await;
                trimmed = Instant::now();
            }
            pause = begun.elapsed().saturating_mul(SHARE).clamp(PAUSE, LONGEST_PAUSE);
        }
    }

    /// Writes all that was counted until now.
    ///
    /// # Errors
    /// The rest waits for the next time.
    pub async fn write(&mut self) -> Result<(), Error> {
        self.observed.drain(&mut self.waiting);
        while !self.waiting.is_empty() {
            let facts = self.waiting.first(PAGE);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            self.store.add_observed(&facts, now).await?;
            self.waiting.written(&facts);
            self.written += facts.len();
        }
        let gaps = self.observed.take_gaps();
        if gaps.is_empty() {
            return Ok(());
        }
        let written = self.store.add_gaps(&gaps).await;
        if written.is_err() {
            self.observed.keep_gaps(gaps);
        }
        written
    }

    async fn trim(&mut self) {
        self.written = 0;
        loop {
            match self.store.trim_observed(ROOM, FALLEN).await {
                Ok(0) => return,
                Ok(fallen) => self.observed.fell(fallen),
                Err(error) => {
                    tracing::warn!(%error, "what was used longest ago cannot be forgotten yet");
                    return;
                }
            }
        }
    }
}
