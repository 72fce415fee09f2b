use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::*;

/// What a site answers: status, headers, body.
type Page = (u16, Vec<(&'static str, String)>, String);

/// A site on loopback that answers everything alike, and counts.
struct Site {
    origin: String,
    page: Mutex<Page>,
    asked: AtomicUsize,
}

impl Site {
    async fn serve() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let site = Arc::new(Self { origin, page: Mutex::new((404, vec![], String::new())), asked: AtomicUsize::new(0) });
        let app = Router::new().fallback({
            let site = site.clone();
            move |_: Uri| async move {
                site.asked.fetch_add(1, Ordering::Relaxed);
                let (status, headers, body) = site.page.lock().expect("a lock").clone();
                let mut answer = (StatusCode::from_u16(status).expect("a status"), body).into_response();
                for (name, value) in headers {
                    answer.headers_mut().insert(name, value.parse().expect("a value"));
                }
                answer
            }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        site
    }

    fn put(&self, status: u16, headers: &[(&'static str, &str)], body: impl ToString) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        *self.page.lock().expect("a lock") = (status, headers, body.to_string());
    }

    fn url(&self) -> DocumentUrl {
        DocumentUrl::parse(&format!("{}/client.json", self.origin), true).expect("a URL")
    }

    fn document(&self) -> Value {
        json!({ "client_id": self.url().url().as_str(), "client_name": "Acme", "redirect_uris": ["http://127.0.0.1/cb"] })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");
const OPEN: Reach = Reach { loopback: true, networks: vec![] };
const NEVER: Freshness = Freshness { least: Duration::ZERO, most: Duration::from_secs(3600), silent: Duration::ZERO };

fn documents(reach: Reach, freshness: Freshness, lookup: Lookup) -> ClientDocuments {
    super::super::fixture::http();
    ClientDocuments::with(reach, freshness, lookup).expect("a client")
}

/// A name server that answers in turn, and counts.
fn names(answers: Vec<Vec<SocketAddr>>) -> (Lookup, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let asked = count.clone();
    let lookup = move |_: String| -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> {
        let turn = asked.fetch_add(1, Ordering::Relaxed);
        let answer = answers.get(turn % answers.len()).cloned().unwrap_or_default();
        Box::pin(async move { Ok(answer) })
    };
    (Arc::new(lookup), count)
}

fn nobody() -> Lookup {
    names(vec![vec![]]).0
}

#[tokio::test]
async fn item_122_what_is_not_one_sound_document_is_an_error_and_is_not_kept() {
    let site = Site::serve().await;
    let documents = documents(OPEN, Freshness::default(), nobody());
    let sound = site.document();
    let mut other = sound.clone();
    other["client_id"] = json!(format!("{}x", site.url().url()));
    let large = format!("{sound}{}", " ".repeat(LARGEST));
    let media = |kind: &str| DocumentError::Fetch(FetchError::MediaType(kind.into()));
    for (status, headers, body, error) in [
        (301, vec![JSON, ("location", "/elsewhere")], sound.to_string(), DocumentError::Fetch(FetchError::Status(301))),
        (302, vec![JSON, ("location", "/elsewhere")], sound.to_string(), DocumentError::Fetch(FetchError::Status(302))),
        (404, vec![JSON], sound.to_string(), DocumentError::Fetch(FetchError::Status(404))),
        (500, vec![JSON], sound.to_string(), DocumentError::Fetch(FetchError::Status(500))),
        (201, vec![JSON], sound.to_string(), DocumentError::Fetch(FetchError::Status(201))),
        (200, vec![("content-type", "text/html")], sound.to_string(), media("text/html")),
        (200, vec![JSON], large, DocumentError::Fetch(FetchError::TooLarge)),
        (200, vec![JSON], "{".into(), DocumentError::Document(DocumentFault::Metadata(crate::oauth::registration::Fault::Object))),
        (200, vec![JSON], other.to_string(), DocumentError::Document(DocumentFault::Other)),
    ] {
        site.put(status, &headers, body);
        let before = site.asked();
        assert_eq!(documents.get(&site.url()).await.expect_err("no document"), error);
        assert_eq!(site.asked(), before + 1, "nobody is followed, and no error is kept: {error:?}");
    }
    site.put(200, &[("content-type", "application/x+json; charset=utf-8")], &sound);
    assert_eq!(documents.get(&site.url()).await.expect("a document").name(), "Acme");
}

#[tokio::test]
async fn item_123_no_connection_is_made_to_addresses_for_special_use() {
    let site = Site::serve().await;
    site.put(200, &[JSON], site.document());
    let port = site.origin.rsplit(':').next().expect("a port");
    let closed = documents(Reach::default(), NEVER, nobody());
    for host in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "169.254.169.254", "[fc00::1]"] {
        let url = DocumentUrl::parse(&format!("https://{host}:{port}/client.json"), false);
        // The mapped form is not how a URL is written, which is refused before.
        let Ok(url) = url else { continue };
        assert_eq!(closed.get(&url).await.expect_err(host), DocumentError::Fetch(FetchError::Special), "{host}");
    }
    let local: SocketAddr = format!("127.0.0.1:{port}").parse().expect("an address");
    let public: SocketAddr = "93.184.215.14:0".parse().expect("an address");
    let mapped: SocketAddr = format!("[::ffff:127.0.0.1]:{port}").parse().expect("an address");
    for answer in [vec![local], vec![public, local], vec![mapped], vec![]] {
        let (lookup, count) = names(vec![answer.clone()]);
        let closed = documents(Reach::default(), NEVER, lookup);
        let url = DocumentUrl::parse(&format!("https://app.example:{port}/client.json"), false).expect("a URL");
        assert_eq!(closed.get(&url).await.expect_err("closed"), DocumentError::Fetch(FetchError::Special), "{answer:?}");
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }
    assert_eq!(site.asked(), 0);
}

#[tokio::test]
async fn item_123_a_name_is_looked_up_once_so_that_it_cannot_be_rebound() {
    let site = Site::serve().await;
    site.put(200, &[JSON], json!({}));
    let local: SocketAddr = site.origin.strip_prefix("http://").expect("an origin").parse().expect("an address");
    // What is judged is allowed; whoever looked again would be led elsewhere.
    let reach = Reach { loopback: false, networks: vec!["127.0.0.1/32".parse().expect("a network")] };
    let (lookup, count) = names(vec![vec![local], vec!["127.0.0.2:1".parse().expect("an address")]]);
    let documents = documents(reach, NEVER, lookup);
    let url = Url::parse(&format!("http://app.example:{}/client.json", local.port())).expect("a URL");
    documents.fetch(&url, LARGEST).await.expect("the judged address answers");
    assert_eq!((site.asked(), count.load(Ordering::Relaxed)), (1, 1));
    assert_eq!(documents.fetch(&url, LARGEST).await.expect_err("closed"), FetchError::Special);
    assert_eq!(site.asked(), 1);
}

#[tokio::test]
async fn item_126_a_document_is_kept_as_long_as_its_headers_say_within_bounds() {
    let site = Site::serve().await;
    let kept = documents(OPEN, NEVER, nobody());
    site.put(200, &[JSON, ("cache-control", "public, max-age=600")], site.document());
    let first = kept.get(&site.url()).await.expect("a document");
    let mut changed = site.document();
    changed["redirect_uris"] = json!(["http://127.0.0.1/other"]);
    site.put(200, &[JSON, ("cache-control", "no-store")], &changed);
    assert_eq!(kept.get(&site.url()).await.expect("a document"), first);
    assert_eq!(site.asked(), 1);
    let fresh = documents(OPEN, NEVER, nobody());
    let now = fresh.get(&site.url()).await.expect("a document");
    assert_ne!(now.fingerprint(), first.fingerprint(), "a consent to the one is none to the other");
    fresh.get(&site.url()).await.expect("a document");
    assert_eq!(site.asked(), 3);
}

#[test]
fn item_126_freshness_is_bounded_and_old_age_counts() {
    let of = |headers: &[(&'static str, &str)]| {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(*name, value.parse().expect("a value"));
        }
        Freshness::default().of(fresh(&all)).as_secs()
    };
    assert_eq!(of(&[]), 300);
    assert_eq!(of(&[("cache-control", "max-age=3600")]), 3600);
    assert_eq!(of(&[("cache-control", "max-age=3600"), ("age", "600")]), 3000);
    assert_eq!(of(&[("cache-control", "max-age=10, s-maxage=7200")]), 7200);
    assert_eq!(of(&[("cache-control", "Public, Max-Age=\"900\"")]), 900);
    assert_eq!(of(&[("cache-control", "max-age=999999999")]), 24 * 3600);
    for short in ["max-age=0", "no-store", "no-cache, max-age=3600", "max-age=5"] {
        assert_eq!(of(&[("cache-control", short)]), 60, "{short}");
    }
}

#[tokio::test]
async fn item_127_key_sets_at_private_addresses_are_never_fetched_and_logos_not_at_all() {
    let site = Site::serve().await;
    let closed = documents(Reach::default(), NEVER, nobody());
    let port = site.origin.rsplit(':').next().expect("a port");
    for place in [format!("https://127.0.0.1:{port}/keys"), "https://169.254.169.254/keys".to_owned()] {
        assert_eq!(closed.keys(&place, |_| true).await.expect_err("closed"), FetchError::Special, "{place}");
    }
    assert!(closed.keys(&format!("{}/keys", site.origin), |_| true).await.is_err(), "plain http");
    let mut document = site.document();
    document["logo_uri"] = json!(format!("https://127.0.0.1:{port}/logo.png"));
    site.put(200, &[JSON], document);
    documents(OPEN, NEVER, nobody()).get(&site.url()).await.expect("a document");
    assert_eq!(site.asked(), 1);
}

#[tokio::test]
async fn a_key_set_is_fetched_anew_for_a_key_that_it_lacks_but_not_again_and_again() {
    let site = Site::serve().await;
    let key = crate::token::forge::Signer::new(crate::token::Algorithm::ES256).jwk("1");
    site.put(200, &[JSON], json!({ "keys": [key] }));
    let documents = documents(OPEN, NEVER, nobody());
    let place = format!("{}/keys", site.origin);
    assert_eq!(documents.keys(&place, |keys| keys.len() == 1).await.expect("keys").len(), 1);
    for _ in 0..3 {
        documents.keys(&place, |_| false).await.expect("what is held");
    }
    assert_eq!(site.asked(), 1);
}
