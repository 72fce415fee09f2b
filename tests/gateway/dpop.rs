//! Is the token in the hands it was issued to? DPoP (RFC 9449) and certificate-bound tokens (RFC 8705).

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use aws_lc_rs::digest::{SHA256, digest};
use http::Method;
use serde_json::{Value, json};

use crate::support::client::Call;
use crate::support::issuer::{b64, now};
use crate::support::upstream::plain;
use crate::support::{Reply, Signer, Token, World};

fn sha256(text: &str) -> String {
    b64(digest(&SHA256, text.as_bytes()))
}

/// RFC 7638 §3.
fn thumbprint(signer: &Signer) -> String {
    let jwk = signer.jwk();
    let text = |name: &str| jwk[name].as_str().unwrap().to_owned();
    sha256(&match text("kty").as_str() {
        "EC" => format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, text("x"), text("y")),
        "OKP" => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, text("x")),
        _ => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text("e"), text("n")),
    })
}

/// A proof before it is signed: change what should be wrong.
struct Proof {
    header: Value,
    claims: Value,
}

fn proof(signer: &Signer, url: &str, token: &str, change: impl FnOnce(&mut Proof)) -> String {
    static SERIAL: AtomicU64 = AtomicU64::new(1);
    let mut proof = Proof {
        header: json!({"typ": "dpop+jwt", "alg": signer.alg(), "jwk": signer.jwk()}),
        claims: json!({
            "jti": format!("proof-{}", SERIAL.fetch_add(1, SeqCst)), "htm": "POST", "htu": url, "iat": now(), "ath": sha256(token),
        }),
    };
    change(&mut proof);
    let message = format!("{}.{}", b64(proof.header.to_string()), b64(proof.claims.to_string()));
    format!("{message}.{}", b64(signer.sign(message.as_bytes())))
}

/// A client with a key, and a token that is bound to it.
struct Holder {
    signer: Signer,
    token: String,
    url: String,
}

impl Holder {
    fn new(world: &World) -> Self {
        Self::with(world, Signer::es256("client"), |_| {})
    }

    fn with(world: &World, signer: Signer, change: impl FnOnce(&mut Token)) -> Self {
        let jkt = thumbprint(&signer);
        let token = world.token(|token| {
            token.claims["cnf"] = json!({"jkt": jkt});
            change(token);
        });
        Self { signer, token, url: world.resource() }
    }

    fn proof(&self, change: impl FnOnce(&mut Proof)) -> String {
        proof(&self.signer, &self.url, &self.token, change)
    }

    fn bare(&self, world: &World) -> Call {
        world.tool("read_file").header("authorization", &format!("DPoP {}", self.token))
    }

    async fn call(&self, world: &World, proof: &str) -> Reply {
        self.bare(world).header("dpop", proof).send().await
    }
}

/// Refused with this error in a DPoP challenge, and the upstream hears nothing.
async fn refused(world: &World, what: &str, error: &str, call: Call) {
    let before = world.files.count();
    let reply = call.send().await;
    assert_eq!(reply.status, 401, "{what}: {reply:?}");
    assert!(reply.challenge().starts_with("DPoP "), "{what}: {reply:?}");
    assert_eq!(reply.challenge_parameter("error").as_deref(), Some(error), "{what}: {reply:?}");
    assert_eq!(reply.challenge_parameter("algs").as_deref(), Some("ES256 EdDSA"), "{what}");
    assert_eq!(reply.challenge_parameter("resource_metadata"), Some(world.metadata_url()), "{what}");
    assert_eq!(world.files.count(), before, "{what}");
}

