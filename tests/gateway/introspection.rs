//! Who is asking, with a token that only its issuer can read (RFC 7662)?

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::client_proof::ProofKey;
use crate::support::introspection::{Introspection, Mood};
use crate::support::issuer::now;
use crate::support::{Reply, Setup, World, eventually};

const TOKEN: &str = "opaque-token-one";

/// A gateway whose issuer is asked, and the endpoint where.
struct Asked {
    world: World,
    endpoint: Introspection,
}

impl Asked {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With changed settings of the issuer.
    async fn with(change: impl FnOnce(&mut Value)) -> Self {
        Self::with_folder(|issuer, _| change(issuer)).await
    }

    async fn with_folder(change: impl FnOnce(&mut Value, &std::path::Path)) -> Self {
        let endpoint = Introspection::start().await;
        let mut setup = Setup::new().await;
        std::fs::write(setup.folder.path().join("secret"), "s3cr:t+1\n").unwrap();
        setup.config["issuers"]["corp"]["introspection"] = json!({
            "url": endpoint.url, "client_id": "door ward", "client_secret_file": setup.folder.path().join("secret"),
            "timeout": "1s",
        });
        change(&mut setup.config["issuers"]["corp"], setup.folder.path());
        Self { world: setup.start().await, endpoint }
    }

    /// An answer about a good token for the files endpoint, with anything about it changed.
    fn put(&self, token: &str, change: impl FnOnce(&mut Value)) {
        let mut answer = Introspection::active(&self.world.issuer.url, &self.world.resource());
        change(&mut answer);
        self.endpoint.put(token, answer);
    }

    async fn call(&self, token: &str) -> Reply {
        self.world.tool("read_file").token(token).send().await
    }

    /// The token is refused as invalid, and the upstream hears nothing.
    async fn refused(&self, what: &str, token: &str) {
        let before = self.world.files.count();
        let reply = self.call(token).await;
        assert_eq!(reply.status, 401, "{what}: {reply:?}");
        assert_eq!(reply.challenge_parameter("error").as_deref(), Some("invalid_token"), "{what}");
        assert_eq!(self.world.files.count(), before, "{what}");
    }

    /// The token cannot be judged: 503, no challenge, and the upstream hears nothing.
    async fn unavailable(&self, what: &str, token: &str) {
        let before = self.world.files.count();
        let reply = self.call(token).await;
        assert_eq!(reply.status, 503, "{what}: {reply:?}");
        assert_eq!((reply.challenge(), reply.header("retry-after")), (String::new(), "5".to_owned()), "{what}");
        assert_eq!(self.world.files.count(), before, "{what}");
    }

    async fn reason(&self) -> Value {
        let all = self.world.gateway.audited(1, |record| record["reason"] != "permitted").await;
        all.last().unwrap()["reason"].clone()
    }
}

#[tokio::test]
async fn item_23_an_opaque_token_is_asked_about_and_then_judged_like_any_other() {
    let asked = Asked::start().await;
    asked.put(TOKEN, |_| {});
    asked.call(TOKEN).await.is(200);
    let question = asked.endpoint.questions().pop().unwrap();
    assert_eq!(question.path, "/introspect");
    assert_eq!((question.form["token"].as_str(), question.form["token_type_hint"].as_str()), (TOKEN, "access_token"));
    let basic = question.authorization.strip_prefix("Basic ").unwrap();
    assert_eq!(String::from_utf8(STANDARD.decode(basic).unwrap()).unwrap(), "door+ward:s3cr%3At%2B1");
    let seen = asked.world.files.only();
    assert_eq!((seen.header("x-mcp-user"), seen.header("authorization")), ("user-a".to_owned(), String::new()));
    // The rules hold for it too.
    asked.world.tool("write_file").token(TOKEN).send().await.is(403);
    assert_eq!(asked.endpoint.count(), 1, "what was answered is remembered");
}

