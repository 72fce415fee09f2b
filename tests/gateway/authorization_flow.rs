//! A person signs in through the gateway: authorize, consent, the login elsewhere and back (items 103 to 114, S33).

use serde_json::{Value, json};

use crate::support::provider::{Browser, CLIENT, Page, Provider, SECRET};
use crate::support::{Setup, World, eventually};

const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const DESK: &str = "https://desk.example/cb";
const LOOPBACK: &str = "http://127.0.0.1/cb";

/// A gateway that issues tokens for `files`, and a provider at which Alice is signed in.
pub struct Scene {
    pub world: World,
    pub idp: Provider,
}

/// `change` gets the section `authorization_server`.
pub async fn scene_with(change: impl FnOnce(&mut Value, &Provider, &std::path::Path)) -> Scene {
    let idp = Provider::start().await;
    let mut setup = Setup::new().await;
    let folder = setup.folder.path().to_owned();
    configure(&mut setup.config, &folder, &idp, change);
    Scene { world: setup.start().await, idp }
}

pub fn configure(
    config: &mut Value,
    folder: &std::path::Path,
    idp: &Provider,
    change: impl FnOnce(&mut Value, &Provider, &std::path::Path),
) {
    let secret = folder.join("idp-secret");
    std::fs::write(&secret, SECRET).unwrap();
    config["store"] = json!(format!("sqlite:{}", folder.join("doorward.db").display()));
    config["upstreams"]["files"]["ownership"] = json!("bridge");
    config["upstreams"]["files"].as_object_mut().unwrap().remove("issuers");
    config["upstreams"]["files"]["name"] = json!("Acme files");
    config["authorization_server"] = json!({
        "login": {"oidc": {"issuer": idp.url, "client_id": CLIENT, "client_secret_file": secret, "title": "Acme"}},
        "registration": {"dynamic": "open", "metadata_documents": "off"},
        "clients": {"desk": {"name": "Desk", "redirect_uris": [DESK, LOOPBACK]}},
    });
    change(&mut config["authorization_server"], idp, folder);
}

pub async fn scene() -> Scene {
    scene_with(|_, _, _| {}).await
}

impl Scene {
    pub fn browser(&self) -> Browser {
        Browser::new(&self.world.origin)
    }

    /// A client that registers itself.
    pub async fn register(&self, name: &str, redirects: &[&str]) -> String {
        let body = json!({
            "client_name": name, "redirect_uris": redirects, "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
        });
        let answer = self.world.http.post(format!("{}/register", self.world.origin)).header("content-type", "application/json");
        let answer = answer.body(body.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        let registered: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        registered["client_id"].as_str().unwrap().to_owned()
    }

    /// A sound request of a client, with parameters changed; those without a value are left out.
    pub fn authorize(&self, client: &str, redirect: &str, changed: &[(&str, &str)]) -> String {
        let resource = self.world.resource();
        let sound = [
            ("response_type", "code"),
            ("client_id", client),
            ("redirect_uri", redirect),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("resource", &resource),
            ("scope", "files:read"),
            ("state", "st & ä"),
        ];
        let kept = sound.iter().filter(|(name, _)| !changed.iter().any(|(other, _)| other == name));
        let all = kept.chain(changed.iter()).filter(|(_, value)| !value.is_empty());
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(all).finish();
        format!("/authorize?{query}")
    }

    /// Opens a request, agrees, signs in at the provider and comes back; the last answer, which goes to the client.
    pub async fn agrees(&self, browser: &Browser, url: &str) -> Page {
        let page = browser.get(url).await;
        page.is(200);
        let out = browser.post("/doorward/consent", &[("ticket", &page.ticket()), ("allow", "oidc")]).await;
        out.is(303);
        self.returns(browser, &out).await
    }

    /// From the redirect to the provider, through it, to the callback.
    async fn returns(&self, browser: &Browser, out: &Page) -> Page {
        assert!(out.location().starts_with(&self.idp.url), "{out:#?}");
        let there = browser.get(&out.location()).await;
        browser.get(&there.location()).await
    }

    pub async fn redeem(&self, client: &str, redirect: &str, code: &str) -> (u16, Value) {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect),
            ("client_id", client),
            ("code_verifier", VERIFIER),
        ];
        self.token(&form).await
    }

    pub async fn token(&self, form: &[(&str, &str)]) -> (u16, Value) {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.world.http.post(format!("{}/token", self.world.origin));
        let answer = request.header("content-type", "application/x-www-form-urlencoded").body(body).send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
    }

    /// A whole sign-in; what the token endpoint said.
    pub async fn signs_in(&self, client: &str, redirect: &str) -> Value {
        let back = self.agrees(&self.browser(), &self.authorize(client, redirect, &[])).await;
        let (status, answer) = self.redeem(client, redirect, &back.said("code").unwrap()).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }
}

