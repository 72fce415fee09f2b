//! `doorward ownership`: for each upstream, who issues tokens, registers clients, asks people, signs, revokes and reviews.
//!
//! The document that a governance review asks for first. From the configuration alone: nothing is asked, and nothing running needed.

use clap::Args;
use serde_json::{Value, json};

use super::{Failure, File, say};
use crate::config::registration::Admission;
use crate::config::{self, AuthorizationServer, Config, KeySource};
use crate::route::Route;
use crate::state::environment;

#[derive(Args)]
pub struct Ownership {
    #[command(flatten)]
    file: File,
    /// A JSON array.
    #[arg(long)]
    json: bool,
}

/// Who does what for one upstream, in words.
struct Duties {
    ownership: &'static str,
    issues: String,
    registers: String,
    consents: String,
    signs: String,
    revokes: String,
    reviews: String,
}

impl Ownership {
    pub fn run(self) -> Result<(), Failure> {
        let config = config::load(&self.file.config, &environment).map_err(Failure::Problems)?.config;
        let all = config.routes.iter().map(|route| (route, duties(route, &config)));
        if self.json {
            let all: Vec<Value> = all.map(|(route, duties)| shown(route, &duties)).collect();
            return say(&format!("{:#}\n", Value::from(all)));
        }
        let mut text = String::new();
        for (route, Duties { ownership, issues, registers, consents, signs, revokes, reviews }) in all {
            text += &format!("{} ({}): {ownership}\n", route.name, route.resource);
            for (what, who) in [
                ("issues", issues),
                ("registers", registers),
                ("consents", consents),
                ("signs", signs),
                ("revokes", revokes),
                ("reviews", reviews),
            ] {
                text += &format!("  {what:<10} {who}\n");
            }
        }
        say(&text)
    }
}

fn shown(route: &Route, duties: &Duties) -> Value {
    let Duties { ownership, issues, registers, consents, signs, revokes, reviews } = duties;
    json!({
        "upstream": *route.name, "resource": route.resource, "ownership": ownership, "issues": issues, "registers": registers,
        "consents": consents, "signs": signs, "revokes": revokes, "reviews": reviews,
    })
}

fn duties(route: &Route, config: &Config) -> Duties {
    let own = config.authorization_server.as_deref();
    let own = own.and_then(|server| Some((server, server.ownership(&route.name)?)));
    let reviews = reviews(route, config, own.is_some());
    match own {
        Some((server, ownership)) => Duties {
            ownership,
            issues: format!("Doorward, as {}", server.issuer),
            registers: registers(server),
            consents: consents(server, ownership == "self_managed"),
            signs: format!(
                "Doorward, with {}; a new key every {}, sealed under {}",
                server.tokens.algorithm.as_str(),
                humantime::format_duration(server.tokens.rotate_keys),
                server.key_file.path.display()
            ),
            revokes: "Doorward: `doorward grants end`, `doorward revoke`, clients at /revoke, people at /doorward/connected".into(),
            reviews,
        },
        None => Duties {
            ownership: "hosted",
            issues: listed(route, config, |_, issuer| issuer.rules.issuer.to_string()),
            registers: format!("the issuer{}", configured(route, config)),
            consents: "the issuer".into(),
            signs: listed(route, config, |name, issuer| format!("{name}, with keys from {}", keys(&issuer.keys))),
            revokes: match config.store {
                Some(_) => "Doorward: `doorward revoke`; and the issuer, for what it issues next".into(),
                None => "the issuer, for what it issues next; nobody here, for there is no `store`".into(),
            },
            reviews,
        },
    }
}

fn registers(server: &AuthorizationServer) -> String {
    let how = |admission| match admission {
        Admission::Off => "off",
        Admission::Approval => "after approval",
        Admission::Open => "open",
    };
    let registration = &server.registration;
    format!(
        "Doorward: metadata documents {}, dynamic registration {}, {} in the configuration",
        how(registration.documents),
        how(registration.dynamic),
        server.clients.len()
    )
}

fn consents(server: &AuthorizationServer, self_managed: bool) -> String {
    let logins = server.logins.all.iter().filter(|login| (login.name() == "accounts") == self_managed);
    let logins: Vec<String> = logins.map(|login| format!("{} (`{}`)", login.title(), login.name())).collect();
    match logins.is_empty() {
        true => "nobody: only machines get tokens".into(),
        false => format!("Doorward, for each person, client, redirect and scope; people sign in with {}", logins.join(", ")),
    }
}

/// Who decides on clients, and by what use is looked through.
fn reviews(route: &Route, config: &Config, own: bool) -> String {
    let clients = match (route.approves_clients, own) {
        (true, _) => "clients that nobody approved are refused",
        (false, true) => "clients come in as `registration` says",
        (false, false) => "clients that nobody approved may call",
    };
    match config.store {
        Some(_) => format!("Doorward: {clients} (`doorward clients`), use by `doorward review`"),
        None => format!("nobody: {clients}, and without a `store` no use is kept"),
    }
}

fn listed(route: &Route, config: &Config, text: impl Fn(&str, &config::Issuer) -> String) -> String {
    let own = config.issuers.iter().filter(|(_, issuer)| route.issuers.iter().any(|rules| rules.issuer == issuer.rules.issuer));
    own.map(|(name, issuer)| text(name, issuer)).collect::<Vec<_>>().join(", ")
}

fn configured(route: &Route, config: &Config) -> String {
    let is_ours = |issuer: &str| route.issuers.iter().any(|rules| *rules.issuer == *issuer);
    match config.clients.iter().filter(|client| is_ours(&client.client.key.issuer)).count() {
        0 => String::new(),
        count => format!("; {count} in the configuration"),
    }
}

fn keys(source: &KeySource) -> String {
    match source {
        KeySource::Discovery => "its metadata".into(),
        KeySource::Metadata(url) | KeySource::Jwks(url) => url.clone(),
        KeySource::File(path) => path.display().to_string(),
        KeySource::Nowhere => "nowhere: it is asked about each token".into(),
        KeySource::Own => "the store".into(),
    }
}
