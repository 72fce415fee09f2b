//! `doorward doctor URL`: what clients would stumble over, seen from outside.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::World;
use crate::support::gateway::run;
use crate::support::upstream::{Answer, Seen, Upstream};

/// The exit code and the findings.
async fn doctor(url: &str, more: &[&str]) -> (Option<i32>, Vec<Value>) {
    let told = run(&[&["doctor", url, "--json"], more].concat()).await;
    let json: Value = serde_json::from_slice(&told.stdout).unwrap_or_else(|_| panic!("no JSON: {told:?}"));
    assert_eq!(json["ok"], told.status.code() == Some(0));
    (told.status.code(), json["findings"].as_array().unwrap().clone())
}

fn wrong(findings: &[Value]) -> Vec<&str> {
    findings.iter().filter(|one| one["verdict"] == "wrong").map(|one| one["what"].as_str().unwrap()).collect()
}

#[track_caller]
fn tells(findings: &[Value], verdict: &str, part: &str) {
    let found = findings.iter().any(|one| one["verdict"] == verdict && one["what"].as_str().unwrap().contains(part));
    assert!(found, "no {verdict} with {part}: {findings:#?}");
}

/// What the fake server is, told of its own origin.
type Site = fn(origin: &str, seen: &Seen) -> Option<Answer>;

/// A resource and its authorization server on one origin. `bend` answers first.
async fn site(bend: Site) -> (Upstream, String) {
    let server = Upstream::start().await;
    let url = server.url.clone();
    let origin = url::Url::parse(&url).unwrap().origin().ascii_serialization();
    let told = Arc::new(Mutex::new(origin));
    server.script(move |seen| {
        let origin = told.lock().unwrap().clone();
        bend(&origin, seen).or_else(|| Some(good(&origin, seen)))
    });
    (server, url)
}

