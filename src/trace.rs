//! What is a trace? The caller's context (W3C Trace Context), the steps of one request, and the spans made of them.
//!
//! Knows no clock, no collector and no request: ids are drawn from a request's own id, times come in as values.
//! Every text in a span comes from a closed set or from the configuration; no token, argument or subject has a way in.

pub mod logs;
pub mod otlp;

use std::time::{Duration, SystemTime};

use crate::event::{Event, Outcome};

/// The context that came with a request (W3C Trace Context §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    pub trace: u128,
    pub span: u64,
    pub sampled: bool,
}

impl Parent {
    /// A well-formed `traceparent`. Versions after 00 may say more behind the flags; 00 may not.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let more = version == "00" && parts.next().is_some();
        let version = number(version, 2)?;
        let (trace, span, flags) = (number(trace, 32)?, u64::try_from(number(span, 16)?).ok()?, number(flags, 2)?);
        let valid = version != 0xFF && trace != 0 && span != 0 && !more;
        valid.then_some(Self { trace, span, sampled: flags & 1 == 1 })
    }
}

/// Lower-case hexadecimal digits of one length.
fn number(text: &str, length: usize) -> Option<u128> {
    let plain = text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    plain.then(|| u128::from_str_radix(text, 16).ok())?
}

/// Where one request stands in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    pub trace: u128,
    /// The request's own span.
    pub root: u64,
    /// The caller's span.
    pub parent: Option<u64>,
    pub sampled: bool,
}

impl Context {
    /// A trace of this request's own, drawn from its id; `ratio` of them are sampled.
    pub fn own(id: &str, ratio: f64) -> Self {
        let mut drawn = [0; 32];
        blake3::Hasher::new().update(b"trace").update(id.as_bytes()).finalize_xof().fill(&mut drawn);
        let [(trace, root), (_, chance)] = halves(&drawn);
        Self { trace: trace.max(1), root: root.max(1), parent: None, sampled: is_drawn(chance, ratio) }
    }

    /// The same request inside its caller's trace, sampled as the caller says (parent-based sampling).
    pub fn within(self, parent: Parent) -> Self {
        Self { trace: parent.trace, parent: Some(parent.span), sampled: parent.sampled, ..self }
    }

    /// The span of a step: another one for each.
    pub fn child(&self, step: Step) -> u64 {
        let offset = (step as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (self.root ^ offset).max(1)
    }

    /// What the upstream is told: this trace, with the step that waits for it as parent.
    pub fn traceparent(&self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.trace, self.child(Step::Upstream), u8::from(self.sampled))
    }
}

/// A trace id and a number from each half of what was drawn.
fn halves(drawn: &[u8; 32]) -> [(u128, u64); 2] {
    let half = |from: usize| {
        let whole = drawn.iter().skip(from).take(16).fold(0u128, |sum, byte| (sum << 8) | u128::from(*byte));
        let low = whole & u128::from(u64::MAX);
        (whole, u64::try_from(low).unwrap_or(1))
    };
    let (first, second) = (half(0), half(16));
    let high = u64::try_from(second.0 >> 64).unwrap_or(1);
    [(first.0, high), second]
}

#[expect(clippy::cast_precision_loss, reason = "a chance needs no more than the 53 bits that are kept")]
fn is_drawn(chance: u64, ratio: f64) -> bool {
    ((chance >> 11) as f64) < ratio * ((1u64 << 53) as f64)
}

/// The rooms that a request passes, in order. A request that is refused ends in the room that refused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Route,
    Authenticate,
    /// Waiting for the request's body.
    Body,
    Judge,
    /// From the dial to the head of the server's answer.
    Upstream,
    /// The answer's body, until its end.
    Relay,
}

impl Step {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Authenticate => "authenticate",
            Self::Body => "body",
            Self::Judge => "judge",
            Self::Upstream => "upstream",
            Self::Relay => "relay",
        }
    }
}

/// The steps of one request, each with the time from the request's beginning at which it began.
#[derive(Clone, Debug)]
pub struct Trail {
    pub context: Context,
    pub steps: Vec<(Step, Duration)>,
}

