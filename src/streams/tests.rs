use std::time::Duration;

use super::*;
use crate::principal::Proof;

fn holder(upstream: &str, issuer: &str, subject: &str, client: &str) -> Holder {
    let proof = Proof { issuer: issuer.into(), subject: subject.into(), client: Some(client.into()), ..Proof::default() };
    let issued = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000));
    Holder { upstream: upstream.into(), who: Arc::new(Principal::new(proof)), token: digest(subject), issued, session: None }
}

fn digest(of: &str) -> Digest {
    *blake3::hash(of.as_bytes()).as_bytes()
}

fn alice() -> Holder {
    holder("up", "https://a", "alice", "app")
}

fn is_ended(open: &Open) -> Option<&'static str> {
    let context = &mut std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(open.ended()).poll(context) {
        std::task::Poll::Ready(reason) => Some(reason),
        std::task::Poll::Pending => None,
    }
}

#[test]
fn a_hit_ends_whom_it_means_and_nobody_else() {
    let session = Holder { session: Some(Box::new([7; 32])), ..alice() };
    let (issuer, other): (Arc<str>, Arc<str>) = ("https://a".into(), "https://b".into());
    let time = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let everyone = || Hit::from(Whose::Everyone);
    let rows = [
        (everyone(), true),
        (everyone().at("up".into()), true),
        (everyone().at("crm".into()), false),
        (Whose::Issuer(issuer.clone()).into(), true),
        (Whose::Issuer(other.clone()).into(), false),
        (Whose::Subject { issuer: issuer.clone(), subject: "alice".into() }.into(), true),
        (Whose::Subject { issuer: issuer.clone(), subject: "bob".into() }.into(), false),
        (Whose::Subject { issuer: other.clone(), subject: "alice".into() }.into(), false),
        (Whose::Client { issuer: issuer.clone(), client: "app".into() }.into(), true),
        (Whose::Client { issuer: other, client: "app".into() }.into(), false),
        (Whose::Token(digest("alice")).into(), true),
        (Whose::Token(digest("bob")).into(), false),
        (Whose::Session([7; 32]).into(), true),
        (Whose::Session([8; 32]).into(), false),
        (everyone().issued_before(time(1_001)), true),
        (everyone().issued_before(time(1_000)), false),
        (Hit::from(Whose::Issuer(issuer)).at("crm".into()).issued_before(time(2_000)), false),
    ];
    for (hit, means) in rows {
        let streams = Arc::new(Streams::default());
        let now = Instant::now();
        let open = streams.listen(session.clone(), None, now).expect("a place");
        assert_eq!(is_ended(&open), None);
        let name = format!("{hit:?}");
        assert_eq!(streams.end(hit.clone(), "revoked", now), usize::from(means), "{name}");
        assert_eq!(is_ended(&open), means.then_some("revoked"), "{name}");
        assert_eq!(streams.end(hit, "again", now), 0, "an end is counted once: {name}");
    }
}

#[test]
fn a_token_that_does_not_say_when_it_was_issued_is_older_than_any_time() {
    let streams = Arc::new(Streams::default());
    let _open = streams.answer(Holder { issued: None, ..alice() }, Instant::now());
    let hit = Hit::from(Whose::Everyone).issued_before(SystemTime::UNIX_EPOCH);
    assert_eq!(streams.end(hit, "revoked", Instant::now()), 1);
}

#[test]
fn one_caller_has_so_many_places_at_an_upstream_and_gets_them_back() {
    let streams = Arc::new(Streams::default());
    let now = Instant::now();
    let listen = |holder: Holder| streams.listen(holder, Some(2), now);
    let held = [listen(alice()).expect("first"), listen(holder("up", "https://a", "alice", "other app")).expect("second")];
    assert_eq!(listen(alice()).err(), Some(TooMany));
    let _others = [
        listen(holder("crm", "https://a", "alice", "app")).expect("another upstream"),
        listen(holder("up", "https://b", "alice", "app")).expect("another issuer"),
        listen(holder("up", "https://a", "bob", "app")).expect("another subject"),
        listen(holder("up", "https://a", "alice", "alice")).expect("a machine of the same name"),
    ];
    let _answer = streams.answer(alice(), now);
    drop(held);
    let again = [listen(alice()), listen(alice())];
    assert!(again.iter().all(Result::is_ok) && listen(alice()).is_err());
}

#[test]
fn nothing_is_left_of_streams_that_have_ended() {
    let streams = Arc::new(Streams::default());
    let all: Vec<Open> = (0..1_000)
        .map(|n| streams.listen(holder("up", "https://a", &n.to_string(), "app"), Some(1), Instant::now()).expect("a place"))
        .collect();
    assert_eq!(streams.end(Whose::Everyone.into(), "revoked", Instant::now()), 1_000);
    assert_eq!(streams.count(), 1_000, "a place is free when the stream is");
    drop(all);
    let table = streams.0.lock();
    assert!(table.open.is_empty() && table.listening.is_empty() && table.open.capacity() == 0);
}

#[test]
fn an_end_between_request_and_stream_is_not_missed() {
    let streams = Arc::new(Streams::default());
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    streams.end(Whose::Token(digest("alice")).into(), "revoked", at(5));
    assert_eq!(is_ended(&streams.answer(alice(), at(4))), Some("revoked"));
    assert_eq!(is_ended(&streams.answer(alice(), at(6))), None, "a request that came later was judged anew");
    assert_eq!(is_ended(&streams.answer(holder("up", "https://a", "bob", "app"), at(4))), None);
    // SECURITY: what is remembered no more might have meant it.
    for n in 0..2 * REMEMBERED {
        streams.end(Whose::Token(digest(&n.to_string())).into(), "revoked", at(10));
    }
    assert!(streams.0.lock().ended.len() <= REMEMBERED);
    assert_eq!(is_ended(&streams.answer(alice(), at(9))), Some("revoked"));
    assert_eq!(is_ended(&streams.answer(alice(), at(11))), None);
}

#[tokio::test]
async fn whoever_waits_is_woken_and_an_end_before_the_waiting_is_heard() {
    let streams = Arc::new(Streams::default());
    let open = Arc::new(streams.answer(alice(), Instant::now()));
    let waiting = tokio::spawn({
        let open = open.clone();
        async move { open.ended().await }
    });
    tokio::task::yield_now().await;
    streams.end(Whose::Everyone.into(), "revoked", Instant::now());
    assert_eq!(waiting.await.expect("it ends"), "revoked");
    assert_eq!(open.ended().await, "revoked");
}

#[test]
fn a_stream_costs_a_few_words() {
    assert!(size_of::<Open>() <= 24, "{}", size_of::<Open>());
    assert!(size_of::<Entry>() <= 112, "{}", size_of::<Entry>());
    assert!(size_of::<Told>() <= 64, "{}", size_of::<Told>());
}
