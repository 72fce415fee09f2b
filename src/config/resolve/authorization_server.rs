//! Whether tokens are issued here, and how.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Context, Scopes, issuers, login, pages, quantity, registration, trusted};
use crate::config::authorization_server::{AuthorizationServer, KeyFile, OWN, Resource, Tokens};
use crate::config::login::{AccountsLogin, Login, Logins};
use crate::config::raw::DurationText;
use crate::config::raw::authorization_server::{RawAuthorizationServer, RawSigning, RawTokens};
use crate::config::raw::login::RawLogin;
use crate::config::report::At;
use crate::config::{Issuer, KeySource, KeyTimes, Store, StorePlace, profile};
use crate::governance::Acceptance;
use crate::oauth::schedule::LONGEST_ACCESS;
use crate::route::{AUTHORIZATION_PAGES, AUTHORIZATION_PATHS, Rate, Route};
use crate::token::{Algorithm, IssuerRules};

const LONGEST_CODE: Duration = Duration::from_secs(600);
const SHORTEST_ROTATION: Duration = Duration::from_secs(2 * 3600);
const SESSION: Duration = Duration::from_secs(8 * 3600);
const LONGEST_SESSION: Duration = Duration::from_secs(7 * 24 * 3600);
const RATE: Rate = Rate { count: 30, per: Duration::from_secs(1) };

/// The issuer that upstreams get which own their tokens here.
pub fn own_issuer(public_url: &str) -> Issuer {
    // Both, so that a change of the algorithm refuses nobody. It is our own clock, or that of another replica.
    let algorithms = vec![Algorithm::ES256, Algorithm::EdDSA];
    let rules = issuers::plain_rules(OWN, public_url, algorithms, Duration::from_secs(5));
    let rules = IssuerRules { required_claims: ["client_id", "jti"].map(str::to_owned).to_vec(), own: true, ..rules };
    Issuer {
        rules: Arc::new(rules),
        keys: KeySource::Own,
        times: KeyTimes::default(),
        allow_http: false,
        introspection: None,
        profile: &profile::PLAIN,
        assume_s256: false,
        accept_new_keys: Acceptance::Immediately,
    }
}

/// What the section is resolved beside.
pub struct Beside<'a> {
    pub own: Option<&'a Arc<Issuer>>,
    pub store: Option<&'a Store>,
    pub routes: &'a [Arc<Route>],
    /// Upstreams whose tokens are issued here, and whether people have accounts here for them; with what they are called.
    pub owned: Vec<Owned>,
    pub scopes: &'a Scopes,
}

/// An upstream whose tokens are issued here.
#[derive(Clone, Debug)]
pub struct Owned {
    pub upstream: String,
    pub title: String,
    pub self_managed: bool,
}

