use std::sync::atomic::AtomicU32;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{advance, sleep};

use super::*;
use crate::token::Algorithm;
use crate::token::forge::{Signer, key_set};

const SECOND: Duration = Duration::from_secs(1);

/// An issuer that answers what it is told to, and counts.
#[derive(Default)]
struct Fake {
    keys: Mutex<Vec<Value>>,
    down: Mutex<bool>,
    delay: Mutex<Duration>,
    fetches: AtomicU32,
}

struct FakeOrigin(Arc<Fake>);

impl Origin for FakeOrigin {
    fn fetch(&self) -> BoxFuture<'_, Result<KeySet, FetchError>> {
        Box::pin(async {
            self.0.fetches.fetch_add(1, Ordering::SeqCst);
            // The answer is of the moment when the question arrives.
            let (keys, down, delay) = (self.0.keys.lock().unwrap().clone(), *self.0.down.lock().unwrap(), *self.0.delay.lock().unwrap());
            sleep(delay).await;
            if down { Err(FetchError::Unreachable) } else { Ok(key_set(&keys)) }
        })
    }
}

impl Fake {
    fn publish(&self, kid: &str) {
        self.keys.lock().unwrap().push(Signer::new(Algorithm::EdDSA).jwk(kid));
    }

    fn withdraw(&self, kid: &str) {
        self.keys.lock().unwrap().retain(|key| key["kid"] != kid);
    }

    fn set_down(&self, down: bool) {
        *self.down.lock().unwrap() = down;
    }

    fn set_delay(&self, delay: Duration) {
        *self.delay.lock().unwrap() = delay;
    }

    fn fetches(&self) -> u32 {
        self.fetches.load(Ordering::SeqCst)
    }
}

fn issuer(kids: &[&str]) -> (Arc<Fake>, Arc<KeyStore>) {
    let fake = Arc::new(Fake::default());
    kids.iter().for_each(|kid| fake.publish(kid));
    let store = KeyStore::new("corp", Box::new(FakeOrigin(fake.clone())), KeyTimes::default());
    (fake, store)
}

fn has(keys: &KeySet, kid: &str) -> bool {
    keys.find(Some(kid), Algorithm::EdDSA).next().is_some()
}

/// What a request does with a token of this key.
async fn serves(store: &Arc<KeyStore>, kid: &str) -> Result<(), Error> {
    if has(&store.keys().await?.clone(), kid) {
        return Ok(());
    }
    store.learn(|keys| has(keys, kid)).await.map(|_| ()).ok_or(Error::UnknownKey)
}

/// Lets tasks in the background go on, without letting time pass by much.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_hundred_first_requests_cause_one_fetch() {
    let (fake, store) = issuer(&["a"]);
    fake.set_delay(SECOND);
    let all = futures_util::future::join_all((0..100).map(|_| serves(&store, "a"))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(fake.fetches(), 1);
    assert_eq!(store.fetches(), FetchCounts { ok: 1, unchanged: 0, failed: 0 });
}

