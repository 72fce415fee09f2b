//! Where operators look, and who may use the admin API there?

use std::net::SocketAddr;
use std::time::Duration;

use super::listeners::{clients, listen_address, pairs};
use super::{Context, login, quantity, web};
use crate::config::login::{Entrance, Login, Logins};
use crate::config::raw::RawClientCertificate;
use crate::config::raw::Strings;
use crate::config::raw::admin::{RawAdmin, RawAdminCertificate, RawAdminLogin, RawAdminRoles, RawAdminToken, RawRole};
use crate::config::report::At;
use crate::config::{Admin, AdminCertificate, AdminLogin, AdminToken, ListenAddress, Listener, Role, Tls, TokenDigest};

/// Characters of a token: what is shorter can be guessed, or was typed by a person.
const SHORTEST: usize = 32;
/// Characters of a name.
const LONGEST: usize = 64;
const SESSION: Duration = Duration::from_secs(8 * 3600);
const LONGEST_SESSION: Duration = Duration::from_secs(24 * 3600);

/// `None` where there is none, or a problem was told.
pub fn admin(raw: Option<RawAdmin>, at: &At<'_>, listeners: &[Listener], context: &mut Context<'_>) -> Option<Admin> {
    let RawAdmin { address, tls, client_ca, hosts, tokens, certificates, login } = raw?;
    let at = at.key("admin");
    let addresses = addresses(address, &at, listeners, context);
    let has_tls = tls.is_some();
    let pairs = tls.map(|raw| pairs(raw, &at.key("tls"), context)).unwrap_or_default();
    let has_ca = client_ca.is_some();
    // Nobody needs one for metrics, health, or with a token.
    let optional = has_ca.then_some(RawClientCertificate::Optional);
    let shown = clients(client_ca, optional, has_tls, &at, context);
    if has_tls && !addresses.iter().any(|address| matches!(address, ListenAddress::Tcp(_))) {
        context.report.mend(&at.key("tls"), "a Unix socket has no TLS", "remove `tls`, or add an address: `127.0.0.1:9180`");
    }
    let mut names = Vec::new();
    let tokens = self::tokens(tokens, &at.key("tokens"), &mut names, context);
    let certificates = self::certificates(certificates, has_ca, &at.key("certificates"), &mut names, context);
    let login = login.and_then(|raw| self::login(raw, &at.key("login"), context));
    let mut hosts = self::hosts(hosts, &at.key("hosts"), context);
    hosts.extend(login.as_ref().and_then(|login| host(&login.url)));
    let admin = Admin { hosts, tls: (!pairs.is_empty()).then_some(Tls { pairs, clients: shown }), addresses, tokens, certificates, login };
    for address in &admin.addresses {
        let ListenAddress::Tcp(socket) = address else { continue };
        if admin.has_api(address) && !socket.ip().is_loopback() && !has_tls {
            let hint = "add `tls: { certificate: …, key: … }`, or listen on `127.0.0.1` or at a Unix socket";
            let what = format!("`{socket}` is off loopback, where the tokens of the admin API could be read");
            context.report.mend(&at.key("address"), what, hint);
        }
    }
    (!admin.addresses.is_empty()).then_some(admin)
}

/// As `Host` names it.
fn host(url: &str) -> Option<String> {
    url::Url::parse(url).ok()?.host_str().map(|host| host.trim_matches(['[', ']']).to_owned())
}

