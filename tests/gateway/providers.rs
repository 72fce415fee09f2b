//! Each profile before a fake of its provider: discovery where that provider has it, tokens in its documented shape.
//!
//! What is refused gives the operator one line with the thing to change there, and the client nothing of it.

use std::collections::HashMap;

use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::eventually;
use crate::support::issuer::{Signer, b64, now};
use crate::support::{Setup, World};

/// How a provider looks from outside.
struct Provider {
    profile: &'static str,
    /// Behind the origin.
    issuer: &'static str,
    metadata: &'static str,
    keys: &'static str,
    header: Value,
    /// All but `iss`, `iat` and `exp`; `RESOURCE` stands for the resource.
    claims: Value,
    /// Keys of the issuer's section besides `issuer` and `profile`.
    config: Value,
}

struct Fake {
    world: World,
    provider: Provider,
    issuer: String,
    signer: Signer,
}

impl Fake {
    async fn start(provider: Provider) -> Self {
        Self::start_with(provider, |_| {}).await
    }

    async fn start_with(provider: Provider, change: impl FnOnce(&mut Value)) -> Self {
        let mut setup = Setup::new().await;
        let signer = Signer::rs256("key-1");
        let (origin, issuer) = serve(&provider, &signer).await;
        let mut section = json!({"issuer": issuer, "profile": provider.profile});
        for (key, value) in provider.config.as_object().unwrap() {
            section[key] = serde_json::from_str(&value.to_string().replace("ORIGIN", &origin)).unwrap();
        }
        setup.config["issuers"] = json!({"corp": section});
        change(&mut setup.config);
        Self { world: setup.start().await, provider, issuer, signer }
    }

    fn token(&self, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let mut header = self.provider.header.clone();
        header["alg"] = json!("RS256");
        header["kid"] = json!(self.signer.kid);
        let text = self.provider.claims.to_string().replace("RESOURCE", &self.world.resource());
        let mut claims: Value = serde_json::from_str(&text).unwrap();
        claims["iss"] = json!(self.issuer);
        claims["iat"] = json!(now());
        claims["exp"] = json!(now() + 300);
        change(&mut header, &mut claims);
        let input = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        format!("{input}.{}", b64(self.signer.sign(input.as_bytes())))
    }

    async fn call(&self, token: &str) -> Reply {
        self.world.tool("read_file").token(token).send().await
    }

    /// The right token passes, and the listed ones are refused with their advice.
    async fn judges(&self, wrong: Vec<(String, &str)>) {
        self.call(&self.token(|_, _| {})).await.is(200);
        for (token, advice) in wrong {
            let reply = self.call(&token).await;
            reply.is(401);
            eventually(advice, || async { self.world.gateway.stderr().contains(advice).then_some(()) }).await;
            assert!(!format!("{reply:?}").contains(advice), "{reply:?}");
            assert!(!self.world.gateway.stderr().contains(&token), "a token is in the log");
        }
    }

