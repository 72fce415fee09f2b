use super::*;
use crate::principal::Kind;
use crate::token::forge::{self, NOW, RESOURCE, Signer, claims, header, now, part, rules, with, without};
use proptest::prelude::*;
use serde_json::json;

/// What becomes of a token with this header and these claims, signed as the header says.
fn judge_by(rules: IssuerRules, header: &Value, claims: &Value) -> Result<Verified, Error> {
    let signer = Signer::new(Algorithm::ES256);
    let token = signer.token(Algorithm::ES256, header, claims);
    let keys = forge::key_set(&[signer.jwk("k")]);
    let unverified = Unverified::parse(&token)?;
    unverified.check(&rules, now())?;
    let found: Vec<&Key> = keys.find(unverified.key_id(), unverified.algorithm()).collect();
    let verified = unverified.verify(&Arc::new(rules), found.into_iter(), &["tenant".into(), "tenant_id".into()])?;
    verified.accepts(&[RESOURCE])?;
    Ok(verified)
}

fn judge(header: &Value, claims: &Value) -> Result<Verified, Error> {
    judge_by(rules(), header, claims)
}

fn head() -> Value {
    header(Algorithm::ES256, "k")
}

fn refused(claims: &Value) -> Option<Error> {
    judge(&head(), claims).err()
}

#[test]
fn a_good_token_of_each_algorithm_proves_its_caller() {
    for algorithm in Algorithm::ALL {
        let signer = Signer::new(algorithm);
        let token = signer.token(algorithm, &header(algorithm, "k"), &claims());
        let keys = forge::key_set(&[signer.jwk("k")]);
        let unverified = Unverified::parse(&token).expect("a JWT");
        assert_eq!(unverified.check(&rules(), now()), Ok(()));
        let verified = unverified.verify(&Arc::new(rules()), keys.find(Some("k"), algorithm), &[]).expect("a signature");
        let who = &verified.principal;
        assert_eq!((who.subject(), who.client(), who.kind()), ("alice", Some("inspector"), Kind::User));
        assert_eq!(who.scopes(), ["repo:read", "repo:write"]);
        assert_eq!(verified.accepts(&[RESOURCE]), Ok(()));
        assert_eq!(verified.expires, SystemTime::UNIX_EPOCH + Duration::from_secs(NOW + 600));
        assert_eq!(verified.basis, Basis::Key(keys.keys()[0].id()));
    }
}

#[test]
fn ed25519_may_be_called_by_its_own_name() {
    let signer = Signer::new(Algorithm::EdDSA);
    let token = signer.token(Algorithm::EdDSA, &with(header(Algorithm::EdDSA, "k"), "alg", json!("Ed25519")), &claims());
    let keys = forge::key_set(&[with(signer.jwk("k"), "alg", json!("Ed25519"))]);
    let unverified = Unverified::parse(&token).expect("a JWT");
    assert!(unverified.verify(&Arc::new(rules()), keys.find(Some("k"), Algorithm::EdDSA), &[]).is_ok());
}