#[tokio::test]
async fn a_person_signs_in_through_the_gateway_and_a_tool_is_called_in_their_name() {
    let scene = scene().await;
    let client = scene.register("Inspector", &["https://inspector.example/cb"]).await;
    let back = scene.agrees(&scene.browser(), &scene.authorize(&client, "https://inspector.example/cb", &[])).await;
    back.is(303);
    assert!(back.location().starts_with("https://inspector.example/cb?"));
    let (status, answer) = scene.redeem(&client, "https://inspector.example/cb", &back.said("code").unwrap()).await;
    assert_eq!(status, 200, "{answer}");
    let reply = scene.world.tool("read_file").token(answer["access_token"].as_str().unwrap()).send().await;
    reply.is(200);
    let seen = scene.world.files.last();
    let told = ["x-mcp-user", "x-mcp-email", "x-mcp-groups"].map(|name| seen.header(name));
    assert_eq!(told, ["alice", "alice@example.com", "staff"]);
    let record = scene.world.gateway.audited(1, |record| record["reason"] == "code_issued").await;
    assert_eq!(
        (&record[0]["operation"], &record[0]["subject"], &record[0]["client"]),
        (&json!("oauth/page"), &json!("alice"), &json!(client))
    );
}

#[tokio::test]
async fn item_103_an_unknown_client_or_redirect_gets_a_page_and_no_redirect() {
    let scene = scene().await;
    let browser = scene.browser();
    for (client, redirect) in [
        ("nobody", "https://evil.example/cb"),
        ("", DESK),
        ("desk", "https://evil.example/cb"),
        ("desk", "https://desk.example/cb/"),
        ("desk", "https://desk.example/cb?x=1"),
        ("desk", "https://desk.example/CB"),
        ("desk", "https://desk.example@evil.example/cb"),
        ("desk", "https://desk.example/cb#x"),
        ("desk", "javascript:alert(1)"),
        ("desk", "//desk.example/cb"),
        ("desk", "http://localhost/cb"),
        ("desk", "http://127.0.0.1.evil.example/cb"),
        // Several are registered, so one must be named.
        ("desk", ""),
    ] {
        let page = browser.get(&scene.authorize(client, redirect, &[])).await;
        page.is(400);
        assert!(page.headers.get("location").is_none() && page.header("content-type").starts_with("text/html"), "{client} {redirect}");
        assert!(!page.text.contains("evil.example"), "{redirect}");
    }
    // Both at once, as one parameter twice.
    let twice = scene.authorize("desk", DESK, &[]) + "&redirect_uri=https%3A%2F%2Fevil.example%2Fcb";
    assert!(browser.get(&twice).await.is(400).headers.get("location").is_none());
    let twice = scene.authorize("desk", DESK, &[]) + "&client_id=other";
    assert!(browser.get(&twice).await.is(400).headers.get("location").is_none());
}

#[tokio::test]
async fn item_104_the_port_of_a_loopback_redirect_is_free_and_nothing_else_is() {
    let scene = scene().await;
    let browser = scene.browser();
    browser.get(&scene.authorize("desk", "http://127.0.0.1:51004/cb", &[])).await.is(200);
    for other in ["http://127.0.0.1:51004/cb/", "http://127.0.0.1:51004/cb?x=1", "http://[::1]:51004/cb", "https://127.0.0.1:51004/cb"] {
        browser.get(&scene.authorize("desk", other, &[])).await.is(400);
    }
    let back = scene.agrees(&browser, &scene.authorize("desk", "http://127.0.0.1:51004/cb", &[])).await;
    assert!(back.location().starts_with("http://127.0.0.1:51004/cb?"));
    assert_eq!(scene.redeem("desk", "http://127.0.0.1:51004/cb", &back.said("code").unwrap()).await.0, 200);
}

#[tokio::test]
async fn item_105_and_106_a_known_client_hears_what_is_wrong_with_its_state_and_our_issuer() {
    let scene = scene().await;
    let browser = scene.browser();
    for (changed, error) in [
        (vec![("code_challenge", "")], "invalid_request"),
        (vec![("code_challenge_method", "plain")], "invalid_request"),
        (vec![("code_challenge_method", "")], "invalid_request"),
        (vec![("response_type", "token")], "unsupported_response_type"),
        (vec![("resource", "https://evil.example/mcp")], "invalid_target"),
        (vec![("scope", "nonsense")], "invalid_scope"),
        (vec![("request", "eyJ")], "request_not_supported"),
        (vec![("prompt", "none")], "login_required"),
        (vec![("prompt", "none login")], "invalid_request"),
    ] {
        let page = browser.get(&scene.authorize("desk", DESK, &changed)).await;
        page.is(303);
        assert!(page.location().starts_with("https://desk.example/cb?"));
        assert_eq!(page.said("error").as_deref(), Some(error), "{changed:?}");
        assert_eq!((page.said("state").as_deref(), page.said("iss")), (Some("st & ä"), Some(scene.world.origin.clone())));
        assert!(page.said("code").is_none());
    }
    let success = scene.agrees(&browser, &scene.authorize("desk", DESK, &[])).await;
    assert_eq!((success.said("state").as_deref(), success.said("iss")), (Some("st & ä"), Some(scene.world.origin.clone())));
    let metadata: Value = serde_json::from_slice(&scene.world.get("/.well-known/oauth-authorization-server").await.body).unwrap();
    assert_eq!(
        (&metadata["issuer"], &metadata["authorization_response_iss_parameter_supported"]),
        (&json!(scene.world.origin), &json!(true))
    );
}

