//! Is this token live, says its issuer? One question for all who wait for it, few at a time, each bounded.
//!
//! What was answered with yes is remembered by the caller, for as long as its rules allow; what was
//! refused is remembered here, shortly and apart, so that made-up tokens push no good one out.
//! Knows nothing of rules; how a question is put is the oracle's affair.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use quick_cache::sync::Cache;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};
use url::{Url, form_urlencoded};

use super::discovery::Remote;
use super::http::{Http, permitted};
use super::valve::{Outcome, Pass, Valve};
use super::{FetchError, Surfaces, client};
use crate::config::{Endpoint, Introspection, Issuer};
use crate::token::{Answer, AnswerRules, Digest, Error, Token};

/// How long a refusal is repeated without asking again, at most.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// Refusals that are remembered, and tokens that were good once.
const REFUSALS: usize = 10_000;
const KNOWN: usize = 20_000;

/// Questions at the issuer at one time, and those that wait for their turn besides.
const AT_ONCE: usize = 64;
const IN_ALL: usize = 256;

/// Where questions go. Bounded in time by the caller.
pub(super) trait Oracle: Send + Sync {
    fn ask<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Answer, FetchError>>;
}

/// An answer, and when the question was asked that it answers.
#[derive(Clone, Debug)]
pub struct Told {
    pub answer: Arc<Answer>,
    pub asked: SystemTime,
}

type Landing = Result<Told, Error>;

/// One issuer that is asked about tokens.
pub struct Introspector {
    name: String,
    oracle: Box<dyn Oracle>,
    timeout: Duration,
    answers: AnswerRules,
    only: bool,
    refusals: Cache<Digest, (Error, Instant)>,
    known: Cache<Digest, ()>,
    flights: Mutex<HashMap<Digest, watch::Receiver<Option<Landing>>>>,
    turns: Semaphore,
    valve: Mutex<Valve>,
    counts: Arc<Counts>,
    /// The log has told that the issuer would not answer about a token.
    odd_told: AtomicBool,
}

#[derive(Debug, Default)]
struct Counts {
    ok: AtomicU64,
    inactive: AtomicU64,
    cached: AtomicU64,
    failed: AtomicU64,
    refused_open: AtomicU64,
    refused_busy: AtomicU64,
}

impl Introspector {
    /// `old` is the same issuer's before a reload: its counts go on.
    pub(super) fn over_http(http: Http, surfaces: &Arc<Surfaces>, issuer: &Issuer, asked: &Introspection, old: Option<&Self>) -> Arc<Self> {
        let oracle = Box::new(Web::new(http, surfaces, issuer, asked));
        Self::new(&issuer.rules.name, oracle, asked, old.map(|old| old.counts.clone()).unwrap_or_default())
    }

