//! How does this provider differ from the standards? One table: a row sets an issuer's defaults and
//! holds the advice for what usually goes wrong with it.
//!
//! Every value may be written over in the issuer's own section. Knows no token and no network.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::token::{Algorithm, AudienceFrom};

/// One provider.
#[derive(Debug, PartialEq, Eq)]
pub struct Profile {
    /// As it is written in `profile`.
    pub name: &'static str,
    /// Why its tokens cannot be accepted here; the rest of such a row says nothing.
    pub refused: Option<&'static str>,
    /// What its issuer identifiers have in them.
    pub issuer: Part,
    /// Where its metadata stands; `{issuer}` is the identifier without a slash at its end, `{tenant}`
    /// the first segment of its path. None for discovery.
    pub metadata: Option<&'static str>,
    pub algorithms: &'static [Algorithm],
    /// Accepted `typ`, lower case; `none` for a header without one.
    pub token_types: &'static [&'static str],
    /// Claim paths, tried in turn.
    pub scopes: &'static [&'static str],
    pub client: &'static [&'static str],
    pub groups: &'static [&'static str],
    pub subject: &'static str,
    pub required_claims: &'static [&'static str],
    pub required_values: &'static [(&'static str, &'static [&'static str])],
    pub audience_from: AudienceFrom,
    /// What `audience` must be set to, where tokens never name the resource itself.
    pub audience: Option<&'static str>,
    /// Whether `resource` (RFC 8707) in a client's request decides the audience.
    pub knows_resource: bool,
    /// Takes S256 and does not say so in its metadata.
    pub assume_s256: bool,
    /// How a client that nobody knows comes to an id there; empty where that was not found out.
    pub registration: &'static str,
    pub advice: &'static [(Mistake, &'static str)],
}

/// What an identifier has in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Any,
    Within(&'static str),
    AtEnd(&'static str),
}

/// What usually goes wrong between a provider and a resource. The names are labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mistake {
    WrongAudience,
    /// No `aud` at all: a mapper or setting is missing.
    NoAudience,
    /// Another claim is missing: a mapper or setting is missing.
    NoClaim,
    Opaque,
    Encrypted,
    IdToken,
    /// A `typ`, or a value of a claim, that is not accepted.
    Kind,
    Issuer,
    Algorithm,
}

impl Mistake {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WrongAudience => "wrong_audience",
            Self::NoAudience => "no_audience",
            Self::NoClaim => "no_claim",
            Self::Opaque => "opaque_token",
            Self::Encrypted => "encrypted_token",
            Self::IdToken => "id_token",
            Self::Kind => "kind_of_token",
            Self::Issuer => "issuer",
            Self::Algorithm => "algorithm",
        }
    }
}

impl Profile {
    pub fn named(name: &str) -> Option<&'static Self> {
        PROFILES.iter().find(|profile| profile.name == name)
    }

    /// What to change at the provider, in one line.
    pub fn advice(&self, mistake: Mistake) -> &'static str {
        let own = self.advice.iter().find(|(known, _)| *known == mistake);
        own.map_or_else(|| self.common(mistake), |(_, text)| *text)
    }

    fn common(&self, mistake: Mistake) -> &'static str {
        match mistake {
            Mistake::WrongAudience if self.knows_resource => {
                "the client must ask with `resource` set to this upstream's URL, and the provider must know that URL as a resource"
            }
            Mistake::WrongAudience => {
                "the provider does not follow `resource`: configure it to put this upstream's URL into `aud`, or name what it puts there in `audience`"
            }
            Mistake::NoAudience => "configure the provider to put this upstream's URL into `aud` of its access tokens",
            Mistake::NoClaim => {
                "configure the provider to put the claims named in `required_claims` and `claims.subject` into its access tokens"
            }
            Mistake::Opaque => "configure the provider to issue JWT access tokens for this resource",
            Mistake::Encrypted => "configure the provider to sign access tokens for this resource and not to encrypt them",
            Mistake::IdToken => "the client sent the ID token: it must send the `access_token` of the token response",
            Mistake::Kind => "if this is the provider's access token, name its `typ` in `token_types` and its values in `required_values`",
            Mistake::Issuer => "compare `iss` of the token with `issuer` letter by letter, the slash at the end included",
            Mistake::Algorithm => "name the algorithm that the provider signs with in `algorithms`, or let it sign with one of those",
        }
    }
}

