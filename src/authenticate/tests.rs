use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::remote::fixture::{self, Site};
use crate::route::{Address, ListMode, Mode, Place, Reach, RouteLimits, Upstream};
use crate::token::Algorithm;
use crate::token::forge::{self, RESOURCE, Signer, claims, header, now, with, without};

/// As the pipeline does it.
async fn authenticate(
    token: Token<'_>,
    digest: Digest,
    route: &Route,
    issuers: &Issuers,
    cache: &TokenCache,
    now: SystemTime,
) -> Result<Arc<Verified>, Error> {
    match recall(&digest, route, issuers, cache, now) {
        Some(answer) => answer,
        None => prove(token, digest, route, issuers, cache, now).await,
    }
}

fn route(resource: &str, issuers: Vec<Arc<IssuerRules>>) -> Route {
    Route {
        name: "files".into(),
        resource: resource.into(),
        metadata_url: String::new(),
        metadata: bytes::Bytes::new(),
        issuers,
        policy: Default::default(),
        identity: Default::default(),
        upstream: Upstream {
            reach: Arc::new(Reach::to(Place { address: Address::Tcp { host: "127.0.0.1".into(), port: 1 }, authority: String::new() })),
            path: http::uri::PathAndQuery::from_static("/"),
            credential: None,
        },
        grant: None,
        mode: Mode::Enforce,
        list: ListMode::Granted,
        challenge: crate::route::ChallengeScopes::default(),
        origins: vec![],
        limits: RouteLimits { body: 1, per_client: None, per_subject: None, streams_per_subject: None, timeout: Duration::from_secs(1) },
        asks: Default::default(),
        sender: Default::default(),
        pin: None,
        protocol: Default::default(),
        approves_clients: false,
        recorded_arguments: Default::default(),
    }
}

/// A gateway with one issuer whose keys are served on loopback.
struct World {
    site: Arc<Site>,
    rules: Arc<IssuerRules>,
    issuers: Issuers,
    cache: TokenCache,
}

impl World {
    async fn new(keys: Vec<Value>) -> Self {
        Self::with(keys, forge::rules()).await
    }

    async fn with(keys: Vec<Value>, rules: IssuerRules) -> Self {
        let (origin, site) = Site::serve().await;
        site.put_keys("/keys", &keys);
        let rules = Arc::new(rules);
        let issuers = fixture::issuers(rules.clone(), format!("{origin}/keys"));
        Self { site, rules, issuers, cache: TokenCache::new(100, vec![]) }
    }

    fn publish(&self, keys: &[Value]) {
        self.site.put_keys("/keys", keys);
    }

    async fn ask(&self, token: &str, route: &Route, now: SystemTime) -> Result<Arc<Verified>, Error> {
        let token = Token::new(token).unwrap();
        authenticate(token, token.digest(), route, &self.issuers, &self.cache, now).await
    }

    fn recall(&self, token: &str, route: &Route) -> Option<Result<Arc<Verified>, Error>> {
        recall(&Token::new(token).unwrap().digest(), route, &self.issuers, &self.cache, now())
    }

    fn route(&self) -> Route {
        route(RESOURCE, vec![self.rules.clone()])
    }

    /// Since it was asked last.
    fn fetches(&self) -> usize {
        self.site.asked().len()
    }
}

fn token(signer: &Signer, kid: &str, claims: &Value) -> String {
    signer.token(Algorithm::ES256, &header(Algorithm::ES256, kid), claims)
}

#[tokio::test]
async fn a_token_is_verified_once_and_then_recalled() {
    let signer = Signer::new(Algorithm::ES256);
    let world = World::new(vec![signer.jwk("k")]).await;
    let (route, good) = (world.route(), token(&signer, "k", &claims()));
    assert!(world.recall(&good, &route).is_none());
    let first = world.ask(&good, &route, now()).await.unwrap();
    assert_eq!(first.principal.subject(), "alice");
    let again = world.recall(&good, &route).unwrap().unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    assert_eq!(world.fetches(), 1);
}