fn login(raw: RawAdminLogin, at: &At<'_>, context: &mut Context<'_>) -> Option<AdminLogin> {
    let RawAdminLogin { url, oidc, roles, session } = raw;
    let session_at = at.key("session");
    let session = quantity::duration(session, SESSION, &session_at, &mut context.report);
    if session > LONGEST_SESSION {
        context.report.mend(&session_at, "a session lasts at most 24h", "write less");
    }
    let roles = self::roles(roles, at, context);
    let provider = match oidc {
        Some(raw) => login::oidc(raw, login::For::Admin, &at.key("oidc"), context),
        None => {
            context.missing_key(at, "oidc", "the OpenID provider: `oidc: { issuer: …, client_id: …, client_secret_file: … }`");
            None
        }
    };
    let Some(url) = url else {
        context.missing_key(at, "url", "what people type: `url: https://ops.example.com`");
        return None;
    };
    let at = at.key("url");
    let origin = web::origin(&url, &at, &mut context.report)?;
    if origin.scheme() == "http" && !web::is_loopback(&origin) {
        context.report.mend(&at, "the session could be read on the way", "use https; plain http is for loopback");
    }
    let provider = provider?;
    let issuer = if let Login::Oidc(oidc) = &provider { oidc.issuer.clone() } else { return None };
    Some(AdminLogin { url, issuer, logins: Logins { all: vec![provider] }, roles, session })
}

/// SECURITY: a role that names nobody in particular would be everybody's who has an account at the provider.
fn roles(raw: Option<RawAdminRoles>, at: &At<'_>, context: &mut Context<'_>) -> Vec<(Role, Entrance)> {
    let RawAdminRoles { viewer, reviewer, operator } = raw.unwrap_or_default();
    let here = at.key("roles");
    let all = [(Role::Operator, operator), (Role::Reviewer, reviewer), (Role::Viewer, viewer)];
    let mut roles = Vec::new();
    for (role, who) in all {
        let Some(who) = who else { continue };
        let at = here.key(role.name());
        let who = login::entrance(Some(who), &at, context);
        if who == Entrance::default() {
            let hint = "say who: `groups: [sre]`, or `claims: { sub: [alice] }`";
            context.report.mend(&at, format!("everybody at the provider would be `{}`", role.name()), hint);
        }
        roles.push((role, who));
    }
    if roles.is_empty() {
        context.missing_key(at, "roles", "who may do what: `roles: { operator: { groups: [sre] } }`");
    }
    roles
}

/// Addresses that neither clients nor each other use.
fn addresses(raw: Option<Strings>, at: &At<'_>, listeners: &[Listener], context: &mut Context<'_>) -> Vec<ListenAddress> {
    let Some(raw) = raw else {
        context.missing_key(at, "address", "where to serve metrics and health: `address: 127.0.0.1:9180`");
        return Vec::new();
    };
    let at = at.key("address");
    let mut all: Vec<ListenAddress> = Vec::new();
    for text in context.strings(Some(raw), &at) {
        let Some(address) = listen_address(&text, &at, context) else { continue };
        if listeners.iter().any(|listener| is_shared(&listener.address, &address)) {
            context.report.mend(&at, format!("`{address}` is an address that clients use"), "metrics and health need a port of their own");
        }
        all.push(address);
    }
    all
}

/// An unspecified address takes its port on all others.
fn is_shared(listener: &ListenAddress, admin: &ListenAddress) -> bool {
    let overlap = |one: &SocketAddr, other: &SocketAddr| {
        other.port() != 0
            && one.port() == other.port()
            && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
    };
    match (listener, admin) {
        (ListenAddress::Tcp(one), ListenAddress::Tcp(other)) => overlap(one, other),
        (one, other) => one == other,
    }
}

fn hosts(raw: Option<Strings>, at: &At<'_>, context: &mut Context<'_>) -> Vec<String> {
    let hosts = context.strings(raw, at);
    for (index, host) in hosts.iter().enumerate() {
        if host.parse::<std::net::Ipv6Addr>().is_err()
            && !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        {
            let hint = "write a name without scheme and port: `doorward.internal`; there are no wildcards";
            context.report.mend(&at.item(index), format!("`{host}` is not the name of a host"), hint);
        }
    }
    hosts.iter().map(|host| host.to_ascii_lowercase()).collect()
}