/// The standards themselves: what an issuer without a profile is taken for.
pub const PLAIN: Profile = Profile {
    name: "none",
    refused: None,
    issuer: Part::Any,
    metadata: None,
    algorithms: &[Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA],
    token_types: &["at+jwt"],
    scopes: &["scope", "scp"],
    client: &["client_id", "azp"],
    groups: &["groups"],
    subject: "sub",
    required_claims: &[],
    required_values: &[],
    audience_from: AudienceFrom::Aud,
    audience: None,
    knows_resource: true,
    assume_s256: false,
    registration: "",
    advice: &[],
};

const OPENID: Option<&str> = Some("{issuer}/.well-known/openid-configuration");

const fn refused(name: &'static str, why: &'static str) -> Profile {
    Profile { name, refused: Some(why), ..PLAIN }
}

const ENTRA: Profile = Profile {
    name: "entra",
    registration: "there is no dynamic registration: register each client by hand, with the path of its loopback redirect URI",
    issuer: Part::AtEnd("/v2.0"),
    metadata: OPENID,
    algorithms: &[Algorithm::RS256],
    token_types: &["jwt", "at+jwt"],
    scopes: &["scp"],
    client: &["azp"],
    groups: &["roles"],
    subject: "oid",
    required_values: &[("ver", &["2.0"])],
    audience: Some("the application id (a GUID) of the app registration that exposes the API"),
    knows_resource: false,
    advice: &[
        (
            Mistake::WrongAudience,
            "Entra: let the client ask for `scope=api://APP-ID/NAME` of the app registration that exposes this API, and set `audience` to its application id; a token for Microsoft Graph is never for this API",
        ),
        (Mistake::Issuer, "Entra: set `requestedAccessTokenVersion` to 2 in the API's app manifest, or use the profile `entra-v1`"),
        (Mistake::Kind, "Entra: set `requestedAccessTokenVersion` to 2 in the API's app manifest, or use the profile `entra-v1`"),
        (
            Mistake::Opaque,
            "Entra: personal accounts and Graph get opaque tokens; let the client ask for a scope of this API's app registration",
        ),
        (Mistake::Encrypted, "Entra: remove the token encryption certificate of the API's app registration"),
        (
            Mistake::NoAudience,
            "Entra: every access token of an app registration has `aud`; let the client ask for `scope=api://APP-ID/NAME` of the one that exposes this API",
        ),
        (Mistake::NoClaim, "Entra: add the missing claim under Token configuration (optional claims) of the API's app registration"),
    ],
    ..PLAIN
};