#[tokio::test]
async fn item_141_a_bound_token_passes_with_a_proof_and_neither_goes_on() {
    let world = World::start().await;
    for signer in [Signer::es256("a"), Signer::ed25519("b")] {
        let holder = Holder::with(&world, signer, |_| {});
        let proof = holder.proof(|_| {});
        holder.call(&world, &proof).await.is(200);
        // The token is remembered; the next call needs a proof of its own all the same.
        holder.call(&world, &holder.proof(|_| {})).await.is(200);
        refused(&world, "recalled, no proof", "invalid_dpop_proof", holder.bare(&world)).await;
        for seen in world.files.seen() {
            assert_eq!((seen.header("dpop"), seen.header("authorization")), (String::new(), String::new()));
            assert!(!seen.text().contains(&proof) && !seen.text().contains(&holder.token));
        }
        world.gateway.audited(1, |_| true).await;
        let written = std::fs::read_to_string(&world.gateway.audit_file).unwrap() + &world.gateway.stderr();
        assert!(!written.contains(&proof) && !written.contains(&holder.token));
    }
}

#[tokio::test]
async fn item_141_a_bound_token_as_bearer_is_refused_with_or_without_proof() {
    let world = World::start().await;
    let holder = Holder::new(&world);
    holder.call(&world, &holder.proof(|_| {})).await.is(200);
    for call in
        [world.tool("read_file").token(&holder.token), world.tool("read_file").token(&holder.token).header("dpop", &holder.proof(|_| {}))]
    {
        let reply = call.send().await;
        assert_eq!(reply.is(401).challenge_parameter("error").as_deref(), Some("invalid_token"));
        assert!(reply.challenge().contains("|DPoP algs=") || reply.challenge().contains("algs=\"ES256 EdDSA\""), "{reply:?}");
    }
    assert_eq!(world.files.count(), 1);
}

#[tokio::test]
async fn item_141_an_unbound_token_under_the_dpop_scheme_is_refused() {
    let world = World::start().await;
    let holder = Holder::with(&world, Signer::es256("a"), |token| token.remove("cnf"));
    refused(&world, "unbound", "invalid_token", holder.bare(&world).header("dpop", &holder.proof(|_| {}))).await;
    refused(&world, "unbound, no proof", "invalid_token", holder.bare(&world)).await;
}

#[tokio::test]
async fn item_141_every_check_of_a_proof_once() {
    let world = World::start().await;
    let holder = Holder::new(&world);
    let other = Holder::new(&world);
    let rsa = Holder::with(&world, Signer::rs256("r"), |_| {});
    let crm = format!("{}/mcp/crm", world.origin);
    let upstream = world.files.url.clone();
    let claim = |name: &'static str, value: Value| holder.proof(|proof| proof.claims[name] = value);
    let header = |name: &'static str, value: Value| holder.proof(|proof| proof.header[name] = value);
    let mut with_private = holder.signer.jwk();
    with_private["d"] = json!("AAAA");
    let good = holder.proof(|_| {});
    let (message, signature) = good.rsplit_once('.').unwrap();
    let wrong = [
        ("method", claim("htm", json!("GET"))),
        ("method in small letters", claim("htm", json!("post"))),
        ("another upstream", claim("htu", json!(crm))),
        ("the address of the inside", claim("htu", json!(upstream))),
        ("another host", claim("htu", json!("https://evil.example/mcp/files"))),
        ("another token", claim("ath", json!(sha256("other")))),
        ("no token", claim("ath", json!(null))),
        ("old", claim("iat", json!(now() - 400))),
        ("ahead", claim("iat", json!(now() + 400))),
        ("no id", claim("jti", json!(null))),
        ("type", header("typ", json!("JWT"))),
        ("none", header("alg", json!("none"))),
        ("HMAC", header("alg", json!("HS256"))),
        ("algorithm of another key", header("alg", json!("EdDSA"))),
        ("algorithm that is not listed", rsa.proof(|_| {})),
        ("private key", header("jwk", with_private)),
        ("symmetric key", header("jwk", json!({"kty": "oct", "k": "c2VjcmV0"}))),
        ("another's key", other.proof(|proof| proof.claims["ath"] = json!(sha256(&holder.token)))),
        (
            "another's signature",
            other.proof(|proof| {
                proof.header["jwk"] = holder.signer.jwk();
                proof.claims["ath"] = json!(sha256(&holder.token));
            }),
        ),
        ("no signature", format!("{message}.")),
        ("half a signature", format!("{message}.{}", signature.split_at(43).0)),
        ("two in one header", format!("{good}, {good}")),
        ("not a JWS", "proof".into()),
        ("empty", String::new()),
        ("too long", "a".repeat(9_000)),
    ];
    for (what, proof) in wrong {
        refused(&world, what, "invalid_dpop_proof", holder.bare(&world).header("dpop", &proof)).await;
    }
    let twice = holder.bare(&world).header("dpop", &good).header("dpop", &holder.proof(|_| {}));
    refused(&world, "two headers", "invalid_dpop_proof", twice).await;
    // A proof that was refused beside another is not used up.
    holder.call(&world, &good).await.is(200);
}

