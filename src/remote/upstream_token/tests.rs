use std::sync::atomic::AtomicU32;

use futures_util::future::{BoxFuture, join_all};
use tokio::time::{advance, sleep};

use super::*;
use crate::remote::FetchError;
use crate::route::client::{Client, Proof};
use crate::route::grant::{Secret, TokenEndpoint};

const LIFE: Duration = Duration::from_secs(100);
const A: Digest = [1; 32];
const B: Digest = [2; 32];

/// Gives numbered tokens, slowly, and counts.
#[derive(Default)]
struct Fake {
    asked: AtomicU32,
    down: AtomicBool,
    subjects: Mutex<Vec<Option<String>>>,
}

struct FakeGiver(Arc<Fake>);

impl Giver for FakeGiver {
    fn obtain<'a>(&'a self, subject: Option<Token<'a>>) -> BoxFuture<'a, Result<Obtained, TokenError>> {
        Box::pin(async move {
            let number = self.0.asked.fetch_add(1, Ordering::SeqCst) + 1;
            self.0.subjects.lock().unwrap().push(subject.map(|token| token.as_str().to_owned()));
            sleep(Duration::from_millis(100)).await;
            match self.0.down.load(Ordering::SeqCst) {
                true => Err(TokenError::Fetch(FetchError::Unreachable)),
                false => Ok(Obtained { value: HeaderValue::from_str(&format!("Bearer {number}")).unwrap(), lifetime: LIFE }),
            }
        })
    }
}

fn source(kind: GrantKind) -> (Arc<Fake>, Arc<Source>) {
    let fake = Arc::new(Fake::default());
    let grant = Grant {
        kind,
        endpoint: TokenEndpoint::Url(String::new()),
        client: Client { id: String::new(), proof: Proof::Secret(Secret::new(String::new())) },
        scopes: vec![],
        resource: None,
        audience: None,
        timeout: LIFE,
        allow_http: false,
    };
    (fake.clone(), Arc::new(Source::new("up".into(), &grant, Box::new(FakeGiver(fake)))))
}

fn own() -> (Arc<Fake>, Arc<Source>) {
    source(GrantKind::ClientCredentials)
}

fn exchanged() -> (Arc<Fake>, Arc<Source>) {
    source(GrantKind::Exchange { actor: None })
}

fn caller(digest: Digest) -> Caller<'static> {
    Caller { digest, token: Some(Token::new(if digest == A { "token-a" } else { "token-b" }).unwrap()) }
}

async fn number(source: &Arc<Source>, digest: Digest) -> Option<String> {
    let value = source.header(caller(digest)).await.ok()?;
    Some(value.to_str().unwrap().trim_start_matches("Bearer ").to_owned())
}

/// Lets what was spawned come to its end.
async fn settle() {
    sleep(Duration::from_millis(200)).await;
}

fn asked(fake: &Fake) -> u32 {
    fake.asked.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn however_many_ask_at_once_one_request_is_made() {
    let (fake, source) = own();
    let all = join_all((0..50).map(|n| number(&source, if n % 2 == 0 { A } else { B }))).await;
    assert!(all.iter().all(|one| one.as_deref() == Some("1")), "{all:?}");
    assert_eq!(asked(&fake), 1);
    assert_eq!(*fake.subjects.lock().unwrap(), [None]);
}

#[tokio::test(start_paused = true)]
async fn item_101_an_exchanged_token_is_one_callers_alone() {
    let (fake, source) = exchanged();
    let all = join_all([A, B, A, B].map(|digest| number(&source, digest))).await;
    assert_eq!((&all[0], &all[1]), (&all[2], &all[3]));
    assert_ne!(all[0], all[1]);
    let mut subjects = fake.subjects.lock().unwrap().clone();
    subjects.sort();
    assert_eq!(subjects, [Some("token-a".to_owned()), Some("token-b".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_its_end_while_the_old_one_serves() {
    let (fake, source) = exchanged();
    assert_eq!(number(&source, A).await.as_deref(), Some("1"));
    advance(LIFE * 3 / 4).await;
    let begun = Instant::now();
    for _ in 0..3 {
        assert_eq!(number(&source, A).await.as_deref(), Some("1"));
    }
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody waited");
    settle().await;
    assert_eq!(number(&source, A).await.as_deref(), Some("2"));
    assert_eq!(asked(&fake), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_never_serves_beyond_its_end_even_where_no_other_can_be_had() {
    let (fake, source) = own();
    assert_eq!(number(&source, A).await.as_deref(), Some("1"));
    fake.down.store(true, Ordering::SeqCst);
    advance(LIFE * 3 / 4).await;
    assert_eq!(number(&source, A).await.as_deref(), Some("1"));
    settle().await;
    // The failed renewal is tried again, not with each request.
    let before = asked(&fake);
    for _ in 0..10 {
        assert_eq!(number(&source, A).await.as_deref(), Some("1"));
    }
    settle().await;
    assert_eq!(asked(&fake), before);
    advance(LIFE / 4).await;
    assert_eq!(number(&source, A).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_failure_answers_for_a_moment_and_no_longer() {
    let (fake, source) = own();
    fake.down.store(true, Ordering::SeqCst);
    let all = join_all((0..20).map(|_| number(&source, A))).await;
    assert!(all.iter().all(Option::is_none));
    assert_eq!(asked(&fake), 1);
    fake.down.store(false, Ordering::SeqCst);
    advance(PAUSE).await;
    assert_eq!(number(&source, A).await.as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_is_fetched_anew_once_and_not_in_a_circle() {
    let (fake, source) = own();
    let first = source.header(caller(A)).await.unwrap();
    source.reject(A, &first);
    let second = source.header(caller(A)).await.unwrap();
    assert_ne!(first, second);
    // Late news of the first one, and a server that accepts none.
    source.reject(A, &first);
    source.reject(A, &second);
    assert_eq!(source.header(caller(A)).await.unwrap(), second);
    assert_eq!(asked(&fake), 2);
    advance(REJECTIONS).await;
    source.reject(A, &second);
    assert_ne!(source.header(caller(A)).await.unwrap(), second);
}

#[tokio::test(start_paused = true)]
async fn one_callers_rejection_leaves_the_others_token_alone() {
    let (_, source) = exchanged();
    let (a, b) = (source.header(caller(A)).await.unwrap(), source.header(caller(B)).await.unwrap());
    source.reject(A, &b);
    assert_eq!(source.header(caller(A)).await.unwrap(), a);
    source.reject(A, &a);
    assert_eq!(source.header(caller(B)).await.unwrap(), b);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_callers_is_bounded() {
    let (_, source) = exchanged();
    join_all((0..KEPT * 2).map(|n| {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&n.to_le_bytes());
        let source = source.clone();
        async move { source.header(caller(digest)).await }
    }))
    .await;
    assert!(source.slots.len() <= KEPT + KEPT / 10, "{}", source.slots.len());
}