#[tokio::test]
async fn item_23_active_alone_lets_nobody_in() {
    let asked = Asked::start().await;
    let crm = format!("{}/mcp/crm", asked.world.origin);
    let cases: [(&str, &str, Value); 11] = [
        ("another resource", "aud", json!(crm)),
        ("no resource", "aud", json!([])),
        ("another issuer", "iss", json!("https://evil.example")),
        ("expired", "exp", json!(now() - 3600)),
        ("not yet", "nbf", json!(now() + 3600)),
        ("inactive", "active", json!(false)),
        ("bound to a key", "cnf", json!({"jkt": "x"})),
        ("a refresh token", "token_type", json!("refresh_token")),
        ("an ID token", "typ", json!("ID")),
        ("a scope that is no text", "scope", json!({"files:read": true})),
        ("a subject that is no text", "sub", json!(["user-a"])),
    ];
    for (what, name, value) in cases {
        let token = format!("token-{}", what.replace(' ', "-"));
        asked.put(&token, |answer| answer[name] = value);
        asked.refused(what, &token).await;
        let questions = asked.endpoint.count();
        asked.refused(what, &token).await;
        assert_eq!(asked.endpoint.count(), questions, "{what}: a repeated refusal asks nobody");
    }
    asked.put("no-aud", |answer| _ = answer.as_object_mut().unwrap().remove("aud"));
    asked.refused("no audience", "no-aud").await;
    asked.refused("nobody knows it", "unheard-of").await;
    asked.put("many-scopes", |answer| answer["scope"] = json!(["files:read"]));
    asked.call("many-scopes").await.is(200);
}

#[tokio::test]
async fn item_23_an_answer_is_believed_no_longer_than_the_token_lives() {
    let asked = Asked::with(|issuer| {
        issuer["leeway"] = json!("0s");
        issuer["introspection"]["cache"] = json!("5m");
    })
    .await;
    asked.put(TOKEN, |answer| answer["exp"] = json!(now() + 2));
    asked.call(TOKEN).await.is(200);
    eventually("the end of the token", || async { (asked.call(TOKEN).await.status == 401).then_some(()) }).await;
    assert_eq!(asked.reason().await, "token_expired");
}

#[tokio::test]
async fn s6_an_answer_that_is_none_is_no_yes() {
    let asked = Asked::with(|issuer| issuer["introspection"]["cache"] = json!("1ms")).await;
    let good = Introspection::active(&asked.world.issuer.url, &asked.world.resource());
    let text = good.to_string();
    let moods = [
        ("active as text", Mood::Text("application/json", text.replace("true", "\"true\""))),
        ("a member twice", Mood::Text("application/json", text.replacen('{', "{\"active\":false,", 1))),
        ("a list", Mood::Text("application/json", format!("[{text}]"))),
        ("a huge answer", Mood::Text("application/json", format!("{}{text}", " ".repeat(1 << 20)))),
    ];
    for (what, mood) in moods {
        asked.endpoint.be(mood);
        asked.unavailable(what, &format!("token-{}", what.replace(' ', "-"))).await;
        asked.endpoint.be(Mood::ByToken);
        // An answer between failures keeps the circuit closed.
        asked.refused("unknown", &format!("unknown-{}", what.replace(' ', "-"))).await;
    }
    let elsewhere = Introspection::start().await;
    elsewhere.put(TOKEN, good);
    let moods = [
        ("a signed answer", Mood::Text("application/token-introspection+jwt", "e30.e30.x".into())),
        ("a page", Mood::Text("text/html", text)),
        ("a redirect", Mood::Redirect(elsewhere.url.clone())),
        ("a wrong secret", Mood::Status(401)),
    ];
    for (what, mood) in moods {
        asked.endpoint.be(mood);
        asked.unavailable(what, &format!("token-{}", what.replace(' ', "-"))).await;
        asked.endpoint.be(Mood::ByToken);
        asked.refused("unknown", &format!("unknown-{}", what.replace(' ', "-"))).await;
    }
    assert_eq!(elsewhere.count(), 0, "nobody is followed");
    asked.world.gateway.says("RFC 9701").await;
    asked.world.files.saw_nothing();
}