#[tokio::test]
async fn item_141_a_proof_is_good_once_also_after_a_reload_and_at_once() {
    let world = World::start().await;
    let holder = Holder::new(&world);
    let proof = holder.proof(|_| {});
    let (first, second) = tokio::join!(holder.call(&world, &proof), holder.call(&world, &proof));
    let mut both = [first.status, second.status];
    both.sort_unstable();
    assert_eq!(both, [200, 401]);
    let mut changed = world.config.clone();
    changed["dpop"] = json!({"window": "5m"});
    world.gateway.reload(&changed).await;
    refused(&world, "replayed", "invalid_dpop_proof", holder.bare(&world).header("dpop", &proof)).await;
    world.gateway.audited(1, |line| line["reason"] == "proof_replayed").await;
}

#[tokio::test]
async fn one_caller_cannot_use_up_the_memory_of_proofs_for_others() {
    let world = World::with(|config| config["dpop"] = json!({"remembered": 64})).await;
    let (greedy, also_greedy, modest) =
        (Holder::new(&world), Holder::new(&world), Holder::with(&world, Signer::es256("m"), |token| token.claims["sub"] = json!("user-b")));
    greedy.call(&world, &greedy.proof(|_| {})).await.is(200);
    also_greedy.call(&world, &also_greedy.proof(|_| {})).await.is(200);
    let full = greedy.call(&world, &greedy.proof(|_| {})).await;
    assert!(full.is(503).challenge().is_empty() && !full.header("retry-after").is_empty(), "{full:?}");
    modest.call(&world, &modest.proof(|_| {})).await.is(200);
    assert_eq!(world.files.count(), 3);
}

#[tokio::test]
async fn item_142_the_url_is_the_public_one_in_any_normal_spelling() {
    let world = World::start().await;
    let holder = Holder::new(&world);
    for url in [format!("{}?a=b", holder.url), format!("{}/", holder.url), holder.url.replace("http://", "HTTP://")] {
        holder.call(&world, &holder.proof(|proof| proof.claims["htu"] = json!(url))).await.is(200);
    }
}

#[tokio::test]
async fn item_143_a_nonce_is_asked_for_and_the_next_given_ahead() {
    let world = World::with(|config| config["dpop"] = json!({"nonce": true})).await;
    let holder = Holder::new(&world);
    let with = |nonce: &str| holder.proof(|proof| proof.claims["nonce"] = json!(nonce));
    let reply = holder.call(&world, &holder.proof(|_| {})).await;
    assert_eq!(reply.is(401).challenge_parameter("error").as_deref(), Some("use_dpop_nonce"));
    assert!(reply.challenge().starts_with("DPoP "));
    let nonce = reply.header("dpop-nonce");
    let passed = holder.call(&world, &with(&nonce)).await;
    let next = passed.is(200).header("dpop-nonce");
    holder.call(&world, &with(&next)).await.is(200);
    for wrong in ["", "nonce", &format!("{nonce}A"), &nonce.to_lowercase()] {
        refused(&world, wrong, "use_dpop_nonce", holder.bare(&world).header("dpop", &with(wrong))).await;
    }
    // A reload without a secret in the file changes no nonce.
    let mut changed = world.config.clone();
    changed["dpop"]["remembered"] = json!(1000);
    world.gateway.reload(&changed).await;
    holder.call(&world, &with(&next)).await.is(200);
    // Bearers are not told of nonces they have no use for.
    assert_eq!(world.tool("read_file").token(&world.ta()).send().await.is(200).header("dpop-nonce"), "");
}

