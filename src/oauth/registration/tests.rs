use serde_json::json;

use super::*;

fn read(metadata: Value) -> Result<Metadata, Fault> {
    Metadata::read(metadata.to_string().as_bytes(), Whence::Registration, false)
}

/// Sound metadata with one member changed.
fn with(member: &str, value: Value) -> Result<Metadata, Fault> {
    let mut metadata = json!({
        "client_name": "Acme agent", "redirect_uris": ["https://agent.example/cb"], "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
    });
    metadata.as_object_mut().expect("an object").insert(member.to_owned(), value);
    read(metadata)
}

fn key() -> Value {
    json!({ "kty": "EC", "crv": "P-256", "x": "a", "y": "b", "kid": "1" })
}

#[test]
fn item_128_what_is_effective_is_echoed_and_nothing_is_null() {
    let metadata = with("logo_uri", Value::Null).expect("read");
    let answer = Value::Object(metadata.answer("dyn-1", 7));
    assert_eq!(
        answer,
        json!({
            "client_id": "dyn-1", "client_id_issued_at": 7, "client_name": "Acme agent", "redirect_uris": ["https://agent.example/cb"],
            "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"], "token_endpoint_auth_method": "none",
        })
    );
    assert!(!metadata.public_id().contains("://"));
    let bare = read(json!({ "redirect_uris": ["https://agent.example/cb"] })).expect("read");
    assert_eq!(bare.token_endpoint_auth_method, Method::ClientSecretBasic, "the default of RFC 7591");
    assert_eq!(bare.grant_types, ["authorization_code"]);
    assert_eq!(bare.name(), "agent.example");
}

#[test]
fn item_129_one_redirect_uri_that_no_answer_may_go_to_refuses_all() {
    for uri in ["http://evil.example/cb", "javascript:alert(1)", "https://*.agent.example/cb", "https://agent.example/cb#x"] {
        for uris in [json!([uri]), json!(["https://agent.example/cb", uri])] {
            let fault = with("redirect_uris", uris).expect_err(uri);
            assert_eq!(fault.error().code, Code::InvalidRedirectUri, "{uri}");
        }
    }
    for uris in [json!([]), Value::Null] {
        assert_eq!(with("redirect_uris", uris), Err(Fault::NoRedirect));
    }
    let many: Vec<String> = (0..11).map(|n| format!("https://agent.example/{n}")).collect();
    assert_eq!(with("redirect_uris", json!(many)), Err(Fault::ManyRedirects));
}

#[test]
fn a_scheme_that_nobody_has_is_left_out_where_there_are_others() {
    let cursor = json!([
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "https://www.cursor.com/agents/mcp/oauth/callback",
        "http://localhost:8787/callback",
        "mystery://callback"
    ]);
    assert_eq!(with("redirect_uris", cursor).expect("read").redirect_uris.len(), 3);
    let fault = with("redirect_uris", json!(["mystery://callback"])).expect_err("refused");
    assert_eq!(fault, Fault::Redirect(redirect::Fault::Scheme));
}

#[test]
fn item_130_grants_and_responses_belong_together() {
    for (grants, responses) in [
        (json!(["authorization_code"]), json!(["token"])),
        (json!(["authorization_code"]), json!([])),
        (json!(["refresh_token"]), json!(["code"])),
        (json!(["authorization_code", "implicit"]), json!(["code"])),
    ] {
        let metadata = json!({ "redirect_uris": ["https://agent.example/cb"], "grant_types": grants, "response_types": responses });
        assert_eq!(read(metadata.clone()), Err(Fault::Inconsistent), "{metadata}");
    }
    assert_eq!(with("grant_types", json!(["password"])), Err(Fault::Inconsistent));
    let fault = read(json!({ "redirect_uris": ["https://agent.example/cb"], "grant_types": ["password"] })).expect_err("refused");
    assert_eq!((fault, fault.error().code), (Fault::Grants, Code::InvalidClientMetadata));
    let hybrid = read(json!({
        "redirect_uris": ["https://agent.example/cb"],
        "grant_types": ["authorization_code", "implicit", "password"], "response_types": ["code", "code token"],
    }));
    assert_eq!(hybrid.expect("read").grant_types, ["authorization_code"]);
}

#[test]
fn item_130_one_key_set_of_public_keys_and_unknown_members_are_ignored() {
    let keys = json!({ "keys": [key()] });
    let jwt = |members: Value| {
        let mut all = json!({ "redirect_uris": ["https://agent.example/cb"], "token_endpoint_auth_method": "private_key_jwt" });
        all.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
        read(all)
    };
    assert_eq!(jwt(json!({ "jwks": keys, "jwks_uri": "https://agent.example/keys" })), Err(Fault::TwoKeySets));
    assert_eq!(jwt(json!({})), Err(Fault::NoKeySet));
    assert_eq!(jwt(json!({ "jwks": { "keys": [] } })), Err(Fault::KeySet));
    assert_eq!(jwt(json!({ "jwks": [] })), Err(Fault::KeySet));
    for url in ["http://agent.example/keys", "file:///etc/passwd", "http://127.0.0.1/keys"] {
        assert_eq!(jwt(json!({ "jwks_uri": url })), Err(Fault::KeySetUrl), "{url}");
    }
    for member in PRIVATE {
        let mut private = key();
        private.as_object_mut().expect("an object").insert(member.into(), "x".into());
        assert_eq!(jwt(json!({ "jwks": { "keys": [key(), private] } })), Err(Fault::PrivateKey), "{member}");
    }
    let read = jwt(json!({ "jwks": keys, "made_up": { "a": 1 } })).expect("read");
    assert_eq!(read.jwks, Some(keys));
    assert!(!serde_json::to_string(&read).expect("text").contains("made_up"));
}

