//! Two replicas on one PostgreSQL are one authorization server: no step of a sign-in needs the replica of the step before
//! (issue 6, item 8), and what is used once at one is used at the other.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};

use serde_json::{Value, json};

use crate::authorization_flow::{Scene, configure};
use crate::support::gateway::{Gateway, free_port};
use crate::support::postgres::Postgres;
use crate::support::provider::{Browser, Provider};
use crate::support::{Setup, eventually};

const AGENT: &str = "https://agent.example/cb";

/// What stands before the replicas: hands each connection to the one that was named last.
struct Balancer {
    to: Arc<AtomicU16>,
}

impl Balancer {
    async fn start(port: u16, first: u16) -> Self {
        let to = Arc::new(AtomicU16::new(first));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let target = to.clone();
        tokio::spawn(async move {
            loop {
                let (mut from, _) = listener.accept().await.unwrap();
                let port = target.load(SeqCst);
                tokio::spawn(async move {
                    let mut replica = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut from, &mut replica).await;
                });
            }
        });
        Self { to }
    }
}

/// Two replicas behind one origin.
struct Pair {
    scene: Scene,
    balancer: Balancer,
    ports: [u16; 2],
    http: reqwest::Client,
    other: Gateway,
    _folder: tempfile::TempDir,
    _postgres: Postgres,
}

/// Every request is a connection of its own, so that the balancer decides on each.
fn client() -> reqwest::Client {
    crate::support::client::builder().tls_certs_only([]).pool_max_idle_per_host(0).build().unwrap()
}

async fn pair(change: impl FnOnce(&mut Value)) -> Pair {
    let (postgres, idp, http) = (Postgres::start().await, Provider::start().await, client());
    let mut setup = Setup::new().await;
    let (folder, public) = (setup.folder.path().to_owned(), free_port());
    configure(&mut setup.config, &folder, &idp, |_, _, _| {});
    let [url, seals] = ["store-url", "seals"].map(|name| folder.join(name));
    std::fs::write(&url, postgres.url()).unwrap();
    std::fs::write(&seals, "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n").unwrap();
    for file in [&url, &seals] {
        std::fs::set_permissions(file, PermissionsExt::from_mode(0o600)).unwrap();
    }
    setup.config["store"] = json!({"url_file": url});
    setup.config["public_url"] = json!(format!("http://127.0.0.1:{public}"));
    setup.config["authorization_server"]["key_file"] = json!(seals);
    change(&mut setup.config);
    let (own, ports) = (tempfile::tempdir().unwrap(), [setup.port, free_port()]);
    let mut config = setup.config.clone();
    config["listen"][0]["address"] = json!(format!("127.0.0.1:{}", ports[1]));
    config["admin"]["address"] = json!(format!("127.0.0.1:{}", free_port()));
    config["audit"]["file"] = json!(own.path().join("audit.jsonl"));
    let balancer = Balancer::start(public, ports[0]).await;
    // Both at once: the tables and the first key are made by one of them.
    let (world, other) = tokio::join!(setup.start_with(http.clone()), Gateway::start(own.path(), &config, &http));
    Pair { scene: Scene { world, idp }, balancer, ports, http, other, _folder: own, _postgres: postgres }
}

impl Pair {
    /// From here on the first replica answers.
    fn at_a(&self) -> &Scene {
        self.balancer.to.store(self.ports[0], SeqCst);
        &self.scene
    }

    /// From here on the second replica answers.
    fn at_b(&self) -> &Scene {
        self.balancer.to.store(self.ports[1], SeqCst);
        &self.scene
    }

    fn browser(&self) -> Browser {
        Browser::with(&self.scene.world.origin, self.http.clone())
    }

    async fn calls(&self, token: &str) -> u16 {
        self.scene.world.tool("read_file").token(token).send().await.status
    }

    async fn refresh(&self, client: &str, token: &str) -> (u16, Value) {
        self.scene.token(&[("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", token)]).await
    }

    /// A code, each step towards which was another replica's.
    async fn code(&self, client: &str) -> String {
        let browser = self.browser();
        let page = browser.get(&self.at_a().authorize(client, AGENT, &[])).await;
        self.at_b();
        let out = browser.post("/doorward/consent", &[("ticket", &page.is(200).ticket()), ("allow", "oidc")]).await;
        let there = browser.get(&out.is(303).location()).await;
        self.at_a();
        browser.get(&there.location()).await.is(303).said("code").unwrap()
    }

