use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::token::forge::{NOW, RESOURCE, Signer, now, part, with, without};
use proptest::prelude::*;
use serde_json::json;

const TOKEN: Digest = [7; 32];

/// A client with its key, and what its good proof holds.
struct Client {
    signer: Signer,
    algorithm: Algorithm,
    header: Value,
    claims: Value,
}

impl Client {
    fn new(algorithm: Algorithm) -> Self {
        let signer = Signer::new(algorithm);
        let jwk = without(signer.jwk("x"), "kid");
        let header = json!({"typ": "dpop+jwt", "alg": algorithm.as_str(), "jwk": jwk});
        let ath = URL_SAFE_NO_PAD.encode(TOKEN);
        let claims = json!({"jti": "one", "htm": "POST", "htu": RESOURCE, "iat": NOW, "ath": ath});
        Self { signer, algorithm, header, claims }
    }

    fn thumbprint(&self) -> Thumbprint {
        *ProofKey::read(&self.header["jwk"], self.algorithm).expect("a key").thumbprint()
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        self.signer.token(self.algorithm, header, claims)
    }

    fn good(&self) -> String {
        self.sign(&self.header, &self.claims)
    }

    fn check(&self, proof: &str) -> Result<Proven, Error> {
        self.check_with(proof, None)
    }

    fn check_with(&self, proof: &str, nonces: Option<&Nonces>) -> Result<Proven, Error> {
        let key = self.thumbprint();
        let expected = Expected { method: "POST", url: RESOURCE, token: Some(&TOKEN), key: Some(&key), nonces, now: now() };
        let rules = ProofRules { algorithms: Algorithm::ALL.to_vec(), ..ProofRules::default() };
        let fresh = check(proof, &expected, &rules, &ProofKeys::default());
        // A key that is known by its header and one that is not decide alike.
        let keys = ProofKeys::default();
        let anytime = Expected { nonces: None, ..expected };
        assert!(check(&self.good(), &anytime, &rules, &keys).is_ok(), "the good proof");
        assert_eq!(check(proof, &expected, &rules, &keys), fresh, "{proof}");
        fresh
    }

    fn header_gives(&self, header: Value, flaw: Flaw) {
        assert_eq!(self.check(&self.sign(&header, &self.claims)), Err(Error::Proof(flaw)), "{header}");
    }

    fn claims_give(&self, claims: Value, flaw: Flaw) {
        assert_eq!(self.check(&self.sign(&self.header, &claims)), Err(Error::Proof(flaw)), "{claims}");
    }
}

#[test]
fn a_good_proof_is_accepted_in_every_algorithm() {
    for algorithm in Algorithm::ALL {
        let client = Client::new(algorithm);
        assert_eq!(client.check(&client.good()).map(|proven| proven.issued), Ok(now()), "{algorithm}");
    }
}

#[test]
fn the_proof_of_the_standard_has_its_thumbprint() {
    // RFC 9449 §4.1 and §6.1; RFC 7638 §3.1; RFC 8037 §A.3.
    let keys = [
        (
            json!({"kty": "EC", "crv": "P-256", "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
                "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"}),
            Algorithm::ES256,
            "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
        ),
        (
            json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
            Algorithm::EdDSA,
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        ),
    ];
    for (jwk, algorithm, thumbprint) in keys {
        let key = ProofKey::read(&jwk, algorithm).expect("a key");
        assert_eq!(URL_SAFE_NO_PAD.encode(key.thumbprint()), thumbprint);
    }
}

#[test]
fn item_141_one_thing_wrong_with_the_header() {
    let client = Client::new(Algorithm::ES256);
    let header = |name: &str, value: Value| with(client.header.clone(), name, value);
    for typ in [json!("JWT"), json!("at+jwt"), json!("dpop"), json!("dpop+jwt "), json!(""), json!(null), json!(1)] {
        client.header_gives(header("typ", typ), Flaw::Type);
    }
    client.header_gives(without(client.header.clone(), "typ"), Flaw::Type);
    for alg in [json!("none"), json!("HS256"), json!("es256"), json!("ES256K"), json!(""), json!(null), json!(["ES256"])] {
        client.header_gives(header("alg", alg), Flaw::Algorithm);
    }
    client.header_gives(without(client.header.clone(), "alg"), Flaw::Algorithm);
    for alg in ["ES384", "EdDSA", "RS256", "PS256"] {
        client.header_gives(header("alg", json!(alg)), Flaw::Key);
    }
    for name in REFUSED_HEADERS {
        client.header_gives(header(name, json!(["b64"])), Flaw::Malformed);
    }
    client.header_gives(without(client.header.clone(), "jwk"), Flaw::Key);
}

