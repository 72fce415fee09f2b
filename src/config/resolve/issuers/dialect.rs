//! The profile that an issuer names, and the keys that only some providers need.
//!
//! Knows the table of [`profile`] and the file; what the keys mean for a token is the token room's.

use crate::config::document::{list, near_miss};
use crate::config::profile::{self, PLAIN, Part, Profile};
use crate::config::raw::{Keyed, RawAudienceFrom, Strings};
use crate::config::report::At;
use crate::config::resolve::Context;
use crate::token::{AudienceFrom, IssuerRules};

/// The named profile; the standards themselves where none is named or the name is wrong.
pub fn profile(raw: Option<String>, at: &At<'_>, context: &mut Context<'_>) -> &'static Profile {
    let Some(name) = raw else { return &PLAIN };
    let known: Vec<&str> = profile::usable().collect();
    match Profile::named(&name) {
        Some(Profile { refused: Some(why), .. }) => {
            let hint = format!("the profiles whose tokens can be accepted are {}", list(&known));
            context.report.mend(at, format!("`{name}` cannot be used as an issuer here: {why}"), hint);
            &PLAIN
        }
        Some(profile) => profile,
        None => {
            let hint = near_miss(&name, &known).unwrap_or_else(|| format!("the profiles are {}", list(&known)));
            context.report.mend(at, format!("unknown profile `{name}`"), hint);
            &PLAIN
        }
    }
}

pub fn audience_from(raw: Option<RawAudienceFrom>, profile: &Profile) -> AudienceFrom {
    match raw {
        None => profile.audience_from,
        Some(RawAudienceFrom::Aud) => AudienceFrom::Aud,
        Some(RawAudienceFrom::ClientId) => AudienceFrom::ClientId,
    }
}

/// The demands of the file in the place of the profile's, claim by claim.
pub fn required_values(
    raw: Option<Keyed<Strings>>,
    profile: &Profile,
    at: &At<'_>,
    context: &mut Context<'_>,
) -> Vec<(String, Vec<String>)> {
    let written = raw.map(|Keyed(pairs)| pairs).unwrap_or_default();
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    for (path, values) in written {
        let values = context.strings(Some(values), &at.key(&path));
        all.push((path, values));
    }
    for (path, values) in profile.required_values {
        if !all.iter().any(|(own, _)| own == path) {
            all.push(((*path).to_owned(), super::owned(values)));
        }
    }
    all
}

/// SECURITY: a client's id is an audience only when the operator writes it: no default could be right.
pub fn audience_is_named(rules: &IssuerRules, profile: &Profile, at: &At<'_>, context: &mut Context<'_>) {
    if !rules.audience.is_empty() || context.report.is_told(&at.key("audience").path) {
        return;
    }
    if rules.audience_from == AudienceFrom::ClientId {
        let hint = "name the clients whose tokens are meant for here: `audience: [CLIENT-ID]`";
        context.report.mend(at, "`audience_from: client_id` needs `audience`: a client's id is never the resource's URL", hint);
    } else if let Some(what) = profile.audience.filter(|_| profile.audience_from == AudienceFrom::Aud) {
        context.report.mend(at, format!("the profile `{}` needs `audience`", profile.name), format!("write {what}"));
    }
}

pub fn identifier_fits(identifier: &str, profile: &Profile, at: &At<'_>, context: &mut Context<'_>) {
    let hint = match profile.issuer {
        _ if profile::fits(profile.issuer, identifier) => return,
        Part::Any => return,
        Part::Within(text) => format!("it has `{text}` in it"),
        Part::AtEnd(text) => format!("it ends with `{text}`"),
    };
    context.report.warn(at, format!("`{identifier}` does not look like an issuer of the profile `{}`", profile.name), hint);
}
