//! Where do spans go? To an OTLP collector over HTTP, in batches, from a task that no request waits for.
//!
//! The queue is bounded: what finds no room, and what a collector does not take, is dropped and counted. Nothing is
//! sent twice. Knows nothing of what the spans say.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::BuildError;
use crate::config::Traces;
use crate::trace::{Span, otlp};

/// Requests whose spans wait for the collector.
const QUEUE: usize = 4_096;
/// Requests that are sent together.
const BATCH: usize = 512;
/// How long they gather.
const GATHER: Duration = Duration::from_secs(1);
/// Of one export, from the name lookup to the answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a collector that did not answer is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// The way to the collector. Cloning shares it; the task ends when every clone is gone.
#[derive(Clone)]
pub struct Collector {
    queue: mpsc::Sender<Item>,
    ratio: f64,
}

enum Item {
    Spans(Vec<Span>),
    /// Send everything that came before, then drop the sender.
    Flush(oneshot::Sender<()>),
}

/// What speaks OTLP over HTTP to a collector.
pub(super) fn client(collector: &Traces, timeout: Duration) -> Result<reqwest::Client, BuildError> {
    let mut headers = collector.headers.clone();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("doorward/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(timeout);
    if let Some(authorities) = &collector.ca {
        let roots: Result<Vec<_>, _> = authorities.iter().map(|root| reqwest::Certificate::from_der(root)).collect();
        builder = builder.tls_certs_only(roots.map_err(|_| BuildError::Client)?);
    }
    builder.build().map_err(|_| BuildError::Client)
}

impl Collector {
    /// Starts the sending task on the current runtime. `dropped` is told how many requests' spans were lost.
    ///
    /// # Errors
    /// Where no client can be made, as with an unusable TLS setup.
    pub fn start(traces: &Traces, instance: String, dropped: impl Fn(u64) + Send + 'static) -> Result<Self, BuildError> {
        let client = client(traces, TIMEOUT)?;
        let (queue, items) = mpsc::channel(QUEUE);
        let sender = Sender { client, endpoint: traces.endpoint.clone(), instance, failing: false };
        tokio::spawn(run(sender, items, dropped));
        Ok(Self { queue, ratio: traces.ratio })
    }

    /// The share of requests without a caller's trace that are sampled, from 0 to 1.
    pub fn ratio(&self) -> f64 {
        self.ratio
    }

    /// Hands the spans of one request over, without waiting. `false` where there is no room.
    pub fn offer(&self, spans: Vec<Span>) -> bool {
        self.queue.try_send(Item::Spans(spans)).is_ok()
    }

    /// Returns when everything offered so far was sent or dropped, or `timeout` has passed.
    pub async fn flush(&self, timeout: Duration) {
        let (done, wait) = oneshot::channel();
        let flushed = async {
            if self.queue.send(Item::Flush(done)).await.is_ok() {
                let _ = wait.await;
            }
        };
        let _ = tokio::time::timeout(timeout, flushed).await;
    }
}

async fn run(mut sender: Sender, mut items: mpsc::Receiver<Item>, dropped: impl Fn(u64)) {
    while let Some(first) = items.recv().await {
        let mut batch = Batch::default();
        let until = Instant::now() + GATHER;
        let mut next = Some(first);
        while let Some(item) = next {
            if batch.takes(item) {
                break;
            }
            next = tokio::time::timeout_at(until, items.recv()).await.ok().flatten();
        }
        if batch.requests > 0 && !sender.send(&batch.spans).await {
            dropped(batch.requests);
            if batch.flush.is_none() {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

#[derive(Default)]
struct Batch {
    spans: Vec<Span>,
    requests: u64,
    flush: Option<oneshot::Sender<()>>,
}

impl Batch {
    /// Takes one thing more; `true` where it is time to send.
    fn takes(&mut self, item: Item) -> bool {
        match item {
            Item::Spans(spans) => {
                self.spans.extend(spans);
                self.requests += 1;
                self.requests >= BATCH as u64
            }
            Item::Flush(done) => {
                self.flush = Some(done);
                true
            }
        }
    }
}

struct Sender {
    client: reqwest::Client,
    endpoint: String,
    instance: String,
    failing: bool,
}

impl Sender {
    async fn send(&mut self, spans: &[Span]) -> bool {
        let answer = self.client.post(&self.endpoint).body(otlp::export(spans, &self.instance)).send().await;
        let fault = match answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(answer.status().to_string()),
            Err(error) if error.is_timeout() => Some("no answer in time".to_owned()),
            Err(_) => Some("cannot be reached".to_owned()),
        };
        let failing = fault.is_some();
        match (&fault, self.failing) {
            (Some(fault), false) => tracing::warn!(fault, "traces are not taken by the collector"),
            (None, true) => tracing::info!("traces are taken by the collector again"),
            _ => {}
        }
        self.failing = failing;
        !failing
    }
}