fn good(origin: &str, seen: &Seen) -> Answer {
    match seen.path.as_str() {
        path if path.starts_with("/.well-known/oauth-protected-resource") => {
            let rest = path.trim_start_matches("/.well-known/oauth-protected-resource");
            let document = json!({"resource": format!("{origin}/mcp"), "authorization_servers": [origin]});
            if rest == "/mcp" || rest.is_empty() {
                Answer::json(document).with("access-control-allow-origin", "*")
            } else {
                Answer::text(404, "text/plain", "")
            }
        }
        "/.well-known/oauth-authorization-server" => Answer::json(json!({
            "issuer": origin, "authorization_endpoint": format!("{origin}/authorize"), "token_endpoint": format!("{origin}/token"),
            "registration_endpoint": format!("{origin}/register"), "code_challenge_methods_supported": ["S256"],
        })),
        "/mcp" if seen.method == http::Method::POST => {
            let challenge = format!(r#"Bearer resource_metadata="{origin}/.well-known/oauth-protected-resource/mcp", scope="a""#);
            Answer::text(401, "application/json", "{}").with("www-authenticate", &challenge)
        }
        _ => Answer::text(404, "text/plain", "not here"),
    }
}

#[tokio::test]
async fn a_sound_server_has_nothing_wrong() {
    let (_server, url) = site(|_, _| None).await;
    let (code, findings) = doctor(&url, &[]).await;
    assert_eq!(wrong(&findings), Vec::<&str>::new());
    assert_eq!(code, Some(0));
    tells(&findings, "ok", "PKCE with S256");
    tells(&findings, "ok", "register dynamically");
    tells(&findings, "note", "may not call");
}

#[tokio::test]
async fn the_gateway_itself_passes_but_for_its_issuer() {
    let world = World::start().await;
    let (_, findings) = doctor(&world.resource(), &[]).await;
    assert!(findings.iter().all(|one| one["verdict"] != "wrong" || one["step"] == "issuer"), "{findings:#?}");
    tells(&findings, "ok", &format!("`resource` is {}", world.resource()));
    tells(&findings, "ok", &format!("`issuer` is {}", world.issuer.url));
}

#[tokio::test]
async fn each_fault_is_found() {
    let cases: [(Site, &str); 5] = [
        (|_, seen| (seen.path == "/mcp").then(|| Answer::json(json!({}))), "answered with 200"),
        (
            |_, seen| seen.path.starts_with("/.well-known/oauth-protected-resource").then(|| Answer::text(404, "text/plain", "")),
            "there is none",
        ),
        (
            |origin, seen| {
                let document = json!({"resource": format!("{origin}/mcp/"), "authorization_servers": [origin]});
                seen.path.starts_with("/.well-known/oauth-protected-resource").then(|| Answer::json(document))
            },
            "differs by a slash",
        ),
        (
            |_, seen| seen.path.ends_with("oauth-authorization-server").then(|| Answer::json(json!({"issuer": "https://evil.example"}))),
            "the metadata is of issuer `https://evil.example`",
        ),
        (|_, seen| seen.path.ends_with("oauth-authorization-server").then(|| Answer::text(200, "text/html", "<html>")), "has no metadata"),
    ];
    for (bend, said) in cases {
        let (_server, url) = site(bend).await;
        let (code, findings) = doctor(&url, &[]).await;
        assert_eq!(code, Some(1), "{said}");
        tells(&findings, "wrong", said);
    }
}

#[tokio::test]
async fn a_token_is_held_against_the_resource_and_is_neither_sent_nor_printed() {
    let world = World::start().await;
    let file = world.folder.path().join("token");
    let wrong_one = world.issuer.token("https://other.example/mcp", |_| {});
    for (token, verdict, said) in [(world.ta(), "ok", "issued for this resource"), (wrong_one, "wrong", "`aud` is")] {
        std::fs::write(&file, &token).unwrap();
        let (_, findings) = doctor(&world.resource(), &["--token-file", file.to_str().unwrap()]).await;
        tells(&findings, verdict, said);
        let text = serde_json::to_string(&findings).unwrap();
        assert!(token.split('.').all(|part| !text.contains(part)), "{text}");
    }
    let lines = world.gateway.audited(2, |line| line["upstream"] == "files").await;
    assert!(lines.iter().all(|line| line["token"].is_null()), "{lines:?}");
}

#[tokio::test]
async fn where_nobody_answers_it_could_not_be_done() {
    let told = run(&["doctor", "http://127.0.0.1:1/mcp"]).await;
    assert_eq!(told.status.code(), Some(3), "{told:?}");
}

#[tokio::test]
async fn issue_5_8_what_others_see_is_held_against_the_configuration() {
    let world = World::start().await;
    let file = world.folder.path().join("proposed.yaml");
    let compared = async |change: &dyn Fn(&mut Value)| {
        let mut config = world.config.clone();
        change(&mut config);
        crate::support::gateway::write_config(&file, &crate::support::gateway::yaml(&config));
        doctor(&world.resource(), &["--config", file.to_str().unwrap()]).await.1
    };
    let findings = compared(&|_| {}).await;
    tells(&findings, "ok", "the metadata is that of upstream `files`");
    tells(&findings, "ok", "is issuer `corp`");
    let findings = compared(&|config| config["upstreams"]["files"]["rules"] = json!([{"tools": ["a"], "scopes": ["crm:read"]}])).await;
    tells(&findings, "wrong", "`scopes_supported` is");
    let other = "https://login.example.com";
    let findings = compared(&|config| config["issuers"]["corp"]["issuer"] = json!(other)).await;
    tells(&findings, "wrong", &format!("and the configuration says [\"{other}\"]"));
    tells(&findings, "wrong", &format!("the configuration has no issuer {}", world.issuer.url));
    let keys = format!("{}/other-keys", world.issuer.url);
    let findings = compared(&|config| config["issuers"]["corp"]["jwks_uri"] = json!(keys)).await;
    tells(&findings, "wrong", &format!("`jwks_uri` is {}/jwks, and the configuration says {keys}", world.issuer.url));
    let findings = compared(&|config| config["upstreams"]["files"]["path"] = json!("/mcp/moved")).await;
    tells(&findings, "wrong", "no upstream of the configuration is the resource");
}