#[tokio::test]
async fn an_unknown_client_hears_what_is_wrong_only_after_a_person_signed_in() {
    let scene = scene().await;
    let client = scene.register("Bouncer", &["https://evil.example/cb"]).await;
    let browser = scene.browser();
    let url = scene.authorize(&client, "https://evil.example/cb", &[("scope", "nonsense")]);
    let page = browser.get(&url).await;
    page.is(400);
    assert!(page.headers.get("location").is_none());
    let out = browser.post("/doorward/begin", &[("ticket", &page.ticket()), ("login", "oidc")]).await;
    let back = scene.returns(&browser, out.is(303)).await;
    assert_eq!((back.said("error").as_deref(), back.said("iss")), (Some("invalid_scope"), Some(scene.world.origin.clone())));
    // Without a page nothing can be asked, and nobody is sent anywhere.
    let quiet = scene.authorize(&client, "https://evil.example/cb", &[("scope", "nonsense"), ("prompt", "none")]);
    assert!(scene.browser().get(&quiet).await.is(400).headers.get("location").is_none());
    let denied = scene.browser();
    let page = denied.get(&scene.authorize(&client, "https://evil.example/cb", &[])).await;
    let page = denied.post("/doorward/consent", &[("ticket", &page.ticket()), ("deny", "yes")]).await;
    assert!(page.is(200).headers.get("location").is_none(), "a no is told to nobody");
    assert_eq!(scene.idp.visits(), 1);
}

#[tokio::test]
async fn item_109_consent_comes_before_the_login_even_with_a_remembered_one_there() {
    let scene = scene().await;
    let client = scene.register("Mallory", &["https://evil.example/cb"]).await;
    let browser = scene.browser();
    let page = browser.get(&scene.authorize(&client, "https://evil.example/cb", &[])).await;
    page.is(200);
    assert_eq!(scene.idp.visits(), 0, "the provider would have sent Alice straight back");
    assert!(!browser.cookie_names().iter().any(|name| name.contains("login-")), "{:?}", browser.cookie_names());
    let out = browser.post("/doorward/consent", &[("ticket", &page.ticket()), ("allow", "oidc")]).await;
    assert!(out.is(303).cookies().iter().any(|line| line.contains("login-")));
    scene.returns(&browser, &out).await;
    let sent = scene.idp.last_visit();
    assert_eq!((sent["code_challenge_method"].as_str(), sent["code_challenge"].len(), sent["nonce"].len()), ("S256", 43, 43));
    assert_ne!(sent["state"], "st & ä", "a state of our own");
    assert!(!sent.contains_key("resource"));
}

#[tokio::test]
async fn item_110_the_consent_page_says_who_asks_for_what_and_where_it_goes() {
    let scene = scene().await;
    let client = scene.register("Helper <script>alert(1)</script> \"&'", &["https://evil.example/cb"]).await;
    let page = scene.browser().get(&scene.authorize(&client, "https://evil.example/cb", &[])).await;
    for part in
        ["Acme files", "Read files", "files:read", "evil.example", "Nobody has vouched for this name", "Allow, and sign in with Acme"]
    {
        assert!(page.text.contains(part), "{part} in {}", page.text);
    }
    assert!(!page.text.contains("<script") && page.text.contains("script&#62;alert(1)"), "{}", page.text);
    let policy = page.header("content-security-policy");
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!((page.header("x-frame-options"), page.header("cache-control")), ("DENY", "no-store"));
    assert_eq!((page.header("access-control-allow-origin"), page.header("referrer-policy")), ("", "same-origin"));
    assert!(!page.text.contains("on this computer"), "no warning where there is no cause");
    let here = scene.browser().get(&scene.authorize("desk", "http://127.0.0.1:7/cb", &[])).await;
    assert!(here.text.contains("Go on only if you started Desk on this computer yourself"), "{}", here.text);
    assert!(!here.text.contains("vouched"), "an operator configured it");
}

#[tokio::test]
async fn item_110_a_form_that_is_not_ours_in_this_browser_does_nothing() {
    let scene = scene().await;
    let browser = scene.browser();
    let page = browser.get(&scene.authorize("desk", DESK, &[])).await;
    let ticket = page.ticket();
    let form = [("ticket", ticket.as_str()), ("allow", "oidc")];
    let own = [("origin", scene.world.origin.as_str())];
    browser.post("/doorward/consent", &[("allow", "oidc")]).await.is(403);
    browser.post("/doorward/consent", &[("ticket", ""), ("allow", "oidc")]).await.is(403);
    browser.post("/doorward/consent", &[("ticket", &ticket[1..]), ("allow", "oidc")]).await.is(403);
    browser.post("/doorward/consent", &[("ticket", &ticket), ("ticket", &ticket), ("allow", "oidc")]).await.is(403);
    for origin in ["https://evil.example", "null", "http://127.0.0.1"] {
        browser.post_from("/doorward/consent", &form, &[("origin", origin)]).await.is(403);
    }
    browser.post_from("/doorward/consent", &form, &[("sec-fetch-site", "cross-site")]).await.is(403);
    // Another browser: the attacker's ticket in the victim's hands.
    let victim = scene.browser();
    victim.post_from("/doorward/consent", &form, &own).await.is(403);
    victim.get(&scene.authorize("desk", DESK, &[])).await.is(200);
    victim.post_from("/doorward/consent", &form, &own).await.is(403);
    assert_eq!(scene.idp.visits(), 0);
    browser.post_from("/doorward/consent", &form, &own).await.is(303);
    assert_eq!(browser.get("/doorward/consent").await.status, 405);
}