#[tokio::test]
async fn a_nonce_of_one_replica_is_good_at_another_with_the_secret() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nonces");
    std::fs::write(&file, "0123456789abcdef0123456789abcdef\n").unwrap();
    let config = |config: &mut Value| config["dpop"] = json!({"nonce": true, "nonce_secret_file": file});
    let (one, other) = (World::with(config).await, World::with(config).await);
    let holder = Holder::new(&one);
    let nonce = holder.call(&one, &holder.proof(|_| {})).await.is(401).header("dpop-nonce");
    let elsewhere = Holder::new(&other);
    elsewhere.call(&other, &elsewhere.proof(|proof| proof.claims["nonce"] = json!(nonce))).await.is(200);
}

#[tokio::test]
async fn the_upstream_has_no_say_in_nonces() {
    let world = World::with(|config| config["dpop"] = json!({"nonce": true})).await;
    world.files.script(|seen| Some(plain(seen).with("dpop-nonce", "from-the-inside")));
    let reply = world.tool("read_file").token(&world.ta()).send().await;
    assert_eq!(reply.is(200).header("dpop-nonce"), "");
}

#[tokio::test]
async fn where_dpop_is_required_no_bearer_token_passes() {
    let world = World::with(|config| config["upstreams"]["files"]["require_dpop"] = json!(true)).await;
    let holder = Holder::new(&world);
    refused(&world, "bearer", "invalid_token", world.tool("read_file").token(&world.ta())).await;
    refused(&world, "bound as bearer", "invalid_token", world.tool("read_file").token(&holder.token)).await;
    let nothing = world.tool("read_file").send().await;
    assert!(nothing.is(401).challenge().starts_with("DPoP ") && !nothing.challenge().contains("error"), "{nothing:?}");
    holder.call(&world, &holder.proof(|_| {})).await.is(200);
    let metadata = world.get("/.well-known/oauth-protected-resource/mcp/files").await.json();
    assert_eq!(metadata["dpop_bound_access_tokens_required"], json!(true));
    assert_eq!(metadata["dpop_signing_alg_values_supported"], json!(["ES256", "EdDSA"]));
    let metadata = world.get("/.well-known/oauth-protected-resource/mcp/crm").await.json();
    assert_eq!(metadata.get("dpop_signing_alg_values_supported"), None);
}

