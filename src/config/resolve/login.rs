//! Where do people sign in, as whom do we ask there, and who may come in?

use std::time::Duration;

use url::Url;

use super::{Context, issuers, quantity, web};
use crate::config::login::{
    AccountsLogin, ApplicationLogin, Entrance, Login, LoginClient, Logins, OAuth2Login, OidcLogin, PersonClaims, Standing,
};
use crate::config::raw::login::{
    RawAccountsLogin, RawApplicationLogin, RawEntrance, RawLogin, RawOAuth2Login, RawOAuth2Profile, RawOidcLogin, RawOidcProfile,
    RawPersonClaims,
};
use crate::config::raw::{DurationText, Keyed, Strings};
use crate::config::report::At;
use crate::config::{KeySource, Secret, profile};

const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a secret that requests are signed with.
const SHORTEST_SECRET: usize = 32;
/// What we send ourselves when a person is sent to a login.
const OWN_PARAMETERS: &[&str] = &[
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "max_age",
    "acr_values",
];

/// Every login of the section; none where the report says why.
pub fn resolve(raw: Option<RawLogin>, at: &At<'_>, context: &mut Context<'_>) -> Option<Logins> {
    let RawLogin { oidc, oauth2, application, accounts } = raw.unwrap_or_default();
    let all = [
        oidc.map(|raw| self::oidc(raw, For::Tokens, &at.key("oidc"), context)),
        oauth2.map(|raw| self::oauth2(raw, &at.key("oauth2"), context)),
        application.map(|raw| self::application(raw, &at.key("application"), context)),
        accounts.map(|RawAccountsLogin { title }| {
            Some(Login::Accounts(title.map_or_else(AccountsLogin::default, |title| AccountsLogin { title })))
        }),
    ];
    let named: Vec<Option<Login>> = all.into_iter().flatten().collect();
    if named.is_empty() {
        let hint = "name one of `oidc`, `oauth2`, `application` and `accounts`";
        context.report.missing(at, "nobody can sign in", hint);
        return None;
    }
    named.into_iter().collect::<Option<Vec<Login>>>().map(|all| Logins { all })
}

/// What somebody signs in for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// Tokens for clients, with which the person is asked about again.
    Tokens,
    /// The admin listener, where roles say who comes in, and nobody is asked about again.
    Admin,
}

pub fn oidc(raw: RawOidcLogin, aim: For, at: &At<'_>, context: &mut Context<'_>) -> Option<Login> {
    let RawOidcLogin {
        title,
        issuer,
        profile,
        metadata_url,
        jwks_uri,
        algorithms,
        client_id,
        client_secret_file,
        client_secret_env,
        client_secret_post,
        scopes,
        parameters,
        claims,
        require,
        allow_anyone,
        recheck,
        sign_in_again,
        leeway,
        keys,
        allow_http,
    } = raw;
    let allow_http = allow_http.unwrap_or(false);
    let secret = context.client_secret(client_secret_file, client_secret_env, at);
    let client = client(client_id, secret, client_secret_post.unwrap_or(false), at, context);
    let is_google = matches!(profile, Some(RawOidcProfile::Google));
    let mut parameters = self::parameters(parameters, &at.key("parameters"), context);
    if is_google && aim == For::Tokens {
        for (name, value) in [("access_type", "offline"), ("prompt", "consent")] {
            if !parameters.iter().any(|(other, _)| other == name) {
                parameters.push((name.into(), value.into()));
            }
        }
    }
    let offline = !is_google && aim == For::Tokens;
    let default: &[&str] = if offline { &["openid", "profile", "email", "offline_access"] } else { &["openid", "profile", "email"] };
    let scopes = self::scopes(scopes, default, &at.key("scopes"), context);
    if !scopes.iter().any(|scope| scope == "openid") {
        context.report.mend(&at.key("scopes"), "without `openid` there is no ID token", "add `openid`");
    }
    let entrance = entrance(require, &at.key("require"), context);
    let open = is_google || issuer.as_deref().is_some_and(lets_everybody_in);
    if open && aim == For::Tokens && entrance == Entrance::default() && !allow_anyone.unwrap_or(false) {
        let hint = "say who may come in with `require: { claims: { hd: acme.com } }`, or set `allow_anyone: true`";
        context.report.mend(at, "everybody in the world can make an account there", hint);
    }
    let claims = person_claims(claims, oidc_claims(profile), &at.key("claims"), context);
    let algorithms = issuers::accepted_algorithms(algorithms, &profile::PLAIN, &at.key("algorithms"), context);
    for (key, written) in
        [("recheck", recheck.is_some()), ("sign_in_again", sign_in_again.is_some()), ("allow_anyone", allow_anyone.is_some())]
    {
        if written && aim == For::Admin {
            context.report.mend(&at.key(key), format!("`{key}` has no meaning here"), "remove it; `session` and `roles` say what holds");
        }
    }
    let standing = standing(recheck, sign_in_again, at, context);
    let leeway = issuers::accepted_leeway(leeway, &at.key("leeway"), context);
    let times = issuers::key_times(keys, &at.key("keys"), context);
    let metadata_url = metadata_url.filter(|text| is_safe(text, allow_http, &at.key("metadata_url"), context));
    let source = match jwks_uri.filter(|text| is_safe(text, allow_http, &at.key("jwks_uri"), context)) {
        Some(url) => KeySource::Jwks(url),
        None => metadata_url.clone().map_or(KeySource::Discovery, KeySource::Metadata),
    };
    let Some(issuer) = issuer else {
        context.missing_key(at, "issuer", "the issuer identifier, as ID tokens carry it in `iss`");
        return None;
    };
    issuers::identifier_is_sound(&issuer, allow_http, &at.key("issuer"), context).then_some(())?;
    let title = title.unwrap_or_else(|| host(&issuer));
    let client = client?;
    Some(Login::Oidc(Box::new(OidcLogin {
        title,
        issuer,
        keys: source,
        metadata_url,
        algorithms,
        client,
        scopes,
        parameters,
        claims,
        entrance,
        standing,
        leeway,
        times,
        allow_http,
    })))
}