#[tokio::test]
async fn item_111_a_yes_is_for_one_client_one_redirect_and_no_more_scopes() {
    let scene = scene().await;
    let browser = scene.browser();
    let x = scene.register("Client X", &["https://x.example/cb", "https://x.example/cb2"]).await;
    let y = scene.register("Client Y", &["https://y.example/cb"]).await;
    let asks = async |client: &str, redirect: &str, changed: &[(&str, &str)]| {
        let page = browser.get(&scene.authorize(client, redirect, changed)).await;
        match page.status {
            200 => true,
            303 => page.said("code").is_none(),
            _ => panic!("{page:#?}"),
        }
    };
    scene.agrees(&browser, &scene.authorize(&x, "https://x.example/cb", &[("scope", "files:read files:write")])).await.is(303);
    assert!(!asks(&x, "https://x.example/cb", &[]).await, "a yes to more is one to less");
    assert!(!asks(&x, "https://x.example/cb", &[("prompt", "none")]).await);
    assert!(asks(&y, "https://y.example/cb", &[]).await, "another client");
    assert!(asks(&x, "https://x.example/cb2", &[]).await, "another redirect");
    assert!(asks(&x, "https://x.example/cb", &[("scope", "files:read merge:left")]).await, "more scopes");
    assert!(asks(&x, "https://x.example/cb", &[("prompt", "consent")]).await, "asked for");
    assert!(asks(&x, "https://x.example/cb", &[("prompt", "login")]).await, "to sign in anew");
    let page = browser.get(&scene.authorize(&y, "https://y.example/cb", &[("prompt", "none")])).await;
    assert_eq!(page.said("error").as_deref(), Some("consent_required"));
    // Another person in another browser said nothing yet.
    let other = scene.browser();
    other.get(&scene.authorize(&x, "https://x.example/cb", &[])).await.is(200);
    // With somebody signed in, a yes to another client needs no second login.
    let page = browser.get(&scene.authorize(&y, "https://y.example/cb", &[])).await;
    let visits = scene.idp.visits();
    let back = browser.post("/doorward/consent", &[("ticket", &page.ticket()), ("allow", "session")]).await;
    assert!(back.said("code").is_some());
    assert_eq!(scene.idp.visits(), visits);
}

#[tokio::test]
async fn a_public_client_on_this_computer_is_asked_for_each_time() {
    let scene = scene().await;
    let browser = scene.browser();
    let client = scene.register("CLI", &[LOOPBACK]).await;
    scene.agrees(&browser, &scene.authorize(&client, "http://127.0.0.1:7001/cb", &[])).await.is(303);
    browser.get(&scene.authorize(&client, "http://127.0.0.1:7002/cb", &[])).await.is(200);
}

#[tokio::test]
async fn item_113_a_callback_without_its_state_its_cookie_or_for_the_second_time_gives_no_code() {
    let scene = scene().await;
    let browser = scene.browser();
    let page = browser.get(&scene.authorize("desk", DESK, &[])).await;
    let out = browser.post("/doorward/consent", &[("ticket", &page.ticket()), ("allow", "oidc")]).await;
    let there = browser.get(&out.location()).await;
    let callback = there.location();
    let state = there.said("state").unwrap();
    assert!(scene.browser().get(&callback).await.is(400).headers.get("location").is_none(), "another browser");
    let other = scene.browser();
    let page = other.get(&scene.authorize("desk", DESK, &[])).await;
    other.post("/doorward/consent", &[("ticket", &page.ticket()), ("allow", "oidc")]).await.is(303);
    other.get(&callback).await.is(400);
    browser.get(&callback.replace(&state, &state.replace(|c: char| c.is_ascii_lowercase(), "x"))).await.is(400);
    browser.get(&callback.replace(&format!("state={state}"), "")).await.is(400);
    browser.get(&format!("{callback}&state={state}")).await.is(400);
    browser.get(&format!("/doorward/callback?state={state}")).await.is(400);
    // A trip is taken once: the last one was.
    browser.get(&callback).await.is(400);
    let back = scene.agrees(&browser, &scene.authorize("desk", DESK, &[])).await;
    assert!(back.said("code").is_some());
    assert!(!browser.cookie_names().iter().any(|name| name.contains("login-") && back.text.contains(name)));
}

