use std::sync::Arc;

use super::*;
use crate::config::profile::PLAIN;
use crate::remote::fixture::{self, Site};
use crate::token::forge::rules;

fn document(issuer: &str) -> Value {
    json!({"issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"), "token_endpoint": format!("{issuer}/token")})
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

fn store(issuer: &str, cooldown: u64) -> MetadataStore {
    let rules = Arc::new(crate::token::IssuerRules { issuer: issuer.into(), ..rules() });
    let times = KeyTimes { cache: Duration::ZERO, cooldown: Duration::from_secs(cooldown), ..KeyTimes::default() };
    let issuer = Issuer {
        rules,
        keys: KeySource::Discovery,
        times,
        allow_http: false,
        introspection: None,
        profile: &PLAIN,
        assume_s256: false,
        accept_new_keys: Default::default(),
    };
    MetadataStore::new(fixture::http(), &issuer, &Arc::default())
}

#[test]
fn a_document_of_another_issuer_is_not_passed_on() {
    let of_another = object(document("https://evil.example"));
    assert_eq!(sound(of_another, "https://as.example", false, false), Err(FetchError::Issuer("https://evil.example".into())));
    let mut slash = object(document("https://as.example"));
    slash.insert("issuer".into(), json!("https://as.example/"));
    assert!(matches!(sound(slash, "https://as.example", false, false), Err(FetchError::Issuer(_))));
}

#[test]
fn an_endpoint_that_no_client_should_follow_is_not_passed_on() {
    for bad in ["javascript:alert(1)", "http://as.example/authorize", "//as.example", "data:text/html,x", ""] {
        let mut document = object(document("https://as.example"));
        document.insert("authorization_endpoint".into(), json!(bad));
        assert_eq!(sound(document, "https://as.example", false, false), Err(FetchError::Member("authorization_endpoint")), "{bad}");
    }
    let mut without = object(document("https://as.example"));
    without.remove("token_endpoint");
    assert_eq!(sound(without, "https://as.example", false, false), Err(FetchError::Member("token_endpoint")));
}

#[test]
fn item_8_s256_is_said_where_it_is_assumed_and_plain_never() {
    let pkce = |members: Value, assume: bool| {
        let mut document = object(document("https://as.example"));
        document.extend(object(members));
        sound(document, "https://as.example", false, assume).expect("sound").remove(PKCE)
    };
    assert_eq!(pkce(json!({}), false), None);
    assert_eq!(pkce(json!({}), true), Some(json!(["S256"])));
    assert_eq!(pkce(json!({PKCE: ["plain", "S256"]}), false), Some(json!(["S256"])));
    assert_eq!(pkce(json!({PKCE: ["plain"]}), true), None);
    // What the server says of itself is never widened.
    assert_eq!(pkce(json!({PKCE: ["S512"]}), true), Some(json!(["S512"])));
}

#[test]
fn item_10_members_without_a_value_are_left_out() {
    let mut document = object(document("https://as.example"));
    document.extend(object(json!({"registration_endpoint": null, "scopes_supported": [], "signed_metadata": "x.y.z"})));
    let sound = sound(document, "https://as.example", false, false).expect("sound");
    assert_eq!(sound.len(), 3, "{sound:?}");
}

#[tokio::test]
async fn an_old_document_serves_while_the_server_is_away() {
    let (origin, site) = Site::serve().await;
    let place = "/.well-known/oauth-authorization-server";
    site.put(place, 200, document(&origin));
    let store = store(&origin, 0);
    let first = store.document().await.expect("a document");
    site.put(place, 503, "");
    site.put("/.well-known/openid-configuration", 503, "");
    assert_eq!(store.document().await, Ok(first));
}

#[tokio::test]
async fn a_failure_is_asked_about_once_in_a_cooldown() {
    let (origin, site) = Site::serve().await;
    let store = store(&origin, 600);
    assert_eq!(store.document().await, Err(FetchError::Status(404)));
    site.asked();
    for _ in 0..20 {
        assert_eq!(store.document().await, Err(FetchError::Status(404)));
    }
    assert!(site.asked().is_empty());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (origin, site) = Site::serve().await;
    site.put("/.well-known/oauth-authorization-server", 302, "/elsewhere");
    site.put("/elsewhere", 200, document(&origin));
    assert_eq!(store(&origin, 600).document().await, Err(FetchError::Status(302)));
    assert!(!site.asked().contains(&"/elsewhere".to_owned()));
}

#[tokio::test]
async fn many_who_ask_at_once_cost_one_fetch() {
    let (origin, site) = Site::serve().await;
    site.put("/.well-known/oauth-authorization-server", 200, document(&origin));
    let mut store = store(&origin, 600);
    store.times.cache = Duration::from_secs(600);
    let all = futures_util::future::join_all((0..50).map(|_| store.document())).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(site.asked().len(), 1);
}