#[test]
fn item_141_one_thing_wrong_with_the_key() {
    let client = Client::new(Algorithm::ES256);
    let jwk = client.header["jwk"].clone();
    let odd = [
        json!(null),
        json!("key"),
        json!([]),
        json!({}),
        with(jwk.clone(), "d", json!("AAAA")),
        with(jwk.clone(), "d", json!(null)),
        with(jwk.clone(), "k", json!("AAAA")),
        with(jwk.clone(), "p", json!("AAAA")),
        with(jwk.clone(), "oth", json!([])),
        with(jwk.clone(), "kty", json!("oct")),
        with(jwk.clone(), "kty", json!("RSA")),
        with(jwk.clone(), "crv", json!("secp256k1")),
        with(jwk.clone(), "use", json!("enc")),
        with(jwk.clone(), "key_ops", json!(["sign"])),
        with(jwk.clone(), "alg", json!("ES384")),
        with(jwk.clone(), "x", json!("AAAA")),
        without(jwk.clone(), "y"),
        json!({"kty": "oct", "k": "c2VjcmV0"}),
    ];
    for jwk in odd {
        client.header_gives(with(client.header.clone(), "jwk", jwk), Flaw::Key);
    }
    // No point of the curve: another key than the token's, before anybody computes with it.
    client.header_gives(with(client.header.clone(), "jwk", with(jwk.clone(), "x", jwk["y"].clone())), Flaw::OtherKey);
    let other = Client::new(Algorithm::ES256);
    assert_eq!(client.check(&other.good()), Err(Error::Proof(Flaw::OtherKey)));
    // The right key in the header, and another that signed.
    let forged = other.sign(&client.header, &client.claims);
    assert_eq!(client.check(&forged), Err(Error::Proof(Flaw::Signature)));
}

#[test]
fn item_141_one_thing_wrong_with_the_claims() {
    let client = Client::new(Algorithm::ES256);
    let claim = |name: &str, value: Value| with(client.claims.clone(), name, value);
    let ath = |bytes: &[u8]| json!(URL_SAFE_NO_PAD.encode(bytes));
    let table = [
        ("jti", json!(""), Flaw::Malformed),
        ("jti", json!(7), Flaw::Malformed),
        ("jti", json!("x".repeat(LONGEST_ID + 1)), Flaw::Malformed),
        ("htm", json!("GET"), Flaw::Method),
        ("htm", json!("post"), Flaw::Method),
        ("htm", json!(["POST"]), Flaw::Malformed),
        ("htu", json!(""), Flaw::Url),
        ("htu", json!([RESOURCE]), Flaw::Malformed),
        ("iat", json!(NOW - 61), Flaw::Time),
        ("iat", json!(NOW + 61), Flaw::Time),
        ("iat", json!(0), Flaw::Time),
        ("iat", json!(u64::MAX), Flaw::Time),
        ("iat", json!(-1), Flaw::Malformed),
        ("iat", json!("1800000000"), Flaw::Malformed),
        ("iat", json!(1e300), Flaw::Time),
        ("ath", ath(&[8; 32]), Flaw::Token),
        ("ath", ath(&[7; 31]), Flaw::Token),
        ("ath", json!(""), Flaw::Token),
        ("ath", json!(null), Flaw::Token),
        ("ath", json!(7), Flaw::Token),
        ("nonce", json!(7), Flaw::Malformed),
    ];
    for (name, value, flaw) in table {
        client.claims_give(claim(name, value), flaw);
    }
    for (name, flaw) in
        [("jti", Flaw::Malformed), ("htm", Flaw::Malformed), ("htu", Flaw::Malformed), ("iat", Flaw::Malformed), ("ath", Flaw::Token)]
    {
        client.claims_give(without(client.claims.clone(), name), flaw);
    }
    for iat in [json!(NOW - 60), json!(NOW + 60), json!(NOW as f64 - 0.5)] {
        assert!(client.check(&client.sign(&client.header, &claim("iat", iat.clone()))).is_ok(), "{iat}");
    }
}

#[test]
fn item_142_the_url_is_compared_after_normalisation_and_without_query() {
    let same = [
        "https://mcp.example.com/files",
        "HTTPS://MCP.Example.COM/files",
        "https://mcp.example.com:443/files",
        "https://mcp.example.com/files/",
        "https://mcp.example.com/files?a=b",
        "https://mcp.example.com/files#part",
        "https://mcp.example.com/%66iles",
        "https://mcp.example.com/a/../files",
    ];
    let other = [
        "http://mcp.example.com/files",
        "https://mcp.example.com:8443/files",
        "https://mcp.example.com/Files",
        "https://mcp.example.com/files/x",
        "https://mcp.example.com/files//",
        "https://mcp.example.com//files",
        "https://mcp.example.com/",
        "https://mcp.example.com",
        "https://mcp.example.com.evil.example/files",
        "https://mcp.example.com@evil.example/files",
        "https://user@mcp.example.com/files",
        "https://:password@mcp.example.com/files",
        "https://mcp.example.com/files%2F",
        "https://mcp.example.com/file%73%",
        "https:\\\\mcp.example.com\\files",
        "https:mcp.example.com/files",
        " https://mcp.example.com/files",
        "https://mcp.example.com/fi\tles",
        "//mcp.example.com/files",
        "/files",
        "",
    ];
    for url in same {
        assert!(is_same_url(url, RESOURCE), "{url}");
    }
    for url in other {
        assert!(!is_same_url(url, RESOURCE), "{url}");
    }
    assert!(is_same_url("https://mcp.example.com", "https://mcp.example.com"));
    assert!(is_same_url("https://mcp.example.com/", "https://mcp.example.com"));
}