/// All providers that are known, by the names that operators write.
pub const PROFILES: &[Profile] = &[
    ENTRA,
    Profile {
        name: "entra-v1",
        issuer: Part::Within("sts."),
        metadata: Some("https://login.microsoftonline.com/{tenant}/.well-known/openid-configuration"),
        client: &["appid"],
        required_values: &[("ver", &["1.0"])],
        audience: Some("the App ID URI of the app registration that exposes the API, such as `api://APP-ID`"),
        advice: &[
            (
                Mistake::WrongAudience,
                "Entra: let the client ask for `scope=api://APP-ID/NAME` of the app registration that exposes this API, and set `audience` to its App ID URI",
            ),
            (Mistake::Issuer, "Entra: the API's app manifest has `requestedAccessTokenVersion` 2; use the profile `entra`"),
            (Mistake::Kind, "Entra: the API's app manifest has `requestedAccessTokenVersion` 2; use the profile `entra`"),
            (Mistake::Encrypted, "Entra: remove the token encryption certificate of the API's app registration"),
            (
                Mistake::NoAudience,
                "Entra: every access token of an app registration has `aud`; let the client ask for `scope=api://APP-ID/NAME` of the one that exposes this API",
            ),
            (Mistake::NoClaim, "Entra: add the missing claim under Token configuration (optional claims) of the API's app registration"),
            (
                Mistake::Opaque,
                "Entra: personal accounts and Graph get opaque tokens; let the client ask for a scope of this API's app registration",
            ),
        ],
        ..ENTRA
    },
    Profile {
        name: "okta",
        registration: "dynamic registration answers no web page (no CORS); register clients that run in a browser by hand",
        issuer: Part::Within("/oauth2/"),
        metadata: Some("{issuer}/.well-known/oauth-authorization-server"),
        algorithms: &[Algorithm::RS256],
        token_types: &["none", "at+jwt"],
        scopes: &["scp"],
        client: &["cid"],
        required_claims: &["cid"],
        knows_resource: false,
        advice: &[
            (Mistake::WrongAudience, "Okta: set the Audience of the custom authorization server to this upstream's URL"),
            (Mistake::Issuer, "Okta: the org authorization server's tokens are for Okta alone; use a custom one (`https://ORG/oauth2/ID`)"),
            (Mistake::Kind, "Okta: the org authorization server's tokens are for Okta alone; use a custom one (`https://ORG/oauth2/ID`)"),
            (
                Mistake::NoClaim,
                "Okta: the token has no `cid`: it is no access token of a custom authorization server, or a claim of the server's Claims tab is missing",
            ),
            (Mistake::Opaque, "Okta: use a custom authorization server (`https://ORG/oauth2/ID`) with an access policy for this client"),
            (Mistake::NoAudience, "Okta: set the Audience of the custom authorization server to this upstream's URL"),
            (Mistake::Encrypted, "Okta: turn Access Token Encryption off in the settings of the custom authorization server"),
        ],
        ..PLAIN
    },
    refused(
        "okta-org",
        "tokens of Okta's org authorization server are for Okta's own APIs and may not be checked by others; make a custom authorization server and use `okta`",
    ),
    Profile {
        name: "auth0",
        registration: "dynamic registration is off in many tenants: turn it on, or register each client by hand",
        issuer: Part::AtEnd("/"),
        metadata: OPENID,
        algorithms: &[Algorithm::RS256, Algorithm::PS256],
        token_types: &["at+jwt", "jwt"],
        scopes: &["scope"],
        advice: &[
            (
                Mistake::WrongAudience,
                "Auth0: make an API whose Identifier is this upstream's URL, and turn on the Resource Parameter Compatibility Profile (or set it as the tenant's Default Audience)",
            ),
            (
                Mistake::Opaque,
                "Auth0: the client asked for no audience: turn on the Resource Parameter Compatibility Profile, or set the API's Identifier as the tenant's Default Audience",
            ),
            (
                Mistake::Encrypted,
                "Auth0: without an audience tokens are encrypted for Auth0: turn on the Resource Parameter Compatibility Profile or a Default Audience, and no JWE in the API's settings",
            ),
            (Mistake::Issuer, "Auth0: the issuer ends with a slash, `https://TENANT.auth0.com/`; with a custom domain it is that domain"),
            (Mistake::Algorithm, "Auth0: set the API's signing algorithm to RS256; HS256 is never accepted"),
            (
                Mistake::NoAudience,
                "Auth0: make an API whose Identifier is this upstream's URL, and turn on the Resource Parameter Compatibility Profile (or set it as the tenant's Default Audience)",
            ),
            (Mistake::NoClaim, "Auth0: add the missing claim in an Action of the login flow (`api.accessToken.setCustomClaim`)"),
        ],
        ..PLAIN
    },
    Profile {
        name: "keycloak",
        registration: "dynamic registration answers web pages from 26.5 on, and its policy of trusted hosts refuses other clients until it is changed",
        issuer: Part::Within("/realms/"),
        metadata: OPENID,
        algorithms: &[Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA],
        token_types: &["jwt", "at+jwt"],
        scopes: &["scope"],
        client: &["azp"],
        groups: &["realm_access.roles"],
        required_values: &[("typ", &["Bearer", "DPoP"])],
        knows_resource: false,
        advice: &[
            (
                Mistake::WrongAudience,
                "Keycloak: add an Audience mapper (Included Custom Audience = this upstream's URL, added to the access token) to a client scope that the client has",
            ),
            (
                Mistake::NoAudience,
                "Keycloak: add an Audience mapper (Included Custom Audience = this upstream's URL, added to the access token) to a client scope that the client has",
            ),
            (Mistake::NoClaim, "Keycloak: give the client the scope `basic`, which maps `sub`, or a mapper for the missing claim"),
            (Mistake::Issuer, "Keycloak: `iss` follows the realm's frontend URL; set `hostname` so that it is the same for all clients"),
            (Mistake::Kind, "Keycloak: this is no access token (`typ` is not Bearer); the client must send `access_token`"),
            (Mistake::Opaque, "Keycloak: access tokens are always JWTs; the client sent something else and must send `access_token`"),
            (Mistake::Encrypted, "Keycloak: access tokens are never encrypted, ID tokens may be; the client must send `access_token`"),
        ],
        ..PLAIN
    },
    Profile {
        name: "cognito",
        registration: "there is no dynamic registration: make an app client for each client",
        issuer: Part::Any,
        metadata: OPENID,
        algorithms: &[Algorithm::RS256],
        token_types: &["none", "jwt"],
        scopes: &["scope"],
        client: &["client_id"],
        groups: &["cognito:groups"],
        required_values: &[("token_use", &["access"])],
        audience_from: AudienceFrom::ClientId,
        audience: Some("the ids of the app clients whose tokens are meant for here"),
        knows_resource: false,
        assume_s256: true,
        advice: &[
            (
                Mistake::WrongAudience,
                "Cognito: access tokens name the app client and not the resource; give MCP an app client of its own and write its id in `audience`",
            ),
            (
                Mistake::NoAudience,
                "Cognito: the token has neither `aud` nor `client_id`; the client must send the access token of an app client",
            ),
            (Mistake::Kind, "Cognito: `token_use` is not `access`; the client must send the access token and not the ID token"),
            (Mistake::NoClaim, "Cognito: add the missing claim to the access token by a pre token generation trigger (V2 or later)"),
            (Mistake::Opaque, "Cognito: access tokens are always JWTs; the client sent something else and must send the access token"),
            (Mistake::Encrypted, "Cognito: only refresh tokens are encrypted; the client must send the access token"),
        ],
        ..PLAIN
    },
    Profile {
        name: "workos",
        registration: "dynamic registration and client id metadata documents are switches in the dashboard",
        metadata: Some("{issuer}/.well-known/oauth-authorization-server"),
        algorithms: &[Algorithm::RS256],
        token_types: &["jwt", "at+jwt"],
        scopes: &["scope"],
        groups: &["roles", "role"],
        advice: &[
            (Mistake::WrongAudience, "WorkOS: add this upstream's URL to the resource indicators under Connect, Configuration"),
            (
                Mistake::Opaque,
                "WorkOS: Connect applications get opaque tokens; turn on MCP auth (CIMD or DCR) and use the AuthKit domain as issuer",
            ),
            (Mistake::Issuer, "WorkOS: the issuer is the AuthKit domain, `https://NAME.authkit.app`, and not `api.workos.com`"),
            (Mistake::NoAudience, "WorkOS: add this upstream's URL to the resource indicators under Connect, Configuration"),
            (Mistake::NoClaim, "WorkOS: add the missing claim to the JWT template of the environment"),
            (
                Mistake::Encrypted,
                "WorkOS: access tokens are never encrypted; the client must send the `access_token` of the AuthKit domain",
            ),
        ],
        ..PLAIN
    },
    Profile {
        name: "descope",
        registration: "dynamic registration needs a management key",
        metadata: OPENID,
        algorithms: &[Algorithm::RS256, Algorithm::ES256],
        token_types: &["jwt", "at+jwt"],
        scopes: &["scope"],
        groups: &["roles"],
        advice: &[
            (
                Mistake::WrongAudience,
                "Descope: set this upstream's URL as the MCP server's URL or audience under Agentic Identity or Inbound Apps",
            ),
            (
                Mistake::Issuer,
                "Descope: agentic and inbound apps have issuers of their own; copy `issuer` from the app's discovery URL, and set `jwks_uri` where it has no keys",
            ),
            (
                Mistake::NoAudience,
                "Descope: set this upstream's URL as the MCP server's URL or audience under Agentic Identity or Inbound Apps",
            ),
            (Mistake::NoClaim, "Descope: add the missing claim to the JWT template of the app or project"),
            (Mistake::Opaque, "Descope: access tokens are JWTs; an access key is none, and must be exchanged for one first"),
            (Mistake::Encrypted, "Descope: access tokens are signed and not encrypted; the client must send the `access_token` of the app"),
        ],
        ..PLAIN
    },
    Profile {
        name: "zitadel",
        registration: "clients that register dynamically always get opaque tokens: configure `introspection`, or register each client by hand",
        metadata: OPENID,
        algorithms: &[Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA],
        token_types: &["jwt", "at+jwt"],
        scopes: &["scope"],
        client: &["client_id", "azp"],
        audience: Some("the project's id, or the application's client id"),
        knows_resource: false,
        advice: &[
            (
                Mistake::Opaque,
                "Zitadel: set the application's Auth Token Type to JWT; clients registered dynamically always get opaque tokens, so register this one by hand, or configure `introspection`",
            ),
            (
                Mistake::WrongAudience,
                "Zitadel: let the client ask for `urn:zitadel:iam:org:project:id:PROJECT:aud`, and write the project's id in `audience`",
            ),
            (
                Mistake::NoAudience,
                "Zitadel: let the client ask for `urn:zitadel:iam:org:project:id:PROJECT:aud`, and write the project's id in `audience`",
            ),
            (Mistake::NoClaim, "Zitadel: add the missing claim by an action before the access token is made (Complement Token)"),
            (
                Mistake::Encrypted,
                "Zitadel: JWT access tokens are never encrypted; set the application's Auth Token Type to JWT and send `access_token`",
            ),
        ],
        ..PLAIN
    },
    Profile {
        name: "authentik",
        registration: "there is no dynamic registration: register each client by hand",
        issuer: Part::AtEnd("/"),
        metadata: OPENID,
        algorithms: &[Algorithm::RS256, Algorithm::ES256],
        token_types: &["jwt", "at+jwt"],
        scopes: &["scope"],
        client: &["azp"],
        required_claims: &["uid"],
        audience: Some("the client id of the OAuth2 provider"),
        knows_resource: false,
        advice: &[
            (Mistake::WrongAudience, "authentik: `aud` is the provider's client id; write it in `audience`"),
            (Mistake::Algorithm, "authentik: choose a Signing Key in the provider; without one tokens are signed with the client's secret"),
            (Mistake::Encrypted, "authentik: clear the provider's Encryption Key"),
            (
                Mistake::Issuer,
                "authentik: the issuer is `https://HOST/application/o/SLUG/` with the slash, where the provider's issuer mode is per provider",
            ),
            (Mistake::NoClaim, "authentik: a token without `uid` is an ID token: the client must send `access_token`"),
            (Mistake::NoAudience, "authentik: `aud` is the provider's client id; a property mapping must not take it away"),
            (
                Mistake::Opaque,
                "authentik: access tokens are always JWTs; an API token or app password is none, the client must log in by OAuth2",
            ),
        ],
        ..PLAIN
    },
    Profile {
        name: "ping",
        metadata: OPENID,
        algorithms: &[Algorithm::RS256, Algorithm::ES256],
        token_types: &["none", "at+jwt", "jwt"],
        scopes: &["scope"],
        client: &["client_id"],
        required_claims: &["client_id"],
        knows_resource: false,
        advice: &[
            (
                Mistake::WrongAudience,
                "Ping: make a custom resource whose audience is this upstream's URL and give the application its scopes",
            ),
            (Mistake::NoAudience, "PingFederate: set the Audience Claim Value of the access token manager to this upstream's URL"),
            (
                Mistake::NoClaim,
                "PingFederate: set the Client ID Claim Name of the access token manager to `client_id`, and map the missing claim",
            ),
            (Mistake::Opaque, "PingFederate: choose a JWT access token manager and not one of internally managed reference tokens"),
            (Mistake::Encrypted, "PingFederate: choose no JWE Algorithm in the access token manager"),
        ],
        ..PLAIN
    },
    refused(
        "dex",
        "Dex's access tokens are ID tokens of the client (`aud` is the client, `at_hash` is set), so they say nothing of this resource; Dex can only be a login behind another authorization server",
    ),
    refused(
        "supabase",
        "Supabase Auth follows no `resource`: all its tokens have the audience `authenticated` and say nothing of this resource; Supabase can only be a login behind an authorization server that issues tokens for this resource",
    ),
    refused(
        "google",
        "Google's access tokens are opaque and for Google's own APIs; Google can only be a login behind an authorization server that issues tokens for this resource",
    ),
    refused(
        "github",
        "GitHub's access tokens are opaque and name no audience, so any GitHub token would pass; GitHub can only be a login behind an authorization server that issues tokens for this resource",
    ),
];

