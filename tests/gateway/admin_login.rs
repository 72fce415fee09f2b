//! People sign in at the admin listener with a browser (issue 5, 9): who comes in, as what, and what a page elsewhere can do.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::support::provider::{Browser, CLIENT, Page, Provider, SECRET};
use crate::support::{Setup, World, eventually};

/// A gateway with a store, and a provider at which Alice of `staff` is signed in.
struct Scene {
    world: World,
    idp: Provider,
}

async fn scene_with(change: impl FnOnce(&mut Value, &Provider)) -> Scene {
    let idp = Provider::start().await;
    let mut setup = Setup::new().await;
    let secret = setup.folder.path().join("idp-secret");
    std::fs::write(&secret, SECRET).unwrap();
    let config = &mut setup.config;
    config["store"] = json!(format!("sqlite:{}", setup.folder.path().join("doorward.db").display()));
    config["upstreams"]["files"]["clients"] = json!({"unknown": "pending"});
    config["issuers"]["idp"] = json!({"issuer": idp.url});
    config["admin"]["login"] = json!({
        "url": format!("http://{}", config["admin"]["address"].as_str().unwrap()),
        "oidc": {"issuer": idp.url, "client_id": CLIENT, "client_secret_file": secret, "title": "Acme"},
        "roles": {"operator": {"groups": ["sre"]}, "reviewer": {"groups": ["staff"]}, "viewer": {"claims": {"email": "vic@example.com"}}},
    });
    change(config, &idp);
    Scene { world: setup.start().await, idp }
}

async fn scene() -> Scene {
    scene_with(|_, _| {}).await
}

impl Scene {
    fn browser(&self) -> Browser {
        Browser::new(&self.world.gateway.admin)
    }

    /// To the provider and back, up to where the answer of the callback leads.
    async fn returns(&self, browser: &Browser) -> Page {
        let out = browser.get("/admin/sign-in").await;
        out.is(303);
        let back = browser.get(&out.location()).await;
        browser.get(&back.location()).await
    }

    async fn signs_in(&self, browser: &Browser) {
        let page = self.returns(browser).await;
        assert_eq!((page.status, page.location()), (303, format!("{}/admin/", self.world.gateway.admin)));
    }

    async fn whoami(&self, browser: &Browser) -> (u16, Value) {
        told(&browser.get("/admin/v1/whoami").await)
    }

    /// A change by the browser's cookie, with these headers besides.
    async fn post(&self, browser: &Browser, path: &str, body: &Value, headers: &[(&str, &str)]) -> (u16, Value) {
        let own = self.world.gateway.admin.clone();
        let all = [&[("origin", own.as_str()), ("sec-fetch-site", "same-origin")], headers].concat();
        told(&browser.post_json(&format!("/admin/v1/{path}"), body, &all).await)
    }

    async fn acts(&self, operation: &str, count: usize) -> Vec<Value> {
        self.world.gateway.acts(count, |record| record["operation"] == operation).await
    }

    /// How records name somebody of the provider.
    fn actor(&self, subject: &str) -> Value {
        json!(format!("person {subject} of {} from 127.0.0.1", self.idp.url))
    }
}

fn told(page: &Page) -> (u16, Value) {
    (page.status, serde_json::from_str(&page.text).unwrap_or_else(|_| panic!("{page:?}")))
}

