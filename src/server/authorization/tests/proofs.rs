//! Tokens that are bound to a key (RFC 9449; item 141).

use super::*;
use crate::token::forge;

const HTU: &str = "https://mcp.example.com/token";

/// A key of a client, and proofs of it.
struct Holder(Signer, AtomicU64);

impl Holder {
    fn new() -> Self {
        Self(Signer::new(Algorithm::ES256), AtomicU64::new(1))
    }

    fn proof(&self, fixture: &Fixture, change: impl FnOnce(&mut Value)) -> String {
        let jwk = forge::without(self.0.jwk("x"), "kid");
        let id = format!("proof-{}", self.1.fetch_add(1, Ordering::Relaxed));
        let mut claims = json!({ "jti": id, "htm": "POST", "htu": HTU, "iat": fixture.now() });
        change(&mut claims);
        self.0.token(Algorithm::ES256, &json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk }), &claims)
    }

    fn thumbprint(&self) -> String {
        let jwk = self.0.jwk("x");
        let text = |name: &str| jwk[name].as_str().expect("text").to_owned();
        super::super::digest(&format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, text("x"), text("y")))
    }
}

async fn refresh_with(fixture: &Fixture, token: &str, proof: Option<&str>) -> Got {
    let pairs = [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "app")];
    let headers: Vec<(&str, &str)> = proof.map(|proof| ("dpop", proof)).into_iter().collect();
    fixture.post("/token", &pairs, &headers).await
}

#[tokio::test]
async fn item_141_with_a_proof_the_tokens_are_bound_to_its_key() {
    let fixture = Fixture::new().await;
    let (holder, thief) = (Holder::new(), Holder::new());
    let code = fixture.code("app").await;
    let proof = holder.proof(&fixture, |_| {});
    let got = fixture.post("/token", &redeeming(&code, "app"), &[("dpop", &proof)]).await;
    assert_eq!(got.body["token_type"], "DPoP", "{got:?}");
    assert_eq!(got.claims()["cnf"]["jkt"], holder.thumbprint());
    let refresh = got.text("refresh_token");
    // RFC 9449 §5: what a public client holds is bound too, and is never given out unbound.
    refresh_with(&fixture, &refresh, None).await.is(400, "invalid_dpop_proof");
    refresh_with(&fixture, &refresh, Some(&thief.proof(&fixture, |_| {}))).await.is(400, "invalid_dpop_proof");
    let next = refresh_with(&fixture, &refresh, Some(&holder.proof(&fixture, |_| {}))).await;
    assert_eq!(next.claims()["cnf"]["jkt"], holder.thumbprint());
}

#[tokio::test]
async fn item_141_a_proof_for_something_else_is_refused() {
    type Change = fn(&mut Value);
    let wrong: [(&str, Change); 4] = [
        ("another method", |claims| claims["htm"] = json!("GET")),
        ("another URL", |claims| claims["htu"] = json!("https://mcp.example.com/files")),
        ("old", |claims| claims["iat"] = json!(claims["iat"].as_u64().expect("a time") - 400)),
        ("no id", |claims| claims["jti"] = json!("")),
    ];
    let fixture = Fixture::new().await;
    let holder = Holder::new();
    let code = fixture.code("app").await;
    for (what, change) in wrong {
        let proof = holder.proof(&fixture, change);
        let got = fixture.post("/token", &redeeming(&code, "app"), &[("dpop", &proof)]).await;
        assert_eq!((got.status, &got.body["error"]), (400, &json!("invalid_dpop_proof")), "{what}: {got:?}");
    }
    let proof = holder.proof(&fixture, |_| {});
    let twice = fixture.post("/token", &redeeming(&code, "app"), &[("dpop", &proof), ("dpop", &proof)]).await;
    twice.is(400, "invalid_dpop_proof");
    assert_eq!(fixture.post("/token", &redeeming(&code, "app"), &[("dpop", &proof)]).await.status, 200, "and the code is still good");
    let again = fixture.code("app").await;
    let replayed = fixture.post("/token", &redeeming(&again, "app"), &[("dpop", &proof)]).await;
    replayed.is(400, "invalid_dpop_proof");
}

#[tokio::test]
async fn a_code_that_is_bound_to_a_key_is_redeemed_with_it_alone() {
    let fixture = Fixture::new().await;
    let (holder, thief) = (Holder::new(), Holder::new());
    let thumbprint = holder.thumbprint();
    let code = fixture.code_with("app", |authorized, _| authorized.dpop_jkt = Some(thumbprint)).await;
    fixture.redeem(&code).await.is(400, "invalid_dpop_proof");
    let foreign = thief.proof(&fixture, |_| {});
    fixture.post("/token", &redeeming(&code, "app"), &[("dpop", &foreign)]).await.is(400, "invalid_dpop_proof");
    let proof = holder.proof(&fixture, |_| {});
    assert_eq!(fixture.post("/token", &redeeming(&code, "app"), &[("dpop", &proof)]).await.status, 200);
}

#[tokio::test]
async fn where_only_bound_tokens_are_accepted_no_others_are_issued() {
    let fixture = Fixture::with(|config| config["upstreams"]["files"]["require_dpop"] = json!(true)).await;
    let code = fixture.code("app").await;
    fixture.redeem(&code).await.is(400, "invalid_dpop_proof");
    let proof = Holder::new().proof(&fixture, |_| {});
    assert_eq!(fixture.post("/token", &redeeming(&code, "app"), &[("dpop", &proof)]).await.status, 200);
}

#[tokio::test]
async fn item_143_where_a_nonce_is_demanded_the_answer_gives_one() {
    let fixture = Fixture::with(|config| config["dpop"] = json!({ "nonce": true })).await;
    let holder = Holder::new();
    let code = fixture.code("app").await;
    let bare = holder.proof(&fixture, |_| {});
    let got = fixture.post("/token", &redeeming(&code, "app"), &[("dpop", &bare)]).await.is(400, "use_dpop_nonce");
    let nonce = got.headers["dpop-nonce"].to_str().expect("text").to_owned();
    let proof = holder.proof(&fixture, |claims| claims["nonce"] = json!(nonce));
    assert_eq!(fixture.post("/token", &redeeming(&code, "app"), &[("dpop", &proof)]).await.status, 200);
}

#[tokio::test]
async fn item_141_a_proof_that_bought_a_token_at_one_replica_buys_none_at_another_nor_after_a_restart() {
    let fixture = Fixture::new().await;
    let holder = Holder::new();
    let codes = [fixture.code("app").await, fixture.code("app").await];
    let proof = holder.proof(&fixture, |_| {});
    let redeem =
        async |replica: &Fixture, code: &str, proof: &str| replica.post("/token", &redeeming(code, "app"), &[("dpop", proof)]).await;
    assert_eq!(redeem(&fixture, &codes[0], &proof).await.status, 200);
    let other = fixture.beside().await;
    redeem(&other, &codes[1], &proof).await.is(400, "invalid_dpop_proof");
    let robot = [("grant_type", "client_credentials"), ("resource", FILES)];
    let got = other.post("/token", &robot, &[("authorization", &basic("robot", SECRET)), ("dpop", &proof)]).await;
    got.is(400, "invalid_dpop_proof");
    assert_eq!(redeem(&other, &codes[1], &holder.proof(&other, |_| {})).await.status, 200, "and the code is still good");
}
