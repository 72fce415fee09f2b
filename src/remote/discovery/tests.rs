use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::config::KeyTimes;
use crate::remote::fixture::{self, Site};
use crate::token::Algorithm;
use crate::token::forge::{Signer, rules};

fn keys() -> [Value; 1] {
    [Signer::new(Algorithm::EdDSA).jwk("k")]
}

fn metadata(issuer: &str, jwks_uri: &str) -> Value {
    json!({"issuer": issuer, "jwks_uri": jwks_uri, "authorization_endpoint": "x"})
}

fn remote(issuer: &str, keys: KeySource) -> Remote {
    remote_with(issuer, keys, Duration::from_secs(10))
}

fn remote_with(issuer: &str, keys: KeySource, timeout: Duration) -> Remote {
    let rules = Arc::new(crate::token::IssuerRules { issuer: issuer.into(), ..rules() });
    let times = KeyTimes { timeout, ..KeyTimes::default() };
    Remote::new(
        fixture::http(),
        &Issuer {
            rules,
            keys,
            times,
            allow_http: false,
            introspection: None,
            profile: &crate::config::profile::PLAIN,
            assume_s256: false,
            accept_new_keys: Default::default(),
        },
    )
}

#[test]
fn candidates_come_in_the_order_of_the_standards() {
    let rows: [(&str, &[&str]); 4] = [
        (
            "https://h.example/t1",
            &[
                "https://h.example/.well-known/oauth-authorization-server/t1",
                "https://h.example/.well-known/openid-configuration/t1",
                "https://h.example/t1/.well-known/openid-configuration",
            ],
        ),
        (
            "https://h.example:8443/realms/a/",
            &[
                "https://h.example:8443/.well-known/oauth-authorization-server/realms/a",
                "https://h.example:8443/.well-known/openid-configuration/realms/a",
                "https://h.example:8443/realms/a/.well-known/openid-configuration",
            ],
        ),
        (
            "https://h.example",
            &["https://h.example/.well-known/oauth-authorization-server", "https://h.example/.well-known/openid-configuration"],
        ),
        (
            "https://h.example/",
            &["https://h.example/.well-known/oauth-authorization-server", "https://h.example/.well-known/openid-configuration"],
        ),
    ];
    for (issuer, expected) in rows {
        assert_eq!(candidates(issuer), expected, "{issuer}");
    }
}

#[tokio::test]
async fn each_place_is_tried_in_turn_and_what_was_found_is_remembered() {
    let (origin, site) = Site::serve().await;
    let issuer = format!("{origin}/t1");
    site.put_keys("/keys", &keys());
    for place in candidates(&issuer).iter().rev() {
        let path = place.strip_prefix(&origin).unwrap();
        site.put(path, 200, metadata(&issuer, &format!("{origin}/keys")));
        let remote = remote(&issuer, KeySource::Discovery);
        assert_eq!(remote.keys().await.unwrap().len(), 1);
        let asked = site.asked();
        assert_eq!(asked.iter().rev().take(2).rev().collect::<Vec<_>>(), [path, "/keys"]);
        assert_eq!(remote.keys().await.unwrap().len(), 1);
        assert_eq!(site.asked(), ["/keys"]);
    }
}

#[tokio::test]
async fn a_document_of_another_issuer_is_never_used() {
    let (origin, site) = Site::serve().await;
    site.put_keys("/keys", &keys());
    for other in ["https://evil.example".to_owned(), format!("{origin}/"), origin.to_uppercase()] {
        site.put("/.well-known/oauth-authorization-server", 200, metadata(&other, &format!("{origin}/keys")));
        assert_eq!(remote(&origin, KeySource::Discovery).keys().await.err(), Some(FetchError::Issuer(other)));
        assert!(!site.asked().contains(&"/keys".to_owned()));
    }
    // The other document may be the right one.
    site.put("/.well-known/openid-configuration", 200, metadata(&origin, &format!("{origin}/keys")));
    assert!(remote(&origin, KeySource::Discovery).keys().await.is_ok());
}