#[test]
fn item_130_faulty_members_are_refused() {
    for (member, value, fault) in [
        ("client_name", json!(7), Fault::Type),
        ("redirect_uris", json!("https://agent.example/cb"), Fault::Type),
        ("token_endpoint_auth_method", json!("client_secret_jwt"), Fault::Method),
        ("token_endpoint_auth_method", json!("tls_client_auth"), Fault::Method),
        ("client_name", json!("a".repeat(LONGEST_NAME + 1)), Fault::Name),
        ("client_name", json!("Acme\u{1b}[2J"), Fault::Name),
        ("client_name", json!("Acme \u{202e}tnega"), Fault::Name),
        ("client_uri", json!("javascript:alert(1)"), Fault::Address),
        ("software_id", json!("a".repeat(LONGEST + 1)), Fault::Long),
    ] {
        let found = with(member, value.clone()).expect_err("refused");
        assert_eq!((found, found.error().code), (fault, Code::InvalidClientMetadata), "{member} {value}");
    }
    for text in ["[]", "{}{}", r#"{"client_name":"a","client_name":"b"}"#, "\u{feff}{}"] {
        assert_eq!(Metadata::read(text.as_bytes(), Whence::Registration, false), Err(Fault::Object), "{text}");
    }
}

#[test]
fn s35_application_type_is_not_held_against_a_client() {
    for kind in ["web", "native"] {
        let metadata = json!({ "redirect_uris": ["http://localhost:3334/cb"], "application_type": kind });
        assert_eq!(read(metadata).expect("read").redirect_uris, ["http://localhost:3334/cb"], "{kind}");
    }
}

#[test]
fn programs_that_register_alike_are_one_whatever_their_port() {
    let on = |port: u16| with("redirect_uris", json!([format!("http://localhost:{port}/callback")])).expect("read").public_id();
    assert_eq!(on(1), on(50_000));
    let plain = with("client_name", json!("Acme agent")).expect("read");
    assert_eq!(plain.public_id(), with("software_version", json!("2")).expect("read").public_id());
    assert_eq!(plain.public_id(), with("scope", json!("files:read")).expect("read").public_id());
    for (member, value) in [
        ("client_name", json!("Acme Agent")),
        ("redirect_uris", json!(["https://agent.example/cb", "http://localhost:1/callback"])),
        ("software_id", json!("x")),
        ("client_uri", json!("https://agent.example/")),
        ("grant_types", json!(["authorization_code"])),
        ("dpop_bound_access_tokens", json!(true)),
    ] {
        assert_ne!(with(member, value).expect("read").public_id(), plain.public_id(), "{member}");
    }
}

#[test]
fn grants_without_a_person_are_for_clients_that_prove_themselves_and_were_decided_on() {
    let grants = json!(["authorization_code", "client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer"]);
    let public = with("grant_types", grants.clone()).expect("read");
    assert_eq!(public.grant_types, ["authorization_code"]);
    let proven = read(json!({ "redirect_uris": ["https://agent.example/cb"], "grant_types": grants })).expect("read");
    assert_eq!(proven.grant_types.len(), 3);
    let granted = |is_decided| proven.client("c", ClientKind::Registered, Some([1; 32]), is_decided).grant_types;
    assert_eq!(granted(false), [GrantType::AuthorizationCode]);
    assert_eq!(granted(true), [GrantType::AuthorizationCode, GrantType::ClientCredentials, GrantType::JwtBearer]);
}

#[test]
fn item_134_a_replacement_names_its_client_and_nothing_of_ours() {
    let replace = |member: &str, value: Value| {
        let mut metadata = json!({ "client_id": "dyn-1", "redirect_uris": ["https://agent.example/cb"], "client_secret": "s" });
        metadata.as_object_mut().expect("an object").insert(member.to_owned(), value);
        Metadata::replacement(metadata.to_string().as_bytes(), "dyn-1", |secret| secret == "s", false)
    };
    assert!(replace("client_name", json!("x")).is_ok());
    for (member, value) in [
        ("client_id", json!("dyn-2")),
        ("client_id", Value::Null),
        ("client_secret", json!("other")),
        ("client_secret", json!(1)),
        ("registration_access_token", json!("x")),
        ("registration_client_uri", json!("x")),
        ("client_secret_expires_at", json!(0)),
        ("client_id_issued_at", json!(0)),
    ] {
        assert_eq!(replace(member, value), Err(Fault::Replacement), "{member}");
    }
}