#[tokio::test]
async fn a_token_from_nowhere_causes_no_fetch() {
    let signer = Signer::new(Algorithm::ES256);
    let world = World::new(vec![signer.jwk("k")]).await;
    let route = world.route();
    for (claims, error) in [
        (with(claims(), "iss", json!("https://evil.example")), Error::Issuer),
        (with(claims(), "exp", json!(1)), Error::Expired),
        (without(claims(), "sub"), Error::MissingClaim("sub")),
    ] {
        assert_eq!(world.ask(&token(&signer, "k", &claims), &route, now()).await.err(), Some(error));
    }
    let jku = with(header(Algorithm::ES256, "k"), "jku", json!("http://127.0.0.1:9/keys"));
    assert_eq!(world.ask(&signer.token(Algorithm::ES256, &jku, &claims()), &route, now()).await.err(), Some(Error::Header));
    assert_eq!(world.ask("opaque", &route, now()).await.err(), Some(Error::NotJwt));
    assert_eq!((world.fetches(), world.cache.len()), (0, 0));
}

#[tokio::test]
async fn a_forged_token_is_not_remembered() {
    let (signer, rogue) = (Signer::new(Algorithm::ES256), Signer::new(Algorithm::ES256));
    let world = World::new(vec![signer.jwk("k")]).await;
    assert_eq!(world.ask(&token(&rogue, "k", &claims()), &world.route(), now()).await.err(), Some(Error::Signature));
    assert!(world.cache.is_empty());
}

#[tokio::test]
async fn a_new_key_is_learnt_and_an_unknown_one_refused() {
    let (old, new) = (Signer::new(Algorithm::ES256), Signer::new(Algorithm::ES256));
    let world = World::new(vec![old.jwk("old")]).await;
    let route = world.route();
    assert!(world.ask(&token(&old, "old", &claims()), &route, now()).await.is_ok());
    world.publish(&[old.jwk("old"), new.jwk("new")]);
    assert!(world.ask(&token(&new, "new", &claims()), &route, now()).await.is_ok());
    assert_eq!(world.fetches(), 2);
    for kid in ["nope", "../../../../dev/null", "x' OR '1'='1"] {
        assert_eq!(world.ask(&token(&new, kid, &claims()), &route, now()).await.err(), Some(Error::UnknownKey), "{kid}");
    }
}

#[tokio::test]
async fn a_new_key_is_learnt_for_a_token_without_kid_too() {
    let (old, new) = (Signer::new(Algorithm::ES256), Signer::new(Algorithm::ES256));
    let world = World::new(vec![old.jwk("old")]).await;
    let (route, head) = (world.route(), without(header(Algorithm::ES256, ""), "kid"));
    assert!(world.ask(&old.token(Algorithm::ES256, &head, &claims()), &route, now()).await.is_ok());
    let fresh = new.token(Algorithm::ES256, &head, &claims());
    assert_eq!(world.ask(&fresh, &route, now()).await.err(), Some(Error::Signature));
    world.publish(&[old.jwk("old"), new.jwk("new")]);
    assert!(world.ask(&fresh, &route, now()).await.is_ok());
}

#[tokio::test]
async fn a_key_of_another_algorithm_does_not_verify() {
    let signer = Signer::new(Algorithm::ES256);
    let world = World::new(vec![signer.jwk("k"), Signer::rsa().jwk("r")]).await;
    assert_eq!(world.ask(&token(&signer, "r", &claims()), &world.route(), now()).await.err(), Some(Error::UnknownKey));
}

#[tokio::test]
async fn a_remembered_token_expires() {
    let signer = Signer::new(Algorithm::ES256);
    let world = World::new(vec![signer.jwk("k")]).await;
    let (route, good) = (world.route(), token(&signer, "k", &claims()));
    assert!(world.ask(&good, &route, now()).await.is_ok());
    let (last, gone) = (now() + Duration::from_secs(629), now() + Duration::from_secs(630));
    assert!(world.ask(&good, &route, last).await.is_ok());
    assert_eq!(world.ask(&good, &route, gone).await.err(), Some(Error::Expired));
    assert!(world.cache.is_empty());
    assert_eq!(world.ask(&good, &route, gone).await.err(), Some(Error::Expired));
}

#[tokio::test]
async fn a_remembered_token_dies_with_its_key() {
    let (old, new) = (Signer::new(Algorithm::ES256), Signer::new(Algorithm::ES256));
    let world = World::new(vec![old.jwk("old")]).await;
    let (route, good) = (world.route(), token(&old, "old", &claims()));
    assert!(world.ask(&good, &route, now()).await.is_ok());
    world.publish(&[new.jwk("new")]);
    assert!(world.ask(&token(&new, "new", &claims()), &route, now()).await.is_ok());
    assert!(world.recall(&good, &route).is_none());
    assert_eq!(world.ask(&good, &route, now()).await.err(), Some(Error::UnknownKey));
}