#[tokio::test]
async fn c_03_an_outage_is_503_within_the_timeout_and_nothing_outlives_its_cache() {
    let asked = Asked::with(|issuer| issuer["introspection"]["cache"] = json!("3s")).await;
    asked.put(TOKEN, |_| {});
    let first = Instant::now();
    asked.call(TOKEN).await.is(200);
    asked.endpoint.be(Mood::Silent);
    let begun = Instant::now();
    asked.unavailable("a token never seen", "new-token").await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    // What was cached serves for three seconds and not longer.
    eventually("the end of the cache", || async { (asked.call(TOKEN).await.status == 503).then_some(()) }).await;
    assert!(first.elapsed() >= Duration::from_secs(3), "{:?}", first.elapsed());
    assert_eq!(asked.reason().await, "introspection_unavailable");
    asked.call(&asked.world.ta()).await.is(200);
    asked.endpoint.be(Mood::ByToken);
    eventually("the end of the outage", || async { (asked.call(TOKEN).await.status == 200).then_some(()) }).await;
    let (ready, _) = asked.world.gateway.admin("/readyz").await;
    assert_eq!(ready, 200);
}

#[tokio::test]
async fn a_revoked_token_dies_with_its_cache_and_a_token_that_comes_alive_is_let_in() {
    let asked = Asked::with(|issuer| issuer["introspection"]["cache"] = json!("300ms")).await;
    asked.refused("not issued yet", TOKEN).await;
    asked.put(TOKEN, |_| {});
    eventually("the token", || async { (asked.call(TOKEN).await.status == 200).then_some(()) }).await;
    asked.put(TOKEN, |answer| *answer = json!({"active": false}));
    eventually("the revocation", || async { (asked.call(TOKEN).await.status == 401).then_some(()) }).await;
    assert_eq!(asked.reason().await, "token_inactive");
}

