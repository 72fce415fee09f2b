//! What attackers of authorization servers try (issue 6), and what of the acceptance list is about the server as a whole
//! (items 8, 10, 11, 24 and 145).

use serde_json::{Value, json};

use crate::authorization_flow::{Scene, scene, scene_with};

const DESK: &str = "https://desk.example/cb";

async fn document(scene: &Scene, path: &str) -> Value {
    let reply = scene.world.get(path).await;
    reply.is(200);
    serde_json::from_slice(&reply.body).unwrap()
}

#[tokio::test]
async fn item_8_the_metadata_of_the_server_inside_name_the_issuer_that_the_resource_names_codes_and_s256_alone() {
    let scene = scene().await;
    let resource = document(&scene, "/.well-known/oauth-protected-resource/mcp/files").await;
    let metadata = document(&scene, "/.well-known/oauth-authorization-server").await;
    assert_eq!(resource["authorization_servers"], json!([metadata["issuer"]]));
    assert!(metadata["response_types_supported"].as_array().unwrap().contains(&json!("code")), "{metadata}");
    assert_eq!(metadata["code_challenge_methods_supported"], json!(["S256"]));
}

#[tokio::test]
async fn item_10_where_registration_is_off_metadata_have_no_such_key_and_nobody_registers() {
    let scene = scene_with(|server, _, _| server["registration"] = json!({"dynamic": "off", "metadata_documents": "off"})).await;
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
        let metadata = document(&scene, path).await;
        let members = metadata.as_object().unwrap();
        assert!(!members.contains_key("registration_endpoint") && members.values().all(|value| !value.is_null()), "{metadata}");
    }
    let request = scene.world.http.post(format!("{}/register", scene.world.origin)).header("content-type", "application/json");
    assert_eq!(request.body(r#"{"redirect_uris":["https://a.example/cb"]}"#).send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn item_11_a_client_of_2025_03_26_finds_the_same_server_at_the_root_and_at_the_paths_that_it_guesses() {
    let scene = scene().await;
    let metadata = document(&scene, "/.well-known/oauth-authorization-server").await;
    let origin = &scene.world.origin;
    for (member, path) in [("authorization_endpoint", "/authorize"), ("token_endpoint", "/token"), ("registration_endpoint", "/register")] {
        assert_eq!(metadata[member], json!(format!("{origin}{path}")), "{member}");
    }
    // Nothing but guesses from here on.
    let client = scene.register("Old client", &["https://old.example/cb"]).await;
    let tokens = scene.signs_in(&client, "https://old.example/cb").await;
    scene.world.tool("read_file").token(tokens["access_token"].as_str().unwrap()).send().await.is(200);
}

#[tokio::test]
async fn item_24_in_bridge_mode_no_token_of_the_login_itself_opens_anything() {
    let scene = scene().await;
    scene.signs_in("desk", DESK).await;
    for (kind, audience) in
        [("at+jwt", scene.world.resource()), ("JWT", crate::support::provider::CLIENT.to_owned()), ("at+jwt", scene.idp.url.clone())]
    {
        let token = scene.idp.token(kind, &audience);
        let reply = scene.world.tool("read_file").token(&token).send().await;
        reply.is(401);
    }
    // As it came over the wire: the access token, and the refresh token.
    let user = json!({"sub": "alice", "groups": ["staff"]});
    for token in [crate::support::issuer::b64(user.to_string()), "refresh-1".to_owned()] {
        scene.world.tool("read_file").token(&token).send().await.is(401);
    }
    scene.world.files.saw_nothing();
}

#[tokio::test]
async fn item_145_no_type_of_authorization_details_is_known_and_none_is_granted_in_silence() {
    let scene = scene().await;
    let details = r#"[{"type":"payment_initiation","instructedAmount":{"currency":"EUR","amount":"1"}}]"#;
    let page = scene.browser().get(&scene.authorize("desk", DESK, &[("authorization_details", details)])).await;
    assert_eq!(page.is(303).said("error").as_deref(), Some("invalid_authorization_details"));
    let tokens = scene.signs_in("desk", DESK).await;
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let form = [("grant_type", "refresh_token"), ("client_id", "desk"), ("refresh_token", refresh), ("authorization_details", details)];
    let (status, said) = scene.token(&form).await;
    assert_eq!((status, &said["error"]), (400, &json!("invalid_authorization_details")));
    assert_eq!(scene.token(&form[..3]).await.0, 200, "the mistake cost nothing");
}

#[tokio::test]
async fn redirect_tricks_of_every_kind_end_at_a_page() {
    let scene = scene_with(|server, _, _| server["rate"] = json!("1000/s")).await;
    let browser = scene.browser();
    for redirect in [
        // Another host by what parsers disagree on.
        "https://desk.example\\@evil.example/cb",
        "https://desk.example%40evil.example/cb",
        "https://desk.example:443@evil.example/cb",
        "https://evil.example#https://desk.example/cb",
        "https://evil.example?https://desk.example/cb",
        "https://desk.example.evil.example/cb",
        "https://desk.example%2eevil.example/cb",
        "https://desk.example。evil.example/cb",
        "https://desk.example\t/cb",
        " https://desk.example/cb",
        "https:desk.example/cb",
        "https:///desk.example/cb",
        "\\\\desk.example/cb",
        "https://dеsk.example/cb",
        // The same host in another spelling: compared by code point.
        "https://DESK.example/cb",
        "HTTPS://desk.example/cb",
        "https://desk.example:443/cb",
        "https://desk.example./cb",
        "https://desk.example/x/../cb",
        "https://desk.example/%63b",
        "https://desk.example/cb;x",
        "https://desk.example/cb%00",
        "https://desk.example/cb%0d%0aSet-Cookie:%20a=b",
        "https://desk.example/cb\r\nSet-Cookie: a=b",
        "https://desk.example/cb?",
        "https://desk.example/cb#",
        "http://desk.example/cb",
        // Loopback, nearly.
        "http://127.0.0.1@evil.example/cb",
        "http://127.0.0.1:80@evil.example/cb",
        "http://127.1/cb",
        "http://0x7f000001/cb",
        "http://2130706433/cb",
        "http://[::ffff:127.0.0.1]/cb",
        "http://127.0.0.1:99999/cb",
        "http://127.0.0.1:/cb",
        "http://localhost:1/cb",
        "data:text/html,<script>alert(1)</script>",
        "vbscript:x",
        "file:///etc/passwd",
        "urn:ietf:wg:oauth:2.0:oob",
    ] {
        let page = browser.get(&scene.authorize("desk", redirect, &[])).await;
        assert_eq!((page.status, page.headers.get("location")), (400, None), "{redirect}");
        assert!(page.headers.get_all("set-cookie").iter().all(|line| !line.to_str().unwrap().starts_with("a=")), "{redirect}");
        assert!(!page.text.contains("evil.example") && !page.text.contains("<script"), "{redirect}: {}", page.text);
    }
    assert_eq!(scene.idp.visits(), 0);
}

#[tokio::test]
async fn state_fixation_a_session_that_somebody_planted_is_not_the_one_that_a_person_signs_in_to() {
    let scene = scene().await;
    // The attacker's own session, signed in as himself.
    scene.idp.signs_in(Some(json!({"sub": "mallory", "name": "Mallory", "groups": ["staff"]})));
    let attacker = scene.browser();
    scene.agrees(&attacker, &scene.authorize("desk", DESK, &[])).await.is(303);
    assert!(attacker.get("/doorward/connected").await.text.contains("Mallory"));
    let planted = attacker.cookie("doorward-session").unwrap();
    // The victim's browser holds it when the victim signs in.
    scene.idp.signs_in(Some(json!({"sub": "alice", "name": "Alice", "groups": ["staff"]})));
    let victim = scene.browser();
    victim.keep("doorward-session", &planted);
    scene.agrees(&victim, &scene.authorize("desk", DESK, &[("prompt", "login")])).await.is(303);
    assert_ne!(victim.cookie("doorward-session").unwrap(), planted);
    assert!(victim.get("/doorward/connected").await.text.contains("Alice"));
    let page = attacker.get("/doorward/connected").await;
    assert!(!page.text.contains("Alice") && !page.text.contains("Mallory"), "the planted one is at its end: {}", page.text);
    // Nor does a value that nobody issued become one.
    let other = scene.browser();
    let invented = "A".repeat(43);
    other.keep("doorward-session", &invented);
    scene.agrees(&other, &scene.authorize("desk", DESK, &[])).await.is(303);
    assert_ne!(other.cookie("doorward-session").unwrap(), invented);
}

#[tokio::test]
async fn a_name_with_script_is_text_on_every_page_and_harmless_in_every_list() {
    let scene = scene().await;
    let sly = "</title><script>alert(1)</script><img src=x onerror=alert(2)>\" onfocus=\"alert(3)";
    let client = scene.register(sly, &["https://sly.example/cb"]).await;
    let browser = scene.browser();
    let page = browser.get(&scene.authorize(&client, "https://sly.example/cb", &[])).await;
    let mut pages = vec![page.is(200).text.clone()];
    scene.agrees(&browser, &scene.authorize(&client, "https://sly.example/cb", &[])).await.is(303);
    pages.push(browser.get("/doorward/connected").await.is(200).text.clone());
    for text in pages {
        assert!(text.contains("alert(1)"), "it is shown: {text}");
        assert!(!text.contains("<script") && !text.contains("<img") && !text.contains("\" onfocus"), "{text}");
    }
}

#[tokio::test]
async fn an_answer_of_authorize_cannot_be_framed_kept_or_read_by_another_origin() {
    let scene = scene().await;
    for path in [scene.authorize("desk", DESK, &[]), "/doorward/connected".to_owned(), scene.authorize("nobody", DESK, &[])] {
        let page = scene.browser().get(&path).await;
        assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert_eq!((page.header("x-frame-options"), page.header("cache-control")), ("DENY", "no-store"), "{path}");
        assert_eq!(page.header("access-control-allow-origin"), "", "{path}");
    }
}