/// Providers at which any person, or any company, can be.
fn lets_everybody_in(issuer: &str) -> bool {
    let plain = issuer.trim_end_matches('/');
    plain == "https://accounts.google.com"
        || ["/common/v2.0", "/consumers/v2.0", "/organizations/v2.0"].iter().any(|end| plain.ends_with(end))
}

fn oidc_claims(profile: Option<RawOidcProfile>) -> PersonClaims {
    let (subject, groups): (&str, &[&str]) = match profile {
        // `sub` is another for each client there.
        Some(RawOidcProfile::Entra) => ("oid", &["groups", "roles"]),
        Some(RawOidcProfile::Keycloak) => ("sub", &["groups", "realm_access.roles"]),
        Some(RawOidcProfile::Google | RawOidcProfile::Okta) | None => ("sub", &["groups"]),
    };
    PersonClaims {
        subject: subject.into(),
        name: "name".into(),
        email: "email".into(),
        groups: groups.iter().map(|name| (*name).into()).collect(),
    }
}

fn oauth2(raw: RawOAuth2Login, at: &At<'_>, context: &mut Context<'_>) -> Option<Login> {
    let RawOAuth2Login {
        title,
        profile,
        authorization_url,
        token_url,
        user_url,
        api_url,
        client_id,
        client_secret_file,
        client_secret_env,
        client_secret_post,
        scopes,
        parameters,
        claims,
        organizations,
        teams,
        require,
        allow_anyone,
        recheck,
        sign_in_again,
        timeout,
        allow_http,
    } = raw;
    let allow_http = allow_http.unwrap_or(false);
    let is_github = profile == Some(RawOAuth2Profile::Github);
    let secret = context.client_secret(client_secret_file, client_secret_env, at);
    let client = client(client_id, secret, client_secret_post.unwrap_or(is_github), at, context);
    let api = api_url.or_else(|| is_github.then(|| "https://api.github.com".to_owned()));
    let api = api.filter(|text| is_safe(text, allow_http, &at.key("api_url"), context)).map(|url| url.trim_end_matches('/').to_owned());
    let known = |text: Option<String>, github: Option<String>| text.or_else(|| github.filter(|_| is_github));
    let authorization_url = known(authorization_url, Some("https://github.com/login/oauth/authorize".into()));
    let token_url = known(token_url, Some("https://github.com/login/oauth/access_token".into()));
    let user_url = known(user_url, api.as_ref().map(|api| format!("{api}/user")));
    let mut needed = |key: &str, value: Option<String>| {
        if value.is_none() {
            context.missing_key(at, key, "an address of the OAuth 2 server, or set `profile: github`");
        }
        value.filter(|text| is_safe(text, allow_http, &at.key(key), context))
    };
    let [authorization_url, token_url, user_url] =
        [needed("authorization_url", authorization_url), needed("token_url", token_url), needed("user_url", user_url)];
    let default: &[&str] = if is_github { &["read:user", "read:org"] } else { &[] };
    let scopes = self::scopes(scopes, default, &at.key("scopes"), context);
    let mut entrance = entrance(require, &at.key("require"), context);
    for (key, names) in [("organizations", organizations), ("teams", teams)] {
        if names.is_some() && !is_github {
            context.report.mend(&at.key(key), format!("`{key}` are GitHub's"), "use `require: { groups: […] }`");
        }
        entrance.groups.extend(context.strings(names, &at.key(key)));
    }
    if entrance == Entrance::default() && !allow_anyone.unwrap_or(false) {
        let hint = "say who may come in with `organizations`, `teams` or `require`, or set `allow_anyone: true`";
        context.report.mend(at, "whoever has an account there could come in", hint);
    }
    let subject = PersonClaims { subject: "id".into(), name: "name".into(), email: "email".into(), groups: vec!["groups".into()] };
    let claims = person_claims(claims, subject, &at.key("claims"), context);
    let parameters = self::parameters(parameters, &at.key("parameters"), context);
    let standing = standing(recheck, sign_in_again, at, context);
    let timeout = quantity::duration(timeout, TIMEOUT, &at.key("timeout"), &mut context.report);
    let authorization_url = authorization_url?;
    let title = title.unwrap_or_else(|| if is_github { "GitHub".into() } else { host(&authorization_url) });
    Some(Login::OAuth2(Box::new(OAuth2Login {
        title,
        authorization_url,
        token_url: token_url?,
        user_url: user_url?,
        api_url: api.filter(|_| is_github),
        client: client?,
        scopes,
        parameters,
        claims,
        entrance,
        standing,
        timeout,
        allow_http,
    })))
}