#[tokio::test(start_paused = true)]
async fn a_hundred_tokens_of_a_new_key_cause_one_fetch_and_no_false_no() {
    let (fake, store) = issuer(&["a"]);
    store.warm().await;
    advance(10 * SECOND).await;
    fake.publish("b");
    fake.set_delay(SECOND);
    let all = futures_util::future::join_all((0..100).map(|_| serves(&store, "b"))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(fake.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_asked_for_before_the_key_was_published_is_not_the_last_word() {
    let (fake, store) = issuer(&["a"]);
    store.warm().await;
    advance(10 * SECOND).await;
    fake.set_delay(SECOND / 2);
    let early = tokio::spawn({
        let store = store.clone();
        async move { serves(&store, "nobody").await }
    });
    settle().await;
    fake.publish("b");
    assert_eq!(serves(&store, "b").await, Ok(()));
    assert_eq!(early.await.unwrap(), Err(Error::UnknownKey));
}

#[tokio::test(start_paused = true)]
async fn a_rotation_every_two_seconds_is_followed_without_a_false_no() {
    let (fake, store) = issuer(&["key-0"]);
    store.warm().await;
    let (start, mut requests) = (Instant::now(), JoinSet::new());
    for round in 1..=150 {
        fake.publish(&format!("key-{round}"));
        fake.withdraw(&format!("key-{}", round - 2));
        sleep(SECOND / 10).await;
        for _ in 0..19 {
            let kid = format!("key-{round}");
            let store = store.clone();
            requests.spawn(async move { assert_eq!(serves(&store, &kid).await, Ok(()), "{kid}") });
            sleep(SECOND / 10).await;
        }
        assert_eq!(serves(&store, &format!("key-{round}")).await, Ok(()));
    }
    assert_eq!(requests.join_all().await.len(), 150 * 19);
    let seconds = u32::try_from(start.elapsed().as_secs()).unwrap();
    assert!(fake.fetches() <= seconds / 2 + 1, "{} fetches in {seconds} s", fake.fetches());
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_made_up_kids_causes_a_handful_of_fetches_a_minute() {
    let (fake, store) = issuer(&["a"]);
    store.warm().await;
    let mut requests = JoinSet::new();
    for n in 0..600 {
        let store = store.clone();
        requests.spawn(async move { assert_eq!(serves(&store, &format!("random-{n}")).await, Err(Error::UnknownKey)) });
        sleep(SECOND / 10).await;
    }
    requests.join_all().await;
    assert!((2..=6).contains(&fake.fetches()), "{}", fake.fetches());
    assert_eq!(serves(&store, "a").await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_rotation_amid_a_flood_is_noticed_within_the_cooldown() {
    let (fake, store) = issuer(&["a"]);
    store.warm().await;
    for n in 0..60 {
        let _ = serves(&store, &format!("random-{n}")).await;
    }
    fake.publish("b");
    sleep(KeyTimes::default().cooldown).await;
    assert_eq!(serves(&store, "b").await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn keys_past_their_time_are_fetched_behind_the_requests_back() {
    let (fake, store) = issuer(&["a"]);
    store.warm().await;
    advance(601 * SECOND).await;
    fake.set_delay(SECOND);
    let before = Instant::now();
    assert_eq!(serves(&store, "a").await, Ok(()));
    assert_eq!(before.elapsed(), Duration::ZERO);
    sleep(2 * SECOND).await;
    assert_eq!(fake.fetches(), 2);
    assert_eq!(store.fetches(), FetchCounts { ok: 1, unchanged: 1, failed: 0 });
    assert_eq!(store.age(), Some(SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_key_is_not_honoured_after_a_quiet_night() {
    let (fake, store) = issuer(&["a", "b"]);
    store.warm().await;
    fake.withdraw("a");
    advance(606 * SECOND).await;
    assert!(store.current().is_none());
    assert!(!has(&store.keys().await.unwrap().clone(), "a"));
    assert_eq!(serves(&store, "b").await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_served_from_the_last_good_set_and_costs_one_fetch_in_two_seconds() {
    let (fake, store) = issuer(&["a"]);
    store.warm().await;
    advance(599 * SECOND).await;
    fake.set_down(true);
    let (before, mut requests) = (fake.fetches(), JoinSet::new());
    for n in 0..6000 {
        let now = Instant::now();
        assert_eq!(serves(&store, "a").await, Ok(()));
        assert_eq!(now.elapsed(), Duration::ZERO);
        if n % 10 == 0 {
            let store = store.clone();
            requests.spawn(async move {
                let now = Instant::now();
                assert_eq!(serves(&store, "unknown").await, Err(Error::UnknownKey));
                assert!(now.elapsed() <= Duration::from_millis(3500));
            });
        }
        sleep(SECOND / 10).await;
    }
    requests.join_all().await;
    assert!(fake.fetches() - before <= 302, "{}", fake.fetches() - before);
    fake.set_down(false);
    fake.publish("b");
    let back = Instant::now();
    assert_eq!(serves(&store, "b").await, Ok(()));
    assert!(back.elapsed() <= 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn keys_are_not_trusted_beyond_stale() {
    let (fake, store) = issuer(&["a"]);
    store.warm().await;
    fake.set_down(true);
    advance(4199 * SECOND).await;
    assert_eq!(serves(&store, "a").await, Ok(()));
    advance(SECOND).await;
    assert_eq!(serves(&store, "a").await, Err(Error::KeysUnavailable));
    assert!(!store.has_keys());
    fake.set_down(false);
    sleep(2 * SECOND).await;
    assert_eq!(serves(&store, "a").await, Ok(()));
    assert!(store.has_keys());
}

#[tokio::test(start_paused = true)]
async fn without_first_keys_the_answer_comes_in_time_and_the_issuer_is_not_pressed() {
    let (fake, store) = issuer(&["a"]);
    fake.set_down(true);
    let begun = Instant::now();
    for _ in 0..20 {
        let now = Instant::now();
        assert_eq!(serves(&store, "a").await, Err(Error::KeysUnavailable));
        assert!(now.elapsed() <= 3 * SECOND);
        sleep(SECOND / 10).await;
    }
    assert!(fake.fetches() as u64 <= begun.elapsed().as_secs() / 2 + 1, "{}", fake.fetches());
    fake.set_down(false);
    sleep(2 * SECOND).await;
    assert_eq!(serves(&store, "a").await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_slow_issuer_holds_nobody_longer_than_the_timeout() {
    let (fake, store) = issuer(&["a"]);
    fake.set_delay(5 * SECOND);
    let now = Instant::now();
    assert_eq!(serves(&store, "a").await, Err(Error::KeysUnavailable));
    assert_eq!(now.elapsed(), 3 * SECOND);
    // The fetch goes on although nobody waits for it.
    sleep(3 * SECOND).await;
    assert_eq!(serves(&store, "a").await, Ok(()));
    assert_eq!(fake.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn fixed_keys_are_never_fetched() {
    let signer = Signer::new(Algorithm::EdDSA);
    let store = KeyStore::fixed("corp", key_set(&[signer.jwk("a")]));
    advance(1_000_000 * SECOND).await;
    assert_eq!(serves(&store, "a").await, Ok(()));
    assert_eq!(serves(&store, "b").await, Err(Error::UnknownKey));
    assert_eq!(store.fetches(), FetchCounts::default());
}

#[test]
fn without_a_runtime_nothing_is_fetched_and_nothing_breaks() {
    let (fake, store) = issuer(&["a"]);
    assert!(store.current().is_none());
    assert!(!store.has_keys());
    assert_eq!(fake.fetches(), 0);
}

#[tokio::test(start_paused = true)]
async fn our_own_keys_are_told_and_never_fetched() {
    let store = KeyStore::own("doorward");
    store.warm().await;
    assert_eq!(store.keys().await.err(), Some(Error::KeysUnavailable), "none was told yet");
    assert_eq!(store.fetches(), FetchCounts { ok: 0, unchanged: 0, failed: 0 });
    store.publish(key_set(&[Signer::new(Algorithm::EdDSA).jwk("a")]));
    assert!(store.keys().await.is_ok());
}
