//! What was found, in words: the same on a terminal, on the page and in the sheet.

use super::{Attested, Reviewed};
use crate::governance::review::{Finding, Narrowing};

/// Names that are written out.
const NAMES: usize = 8;

/// One finding in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    pub upstream: String,
    pub issuer: String,
    pub client: String,
    pub subject: String,
    /// What was found.
    pub what: String,
    /// What to do about it.
    pub then: String,
}

/// Findings of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub title: &'static str,
    pub lines: Vec<Line>,
}

/// All findings by kind; kinds of which there are none are left out.
pub fn groups(reviewed: &Reviewed) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for finding in &reviewed.review.findings {
        let (title, line) = line(finding, reviewed);
        match groups.iter_mut().find(|group| group.title == title) {
            Some(group) => group.lines.push(line),
            None => groups.push(Group { title, lines: vec![line] }),
        }
    }
    groups
}

fn line(finding: &Finding, reviewed: &Reviewed) -> (&'static str, Line) {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    match finding {
        Finding::UnusedClient { issuer, client, code, state, last_used } => {
            let place = configured(reviewed, issuer, client);
            let used = last_used.map_or("never used".to_owned(), |last| format!("last used {last}"));
            let what = format!("client {client} of {issuer} ({state}): {used}");
            // SECURITY: a stranger may choose the id, so a command names the client by its code.
            let then = match place {
                Some(place) => format!("remove it, or write `state: suspended`, at {place}"),
                None => format!("doorward clients suspend {code} --reason … --by …"),
            };
            ("Clients without use", Line { issuer: issuer.clone(), client: client.clone(), what, then, ..Line::default() })
        }
        Finding::UnusedGrant { upstream, issuer, client, subject, scopes } => {
            let what = format!("{subject}{} at {upstream} ({}): used nothing", by(client), listed(scopes));
            let then = "withdraw the grant at the issuer".to_owned();
            let (upstream, issuer, client, subject) = (upstream.clone(), issuer.clone(), text(client), subject.clone());
            ("Grants never used", Line { upstream, issuer, client, subject, what, then })
        }
        Finding::UnneededScopes { issuer, client, code, unneeded, enough, smallest } => {
            let who = client.as_ref().map_or_else(|| "tokens without a client".to_owned(), |client| format!("client {client}"));
            let never = if unneeded.is_empty() { String::new() } else { format!(" never needed {};", listed(unneeded)) };
            let what = format!("{who} of {issuer}:{never} {} is enough", listed(enough));
            let issued = format!("issue it {}", listed(smallest));
            let place = client.as_ref().and_then(|client| configured(reviewed, issuer, client));
            let then = match (code, place) {
                (Some(_), Some(place)) if !unneeded.is_empty() => {
                    format!("write `scopes: [{}]` at {place}, or {issued}", enough.join(", "))
                }
                (Some(code), None) if !unneeded.is_empty() => {
                    format!("doorward clients approve {code} --scopes {} --reason … --by …, or {issued}", enough.join(","))
                }
                _ => issued,
            };
            ("Scopes never needed", Line { issuer: issuer.clone(), client: text(client), what, then, ..Line::default() })
        }
        Finding::UnusedRule { upstream, rule, place } => {
            let what = format!("{place}: {rule}: nothing that it names was used");
            let then = "remove it; rules behind it may then decide on what it names, so ask `doorward replay` first".to_owned();
            ("Rules without use", Line { upstream: upstream.clone(), what, then, ..Line::default() })
        }
        Finding::WideWildcard(narrowing) => {
            let then = narrower(narrowing, reviewed.by_hand.contains(&narrowing.place));
            let Narrowing { upstream, rule, place, key, wildcards, .. } = narrowing;
            let what = format!("{place}: {rule}: {key} {} is wider than its use", listed(wildcards));
            ("Wildcards wider than use", Line { upstream: upstream.clone(), what, then, ..Line::default() })
        }
    }
}

/// Where the configuration speaks of a client: a command would be told to go there.
fn configured<'a>(reviewed: &'a Reviewed, issuer: &str, client: &str) -> Option<&'a str> {
    let found = reviewed.configured.iter().find(|one| one.issuer == issuer && one.client == client);
    found.map(|one| one.place.as_str())
}

fn narrower(narrowing: &Narrowing, by_hand: bool) -> String {
    let Some(after) = &narrowing.after else { return narrowing.unless.clone().unwrap_or_default().into() };
    let deny = match narrowing.deny.is_empty() {
        true => String::new(),
        false => format!(", and deny {} right behind it", listed(&narrowing.deny)),
    };
    let hand = if by_hand { "; its text must be changed by hand" } else { "" };
    format!("{}: {}{deny}{hand}", narrowing.key, listed(after))
}

fn by(client: &Option<String>) -> String {
    client.as_ref().map(|client| format!(" by {client}")).unwrap_or_default()
}

/// Names with commas between them; not more than one can read.
pub fn listed(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES).map(String::as_str).collect();
    match names.len().saturating_sub(NAMES) {
        0 if shown.is_empty() => "none".to_owned(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Since when, and how well, it is known what was used; and who has looked before.
pub fn standing(reviewed: &Reviewed) -> Vec<String> {
    let review = &reviewed.review;
    let mut lines = vec![match review.observed_since {
        None => "nothing was observed yet".to_owned(),
        Some(begun) if begun > review.since => format!("use since {begun} counts: observing began then"),
        Some(_) => format!("use since {} counts", review.since),
    }];
    for gap in &review.gaps {
        lines.push(format!("not all use is known: {} {} at {}, last {}", gap.lost, gap.about, gap.upstream, gap.last));
    }
    lines.push(match &reviewed.attested {
        None => "never attested".to_owned(),
        Some(Attested { at, by, unchanged, .. }) => {
            let since = if *unchanged == Some(true) { "unchanged" } else { "changed" };
            format!("attested by {by} at {at}, {since} since")
        }
    });
    lines
}