#[test]
fn what_is_no_jws_of_strict_json_is_malformed() {
    let client = Client::new(Algorithm::ES256);
    let good = client.good();
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let (header, claims) = message.split_once('.').expect("two parts");
    let twice = URL_SAFE_NO_PAD.encode(client.claims.to_string().replacen('{', r#"{"jti":"two","#, 1));
    let odd = [
        String::new(),
        ".".into(),
        "..".into(),
        message.into(),
        format!("{good}.{signature}"),
        format!("{good},{good}"),
        format!("{good} "),
        format!("{good}="),
        format!("{header}=.{claims}.{signature}"),
        format!("{header}.{twice}.{signature}"),
        format!("{header}.{}.{signature}", part(&json!([]))),
    ];
    for proof in odd {
        assert_eq!(client.check(&proof), Err(Error::Proof(Flaw::Malformed)), "{proof}");
    }
    assert_eq!(client.check(&format!("{message}.")), Err(Error::Proof(Flaw::Signature)));
    assert_eq!(client.check(&format!("{}{good}", "a".repeat(LONGEST))), Err(Error::Proof(Flaw::TooLong)));
}

#[test]
fn item_141_exactly_one_header() {
    let head = |values: &[&str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("dpop", http::HeaderValue::from_str(value).expect("a value"));
        }
        headers
    };
    assert_eq!(proof(&head(&[])), Err(Error::Proof(Flaw::Missing)));
    assert_eq!(proof(&head(&["a"])), Ok("a"));
    assert_eq!(proof(&head(&["a", "a"])), Err(Error::Proof(Flaw::Several)));
    assert_eq!(proof(&head(&[&"a".repeat(LONGEST + 1)])), Err(Error::Proof(Flaw::TooLong)));
}

#[test]
fn item_143_a_nonce_of_ours_is_asked_for_after_all_else() {
    let (client, nonces) = (Client::new(Algorithm::ES256), Nonces::new(b"secret", Duration::from_secs(60)));
    let proof_with = |nonce: String| client.sign(&client.header, &with(client.claims.clone(), "nonce", json!(nonce)));
    assert!(client.check_with(&proof_with(nonces.issue(now())), Some(&nonces)).is_ok());
    assert_eq!(client.check_with(&client.good(), Some(&nonces)), Err(Error::Nonce));
    assert_eq!(client.check_with(&proof_with("old".into()), Some(&nonces)), Err(Error::Nonce));
    let expired = nonces.issue(now() - Duration::from_secs(61));
    assert_eq!(client.check_with(&proof_with(expired), Some(&nonces)), Err(Error::Nonce));
    // Where none is asked for, one that came along does no harm.
    assert!(client.check(&proof_with("any".into())).is_ok());
    let forged = Client::new(Algorithm::ES256).sign(&client.header, &client.claims);
    assert_eq!(client.check_with(&forged, Some(&nonces)), Err(Error::Proof(Flaw::Signature)));
}

#[test]
fn only_the_algorithms_of_the_list_are_accepted() {
    let client = Client::new(Algorithm::ES384);
    let key = client.thumbprint();
    let expected = Expected { method: "POST", url: RESOURCE, token: Some(&TOKEN), key: Some(&key), nonces: None, now: now() };
    let keys = ProofKeys::default();
    assert_eq!(check(&client.good(), &expected, &ProofRules::default(), &keys), Err(Error::Proof(Flaw::Algorithm)));
    let all = ProofRules { algorithms: Algorithm::ALL.to_vec(), ..ProofRules::default() };
    assert!(check(&client.good(), &expected, &all, &keys).is_ok());
    assert_eq!(check(&client.good(), &expected, &ProofRules::default(), &keys), Err(Error::Proof(Flaw::Algorithm)), "known by then");
}

#[test]
fn two_proofs_are_told_apart_by_id_and_by_key() {
    let client = Client::new(Algorithm::ES256);
    let first = client.check(&client.good()).expect("a proof");
    assert_eq!(client.check(&client.good()).expect("a proof").id, first.id);
    let second = client.sign(&client.header, &with(client.claims.clone(), "jti", json!("two")));
    assert_ne!(client.check(&second).expect("a proof").id, first.id);
    let other = Client::new(Algorithm::ES256);
    assert_ne!(other.check(&other.good()).expect("a proof").id, first.id);
}

proptest! {
    #[test]
    fn no_change_of_a_valid_proof_is_accepted(place in 0usize..10_000, letter in "[A-Za-z0-9_.=+/ -]", how in 0u8..3) {
        let client = Client::new(Algorithm::EdDSA);
        let good = client.good();
        let place = place % good.len();
        let (left, right) = good.split_at(place);
        let (_, rest) = right.split_at(1);
        let changed = match how {
            0 => format!("{left}{letter}{rest}"),
            1 => format!("{left}{letter}{right}"),
            _ => format!("{left}{rest}"),
        };
        prop_assume!(changed != good);
        prop_assert!(client.check(&changed).is_err(), "{changed}");
    }
}
