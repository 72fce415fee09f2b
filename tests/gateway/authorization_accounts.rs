//! Accounts kept here: invited, signed in, recovered, disabled; and who guesses (S33, self-managed mode).

use std::process::Output;

use serde_json::{Value, json};

use crate::support::gateway::run;
use crate::support::provider::{Browser, Page};
use crate::support::{Setup, World, eventually};

const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const DESK: &str = "https://desk.example/cb";
pub const PASSWORD: &str = "four plain words here";
pub const OTHER: &str = "quite another long one";

/// A gateway with accounts, and a client that needs no approval.
async fn world() -> World {
    setup().await.start().await
}

pub async fn setup() -> Setup {
    let mut setup = Setup::new().await;
    let folder = setup.folder.path().to_owned();
    let config = &mut setup.config;
    config["store"] = json!(format!("sqlite:{}", folder.join("doorward.db").display()));
    config["upstreams"]["files"]["ownership"] = json!("self_managed");
    config["upstreams"]["files"].as_object_mut().unwrap().remove("issuers");
    config["authorization_server"] = json!({
        "login": {"accounts": {}},
        "rate": "1000/s",
        "clients": {"desk": {"name": "Desk", "redirect_uris": [DESK]}},
    });
    setup
}

pub async fn users(world: &World, what: &[&str]) -> Output {
    let config = world.gateway.config_file.display().to_string();
    run(&[&["users", what[0], "--config", &config], &what[1..]].concat()).await
}

