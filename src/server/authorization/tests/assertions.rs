//! Client credentials, and tokens for the word of others (items 135 to 140).

use super::*;

const BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

impl Fixture {
    /// `private_key_jwt` of the client `signer`.
    fn client_assertion(&self, id: &str, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = json!({ "iss": "signer", "sub": "signer", "aud": ORIGIN, "exp": self.now() + 60, "iat": self.now(), "jti": id });
        change(&mut claims);
        self.jwt(&self.signers.client, Algorithm::ES256, Some("JWT"), &claims)
    }

    async fn credentials(&self, assertion: &str) -> Got {
        let pairs = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion),
            ("resource", FILES),
            ("scope", "files:read"),
        ];
        self.post("/token", &pairs, &[]).await
    }

    fn identity(&self, id: &str, kind: &str, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = json!({
            "iss": IDP, "sub": "alice", "aud": ORIGIN, "client_id": "signer", "jti": id, "iat": self.now(), "exp": self.now() + 300,
            "resource": FILES, "scope": "files:read", "email": "alice@example.com",
        });
        change(&mut claims);
        self.jwt(&self.signers.idp, Algorithm::ES256, Some(kind), &claims)
    }

    async fn by_identity(&self, id: &str, assertion: &str, more: &[(&str, &str)]) -> Got {
        let client = self.client_assertion(id, |_| {});
        let mut pairs = vec![
            ("grant_type", BEARER),
            ("assertion", assertion),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &client),
        ];
        pairs.extend(more);
        self.post("/token", &pairs, &[]).await
    }

    fn workload(&self, kind: Option<&str>, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = json!({
            "iss": CLUSTER, "sub": "system:serviceaccount:prod:batch", "aud": [ORIGIN], "exp": self.now() + 600, "iat": self.now(),
        });
        change(&mut claims);
        self.jwt(&self.signers.cluster, Algorithm::EdDSA, kind, &claims)
    }

    async fn by_workload(&self, assertion: &str, resource: &str) -> Got {
        self.post("/token", &[("grant_type", BEARER), ("assertion", assertion), ("resource", resource)], &[]).await
    }
}

#[tokio::test]
async fn item_135_a_client_with_a_key_gets_a_token_for_itself_and_no_refresh_token() {
    let fixture = Fixture::new().await;
    let got = fixture.credentials(&fixture.client_assertion("one", |_| {})).await;
    assert_eq!(got.status, 200, "{got:?}");
    let claims = got.claims();
    assert_eq!((&claims["sub"], &claims["client_id"], &claims["aud"]), (&json!("signer"), &json!("signer"), &json!(FILES)));
    assert_eq!((&got.body["scope"], got.body.get("refresh_token")), (&json!("files:read"), None));
}

#[tokio::test]
async fn item_135_a_replayed_a_misdirected_and_a_forged_assertion_are_401() {
    let fixture = Fixture::new().await;
    let once = fixture.client_assertion("once", |_| {});
    assert_eq!(fixture.credentials(&once).await.status, 200);
    let other = fixture.beside().await;
    other.credentials(&once).await.is(401, "invalid_client");
    for audience in [json!("https://mcp.example.com/token"), json!([ORIGIN, "https://x.example"]), json!("https://x.example")] {
        let wrong = fixture.client_assertion("aud", |claims| claims["aud"] = audience);
        fixture.credentials(&wrong).await.is(401, "invalid_client");
    }
    let none = format!("{}.{}.", forge_part(&json!({ "alg": "none" })), once.split('.').nth(1).expect("claims"));
    fixture.credentials(&none).await.is(401, "invalid_client");
    let forged = {
        let claims = json!({ "iss": "signer", "sub": "signer", "aud": ORIGIN, "exp": fixture.now() + 60, "jti": "forged" });
        fixture.jwt(&fixture.signers.idp, Algorithm::ES256, Some("JWT"), &claims)
    };
    fixture.credentials(&forged).await.is(401, "invalid_client");
}