    /// Registered at the first, and signed in.
    async fn signed_in(&self) -> (String, Value) {
        let client = self.at_a().register("Agent", &[AGENT]).await;
        let code = self.code(&client).await;
        let (status, answer) = self.at_b().redeem(&client, AGENT, &code).await;
        assert_eq!(status, 200, "{answer}");
        (client, answer)
    }
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or_else(|| panic!("no {name}: {answer}")).to_owned()
}

#[tokio::test]
async fn issue_6_8_each_step_of_a_sign_in_may_be_another_replicas_and_both_take_the_token() {
    let pair = pair(|_| {}).await;
    let (client, answer) = pair.signed_in().await;
    let token = text(&answer, "access_token");
    pair.at_b();
    assert_eq!(pair.calls(&token).await, 200);
    pair.at_a();
    assert_eq!(pair.calls(&token).await, 200);
    // A person who signed in through one is signed in at the other, and sees there what is connected.
    let browser = pair.browser();
    pair.at_a().agrees(&browser, &pair.scene.authorize(&client, AGENT, &[("prompt", "consent")])).await.is(303);
    pair.at_b();
    let page = browser.get("/doorward/connected").await;
    assert!(page.is(200).text.contains("Agent"), "{}", page.text);
    // The yes is remembered at both.
    assert!(browser.get(&pair.scene.authorize(&client, AGENT, &[])).await.is(303).said("code").is_some());
}

#[tokio::test]
async fn issue_6_8_a_client_that_registered_at_one_is_changed_and_used_at_the_other_at_once() {
    let pair = pair(|_| {}).await;
    let browser = pair.browser();
    for _ in 0..5 {
        let client = pair.at_a().register("Agent", &[AGENT]).await;
        browser.get(&pair.at_b().authorize(&client, AGENT, &[])).await.is(200);
        let client = pair.at_b().register("Agent", &[AGENT]).await;
        browser.get(&pair.at_a().authorize(&client, AGENT, &[])).await.is(200);
    }
}