#[tokio::test]
async fn a_document_that_is_none_is_refused() {
    let (origin, site) = Site::serve().await;
    let place = "/.well-known/oauth-authorization-server";
    let rows = [
        ("<html>".to_owned(), FetchError::Metadata),
        ("{}".to_owned(), FetchError::Metadata),
        (json!({"issuer": [origin]}).to_string(), FetchError::Metadata),
        (json!({"issuer": origin, "jwks_uri": 1}).to_string(), FetchError::Metadata),
        (json!({"issuer": origin}).to_string(), FetchError::NoJwksUri),
        (metadata(&origin, "http://10.0.0.1/keys").to_string(), FetchError::PlainHttp("http://10.0.0.1/keys".into())),
        (metadata(&origin, "file:///etc/passwd").to_string(), FetchError::Url("file:///etc/passwd".into())),
        (metadata(&origin, "/keys").to_string(), FetchError::Url("/keys".into())),
        ("x".repeat((1 << 20) + 1), FetchError::TooLarge),
    ];
    for (body, error) in rows {
        site.put(place, 200, body);
        assert_eq!(remote(&origin, KeySource::Discovery).keys().await.err(), Some(error));
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (origin, site) = Site::serve().await;
    site.put_keys("/keys", &keys());
    site.put("/moved", 302, format!("{origin}/keys"));
    assert_eq!(remote(&origin, KeySource::Jwks(format!("{origin}/moved"))).keys().await.err(), Some(FetchError::Status(302)));
    assert_eq!(site.asked(), ["/moved"]);
}

#[tokio::test]
async fn a_named_document_or_set_is_the_only_one_asked() {
    let (origin, site) = Site::serve().await;
    site.put_keys("/keys", &keys());
    assert!(remote(&origin, KeySource::Jwks(format!("{origin}/keys"))).keys().await.is_ok());
    assert_eq!(site.asked(), ["/keys"]);
    site.put("/meta", 200, metadata(&origin, &format!("{origin}/keys")));
    assert!(remote(&origin, KeySource::Metadata(format!("{origin}/meta"))).keys().await.is_ok());
    assert_eq!(site.asked(), ["/meta", "/keys"]);
    assert!(remote(&origin, KeySource::Metadata(format!("{origin}/none"))).keys().await.is_err());
    assert_eq!(site.asked(), ["/none"]);
}

#[tokio::test]
async fn a_key_set_that_moved_is_discovered_anew() {
    let (origin, site) = Site::serve().await;
    let place = "/.well-known/oauth-authorization-server";
    site.put(place, 200, metadata(&origin, &format!("{origin}/old")));
    site.put_keys("/old", &keys());
    let remote = remote(&origin, KeySource::Discovery);
    assert!(remote.keys().await.is_ok());
    site.put("/old", 404, "");
    site.put(place, 200, metadata(&origin, &format!("{origin}/new")));
    site.put_keys("/new", &keys());
    assert_eq!(remote.keys().await.err(), Some(FetchError::Status(404)));
    assert!(remote.keys().await.is_ok());
}

#[tokio::test]
async fn a_set_without_a_usable_key_is_a_failure_and_not_an_empty_set() {
    let (origin, site) = Site::serve().await;
    let remote = remote(&origin, KeySource::Jwks(format!("{origin}/keys")));
    for (body, error) in [
        (r#"{"keys":[]}"#, FetchError::NoKeys),
        (r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#, FetchError::NoKeys),
        ("[]", FetchError::Keys(crate::token::KeysError::NotKeySet)),
    ] {
        site.put("/keys", 200, body);
        assert_eq!(remote.keys().await.err(), Some(error), "{body}");
    }
    site.put("/keys", 500, r#"{"keys":[]}"#);
    assert_eq!(remote.keys().await.err(), Some(FetchError::Status(500)));
}

#[tokio::test]
async fn silence_and_a_closed_door_are_told_apart_and_end_the_search() {
    let (origin, site) = Site::serve().await;
    let place = "/.well-known/oauth-authorization-server";
    site.put(place, 0, "");
    let silent = remote_with(&origin, KeySource::Discovery, Duration::from_millis(50));
    assert_eq!(silent.keys().await.err(), Some(FetchError::Timeout));
    assert_eq!(site.asked(), [place]);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(remote(&format!("http://{free}"), KeySource::Discovery).keys().await.err(), Some(FetchError::Unreachable));
}

#[tokio::test]
async fn plain_http_off_loopback_is_never_asked() {
    let url = "http://issuer.example";
    assert!(matches!(remote(url, KeySource::Discovery).keys().await, Err(FetchError::PlainHttp(_))));
    assert!(matches!(remote(url, KeySource::Jwks(format!("{url}/keys"))).keys().await, Err(FetchError::PlainHttp(_))));
}