    /// What any provider's clients can send by mistake: each has a line that names this provider.
    async fn judges_the_usual(&self, name: &str) {
        let empty = self.without("aud");
        let audience = if self.provider.profile == "cognito" { self.without("client_id") } else { empty };
        let usual = [
            ("wrong_audience", self.wrong_audience()),
            ("no_audience", audience),
            ("opaque_token", "opaque-value".to_owned()),
            ("encrypted_token", self.encrypted()),
        ];
        for (mistake, token) in usual {
            self.call(&token).await.is(401);
            let told = format!(r#""reason":"{mistake}","advice":"{name}"#);
            eventually(&told, || async { self.world.gateway.stderr().contains(&told).then_some(()) }).await;
        }
    }

    fn wrong_audience(&self) -> String {
        self.token(|_, claims| claims["aud"] = json!("https://another.example/api"))
    }

    fn without(&self, claim: &str) -> String {
        self.token(|_, claims| {
            claims.as_object_mut().unwrap().remove(claim);
        })
    }

    fn encrypted(&self) -> String {
        format!("{}.{}.{}.{}.{}", b64(r#"{"alg":"dir","enc":"A256GCM"}"#), "", b64("iv"), b64("text"), b64("tag"))
    }
}

/// Serves metadata and keys where the provider has them, and nothing elsewhere.
async fn serve(provider: &Provider, signer: &Signer) -> (String, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let issuer = format!("{origin}{}", provider.issuer);
    let mut metadata = json!({
        "issuer": issuer, "jwks_uri": format!("{origin}{}", provider.keys),
        "authorization_endpoint": format!("{origin}/authorize"), "token_endpoint": format!("{origin}/token"),
        "response_types_supported": ["code"], "subject_types_supported": ["public"],
    });
    if provider.profile != "cognito" {
        metadata["code_challenge_methods_supported"] = json!(["plain", "S256"]);
    }
    let pages = HashMap::from([(provider.metadata.to_owned(), metadata), (provider.keys.to_owned(), json!({"keys": [signer.jwk()]}))]);
    let app = axum::Router::new().fallback(move |uri: Uri| {
        let page = pages.get(uri.path()).cloned();
        async move { page.map_or_else(|| StatusCode::NOT_FOUND.into_response(), |page| -> Response { axum::Json(page).into_response() }) }
    });
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (origin, issuer)
}

fn entra() -> Provider {
    Provider {
        profile: "entra",
        issuer: "/t1/v2.0",
        metadata: "/t1/v2.0/.well-known/openid-configuration",
        keys: "/t1/discovery/v2.0/keys",
        header: json!({"typ": "JWT"}),
        claims: json!({
            "aud": "11111111-2222-3333-4444-555555555555", "azp": "client-one", "azpacr": "0", "oid": "object-a", "sub": "pairwise-a",
            "tid": "t1", "scp": "files:read", "roles": ["Reader"], "ver": "2.0", "preferred_username": "a@example.com",
        }),
        config: json!({"audience": "11111111-2222-3333-4444-555555555555"}),
    }
}

#[tokio::test]
async fn an_entra_v2_token_passes_and_mistakes_are_told() {
    let fake = Fake::start(entra()).await;
    let graph = fake.token(|_, claims| claims["aud"] = json!("00000003-0000-0000-c000-000000000000"));
    let v1 = fake.token(|_, claims| claims["ver"] = json!("1.0"));
    let id_token = fake.token(|_, claims| claims["nonce"] = json!("n"));
    let wrong = vec![
        (graph, "a token for Microsoft Graph is never for this API"),
        (v1, "set `requestedAccessTokenVersion` to 2"),
        (id_token, "the client sent the ID token"),
        ("EwBwA8l6BAAU".into(), "personal accounts and Graph get opaque tokens"),
        (fake.encrypted(), "remove the token encryption certificate"),
        (fake.without("aud"), "every access token of an app registration has `aud`"),
    ];
    fake.judges(wrong).await;
    fake.judges_the_usual("Entra").await;
    assert_eq!(fake.world.files.only().header("x-mcp-user"), "object-a");
}

#[tokio::test]
async fn roles_count_as_scopes_only_where_that_is_declared() {
    let app_only = |claims: &mut Value| {
        claims.as_object_mut().unwrap().remove("scp");
        claims["roles"] = json!(["files:read"]);
    };
    let plain = Fake::start(entra()).await;
    plain.call(&plain.token(|_, claims| app_only(claims))).await.is(403);
    let declared = Fake::start_with(entra(), |config| config["issuers"]["corp"]["claims"] = json!({"scopes": ["scp", "roles"]})).await;
    declared.call(&declared.token(|_, claims| app_only(claims))).await.is(200);
}

#[tokio::test]
async fn an_entra_v1_token_passes_and_mistakes_are_told() {
    let fake = Fake::start(Provider {
        profile: "entra-v1",
        issuer: "/sts.fake/t1/",
        metadata: "/t1/.well-known/openid-configuration",
        claims: json!({
            "aud": "api://files", "appid": "client-one", "appidacr": "0", "oid": "object-a", "sub": "pairwise-a", "tid": "t1",
            "scp": "files:read", "ver": "1.0", "upn": "a@example.com",
        }),
        config: json!({"audience": "api://files", "metadata_url": "ORIGIN/t1/.well-known/openid-configuration"}),
        ..entra()
    })
    .await;
    let v2 = fake.token(|_, claims| claims["ver"] = json!("2.0"));
    fake.judges(vec![(fake.wrong_audience(), "set `audience` to its App ID URI"), (v2, "use the profile `entra`")]).await;
    fake.judges_the_usual("Entra").await;
}

#[tokio::test]
async fn an_okta_token_passes_and_mistakes_are_told() {
    let fake = Fake::start(Provider {
        profile: "okta",
        issuer: "/oauth2/default",
        metadata: "/oauth2/default/.well-known/oauth-authorization-server",
        keys: "/oauth2/default/v1/keys",
        header: json!({}),
        claims: json!({
            "ver": 1, "jti": "AT.1", "aud": "RESOURCE", "cid": "client-one", "uid": "00u1", "scp": ["openid", "files:read"], "sub": "a@example.com",
        }),
        config: json!({}),
    })
    .await;
    let org = fake.token(|header, _| header["typ"] = json!("application/okta-internal-at+jwt"));
    let wrong = vec![
        (fake.wrong_audience(), "set the Audience of the custom authorization server"),
        (org, "the org authorization server's tokens are for Okta alone"),
        (fake.without("cid"), "Okta: the token has no `cid`"),
        ("opaque-token".into(), "with an access policy for this client"),
    ];
    fake.judges(wrong).await;
    fake.judges_the_usual("Okta").await;
}

#[tokio::test]
async fn an_auth0_token_passes_and_mistakes_are_told() {
    let fake = Fake::start(Provider {
        profile: "auth0",
        issuer: "/",
        metadata: "/.well-known/openid-configuration",
        keys: "/.well-known/jwks.json",
        header: json!({"typ": "JWT"}),
        claims: json!({"sub": "auth0|a", "aud": ["RESOURCE", "https://t.auth0.com/userinfo"], "scope": "openid files:read", "azp": "client-one"}),
        config: json!({}),
    })
    .await;
    let without_slash = fake.token(|_, claims| claims["iss"] = json!(fake.issuer.trim_end_matches('/')));
    let id_token = fake.token(|_, claims| claims["aud"] = json!("client-one"));
    let wrong = vec![
        (fake.wrong_audience(), "make an API whose Identifier is this upstream's URL"),
        ("Zk9x0paque".into(), "the client asked for no audience"),
        (fake.encrypted(), "without an audience tokens are encrypted for Auth0"),
        (without_slash, "the issuer ends with a slash"),
        (id_token, "the client sent the ID token"),
    ];
    fake.judges(wrong).await;
    fake.judges_the_usual("Auth0").await;
}

#[tokio::test]
async fn a_keycloak_token_passes_and_a_missing_mapper_is_told() {
    let fake = Fake::start_with(
        Provider {
            profile: "keycloak",
            issuer: "/realms/demo",
            metadata: "/realms/demo/.well-known/openid-configuration",
            keys: "/realms/demo/protocol/openid-connect/certs",
            header: json!({"typ": "JWT"}),
            claims: json!({
                "jti": "1", "aud": ["RESOURCE", "account"], "sub": "f:1:a", "typ": "Bearer", "azp": "client-one", "sid": "s", "acr": "1",
                "realm_access": {"roles": ["reader", "offline_access"]}, "resource_access": {"account": {"roles": ["view-profile"]}},
                "scope": "openid files:read",
            }),
            config: json!({}),
        },
        // Roles are nested, and are the groups of rules.
        |config| config["upstreams"]["files"]["rules"][1]["groups"] = json!(["reader"]),
    )
    .await;
    let account = fake.token(|_, claims| claims["aud"] = json!("account"));
    let id_token = fake.token(|_, claims| claims["typ"] = json!("ID"));
    let offline = fake.token(|_, claims| claims["typ"] = json!("Offline"));
    let wrong = vec![
        (account, "add an Audience mapper"),
        (fake.without("aud"), "reason\":\"no_audience"),
        (fake.without("sub"), "give the client the scope `basic`"),
        (id_token, "the client sent the ID token"),
        (offline, "`typ` is not Bearer"),
    ];
    fake.judges(wrong).await;
    fake.judges_the_usual("Keycloak").await;
    let client_role = Fake::start_with(
        Provider {
            profile: "keycloak",
            issuer: "/realms/demo",
            metadata: "/realms/demo/.well-known/openid-configuration",
            keys: "/realms/demo/protocol/openid-connect/certs",
            header: json!({"typ": "JWT"}),
            claims: json!({
                "aud": "RESOURCE", "sub": "f:1:a", "typ": "Bearer", "azp": "client-one", "scope": "openid files:read",
                "realm_access": {"roles": ["guest"]}, "resource_access": {"files-api": {"roles": ["reader"]}},
            }),
            config: json!({"claims": {"groups": "resource_access.files-api.roles"}}),
        },
        |config| config["upstreams"]["files"]["rules"][1]["groups"] = json!(["reader"]),
    )
    .await;
    client_role.call(&client_role.token(|_, _| {})).await.is(200);
    let other_role = fake.token(|_, claims| claims["realm_access"] = json!({"roles": ["guest"]}));
    fake.call(&other_role).await.is(403);
}

fn cognito() -> Provider {
    Provider {
        profile: "cognito",
        issuer: "/us-east-1_Example",
        metadata: "/us-east-1_Example/.well-known/openid-configuration",
        keys: "/us-east-1_Example/.well-known/jwks.json",
        header: json!({}),
        claims: json!({
            "sub": "a", "cognito:groups": ["staff"], "version": 2, "client_id": "app-one", "origin_jti": "o", "token_use": "access",
            "scope": "files:read", "auth_time": 1, "jti": "j", "username": "a",
        }),
        config: json!({"audience": ["app-one"]}),
    }
}

#[tokio::test]
async fn a_cognito_token_passes_by_its_client_and_mistakes_are_told() {
    let fake = Fake::start(cognito()).await;
    let another = fake.token(|_, claims| claims["client_id"] = json!("app-two"));
    let id_token = fake.token(|_, claims| {
        claims["token_use"] = json!("id");
        claims["aud"] = json!("app-one");
    });
    let unsaid = fake.without("token_use");
    let wrong = vec![
        (another, "give MCP an app client of its own"),
        (id_token, "the client sent the ID token"),
        (unsaid, "`token_use` is not `access`"),
        (fake.without("client_id"), "neither `aud` nor `client_id`"),
    ];
    fake.judges(wrong).await;
    fake.judges_the_usual("Cognito").await;
    // Bound to another resource: the client's id does not count then.
    fake.call(&fake.wrong_audience()).await.is(401);
}

#[tokio::test]
async fn cognitos_silence_on_s256_is_mended_in_the_document_at_our_origin() {
    let fake = Fake::start(cognito()).await;
    let document = fake.world.get("/.well-known/oauth-authorization-server/mcp/files").await;
    assert_eq!(document.is(200).json()["code_challenge_methods_supported"], json!(["S256"]));
    assert_eq!(document.json()["issuer"], json!(fake.issuer));
    let strict = Fake::start_with(cognito(), |config| config["issuers"]["corp"]["allow_assumed_s256"] = json!(false)).await;
    let document = strict.world.get("/.well-known/oauth-authorization-server/mcp/files").await;
    assert!(document.is(200).json().get("code_challenge_methods_supported").is_none());
}

#[tokio::test]
async fn a_workos_token_passes_and_mistakes_are_told() {
    let fake = Fake::start(Provider {
        profile: "workos",
        issuer: "",
        metadata: "/.well-known/oauth-authorization-server",
        keys: "/oauth2/jwks",
        header: json!({"typ": "JWT"}),
        claims: json!({"sub": "user_1", "aud": "RESOURCE", "sid": "session_1", "jti": "1", "org_id": "org_1", "role": "member", "scope": "files:read"}),
        config: json!({}),
    })
    .await;
    let api = fake.token(|_, claims| claims["iss"] = json!("https://api.workos.com"));
    let wrong = vec![
        (fake.wrong_audience(), "add this upstream's URL to the resource indicators"),
        ("op4que-w0rkos".into(), "Connect applications get opaque tokens"),
        (api, "the issuer is the AuthKit domain"),
    ];
    fake.judges(wrong).await;
    fake.judges_the_usual("WorkOS").await;
}

#[tokio::test]
async fn a_descope_token_passes_and_mistakes_are_told() {
    let fake = Fake::start(Provider {
        profile: "descope",
        issuer: "/v1/apps/agentic/P1/MS1",
        metadata: "/v1/apps/agentic/P1/MS1/.well-known/openid-configuration",
        keys: "/P1/.well-known/jwks.json",
        header: json!({"typ": "JWT"}),
        claims: json!({"sub": "U1", "aud": ["RESOURCE"], "azp": "client-one", "scope": "files:read", "roles": ["reader"]}),
        config: json!({}),
    })
    .await;
    let project = fake.token(|_, claims| claims["iss"] = json!("https://api.descope.com/P1"));
    fake.judges(vec![(fake.wrong_audience(), "Descope: set this upstream's URL"), (project, "have issuers of their own")]).await;
    fake.judges_the_usual("Descope").await;
}

#[tokio::test]
async fn a_zitadel_token_passes_and_mistakes_are_told() {
    let fake = Fake::start_with(
        Provider {
            profile: "zitadel",
            issuer: "",
            metadata: "/.well-known/openid-configuration",
            keys: "/oauth/v2/keys",
            header: json!({"typ": "JWT"}),
            // Without `scope`; `groups` comes from an action.
            claims: json!({"sub": "163840776835432705", "aud": ["client-one@files", "69234237810729019"], "client_id": "client-one@files", "groups": ["reader"], "jti": "1"}),
            config: json!({"audience": "69234237810729019"}),
        },
        |config| config["upstreams"]["files"]["rules"] = json!([{"tools": ["read_file"], "groups": ["reader"]}]),
    )
    .await;
    let wrong = vec![
        ("opaque-by-default".into(), "set the application's Auth Token Type to JWT"),
        (fake.wrong_audience(), "let the client ask for `urn:zitadel:iam:org:project:id:PROJECT:aud`"),
    ];
    fake.judges(wrong).await;
    fake.judges_the_usual("Zitadel").await;
}

#[tokio::test]
async fn an_authentik_token_passes_and_mistakes_are_told() {
    let fake = Fake::start(Provider {
        profile: "authentik",
        issuer: "/application/o/files/",
        metadata: "/application/o/files/.well-known/openid-configuration",
        keys: "/application/o/files/jwks/",
        header: json!({"typ": "JWT"}),
        claims: json!({"sub": "hash-a", "aud": "client-one", "azp": "client-one", "uid": "u1", "auth_time": 1, "acr": "x", "scope": "openid files:read"}),
        config: json!({"audience": "client-one"}),
    })
    .await;
    let hmac = fake.token(|header, _| header["alg"] = json!("HS256"));
    let wrong = vec![
        (fake.wrong_audience(), "`aud` is the provider's client id"),
        (fake.without("uid"), "a token without `uid` is an ID token"),
        (hmac, "choose a Signing Key in the provider"),
        (fake.encrypted(), "clear the provider's Encryption Key"),
    ];
    fake.judges(wrong).await;
    fake.judges_the_usual("authentik").await;
}

#[tokio::test]
async fn a_ping_token_passes_and_mistakes_are_told() {
    let fake = Fake::start(Provider {
        profile: "ping",
        issuer: "/env-1/as",
        metadata: "/env-1/as/.well-known/openid-configuration",
        keys: "/env-1/as/jwks",
        header: json!({}),
        claims: json!({"sub": "a", "aud": ["RESOURCE"], "client_id": "client-one", "scope": "files:read", "env": "env-1", "org": "o", "jti": "1"}),
        config: json!({}),
    })
    .await;
    let wrong = vec![
        (fake.wrong_audience(), "make a custom resource whose audience is this upstream's URL"),
        (fake.without("aud"), "set the Audience Claim Value"),
        (fake.without("client_id"), "set the Client ID Claim Name"),
        ("r3ference-ping".into(), "choose a JWT access token manager"),
    ];
    fake.judges(wrong).await;
    fake.judges_the_usual("Ping").await;
}

#[tokio::test]
async fn the_same_advice_is_logged_once_for_many_tokens() {
    let fake = Fake::start(entra()).await;
    for n in 0..20 {
        fake.call(&format!("opaque-{n}")).await.is(401);
    }
    eventually("the advice", || async { fake.world.gateway.stderr().contains("get opaque tokens").then_some(()) }).await;
    assert_eq!(fake.world.gateway.stderr().matches("get opaque tokens").count(), 1);
}

#[tokio::test]
async fn the_advice_of_an_explained_token_is_printed() {
    let fake = Fake::start(entra()).await;
    let file = fake.world.folder.path().join("token");
    std::fs::write(&file, fake.wrong_audience()).unwrap();
    let mut explain = std::process::Command::new(env!("CARGO_BIN_EXE_doorward"));
    explain.args(["explain", "--upstream", "files", "--tool", "read_file", "--token"]).arg(&file);
    explain.arg("--config").arg(&fake.world.gateway.config_file);
    let told = tokio::task::spawn_blocking(move || explain.output().unwrap()).await.unwrap();
    let text = String::from_utf8(told.stdout).unwrap();
    assert!(text.contains("token_audience") && text.contains("advice    Entra: let the client ask for"), "{text}");
}

#[tokio::test]
async fn check_notes_how_clients_come_to_an_id_at_each_provider() {
    let fake = Fake::start(entra()).await;
    let file = fake.world.gateway.config_file.to_str().unwrap().to_owned();
    let told = crate::support::gateway::run(&["check", "--config", &file]).await;
    let text = String::from_utf8(told.stdout).unwrap();
    assert!(text.contains("note: issuers.corp (entra): there is no dynamic registration"), "{text}");
    assert_eq!(told.status.code(), Some(0), "{text}");
    let told = crate::support::gateway::run(&["check", "--json", "--config", &file]).await;
    let json: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert!(json["notes"][0].as_str().unwrap().starts_with("issuers.corp (entra): "), "{json}");
}

/// Both kinds of an Entra tenant's tokens at one upstream: each by its own issuer's rules.
#[tokio::test]
async fn one_upstream_may_accept_both_versions_of_entras_tokens() {
    let v1 = Provider {
        profile: "entra-v1",
        issuer: "/sts.fake/t1/",
        metadata: "/t1/.well-known/openid-configuration",
        keys: "/t1/discovery/keys",
        header: json!({"typ": "JWT"}),
        claims: json!({}),
        config: json!({}),
    };
    let signer = Signer::rs256("key-1");
    let (origin, issuer) = serve(&v1, &signer).await;
    let fake = Fake::start_with(entra(), |config| {
        config["issuers"]["old"] = json!({
            "issuer": issuer, "profile": "entra-v1", "audience": "api://files", "metadata_url": format!("{origin}/t1/.well-known/openid-configuration"),
        });
        config["upstreams"]["files"]["issuers"] = json!(["corp", "old"]);
    })
    .await;
    let old = |version: &str, audience: &str| {
        let (version, audience) = (version.to_owned(), audience.to_owned());
        fake.token(|_, claims| {
            *claims = json!({
                "iss": issuer, "iat": now(), "exp": now() + 300, "aud": audience, "appid": "client-one", "oid": "object-a", "sub": "pairwise-a",
                "tid": "t1", "scp": "files:read", "ver": version,
            });
        })
    };
    fake.call(&fake.token(|_, _| {})).await.is(200);
    fake.call(&old("1.0", "api://files")).await.is(200);
    // Nothing of one counts for the other.
    fake.call(&old("2.0", "api://files")).await.is(401);
    fake.call(&old("1.0", "11111111-2222-3333-4444-555555555555")).await.is(401);
    fake.call(&fake.token(|_, claims| claims["aud"] = json!("api://files"))).await.is(401);
}

/// Clients that register themselves at Zitadel always get opaque tokens.
#[tokio::test]
async fn an_opaque_zitadel_token_passes_by_introspection() {
    let endpoint = crate::support::introspection::Introspection::start().await;
    let mut setup = Setup::new().await;
    std::fs::write(setup.folder.path().join("secret"), "s3cret\n").unwrap();
    let issuer = setup.issuer.url.clone();
    setup.config["issuers"]["corp"] = json!({
        "issuer": issuer, "profile": "zitadel", "audience": "69234237810729019",
        "introspection": {"url": endpoint.url, "client_id": "gw", "client_secret_file": setup.folder.path().join("secret")},
    });
    let world = setup.start().await;
    let answer = |audience: Value| {
        json!({
            "active": true, "iss": issuer, "aud": audience, "sub": "163840776835432705", "client_id": "client-one@files", "scope": "files:read",
            "token_type": "Bearer", "iat": now(), "exp": now() + 300,
        })
    };
    endpoint.put("opaque-of-a-registered-client", answer(json!(["client-one@files", "69234237810729019"])));
    endpoint.put("opaque-of-another-project", answer(json!(["client-one@files", "1"])));
    world.tool("read_file").token("opaque-of-a-registered-client").send().await.is(200);
    world.tool("read_file").token("opaque-of-another-project").send().await.is(401);
    world.gateway.says("urn:zitadel:iam:org:project:id:PROJECT:aud").await;
}

/// Keys of the project, where an agentic issuer's metadata does not lead to them.
#[tokio::test]
async fn descopes_keys_may_be_named_where_its_issuer_does_not_lead_to_them() {
    let fake = Fake::start(Provider {
        profile: "descope",
        issuer: "/v1/apps/agentic/P1/MS1",
        metadata: "/nowhere",
        keys: "/P1/.well-known/jwks.json",
        header: json!({"typ": "JWT"}),
        claims: json!({"sub": "U1", "aud": ["RESOURCE"], "azp": "client-one", "scope": "files:read"}),
        config: json!({"jwks_uri": "ORIGIN/P1/.well-known/jwks.json"}),
    })
    .await;
    fake.call(&fake.token(|_, _| {})).await.is(200);
}