fn forge_part(value: &Value) -> String {
    crate::token::forge::part(value)
}

#[tokio::test]
async fn the_endpoint_as_audience_is_accepted_where_that_is_allowed() {
    let allow = |config: &mut Value| config["authorization_server"]["tokens"] = json!({ "allow_endpoint_audience": true });
    let fixture = Fixture::with(allow).await;
    let assertion = fixture.client_assertion("one", |claims| claims["aud"] = json!("https://mcp.example.com/token"));
    assert_eq!(fixture.credentials(&assertion).await.status, 200);
}

#[tokio::test]
async fn credentials_are_for_one_resource_and_for_the_scopes_of_the_client() {
    let fixture = Fixture::new().await;
    let robot = basic("robot", SECRET);
    let ask = async |more: &[(&str, &str)]| {
        let pairs: Vec<(&str, &str)> = [("grant_type", "client_credentials")].into_iter().chain(more.iter().copied()).collect();
        fixture.post("/token", &pairs, &[("authorization", &robot)]).await
    };
    ask(&[]).await.is(400, "invalid_target");
    ask(&[("resource", "https://mcp.example.com/unknown")]).await.is(400, "invalid_target");
    ask(&[("resource", FILES), ("scope", "files:write")]).await.is(400, "invalid_scope");
    ask(&[("resource", FILES), ("scope", "crm:read")]).await.is(400, "invalid_scope");
    assert_eq!(ask(&[("resource", FILES)]).await.body["scope"], "files:read");
    assert_eq!(ask(&[("resource", CRM)]).await.body["scope"], "crm:read");
}