fn application(raw: RawApplicationLogin, at: &At<'_>, context: &mut Context<'_>) -> Option<Login> {
    let RawApplicationLogin { title, url, secret_file, secret_env, status_url, recheck, sign_in_again, timeout, allow_http } = raw;
    let allow_http = allow_http.unwrap_or(false);
    let secret = context.secret([secret_file, secret_env], ("secret", "secret"), "", at).map(|(_, secret)| secret);
    if secret.as_ref().is_some_and(|secret| secret.len() < SHORTEST_SECRET) {
        context.report.mend(at, "the secret is shorter than 32 characters", "make one with `openssl rand -base64 32`");
    }
    let status_url = status_url.filter(|text| is_safe(text, allow_http, &at.key("status_url"), context));
    let standing = standing(recheck, sign_in_again, at, context);
    let timeout = quantity::duration(timeout, TIMEOUT, &at.key("timeout"), &mut context.report);
    let Some(url) = url else {
        context.missing_key(at, "url", "the application's login page, to which people are sent with `ticket` added");
        return None;
    };
    is_safe(&url, allow_http, &at.key("url"), context).then_some(())?;
    let title = title.unwrap_or_else(|| host(&url));
    Some(Login::Application(Box::new(ApplicationLogin {
        title,
        url,
        secret: Secret::new(secret?),
        status_url,
        standing,
        timeout,
        allow_http,
    })))
}

fn client(id: Option<String>, secret: Option<String>, in_body: bool, at: &At<'_>, context: &mut Context<'_>) -> Option<LoginClient> {
    let Some(id) = id.filter(|id| !id.trim().is_empty()) else {
        context.missing_key(at, "client_id", "what Doorward is called there");
        return None;
    };
    Some(LoginClient { id, secret: Secret::new(secret?), in_body })
}

fn scopes(raw: Option<Strings>, default: &[&str], at: &At<'_>, context: &mut Context<'_>) -> Vec<String> {
    match raw {
        None => default.iter().map(|scope| (*scope).to_owned()).collect(),
        some => context.strings(some, at),
    }
}

fn parameters(raw: Option<Keyed<String>>, at: &At<'_>, context: &mut Context<'_>) -> Vec<(String, String)> {
    let Some(Keyed(pairs)) = raw else { return Vec::new() };
    for (name, _) in &pairs {
        if OWN_PARAMETERS.contains(&name.as_str()) {
            context.report.mend(&at.key(name), format!("`{name}` is set by Doorward"), "remove it");
        }
    }
    pairs
}

fn person_claims(raw: Option<RawPersonClaims>, default: PersonClaims, at: &At<'_>, context: &mut Context<'_>) -> PersonClaims {
    let RawPersonClaims { subject, name, email, groups } = raw.unwrap_or_default();
    PersonClaims {
        subject: subject.unwrap_or(default.subject),
        name: name.unwrap_or(default.name),
        email: email.unwrap_or(default.email),
        groups: match groups {
            None => default.groups,
            some => context.strings(some, &at.key("groups")),
        },
    }
}

pub fn entrance(raw: Option<RawEntrance>, at: &At<'_>, context: &mut Context<'_>) -> Entrance {
    let Some(RawEntrance { groups, claims }) = raw else { return Entrance::default() };
    let groups = context.strings(groups, &at.key("groups"));
    let pairs = claims.map(|Keyed(pairs)| pairs).unwrap_or_default();
    let claims = pairs.into_iter().map(|(path, values)| {
        let values = context.strings(Some(values), &at.key("claims").key(&path));
        (path, values)
    });
    Entrance { groups, claims: claims.collect() }
}

fn standing(recheck: Option<DurationText>, again: Option<DurationText>, at: &At<'_>, context: &mut Context<'_>) -> Standing {
    let default = Standing::default();
    Standing {
        recheck: quantity::duration(recheck, default.recheck, &at.key("recheck"), &mut context.report),
        sign_in_again: quantity::duration(again, default.sign_in_again, &at.key("sign_in_again"), &mut context.report),
    }
}

pub fn is_safe(text: &str, allow_http: bool, at: &At<'_>, context: &mut Context<'_>) -> bool {
    let Some(url) = web::url(text, at, &mut context.report) else { return false };
    if url.scheme() == "http" && !web::is_loopback(&url) {
        if !allow_http {
            let hint = "use https; `allow_http: true` beside it accepts the risk, for development";
            context.report.mend(at, "plain http lets anyone on the path be anybody", hint);
            return false;
        }
        context.report.warn(at, "plain http lets anyone on the path be anybody", "use https");
    }
    true
}

fn host(url: &str) -> String {
    Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_else(|| "Sign in".to_owned())
}