#[test]
fn every_claim_wrong_once_is_refused() {
    let far = NOW + 100_000;
    let rows = [
        ("exp", json!(NOW - 3600), Error::Expired),
        ("exp", json!(NOW - 30), Error::Expired),
        ("exp", json!(0), Error::Expired),
        ("exp", json!("1900000000"), Error::ClaimType("exp")),
        ("exp", json!(-1), Error::ClaimType("exp")),
        ("exp", json!(-0.5), Error::ClaimType("exp")),
        ("exp", json!(null), Error::ClaimType("exp")),
        ("exp", json!([far]), Error::ClaimType("exp")),
        ("nbf", json!(NOW + 31), Error::NotYet),
        ("nbf", json!("0"), Error::ClaimType("nbf")),
        ("nbf", json!(true), Error::ClaimType("nbf")),
        ("iat", json!(far), Error::NotYet),
        ("iat", json!(u64::MAX), Error::NotYet),
        ("iat", json!({}), Error::ClaimType("iat")),
        ("iss", json!("https://evil.example"), Error::Issuer),
        ("iss", json!("https://login.example.com/"), Error::Issuer),
        ("iss", json!("https://LOGIN.example.com"), Error::Issuer),
        ("iss", json!(["https://login.example.com"]), Error::ClaimType("iss")),
        ("aud", json!("https://other.example/mcp"), Error::Audience),
        ("aud", json!("https://mcp.example.com"), Error::Audience),
        ("aud", json!("https://mcp.example.com/files/x"), Error::Audience),
        ("aud", json!("https://mcp.example.com/FILES"), Error::Audience),
        ("aud", json!("inspector"), Error::Audience),
        ("aud", json!([]), Error::Audience),
        ("aud", json!([RESOURCE, 1]), Error::ClaimType("aud")),
        ("aud", json!({"x": RESOURCE}), Error::ClaimType("aud")),
        ("aud", json!(null), Error::ClaimType("aud")),
        ("sub", json!(7), Error::ClaimType("sub")),
        ("sub", json!(""), Error::MissingClaim("sub")),
        ("client_id", json!(["a"]), Error::ClaimType("client_id")),
        ("azp", json!(null), Error::ClaimType("azp")),
        ("jti", json!(1), Error::ClaimType("jti")),
        ("scope", json!(["repo:read", 1]), Error::ClaimType("scope")),
        ("scp", json!(1), Error::ClaimType("scp")),
        ("scp", json!(["a", null]), Error::ClaimType("scp")),
        ("groups", json!({"a": 1}), Error::ClaimType("groups")),
        ("groups", json!(["a", 1]), Error::ClaimType("groups")),
        ("cnf", json!({"jkt": "A"}), Error::Confirmation),
        ("cnf", json!({"x5t#S256": "A"}), Error::Confirmation),
        ("cnf", json!({"jwk": {}}), Error::Confirmation),
        ("cnf", json!(null), Error::Confirmation),
    ];
    for (name, value, error) in rows {
        assert_eq!(refused(&with(claims(), name, value.clone())), Some(error), "{name}: {value}");
    }
    let from_the_future = with(with(claims(), "nbf", json!(NOW - 10)), "iat", json!(NOW + 31));
    assert_eq!(refused(&from_the_future), Some(Error::NotYet));
    for name in ["iss", "sub", "aud", "exp", "iat"] {
        assert_eq!(refused(&without(claims(), name)), Some(Error::MissingClaim(name)), "{name}");
    }
}

#[test]
fn unusual_but_good_claims_pass() {
    let rows = [
        ("aud", json!(["https://other.example/", RESOURCE])),
        ("exp", json!(NOW as f64 + 0.5)),
        ("exp", json!(NOW - 29)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(1e300)),
        ("nbf", json!(NOW + 30)),
        ("iat", json!(NOW + 30)),
        ("iat", json!(0)),
        ("groups", json!("sre")),
        ("nonce", json!("n")),
        ("azp", json!("other")),
    ];
    for (name, value) in rows {
        assert_eq!(refused(&with(claims(), name, value.clone())), None, "{name}: {value}");
    }
    for name in ["scope", "client_id", "jti"] {
        assert_eq!(refused(&without(claims(), name)), None, "{name}");
    }
}

#[test]
fn a_header_that_brings_keys_or_demands_is_refused() {
    for name in ["crit", "jwk", "jku", "x5u", "x5c", "b64", "zip"] {
        for value in [json!(null), json!("x"), json!(["exp"])] {
            assert_eq!(judge(&with(head(), name, value), &claims()).err(), Some(Error::Header), "{name}");
        }
    }
    assert_eq!(judge(&with(head(), "kid", json!(1)), &claims()).err(), Some(Error::Header));
}

#[test]
fn an_algorithm_that_is_not_a_signature_is_refused() {
    for name in ["none", "nOnE", "None", "HS256", "HS384", "HS512", "es256", "ES256K", "RSA-OAEP", "dir", "", "A128KW"] {
        assert_eq!(judge(&with(head(), "alg", json!(name)), &claims()).err(), Some(Error::Algorithm), "{name}");
    }
    assert_eq!(judge(&with(head(), "alg", json!(["ES256"])), &claims()).err(), Some(Error::Algorithm));
    assert_eq!(judge(&without(head(), "alg"), &claims()).err(), Some(Error::Algorithm));
    let narrow = IssuerRules { algorithms: vec![Algorithm::RS256], ..rules() };
    assert_eq!(judge_by(narrow, &head(), &claims()).err(), Some(Error::Algorithm));
}