#[tokio::test]
async fn item_136_an_identity_assertion_becomes_a_token_for_its_resource_and_no_refresh_token() {
    let fixture = Fixture::new().await;
    let assertion = fixture.identity("a1", "oauth-id-jag+jwt", |claims| claims["act"] = json!({ "sub": "agent" }));
    let got = fixture.by_identity("c1", &assertion, &[]).await;
    assert_eq!(got.status, 200, "{got:?}");
    let claims = got.claims();
    for (name, value) in [
        ("aud", json!(FILES)),
        ("sub", json!("corp|alice")),
        ("client_id", json!("signer")),
        ("scope", json!("files:read")),
        ("email", json!("alice@example.com")),
        ("act", json!({ "sub": "agent" })),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    assert_eq!((got.body.get("refresh_token"), &got.body["resource"]), (None, &json!(FILES)));
}

#[tokio::test]
async fn item_137_what_is_wrong_with_an_identity_assertion_is_invalid_grant() {
    type Change = fn(&mut Value);
    let fixture = Fixture::new().await;
    let wrong: [(&str, &str, Change); 9] = [
        ("two audiences", "oauth-id-jag+jwt", |claims| claims["aud"] = json!([ORIGIN, "https://x.example"])),
        ("another audience", "oauth-id-jag+jwt", |claims| claims["aud"] = json!("https://x.example")),
        ("another type", "JWT", |_| {}),
        ("another client", "oauth-id-jag+jwt", |claims| claims["client_id"] = json!("app")),
        ("expired", "oauth-id-jag+jwt", |claims| claims["exp"] = json!(claims["iat"].as_u64().expect("a time") - 60)),
        ("an untrusted issuer", "oauth-id-jag+jwt", |claims| claims["iss"] = json!("https://evil.example")),
        ("a foreign resource", "oauth-id-jag+jwt", |claims| claims["resource"] = json!("https://x.example/files")),
        ("a resource that it may not let into", "oauth-id-jag+jwt", |claims| claims["resource"] = json!(CRM)),
        ("no scope that is there", "oauth-id-jag+jwt", |claims| claims["scope"] = json!("crm:read")),
    ];
    for (index, (what, kind, change)) in wrong.into_iter().enumerate() {
        let assertion = fixture.identity(&format!("a{index}"), kind, change);
        let got = fixture.by_identity(&format!("c{index}"), &assertion, &[]).await;
        assert_eq!((got.status, &got.body["error"]), (400, &json!("invalid_grant")), "{what}: {got:?}");
    }
    let forged = {
        let good = fixture.identity("f", "oauth-id-jag+jwt", |_| {});
        let claims = part(&good, 1);
        fixture.jwt(&fixture.signers.client, Algorithm::ES256, Some("oauth-id-jag+jwt"), &claims)
    };
    fixture.by_identity("cf", &forged, &[]).await.is(400, "invalid_grant");
    let good = fixture.identity("g", "oauth-id-jag+jwt", |_| {});
    fixture.by_identity("cg", &good, &[("resource", CRM)]).await.is(400, "invalid_grant");
}

#[tokio::test]
async fn item_138_an_identity_assertion_is_taken_once_at_any_replica() {
    let fixture = Fixture::new().await;
    let other = fixture.beside().await;
    let assertion = fixture.identity("once", "oauth-id-jag+jwt", |_| {});
    assert_eq!(fixture.by_identity("c1", &assertion, &[]).await.status, 200);
    let again = other.by_identity("c2", &assertion, &[]).await;
    assert_eq!(again.is(400, "invalid_grant").reason, "assertion_reused");
    // Past its end it is still within the leeway, and still remembered.
    other.pass(320);
    other.by_identity("c3", &assertion, &[]).await.is(400, "invalid_grant");
    let reusable = Fixture::with(|config| config["authorization_server"]["identity_assertions"]["corp"]["allow_reuse"] = json!(true)).await;
    let assertion = reusable.identity("many", "oauth-id-jag+jwt", |_| {});
    for id in ["c1", "c2"] {
        assert_eq!(reusable.by_identity(id, &assertion, &[]).await.status, 200);
    }
}

#[tokio::test]
async fn item_140_a_workload_comes_as_the_client_of_its_rule_and_as_nothing_else() {
    let fixture = Fixture::new().await;
    let got = fixture.by_workload(&fixture.workload(None, |_| {}), FILES).await;
    assert_eq!(got.status, 200, "{got:?}");
    let claims = got.claims();
    assert_eq!((&claims["sub"], &claims["client_id"], &claims["scope"]), (&json!("batch"), &json!("batch"), &json!("files:read")));
    let typed = fixture.workload(Some("oauth-id-jag+jwt"), |_| {});
    fixture.by_identity("c1", &typed, &[]).await.is(400, "invalid_grant");
    let foreign = fixture.workload(None, |claims| claims["sub"] = json!("system:serviceaccount:dev:batch"));
    fixture.by_workload(&foreign, FILES).await.is(400, "invalid_grant");
    fixture.by_workload(&fixture.workload(None, |_| {}), CRM).await.is(400, "invalid_grant");
    let forged = {
        let claims = part(&fixture.workload(None, |_| {}), 1);
        fixture.jwt(&fixture.signers.client, Algorithm::ES256, None, &claims)
    };
    fixture.by_workload(&forged, FILES).await.is(400, "invalid_grant");
}

#[tokio::test]
async fn item_140_an_identity_assertion_is_neither_a_client_assertion_nor_a_workload_nor_an_access_token() {
    let fixture = Fixture::new().await;
    let assertion = fixture.identity("a", "oauth-id-jag+jwt", |_| {});
    fixture.credentials(&assertion).await.is(401, "invalid_client");
    fixture.by_workload(&assertion, FILES).await.is(401, "invalid_client");
    assert_eq!(fixture.introspect_as_web(&assertion).await.body, json!({ "active": false }));
    let client = fixture.client_assertion("as-a-grant", |_| {});
    fixture.by_workload(&client, FILES).await.is(400, "invalid_grant");
}