/// A hidden field.
fn field(page: &Page, name: &str) -> String {
    let (_, rest) = page.text.split_once(&format!(r#"name="{name}" value=""#)).unwrap_or_else(|| panic!("no form: {page:#?}"));
    rest.split('"').next().unwrap().to_owned()
}

fn approval() -> Value {
    json!({"client": "desk-1", "issuer": "corp", "reason": "ticket 7"})
}

#[tokio::test]
async fn a_person_signs_in_with_a_browser_reads_and_signs_out() {
    let scene = scene().await;
    let browser = scene.browser();
    let page = browser.get("/admin/").await;
    assert!(page.status == 200 && page.text.contains("Sign in with Acme"), "{page:?}");
    assert_eq!(scene.whoami(&browser).await.0, 401);
    let out = browser.get("/admin/sign-in").await;
    let asked: HashMap<String, String> = out.answer().into_iter().collect();
    assert_eq!((asked["response_type"].as_str(), asked["code_challenge_method"].as_str()), ("code", "S256"));
    assert_eq!(asked["redirect_uri"], format!("{}/admin/callback", scene.world.gateway.admin));
    assert!(asked["nonce"].len() == 43 && asked["state"].len() == 43 && asked["scope"] == "openid profile email", "{asked:?}");
    let back = browser.get(&out.location()).await;
    browser.get(&back.location()).await.is(303);
    assert_eq!(browser.cookie_names(), ["doorward-admin-session"], "what the way back needed is gone");

    let (status, who) = scene.whoami(&browser).await;
    assert_eq!((status, &who["name"], &who["role"], &who["by"]), (200, &json!("alice"), &json!("reviewer"), &json!("person")));
    assert_eq!(who["session"]["issuer"], scene.idp.url);
    for path in ["clients?state=pending", "keys", "revocations", "status", "audit/records"] {
        assert_eq!(browser.get(&format!("/admin/v1/{path}")).await.status, 200, "{path}");
    }
    let page = browser.get("/admin/").await;
    assert!(page.text.contains("Signed in as Alice") && page.text.contains("reviewer"), "{page:?}");
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'") && !policy.contains("script"), "{policy}");
    assert_eq!(page.header("cache-control"), "no-store");

    let out = browser.post("/admin/sign-out", &[("csrf", &field(&page, "csrf"))]).await;
    assert_eq!((out.status, browser.cookie_names().len()), (303, 0));
    assert_eq!(scene.whoami(&browser).await.0, 401);
    for operation in ["admin/sign_in", "admin/sign_out"] {
        let act = scene.acts(operation, 1).await.remove(0);
        assert_eq!((&act["actor"], &act["name"]), (&scene.actor("alice"), &json!("reviewer")));
    }
}

#[tokio::test]
async fn a_person_is_what_groups_and_claims_say_by_the_configuration_as_it_is_now() {
    let scene = scene().await;
    let role = async |user: Value| {
        scene.idp.signs_in(Some(user));
        let browser = scene.browser();
        let page = scene.returns(&browser).await;
        if page.status == 303 { scene.whoami(&browser).await.1["role"].as_str().unwrap().to_owned() } else { page.status.to_string() }
    };
    assert_eq!(role(json!({"sub": "bob", "groups": ["staff", "sre"]})).await, "operator", "the most");
    assert_eq!(role(json!({"sub": "vic", "email": "vic@example.com", "groups": []})).await, "viewer");
    assert_eq!(role(json!({"sub": "eve", "email": "vic@example.com", "email_verified": false, "groups": []})).await, "403", "not hers");
    assert_eq!(role(json!({"sub": "eve", "groups": ["SRE", "others"]})).await, "403");
    let refused = scene.world.gateway.acts(2, |record| record["reason"] == "login_entrance").await;
    assert!(refused.iter().all(|act| act["operation"] == "admin/refused" && act["outcome"] == "refused"), "{refused:?}");

    scene.idp.signs_in(Some(json!({"sub": "alice", "groups": ["staff"]})));
    let browser = scene.browser();
    scene.signs_in(&browser).await;
    let mut config = scene.world.config.clone();
    config["admin"]["login"]["roles"] = json!({"viewer": {"groups": ["staff"]}});
    scene.world.gateway.reload(&config).await;
    assert_eq!(scene.whoami(&browser).await.1["role"], "viewer");
    config["admin"]["login"]["roles"] = json!({"viewer": {"groups": ["others"]}});
    scene.world.gateway.reload(&config).await;
    let (status, said) = scene.whoami(&browser).await;
    assert_eq!((status, &said["error"]), (401, &json!("signed_out")));
    assert!(browser.get("/admin/").await.text.contains("Sign in with Acme"));
}

#[tokio::test]
async fn each_role_of_a_person_may_on_each_route_what_the_document_says() {
    let scene = scene().await;
    const ROLES: [&str; 3] = ["viewer", "reviewer", "operator"];
    let people = [
        json!({"sub": "vic", "email": "vic@example.com"}),
        json!({"sub": "a", "groups": ["staff"]}),
        json!({"sub": "b", "groups": ["sre"]}),
    ];
    for (rank, user) in people.into_iter().enumerate() {
        scene.idp.signs_in(Some(user));
        let browser = scene.browser();
        scene.signs_in(&browser).await;
        let proof = scene.whoami(&browser).await.1["session"]["csrf"].as_str().unwrap().to_owned();
        let document = told(&browser.get("/admin/v1/openapi.json").await).1;
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let least = ROLES.iter().position(|role| operation["x-role"] == *role).unwrap();
                let name = path.strip_prefix("/admin/v1/").unwrap();
                let (status, said) = match method.as_str() {
                    "post" => scene.post(&browser, name, &json!({}), &[("doorward-csrf", &proof)]).await,
                    _ => told(&browser.get(path).await),
                };
                let refused = (status, &said["error"]) == (403, &json!("role"));
                assert_eq!(refused, rank < least, "{} {method} {path}: {status} {said}", ROLES[rank]);
                assert!(refused || ![401, 403].contains(&status), "{method} {path}: {status} {said}");
            }
        }
    }
}