#[test]
fn hmac_with_the_public_key_as_secret_is_refused() {
    use aws_lc_rs::hmac;
    let jwk = Signer::rsa().jwk("r").to_string();
    let message = format!("{}.{}", part(&json!({"alg": "HS256", "typ": "at+jwt", "kid": "r"})), part(&claims()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, jwk.as_bytes()), message.as_bytes());
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag));
    assert_eq!(Unverified::parse(&token).err(), Some(Error::Algorithm));
}

#[test]
fn typ_must_be_named_and_its_spelling_does_not_matter() {
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
        assert!(judge(&with(head(), "typ", json!(typ)), &claims()).is_ok(), "{typ}");
    }
    for typ in ["JWT", "logout+jwt", "secevent+jwt", "dpop+jwt", "at", "at+jwt ", "application/application/at+jwt", "", "none"] {
        assert_eq!(judge(&with(head(), "typ", json!(typ)), &claims()).err(), Some(Error::Type), "{typ}");
    }
    assert_eq!(judge(&with(head(), "typ", json!(null)), &claims()).err(), Some(Error::Type));
    assert_eq!(judge(&without(head(), "typ"), &claims()).err(), Some(Error::Type));
    let lax = IssuerRules { token_types: vec!["none".into()], ..rules() };
    assert!(judge_by(lax, &without(head(), "typ"), &claims()).is_ok());
}

#[test]
fn an_id_token_is_refused_where_typ_does_not_tell() {
    let lax = IssuerRules { token_types: vec!["at+jwt".into(), "jwt".into()], ..rules() };
    let head = with(head(), "typ", json!("JWT"));
    assert!(judge_by(lax.clone(), &head, &claims()).is_ok());
    for (name, value) in [("nonce", "n"), ("at_hash", "h"), ("c_hash", "h"), ("typ", "ID"), ("token_use", "id"), ("aud", "inspector")] {
        let id_token = with(claims(), name, json!(value));
        assert_eq!(judge_by(lax.clone(), &head, &id_token).err(), Some(Error::IdToken), "{name}");
    }
    let by_azp = with(with(without(claims(), "client_id"), "azp", json!("app")), "aud", json!(["app"]));
    assert_eq!(judge_by(lax.clone(), &head, &by_azp).err(), Some(Error::IdToken));
    // The operator may name the client id as audience, for issuers that have no other.
    let named = IssuerRules { audience: vec!["app".into()], ..lax };
    assert_eq!(judge_by(named, &head, &by_azp).err(), Some(Error::Audience));
}

#[test]
fn required_claims_are_required() {
    let strict = IssuerRules { required_claims: vec!["org.id".into()], ..rules() };
    for claims in [claims(), with(claims(), "org", json!({})), with(claims(), "org", json!({"id": null}))] {
        assert_eq!(judge_by(strict.clone(), &head(), &claims).err(), Some(Error::MissingClaim("required_claims")));
    }
    assert!(judge_by(strict, &head(), &with(claims(), "org", json!({"id": 1}))).is_ok());
}

#[test]
fn a_client_stands_for_the_audience_only_where_declared_and_only_without_aud() {
    let of_client = without(with(claims(), "client_id", json!(RESOURCE)), "aud");
    assert_eq!(refused(&of_client), Some(Error::MissingClaim("aud")));
    let declared = IssuerRules { audience_from: AudienceFrom::ClientId, ..rules() };
    assert!(judge_by(declared.clone(), &head(), &of_client).is_ok());
    for aud in [json!("https://other.example"), json!([])] {
        assert_eq!(judge_by(declared.clone(), &head(), &with(of_client.clone(), "aud", aud)).err(), Some(Error::Audience));
    }
    let of_another = with(of_client.clone(), "client_id", json!("another"));
    assert_eq!(judge_by(declared.clone(), &head(), &of_another).err(), Some(Error::Audience));
    let of_nobody = without(of_client, "client_id");
    assert_eq!(judge_by(declared, &head(), &of_nobody).err(), Some(Error::MissingClaim("aud")));
}