fn tokens(raw: Option<Vec<RawAdminToken>>, at: &At<'_>, names: &mut Vec<String>, context: &mut Context<'_>) -> Vec<AdminToken> {
    let mut all: Vec<AdminToken> = Vec::new();
    for (index, RawAdminToken { name, role, file }) in raw.into_iter().flatten().enumerate() {
        let at = at.item(index);
        let who = who(name, role, names, &at, context);
        let Some(file) = file else {
            context.missing_key(&at, "file", "the file with the token: `openssl rand -hex 32 > token`");
            continue;
        };
        let at = at.key("file");
        let Some(token) = context.secret_file(&at, &file) else { continue };
        if token.len() < SHORTEST {
            let hint = "`openssl rand -hex 32` makes one";
            context.report.mend(&at, format!("the token in `{file}` is shorter than {SHORTEST} characters"), hint);
        }
        let digest = TokenDigest::of(token.as_bytes());
        if all.iter().any(|other| other.digest == digest) {
            context.report.mend(&at, "this token is also somebody else's", "records could not tell them apart: make another");
        }
        let Some((name, role)) = who else { continue };
        all.push(AdminToken { name, role, digest });
    }
    all
}

fn certificates(
    raw: Option<Vec<RawAdminCertificate>>,
    has_ca: bool,
    at: &At<'_>,
    names: &mut Vec<String>,
    context: &mut Context<'_>,
) -> Vec<AdminCertificate> {
    let raw = raw.unwrap_or_default();
    if !raw.is_empty() && !has_ca {
        context.report.mend(at, "nothing says whose certificates are believed", "name the authority: `client_ca: clients.pem`");
    }
    let mut all: Vec<AdminCertificate> = Vec::new();
    for (index, RawAdminCertificate { name, role, subject }) in raw.into_iter().enumerate() {
        let at = at.item(index);
        let who = who(name, role, names, &at, context);
        let Some(subject) = subject else {
            context.missing_key(&at, "subject", "what the certificate must say: `subject: dns:ops.example.com`");
            continue;
        };
        let at = at.key("subject");
        let is_known =
            subject.split_once(':').is_some_and(|(kind, rest)| matches!(kind, "dns" | "email" | "uri" | "cn") && !rest.is_empty());
        if !is_known {
            let hint = "write `dns:`, `email:`, `uri:` or `cn:` and the name: `dns:ops.example.com`";
            context.report.mend(&at, format!("`{subject}` does not say which name is meant"), hint);
        }
        if all.iter().any(|other| other.subject == subject) {
            context.report.error(&at, format!("`{subject}` stands here twice"));
        }
        let Some((name, role)) = who else { continue };
        // As certificates are read.
        let subject = if subject.starts_with("dns:") { subject.to_ascii_lowercase() } else { subject };
        all.push(AdminCertificate { name, role, subject });
    }
    all
}

/// A name that stands in records, once, and a role.
fn who(
    name: Option<String>,
    role: Option<RawRole>,
    names: &mut Vec<String>,
    at: &At<'_>,
    context: &mut Context<'_>,
) -> Option<(String, Role)> {
    if name.is_none() {
        context.missing_key(at, "name", "how records call whoever has it: `name: ops`");
    }
    if role.is_none() {
        context.missing_key(at, "role", "one of `viewer`, `reviewer` and `operator`");
    }
    let (name, role) = (name?, role?);
    let at = at.key("name");
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@');
    if name.is_empty() || name.len() > LONGEST || !name.bytes().all(fits) {
        let hint = format!("write at most {LONGEST} letters, digits, `-`, `_`, `.` and `@`");
        context.report.mend(&at, format!("`{name}` cannot stand in records as a name"), hint);
    } else if names.contains(&name) {
        context.report.mend(&at, format!("`{name}` is somebody else already"), "records could not tell them apart");
    }
    names.push(name.clone());
    let role = match role {
        RawRole::Viewer => Role::Viewer,
        RawRole::Reviewer => Role::Reviewer,
        RawRole::Operator => Role::Operator,
    };
    Some((name, role))
}