#[tokio::test]
async fn a_token_remembered_under_other_rules_proves_nothing() {
    let signer = Signer::new(Algorithm::ES256);
    let world = World::new(vec![signer.jwk("k")]).await;
    let good = token(&signer, "k", &claims());
    assert!(world.ask(&good, &world.route(), now()).await.is_ok());
    // The same rules after a reload, elsewhere in memory.
    let same = route(RESOURCE, vec![Arc::new(forge::rules())]);
    assert!(world.recall(&good, &same).is_some());
    let stricter = route(RESOURCE, vec![Arc::new(IssuerRules { required_claims: vec!["org".into()], ..forge::rules() })]);
    assert!(world.recall(&good, &stricter).is_none());
    assert_eq!(world.ask(&good, &stricter, now()).await.err(), Some(Error::MissingClaim("required_claims")));
    let closed = route(RESOURCE, vec![]);
    assert_eq!(world.ask(&good, &closed, now()).await.err(), Some(Error::Issuer));
}

#[tokio::test]
async fn the_audience_is_the_routes_own_resource_with_or_without_a_slash() {
    let signer = Signer::new(Algorithm::ES256);
    let world = World::new(vec![signer.jwk("k")]).await;
    let route = world.route();
    for (aud, good) in [
        (json!(RESOURCE), true),
        (json!(format!("{RESOURCE}/")), true),
        (json!(["https://other.example", RESOURCE]), true),
        (json!(format!("{RESOURCE}//")), false),
        (json!("https://mcp.example.com"), false),
        (json!("https://mcp.example.com/files/x"), false),
        (json!("https://mcp.example.com/file"), false),
        (json!([]), false),
    ] {
        let answer = world.ask(&token(&signer, "k", &with(claims(), "aud", aud.clone())), &route, now()).await;
        assert_eq!(answer.err(), (!good).then_some(Error::Audience), "{aud}");
    }
}

#[tokio::test]
async fn a_token_for_one_route_is_refused_at_another_from_memory_too() {
    let signer = Signer::new(Algorithm::ES256);
    let world = World::new(vec![signer.jwk("k")]).await;
    let other = route("https://mcp.example.com/mail", vec![world.rules.clone()]);
    let good = token(&signer, "k", &claims());
    assert_eq!(world.ask(&good, &other, now()).await.err(), Some(Error::Audience));
    assert!(world.ask(&good, &world.route(), now()).await.is_ok());
    assert_eq!(world.recall(&good, &other).map(Result::err), Some(Some(Error::Audience)));
}

#[tokio::test]
async fn a_configured_audience_replaces_the_resource() {
    let signer = Signer::new(Algorithm::ES256);
    let rules = IssuerRules { audience: vec!["api://files".into()], ..forge::rules() };
    let world = World::with(vec![signer.jwk("k")], rules).await;
    let route = world.route();
    assert!(world.ask(&token(&signer, "k", &with(claims(), "aud", json!("api://files"))), &route, now()).await.is_ok());
    for aud in [RESOURCE, "api://files/"] {
        let answer = world.ask(&token(&signer, "k", &with(claims(), "aud", json!(aud))), &route, now()).await;
        assert_eq!(answer.err(), Some(Error::Audience), "{aud}");
    }
}

#[tokio::test]
async fn without_keys_nothing_passes() {
    let signer = Signer::new(Algorithm::ES256);
    let world = World::new(vec![]).await;
    assert_eq!(world.ask(&token(&signer, "k", &claims()), &world.route(), now()).await.err(), Some(Error::KeysUnavailable));
}

#[test]
fn the_future_may_move_between_threads() {
    fn is_send<T: Send>(_: fn() -> T) {}
    fn future() -> impl Future + Send {
        async {
            let (token, cache, issuers) = (Token::new("a").unwrap(), TokenCache::new(1, vec![]), Issuers::default());
            let route = route(RESOURCE, vec![]);
            authenticate(token, token.digest(), &route, &issuers, &cache, now()).await.map(|_| ())
        }
    }
    is_send(future);
}
