//! What a signed-in person sees: where to sign in, what they may read, the review. HTML and style alone, no script.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use super::Refusal;
use super::who::Actor;
use crate::config::login::Logins;
use crate::review::Reviewed;

pub use crate::review::Attesting;

const STYLE: &str = include_str!("../../../templates/style.css");
/// Nothing from elsewhere, no script, no frame around it; forms lead here alone.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The one page besides the review.
#[derive(Template)]
#[template(path = "admin.html")]
struct Page<'a> {
    style: &'a str,
    title: &'a str,
    text: String,
    /// Where to go, and what the link says.
    link: Option<(&'a str, String)>,
    /// Of somebody who is signed in.
    proof: Option<&'a str>,
}

/// Who is signed in, what there is to read, and the way out.
pub fn home(who: &Actor) -> Response {
    let name = who.session.as_ref().and_then(|session| session.person.name.as_deref()).unwrap_or(&who.name);
    let issuer = who.session.as_ref().map(|session| session.issuer.as_str()).unwrap_or_default();
    let text = format!("Signed in as {name} ({} of {issuer}), with the role {}.", who.name, who.role.name());
    let proof = who.session.as_ref().map(|session| session.proof.as_str());
    page(StatusCode::OK, &Page { style: STYLE, title: "Doorward", text, link: None, proof })
}

/// Where to sign in.
pub fn signed_out(logins: &Logins, url: &str) -> Response {
    let title = logins.all.first().map(|login| login.title()).unwrap_or_default();
    let (text, link) = ("Sign in to see clients, grants and the audit log.".to_owned(), format!("Sign in with {title}"));
    page(StatusCode::OK, &Page { style: STYLE, title: "Doorward", text, link: Some((url, link)), proof: None })
}

/// Why there is no page.
pub fn refused(refusal: &Refusal, home: &str) -> Response {
    let text = format!("{}.", refusal.message);
    let link = Some((home, "Begin again".to_owned()));
    page(refusal.status, &Page { style: STYLE, title: "That did not work", text, link, proof: None })
}

/// The review, with a form where it may be attested.
pub fn review(reviewed: &Reviewed, attesting: Option<Attesting<'_>>) -> Option<Response> {
    Some(html(StatusCode::OK, reviewed.page(attesting).ok()?))
}

fn page(status: StatusCode, template: &Page<'_>) -> Response {
    // The only failure is one of formatting into memory.
    html(status, template.render().unwrap_or_default())
}

fn html(status: StatusCode, text: String) -> Response {
    let mut response = (status, Html(text)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    // With `no-referrer` browsers would send `Origin: null` with our own forms.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}
