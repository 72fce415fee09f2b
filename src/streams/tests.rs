use std::time::Duration;

use super::*;
use crate::principal::Proof;

fn holder(upstream: &str, issuer: &str, subject: &str, client: &str) -> Holder {
    let proof = Proof { issuer: issuer.into(), subject: subject.into(), client: Some(client.into()), ..Proof::default() };
    Holder { upstream: upstream.into(), who: Arc::new(Principal::new(proof)) }
}

fn hit(upstream: &str, issuer: Option<&str>) -> Hit {
    Hit { upstream: upstream.into(), issuer: issuer.map(Into::into) }
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
    for (hit, means) in [
        (hit("up", None), true),
        (hit("crm", None), false),
        (hit("up", Some("https://a")), true),
        (hit("up", Some("https://b")), false),
        (hit("crm", Some("https://a")), false),
    ] {
        let streams = Arc::new(Streams::default());
        let now = Instant::now();
        let open = streams.listen(alice(), None, now).expect("a place");
        assert_eq!(is_ended(&open), None);
        let name = format!("{hit:?}");
        assert_eq!(streams.end(hit.clone(), "reload", now), usize::from(means), "{name}");
        assert_eq!(is_ended(&open), means.then_some("reload"), "{name}");
        assert_eq!(streams.end(hit, "again", now), 0, "an end is counted once: {name}");
    }
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
    assert_eq!(streams.end(hit("up", None), "reload", Instant::now()), 1_000);
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
    streams.end(hit("up", None), "reload", at(5));
    assert_eq!(is_ended(&streams.answer(alice(), at(4))), Some("reload"));
    assert_eq!(is_ended(&streams.answer(alice(), at(6))), None, "a request that came later was judged anew");
    assert_eq!(is_ended(&streams.answer(holder("crm", "https://a", "alice", "app"), at(4))), None);
    // SECURITY: what is remembered no more might have meant it.
    for n in 0..2 * REMEMBERED {
        streams.end(hit(&n.to_string(), None), "reload", at(10));
    }
    assert!(streams.0.lock().ended.len() <= REMEMBERED);
    assert_eq!(is_ended(&streams.answer(alice(), at(9))), Some("reload"));
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
    streams.end(hit("up", None), "reload", Instant::now());
    assert_eq!(waiting.await.expect("it ends"), "reload");
    assert_eq!(open.ended().await, "reload");
}

#[test]
fn a_stream_costs_a_few_words() {
    assert!(size_of::<Open>() <= 24, "{}", size_of::<Open>());
    assert!(size_of::<Entry>() <= 56, "{}", size_of::<Entry>());
    assert!(size_of::<Told>() <= 64, "{}", size_of::<Told>());
}