    fn new(name: &str, oracle: Box<dyn Oracle>, asked: &Introspection, counts: Arc<Counts>) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            oracle,
            timeout: asked.timeout,
            answers: asked.answers,
            only: asked.only,
            refusals: Cache::new(REFUSALS),
            known: Cache::new(KNOWN),
            flights: Mutex::default(),
            turns: Semaphore::new(AT_ONCE),
            valve: Mutex::new(Valve::new()),
            counts,
            odd_told: AtomicBool::new(false),
        })
    }

    /// What is demanded of its answers.
    pub fn answers(&self) -> AnswerRules {
        self.answers
    }

    /// Whether it is asked about JWTs of its own too.
    pub fn only(&self) -> bool {
        self.only
    }

    /// The issuer's answer, within the configured timeout. `now` is when the request came that asks.
    ///
    /// # Errors
    /// [`Error::IntrospectionUnavailable`] where there is none, and a refusal that is still remembered.
    pub async fn ask(self: &Arc<Self>, token: Token<'_>, digest: Digest, now: SystemTime) -> Landing {
        if let Some((error, until)) = self.refusals.get(&digest)
            && Instant::now() < until
        {
            count(&self.counts.cached);
            return Err(error);
        }
        let mut landing = self.board(token, digest, now)?;
        let landed = landing.wait_for(Option::is_some).await.map_err(|_| Error::IntrospectionUnavailable)?;
        landed.clone().unwrap_or(Err(Error::IntrospectionUnavailable))
    }

    /// Remembers shortly that this token is refused, whatever its issuer says.
    pub fn refuse(&self, digest: Digest, error: Error) {
        self.refusals.insert(digest, (error, Instant::now() + REFUSED_FOR.min(self.answers.cache)));
    }

    /// How many questions ended how, since the start.
    pub fn counts(&self) -> [(&'static str, u64); 6] {
        let Counts { ok, inactive, cached, failed, refused_open, refused_busy } = &*self.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("ok", read(ok)),
            ("inactive", read(inactive)),
            ("cached", read(cached)),
            ("failed", read(failed)),
            ("refused_open", read(refused_open)),
            ("refused_busy", read(refused_busy)),
        ]
    }

    /// The flight that this token's question is on, begun if there is none.
    fn board(self: &Arc<Self>, token: Token<'_>, digest: Digest, asked: SystemTime) -> Result<watch::Receiver<Option<Landing>>, Error> {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(&digest) {
            return Ok(flight.clone());
        }
        let runtime = Handle::try_current().map_err(|_| Error::IntrospectionUnavailable)?;
        let known = self.known.get(&digest).is_some();
        let pass = if flights.len() < IN_ALL { self.valve().ask(known, Instant::now()) } else { Pass::Spent };
        match pass {
            Pass::Go => {}
            Pass::Shut => return Err(self.unavailable(&self.counts.refused_open)),
            Pass::Spent => return Err(self.unavailable(&self.counts.refused_busy)),
        }
        let (landed, landing) = watch::channel(None);
        flights.insert(digest, landing.clone());
        drop(flights);
        let flight = Flight { introspector: self.clone(), digest, known, asked, landed, over: false };
        // A task of its own: a caller that goes away takes nothing with it.
        runtime.spawn(flight.fly(token.as_str().to_owned()));
        Ok(landing)
    }

    fn unavailable(&self, counter: &AtomicU64) -> Error {
        count(counter);
        Error::IntrospectionUnavailable
    }

    async fn question(&self, token: &str) -> Result<Answer, FetchError> {
        let _turn = self.turns.acquire().await.map_err(|_| FetchError::Unreachable)?;
        self.oracle.ask(token).await
    }

    /// An outage is a warning once; what repeats it is for those who look closely.
    fn report(&self, answer: &Result<Answer, FetchError>, outcome: Outcome, turned: bool) {
        match answer {
            // Strangers choose tokens: one line tells the operator, and more would be theirs to write.
            Err(error) if outcome == Outcome::Odd && !self.odd_told.swap(true, Ordering::Relaxed) => {
                tracing::warn!(issuer = self.name, %error, "the issuer would not answer about a token");
            }
            Err(error) if outcome == Outcome::Odd => {
                tracing::debug!(issuer = self.name, %error, "the issuer would not answer about a token")
            }
            Err(error) if turned => tracing::warn!(issuer = self.name, %error, "tokens cannot be introspected"),
            Err(error) => tracing::debug!(issuer = self.name, %error, "tokens still cannot be introspected"),
            Ok(_) if turned => tracing::info!(issuer = self.name, "tokens can be introspected again"),
            Ok(_) => {}
        }
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Digest, watch::Receiver<Option<Landing>>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn valve(&self) -> MutexGuard<'_, Valve> {
        self.valve.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Introspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspector").field("name", &self.name).finish_non_exhaustive()
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// One question under way. If it is dropped half way, it has failed.
struct Flight {
    introspector: Arc<Introspector>,
    digest: Digest,
    known: bool,
    asked: SystemTime,
    landed: watch::Sender<Option<Landing>>,
    over: bool,
}

impl Flight {
    async fn fly(mut self, token: String) {
        let introspector = self.introspector.clone();
        let answer = timeout(introspector.timeout, introspector.question(&token)).await.unwrap_or(Err(FetchError::Timeout));
        self.land(answer);
    }

    /// Takes in what was answered, then lets the waiting look.
    fn land(&mut self, answer: Result<Answer, FetchError>) {
        self.over = true;
        let to = &self.introspector;
        let (outcome, counter) = match &answer {
            Ok(Answer::Active(_)) => (Outcome::Active, &to.counts.ok),
            Ok(Answer::Inactive) => (Outcome::Inactive, &to.counts.inactive),
            // A stranger chooses the token: that one is not liked must not shut the valve for all.
            Err(FetchError::Status(400 | 413 | 414 | 422 | 431)) => (Outcome::Odd, &to.counts.failed),
            Err(_) => (Outcome::Failed, &to.counts.failed),
        };
        count(counter);
        let turned = to.valve().land(self.known, outcome, Instant::now());
        to.report(&answer, outcome, turned);
        match outcome {
            Outcome::Active => to.known.insert(self.digest, ()),
            Outcome::Inactive => {
                to.known.remove(&self.digest);
                to.refuse(self.digest, Error::Inactive);
            }
            Outcome::Odd => to.refuse(self.digest, Error::IntrospectionUnavailable),
            Outcome::Failed => {}
        }
        to.flights().remove(&self.digest);
        let told = |answer| Told { answer: Arc::new(answer), asked: self.asked };
        self.landed.send_replace(Some(answer.map(told).map_err(|_| Error::IntrospectionUnavailable)));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.over {
            self.land(Err(FetchError::Unreachable));
        }
    }
}

/// An issuer's endpoint, over HTTP (RFC 7662 §2.1).
struct Web {
    http: Http,
    place: Place,
    asked: Introspection,
    allow_http: bool,
}

enum Place {
    At(String),
    Found(Box<Remote>),
}

impl Web {
    fn new(http: Http, surfaces: &Arc<Surfaces>, issuer: &Issuer, asked: &Introspection) -> Self {
        let place = match &asked.endpoint {
            Endpoint::At(url) => Place::At(url.clone()),
            Endpoint::Metadata(_) | Endpoint::Discovery => {
                Place::Found(Box::new(Remote::introspection(http.clone(), issuer, asked).shown_to(surfaces)))
            }
        };
        Self { http, place, asked: asked.clone(), allow_http: issuer.allow_http }
    }

    async fn url(&self) -> Result<Url, FetchError> {
        match &self.place {
            Place::At(url) => permitted(url, self.allow_http),
            Place::Found(remote) => remote.endpoint().await,
        }
    }

    async fn answer(&self, token: &str) -> Result<Answer, FetchError> {
        let url = self.url().await?;
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("token", token)
            .append_pair("token_type_hint", "access_token")
            .finish();
        let (authorization, form) = client::prove(&self.asked.client, form)?;
        let text = self.http.post(&url, authorization, form, self.asked.timeout).await?;
        Answer::parse(&text).map_err(|_| FetchError::Answer)
    }
}

impl Oracle for Web {
    fn ask<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Answer, FetchError>> {
        Box::pin(self.answer(token))
    }
}

#[cfg(test)]
mod tests;