#[tokio::test]
async fn issue_6_8_a_client_that_was_approved_and_suspended_is_so_at_both() {
    let pair = pair(|config| config["authorization_server"]["registration"]["dynamic"] = json!("approval")).await;
    let client = pair.at_a().register("Agent", &[AGENT]).await;
    let browser = pair.browser();
    let page = browser.get(&pair.at_b().authorize(&client, AGENT, &[])).await;
    let code = page.is(403).text.split(r#"<p class="code"><code>"#).nth(1).unwrap()[..8].to_owned();
    let config = pair.scene.world.gateway.config_file.display().to_string();
    let decide = async |what: &str| {
        let output = crate::support::gateway::run(&["clients", what, &code, "--config", &config, "--reason", "t", "--by", "mia"]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    decide("approve").await;
    let url = pair.scene.authorize(&client, AGENT, &[]);
    for replica in [Pair::at_a, Pair::at_b] {
        replica(&pair);
        eventually("the approval", async || (browser.get(&url).await.status == 200).then_some(())).await;
    }
    let granted = pair.code(&client).await;
    let (status, answer) = pair.at_b().redeem(&client, AGENT, &granted).await;
    assert_eq!(status, 200, "{answer}");
    decide("suspend").await;
    for replica in [Pair::at_a, Pair::at_b] {
        replica(&pair);
        eventually("the suspension", async || (pair.calls(&text(&answer, "access_token")).await == 403).then_some(())).await;
        let (status, said) = pair.refresh(&client, &text(&answer, "refresh_token")).await;
        assert_eq!((status, &said["error"]), (400, &json!("unauthorized_client")), "{said}");
    }
}

#[tokio::test]
async fn item_115_a_code_that_was_used_at_one_is_refused_at_the_other_and_its_tokens_end_at_both() {
    let pair = pair(|_| {}).await;
    let client = pair.at_a().register("Agent", &[AGENT]).await;
    let code = pair.code(&client).await;
    let (status, answer) = pair.at_b().redeem(&client, AGENT, &code).await;
    assert_eq!(status, 200, "{answer}");
    let (access, refresh) = (text(&answer, "access_token"), text(&answer, "refresh_token"));
    assert_eq!(pair.calls(&access).await, 200);
    let (status, said) = pair.at_a().redeem(&client, AGENT, &code).await;
    assert_eq!((status, &said["error"]), (400, &json!("invalid_grant")), "{said}");
    assert_eq!(pair.calls(&access).await, 401, "at once where it was seen");
    assert_eq!(pair.refresh(&client, &refresh).await.0, 400);
    pair.at_b();
    eventually("the end at the other", async || (pair.calls(&access).await == 401).then_some(())).await;
    assert_eq!(pair.refresh(&client, &refresh).await.0, 400);
}

#[tokio::test]
async fn item_115_of_two_who_redeem_one_code_at_both_at_once_one_gets_a_token_and_it_ends() {
    let pair = pair(|_| {}).await;
    let client = pair.at_a().register("Agent", &[AGENT]).await;
    let code = pair.code(&client).await;
    let redeem = async |port: u16| {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", AGENT),
            ("client_id", &client),
            ("code_verifier", crate::authorization_flow::VERIFIER),
        ];
        at(&pair, port, &form).await
    };
    let (one, other) = tokio::join!(redeem(pair.ports[0]), redeem(pair.ports[1]));
    let good: Vec<&Value> = [&one, &other].into_iter().filter(|(status, _)| *status == 200).map(|(_, answer)| answer).collect();
    assert_eq!(good.len(), 1, "{one:?} {other:?}");
    let token = text(good[0], "access_token");
    for replica in [Pair::at_a, Pair::at_b] {
        replica(&pair);
        eventually("the end", async || (pair.calls(&token).await == 401).then_some(())).await;
    }
}

/// A question for tokens at this very replica.
async fn at(pair: &Pair, port: u16, form: &[(&str, &str)]) -> (u16, Value) {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = pair.http.post(format!("http://127.0.0.1:{port}/token")).header("content-type", "application/x-www-form-urlencoded");
    let host = pair.scene.world.origin.strip_prefix("http://").unwrap();
    let answer = request.header("host", host).body(body).send().await.unwrap();
    (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

#[tokio::test]
async fn item_118_a_refresh_token_that_was_exchanged_twice_over_ends_its_family_at_the_other_replica_too() {
    let pair = pair(|_| {}).await;
    let (client, answer) = pair.signed_in().await;
    let first = text(&answer, "refresh_token");
    pair.at_a();
    let (status, second) = pair.refresh(&client, &first).await;
    assert_eq!(status, 200, "{second}");
    pair.at_b();
    let (status, third) = pair.refresh(&client, &text(&second, "refresh_token")).await;
    assert_eq!(status, 200, "{third}");
    // The thief comes with the first one, at the replica that did not exchange it.
    let (status, said) = pair.refresh(&client, &first).await;
    assert_eq!((status, &said["error"]), (400, &json!("invalid_grant")), "{said}");
    for replica in [Pair::at_b, Pair::at_a] {
        replica(&pair);
        eventually("the end", async || (pair.calls(&text(&third, "access_token")).await == 401).then_some(())).await;
        assert_eq!(pair.refresh(&client, &text(&third, "refresh_token")).await.0, 400, "the owner's went with it");
    }
}

#[tokio::test]
async fn item_118_one_refresh_token_shown_at_both_at_once_gives_one_successor() {
    let pair = pair(|_| {}).await;
    let (client, mut answer) = pair.signed_in().await;
    for _ in 0..8 {
        let shown = text(&answer, "refresh_token");
        let form = [("grant_type", "refresh_token"), ("client_id", client.as_str()), ("refresh_token", shown.as_str())];
        let [a, b] = pair.ports;
        let ((one, said), (two, other)) = tokio::join!(at(&pair, a, &form), at(&pair, b, &form));
        assert_eq!((one, two), (200, 200), "{said} {other}");
        assert_eq!(said["refresh_token"], other["refresh_token"], "the family goes on in one line");
        answer = said;
    }
    pair.at_a();
    assert_eq!(pair.calls(&text(&answer, "access_token")).await, 200);
}

#[tokio::test]
async fn s44_both_have_one_set_of_keys_and_a_turn_is_made_once() {
    let pair = pair(|_| {}).await;
    let kids = async |port: u16| {
        let host = pair.scene.world.origin.strip_prefix("http://").unwrap();
        let request = pair.http.get(format!("http://127.0.0.1:{port}/jwks.json")).header("host", host);
        let text = request.send().await.unwrap().text().await.unwrap();
        let set: Value = serde_json::from_str(&text).unwrap();
        let mut kids: Vec<String> = set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect();
        kids.sort();
        kids
    };
    let [a, b] = pair.ports;
    let before = kids(a).await;
    assert_eq!((before.len(), &before), (1, &kids(b).await), "of two that started at once, one made the key");
    // Another algorithm makes the next key due, at both at once.
    let mut config = pair.scene.world.config.clone();
    config["authorization_server"]["tokens"] = json!({"algorithm": "EdDSA"});
    let mut second = config.clone();
    let own: Value = serde_yaml::from_str(&std::fs::read_to_string(&pair.other.config_file).unwrap()).unwrap();
    for key in ["listen", "admin", "audit"] {
        second[key] = own[key].clone();
    }
    tokio::join!(pair.scene.world.gateway.reload(&config), pair.other.reload(&second));
    for port in [a, b] {
        eventually("the next key", async || (kids(port).await.len() == 2).then_some(())).await;
    }
    assert_eq!(kids(a).await, kids(b).await);
    // Neither signs yet: published first. What is issued is good at both.
    let (_, answer) = pair.signed_in().await;
    for replica in [Pair::at_a, Pair::at_b] {
        replica(&pair);
        assert_eq!(pair.calls(&text(&answer, "access_token")).await, 200);
    }
}

#[tokio::test]
async fn item_146_what_was_revoked_at_one_is_refused_at_the_other() {
    let pair = pair(|_| {}).await;
    let (client, answer) = pair.signed_in().await;
    let (access, refresh) = (text(&answer, "access_token"), text(&answer, "refresh_token"));
    pair.at_b();
    assert_eq!(pair.calls(&access).await, 200);
    pair.at_a();
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs([("token", &refresh), ("client_id", &client)]).finish();
    let request = pair.http.post(format!("{}/revoke", pair.scene.world.origin)).header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(request.body(form).send().await.unwrap().status(), 200);
    assert_eq!(pair.calls(&access).await, 401);
    pair.at_b();
    eventually("the end at the other", async || (pair.calls(&access).await == 401).then_some(())).await;
    assert_eq!(pair.refresh(&client, &refresh).await.0, 400);
}

#[tokio::test]
async fn issue_6_8_a_client_that_signs_in_again_at_once_after_its_revocation_is_let_in_at_both_and_its_old_token_is_not() {
    let pair = pair(|_| {}).await;
    let (client, before) = pair.signed_in().await;
    let config = pair.scene.world.gateway.config_file.display().to_string();
    let words = ["revoke", "--client", &client, "--config", &config, "--reason", "t", "--by", "mia", "--wait"];
    let output = crate::support::gateway::run(&words).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let code = pair.code(&client).await;
    let (status, after) = pair.at_b().redeem(&client, AGENT, &code).await;
    assert_eq!(status, 200, "{after}");
    for replica in [Pair::at_a, Pair::at_b] {
        replica(&pair);
        assert_eq!(pair.calls(&text(&after, "access_token")).await, 200);
        assert_eq!(pair.calls(&text(&before, "access_token")).await, 401);
        assert_eq!(pair.refresh(&client, &text(&before, "refresh_token")).await.0, 400);
    }
}

#[tokio::test]
async fn item_113_a_callback_that_was_used_at_one_is_refused_at_the_other() {
    let pair = pair(|_| {}).await;
    let client = pair.at_a().register("Agent", &[AGENT]).await;
    let browser = pair.browser();
    let page = browser.get(&pair.scene.authorize(&client, AGENT, &[])).await;
    let out = browser.post("/doorward/consent", &[("ticket", &page.ticket()), ("allow", "oidc")]).await;
    let callback = browser.get(&out.location()).await.location();
    pair.at_b();
    assert!(browser.get(&callback).await.is(303).said("code").is_some());
    pair.at_a();
    browser.get(&callback).await.is(400);
}
