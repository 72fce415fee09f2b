//! What is published: metadata and keys (S44, S45).

use super::*;

const METADATA: [&str; 6] = [
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server/files",
    "/.well-known/openid-configuration/files",
    "/files/.well-known/oauth-authorization-server",
    "/files/.well-known/openid-configuration",
];

#[tokio::test]
async fn every_form_of_the_metadata_says_the_same_and_the_issuer_is_public_url() {
    let fixture = Fixture::new().await;
    for path in METADATA {
        let got = fixture.get(path).await;
        assert_eq!((got.status, &got.body["issuer"]), (200, &json!(ORIGIN)), "{path}");
        assert_eq!(got.body["token_endpoint"], "https://mcp.example.com/token");
        assert_eq!(got.body["scopes_supported"], json!(["crm:read", "files:read", "files:write", "offline_access"]));
        assert_eq!(got.body["protected_resources"], json!([FILES, CRM]));
        assert!(got.body.as_object().expect("an object").values().all(|value| !value.is_null()));
        assert_eq!(got.body.get("subject_types_supported").is_some(), path.contains("openid"), "{path}");
    }
    let post = fixture.post(METADATA[0], &[], &[]).await;
    assert_eq!(post.status, 405);
}

#[tokio::test]
async fn item_139_metadata_name_the_profile_and_its_grant_and_nobody_who_is_trusted() {
    let fixture = Fixture::new().await;
    let got = fixture.get(METADATA[0]).await;
    assert_eq!(got.body["authorization_grant_profiles_supported"], json!(["urn:ietf:params:oauth:grant-profile:id-jag"]));
    let text = got.body.to_string();
    assert!(text.contains("urn:ietf:params:oauth:grant-type:jwt-bearer"));
    assert!(!text.contains(IDP) && !text.contains(CLUSTER));
}

#[tokio::test]
async fn s44_keys_are_made_by_one_replica_known_to_all_and_sealed_in_the_store() {
    let fixture = Fixture::new().await;
    let other = fixture.beside().await;
    let kids = |got: Got| got.body["keys"].as_array().expect("keys").iter().map(|key| key["kid"].clone()).collect::<Vec<_>>();
    let (here, there) = (kids(fixture.get("/jwks.json").await), kids(other.get("/jwks.json").await));
    assert_eq!((here.len(), &here), (1, &there));
    let rows = fixture.state.store().expect("a store").signing_keys().await.expect("read");
    assert_eq!(rows.len(), 1);
    let sealed = URL_SAFE_NO_PAD.decode(&rows[0].sealed).expect("base64url");
    // RFC 5915: every P-256 key in PKCS #8 names the curve thus.
    let oid = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    assert!(!sealed.windows(oid.len()).any(|window| window == oid));
    let file = fixture.folder.path().join("doorward.db.key");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file).expect("the key file").permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn another_key_file_opens_nothing_and_the_start_says_so() {
    let fixture = Fixture::new().await;
    let file = fixture.folder.path().join("doorward.db.key");
    std::fs::write(&file, STANDARD.encode([7; 32])).expect("written");
    let (audit, _writer) = Audit::start(Some(fixture.folder.path().join("other.jsonl"))).expect("a log");
    let server = Arc::new(Server::new(fixture.state.clone(), audit));
    let error = server.open().await.expect_err("refused").to_string();
    assert!(error.contains("it is not the file that sealed it"), "{error}");
}

#[tokio::test]
async fn tokens_may_be_signed_by_ed25519() {
    let fixture = Fixture::with(|config| config["authorization_server"]["tokens"] = json!({ "algorithm": "EdDSA" })).await;
    let got = fixture.tokens().await;
    assert_eq!(part(&got.text("access_token"), 0)["alg"], "EdDSA");
    assert_eq!(fixture.introspect_all(&got.text("access_token")).await.body["active"], true);
}

#[tokio::test]
async fn a_revoked_key_signs_nothing_more_and_another_takes_its_place_at_once() {
    use crate::governance::{Bounds, Revocation, Selector};
    let fixture = Fixture::new().await;
    let kid = |got: &Got| part(&got.text("access_token"), 0)["kid"].as_str().expect("text").to_owned();
    let before = fixture.tokens().await;
    let selector = Selector::Key { issuer: ORIGIN.into(), kid: kid(&before) };
    let revocation = Revocation::new(selector, fixture.now(), None, None, &Bounds::default());
    let reason = crate::store::Reason { text: "leaked", actor: "mia", made: fixture.now() };
    fixture.state.store().expect("a store").revoke(&revocation, &reason).await.expect("written");
    let other = fixture.beside().await;
    let after = other.tokens().await;
    assert_ne!(kid(&before), kid(&after));
    let published = other.get("/jwks.json").await.body["keys"].as_array().expect("keys").len();
    assert_eq!(published, 1);
}