/// Does something to alice's account; what was printed.
pub async fn decided(world: &World, what: &[&str]) -> String {
    let output = users(world, &[what, &["--reason", "ticket 7", "--by", "mia"]].concat()).await;
    assert!(output.status.success(), "{what:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub fn link(printed: &str) -> String {
    let line = printed.lines().find(|line| line.contains("/doorward/invite/")).unwrap();
    line.trim().split_once("/doorward").map(|(_, path)| format!("/doorward{path}")).unwrap()
}

/// Chooses a password at an invitation; the recovery codes.
pub async fn accept(world: &World, link: &str) -> Vec<String> {
    let browser = Browser::new(&world.origin);
    let page = browser.get(link).await;
    page.is(200);
    let done = browser.post(link, &[("ticket", &page.ticket()), ("password", PASSWORD), ("again", PASSWORD)]).await;
    done.is(200);
    let codes = done.text.split("<code>").skip(1).filter_map(|rest| rest.split_once("</code>"));
    codes.map(|(code, _)| code.to_owned()).collect()
}

/// Alice, with a password; her recovery codes.
pub async fn alice(world: &World) -> Vec<String> {
    let printed = decided(world, &["invite", "alice", "--groups", "sre", "--email", "alice@example.com"]).await;
    accept(world, &link(&printed)).await
}

fn authorize(world: &World) -> String {
    let resource = world.resource();
    let pairs = [
        ("response_type", "code"),
        ("client_id", "desk"),
        ("redirect_uri", DESK),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("resource", &resource),
        ("scope", "files:read offline_access"),
        ("state", "s1"),
    ];
    format!("/authorize?{}", url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish())
}

/// Agrees to the client and is sent to the page of accounts; the ticket there.
pub async fn at_the_door(world: &World, browser: &Browser) -> String {
    let page = browser.get(&format!("{}&prompt=login", authorize(world))).await;
    page.is(200);
    let out = browser.post("/doorward/consent", &[("ticket", &page.ticket()), ("allow", "accounts")]).await;
    out.is(303);
    let page = browser.get(&out.location()).await;
    page.is(200);
    page.ticket()
}

async fn sign_in(browser: &Browser, ticket: &str, name: &str, password: &str) -> Page {
    browser.post("/doorward/sign-in", &[("ticket", ticket), ("name", name), ("password", password)]).await
}

async fn token(world: &World, form: &[(&str, &str)]) -> (u16, Value) {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = world.http.post(format!("{}/token", world.origin));
    let answer = request.header("content-type", "application/x-www-form-urlencoded").body(body).send().await.unwrap();
    (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

pub async fn redeem(world: &World, code: &str) -> Value {
    let form =
        [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", DESK), ("client_id", "desk"), ("code_verifier", VERIFIER)];
    let (status, answer) = token(world, &form).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// A whole sign-in in this browser; what the token endpoint said.
pub async fn tokens(world: &World, browser: &Browser) -> Value {
    let ticket = at_the_door(world, browser).await;
    let back = sign_in(browser, &ticket, "alice", PASSWORD).await;
    back.is(303);
    redeem(world, &back.said("code").unwrap()).await
}

pub async fn call(world: &World, tokens: &Value) -> u16 {
    world.tool("read_file").token(tokens["access_token"].as_str().unwrap()).send().await.status
}

pub async fn refresh(world: &World, tokens: &Value) -> (u16, Value) {
    let refresh = tokens["refresh_token"].as_str().unwrap();
    token(world, &[("grant_type", "refresh_token"), ("refresh_token", refresh), ("client_id", "desk")]).await
}

#[tokio::test]
async fn an_invited_person_chooses_a_password_signs_in_and_calls_a_tool() {
    let world = world().await;
    assert_eq!(alice(&world).await.len(), 10);
    let tokens = tokens(&world, &Browser::new(&world.origin)).await;
    assert_eq!(call(&world, &tokens).await, 200);
    let seen = world.files.last();
    assert!(seen.header("x-mcp-user").starts_with("account|"));
    assert_eq!((seen.header("x-mcp-email"), seen.header("x-mcp-groups")), ("alice@example.com".into(), "sre".into()));
    let (status, answer) = refresh(&world, &tokens).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn an_invitation_works_once_and_only_in_the_browser_that_opened_it() {
    let world = world().await;
    let link = link(&decided(&world, &["invite", "alice"]).await);
    let (one, other) = (Browser::new(&world.origin), Browser::new(&world.origin));
    let page = one.get(&link).await;
    other.get(&link).await.is(200);
    let form = [("ticket", page.ticket()), ("password", PASSWORD.into()), ("again", PASSWORD.into())];
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    other.post(&link, &form).await.is(403);
    one.post(&link, &[("password", PASSWORD), ("again", PASSWORD)]).await.is(403);
    one.post(&link, &form).await.is(200);
    one.post(&link, &form).await.is(404);
    one.get(&link).await.is(404);
    one.get("/doorward/invite/0123456789abcdefghijklmnopqrstuvwxyzABCDEFG").await.is(404);
}

#[tokio::test]
async fn issue_6_once_one_link_was_used_no_older_one_of_that_account_works() {
    let world = world().await;
    let older = link(&decided(&world, &["invite", "alice"]).await);
    let bobs = link(&decided(&world, &["invite", "bob"]).await);
    let newer = link(&decided(&world, &["reset", "alice"]).await);
    let thief = Browser::new(&world.origin);
    let page = thief.get(&older).await;
    page.is(200);
    accept(&world, &newer).await;
    thief.post(&older, &[("ticket", &page.ticket()), ("password", OTHER), ("again", OTHER)]).await.is(404);
    thief.get(&older).await.is(404);
    thief.get(&bobs).await.is(200);
}

#[tokio::test]
async fn a_password_that_is_short_guessable_or_mistyped_is_not_taken_and_the_link_still_works() {
    let world = world().await;
    let link = link(&decided(&world, &["invite", "alice"]).await);
    let browser = Browser::new(&world.origin);
    for (password, again) in [("short", "short"), ("aaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaa"), (PASSWORD, OTHER)] {
        let page = browser.get(&link).await;
        let done = browser.post(&link, &[("ticket", &page.ticket()), ("password", password), ("again", again)]).await;
        done.is(400);
        assert!(done.text.contains("role=\"alert\""), "{}", done.text);
    }
    assert_eq!(accept(&world, &link).await.len(), 10);
}

#[tokio::test]
async fn unknown_names_wrong_passwords_and_disabled_accounts_are_answered_alike() {
    let world = world().await;
    alice(&world).await;
    decided(&world, &["invite", "bob"]).await;
    let browser = Browser::new(&world.origin);
    let ticket = at_the_door(&world, &browser).await;
    let said = async |name: &str, password: &str| {
        let page = sign_in(&browser, &ticket, name, password).await;
        page.is(403);
        page.text.replace(&format!("value=\"{name}\""), "").replace(&ticket, "")
    };
    let wrong = said("alice", OTHER).await;
    for (name, password) in [("nobody", OTHER), ("bob", ""), ("bob", OTHER), ("../alice", PASSWORD)] {
        assert_eq!(said(name, password).await, wrong, "{name}");
    }
    decided(&world, &["disable", "alice"]).await;
    assert_eq!(said("alice", PASSWORD).await, wrong);
}

#[tokio::test]
async fn strangers_who_guess_wait_and_do_not_lock_a_known_browser_out() {
    let world = world().await;
    alice(&world).await;
    let home = Browser::new(&world.origin);
    tokens(&world, &home).await;
    let stranger = Browser::new(&world.origin);
    let ticket = at_the_door(&world, &stranger).await;
    let last = Browser::new(&world.origin);
    let its = at_the_door(&world, &last).await;
    eventually("strangers wait for longer and longer", async || {
        let page = sign_in(&stranger, &ticket, "alice", OTHER).await;
        (page.status == 429 && page.header("retry-after").parse::<u64>().unwrap() >= 4).then_some(())
    })
    .await;
    // Even the right password does not help a stranger now; a name that nobody has waits as well.
    sign_in(&last, &its, "alice", PASSWORD).await.is(429);
    let ticket = its;
    tokens(&world, &home).await;
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(sign_in(&last, &ticket, "nobody", OTHER).await.status);
    }
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn a_recovery_code_works_once_and_ends_all_that_was_connected_before() {
    let world = world().await;
    let codes = alice(&world).await;
    let before = tokens(&world, &Browser::new(&world.origin)).await;
    let browser = Browser::new(&world.origin);
    let ticket = at_the_door(&world, &browser).await;
    let recover = async |code: &str, password: &str| {
        let form = [("ticket", ticket.as_str()), ("name", "alice"), ("code", code), ("password", password)];
        browser.post("/doorward/sign-in", &form).await
    };
    recover("AAAA-BBBB-CCCC-DDDD", OTHER).await.is(403);
    recover(&codes[0], "short").await.is(400);
    recover(&codes[0].to_lowercase(), OTHER).await.is(303);
    recover(&codes[0], OTHER).await.is(403);
    eventually("the old token is refused", async || (call(&world, &before).await == 401).then_some(())).await;
    assert_eq!(refresh(&world, &before).await.0, 400);
    let ticket = at_the_door(&world, &Browser::new(&world.origin)).await;
    sign_in(&Browser::new(&world.origin), &ticket, "alice", PASSWORD).await.is(403);
}

#[tokio::test]
async fn a_disabled_account_is_out_at_once_everywhere_and_what_it_had_does_not_come_back() {
    let world = world().await;
    alice(&world).await;
    let browser = Browser::new(&world.origin);
    let before = tokens(&world, &browser).await;
    decided(&world, &["disable", "alice"]).await;
    eventually("the token is refused", async || (call(&world, &before).await == 401).then_some(())).await;
    assert_eq!(refresh(&world, &before).await.0, 400);
    browser.get("/doorward/account").await.is(200);
    assert!(!browser.get("/doorward/account").await.text.contains("account-sessions"));
    decided(&world, &["enable", "alice"]).await;
    assert_eq!(call(&world, &before).await, 401);
    assert_eq!(refresh(&world, &before).await.0, 400);
    // And whoever signs in again does not wait until the clocks have no doubt.
    let after = tokens(&world, &browser).await;
    assert_eq!(call(&world, &after).await, 200);
    let account = browser.get("/doorward/account").await;
    account.is(200);
    browser.post("/doorward/account", &[("ticket", &account.ticket()), ("do", "out")]).await.is(200);
    assert!(browser.get("/doorward/account").await.text.contains("/doorward/begin"), "signed out");
    let records: Vec<Value> = world.gateway.records().into_iter().filter(|record| record["operation"] == "admin/user").collect();
    assert_eq!(records.len(), 3, "{records:?}");
    assert!(records.iter().all(|record| record["actor"] == "mia"), "{records:?}");
}

#[tokio::test]
async fn a_person_sees_and_ends_sessions_changes_the_password_and_makes_new_codes() {
    let world = world().await;
    alice(&world).await;
    let (here, there) = (Browser::new(&world.origin), Browser::new(&world.origin));
    tokens(&world, &here).await;
    tokens(&world, &there).await;
    let page = here.get("/doorward/account").await;
    page.is(200);
    assert_eq!(page.text.matches("class=\"small\">Since").count(), 2, "{}", page.text);
    let session = page.text.split("name=\"session\" value=\"").nth(1).and_then(|rest| rest.split_once('"')).unwrap().0;
    here.post("/doorward/account", &[("ticket", &page.ticket()), ("do", "end"), ("session", session)]).await.is(200);
    assert!(there.get("/doorward/account").await.text.contains("/doorward/begin"), "signed out there");
    let change = async |current: &str| {
        let form = [
            ("ticket", page.ticket()),
            ("do", "password".into()),
            ("current", current.to_owned()),
            ("password", OTHER.into()),
            ("again", OTHER.into()),
        ];
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        here.post("/doorward/account", &form).await
    };
    change("not the present one").await.is(400);
    change(PASSWORD).await.is(200);
    let codes = here.post("/doorward/account", &[("ticket", &page.ticket()), ("do", "codes"), ("current", OTHER)]).await;
    assert_eq!(codes.text.matches("<code>").count(), 10);
    // Without the form of this browser nothing is done.
    there.post("/doorward/account", &[("ticket", &page.ticket()), ("do", "codes"), ("current", OTHER)]).await.is(403);
    here.post_from(
        "/doorward/account",
        &[("ticket", &page.ticket()), ("do", "codes"), ("current", OTHER)],
        &[("origin", "https://evil.example")],
    )
    .await
    .is(403);
}

#[tokio::test]
async fn groups_that_an_operator_takes_away_are_gone_at_the_next_refresh() {
    let world = world().await;
    alice(&world).await;
    let before = tokens(&world, &Browser::new(&world.origin)).await;
    decided(&world, &["groups", "alice"]).await;
    let (status, after) = refresh(&world, &before).await;
    assert_eq!(status, 200, "{after}");
    assert_eq!(call(&world, &after).await, 200);
    assert_eq!(world.files.last().header("x-mcp-groups"), "");
    let output = users(&world, &["list", "--json"]).await;
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&listed[0]["name"], &listed[0]["groups"], &listed[0]["state"]), (&json!("alice"), &json!([]), &json!("active")));
    assert!(!String::from_utf8_lossy(&output.stdout).contains("argon2"));
    let output = users(&world, &["sessions", "alice", "--json"]).await;
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((shown["browsers"].as_array().unwrap().len(), &shown["clients"][0]["client"]), (1, &json!("desk")));
}

#[tokio::test]
async fn everything_of_a_person_can_be_ended_and_they_sign_in_again_at_once() {
    let world = world().await;
    alice(&world).await;
    let browser = Browser::new(&world.origin);
    let before = tokens(&world, &browser).await;
    decided(&world, &["end", "alice"]).await;
    eventually("the token is refused", async || (call(&world, &before).await == 401).then_some(())).await;
    assert_eq!(refresh(&world, &before).await.0, 400);
    assert!(browser.get("/doorward/account").await.text.contains("/doorward/begin"), "signed out");
    let after = tokens(&world, &browser).await;
    assert_eq!(call(&world, &after).await, 200);
}

#[tokio::test]
async fn a_sign_in_is_of_the_browser_that_was_shown_the_page_and_of_no_other_site() {
    let world = world().await;
    alice(&world).await;
    let (victim, attacker) = (Browser::new(&world.origin), Browser::new(&world.origin));
    let ticket = at_the_door(&world, &attacker).await;
    let form = [("ticket", ticket.as_str()), ("name", "alice"), ("password", PASSWORD)];
    // A browser that was never here, one that was shown another page, a page of another site, and no form at all.
    victim.post("/doorward/sign-in", &form).await.is(403);
    at_the_door(&world, &victim).await;
    let page = victim.post("/doorward/sign-in", &form).await;
    page.is(403);
    assert!(page.cookies().iter().all(|cookie| !cookie.contains("doorward-session")), "{page:#?}");
    assert!(victim.get("/doorward/account").await.text.contains("/doorward/begin"), "nobody is signed in");
    attacker.post_from("/doorward/sign-in", &form, &[("origin", "https://evil.example")]).await.is(403);
    attacker.post_from("/doorward/sign-in", &form, &[("sec-fetch-site", "cross-site")]).await.is(403);
    attacker.post("/doorward/sign-in", &form).await.is(303);
}

#[tokio::test]
async fn where_no_accounts_are_kept_their_pages_are_not_there() {
    let mut setup = Setup::new().await;
    let folder = setup.folder.path().to_owned();
    let secret = folder.join("portal-secret");
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef").unwrap();
    setup.config["store"] = json!(format!("sqlite:{}", folder.join("doorward.db").display()));
    setup.config["upstreams"]["files"]["ownership"] = json!("bridge");
    setup.config["upstreams"]["files"].as_object_mut().unwrap().remove("issuers");
    setup.config["authorization_server"] =
        json!({"login": {"application": {"title": "the portal", "url": "https://app.example.com/in", "secret_file": secret}}});
    let world = setup.start().await;
    for path in ["/doorward/sign-in", "/doorward/account", "/doorward/invite/0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"] {
        Browser::new(&world.origin).get(path).await.is(404);
    }
}
