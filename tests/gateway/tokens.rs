//! Who is asking? Every way in which a token may be wrong (acceptance group B).

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::support::issuer::{b64, now};
use crate::support::{Issuer, Setup, Signer, Token, World, eventually};

/// A call that any reader may make.
async fn status(world: &World, token: &str) -> u16 {
    world.tool("read_file").token(token).send().await.status
}

/// The token is refused as invalid, and the upstream hears nothing.
async fn refused(world: &World, what: &str, token: &str) {
    let before = world.files.count();
    let reply = world.tool("read_file").token(token).send().await;
    assert_eq!(reply.status, 401, "{what}: {reply:?}");
    assert_eq!(reply.challenge_parameter("error").as_deref(), Some("invalid_token"), "{what}: {reply:?}");
    assert_eq!(reply.challenge_parameter("resource_metadata"), Some(world.metadata_url()), "{what}: {reply:?}");
    assert_eq!(world.files.count(), before, "{what}");
}

#[tokio::test]
async fn item_12_the_scheme_is_read_in_any_case() {
    let world = World::start().await;
    for scheme in ["Bearer", "bearer", "BEARER"] {
        world.tool("read_file").header("authorization", &format!("{scheme} {}", world.ta())).send().await.is(200);
    }
}

#[tokio::test]
async fn item_13_a_token_in_the_query_is_no_token_and_is_written_nowhere() {
    let world = World::start().await;
    let token = world.ta();
    let reply = world.tool("read_file").path(&format!("/mcp/files?access_token={token}")).send().await;
    assert!(!reply.is(401).challenge().contains("error"), "{}", reply.challenge());
    world.files.saw_nothing();
    // Beside a good header it must not travel on either.
    let other = world.ta();
    world.tool("read_file").path(&format!("/mcp/files?access_token={token}")).token(&other).send().await;
    for seen in world.files.seen() {
        assert!(!seen.text().contains(&token), "{}", seen.text());
    }
    world.gateway.audited(1, |_| true).await;
    assert!(!world.gateway.stderr().contains(&token));
    assert!(!std::fs::read_to_string(&world.gateway.audit_file).unwrap().contains(&token));
}

