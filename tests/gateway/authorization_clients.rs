//! Clients of the authorization server from outside: registration, documents, approval, their end (items 121 to 134, S34 to S39, S45).

use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::gateway::{launch, run, write_config, yaml};
use crate::support::provider::{Browser, CLIENT, Provider, SECRET};
use crate::support::{DEADLINE, Setup, World, eventually};

const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const AGENT: &str = "https://agent.example/cb";

struct Scene {
    world: World,
    idp: Provider,
}

/// A gateway that issues tokens for `files`, with this section `registration`.
async fn scene(registration: Value) -> Scene {
    scene_with(registration, |_| {}).await
}

async fn scene_with(registration: Value, change: impl FnOnce(&mut Value)) -> Scene {
    let (idp, mut setup) = (Provider::start().await, Setup::new().await);
    let folder = setup.folder.path().to_owned();
    std::fs::write(folder.join("idp-secret"), SECRET).unwrap();
    let config = &mut setup.config;
    config["store"] = json!(format!("sqlite:{}", folder.join("doorward.db").display()));
    config["upstreams"]["files"]["ownership"] = json!("bridge");
    config["upstreams"]["files"].as_object_mut().unwrap().remove("issuers");
    config["authorization_server"] = json!({
        "login": {"oidc": {"issuer": idp.url, "client_id": CLIENT, "client_secret_file": folder.join("idp-secret")}},
        "registration": registration,
        "clients": {"desk": {"name": "Desk", "redirect_uris": ["https://desk.example/cb"]}},
    });
    change(config);
    Scene { world: setup.start().await, idp }
}

fn agent() -> Value {
    json!({
        "client_name": "Acme agent", "redirect_uris": [AGENT], "token_endpoint_auth_method": "none", "software_id": "acme-1",
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
    })
}

impl Scene {
    async fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
    }

    async fn register(&self, metadata: &Value) -> (u16, Value) {
        let request = self.world.http.post(format!("{}/register", self.world.origin)).header("content-type", "application/json");
        self.send(request.body(metadata.to_string())).await
    }

    async fn token(&self, form: &[(&str, &str)]) -> (u16, Value) {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.world.http.post(format!("{}/token", self.world.origin));
        self.send(request.header("content-type", "application/x-www-form-urlencoded").body(body)).await
    }

    fn authorize(&self, client: &str, redirect: &str) -> String {
        let resource = self.world.resource();
        let all = [
            ("response_type", "code"),
            ("client_id", client),
            ("redirect_uri", redirect),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("resource", &resource),
            ("scope", "files:read"),
        ];
        format!("/authorize?{}", url::form_urlencoded::Serializer::new(String::new()).extend_pairs(all).finish())
    }

    /// A whole sign-in by a browser that was never here; `proof` is what the client shows at the token endpoint.
    async fn signs_in(&self, client: &str, redirect: &str, proof: &[(&str, &str)]) -> Value {
        let browser = Browser::new(&self.world.origin);
        let page = browser.get(&self.authorize(client, redirect)).await;
        page.is(200);
        let out = browser.post("/doorward/consent", &[("ticket", &page.ticket()), ("allow", "oidc")]).await;
        let there = browser.get(&out.is(303).location()).await;
        assert!(there.location().starts_with(&self.world.origin) && out.location().starts_with(&self.idp.url));
        let back = browser.get(&there.location()).await;
        let code = back.said("code").unwrap();
        let form = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", redirect), ("code_verifier", VERIFIER)];
        let (status, answer) = self.token(&[&form[..], &[("client_id", client)], proof].concat()).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    async fn call(&self, token: &Value) -> u16 {
        self.world.tool("read_file").token(token["access_token"].as_str().unwrap()).send().await.status
    }

    async fn decide(&self, what: &str, client: &str) {
        let config = self.world.gateway.config_file.display().to_string();
        let output = run(&["clients", what, client, "--config", &config, "--reason", "ticket 7", "--by", "mia"]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    async fn listed(&self) -> Vec<Value> {
        let config = self.world.gateway.config_file.display().to_string();
        let output = run(&["clients", "list", "--config", &config, "--json"]).await;
        serde_json::from_slice(&output.stdout).unwrap()
    }

    async fn listed_one(&self, id: &str) -> Value {
        let all = self.listed().await;
        all.iter().find(|client| client["id"] == id).unwrap_or_else(|| panic!("{id} is not in {all:?}")).clone()
    }
}

/// A host on loopback with one document.
struct Host {
    url: String,
    asked: Arc<AtomicUsize>,
}

impl Host {
    async fn serve() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/client.json", listener.local_addr().unwrap());
        let document = json!({"client_id": url, "client_name": "Published agent", "redirect_uris": [AGENT]}).to_string();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let app = axum::Router::new().fallback(move || {
            count.fetch_add(1, Ordering::Relaxed);
            let document = document.clone();
            async move { ([("content-type", "application/json")], document) }
        });
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn item_131_a_registered_client_waits_is_approved_as_what_it_was_and_signs_people_in() {
    let scene = scene(json!({"dynamic": "approval"})).await;
    let (status, registered) = scene.register(&agent()).await;
    assert_eq!(status, 201);
    let id = registered["client_id"].as_str().unwrap();
    let page = Browser::new(&scene.world.origin).get(&scene.authorize(id, AGENT)).await;
    assert!(page.is(403).headers.get("location").is_none(), "no code, and no redirect");
    let waiting = eventually("the queue", async || {
        let one = scene.listed_one(id).await;
        one["first_seen"].is_string().then_some(one)
    })
    .await;
    assert_eq!((&waiting["state"], &waiting["source"], &waiting["name"]), (&json!("pending"), &json!("registered"), &json!("Acme agent")));
    assert_eq!((&waiting["redirect_uris"], &waiting["software_id"]), (&json!([AGENT]), &json!("acme-1")));
    assert!(page.text.contains(waiting["code"].as_str().unwrap()));
    scene.decide("approve", waiting["code"].as_str().unwrap()).await;
    let record = scene.world.gateway.records().into_iter().find(|record| record["operation"] == "admin/client_approve").unwrap();
    assert_eq!((&record["actor"], &record["reason"]), (&json!("mia"), &json!("ticket 7")));
    assert!(record["name"].as_str().unwrap().contains(waiting["fingerprint"].as_str().unwrap()), "{record}");
    let browser = Browser::new(&scene.world.origin);
    eventually("the approval", async || (browser.get(&scene.authorize(id, AGENT)).await.status == 200).then_some(())).await;
    let token = scene.signs_in(id, AGENT, &[]).await;
    assert_eq!(scene.call(&token).await, 200);
    let record = scene.world.gateway.audited(1, |record| record["reason"] == "registered").await;
    assert_eq!((&record[0]["operation"], &record[0]["name"]), (&json!("oauth/register"), &json!(id)));

    // S37: and is stopped.
    scene.decide("suspend", id).await;
    eventually("the suspension", async || (scene.call(&token).await == 403).then_some(())).await;
    Browser::new(&scene.world.origin).get(&scene.authorize(id, AGENT)).await.is(403);
    let refresh = token["refresh_token"].as_str().unwrap();
    let (status, answer) = scene.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh), ("client_id", id)]).await;
    assert!((400..500).contains(&status), "{answer}");
}

