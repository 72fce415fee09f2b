//! Passkeys at several replicas, and over time.

use http::header::COOKIE;

use super::super::browser::Browser;
use super::super::passkeys::{Ask, Errand};
use super::super::sign_in::No;
use super::*;
use crate::oauth::authorization::Parameters;
use crate::oauth::passkey::forge::Authenticator;

const COOKIES: &str = "__Host-doorward-browser=0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";

fn request() -> Request<Bytes> {
    Request::builder().header(COOKIE, COOKIES).body(Bytes::new()).expect("a request")
}

fn form(ask: &Ask, authenticator: &Authenticator, more: &[(&str, Vec<u8>)]) -> Parameters {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("asked", &ask.sealed).append_pair("passkey", &URL_SAFE_NO_PAD.encode(&authenticator.id));
    for (name, value) in more {
        form.append_pair(name, &URL_SAFE_NO_PAD.encode(value));
    }
    Parameters::parse(form.finish().as_bytes())
}

/// A replica, its world and its settings, of which a call is made.
macro_rules! call {
    ($fixture:expr, $call:ident) => {
        let world = $fixture.state.current();
        let settings = world.config.authorization_server.as_ref().expect("the section");
        let store = $fixture.state.store().expect("a store");
        let $call = Call { world: &world, settings, store, origin: $fixture.origin(), now: $fixture.now() };
    };
}

/// A challenge of this replica.
fn asked(fixture: &Fixture, errand: Errand) -> Ask {
    call!(fixture, call);
    let browser = Browser::known(&call, &request()).expect("a browser");
    fixture.server.challenge(&call, &browser, errand).expect("a challenge").expect("passkeys are made here")
}

/// What a replica makes of a new passkey.
async fn makes(fixture: &Fixture, ask: &Ask, authenticator: &Authenticator, account: &Account) -> bool {
    call!(fixture, call);
    let (client_data, attestation) = authenticator.make(&ask.challenge);
    let form = form(ask, authenticator, &[("client_data", client_data), ("attestation", attestation)]);
    let browser = Browser::known(&call, &request()).expect("a browser");
    match fixture.server.made(&call, &browser, &form, account).await.expect("an answer") {
        Some(passkey) => store_of(fixture).put_passkey(&passkey, account).await.expect("written"),
        None => false,
    }
}

/// What a replica makes of its use.
async fn judged(fixture: &Fixture, ask: &Ask, authenticator: &Authenticator) -> Result<Account, No> {
    call!(fixture, call);
    let (client_data, data, signature) = authenticator.answer(&ask.challenge);
    let fields = [("client_data", client_data), ("authenticator_data", data), ("signature", signature), ("user_handle", b"alice".to_vec())];
    let browser = Browser::known(&call, &request()).expect("a browser");
    fixture.server.check_passkey(&call, &browser, &form(ask, authenticator, &fields), None).await.expect("an answer")
}

/// Whether it takes it.
async fn takes(fixture: &Fixture, ask: &Ask, authenticator: &Authenticator) -> bool {
    let judged = judged(fixture, ask, authenticator).await;
    assert!(!matches!(judged, Err(No::Wait(_))), "nobody guesses here");
    judged.is_ok()
}

fn store_of(fixture: &Fixture) -> &Store {
    fixture.state.store().expect("a store")
}

async fn alice(fixture: &Fixture) -> Account {
    let person = Person { subject: ALICE.into(), ..Person::default() };
    let account = account(&person, fixture.now());
    store_of(fixture).put_account(&account).await.expect("written");
    account
}

#[tokio::test]
async fn a_challenge_of_one_replica_is_answered_at_another_once_and_at_no_third() {
    let here = Fixture::new().await;
    let (there, third) = (here.beside().await, here.beside().await);
    let (account, mut authenticator) = (alice(&here).await, Authenticator::new("mcp.example.com", ORIGIN));
    let ask = asked(&here, Errand::Make("alice".into()));
    assert!(makes(&there, &ask, &authenticator, &account).await);
    assert!(!makes(&third, &ask, &authenticator, &account).await);
    let ask = asked(&here, Errand::SignIn);
    authenticator.counter = 1;
    assert!(takes(&there, &ask, &authenticator).await);
    // With the same challenge nothing is judged, whatever the counter says.
    authenticator.counter = 2;
    assert!(!takes(&third, &ask, &authenticator).await);
    assert!(takes(&third, &asked(&there, Errand::SignIn), &authenticator).await);
}

#[tokio::test]
async fn a_challenge_is_too_old_after_half_an_hour_and_is_of_one_account() {
    let fixture = Fixture::new().await;
    let (account, authenticator) = (alice(&fixture).await, Authenticator::new("mcp.example.com", ORIGIN));
    assert!(!makes(&fixture, &asked(&fixture, Errand::Make("bob".into())), &authenticator, &account).await);
    assert!(!makes(&fixture, &asked(&fixture, Errand::SignIn), &authenticator, &account).await);
    let old = asked(&fixture, Errand::Make("alice".into()));
    fixture.pass(30 * 60);
    assert!(!makes(&fixture, &old, &authenticator, &account).await);
    assert!(makes(&fixture, &asked(&fixture, Errand::Make("alice".into())), &authenticator, &account).await);
}

#[tokio::test]
async fn whoever_has_to_wait_fills_no_store_with_challenges() {
    let fixture = Fixture::new().await;
    let (account, mut authenticator) = (alice(&fixture).await, Authenticator::new("mcp.example.com", ORIGIN));
    assert!(makes(&fixture, &asked(&fixture, Errand::Make("alice".into())), &authenticator, &account).await);
    authenticator.origin = "https://evil.example".into();
    for _ in 0..8 {
        fixture.pass(20);
        assert!(!takes(&fixture, &asked(&fixture, Errand::SignIn), &authenticator).await);
    }
    authenticator.origin = ORIGIN.into();
    let ask = asked(&fixture, Errand::SignIn);
    assert!(matches!(judged(&fixture, &ask, &authenticator).await, Err(No::Wait(_))));
    fixture.pass(20);
    assert!(takes(&fixture, &ask, &authenticator).await, "the challenge was not noted");
}

#[tokio::test]
async fn a_passkey_that_nobody_made_fills_no_store_with_challenges() {
    let fixture = Fixture::new().await;
    let (account, mut authenticator) = (alice(&fixture).await, Authenticator::new("mcp.example.com", ORIGIN));
    assert!(makes(&fixture, &asked(&fixture, Errand::Make("alice".into())), &authenticator, &account).await);
    let ask = asked(&fixture, Errand::SignIn);
    let own = std::mem::replace(&mut authenticator.id, b"another".to_vec());
    assert!(!takes(&fixture, &ask, &authenticator).await);
    authenticator.id = own;
    assert!(takes(&fixture, &ask, &authenticator).await, "the challenge was not noted");
}