#[test]
fn required_values_are_texts_and_compared_to_the_letter() {
    let strict = IssuerRules { required_values: vec![("use".into(), vec!["access".into(), "both".into()])], ..rules() };
    for good in ["access", "both"] {
        assert!(judge_by(strict.clone(), &head(), &with(claims(), "use", json!(good))).is_ok(), "{good}");
    }
    for bad in [json!("Access"), json!("id"), json!(["access"]), json!({"access": true}), json!(null), json!("")] {
        assert_eq!(judge_by(strict.clone(), &head(), &with(claims(), "use", bad.clone())).err(), Some(Error::ClaimValue), "{bad}");
    }
    assert_eq!(judge_by(strict, &head(), &claims()).err(), Some(Error::ClaimValue));
}

#[test]
fn names_of_claims_are_tried_in_turn_and_not_joined() {
    let both = with(claims(), "scp", json!(["admin"]));
    let verified = judge(&head(), &both).expect("a token");
    assert_eq!(verified.principal.scopes(), ["repo:read", "repo:write"]);
    let array = with(without(claims(), "scope"), "scp", json!(["a", "b"]));
    assert_eq!(judge(&head(), &array).expect("a token").principal.scopes(), ["a", "b"]);
    let spaced = with(without(claims(), "scope"), "scp", json!("a  b "));
    assert_eq!(judge(&head(), &spaced).expect("a token").principal.scopes(), ["a", "b"]);
    let names = ClaimNames {
        scopes: vec!["permissions".into()],
        client: vec!["appid".into()],
        groups: vec!["realm_access.roles".into()],
        subject: "oid".into(),
    };
    let rules = IssuerRules { claims: names, ..rules() };
    let other = with(with(with(claims(), "oid", json!("o-1")), "appid", json!("app")), "realm_access", json!({"roles": ["sre"]}));
    let who = judge_by(rules.clone(), &head(), &other).expect("a token").principal;
    assert_eq!((who.subject(), who.client(), who.groups()), ("o-1", Some("app"), &["sre".to_owned()][..]));
    assert!(who.scopes().is_empty());
    assert_eq!(judge_by(rules.clone(), &head(), &claims()).err(), Some(Error::MissingClaim("subject")));
    assert_eq!(judge_by(rules, &head(), &with(other, "appid", json!(1))).err(), Some(Error::ClaimType("client")));
}

#[test]
fn a_machine_is_never_a_person_whatever_claim_names_the_subject() {
    let rules = IssuerRules { claims: ClaimNames { subject: "email".into(), ..ClaimNames::default() }, ..rules() };
    let machine = with(with(claims(), "sub", json!("inspector")), "email", json!("alice@example.com"));
    let who = judge_by(rules, &head(), &machine).expect("a token").principal;
    assert_eq!((who.kind(), who.subject()), (Kind::Client, "inspector"));
}

#[test]
fn a_signature_by_another_key_or_over_another_text_is_refused() {
    let (ours, theirs) = (Signer::new(Algorithm::ES256), Signer::new(Algorithm::ES256));
    let keys = forge::key_set(&[ours.jwk("k"), Signer::rsa().jwk("r")]);
    let try_it = |token: &str| {
        let unverified = Unverified::parse(token)?;
        let found: Vec<&Key> = keys.find(unverified.key_id(), unverified.algorithm()).collect();
        unverified.verify(&Arc::new(rules()), found.into_iter(), &[]).map(|_| ())
    };
    let good = ours.token(Algorithm::ES256, &head(), &claims());
    assert_eq!(try_it(&good), Ok(()));
    assert_eq!(try_it(&theirs.token(Algorithm::ES256, &head(), &claims())), Err(Error::Signature));
    let (message, signature) = good.rsplit_once('.').expect("parts");
    let (first, second) = message.split_once('.').expect("parts");
    assert_eq!(try_it(&format!("{message}.")), Err(Error::Signature));
    assert_eq!(try_it(&format!("{message}.{}", URL_SAFE_NO_PAD.encode([0; 64]))), Err(Error::Signature));
    assert_eq!(try_it(&format!("{first}.{}.{signature}", part(&with(claims(), "scope", json!("admin"))))), Err(Error::Signature));
    let (flipped, rest) = signature.split_at(1);
    let flipped = if flipped == "A" { "B" } else { "A" };
    assert_eq!(try_it(&format!("{message}.{flipped}{rest}")), Err(Error::Signature));
    assert_eq!(try_it(&good.replace(second, &format!("{second}="))), Err(Error::NotJwt));
    for kid in ["nope", "r", "", "../../../../dev/null", "x' OR '1'='1"] {
        let token = ours.token(Algorithm::ES256, &header(Algorithm::ES256, kid), &claims());
        assert_eq!(try_it(&token), Err(Error::UnknownKey), "{kid}");
    }
    assert_eq!(try_it(&ours.token(Algorithm::ES256, &without(head(), "kid"), &claims())), Ok(()));
    assert_eq!(try_it(&theirs.token(Algorithm::ES256, &without(head(), "kid"), &claims())), Err(Error::Signature));
}