impl Beside<'_> {
    /// `issuers` are those whose JWTs are taken for tokens of our own, by the name under which their keys are found.
    pub fn resolve(
        &self,
        raw: RawAuthorizationServer,
        issuers: &mut BTreeMap<String, Arc<Issuer>>,
        at: &At<'_>,
        context: &mut Context<'_>,
    ) -> Option<AuthorizationServer> {
        let RawAuthorizationServer {
            key_file,
            tokens,
            rate,
            identity_assertions,
            workloads,
            introspection_clients,
            login,
            session,
            pages,
            registration,
            clients,
        } = raw;
        if self.owned.is_empty() && !context.report.has_errors() {
            let hint = "write `ownership: bridge` or `ownership: self_managed` at an upstream, or remove the section";
            context.report.mend(at, "tokens are issued here, and no upstream takes them", hint);
        }
        self.refuse_taken_paths(context, at);
        let tokens = self::tokens(tokens, &at.key("tokens"), context);
        let rate = quantity::rate(rate, &at.key("rate"), &mut context.report).unwrap_or(RATE);
        let key_file = self.key_file(key_file, at, context);
        let introspection_clients = context.strings(introspection_clients, &at.key("introspection_clients"));
        let issuer = self.own.map(|own| &*own.rules.issuer);
        let registration = registration::resolve(registration, issuer, &at.key("registration"), context);
        let clients = registration::clients(clients, &at.key("clients"), context);
        let logins = self.logins(login, at, context);
        let session = self::session(session, &at.key("session"), context);
        let pages = pages::resolve(pages, self.own.map(|own| &*own.rules.issuer), &at.key("pages"), context);
        let own = self.own?;
        let mut trusted = trusted::Section { own: &own.rules.issuer, owned: &self.owned, issuers: BTreeMap::new() };
        let identity_assertions = trusted.identities(identity_assertions, &at.key("identity_assertions"), context);
        let workloads = trusted.workloads(workloads, &at.key("workloads"), context);
        issuers.extend(trusted.issuers);
        Some(AuthorizationServer {
            issuer: own.rules.issuer.clone(),
            rules: own.rules.clone(),
            key_file: key_file?,
            tokens,
            resources: self.resources(),
            identity_assertions,
            workloads,
            introspection_clients,
            words: self.scopes.words(),
            rate,
            registration,
            clients,
            logins: logins?,
            session,
            pages,
        })
    }

    /// Accounts need no section where an upstream is `self_managed`.
    fn logins(&self, raw: Option<RawLogin>, at: &At<'_>, context: &mut Context<'_>) -> Option<Logins> {
        let mut logins = match raw {
            None => Logins::default(),
            some => login::resolve(some, &at.key("login"), context)?,
        };
        if self.owned.iter().any(|owned| owned.self_managed) && logins.find("accounts").is_none() {
            logins.all.push(Login::Accounts(AccountsLogin::default()));
        }
        let bridged = self.owned.iter().find(|owned| !owned.self_managed);
        if let Some(Owned { upstream, .. }) = bridged.filter(|_| logins.all.iter().all(|login| login.name() == "accounts")) {
            let hint = "name `oidc`, `oauth2` or `application` under `login`, or write `ownership: self_managed`";
            context.report.warn(at, format!("no person can sign in for `{upstream}`: only machines get tokens"), hint);
        }
        Some(logins)
    }

    fn key_file(&self, raw: Option<String>, at: &At<'_>, context: &mut Context<'_>) -> Option<KeyFile> {
        let here = at.key("key_file");
        match (raw, self.store.map(|store| &store.place)) {
            (Some(written), place) => {
                let path = Context::path(&here, &written);
                let make = matches!(place, Some(StorePlace::Sqlite(_))) && !path.exists();
                if !make {
                    // A reload that finds another secret would be of no use: what is sealed is sealed.
                    context.seal_keys(&here, &written)?;
                }
                Some(KeyFile { path, make })
            }
            (None, Some(StorePlace::Sqlite(database))) => {
                let mut path = database.clone().into_os_string();
                path.push(".key");
                Some(KeyFile { path: path.into(), make: true })
            }
            (None, Some(StorePlace::Postgres(_))) => {
                context.missing_key(at, "key_file", "with PostgreSQL: a file with 32 random bytes, the same for all replicas");
                None
            }
            (None, None) => {
                if !context.report.has_errors() {
                    let hint = "add `store: sqlite:doorward.db`, or a PostgreSQL database for several replicas";
                    context.report.mend(at, "grants and keys must survive, and there is no `store` to keep them in", hint);
                }
                None
            }
        }
    }

    fn resources(&self) -> Vec<Resource> {
        let resource = |route: &Arc<Route>| {
            let owned = self.owned.iter().find(|owned| owned.upstream == *route.name)?;
            let asked = route.policy.scopes();
            let mut scopes: Vec<String> = asked.iter().flat_map(|scope| self.scopes.satisfying(scope)).collect();
            scopes.sort_unstable();
            scopes.dedup();
            Some(Resource {
                upstream: route.name.clone(),
                title: owned.title.clone(),
                resource: route.resource.clone(),
                scopes,
                advertised: asked.into_iter().filter(|scope| self.scopes.advertises(scope)).map(str::to_owned).collect(),
                require_dpop: route.sender.demand.dpop,
                approves_clients: route.approves_clients,
                self_managed: owned.self_managed,
            })
        };
        self.routes.iter().filter_map(resource).collect()
    }

    fn refuse_taken_paths(&self, context: &mut Context<'_>, at: &At<'_>) {
        let Some(own) = self.own else { return };
        for route in self.routes {
            let Some(path) = route.resource.strip_prefix(&*own.rules.issuer) else { continue };
            if AUTHORIZATION_PATHS.contains(&path) || path.starts_with(AUTHORIZATION_PAGES) {
                let message = format!("`{path}`, the path of `{}`, is one of the authorization server's own", route.name);
                context.report.mend(at, message, "give the upstream another `path`");
            }
        }
    }
}

fn session(raw: Option<DurationText>, at: &At<'_>, context: &mut Context<'_>) -> Duration {
    let session = quantity::duration(raw, SESSION, at, &mut context.report);
    if session > LONGEST_SESSION {
        context.report.mend(at, "a browser that is lost would stay signed in for long", "write `7d` or less");
    }
    session
}

fn tokens(raw: Option<RawTokens>, at: &At<'_>, context: &mut Context<'_>) -> Tokens {
    let default = Tokens::default();
    let Some(raw) = raw else { return default };
    let RawTokens { access, refresh, refresh_idle, code, algorithm, rotate_keys, allow_endpoint_audience } = raw;
    let report = &mut context.report;
    let tokens = Tokens {
        access: quantity::duration(access, default.access, &at.key("access"), report),
        refresh: quantity::duration(refresh, default.refresh, &at.key("refresh"), report),
        refresh_idle: quantity::duration(refresh_idle, default.refresh_idle, &at.key("refresh_idle"), report),
        code: quantity::duration(code, default.code, &at.key("code"), report),
        algorithm: match algorithm {
            None | Some(RawSigning::Es256) => Algorithm::ES256,
            Some(RawSigning::EdDsa) => Algorithm::EdDSA,
        },
        rotate_keys: quantity::duration(rotate_keys, default.rotate_keys, &at.key("rotate_keys"), report),
        allow_endpoint_audience: allow_endpoint_audience.unwrap_or(false),
    };
    if tokens.access > Duration::from_secs(LONGEST_ACCESS) || tokens.access < Duration::from_secs(1) {
        report.mend(&at.key("access"), "an access token lives between 1s and 1h", "10m is right for most");
    }
    if tokens.code > LONGEST_CODE || tokens.code < Duration::from_secs(1) {
        report.mend(&at.key("code"), "a code lives between 1s and 10m (OAuth 2.1 §4.1.2)", "60s is enough for a client");
    }
    if tokens.refresh_idle > tokens.refresh {
        report.mend(&at.key("refresh_idle"), "longer than `refresh`, so it would never count", "write less");
    }
    if tokens.rotate_keys < SHORTEST_ROTATION {
        report.mend(&at.key("rotate_keys"), "a key is published for an hour before it signs", "write at least 2h");
    }
    tokens
}