#[tokio::test]
async fn a_change_by_a_browser_needs_its_proof_and_its_record_names_the_person() {
    let scene = scene().await;
    let (browser, other) = (scene.browser(), scene.browser());
    scene.signs_in(&browser).await;
    scene.signs_in(&other).await;
    let proof = async |browser: &Browser| scene.whoami(browser).await.1["session"]["csrf"].as_str().unwrap().to_owned();
    let (own, others) = (proof(&browser).await, proof(&other).await);
    assert_ne!(own, others);
    let change = async |headers: &[(&str, &str)]| scene.post(&browser, "client/approve", &approval(), headers).await;
    for headers in [&[][..], &[("doorward-csrf", "")], &[("doorward-csrf", &others)], &[("doorward-csrf", &own), ("doorward-csrf", &own)]] {
        let (status, said) = change(headers).await;
        assert_eq!((status, &said["error"]), (403, &json!("csrf")), "{headers:?}");
    }
    // What a page elsewhere can make a browser send, even if it knew the proof.
    let form = &[("client", "desk-1")];
    for (path, headers, status) in [
        ("/admin/v1/client/approve", &[("origin", "http://evil.example"), ("doorward-csrf", &own)][..], 403),
        ("/admin/v1/client/approve", &[("sec-fetch-site", "cross-site"), ("doorward-csrf", &own)], 403),
        ("/admin/v1/client/approve", &[("doorward-csrf", &own)], 415),
        ("/admin/sign-out", &[("origin", "http://evil.example")], 403),
        ("/admin/sign-out", &[], 403),
        ("/admin/review", &[], 403),
    ] {
        assert_eq!(browser.post_from(path, form, headers).await.status, status, "{path} {headers:?}");
    }
    assert_eq!(told(&browser.get("/admin/v1/clients").await).1["clients"], json!([]), "nothing was done");
    assert_eq!(change(&[("doorward-csrf", &own)]).await.0, 200);
    let act = scene.acts("admin/client_approve", 1).await.remove(0);
    assert_eq!(act["actor"], scene.actor("alice"));
    let log = scene.world.gateway.stderr() + &std::fs::read_to_string(&scene.world.gateway.audit_file).unwrap();
    assert!(!log.contains(&own) && !log.contains(&browser.cookie("doorward-admin-session").unwrap()), "secrets stay secret");
}