#[tokio::test]
async fn a_flood_of_made_up_tokens_reaches_the_issuer_in_drops() {
    let asked = Asked::start().await;
    asked.put(TOKEN, |_| {});
    asked.call(TOKEN).await.is(200);
    let begun = Instant::now();
    for round in 0..15 {
        let tokens: Vec<String> = (0..100).map(|n| format!("made-up-{round}-{n}")).collect();
        for reply in futures_util::future::join_all(tokens.iter().map(|token| asked.call(token))).await {
            assert!([401, 503].contains(&reply.status), "{reply:?}");
        }
    }
    let trickle = begun.elapsed().as_millis() as usize / 50 + 1;
    assert!(asked.endpoint.count() <= 1 + 256 + trickle, "{} questions, {trickle} by time", asked.endpoint.count());
    asked.call(TOKEN).await.is(200);
    let metrics = asked.world.gateway.metrics().await;
    assert!(metrics.sum("doorward_introspection_total", r#"result="inactive""#) >= 256.0);
    assert!(metrics.sum("doorward_introspection_total", r#"result="refused_busy""#) > 0.0);
    assert_eq!(metrics.sum("doorward_introspection_total", r#"result="ok""#), 1.0);
}

#[tokio::test]
async fn a_jwt_is_judged_by_its_signature_and_never_shown_to_the_endpoint() {
    let asked = Asked::start().await;
    asked.call(&asked.world.ta()).await.is(200);
    let forged = format!("{}AAAA", asked.world.ta());
    asked.put(&forged, |_| {});
    asked.refused("forged", &forged).await;
    let foreign = asked.world.token(|token| token.claims["iss"] = json!("https://other.example"));
    asked.put(&foreign, |_| {});
    asked.refused("foreign", &foreign).await;
    let unsigned = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0.";
    asked.put(unsigned, |_| {});
    asked.refused("unsigned", unsigned).await;
    assert_eq!(asked.endpoint.count(), 0);
}

#[tokio::test]
async fn with_only_a_jwt_of_the_issuer_is_asked_about_and_its_keys_are_not_fetched() {
    let asked = Asked::with(|issuer| issuer["introspection"]["only"] = json!(true)).await;
    let jwt = asked.world.ta();
    asked.refused("not known", &jwt).await;
    let other = asked.world.tb();
    asked.put(&other, |_| {});
    asked.call(&other).await.is(200);
    let foreign = asked.world.token(|token| token.claims["iss"] = json!("https://other.example"));
    asked.put(&foreign, |_| {});
    asked.refused("foreign", &foreign).await;
    assert_eq!((asked.endpoint.count(), asked.world.issuer.key_fetches()), (2, 0));
}

#[tokio::test]
async fn the_endpoint_is_found_in_the_metadata() {
    let asked = Asked::with(|issuer| _ = issuer["introspection"].as_object_mut().unwrap().remove("url")).await;
    asked.world.issuer.introspect_at(&asked.endpoint.url);
    asked.put(TOKEN, |_| {});
    asked.call(TOKEN).await.is(200);
    let plain = Asked::with(|issuer| _ = issuer["introspection"].as_object_mut().unwrap().remove("url")).await;
    plain.world.issuer.introspect_at("http://192.0.2.1/introspect");
    plain.unavailable("plain http off loopback", TOKEN).await;
    plain.world.gateway.says("is plain http").await;
}

#[tokio::test]
async fn a_missing_audience_is_let_in_only_where_the_operator_says_so() {
    let asked = Asked::with(|issuer| issuer["introspection"]["allow_missing_audience"] = json!(true)).await;
    asked.put(TOKEN, |answer| _ = answer.as_object_mut().unwrap().remove("aud"));
    asked.call(TOKEN).await.is(200);
    asked.put("other", |answer| answer["aud"] = json!("https://other.example"));
    asked.refused("another audience", "other").await;
}

#[tokio::test]
async fn a_cached_token_of_one_upstream_is_refused_at_another() {
    let asked = Asked::start().await;
    asked.put(TOKEN, |answer| answer["scope"] = json!("files:read crm:read"));
    asked.call(TOKEN).await.is(200);
    asked.world.tool("crm_list").path("/mcp/crm").token(TOKEN).send().await.is(401);
    asked.world.crm.saw_nothing();
}

#[tokio::test]
async fn neither_token_nor_secret_is_written_anywhere() {
    let asked = Asked::start().await;
    asked.put(TOKEN, |_| {});
    asked.call(TOKEN).await.is(200);
    asked.endpoint.be(Mood::Status(500));
    asked.unavailable("down", "opaque-token-two").await;
    asked.world.gateway.audited(2, |_| true).await;
    let (_, metrics) = asked.world.gateway.admin("/metrics").await;
    let written = [asked.world.gateway.stderr(), std::fs::read_to_string(&asked.world.gateway.audit_file).unwrap(), metrics].concat();
    for secret in [TOKEN, "opaque-token-two", "s3cr", &STANDARD.encode("door+ward:s3cr%3At%2B1")] {
        assert!(!written.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_key_proves_who_asks_about_a_token() {
    let mut key = None;
    let asked = Asked::with_folder(|issuer, folder| {
        let section = &mut issuer["introspection"];
        section.as_object_mut().unwrap().remove("client_secret_file");
        let made = ProofKey::new(folder);
        section["private_key_jwt"] = json!({"key_file": made.file, "kid": "door-1"});
        key = Some(made);
    })
    .await;
    let key = key.unwrap();
    for (number, token) in ["opaque-one", "opaque-two"].into_iter().enumerate() {
        asked.put(token, |_| {});
        asked.call(token).await.is(200);
        let question = asked.endpoint.questions().remove(number);
        assert_eq!((question.authorization.as_str(), question.form["token"].as_str()), ("", token));
        assert_eq!(question.form["client_id"], "door ward");
        let (header, claims) = key.opened(&question.form);
        assert_eq!(header, json!({"alg": "ES256", "typ": "JWT", "kid": "door-1"}));
        // Whom the proof is for: the issuer, wherever its endpoint is.
        assert_eq!(
            (&claims["aud"], &claims["iss"], &claims["sub"]),
            (&json!(asked.world.issuer.url), &json!("door ward"), &json!("door ward"))
        );
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 60);
    }
    let jti = |number: usize| key.opened(&asked.endpoint.questions()[number].form).1["jti"].clone();
    assert_ne!(jti(0), jti(1));
}
