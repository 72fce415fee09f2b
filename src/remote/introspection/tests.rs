use std::sync::atomic::AtomicUsize;

use serde_json::json;
use tokio::sync::Notify;

use super::*;
use crate::route::client::{Client, Proof};
use crate::route::grant::Secret;
use crate::token::forge::now;

/// An issuer that says what it is told to, and counts.
#[derive(Default)]
struct Fake {
    asked: Mutex<Vec<String>>,
    says: Mutex<Option<Result<Answer, FetchError>>>,
    /// No answer before somebody lets it.
    held: Option<Notify>,
    most_at_once: AtomicUsize,
    at_once: AtomicUsize,
}

impl Fake {
    fn says(&self, answer: Result<Answer, FetchError>) {
        *self.says.lock().unwrap() = Some(answer);
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

struct Shared(Arc<Fake>);

impl Oracle for Shared {
    fn ask<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Answer, FetchError>> {
        Box::pin(async move {
            let fake = &self.0;
            fake.asked.lock().unwrap().push(token.to_owned());
            let at_once = fake.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            fake.most_at_once.fetch_max(at_once, Ordering::SeqCst);
            let _over = Over(fake);
            match &fake.held {
                Some(held) => held.notified().await,
                None => tokio::task::yield_now().await,
            }
            fake.says.lock().unwrap().clone().unwrap_or_else(|| Ok(about(token)))
        })
    }
}

/// Ends one question, answered or given up.
struct Over<'a>(&'a Fake);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Tokens that begin with `good` are.
fn about(token: &str) -> Answer {
    let text = if token.starts_with("good") { json!({"active": true, "sub": token}) } else { json!({"active": false}) };
    Answer::parse(text.to_string().as_bytes()).unwrap()
}

fn asked() -> Introspection {
    Introspection {
        endpoint: Endpoint::Discovery,
        client: Client { id: "doorward".into(), proof: Proof::Secret(Secret::new("x".into())) },
        timeout: Duration::from_millis(200),
        answers: AnswerRules { cache: Duration::from_secs(30), allow_missing_audience: false },
        only: false,
    }
}

fn start(fake: Fake) -> (Arc<Introspector>, Arc<Fake>) {
    let fake = Arc::new(fake);
    (Introspector::new("corp", Box::new(Shared(fake.clone())), &asked(), Arc::default()), fake)
}

async fn ask(introspector: &Arc<Introspector>, token: &str) -> Result<Arc<Answer>, Error> {
    let token = Token::new(token).unwrap();
    introspector.ask(token, token.digest(), now()).await.map(|told| told.answer)
}

fn counted(introspector: &Introspector, result: &str) -> u64 {
    introspector.counts().into_iter().find(|(name, _)| *name == result).unwrap().1
}

#[tokio::test]
async fn all_who_wait_for_one_token_share_one_question() {
    let (introspector, fake) = start(Fake { held: Some(Notify::new()), ..Fake::default() });
    let all = futures_util::future::join_all((0..50).map(|_| ask(&introspector, "good")));
    let release = async {
        while fake.asked() == 0 {
            tokio::task::yield_now().await;
        }
        fake.held.as_ref().unwrap().notify_one();
    };
    let (answers, ()) = tokio::join!(all, release);
    assert!(answers.into_iter().all(|answer| answer == Ok(Arc::new(about("good")))));
    assert_eq!(fake.asked(), 1);
}

#[tokio::test]
async fn each_token_gets_the_answer_about_itself() {
    let (introspector, fake) = start(Fake::default());
    let names: Vec<String> = (0..200).map(|n| format!("good-{n}")).collect();
    let answers = futures_util::future::join_all(names.iter().map(|name| ask(&introspector, name))).await;
    for (name, answer) in names.iter().zip(answers) {
        assert_eq!(answer, Ok(Arc::new(about(name))));
    }
    assert!(fake.most_at_once.load(Ordering::SeqCst) <= AT_ONCE);
}

#[tokio::test]
async fn a_made_up_token_is_asked_about_once_and_then_refused_from_memory() {
    let (introspector, fake) = start(Fake::default());
    assert_eq!(ask(&introspector, "bad").await, Ok(Arc::new(Answer::Inactive)));
    for _ in 0..100 {
        assert_eq!(ask(&introspector, "bad").await, Err(Error::Inactive));
    }
    assert_eq!((fake.asked(), counted(&introspector, "cached")), (1, 100));
}

#[tokio::test]
async fn ten_thousand_made_up_tokens_cost_a_bounded_number_of_questions_and_hold_no_good_one_up() {
    let (introspector, fake) = start(Fake::default());
    assert!(ask(&introspector, "good").await.is_ok());
    let begun = Instant::now();
    for n in 0..10_000 {
        match ask(&introspector, &format!("bad-{n}")).await {
            Ok(answer) => assert_eq!(*answer, Answer::Inactive),
            Err(error) => assert_eq!(error, Error::IntrospectionUnavailable),
        }
    }
    let trickle = begun.elapsed().as_millis() as usize / 50 + 1;
    assert!(fake.asked() <= 1 + 256 + trickle, "{} questions, {trickle} by time", fake.asked());
    assert!(introspector.refusals.len() <= REFUSALS && introspector.flights().is_empty());
    assert_eq!(ask(&introspector, "good").await, Ok(Arc::new(about("good"))));
}

#[tokio::test]
async fn c_03_an_outage_is_told_within_the_timeout_and_then_at_once() {
    let (introspector, fake) = start(Fake { held: Some(Notify::new()), ..Fake::default() });
    let begun = Instant::now();
    assert_eq!(ask(&introspector, "good").await, Err(Error::IntrospectionUnavailable));
    assert!(begun.elapsed() >= Duration::from_millis(200));
    let (introspector, down) = start(Fake::default());
    down.says(Err(FetchError::Unreachable));
    for n in 0..1_000 {
        assert_eq!(ask(&introspector, &format!("good-{n}")).await, Err(Error::IntrospectionUnavailable));
    }
    assert!(down.asked() <= 8, "{}", down.asked());
    assert!(counted(&introspector, "refused_open") >= 990);
    assert_eq!(fake.asked(), 1);
}

#[tokio::test]
async fn a_stranger_who_makes_the_issuer_answer_400_does_not_shut_it_for_others() {
    let (introspector, fake) = start(Fake::default());
    for (n, status) in [400, 413, 414, 422, 431].into_iter().cycle().take(50).enumerate() {
        fake.says(Err(FetchError::Status(status)));
        assert_eq!(ask(&introspector, &format!("odd-{n}")).await, Err(Error::IntrospectionUnavailable));
    }
    *fake.says.lock().unwrap() = None;
    assert!(ask(&introspector, "good").await.is_ok());
    // The odd one is not asked about again and again.
    let before = fake.asked();
    assert_eq!(ask(&introspector, "odd-1").await, Err(Error::IntrospectionUnavailable));
    assert_eq!(fake.asked(), before);
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_nothing_with_it() {
    let (introspector, fake) = start(Fake { held: Some(Notify::new()), ..Fake::default() });
    let gone = tokio::time::timeout(Duration::from_millis(20), ask(&introspector, "good")).await;
    assert!(gone.is_err());
    let answer = async {
        while fake.asked() == 0 {
            tokio::task::yield_now().await;
        }
        fake.held.as_ref().unwrap().notify_one();
    };
    let (answered, ()) = tokio::join!(ask(&introspector, "good"), answer);
    assert!(answered.is_ok());
    assert_eq!(fake.asked(), 1);
}

#[tokio::test]
async fn questions_under_way_are_bounded() {
    let (introspector, fake) = start(Fake { held: Some(Notify::new()), ..Fake::default() });
    let names: Vec<String> = (0..IN_ALL + 100).map(|n| format!("good-{n}")).collect();
    let answers = futures_util::future::join_all(names.iter().map(|name| ask(&introspector, name))).await;
    assert!(answers.into_iter().all(|answer| answer == Err(Error::IntrospectionUnavailable)));
    assert_eq!(counted(&introspector, "refused_busy"), 100);
    assert_eq!(fake.most_at_once.load(Ordering::SeqCst), AT_ONCE);
    assert!(introspector.flights().is_empty());
}