/// Only for the schema: the names of the profiles that can be used.
pub struct Names;

impl JsonSchema for Names {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Profile".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": usable().collect::<Vec<_>>() })
    }
}

/// The names of the profiles that can be used here.
pub fn usable() -> impl Iterator<Item = &'static str> {
    PROFILES.iter().filter(|profile| profile.refused.is_none()).map(|profile| profile.name)
}

/// Where the metadata of `issuer` stands by this profile's pattern.
pub fn metadata_url(profile: &Profile, issuer: &str) -> Option<String> {
    let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
    let tenant = issuer.split('/').nth(3).unwrap_or_default();
    profile.metadata.map(|pattern| pattern.replace("{issuer}", issuer).replace("{tenant}", tenant))
}

/// Whether an identifier looks like one of this provider's.
pub fn fits(part: Part, issuer: &str) -> bool {
    match part {
        Part::Any => true,
        Part::Within(text) => issuer.contains(text),
        Part::AtEnd(text) => issuer.ends_with(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_once_and_every_advice_is_one_line() {
        let mut names: Vec<&str> = PROFILES.iter().map(|profile| profile.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PROFILES.len());
        for profile in PROFILES {
            for (mistake, text) in profile.advice {
                assert!(!text.contains('\n') && text.len() < 260, "{} {mistake:?}", profile.name);
                assert_eq!(profile.advice.iter().filter(|(other, _)| other == mistake).count(), 1, "{} {mistake:?}", profile.name);
            }
        }
    }

    /// For what goes wrong most, in the words of the provider's own console.
    #[test]
    fn every_provider_has_lines_of_its_own_for_the_usual_mistakes() {
        let usual = [Mistake::WrongAudience, Mistake::NoAudience, Mistake::NoClaim, Mistake::Opaque, Mistake::Encrypted];
        for profile in PROFILES.iter().filter(|profile| profile.refused.is_none()) {
            let name = profile.name.split('-').next().unwrap_or_default();
            for mistake in usual {
                let text = profile.advice(mistake).to_ascii_lowercase();
                assert!(text.starts_with(name), "{} {mistake:?}: {text}", profile.name);
            }
        }
    }

    /// All but Ping, of which it was not found out.
    #[test]
    fn every_provider_says_how_clients_come_to_an_id() {
        for profile in PROFILES.iter().filter(|profile| profile.refused.is_none()) {
            assert_eq!(profile.registration.is_empty(), profile.name == "ping", "{}", profile.name);
            assert!(!profile.registration.contains('\n') && !profile.registration.ends_with('.'), "{}", profile.name);
        }
    }

    #[test]
    fn no_profile_opens_a_door_that_the_standards_close() {
        for profile in PROFILES.iter().filter(|profile| profile.refused.is_none()) {
            // Where `typ` need not say that it is an access token, something else must, or the audience is the resource.
            let told =
                !profile.required_values.is_empty() || !profile.required_claims.is_empty() || profile.audience_from == AudienceFrom::Aud;
            assert!(told, "{}", profile.name);
            // In place of `aud` a client counts only when the operator names it.
            assert!(profile.audience_from == AudienceFrom::Aud || profile.audience.is_some(), "{}", profile.name);
        }
    }

    #[test]
    fn the_metadata_stands_where_the_provider_puts_it() {
        let at = |name: &str, issuer: &str| metadata_url(Profile::named(name).expect("a profile"), issuer).expect("a place");
        assert_eq!(at("entra-v1", "https://sts.windows.net/t1/"), "https://login.microsoftonline.com/t1/.well-known/openid-configuration");
        assert_eq!(
            at("okta", "https://org.okta.com/oauth2/default"),
            "https://org.okta.com/oauth2/default/.well-known/oauth-authorization-server"
        );
        assert_eq!(at("auth0", "https://t.auth0.com/"), "https://t.auth0.com/.well-known/openid-configuration");
        assert_eq!(metadata_url(&PLAIN, "https://a.example"), None);
    }
}