#[tokio::test]
async fn item_113_two_tabs_of_one_browser_do_not_get_into_each_others_way() {
    let scene = scene().await;
    let browser = scene.browser();
    let mut callbacks = Vec::new();
    for _ in 0..2 {
        let page = browser.get(&scene.authorize("desk", DESK, &[("prompt", "login")])).await;
        let out = browser.post("/doorward/consent", &[("ticket", &page.ticket()), ("allow", "oidc")]).await;
        callbacks.push(browser.get(&out.location()).await.location());
    }
    for callback in callbacks {
        assert!(browser.get(&callback).await.said("code").is_some());
    }
}

#[tokio::test]
async fn item_112_cookies_are_bound_to_the_host_and_item_114_redirects_are_303() {
    let idp = Provider::start().await;
    let identity = crate::support::tls::Identity::new();
    let mut setup = Setup::new().await;
    setup.over_tls(&identity);
    let folder = setup.folder.path().to_owned();
    configure(&mut setup.config, &folder, &idp, |_, _, _| {});
    let scene = Scene { world: setup.start_with(identity.client()).await, idp };
    let browser = Browser::with(&scene.world.origin, identity.client());
    let page = browser.get(&scene.authorize("desk", DESK, &[])).await;
    let out = browser.post("/doorward/consent", &[("ticket", &page.ticket()), ("allow", "oidc")]).await;
    let back = scene.returns(&browser, &out).await;
    assert_eq!((out.status, back.status), (303, 303));
    assert!(back.said("code").is_some());
    let all: Vec<String> = [&page, &out, &back].iter().flat_map(|page| page.cookies()).collect();
    assert!(all.len() >= 3, "{all:?}");
    for line in all {
        assert!(line.starts_with("__Host-doorward-"), "{line}");
        for part in ["; Path=/", "; HttpOnly", "; SameSite=Lax", "; Secure"] {
            assert!(line.contains(part), "{line}");
        }
        assert!(!line.contains("Domain"), "{line}");
    }
}

#[tokio::test]
async fn mix_up_an_answer_of_another_issuer_is_not_exchanged() {
    let scene = scene().await;
    for issuer in [Some("https://evil.example"), None] {
        scene.idp.says_it_is(issuer);
        let before = scene.idp.questions();
        let page = scene.agrees(&scene.browser(), &scene.authorize("desk", DESK, &[])).await;
        assert!(page.is(502).headers.get("location").is_none());
        assert_eq!(scene.idp.questions(), before, "the code went nowhere");
    }
    scene.world.gateway.audited(2, |record| record["reason"] == "login_mix_up").await;
}

#[tokio::test]
async fn an_id_token_that_is_not_for_this_very_login_lets_nobody_in() {
    let scene = scene().await;
    type Twist = Box<dyn Fn(&mut crate::support::Token) + Send>;
    let twists: Vec<Twist> = vec![
        Box::new(|token| token.claims["nonce"] = json!("another")),
        Box::new(|token| token.remove("nonce")),
        Box::new(|token| token.claims["aud"] = json!("another-client")),
        Box::new(|token| token.claims["iss"] = json!("https://evil.example")),
        Box::new(|token| token.claims["exp"] = json!(1)),
        Box::new(|token| token.header["typ"] = json!("at+jwt")),
        Box::new(|token| token.header["alg"] = json!("none")),
        Box::new(|token| token.signer = crate::support::Signer::es256("idp-1")),
        Box::new(|token| token.claims["sub"] = json!("oauth2|1")),
    ];
    for twist in twists {
        scene.idp.twist(twist);
        let page = scene.agrees(&scene.browser(), &scene.authorize("desk", DESK, &[])).await;
        assert!(page.status == 502 || page.status == 403, "{page:#?}");
        assert!(page.headers.get("location").is_none());
        assert!(!page.cookies().iter().any(|line| line.contains("session") && !line.contains("Max-Age=0")), "{page:#?}");
    }
}

#[tokio::test]
async fn only_those_who_may_come_in_and_whoever_cancels_gives_nothing() {
    let scene = scene_with(|server, _, _| server["login"]["oidc"]["require"] = json!({"groups": ["staff"]})).await;
    let client = scene.register("Tool", &["https://tool.example/cb"]).await;
    let url = scene.authorize(&client, "https://tool.example/cb", &[]);
    assert!(scene.agrees(&scene.browser(), &url).await.said("code").is_some());
    scene.idp.signs_in(Some(json!({"sub": "mallory", "groups": ["guests"]})));
    let page = scene.agrees(&scene.browser(), &url).await;
    assert!(page.is(403).text.contains("may not use this"), "{page:#?}");
    scene.idp.signs_in(None);
    let page = scene.agrees(&scene.browser(), &url).await;
    assert!(page.is(403).headers.get("location").is_none(), "an unknown client hears nothing");
    let back = scene.agrees(&scene.browser(), &scene.authorize("desk", DESK, &[])).await;
    assert_eq!(back.said("error").as_deref(), Some("access_denied"), "a configured one does");
}

