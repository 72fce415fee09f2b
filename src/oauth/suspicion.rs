//! What should whoever decides on a client look at twice? What a client says of itself, beside where its answers go.

use std::collections::BTreeSet;

use super::redirect::{self, Place};
use super::registration::Metadata;
use super::{known_clients, likeness};

/// One thing that is odd about a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flag {
    /// People would take it for another one, whose answers go elsewhere. Holds that one's name.
    LooksLike(String),
    /// Its answers go to an app by a scheme that any app can claim.
    App,
    /// Its answers go to whatever program listens on the person's machine.
    Loopback,
    /// An address that people are shown is of another host than where its answers go. Holds the member's name.
    OtherHost(&'static str),
}

impl Flag {
    /// Whether the client waits for a decision where others need none.
    pub fn is_held(&self) -> bool {
        matches!(self, Self::LooksLike(_) | Self::App)
    }

    pub fn text(&self) -> String {
        match self {
            Self::LooksLike(name) => format!("its name looks like `{name}`, whose answers go elsewhere"),
            Self::App => "its answers go to an app by a scheme that any app can claim".into(),
            Self::Loopback => "its answers go to any program on the person's own machine".into(),
            Self::OtherHost(member) => format!("its {member} is of another host than where its answers go"),
        }
    }
}

/// What is odd about a client. `others` are those that are approved.
pub fn flags<'a>(metadata: &Metadata, others: impl IntoIterator<Item = &'a Metadata>) -> Vec<Flag> {
    let places: Vec<Place> = metadata.redirect_uris.iter().filter_map(|uri| Place::of(uri).ok()).collect();
    let looks = looks_like(metadata, others).map(Flag::LooksLike);
    let app = places.iter().any(|place| matches!(place, Place::App(_))).then_some(Flag::App);
    let is_loopback = !places.is_empty() && places.iter().all(|place| matches!(place, Place::Loopback(_)));
    let hosts: Vec<&str> =
        places.iter().filter_map(|place| if let Place::Web(host) = place { Some(host.as_str()) } else { None }).collect();
    let addresses = [
        ("client_uri", &metadata.client_uri),
        ("logo_uri", &metadata.logo_uri),
        ("tos_uri", &metadata.tos_uri),
        ("policy_uri", &metadata.policy_uri),
    ];
    let is_strange = |uri: &Option<String>| {
        let host = uri.as_deref().and_then(redirect::host);
        !hosts.is_empty() && host.is_some_and(|host| !hosts.iter().any(|one| is_same_site(one, &host)))
    };
    let strange = addresses.into_iter().filter(|(_, uri)| is_strange(uri)).map(|(member, _)| Flag::OtherHost(member));
    looks.into_iter().chain(app).chain(is_loopback.then_some(Flag::Loopback)).chain(strange).collect()
}

fn looks_like<'a>(metadata: &Metadata, others: impl IntoIterator<Item = &'a Metadata>) -> Option<String> {
    let name = metadata.client_name.as_deref()?;
    if let Some(known) = known_clients::named(name)
        && metadata.redirect_uris.iter().any(|uri| !known.answers_at(uri))
    {
        return Some(known.name.to_owned());
    }
    let (fold, own) = (likeness::fold(name), homes(metadata));
    let is_alike = |other: &&Metadata| other.client_name.as_deref().is_some_and(|other| likeness::fold(other) == fold);
    let elsewhere = |other: &&Metadata| !own.is_subset(&homes(other));
    others.into_iter().filter(is_alike).find(elsewhere).map(Metadata::name)
}

/// Where answers go: hosts, schemes, or the person's machine.
fn homes(metadata: &Metadata) -> BTreeSet<String> {
    let home = |uri: &String| match Place::of(uri).ok()? {
        Place::Web(host) => Some(host),
        Place::Loopback(_) => Some("loopback".to_owned()),
        Place::App(scheme) => Some(format!("{scheme}:")),
    };
    metadata.redirect_uris.iter().filter_map(home).collect()
}

/// The same host, or one above the other.
fn is_same_site(one: &str, other: &str) -> bool {
    let is_below = |one: &str, other: &str| one.strip_suffix(other).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    is_below(one, other) || is_below(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: &str, uris: &[&str]) -> Metadata {
        let redirect_uris = uris.iter().map(|uri| (*uri).to_owned()).collect();
        Metadata { client_name: Some(name.to_owned()), redirect_uris, ..Metadata::default() }
    }

    #[test]
    fn item_133_a_name_like_a_known_clients_with_answers_elsewhere_is_flagged() {
        let like = |name: &str| vec![Flag::LooksLike(name.to_owned())];
        assert_eq!(flags(&client("Claude", &["https://evil.example/cb"]), []), like("Claude"));
        assert_eq!(flags(&client("CIaude", &["https://evil.example/cb"]), []), like("Claude"));
        assert_eq!(flags(&client("Claude", &["https://claude.ai/api/mcp/auth_callback", "https://evil.example/cb"]), []), like("Claude"));
        assert_eq!(flags(&client("Claude", &["https://claude.ai/api/mcp/auth_callback"]), []), []);
        assert_eq!(flags(&client("Claude Code (files)", &["http://localhost:1/callback"]), []), [Flag::Loopback]);
        assert_eq!(flags(&client("Acme agent", &["https://agent.example/cb"]), []), []);
    }

    #[test]
    fn item_133_a_name_like_an_approved_clients_with_answers_elsewhere_is_flagged() {
        let approved = [client("Payroll bot", &["https://payroll.example/cb"])];
        assert_eq!(flags(&client("PayroII-Bot", &["https://evil.example/cb"]), &approved), [Flag::LooksLike("Payroll bot".into())]);
        assert_eq!(flags(&client("Payroll bot", &["https://payroll.example/other"]), &approved), []);
        assert_eq!(flags(&client("Payroll", &["https://evil.example/cb"]), &approved), []);
    }

    #[test]
    fn item_133_addresses_of_another_host_than_the_redirect_are_flagged() {
        let with = |logo: &str| {
            let logo_uri = Some(logo.to_owned());
            flags(&Metadata { logo_uri, ..client("Acme agent", &["https://agent.example/cb"]) }, [])
        };
        assert_eq!(with("https://evil.example/logo.png"), [Flag::OtherHost("logo_uri")]);
        assert_eq!(with("https://notagent.example/logo.png"), [Flag::OtherHost("logo_uri")]);
        assert_eq!(with("https://static.agent.example/logo.png"), []);
    }

    #[test]
    fn a_scheme_of_an_app_is_held_for_a_decision() {
        let found = flags(&client("Acme agent", &["com.acme.agent:/cb"]), []);
        assert_eq!(found, [Flag::App]);
        assert!(found.iter().all(Flag::is_held));
        assert!(!Flag::Loopback.is_held() && !Flag::OtherHost("logo_uri").is_held());
    }
}