#[tokio::test]
async fn item_14_two_authorization_headers_are_an_invalid_request() {
    let world = World::start().await;
    let token = world.ta();
    for second in [format!("Bearer {token}"), "Bearer other".to_owned(), "Basic Og==".to_owned(), format!("DPoP {token}")] {
        let reply = world.tool("read_file").token(&token).header("authorization", &second).send().await;
        assert_eq!(reply.is(400).challenge_parameter("error").as_deref(), Some("invalid_request"));
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn item_14_a_token_in_a_form_is_not_read() {
    let world = World::start().await;
    let form =
        world.tool("read_file").replace("content-type", "application/x-www-form-urlencoded").body(format!("access_token={}", world.ta()));
    form.clone().send().await.is(401);
    let both = form.token(&world.ta()).send().await;
    assert!([400, 415].contains(&both.status), "{both:?}");
    world.files.saw_nothing();
}

#[tokio::test]
async fn a_header_that_is_no_credential_is_an_invalid_request() {
    let world = World::start().await;
    for value in ["Bearer", "Bearer ", "Bearer a b", "Bearer a,b", "Bearer \u{e9}", "Bearer a==b"] {
        let reply = world.tool("read_file").header("authorization", value).send().await;
        assert_eq!(reply.is(400).challenge_parameter("error").as_deref(), Some("invalid_request"), "{value:?}");
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn another_scheme_is_as_good_as_none() {
    let world = World::start().await;
    for value in ["Basic dXNlcjpwYXNz", "DPoPs abc", "Negotiate abc"] {
        let reply = world.tool("read_file").header("authorization", value).send().await;
        assert!(!reply.is(401).challenge().contains("error"), "{value}: {reply:?}");
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn item_15_an_expired_token_is_refused_with_invalid_token() {
    let world = World::start().await;
    refused(&world, "expired", &world.token(|token| token.claims["exp"] = json!(now() - 3600))).await;
}

#[tokio::test]
async fn item_16_token_for_another_resource_is_401_and_upstream_sees_nothing() {
    let world = World::start().await;
    let crm = world.issuer.token(&format!("{}/mcp/crm", world.origin), |_| {});
    refused(&world, "another resource", &crm).await;
    for (what, audience) in [
        ("the origin alone", world.origin.clone()),
        ("another case", world.resource().to_uppercase()),
        ("a longer path", format!("{}/more", world.resource())),
        ("a query", format!("{}?x=1", world.resource())),
        ("a pattern", "*".into()),
        ("nothing", String::new()),
    ] {
        refused(&world, what, &world.issuer.token(&audience, |_| {})).await;
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn item_17_a_token_without_audience_is_refused() {
    let world = World::start().await;
    refused(&world, "no aud", &world.token(|token| token.remove("aud"))).await;
    refused(&world, "empty list", &world.token(|token| token.claims["aud"] = json!([]))).await;
    refused(&world, "null", &world.token(|token| token.claims["aud"] = json!(null))).await;
}

#[tokio::test]
async fn item_18_the_issuer_is_compared_exactly() {
    let world = World::start().await;
    let url = world.issuer.url.clone();
    for issuer in [format!("{url}/"), url.replace("http:", "HTTP:"), url.replace("127.0.0.1", "localhost"), String::new()] {
        refused(&world, &issuer, &world.token(|token| token.claims["iss"] = json!(issuer))).await;
    }
    refused(&world, "no iss", &world.token(|token| token.remove("iss"))).await;
    refused(&world, "a list", &world.token(|token| token.claims["iss"] = json!([url]))).await;
    assert!(world.issuer.other_fetches().is_empty());
}

#[tokio::test]
async fn item_19_an_unsigned_token_is_refused() {
    let world = World::start().await;
    for alg in ["none", "None", "NONE", "nOnE"] {
        let mut token = Token::new(&world.issuer.url, &world.resource(), &world.issuer.signer);
        token.header["alg"] = json!(alg);
        refused(&world, alg, &format!("{}.", token.signing_input())).await;
        refused(&world, alg, &token.sign()).await;
    }
}

#[tokio::test]
async fn item_19_a_public_key_is_no_hmac_secret() {
    let rsa = Signer::rs256("rsa-1");
    let world = World::start().await;
    world.issuer.publish(&rsa);
    let mut token = Token::new(&world.issuer.url, &world.resource(), &rsa);
    assert_eq!(status(&world, &token.sign()).await, 200);
    token.header["alg"] = json!("HS256");
    let input = token.signing_input();
    for secret in [rsa.public_pem(), rsa.jwk()["n"].as_str().unwrap().as_bytes().to_vec(), Vec::new()] {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
        let signature = aws_lc_rs::hmac::sign(&key, input.as_bytes());
        refused(&world, "hmac", &format!("{input}.{}", b64(signature.as_ref()))).await;
    }
}

#[tokio::test]
async fn item_19_a_secret_in_the_key_set_verifies_nothing() {
    let world = World::start().await;
    world.issuer.publish_raw(json!({"kty": "oct", "kid": "secret", "alg": "HS256", "k": b64("shared")}));
    let mut token = Token::new(&world.issuer.url, &world.resource(), &world.issuer.signer);
    token.header = json!({"alg": "HS256", "kid": "secret", "typ": "at+jwt"});
    let input = token.signing_input();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"shared");
    let signature = aws_lc_rs::hmac::sign(&key, input.as_bytes());
    refused(&world, "oct key", &format!("{input}.{}", b64(signature.as_ref()))).await;
}

#[tokio::test]
async fn item_19_keys_that_a_token_brings_along_are_neither_used_nor_fetched() {
    let (world, evil) = (World::start().await, Issuer::start().await);
    let members = [
        ("jku", json!(format!("{}/jwks", evil.url))),
        ("x5u", json!(format!("{}/x5u", evil.url))),
        ("jwk", evil.signer.jwk()),
        ("x5c", json!(["MIIB"])),
    ];
    for (member, value) in members {
        let forged = world.token(|token| {
            token.signer = evil.signer.clone();
            token.header[member] = value.clone();
        });
        refused(&world, member, &forged).await;
        // Even with a good signature a token that asks for another key is not trusted.
        refused(&world, member, &world.token(|token| token.header[member] = value)).await;
    }
    assert_eq!((evil.key_fetches(), evil.other_fetches()), (0, vec![]));
}

#[tokio::test]
async fn item_19_the_key_of_another_issuer_does_not_speak_for_this_one() {
    let mut setup = Setup::new().await;
    let other = Issuer::start().await;
    setup.config["issuers"]["other"] = json!({"issuer": other.url});
    setup.config["upstreams"]["crm"]["issuers"] = json!(["other"]);
    let world = setup.start().await;
    refused(&world, "foreign key under the same kid", &world.token(|token| token.signer = other.signer.clone())).await;
    refused(&world, "an issuer of another upstream", &other.token(&world.resource(), |_| {})).await;
}

#[tokio::test]
async fn item_20_an_id_token_is_no_access_token() {
    let world = World::with(|config| config["issuers"]["corp"]["token_types"] = json!(["at+jwt", "jwt"])).await;
    let plain = |token: &mut Token| token.header["typ"] = json!("JWT");
    assert_eq!(status(&world, &world.token(plain)).await, 200);
    for sign in ["nonce", "at_hash", "c_hash"] {
        let id_token = world.token(|token| {
            plain(token);
            token.claims[sign] = json!("x");
        });
        refused(&world, sign, &id_token).await;
    }
    let for_the_client = world.issuer.token("client-one", |token| {
        plain(token);
        token.claims["azp"] = json!("client-one");
    });
    refused(&world, "aud is the client", &for_the_client).await;
}

#[tokio::test]
async fn item_21_only_named_types_are_access_tokens() {
    let world = World::start().await;
    for typ in ["at+jwt", "application/at+jwt", "AT+JWT"] {
        assert_eq!(status(&world, &world.token(|token| token.header["typ"] = json!(typ))).await, 200, "{typ}");
    }
    for typ in [json!("JWT"), json!("dpop+jwt"), json!("logout+jwt"), json!("secevent+jwt"), json!(""), json!(null), json!(1)] {
        refused(&world, &typ.to_string(), &world.token(|token| token.header["typ"] = typ.clone())).await;
    }
    let untyped = world.token(|token| {
        token.header.as_object_mut().unwrap().remove("typ");
    });
    refused(&world, "no typ", &untyped).await;
}

#[tokio::test]
async fn item_22_times_are_held_to_with_a_little_leeway() {
    let world = World::start().await;
    let at = |claim: &'static str, time: u64| world.token(move |token| token.claims[claim] = json!(time));
    refused(&world, "nbf ahead", &at("nbf", now() + 120)).await;
    refused(&world, "iat ahead", &at("iat", now() + 120)).await;
    refused(&world, "exp behind", &at("exp", now() - 120)).await;
    for (claim, time) in [("nbf", now() + 10), ("iat", now() + 10), ("exp", now() - 10)] {
        assert_eq!(status(&world, &at(claim, time)).await, 200, "{claim} within the leeway");
    }
}

#[tokio::test]
async fn a_leeway_of_the_operator_is_used() {
    let world = World::with(|config| config["issuers"]["corp"]["leeway"] = json!("2m")).await;
    assert_eq!(status(&world, &world.token(|token| token.claims["exp"] = json!(now() - 90))).await, 200);
    refused(&world, "beyond", &world.token(|token| token.claims["exp"] = json!(now() - 150))).await;
}

#[tokio::test]
async fn a_claim_of_a_wrong_shape_is_not_an_absent_one() {
    let world = World::start().await;
    let wrong: &[(&str, Value)] = &[
        ("exp", json!("tomorrow")),
        ("exp", json!(null)),
        ("exp", json!(-1)),
        ("nbf", json!("0")),
        ("iat", json!([])),
        ("sub", json!(7)),
        ("sub", json!(null)),
        ("client_id", json!(["client-one"])),
        ("scope", json!({"files:read": true})),
        ("aud", json!(7)),
        ("aud", json!({"resource": "x"})),
        ("jti", json!(7)),
        ("cnf", json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"})),
        ("cnf", json!({"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"})),
    ];
    for (claim, value) in wrong {
        refused(&world, &format!("{claim}: {value}"), &world.token(|token| token.claims[claim] = value.clone())).await;
    }
    for claim in ["exp", "iat", "sub"] {
        refused(&world, &format!("no {claim}"), &world.token(|token| token.remove(claim))).await;
    }
}

#[tokio::test]
async fn a_token_that_is_not_whole_is_refused() {
    let world = World::start().await;
    let good = world.ta();
    let parts: Vec<&str> = good.split('.').collect();
    let (head, payload, signature) = (parts[0], parts[1], parts[2]);
    let foreign = world.tb();
    let foreign_payload = foreign.split('.').nth(1).unwrap();
    for (what, token) in [
        ("two parts", format!("{head}.{payload}")),
        ("four parts", format!("{good}.x")),
        ("five parts", format!("{head}.a.b.c.{signature}")),
        ("no signature", format!("{head}.{payload}.")),
        ("short signature", format!("{head}.{payload}.{}", &signature[..signature.len() - 4])),
        ("empty head", format!(".{payload}.{signature}")),
        ("another payload", format!("{head}.{foreign_payload}.{signature}")),
        ("padding", format!("{head}.{payload}.{signature}==")),
        ("no JSON", format!("{}.{payload}.{signature}", b64("hello"))),
        ("a list", format!("{}.{}.{signature}", b64("[]"), b64("[]"))),
        ("a word", "opaque-token".into()),
    ] {
        refused(&world, what, &token).await;
    }
    let critical = world.token(|token| {
        token.header["crit"] = json!(["exp"]);
    });
    refused(&world, "crit", &critical).await;
}

#[tokio::test]
async fn item_25_every_request_needs_a_token_of_its_own() {
    let world = World::start().await;
    let call = world.legacy("tools/list", json!({}));
    let notification = world.legacy("x", json!({})).body(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    let response = world.legacy("x", json!({})).body(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    let get = call.clone().method(Method::GET).body("").replace("accept", "text/event-stream");
    let delete = call.clone().method(Method::DELETE).body("").header("mcp-session-id", "abc");
    // The connection is the same throughout: what was proven before proves nothing now.
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    let before = world.files.count();
    for (what, call) in [("POST", call), ("notification", notification), ("response", response), ("GET", get), ("DELETE", delete)] {
        let reply = call.send().await;
        assert_eq!(reply.status, 401, "{what}: {reply:?}");
        assert_eq!(reply.challenge_parameter("resource_metadata"), Some(world.metadata_url()), "{what}");
    }
    assert_eq!(world.files.count(), before);
}

#[tokio::test]
async fn without_a_token_nobody_learns_whether_the_message_was_good() {
    let world = World::start().await;
    let call = world.tool("read_file");
    let bodies: [&[u8]; 4] = [b"", b"{", b"[]", b"\xff\xfe"];
    let plain = call.clone().send().await;
    for body in bodies {
        let reply = call.clone().body(body).send().await;
        assert_eq!((reply.status, &reply.body), (401, &plain.body), "{body:?}");
    }
    call.path("/mcp/files").replace("content-type", "text/plain").send().await.is(401);
}

#[tokio::test]
async fn item_26_an_oversized_token_is_refused_before_it_is_read() {
    let world = World::start().await;
    let huge = world.token(|token| token.claims["pad"] = json!("x".repeat(20_000)));
    let reply = world.tool("read_file").token(&huge).send().await;
    assert!([413, 431].contains(&reply.status), "{reply:?}");
    let roomy = World::with(|config| config["limits"] = json!({"headers": "64KiB"})).await;
    let huge = roomy.token(|token| token.claims["pad"] = json!("x".repeat(20_000)));
    let reply = roomy.tool("read_file").token(&huge).send().await;
    assert_eq!((reply.status, reply.challenge().as_str()), (431, ""), "another token would be no shorter: {reply:?}");
    world.files.saw_nothing();
    roomy.files.saw_nothing();
}

#[tokio::test]
async fn item_27_a_client_with_the_name_of_a_user_is_not_that_user() {
    let world = World::with(|config| {
        let personal = json!({"tools": ["personal"], "subjects": ["user-a"]});
        config["upstreams"]["files"]["rules"].as_array_mut().unwrap().insert(0, personal);
    })
    .await;
    let machine = world.token(|token| token.claims["client_id"] = json!("user-a"));
    world.tool("personal").token(&machine).send().await.is(403);
    world.tool("personal").token(&world.ta()).send().await.is(200);
    assert_eq!(world.files.only().header("x-mcp-user"), "user-a");
    world.tool("read_file").token(&machine).send().await.is(200);
    assert_eq!(world.files.seen()[1].header("x-mcp-user"), "");
}

#[tokio::test]
async fn item_28_a_challenge_holds_no_character_that_a_client_chose() {
    let world = World::with(|config| {
        let odd = json!({"tools": ["odd*"], "scopes": ["files:write"]});
        config["upstreams"]["files"]["rules"].as_array_mut().unwrap().insert(0, odd);
    })
    .await;
    let reply = world.tool("odd\"\\\r\nSet-Cookie: a=b; \u{4e16}").token(&world.ta()).send().await;
    let challenge = reply.is(403).challenge();
    assert!(challenge.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'\\'), "{challenge}");
    assert_eq!(challenge.matches('"').count() % 2, 0, "{challenge}");
    assert!(!challenge.contains("odd") && !challenge.contains("Set-Cookie"), "{challenge}");
    assert!(reply.header("set-cookie").is_empty());
}

#[tokio::test]
async fn item_s4_one_of_several_audiences_is_enough() {
    let world = World::start().await;
    let audiences = |list: Value| world.token(move |token| token.claims["aud"] = list);
    assert_eq!(status(&world, &audiences(json!(["https://other.example", world.resource()]))).await, 200);
    refused(&world, "others only", &audiences(json!(["https://other.example", format!("{}/mcp/crm", world.origin)]))).await;
    refused(&world, "not all strings", &audiences(json!([world.resource(), 7]))).await;
}

#[tokio::test]
async fn an_audience_of_the_operator_takes_the_place_of_the_resource() {
    let world = World::with(|config| config["issuers"]["corp"]["audience"] = json!(["api://files"])).await;
    assert_eq!(status(&world, &world.issuer.token("api://files", |_| {})).await, 200);
    refused(&world, "the resource", &world.ta()).await;
}

#[tokio::test]
async fn item_s5_a_new_key_is_found_without_a_restart() {
    let world = World::start().await;
    assert_eq!(status(&world, &world.ta()).await, 200);
    let next = Signer::es256("key-2");
    world.issuer.publish(&next);
    let token = Token::new(&world.issuer.url, &world.resource(), &next).sign();
    assert_eq!(status(&world, &token).await, 200);
}

#[tokio::test]
async fn item_s5_a_flood_of_unknown_keys_causes_few_fetches() {
    let world = World::start().await;
    assert_eq!(status(&world, &world.ta()).await, 200);
    let before = world.issuer.key_fetches();
    for serial in 0..60 {
        refused(&world, "unknown kid", &world.token(|token| token.header["kid"] = json!(format!("kid-{serial}")))).await;
    }
    let fetches = world.issuer.key_fetches() - before;
    assert!((1..=3).contains(&fetches), "{fetches} fetches");
    assert_eq!(status(&world, &world.ta()).await, 200);
}

#[tokio::test]
async fn item_s6_without_keys_nobody_passes() {
    let setup = Setup::new().await;
    setup.issuer.set_down(true);
    let world = setup.start().await;
    let reply = world.tool("read_file").token(&world.ta()).send().await;
    assert!(!reply.is(503).header("retry-after").is_empty());
    world.files.saw_nothing();
    // Without a token the answer is still the challenge.
    world.tool("read_file").send().await.is(401);
    world.issuer.set_down(false);
    eventually("the keys", || async { (status(&world, &world.ta()).await == 200).then_some(()) }).await;
}

#[tokio::test]
async fn item_s7_duplicate_members_of_a_token_are_refused() {
    let world = World::start().await;
    let twice = |text: String, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    for member in [format!(r#""aud":"{}""#, world.resource()), r#""sub":"root""#.into(), r#""x":{"a":1,"a":2}"#.into()] {
        let token = world.token(|token| token.payload = Some(twice(token.claims.to_string(), &member)));
        refused(&world, &member, &token).await;
    }
    for member in [r#""alg":"ES256""#, r#""typ":"at+jwt""#, r#""\u0061lg":"none""#] {
        let token = world.token(|token| token.head = Some(twice(token.header.to_string(), member)));
        refused(&world, member, &token).await;
    }
}

#[tokio::test]
async fn c_03_an_issuer_that_is_down_does_not_close_what_is_verifiable() {
    let world = World::start().await;
    assert_eq!(status(&world, &world.ta()).await, 200);
    world.issuer.set_down(true);
    let before = world.issuer.key_fetches();
    let begun = Instant::now();
    let strangers = (0..20).map(|serial| {
        let token = world.token(|token| token.header["kid"] = json!(format!("kid-{serial}")));
        world.tool("read_file").token(&token).send()
    });
    let strangers: Vec<_> = strangers.map(tokio::spawn).collect();
    for _ in 0..20 {
        assert_eq!(status(&world, &world.ta()).await, 200, "a known kid");
    }
    for stranger in strangers {
        stranger.await.unwrap().is(401);
    }
    assert!(begun.elapsed() < Duration::from_millis(3500), "{:?}", begun.elapsed());
    let fetches = world.issuer.key_fetches() - before;
    assert!(fetches <= 3, "{fetches} fetches in {:?}", begun.elapsed());
}

#[tokio::test]
async fn c_03_the_end_of_an_outage_is_noticed_within_seconds() {
    let world = World::start().await;
    assert_eq!(status(&world, &world.ta()).await, 200);
    world.issuer.set_down(true);
    let next = Signer::es256("during-the-outage");
    let token = Token::new(&world.issuer.url, &world.resource(), &next).sign();
    assert_eq!(status(&world, &token).await, 401);
    world.issuer.publish(&next);
    world.issuer.set_down(false);
    let begun = Instant::now();
    eventually("the new key", || async { (status(&world, &token).await == 200).then_some(()) }).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn c_04_a_slow_issuer_delays_nobody_whose_key_is_known() {
    let world = World::with(|config| config["issuers"]["corp"]["keys"] = json!({"timeout": "1s"})).await;
    assert_eq!(status(&world, &world.ta()).await, 200);
    world.issuer.set_slow(true);
    let stranger = world.tool("read_file").token(&world.token(|token| token.header["kid"] = json!("unknown")));
    let waiting = tokio::spawn(stranger.send());
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(status(&world, &world.ta()).await, 200);
    }
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
    waiting.await.unwrap().is(401);
}

#[tokio::test]
async fn c_05_rotation_refuses_no_token_of_a_published_key() {
    let world = World::start().await;
    let mut previous = world.issuer.signer.clone();
    for round in 0..2 {
        let next = Signer::es256(&format!("round-{round}"));
        world.issuer.publish_only(&[&previous, &next]);
        let calls = (0..8).map(|_| {
            let token = Token::new(&world.issuer.url, &world.resource(), &next).sign();
            world.tool("read_file").token(&token).send()
        });
        for reply in futures_util::future::join_all(calls).await {
            reply.is(200);
        }
        previous = next;
        // The rule is one fetch in two seconds.
        tokio::time::sleep(Duration::from_millis(2100)).await;
    }
}

#[tokio::test]
async fn c_06_a_removed_key_ceases_to_be_good() {
    let world = World::with(|config| config["issuers"]["corp"]["keys"] = json!({"cache": "1s"})).await;
    let token = world.ta();
    assert_eq!(status(&world, &token).await, 200);
    world.issuer.publish_only(&[&Signer::es256("key-2")]);
    eventually("the removed key to be forgotten", || async { (status(&world, &token).await == 401).then_some(()) }).await;
}

#[tokio::test]
async fn tokens_of_every_usual_algorithm_are_accepted() {
    let setup = Setup::new().await;
    let signers = [Signer::rs256("rsa"), Signer::ed25519("ed"), Signer::es256("ec")];
    signers.iter().for_each(|signer| setup.issuer.publish(signer));
    let world = setup.start().await;
    for signer in &signers {
        let token = Token::new(&world.issuer.url, &world.resource(), signer).sign();
        assert_eq!(status(&world, &token).await, 200, "{}", signer.alg());
    }
}

#[tokio::test]
async fn an_algorithm_that_the_operator_did_not_name_is_refused() {
    let mut setup = Setup::new().await;
    setup.config["issuers"]["corp"]["algorithms"] = json!(["RS256"]);
    let rsa = Signer::rs256("rsa");
    setup.issuer.publish(&rsa);
    let world = setup.start().await;
    refused(&world, "ES256", &world.ta()).await;
    assert_eq!(status(&world, &Token::new(&world.issuer.url, &world.resource(), &rsa).sign()).await, 200);
}

#[tokio::test]
async fn odd_keys_do_not_spoil_the_set() {
    let setup = Setup::new().await;
    for odd in [
        json!({"kty": "XYZ", "kid": "a"}),
        json!({"kty": "EC", "crv": "P-256"}),
        json!({"kty": "RSA", "n": "!", "e": 1}),
        json!(7),
        json!(null),
    ] {
        setup.issuer.publish_raw(odd);
    }
    let next = Signer::es256("last");
    setup.issuer.publish(&next);
    let world = setup.start().await;
    assert_eq!(status(&world, &world.ta()).await, 200);
    assert_eq!(status(&world, &Token::new(&world.issuer.url, &world.resource(), &next).sign()).await, 200);
}

#[tokio::test]
async fn a_key_for_encryption_signs_nothing() {
    let setup = Setup::new().await;
    let signer = Signer::es256("enc");
    let mut jwk = signer.jwk();
    jwk["use"] = json!("enc");
    setup.issuer.publish_raw(jwk);
    let world = setup.start().await;
    refused(&world, "use: enc", &Token::new(&world.issuer.url, &world.resource(), &signer).sign()).await;
}

#[tokio::test]
async fn a_remembered_token_is_forgotten_when_it_expires() {
    let world = World::with(|config| config["issuers"]["corp"]["leeway"] = json!("0s")).await;
    let token = world.token(|token| token.claims["exp"] = json!(now() + 2));
    assert_eq!(status(&world, &token).await, 200);
    eventually("the token to expire", || async { (status(&world, &token).await == 401).then_some(()) }).await;
}

#[tokio::test]
async fn a_remembered_token_is_no_key_to_another_resource() {
    let world = World::start().await;
    let token = world.token(|token| token.claims["scope"] = json!("files:read crm:read"));
    assert_eq!(status(&world, &token).await, 200);
    world.tool("crm_find").path("/mcp/crm").token(&token).send().await.is(401);
    world.crm.saw_nothing();
}

#[tokio::test]
async fn an_issuer_may_give_its_keys_in_a_file_or_at_a_url() {
    let mut setup = Setup::new().await;
    setup.config["issuers"]["corp"]["jwks_uri"] = json!(format!("{}/jwks", setup.issuer.url));
    let world = setup.start().await;
    assert_eq!(status(&world, &world.ta()).await, 200);
    assert_eq!(world.issuer.metadata_fetches(), 0);

    let mut setup = Setup::new().await;
    let file = setup.folder.path().join("jwks.json");
    std::fs::write(&file, json!({"keys": [setup.issuer.signer.jwk()]}).to_string()).unwrap();
    setup.config["issuers"]["corp"]["jwks_file"] = json!(file);
    let world = setup.start().await;
    assert_eq!(status(&world, &world.ta()).await, 200);
    assert_eq!((world.issuer.metadata_fetches(), world.issuer.key_fetches()), (0, 0));
}