#[tokio::test]
async fn item_131_a_client_that_waits_for_approval_is_a_page_with_a_code_and_no_dead_end() {
    let scene = scene_with(|server, _, _| {
        server["registration"]["dynamic"] = json!("approval");
        server["pages"] = json!({"contact": "security@acme.example", "title": "Acme"});
    })
    .await;
    let client = scene.register("New thing", &["https://new.example/cb"]).await;
    let browser = scene.browser();
    let url = scene.authorize(&client, "https://new.example/cb", &[]);
    let page = browser.get(&url).await;
    page.is(403);
    assert!(page.headers.get("location").is_none());
    let code = page.text.split(r#"<p class="code"><code>"#).nth(1).unwrap()[..8].to_owned();
    for part in ["security@acme.example", "waits for approval", "Try again"] {
        assert!(page.text.contains(part), "{part} in {}", page.text);
    }
    let config = scene.world.gateway.config_file.display().to_string();
    let decide = async |what: &str| {
        let output = crate::support::gateway::run(&["clients", what, &code, "--config", &config, "--reason", "t", "--by", "mia"]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    decide("approve").await;
    eventually("the approval", async || (browser.get(&url).await.status == 200).then_some(())).await;
    let page = browser.get(&url).await;
    assert!(!page.text.contains("vouched"), "an operator has");
    decide("suspend").await;
    eventually("the suspension", async || browser.get(&url).await.text.contains("is suspended").then_some(())).await;
    // What was agreed to a moment ago is not carried out any more.
    let page = browser.post("/doorward/consent", &[("ticket", &page.ticket()), ("allow", "oidc")]).await;
    let back = scene.returns(&browser, page.is(303)).await;
    assert!(back.is(403).text.contains("is suspended"));
}

#[tokio::test]
async fn s33_a_person_who_is_out_at_the_login_gets_no_new_token() {
    let scene = scene_with(|server, _, _| server["login"]["oidc"]["recheck"] = json!("1s")).await;
    let client = scene.register("Tool", &["https://tool.example/cb"]).await;
    let answer = scene.signs_in(&client, "https://tool.example/cb").await;
    let refresh = |token: &str| {
        let form = [("grant_type", "refresh_token".to_owned()), ("client_id", client.clone()), ("refresh_token", token.to_owned())];
        let scene = &scene;
        async move {
            let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
            scene.token(&form).await
        }
    };
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    let asked = scene.idp.questions();
    let (status, answer) = refresh(answer["refresh_token"].as_str().unwrap()).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(scene.idp.questions(), asked + 1, "the login was asked");
    assert_eq!(scene.idp.last_question()["grant_type"], "refresh_token");
    scene.idp.disable("alice");
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    let (status, answer) = refresh(answer["refresh_token"].as_str().unwrap()).await;
    assert_eq!((status, &answer["error"]), (400, &json!("invalid_grant")), "{answer}");
}

#[tokio::test]
async fn what_the_login_gave_is_not_readable_in_the_store() {
    let scene = scene().await;
    scene.signs_in("desk", DESK).await;
    let mut all = Vec::new();
    for end in ["", "-wal"] {
        all.extend(std::fs::read(scene.world.folder.path().join(format!("doorward.db{end}"))).unwrap_or_default());
    }
    let holds = |text: &str| all.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("alice@example.com"), "the person is there");
    assert!(!holds("refresh-1") && !holds(SECRET), "the login's token is sealed");
}

#[tokio::test]
async fn a_person_sees_the_connected_clients_and_disconnects_one() {
    let scene = scene().await;
    let browser = scene.browser();
    let client = scene.register("Gadget", &["https://gadget.example/cb"]).await;
    let back = scene.agrees(&browser, &scene.authorize(&client, "https://gadget.example/cb", &[])).await;
    let (_, answer) = scene.redeem(&client, "https://gadget.example/cb", &back.said("code").unwrap()).await;
    let token = answer["access_token"].as_str().unwrap().to_owned();
    scene.world.tool("read_file").token(&token).send().await.is(200);
    let page = browser.get("/doorward/connected").await;
    assert!(page.is(200).text.contains("Gadget") && page.text.contains("Read files"), "{}", page.text);
    let grant = page.text.split(r#"name="end" value=""#).nth(1).unwrap().split('"').next().unwrap().to_owned();
    // Somebody else sees and ends nothing of Alice's.
    let other = scene.browser();
    scene.idp.signs_in(Some(json!({"sub": "bob", "name": "Bob"})));
    let choice = other.get("/doorward/connected").await;
    let out = other.post("/doorward/begin", &[("ticket", &choice.ticket()), ("login", "oidc")]).await;
    assert!(scene.returns(&other, &out).await.is(303).location().ends_with("/doorward/connected"));
    let his = other.get("/doorward/connected").await;
    assert!(his.text.contains("Bob") && !his.text.contains("Gadget"), "{}", his.text);
    other.post("/doorward/connected", &[("ticket", &his.ticket()), ("end", &grant)]).await.is(303);
    other.post("/doorward/connected", &[("ticket", &page.ticket()), ("end", &grant)]).await.is(403);
    scene.world.tool("read_file").token(&token).send().await.is(200);

    let done = browser.post("/doorward/connected", &[("ticket", &page.ticket()), ("end", &grant)]).await;
    assert!(done.is(200).text.contains("Gadget is disconnected"), "{}", done.text);
    scene.world.tool("read_file").token(&token).send().await.is(401);
    let (status, answer) = scene
        .token(&[("grant_type", "refresh_token"), ("client_id", &client), ("refresh_token", answer["refresh_token"].as_str().unwrap())])
        .await;
    assert_eq!((status, &answer["error"]), (400, &json!("invalid_grant")));
    let page = browser.get("/doorward/connected").await;
    assert!(!page.text.contains("Gadget"), "{}", page.text);
    assert_eq!(browser.get(&scene.authorize(&client, "https://gadget.example/cb", &[])).await.status, 200, "the yes went with it");
    browser.post("/doorward/sign-out", &[("ticket", &page.ticket())]).await.is(200);
    assert!(browser.get("/doorward/connected").await.text.contains("Continue with Acme"));
}

#[tokio::test]
async fn issue_6_7_a_client_that_connected_often_is_one_entry_and_is_disconnected_whole() {
    let scene = scene().await;
    let browser = scene.browser();
    let client = scene.register("Gadget", &["https://gadget.example/cb"]).await;
    let mut tokens = Vec::new();
    for scope in ["files:read", "files:read files:write"] {
        let url = scene.authorize(&client, "https://gadget.example/cb", &[("prompt", "consent"), ("scope", scope)]);
        let page = browser.get(&url).await;
        let allow = if tokens.is_empty() { "oidc" } else { "session" };
        let out = browser.post("/doorward/consent", &[("ticket", &page.is(200).ticket()), ("allow", allow)]).await;
        let back = if tokens.is_empty() { scene.returns(&browser, &out).await } else { out };
        let (_, answer) = scene.redeem(&client, "https://gadget.example/cb", &back.is(303).said("code").unwrap()).await;
        tokens.push(answer["access_token"].as_str().unwrap().to_owned());
    }
    let page = browser.get("/doorward/connected").await;
    assert_eq!(page.is(200).text.matches("name=\"end\"").count(), 1, "{}", page.text);
    let grant = page.text.split(r#"name="end" value=""#).nth(1).unwrap().split('"').next().unwrap().to_owned();
    browser.post("/doorward/connected", &[("ticket", &page.ticket()), ("end", &grant)]).await.is(200);
    for token in &tokens {
        scene.world.tool("read_file").token(token).send().await.is(401);
    }
}

#[tokio::test]
async fn a_person_who_is_revoked_is_not_signed_in_any_more() {
    let scene = scene().await;
    let browser = scene.browser();
    scene.agrees(&browser, &scene.authorize("desk", DESK, &[])).await.is(303);
    assert!(browser.get("/doorward/connected").await.text.contains("Alice"));
    let config = scene.world.gateway.config_file.display().to_string();
    let arguments = ["revoke", "--subject", "alice", "--issuer", &scene.world.origin, "--config", &config, "--reason", "t", "--by", "mia"];
    let output = crate::support::gateway::run(&arguments).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    eventually("the end of the session", async || (!browser.get("/doorward/connected").await.text.contains("Alice")).then_some(())).await;
}

#[tokio::test]
async fn github_members_of_an_organisation_or_team_come_in_and_others_do_not() {
    let scene = scene_with(|server, idp, folder| {
        server["login"] = json!({"oauth2": {
            "profile": "github", "authorization_url": format!("{}/authorize", idp.url), "token_url": format!("{}/token", idp.url),
            "api_url": idp.url, "user_url": format!("{}/userinfo", idp.url), "client_id": CLIENT,
            "client_secret_file": folder.join("idp-secret"), "organizations": ["acme"], "teams": ["partners/core"],
        }});
    })
    .await;
    let enters = async |user: Value| {
        scene.idp.signs_in(Some(user));
        let browser = scene.browser();
        let page = browser.get(&scene.authorize("desk", DESK, &[])).await;
        let out = browser.post("/doorward/consent", &[("ticket", &page.ticket()), ("allow", "oauth2")]).await;
        scene.returns(&browser, &out).await
    };
    let back = enters(json!({"id": 583231, "name": "Octo", "email": null, "orgs": ["acme"], "teams": ["acme/sre"]})).await;
    let (_, answer) = scene.redeem("desk", DESK, &back.said("code").unwrap()).await;
    scene.world.tool("restart").token(answer["access_token"].as_str().unwrap()).send().await.is(403);
    scene.world.tool("read_file").token(answer["access_token"].as_str().unwrap()).send().await.is(200);
    let seen = scene.world.files.last();
    assert_eq!(["x-mcp-user", "x-mcp-groups"].map(|name| seen.header(name)), ["oauth2|583231", "acme,acme/sre"]);
    assert!(enters(json!({"id": 2, "orgs": [], "teams": ["partners/core"]})).await.said("code").is_some());
    enters(json!({"id": 3, "orgs": ["acme-fans"], "teams": ["acme-fans/core"]})).await.is(403);
    enters(json!({"orgs": ["acme"]})).await.is(403);
}

#[tokio::test]
async fn googles_login_is_asked_for_offline_access_and_lets_one_domain_in() {
    let scene = scene_with(|server, _, _| {
        server["login"]["oidc"]["profile"] = json!("google");
        server["login"]["oidc"]["require"] = json!({"claims": {"hd": "acme.example"}});
    })
    .await;
    let enters = async |user: Value| {
        scene.idp.signs_in(Some(user));
        scene.agrees(&scene.browser(), &scene.authorize("desk", DESK, &[])).await
    };
    assert!(enters(json!({"sub": "1", "hd": "acme.example"})).await.said("code").is_some());
    let asked = scene.idp.last_visit();
    assert_eq!(
        (asked["scope"].as_str(), asked["access_type"].as_str(), asked["prompt"].as_str()),
        ("openid profile email", "offline", "consent")
    );
    // A private account has no domain.
    for other in [json!({"sub": "2", "hd": "evil.example"}), json!({"sub": "3"})] {
        enters(other).await.is(403);
    }
}

#[tokio::test]
async fn an_application_hands_over_who_signed_in_by_a_signed_request() {
    let scene = scene_with(|server, _, folder| {
        let secret = folder.join("app-secret");
        std::fs::write(&secret, APPLICATION).unwrap();
        server["login"] = json!({"application": {"url": "https://app.example.com/mcp-login", "secret_file": secret}});
    })
    .await;
    let browser = scene.browser();
    let page = browser.get(&scene.authorize("desk", DESK, &[])).await;
    let out = browser.post("/doorward/consent", &[("ticket", &page.ticket()), ("allow", "application")]).await;
    assert!(out.location().starts_with("https://app.example.com/mcp-login?ticket="));
    let ticket = out.said("ticket").unwrap();
    let body = json!({"ticket": ticket, "subject": "alice", "email": "alice@example.com", "groups": ["staff"]}).to_string();
    let now = crate::support::issuer::now();
    let hand_off = async |time: u64, signature: &str, body: &str| {
        let request = scene.world.http.post(format!("{}/doorward/hand-off", scene.world.origin)).header("content-type", "application/json");
        let request = request.header("doorward-timestamp", time).header("doorward-signature", signature).body(body.to_owned());
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap())
    };
    assert_eq!(hand_off(now, "", &body).await.0, 401);
    assert_eq!(hand_off(now, &signature(now, &body), &body.replace("alice", "root")).await.0, 401);
    assert_eq!(hand_off(now - 400, &signature(now - 400, &body), &body).await.0, 401);
    assert_eq!(hand_off(now, &signature(now, "{}"), "{}").await.0, 400);
    let (status, answer) = hand_off(now, &signature(now, &body), &body).await;
    assert_eq!(status, 200, "{answer}");
    let to = answer["continue"].as_str().unwrap().to_owned();
    // The attacker began, and hands the link to the victim; or the other way round.
    scene.browser().get(&to).await.is(400);
    let back = browser.get(&to).await;
    let (status, answer) = scene.redeem("desk", DESK, &back.said("code").unwrap()).await;
    assert_eq!(status, 200, "{answer}");
    scene.world.tool("read_file").token(answer["access_token"].as_str().unwrap()).send().await.is(200);
    assert_eq!(scene.world.files.last().header("x-mcp-user"), "application|alice");
    browser.get(&to).await.is(400);
}

const APPLICATION: &str = "0123456789abcdef0123456789abcdef";

fn signature(time: u64, body: &str) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, APPLICATION.as_bytes());
    crate::support::issuer::b64(aws_lc_rs::hmac::sign(&key, format!("{time}.{body}").as_bytes()))
}

#[tokio::test]
async fn pages_speak_the_language_that_the_browser_asks_for() {
    let german = concat!(env!("CARGO_MANIFEST_DIR"), "/config/texts/de.yaml");
    let scene = scene_with(|server, _, _| server["pages"] = json!({"translations": {"de": german}})).await;
    let page = async |accept: &str| {
        let request = scene.world.http.get(format!("{}{}", scene.world.origin, scene.authorize("desk", DESK, &[])));
        request.header("accept-language", accept).send().await.unwrap().text().await.unwrap()
    };
    let text = page("de-AT,de;q=0.9,en;q=0.5").await;
    assert!(text.contains(r#"<html lang="de">"#) && text.contains("Darf Desk Acme files benutzen?"), "{text}");
    assert!(page("fr").await.contains("Allow Desk to use Acme files?"));
}

#[tokio::test]
async fn a_login_that_is_down_is_a_page_and_comes_back() {
    let scene = scene_with(|server, _, _| server["login"]["oidc"]["issuer"] = json!("http://127.0.0.1:1")).await;
    let browser = scene.browser();
    let page = browser.get(&scene.authorize("desk", DESK, &[])).await;
    let page = browser.post("/doorward/consent", &[("ticket", &page.ticket()), ("allow", "oidc")]).await;
    assert!(page.is(502).text.contains("not available at present"), "{page:#?}");
}