#[test]
fn another_shape_is_no_jwt() {
    let (h, p) = (part(&head()), part(&claims()));
    for token in [
        "".into(),
        "a".into(),
        "not-a-jwt".into(),
        "..".into(),
        format!("{h}.{p}"),
        format!("{h}.{p}.a.b"),
        "a.b.c.d.e".into(),
        format!("{h}=.{p}.AAAA"),
        format!("{h}.{p}.A"),
        format!("{h}.{p}.AA=="),
        format!("{h}.{p}.+/+/"),
        // The last character holds bits that belong to no byte.
        format!("{h}.{p}.AB"),
        format!("{h}\n.{p}.AAAA"),
        format!("{h}.{}.AAAA", part(&json!([claims()]))),
        format!("{}.{p}.AAAA", part(&json!("x"))),
        format!("{h}..AAAA"),
        format!("{h}.{}.AAAA", URL_SAFE_NO_PAD.encode(r#"{"aud":"a","aud":"b"}"#)),
        format!("{h}.{}.AAAA", URL_SAFE_NO_PAD.encode(r#"{"iss":"a","x":{"y":1,"y":2}}"#)),
        format!("{}.{p}.AAAA", URL_SAFE_NO_PAD.encode(r#"{"alg":"none","alg":"ES256"}"#)),
        format!("{h}.{}.AAAA", URL_SAFE_NO_PAD.encode(b"{\"a\":\"\xff\"}")),
        format!("{h}.{}.AAAA", URL_SAFE_NO_PAD.encode(r#"{"exp":1e999}"#)),
    ] {
        assert_eq!(Unverified::parse(&token).err(), Some(Error::NotJwt), "{token}");
    }
}

#[test]
fn a_token_lives_until_exp_and_leeway() {
    let verified = judge(&head(), &claims()).expect("a token");
    let (exp, leeway) = (verified.expires, Duration::from_secs(30));
    assert!(verified.is_live(exp, leeway));
    assert!(verified.is_live(exp + Duration::from_millis(29_999), leeway));
    assert!(!verified.is_live(exp + leeway, leeway));
    assert!(verified.is_live(exp, Duration::MAX));
}

proptest! {
    #[test]
    fn parse_never_panics(text in "\\PC{0,200}") {
        let _ = Unverified::parse(&text);
    }

    #[test]
    fn parse_and_check_never_panic_on_a_token_of_any_json(header in json_text(), payload in json_text(), signature in any::<Vec<u8>>()) {
        let token = format!("{}.{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload), URL_SAFE_NO_PAD.encode(signature));
        if let Ok(unverified) = Unverified::parse(&token) {
            let _ = unverified.check(&rules(), now());
        }
    }

    #[test]
    fn times_never_panic(seconds in any::<f64>(), leeway in any::<u64>(), at in 0..4_000_000_000_u64) {
        let token = format!("{}.{}.AAAA", part(&head()), part(&with(with(claims(), "exp", json!(seconds)), "iat", json!(seconds))));
        if let Ok(unverified) = Unverified::parse(&token) {
            let rules = IssuerRules { leeway: Duration::from_secs(leeway), ..rules() };
            let _ = unverified.check(&rules, SystemTime::UNIX_EPOCH + Duration::from_secs(at));
        }
    }
}

/// Objects with registered names and values of every kind, good ones among them.
fn json_text() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["alg", "typ", "kid", "iss", "aud", "exp", "iat", "nbf", "sub", "scope", "cnf", "x"]);
    let value = prop::sample::select(vec![
        "1",
        "-1",
        "1.5",
        "1e308",
        "\"ES256\"",
        "\"at+jwt\"",
        "\"https://login.example.com\"",
        "[\"a\"]",
        "{}",
        "null",
        "[[[]]]",
        "18446744073709551615",
    ]);
    prop::collection::vec((name, value), 0..8).prop_map(|members| {
        let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    })
}