/// One span, as it is exported.
#[derive(Clone, Debug)]
pub struct Span {
    pub trace: u128,
    pub id: u64,
    pub parent: Option<u64>,
    pub name: &'static str,
    pub kind: Kind,
    /// Nanoseconds since 1970.
    pub start: u64,
    pub end: u64,
    pub failed: bool,
    pub attributes: Vec<(&'static str, Value)>,
}

/// Whose side a span is on; the numbers are those of OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Internal = 1,
    Server = 2,
    Client = 3,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Number(i64),
}

/// The spans of a request that has ended: one for the request, and one for each step as its child.
pub fn spans(event: &Event, trail: &Trail) -> Vec<Span> {
    let Trail { context, steps } = trail;
    let begun = nanoseconds(event.time);
    let at = |offset: Duration| begun.saturating_add(u64::try_from(offset.as_nanos()).unwrap_or(u64::MAX));
    let failed = event.outcome == Outcome::Failed;
    let root = Span {
        trace: context.trace,
        id: context.root,
        parent: context.parent,
        name: if event.operation == "none" { "request" } else { event.operation },
        kind: Kind::Server,
        start: begun,
        end: at(event.duration),
        failed,
        attributes: attributes(event),
    };
    let ends = steps.iter().skip(1).map(|(_, offset)| *offset).chain([event.duration]);
    let children = steps.iter().zip(ends).map(|((step, start), end)| Span {
        trace: context.trace,
        id: context.child(*step),
        parent: Some(context.root),
        name: step.as_str(),
        kind: if *step == Step::Upstream { Kind::Client } else { Kind::Internal },
        start: at(*start),
        end: at(end),
        failed: false,
        attributes: Vec::new(),
    });
    let mut spans: Vec<Span> = [root].into_iter().chain(children).collect();
    if let (true, Some(last)) = (failed, spans.last_mut()) {
        last.failed = true;
    }
    spans
}

/// SECURITY: closed sets and the configuration's own names; nothing that a caller writes. The id joins a span to
/// its audit line, where the rest stands.
fn attributes(event: &Event) -> Vec<(&'static str, Value)> {
    let text = |text: &str| Value::Text(text.to_owned());
    let mut all = vec![
        ("doorward.request_id", text(&event.id)),
        ("mcp.method.name", text(event.operation)),
        ("doorward.outcome", text(event.outcome.as_str())),
        ("doorward.reason", text(event.reason)),
        ("http.response.status_code", Value::Number(event.status.into())),
        ("doorward.overhead_us", Value::Number(i64::try_from(event.overhead.as_micros()).unwrap_or(i64::MAX))),
    ];
    if let Some(upstream) = &event.upstream {
        all.push(("doorward.upstream", text(upstream)));
    }
    if let Some((rule, _)) = &event.rule {
        all.push(("doorward.rule", text(rule)));
    }
    all
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_strictly() {
        let parent = Parent::parse(GOOD).expect("well-formed");
        assert_eq!((parent.trace, parent.span, parent.sampled), (0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, 0xb7ad_6b71_6920_3331, true));
        assert!(Parent::parse("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-later").is_some_and(|parent| !parent.sampled));
        for bad in [
            "",
            "00",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        ] {
            assert_eq!(Parent::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_ratio_samples_its_share() {
        let sampled = |ratio| (0..2_000).filter(|n| Context::own(&format!("{n:032x}"), ratio).sampled).count();
        assert_eq!((sampled(0.0), sampled(1.0)), (0, 2_000));
        assert!((400..600).contains(&sampled(0.25)), "{}", sampled(0.25));
    }

    #[test]
    fn requests_and_steps_have_ids_of_their_own() {
        let context = Context::own("a", 1.0);
        let steps = [Step::Route, Step::Authenticate, Step::Body, Step::Judge, Step::Upstream, Step::Relay];
        let mut ids: Vec<u64> = steps.iter().map(|step| context.child(*step)).chain([context.root]).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 7);
        let other = Context::own("b", 1.0);
        assert!(other.trace != context.trace && other.root != context.root);
    }

    #[test]
    fn the_caller_decides_about_a_trace_that_it_began() {
        let parent = Parent::parse(GOOD).expect("well-formed");
        assert!(Context::own("a", 0.0).within(parent).sampled);
        let silent = Context::own("a", 1.0).within(Parent { sampled: false, ..parent });
        assert!(!silent.sampled && silent.trace == parent.trace && silent.traceparent().ends_with("-00"));
    }
}