#[tokio::test]
async fn a_callback_without_its_cookie_or_its_state_or_for_the_second_time_signs_nobody_in() {
    let scene = scene().await;
    let browser = scene.browser();
    let out = browser.get("/admin/sign-in").await;
    let back = browser.get(&out.location()).await.location();
    let strange = scene.browser();
    strange.get(&back).await.is(400);
    // Another browser that set out too: the attacker's answer brought to it.
    strange.get("/admin/sign-in").await.is(303);
    strange.get(&back).await.is(400);
    assert_eq!(scene.whoami(&strange).await.0, 401);
    let questions = scene.idp.questions();
    browser.get(&back.replace("state=", "state=x")).await.is(400);
    browser.get(&format!("{back}&state=x")).await.is(400);
    assert_eq!(scene.idp.questions(), questions, "no code went anywhere");
    browser.get(&back).await.is(303);
    assert_eq!(scene.whoami(&browser).await.0, 200);
    browser.get(&back).await.is(400);
    assert_eq!(scene.whoami(&browser).await.0, 200, "and it ends no session");
}

#[tokio::test]
async fn whoever_cancels_or_comes_with_a_word_that_is_not_believed_is_not_let_in() {
    let scene = scene().await;
    scene.idp.says_it_is(Some("http://other.example"));
    scene.returns(&scene.browser()).await.is(403);
    assert_eq!(scene.idp.questions(), 0, "RFC 9207: before the code goes anywhere");
    scene.idp.says_it_is(Some(&scene.idp.url));
    let twists: [(&str, Value); 4] =
        [("nonce", json!("another")), ("aud", json!("others")), ("iss", json!("http://other.example")), ("exp", json!(1_000))];
    for (claim, value) in twists {
        scene.idp.twist(move |token| token.claims[claim] = value.clone());
        let browser = scene.browser();
        scene.returns(&browser).await.is(403);
        assert_eq!(scene.whoami(&browser).await.0, 401, "{claim}");
    }
    scene.idp.twist(|_| {});
    scene.idp.signs_in(None);
    let page = scene.returns(&scene.browser()).await;
    assert!(page.status == 403 && page.text.contains("signed nobody in"), "{page:?}");
    for reason in ["login_mix_up", "login_id_token"] {
        scene.world.gateway.acts(1, |record| record["operation"] == "admin/refused" && record["reason"] == reason).await;
    }
}

#[tokio::test]
async fn a_session_ends_by_its_time_and_when_the_person_is_revoked() {
    let scene = scene_with(|config, _| config["admin"]["login"]["session"] = json!("3s")).await;
    let browser = scene.browser();
    scene.signs_in(&browser).await;
    eventually("the session to end", async || (scene.whoami(&browser).await.0 == 401).then_some(())).await;

    let scene = self::scene().await;
    let (alice, bob) = (scene.browser(), scene.browser());
    scene.signs_in(&alice).await;
    scene.idp.signs_in(Some(json!({"sub": "bob", "groups": ["sre"]})));
    scene.signs_in(&bob).await;
    let proof = scene.whoami(&bob).await.1["session"]["csrf"].as_str().unwrap().to_owned();
    let revoke = json!({"subject": "alice", "issuer": "idp", "reason": "laptop stolen", "wait": "30s"});
    assert_eq!(scene.post(&bob, "revocations/new", &revoke, &[("doorward-csrf", &proof)]).await.0, 200);
    assert_eq!((scene.whoami(&alice).await.0, scene.whoami(&bob).await.0), (401, 200));
    let mut config = scene.world.config.clone();
    config["admin"]["login"]["session"] = json!("1s");
    scene.world.gateway.reload(&config).await;
    eventually("the shorter session to end", async || (scene.whoami(&bob).await.0 == 401).then_some(())).await;
}