#[tokio::test]
async fn item_121_122_123_and_127_bad_documents_are_a_page_without_a_redirect_or_a_fetch() {
    let host = Host::serve().await;
    let port = host.url.split(':').nth(2).unwrap().split('/').next().unwrap();
    let scene = scene(json!({})).await;
    let browser = Browser::new(&scene.world.origin);
    for id in [
        host.url.clone(),
        format!("https://127.0.0.1:{port}/client.json"),
        format!("https://localhost:{port}/client.json"),
        format!("https://[::1]:{port}/client.json"),
        "https://169.254.169.254/client.json".into(),
        "https://app.example".into(),
        "https://app.example/".into(),
        "https://app.example/a/../b".into(),
        "https://app.example/c#x".into(),
        "https://mia@app.example/c".into(),
        "https://APP.example/c".into(),
    ] {
        let page = browser.get(&scene.authorize(&id, AGENT)).await;
        assert!(page.is(400).headers.get("location").is_none(), "{id}");
        assert!(page.header("content-type").starts_with("text/html"), "{id}");
    }
    assert_eq!(host.asked(), 0);
    assert_eq!(scene.listed().await.len(), 1, "only the configured one");
}

#[tokio::test]
async fn s34_and_s38_a_published_client_of_a_trusted_host_is_listed_and_signs_people_in() {
    let host = Host::serve().await;
    let strict = scene(json!({"metadata_documents": "open", "allow_loopback": true, "allow_hosts": ["*.claude.ai"]})).await;
    Browser::new(&strict.world.origin).get(&strict.authorize(&host.url, AGENT)).await.is(400);
    assert_eq!(host.asked(), 0, "refused before it is fetched");

    let scene = scene(json!({"metadata_documents": "open", "allow_loopback": true, "allow_hosts": ["127.0.0.1"]})).await;
    let metadata: Value = serde_json::from_slice(&scene.world.get("/.well-known/oauth-authorization-server").await.body).unwrap();
    assert_eq!(metadata["client_id_metadata_document_supported"], json!(true));
    let token = scene.signs_in(&host.url, AGENT, &[]).await;
    assert_eq!(scene.call(&token).await, 200);
    assert_eq!(host.asked(), 1, "kept for all that a sign-in asks");
    let listed = scene.listed_one(&host.url).await;
    assert_eq!((&listed["source"], &listed["name"]), (&json!("document"), &json!("Published agent")));
    assert!(listed["last_used"].is_string() && listed["redirect_uris"] == json!([AGENT]), "{listed}");
    let desk = scene.listed_one("desk").await;
    assert_eq!((&desk["source"], &desk["state"]), (&json!("configured"), &json!("approved")));
    scene.decide("suspend", "desk").await;
    let browser = Browser::new(&scene.world.origin);
    let desk = scene.authorize("desk", "https://desk.example/cb");
    eventually("the suspension", async || (browser.get(&desk).await.status == 403).then_some(())).await;
}

