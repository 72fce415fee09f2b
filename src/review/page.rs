//! The review as a page to hand round: HTML and style alone. The template escapes whatever it is given.

use askama::Template;

use super::words::{self, Group};
use super::{Attested, Patch, Reviewed};
use crate::governance::review::{ClientLine, Grant, Time};

#[derive(Template)]
#[template(path = "review.html")]
struct Page<'a> {
    made: Time,
    digest: &'a str,
    standing: Vec<String>,
    groups: Vec<Group>,
    patches: &'a [Patch],
    clients: &'a [ClientLine],
    grants: &'a [Grant],
    attested_clients: &'a [Attested],
    attesting: Option<Attesting<'a>>,
}

/// How somebody who is signed in says that they have looked.
#[derive(Clone, Debug)]
pub struct Attesting<'a> {
    /// Where the form leads.
    pub action: &'a str,
    /// Hidden fields: what proves that the form is ours, and which review it is.
    pub fields: Vec<(&'static str, &'a str)>,
}

pub fn html(reviewed: &Reviewed, attesting: Option<Attesting<'_>>) -> Result<String, askama::Error> {
    let page = Page {
        made: reviewed.review.made,
        digest: &reviewed.review.digest,
        standing: words::standing(reviewed),
        groups: words::groups(reviewed),
        patches: &reviewed.patches,
        clients: &reviewed.review.clients,
        grants: &reviewed.review.grants,
        attested_clients: &reviewed.attested_clients,
        attesting,
    };
    page.render()
}
