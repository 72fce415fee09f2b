//! What all pages have in common: their frame, their headers, and the plain ones that only say something.
//!
//! Plain HTML and one style sheet. No script unless a page asks for it, no framing, nothing from elsewhere
//! (RFC 9700 §4.16); whatever a client says of itself is escaped by the templates.

use askama::Template;
use bytes::Bytes;
use http::header::{ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, X_FRAME_OPTIONS};
use http::{HeaderName, Request, Response, StatusCode};

use super::{Call, Fault, Reply, Server, Told};
use crate::config::texts::{Texts, fill};
use crate::event::Outcome;

const STYLE: &str = include_str!("../../../templates/style.css");

/// What stands around each page.
#[derive(Clone, Copy)]
pub(super) struct Frame<'a> {
    pub lang: &'a str,
    pub name: &'a str,
    /// The request's id, where somebody may have to ask about it.
    pub reference: Option<&'a str>,
    pub t: &'a Texts,
    contact: Option<&'a str>,
    host: &'a str,
}

impl<'a> Frame<'a> {
    /// In the language that the browser asks for.
    pub fn of<B>(call: &Call<'a>, request: &Request<B>) -> Self {
        let pages = &call.settings.pages;
        let accepted = request.headers().get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (lang, texts) = pages.pick(accepted);
        let issuer: &str = &call.settings.issuer;
        let host = issuer.split_once("://").map_or(issuer, |(_, host)| host);
        Self { lang, name: &pages.title, reference: None, t: texts, contact: pages.contact.as_deref(), host }
    }

    /// The same, with the request's id.
    pub fn referred(self, call: &Call<'a>) -> Self {
        Self { reference: Some(call.origin.id), ..self }
    }

    /// Whom to ask.
    pub fn contact(&self) -> String {
        self.contact.map_or_else(|| fill(&self.t.operator, &[("host", self.host)]), str::to_owned)
    }
}

/// What a page may do besides being read.
#[derive(Clone, Copy)]
pub(super) struct Policy<'a> {
    /// Where its forms may lead, redirects among them (CSP `form-action`).
    pub forms: &'a str,
    /// More directives, such as `script-src 'self'`.
    pub more: &'static str,
}

impl Default for Policy<'_> {
    fn default() -> Self {
        Self { forms: "'self'", more: "" }
    }
}

/// A page that only says something.
#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    frame: Frame<'a>,
    title: String,
    texts: Vec<String>,
    /// Said aloud to somebody.
    code: Option<String>,
    after: Vec<String>,
    /// Where to go on, and what the link says.
    link: Option<(String, String)>,
}

/// What a plain page says.
#[derive(Default)]
pub(super) struct Saying {
    pub title: String,
    pub texts: Vec<String>,
    pub code: Option<String>,
    pub after: Vec<String>,
    pub link: Option<(String, String)>,
}

impl Saying {
    pub fn new(title: impl Into<String>, text: impl Into<String>) -> Self {
        Self { title: title.into(), texts: vec![text.into()], ..Self::default() }
    }
}

/// A whole page.
pub(super) fn page(status: StatusCode, template: &impl Template, policy: Policy<'_>, told: Told) -> Reply {
    // The only failure is one of formatting into memory.
    let Ok(text) = template.render() else { return Fault::Unreadable.into() };
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = status;
    let Policy { forms, more } = policy;
    let rules = format!("default-src 'none'; style-src 'self'; form-action {forms}; base-uri 'none'; frame-ancestors 'none'");
    let rules = if more.is_empty() { rules } else { format!("{rules}; {more}") };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // With `no-referrer` browsers would send `Origin: null` with our own forms.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    headers.insert(http::header::VARY, HeaderValue::from_static("accept-language"));
    if let Ok(rules) = HeaderValue::from_str(&rules) {
        headers.insert(http::header::CONTENT_SECURITY_POLICY, rules);
    }
    Reply::new(response, told)
}

/// A page that only says something.
pub(super) fn say(status: StatusCode, frame: Frame<'_>, saying: Saying, told: Told) -> Reply {
    let Saying { title, texts, code, after, link } = saying;
    page(status, &Message { frame, title, texts, code, after, link }, Policy::default(), told)
}

/// A page that says what went wrong, with the request's id.
pub(super) fn wrong(call: &Call<'_>, frame: Frame<'_>, status: StatusCode, text: &str, reason: &'static str) -> Reply {
    let text = fill(text, &[("contact", &frame.contact())]);
    say(status, frame.referred(call), Saying::new(&frame.t.error_title, text), Told::refused(reason))
}

/// A page for what went wrong at our own end.
pub(super) fn unavailable<B>(call: &Call<'_>, request: &Request<B>, fault: &Fault) -> Reply {
    tracing::error!(%fault, "the authorization server cannot answer");
    let frame = Frame::of(call, request);
    let mut reply = wrong(call, frame, StatusCode::SERVICE_UNAVAILABLE, &frame.t.error_unavailable, fault.reason());
    reply.told.outcome = Outcome::Failed;
    reply
}

impl Server {
    /// Style sheets and the like.
    pub(super) fn asset(&self, call: &Call<'_>, request: &Request<Bytes>) -> Reply {
        if request.uri().path() != "/doorward/style.css" {
            let frame = Frame::of(call, request);
            return wrong(call, frame, StatusCode::NOT_FOUND, &frame.t.error_not_found, "not_found");
        }
        let mut response = Response::new(Bytes::from_static(STYLE.as_bytes()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
        headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
        Reply::new(response, Told::answered("page"))
    }
}