#[tokio::test]
async fn item_133_a_look_alike_waits_even_where_registration_is_open_and_is_flagged() {
    let scene = scene(json!({"dynamic": "open"})).await;
    let mut impostor = agent();
    impostor["client_name"] = json!("CIaude");
    impostor["logo_uri"] = json!("https://claude.ai/logo.png");
    let (_, registered) = scene.register(&impostor).await;
    let id = registered["client_id"].as_str().unwrap();
    Browser::new(&scene.world.origin).get(&scene.authorize(id, AGENT)).await.is(403);
    let flags = scene.listed_one(id).await["flags"].to_string();
    assert!(flags.contains("looks like `Claude`") && flags.contains("logo_uri"), "{flags}");
    let (_, honest) = scene.register(&agent()).await;
    Browser::new(&scene.world.origin).get(&scene.authorize(honest["client_id"].as_str().unwrap(), AGENT)).await.is(200);
}

#[tokio::test]
async fn item_134_a_registrant_changes_its_client_which_waits_again_and_deletes_it_with_its_tokens() {
    let scene = scene(json!({"dynamic": "open"})).await;
    let mut backend = agent();
    backend["token_endpoint_auth_method"] = json!("client_secret_post");
    let (_, first) = scene.register(&backend).await;
    let (id, secret) = (first["client_id"].as_str().unwrap(), first["client_secret"].as_str().unwrap());
    let manage = async |method: reqwest::Method, body: &Value| {
        let request = scene.world.http.request(method, first["registration_client_uri"].as_str().unwrap());
        let request = request.bearer_auth(first["registration_access_token"].as_str().unwrap()).header("content-type", "application/json");
        scene.send(if body.is_null() { request } else { request.body(body.to_string()) }).await
    };
    assert_eq!(manage(reqwest::Method::GET, &Value::Null).await.0, 200);
    let token = scene.signs_in(id, AGENT, &[("client_secret", secret)]).await;
    assert_eq!(scene.call(&token).await, 200);
    scene.decide("approve", id).await;
    let mut changed = backend.clone();
    changed["client_id"] = json!(id);
    changed["redirect_uris"] = json!(["https://agent.example/other"]);
    assert_eq!(manage(reqwest::Method::PUT, &changed).await.0, 200);
    assert_eq!(scene.listed_one(id).await["state"], "pending");
    assert_eq!(manage(reqwest::Method::DELETE, &Value::Null).await.0, 204);
    assert_eq!(manage(reqwest::Method::GET, &Value::Null).await.0, 401);
    eventually("the end of its tokens", async || (scene.call(&token).await == 403).then_some(())).await;
    let refresh = token["refresh_token"].as_str().unwrap();
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh), ("client_id", id), ("client_secret", secret)];
    assert_eq!(scene.token(&form).await.0, 401);
}

#[tokio::test]
async fn s36_a_flood_of_registrations_of_one_address_is_stopped() {
    let scene = scene(json!({"rate": "3/h"})).await;
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(scene.register(&agent()).await.0);
    }
    assert_eq!(answers, [201, 201, 201, 429, 429]);
}

#[tokio::test]
async fn what_is_off_is_not_offered() {
    let scene = scene(json!({"dynamic": "off", "metadata_documents": "off"})).await;
    let metadata: Value = serde_json::from_slice(&scene.world.get("/.well-known/oauth-authorization-server").await.body).unwrap();
    assert!(metadata["authorization_endpoint"].is_string());
    assert!(metadata.get("registration_endpoint").is_none());
    assert_ne!(metadata["client_id_metadata_document_supported"], json!(true));
    assert_eq!(scene.register(&agent()).await.0, 403);
}

#[tokio::test]
async fn s45_another_issuer_than_clients_registered_with_is_told_loudly() {
    let mut scene = scene(json!({"dynamic": "open"})).await;
    let (_, registered) = scene.register(&agent()).await;
    Browser::new(&scene.world.origin).get(&scene.authorize(registered["client_id"].as_str().unwrap(), AGENT)).await.is(200);
    scene.world.gateway.signal("TERM");
    scene.world.gateway.exit().await;
    assert!(!scene.world.gateway.stderr().contains("another issuer"));
    let mut config = scene.world.config.clone();
    config["public_url"] = json!(scene.world.origin.replace("127.0.0.1", "localhost"));
    write_config(&scene.world.gateway.config_file, &yaml(&config));
    let mut next = launch(&scene.world.gateway.config_file);
    let mut lines = BufReader::new(next.stderr.take().unwrap()).lines().map_while(Result::ok);
    let words = "names another issuer than the one that clients registered with";
    let told = tokio::task::spawn_blocking(move || lines.any(|line| line.contains(words) && line.contains("ERROR")));
    let told = tokio::time::timeout(DEADLINE, told).await;
    next.kill().unwrap();
    next.wait().unwrap();
    assert!(told.unwrap().unwrap());
}