#[tokio::test]
async fn no_name_that_is_not_ours_gets_a_page_and_a_link_from_elsewhere_gets_only_pages() {
    let scene = scene_with(|config, _| config["admin"]["login"]["url"] = json!("https://ops.example.com")).await;
    let get = |path: &str| scene.world.http.get(format!("{}{path}", scene.world.gateway.admin));
    for path in ["/admin/", "/admin/sign-in", "/admin/callback", "/admin/review"] {
        let answer = get(path).header("host", "evil.example").send().await.unwrap();
        assert_eq!(answer.status(), 421, "{path}");
    }
    let visit = |path: &str| {
        let request = get(path).header("host", "ops.example.com").header("sec-fetch-site", "cross-site");
        request.header("sec-fetch-mode", "navigate").header("sec-fetch-dest", "document")
    };
    assert_eq!(visit("/admin/").send().await.unwrap().status(), 200);
    assert_eq!(visit("/admin/v1/whoami").send().await.unwrap().status(), 403);
    assert_eq!(get("/admin/").header("host", "ops.example.com").header("sec-fetch-site", "cross-site").send().await.unwrap().status(), 403);
    // Behind something that speaks TLS, cookies are bound to the host all the same.
    let out = visit("/admin/sign-in").send().await.unwrap();
    let line = out.headers()["set-cookie"].to_str().unwrap();
    assert!(line.starts_with("__Host-doorward-admin-trip=") && line.contains("; HttpOnly; SameSite=Lax; Secure; Max-Age=600"), "{line}");
    let to = url::Url::parse(out.headers()["location"].to_str().unwrap()).unwrap();
    assert!(to.query_pairs().any(|(name, value)| name == "redirect_uri" && value == "https://ops.example.com/admin/callback"), "{to}");
}

#[tokio::test]
async fn a_session_that_is_none_is_never_passed_over_and_without_a_login_there_are_no_pages() {
    let scene = scene().await;
    let wrong = scene.world.http.get(format!("{}/admin/v1/whoami", scene.world.gateway.admin));
    let answer = wrong.header("cookie", "doorward-admin-session=nothing").send().await.unwrap();
    let said: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(said["error"], "signed_out");
    let mut config = scene.world.config.clone();
    config["admin"].as_object_mut().unwrap().remove("login");
    scene.world.gateway.reload(&config).await;
    assert_eq!(scene.browser().get("/admin/").await.status, 404);
}

#[tokio::test]
async fn a_reviewer_attests_on_the_page_what_is_on_the_page_and_a_viewer_only_reads_it() {
    let scene = scene().await;
    let browser = scene.browser();
    assert_eq!(browser.get("/admin/review").await.status, 303, "to where one signs in");
    scene.signs_in(&browser).await;
    let page = browser.get("/admin/review").await;
    assert!(page.status == 200 && page.text.contains("never attested"), "{page:?}");
    let (csrf, digest) = (field(&page, "csrf"), field(&page, "digest"));
    let form = |digest: &str| {
        vec![("csrf".to_owned(), csrf.clone()), ("digest".to_owned(), digest.to_owned()), ("note".to_owned(), "quarter 3".to_owned())]
    };
    let post = async |form: Vec<(String, String)>| {
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        browser.post("/admin/review", &form).await
    };
    post(form("another")).await.is(412);
    post(form(&digest)).await.is(303);
    let page = browser.get("/admin/review").await;
    assert!(page.text.contains("attested by person alice of") && page.text.contains("unchanged since"), "{page:?}");
    let act = scene.acts("admin/review_attest", 1).await.remove(0);
    assert_eq!(
        (&act["actor"], &act["name"], &act["reason"]),
        (&scene.actor("alice"), &json!(format!("review {digest}")), &json!("quarter 3"))
    );

    scene.idp.signs_in(Some(json!({"sub": "vic", "email": "vic@example.com"})));
    let viewer = scene.browser();
    scene.signs_in(&viewer).await;
    let page = viewer.get("/admin/review").await;
    assert!(page.status == 200 && !page.text.contains("<form"), "{page:?}");
    let csrf = scene.whoami(&viewer).await.1["session"]["csrf"].as_str().unwrap().to_owned();
    viewer.post("/admin/review", &[("csrf", &csrf), ("note", "x")]).await.is(403);
}