#[tokio::test]
async fn where_dpop_is_offered_the_bearer_challenge_comes_first() {
    let world = World::with(|config| config["dpop"] = json!({"algorithms": ["ES256"]})).await;
    let reply = world.tool("read_file").send().await;
    let challenges: Vec<_> = reply.is(401).headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(challenges.len(), 2, "{challenges:?}");
    assert!(challenges[0].starts_with("Bearer ") && challenges[1].starts_with("DPoP "), "{challenges:?}");
    assert!(challenges[1].contains(r#"algs="ES256""#), "{challenges:?}");
    let exposed = world.tool("read_file").header("origin", &world.origin).send().await.header("access-control-expose-headers");
    assert!(exposed.contains("dpop-nonce") && exposed.contains("www-authenticate"), "{exposed}");
    world.tool("read_file").token(&world.ta()).send().await.is(200);
}

#[tokio::test]
async fn a_missing_scope_is_told_in_the_scheme_that_was_used() {
    let world = World::start().await;
    let holder = Holder::new(&world);
    let call = world.tool("write_file").header("authorization", &format!("DPoP {}", holder.token));
    let reply = call.header("dpop", &holder.proof(|_| {})).send().await;
    assert!(reply.is(403).challenge().starts_with("DPoP "), "{reply:?}");
    assert_eq!(reply.challenge_parameter("error").as_deref(), Some("insufficient_scope"));
    assert_eq!(reply.challenge_parameter("scope").as_deref(), Some("files:write"));
}

#[tokio::test]
async fn an_unknown_confirmation_is_never_taken_for_a_bearer_token() {
    let world = World::start().await;
    for cnf in [json!(null), json!({}), json!({"jwk": {}}), json!({"kid": "a"}), json!({"jkt": 7}), json!("A")] {
        let holder = Holder::with(&world, Signer::es256("a"), |token| token.claims["cnf"] = cnf.clone());
        refused(&world, &cnf.to_string(), "invalid_token", holder.bare(&world).header("dpop", &holder.proof(|_| {}))).await;
        world.tool("read_file").token(&holder.token).send().await.is(401);
    }
    let holder = Holder::new(&world);
    let more = Holder::with(&world, holder.signer.clone(), |token| token.claims["cnf"]["kid"] = json!("a"));
    refused(&world, "one member more", "invalid_token", more.bare(&world).header("dpop", &more.proof(|_| {}))).await;
    world.files.saw_nothing();
}

#[tokio::test]
async fn item_144_a_certificate_bound_token_needs_the_certificate() {
    let world = World::start().await;
    let bound = |token: &mut Token| token.claims["cnf"] = json!({"x5t#S256": sha256("a certificate")});
    let token = world.token(bound);
    for call in [
        world.tool("read_file").token(&token),
        world.tool("read_file").token(&token).header("client-cert", ":YSBjZXJ0aWZpY2F0ZQ==:"),
        world.tool("read_file").token(&token).header("x-client-cert", "a certificate"),
    ] {
        let reply = call.send().await;
        assert_eq!(reply.is(401).challenge_parameter("error").as_deref(), Some("invalid_token"), "{reply:?}");
    }
    let holder = Holder::new(&world);
    let both = Holder::with(&world, holder.signer.clone(), |token| token.claims["cnf"]["x5t#S256"] = json!(sha256("a certificate")));
    refused(&world, "key without certificate", "invalid_token", both.bare(&world).header("dpop", &both.proof(|_| {}))).await;
    world.files.saw_nothing();
}

#[tokio::test]
async fn item_144_where_a_certificate_is_required_no_other_token_passes() {
    let world = World::with(|config| {
        config["upstreams"]["files"]["require_certificate"] = json!(true);
        config["listen"][0]["trusted_proxies"] = json!(["192.0.2.1"]);
    })
    .await;
    assert_eq!(
        world.tool("read_file").token(&world.ta()).send().await.is(401).challenge_parameter("error").as_deref(),
        Some("invalid_token")
    );
    let holder = Holder::new(&world);
    refused(&world, "key alone", "invalid_token", holder.bare(&world).header("dpop", &holder.proof(|_| {}))).await;
    let metadata = world.get("/.well-known/oauth-protected-resource/mcp/files").await.json();
    assert_eq!(metadata["tls_client_certificate_bound_access_tokens"], json!(true));
    world.files.saw_nothing();
}

#[tokio::test]
async fn another_method_needs_a_proof_for_it() {
    let world = World::start().await;
    let holder = Holder::new(&world);
    let get = |proof: String| holder.bare(&world).method(Method::GET).body("").header("dpop", &proof);
    refused(&world, "a POST's proof", "invalid_dpop_proof", get(holder.proof(|_| {}))).await;
    get(holder.proof(|proof| proof.claims["htm"] = json!("GET"))).send().await.is(405);
}

#[tokio::test]
async fn no_odd_proof_is_taken_and_none_is_an_error_of_ours() {
    let world = World::start().await;
    let holder = Holder::new(&world);
    let written = |header: &str, claims: &str| {
        let message = format!("{}.{}", b64(header), b64(claims));
        format!("{message}.{}", b64(holder.signer.sign(message.as_bytes())))
    };
    let jwk = holder.signer.jwk();
    let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk}).to_string();
    let claims = |id: &str| json!({"jti": id, "htm": "POST", "htu": holder.url, "iat": now(), "ath": sha256(&holder.token)}).to_string();
    holder.call(&world, &written(&header, &claims("sound"))).await.is(200);
    let first = |text: &str, more: &str| text.replacen('{', &format!("{{{more},"), 1);
    let with_key = |change: &dyn Fn(&mut Value)| {
        let mut key = jwk.clone();
        change(&mut key);
        json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": key}).to_string()
    };
    let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
    let odd = [
        ("the key twice", written(&first(&header, r#""jwk":{"kty":"EC"}"#), &claims("1"))),
        ("the key twice, escaped", written(&first(&header, r#""j\u0077k":{"kty":"EC"}"#), &claims("2"))),
        ("a member of the key twice", written(&header.replacen("\"kty\"", "\"kty\":\"oct\",\"kty\"", 1), &claims("3"))),
        ("the algorithm twice", written(&first(&header, r#""alg":"none""#), &claims("4"))),
        ("the method twice", written(&header, &first(&claims("5"), r#""htm":"GET""#))),
        ("the token twice, escaped", written(&header, &first(&claims("6"), r#""\u0061th":"x""#))),
        ("nested deep", written(&header, &first(&claims("7"), &format!("\"x\":{deep}")))),
        ("a key nested deep", written(&first(&header, &format!("\"x\":{deep}")), &claims("8"))),
        ("a critical extension", written(&first(&header, r#""crit":["exp"]"#), &claims("9"))),
        ("an unencoded payload", written(&first(&header, r#""b64":false,"crit":["b64"]"#), &claims("10"))),
        ("a list of keys", written(&json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": [jwk]}).to_string(), &claims("11"))),
        ("a set of keys", written(&json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": {"keys": [jwk]}}).to_string(), &claims("12"))),
        ("a key by its name", written(&json!({"typ": "dpop+jwt", "alg": "ES256", "kid": "client"}).to_string(), &claims("13"))),
        (
            "a key by its place",
            written(&json!({"typ": "dpop+jwt", "alg": "ES256", "jku": "http://127.0.0.1:9/k"}).to_string(), &claims("14")),
        ),
        ("a point as number", written(&with_key(&|key| key["x"] = json!(7)), &claims("15"))),
        ("a point not on the curve", written(&with_key(&|key| key["x"] = key["y"].clone()), &claims("16"))),
        ("a point that is nothing", written(&with_key(&|key| (key["x"], key["y"]) = (json!(""), json!(""))), &claims("17"))),
        (
            "a point with zeros before it",
            written(&with_key(&|key| key["x"] = json!(format!("AAAA{}", key["x"].as_str().unwrap()))), &claims("18")),
        ),
        ("a point of a megabit", written(&with_key(&|key| key["x"] = json!("A".repeat(6_000))), &claims("19"))),
        ("a time beyond all bounds", written(&header, &first(&claims("20").replacen("\"iat\"", "\"was\"", 1), "\"iat\":1e999"))),
        (
            "a time before all time",
            written(&header, &first(&claims("21").replacen("\"iat\"", "\"was\"", 1), "\"iat\":-9223372036854775808")),
        ),
        ("two objects", written(&header, &format!("{0}{0}", claims("22")))),
        ("a byte order mark", written(&header, &format!("\u{feff}{}", claims("23")))),
        ("a list", written(&header, &format!("[{}]", claims("24")))),
        ("an id of line ends alone", written(&header, &claims("\r\n").replace("\"jti\":\"\\r\\n\"", "\"jti\":\"\""))),
        ("a URL with user information", written(&header, &claims("25").replacen("http://", "http://a@", 1))),
        ("a URL of another way up", written(&header, &claims("26").replacen("/mcp/files", "/mcp/crm/%2e%2e/crm", 1))),
    ];
    for (what, proof) in odd {
        let before = world.files.count();
        let reply = holder.call(&world, &proof).await;
        assert_eq!(reply.status, 401, "{what}: {reply:?}");
        assert_eq!(reply.challenge_parameter("error").as_deref(), Some("invalid_dpop_proof"), "{what}: {reply:?}");
        assert_eq!(world.files.count(), before, "{what}");
    }
    // None of them used up the place of a sound one.
    holder.call(&world, &written(&header, &claims("1"))).await.is(200);
    holder.call(&world, &written(&header, &claims("1"))).await.is(401);
}
