//! Passkeys of accounts: made at an invitation or by whoever is signed in, used, refused, removed (S33, self-managed mode).

use serde_json::{Value, json};

use crate::authorization_accounts::{OTHER, PASSWORD, alice, at_the_door, call, decided, link, redeem, refresh, setup, users};
use crate::support::authenticator::Authenticator;
use crate::support::issuer::b64;
use crate::support::postgres::Postgres;
use crate::support::provider::{Browser, Page};
use crate::support::{World, eventually};

const ACCOUNT: &str = "/doorward/account";

/// Fields as they are posted.
type Form = Vec<(String, String)>;

/// A gateway at a name for which browsers make passkeys.
async fn world() -> World {
    let mut setup = setup().await;
    setup.config["public_url"] = json!(format!("http://localhost:{}", setup.port));
    setup.start().await
}

fn authenticator(world: &World) -> Authenticator {
    Authenticator::new("localhost", &world.origin)
}

/// What stands after this text of a page, up to the next quote.
fn attribute(page: &Page, before: &str) -> String {
    let (_, rest) = page.text.split_once(before).unwrap_or_else(|| panic!("no {before}: {page:#?}"));
    rest.split('"').next().unwrap().to_owned()
}

/// What the script would fill in for a new passkey.
fn made(page: &Page, authenticator: &Authenticator, more: &[(&str, &str)]) -> Form {
    assert_eq!(attribute(page, "data-passkey=\""), "make");
    let (client_data, attestation) = authenticator.make(&attribute(page, "data-challenge=\""));
    let own = [
        ("ticket", page.ticket()),
        ("asked", attribute(page, "name=\"asked\" value=\"")),
        ("passkey", b64(&authenticator.id)),
        ("client_data", b64(client_data)),
        ("attestation", b64(attestation)),
    ];
    let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    own.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(more).collect()
}

/// The same for a passkey that is used.
fn used(page: &Page, authenticator: &Authenticator, handle: &str) -> Form {
    assert_eq!(attribute(page, "data-passkey=\""), "use");
    let (client_data, data, signature) = authenticator.answer(&attribute(page, "data-challenge=\""));
    let own = [
        ("ticket", page.ticket()),
        ("asked", attribute(page, "name=\"asked\" value=\"")),
        ("passkey", b64(&authenticator.id)),
        ("client_data", b64(client_data)),
        ("authenticator_data", b64(data)),
        ("signature", b64(signature)),
        ("user_handle", b64(handle)),
    ];
    own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

async fn post(browser: &Browser, path: &str, form: &[(String, String)]) -> Page {
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    browser.post(path, &form).await
}

/// The sign-in page of a browser that agreed to the client.
async fn door(world: &World, browser: &Browser) -> Page {
    let ticket = at_the_door(world, browser).await;
    let page = browser.get(&format!("/doorward/sign-in?ticket={ticket}")).await;
    page.is(200);
    page
}

/// Alice, invited, with a passkey and no password; its user handle and her recovery codes.
async fn with_passkey(world: &World, authenticator: &Authenticator) -> (String, Vec<String>) {
    let link = link(&decided(world, &["invite", "alice"]).await);
    let browser = Browser::new(&world.origin);
    let page = browser.get(&link).await;
    let handle = attribute(&page, "data-user=\"");
    let done = post(&browser, &link, &made(&page, authenticator, &[("label", "")])).await;
    done.is(200);
    browser.get(&link).await.is(404);
    let codes = done.text.split("<code>").skip(1).filter_map(|rest| rest.split_once("</code>"));
    (handle, codes.map(|(code, _)| code.to_owned()).collect())
}

/// A whole sign-in by passkey in this browser; what the token endpoint said.
async fn tokens(world: &World, browser: &Browser, authenticator: &Authenticator, handle: &str) -> Value {
    let page = door(world, browser).await;
    let back = post(browser, "/doorward/sign-in", &used(&page, authenticator, handle)).await;
    back.is(303);
    redeem(world, &back.said("code").unwrap()).await
}

async fn listed(world: &World) -> Value {
    serde_json::from_slice(&users(world, &["passkeys", "alice", "--json"]).await.stdout).unwrap()
}

fn reasons(world: &World, reason: &str) -> usize {
    world.gateway.records().iter().filter(|record| record["reason"] == reason).count()
}

#[tokio::test]
async fn an_invited_person_makes_a_passkey_signs_in_with_it_and_calls_a_tool() {
    let world = world().await;
    let mut authenticator = authenticator(&world);
    let (handle, codes) = with_passkey(&world, &authenticator).await;
    assert_eq!(codes.len(), 10, "recovery stays by codes");
    authenticator.counter = 5;
    let tokens = tokens(&world, &Browser::new(&world.origin), &authenticator, &handle).await;
    assert_eq!(call(&world, &tokens).await, 200);
    assert_eq!(world.files.last().header("x-mcp-user"), format!("account|{handle}"));
    assert_eq!(refresh(&world, &tokens).await.0, 200);
    let shown = listed(&world).await;
    assert_eq!((&shown[0]["counter"], &shown[0]["backed_up"], &shown[0]["label"]), (&json!(5), &json!(true), &json!("passkey")));
    assert!(shown[0]["used"].is_string(), "{shown}");
    assert_eq!(reasons(&world, "account_begun"), 1);
}

#[tokio::test]
async fn the_one_script_of_the_page_is_the_one_that_its_policy_names() {
    let world = world().await;
    let page = door(&world, &Browser::new(&world.origin)).await;
    let script = page.text.split_once("<script>").and_then(|(_, rest)| rest.split_once("</script>")).unwrap().0;
    use base64::Engine;
    let digest = base64::engine::general_purpose::STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, script.as_bytes()));
    let policy = page.header("content-security-policy");
    assert!(policy.ends_with(&format!("; script-src 'sha256-{digest}'")), "{policy}");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.text.matches("<script").count(), 1);
    assert!(page.text.contains("<form method=\"post\" action=\"/doorward/sign-in\" hidden data-passkey"), "hidden without script");
    let recovery = Browser::new(&world.origin).get("/doorward/sign-in?ticket=x&recover=1").await;
    assert!(!recovery.text.contains("<script") && !recovery.header("content-security-policy").contains("script-src"));
}

#[tokio::test]
async fn where_browsers_make_no_passkeys_none_are_offered_or_taken() {
    let world = setup().await.start().await;
    let browser = Browser::new(&world.origin);
    let page = door(&world, &browser).await;
    assert!(!page.text.contains("<script") && !page.text.contains("data-passkey"), "{}", page.text);
    assert!(!page.header("content-security-policy").contains("script-src"));
    let form = [("ticket", page.ticket()), ("passkey", "AAAA".into()), ("asked", "x".into())].map(|(name, value)| (name.to_owned(), value));
    post(&browser, "/doorward/sign-in", &form).await.is(403);
}

#[tokio::test]
async fn a_person_adds_names_and_removes_passkeys_and_an_operator_does_too() {
    let world = world().await;
    alice(&world).await;
    let browser = Browser::new(&world.origin);
    let ticket = at_the_door(&world, &browser).await;
    browser.post("/doorward/sign-in", &[("ticket", &ticket), ("name", "alice"), ("password", PASSWORD)]).await.is(303);
    let (one, two) = (authenticator(&world), authenticator(&world));
    let add = async |authenticator: &Authenticator, more: &[(&str, &str)]| {
        let page = browser.get(ACCOUNT).await;
        post(&browser, ACCOUNT, &made(&page, authenticator, &[&[("do", "passkey")][..], more].concat())).await
    };
    add(&one, &[("current", OTHER), ("label", "Phone")]).await.is(400);
    let done = add(&one, &[("current", PASSWORD), ("label", "Phone <b>")]).await;
    done.is(200);
    assert!(done.text.contains("Phone &#60;b&#62;") && done.text.contains("not used yet"), "{}", done.text);
    assert!(attribute(&done, "data-known=\"").contains(&b64(&one.id)), "browsers are told not to make a second");
    add(&one, &[("current", PASSWORD)]).await.is(400);
    add(&two, &[("current", PASSWORD), ("label", "Desk")]).await.is(200);
    let handle = attribute(&done, "data-user=\"");
    tokens(&world, &Browser::new(&world.origin), &one, &handle).await;
    let page = browser.get(ACCOUNT).await;
    assert!(page.text.contains(", last used 2"), "{}", page.text);
    let forget = [("ticket", page.ticket()), ("do", "forget".into()), ("id", b64(&one.id))].map(|(name, value)| (name.to_owned(), value));
    post(&Browser::new(&world.origin), ACCOUNT, &forget).await.is(403);
    post(&browser, ACCOUNT, &forget).await.is(200);
    let door = door(&world, &browser).await;
    post(&browser, "/doorward/sign-in", &used(&door, &one, &handle)).await.is(403);
    let left = listed(&world).await;
    assert_eq!((left.as_array().unwrap().len(), &left[0]["label"]), (1, &json!("Desk")));
    // One id in 64 begins like an option.
    let unknown = users(&world, &["remove-passkey", "alice", "--passkey", "-Artq", "--reason", "x", "--by", "mia"]).await;
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(!unknown.status.success() && said.contains("has no passkey `-Artq`"), "{said}");
    decided(&world, &["remove-passkey", "alice", "--passkey", left[0]["id"].as_str().unwrap()]).await;
    assert_eq!(listed(&world).await, json!([]));
    assert_eq!((reasons(&world, "passkey_added"), reasons(&world, "passkey_removed")), (2, 1));
    let records = world.gateway.records();
    assert!(records.iter().any(|record| record["operation"] == "admin/user" && record.to_string().contains("passkey removed")));
}

#[tokio::test]
async fn a_challenge_is_answered_once_in_its_browser_and_for_what_it_was_asked() {
    let world = world().await;
    let authenticator = authenticator(&world);
    let (handle, _) = with_passkey(&world, &authenticator).await;
    let (home, other) = (Browser::new(&world.origin), Browser::new(&world.origin));
    let (page, elsewhere) = (door(&world, &home).await, door(&world, &other).await);
    let form = used(&page, &authenticator, &handle);
    // Shown to another browser with a ticket of its own.
    let mut stolen = form.clone();
    stolen[0].1 = elsewhere.ticket();
    post(&other, "/doorward/sign-in", &stolen).await.is(403);
    post(&home, "/doorward/sign-in", &form).await.is(303);
    post(&home, "/doorward/sign-in", &form).await.is(403);
    // An answer to the challenge of another page.
    let (old, new) = (door(&world, &home).await, door(&world, &home).await);
    let mut mixed = used(&old, &authenticator, &handle);
    mixed[1].1 = attribute(&new, "name=\"asked\" value=\"");
    post(&home, "/doorward/sign-in", &mixed).await.is(403);
    // A challenge for a new passkey does not sign in, nor the other way round.
    let account = home.get(ACCOUNT).await;
    let mut odd = used(&door(&world, &home).await, &authenticator, &handle);
    let (client_data, data, signature) = authenticator.answer(&attribute(&account, "data-challenge=\""));
    odd[1].1 = attribute(&account, "name=\"asked\" value=\"");
    (odd[3].1, odd[4].1, odd[5].1) = (b64(client_data), b64(data), b64(signature));
    post(&home, "/doorward/sign-in", &odd).await.is(403);
}

#[tokio::test]
async fn whatever_is_not_right_about_a_passkey_is_answered_alike() {
    let world = world().await;
    let mut authenticator = authenticator(&world);
    authenticator.counter = 3;
    let (handle, _) = with_passkey(&world, &authenticator).await;
    let said = async |authenticator: &Authenticator, handle: &str, change: &dyn Fn(&mut Form)| {
        let browser = Browser::new(&world.origin);
        let page = door(&world, &browser).await;
        let mut form = used(&page, authenticator, handle);
        change(&mut form);
        let answer = post(&browser, "/doorward/sign-in", &form).await;
        answer.is(403);
        let secrets = [answer.ticket(), attribute(&answer, "name=\"asked\" value=\""), attribute(&answer, "data-challenge=\"")];
        assert!(answer.cookies().iter().all(|cookie| !cookie.contains("doorward-session")), "{answer:#?}");
        secrets.iter().fold(answer.text, |text, secret| text.replace(secret, ""))
    };
    let unknown = said(&self::authenticator(&world), &handle, &|_| {}).await;
    // The counter of a copy; another person's key; a broken signature; fields that are missing or no base64.
    assert_eq!(said(&authenticator, &handle, &|_| {}).await, unknown);
    authenticator.counter = 9;
    assert_eq!(said(&authenticator, "somebody-else", &|_| {}).await, unknown);
    assert_eq!(said(&authenticator, &handle, &|form| form[5].1 = "AAAA".into()).await, unknown);
    assert_eq!(said(&authenticator, &handle, &|form| form.truncate(3)).await, unknown);
    decided(&world, &["disable", "alice"]).await;
    assert_eq!(said(&authenticator, &handle, &|_| {}).await, unknown);
    decided(&world, &["enable", "alice"]).await;
    eventually("alice signs in again", async || {
        let browser = Browser::new(&world.origin);
        let page = door(&world, &browser).await;
        (post(&browser, "/doorward/sign-in", &used(&page, &authenticator, &handle)).await.status == 303).then_some(())
    })
    .await;
    assert!(reasons(&world, "passkey_wrong") >= 6);
}

#[tokio::test]
async fn who_shows_wrong_answers_waits_and_keeps_nobody_out_of_a_known_browser() {
    let world = world().await;
    let authenticator = authenticator(&world);
    let (handle, _) = with_passkey(&world, &authenticator).await;
    let home = Browser::new(&world.origin);
    tokens(&world, &home, &authenticator, &handle).await;
    let stranger = Browser::new(&world.origin);
    eventually("the stranger waits", async || {
        let page = door(&world, &stranger).await;
        let mut form = used(&page, &authenticator, &handle);
        form[5].1 = "AAAA".into();
        let answer = post(&stranger, "/doorward/sign-in", &form).await;
        (answer.status == 429 && !answer.header("retry-after").is_empty()).then_some(())
    })
    .await;
    tokens(&world, &home, &authenticator, &handle).await;
}

#[tokio::test]
async fn the_last_way_in_stays_and_a_recovery_code_takes_all_passkeys_away() {
    let world = world().await;
    let (one, two) = (authenticator(&world), authenticator(&world));
    let (handle, codes) = with_passkey(&world, &one).await;
    let browser = Browser::new(&world.origin);
    let before = tokens(&world, &browser, &one, &handle).await;
    let forget = async |authenticator: &Authenticator| {
        let page = browser.get(ACCOUNT).await;
        browser.post(ACCOUNT, &[("ticket", &page.ticket()), ("do", "forget"), ("id", &b64(&authenticator.id))]).await
    };
    forget(&one).await.is(400);
    let page = browser.get(ACCOUNT).await;
    assert!(!page.text.contains("name=\"current\""), "there is no present password to ask for");
    post(&browser, ACCOUNT, &made(&page, &two, &[("do", "passkey")])).await.is(200);
    forget(&one).await.is(200);
    forget(&two).await.is(400);
    let ticket = at_the_door(&world, &browser).await;
    let form = [("ticket", ticket.as_str()), ("name", "alice"), ("code", codes[0].as_str()), ("password", OTHER)];
    browser.post("/doorward/sign-in", &form).await.is(303);
    assert_eq!(listed(&world).await, json!([]));
    assert_eq!(refresh(&world, &before).await.0, 400);
    let page = door(&world, &browser).await;
    post(&browser, "/doorward/sign-in", &used(&page, &two, &handle)).await.is(403);
}

/// The same on PostgreSQL.
async fn on(postgres: &Postgres) -> World {
    let mut setup = setup().await;
    let file = setup.folder.path().join("store-url");
    std::fs::write(&file, postgres.url()).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    setup.config["public_url"] = json!(format!("http://localhost:{}", setup.port));
    setup.config["store"] = json!({"url_file": file});
    let key = setup.folder.path().join("sealing-key");
    std::fs::write(&key, "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=").unwrap();
    setup.config["authorization_server"]["key_file"] = json!(key);
    setup.start().await
}

#[tokio::test]
async fn issue_6_of_two_last_passkeys_that_are_removed_at_once_one_stays() {
    let postgres = Postgres::start().await;
    for world in [world().await, on(&postgres).await] {
        let (one, two) = (authenticator(&world), authenticator(&world));
        let (handle, _) = with_passkey(&world, &one).await;
        let browser = Browser::new(&world.origin);
        tokens(&world, &browser, &one, &handle).await;
        for _ in 0..3 {
            for authenticator in [&one, &two] {
                let page = browser.get(ACCOUNT).await;
                post(&browser, ACCOUNT, &made(&page, authenticator, &[("do", "passkey")])).await;
            }
            let ticket = browser.get(ACCOUNT).await.ticket();
            let forget = async |authenticator: &Authenticator| {
                let id = b64(&authenticator.id);
                browser.post(ACCOUNT, &[("ticket", &ticket), ("do", "forget"), ("id", &id)]).await.status
            };
            let (first, second) = tokio::join!(forget(&one), forget(&two));
            assert_eq!((first.min(second), first.max(second)), (200, 400));
            assert_eq!(listed(&world).await.as_array().unwrap().len(), 1);
        }
    }
}

#[tokio::test]
async fn issue_6_a_person_calls_a_passkey_something_else() {
    let world = world().await;
    let authenticator = authenticator(&world);
    let (handle, _) = with_passkey(&world, &authenticator).await;
    let browser = Browser::new(&world.origin);
    tokens(&world, &browser, &authenticator, &handle).await;
    let page = browser.get(ACCOUNT).await;
    let id = b64(&authenticator.id);
    let form = |label| [("ticket", page.ticket()), ("do", "name".to_owned()), ("id", id.clone()), ("label", label)];
    let name = form("  Key <i>of</i> the house ".to_owned()).map(|(name, value)| (name.to_owned(), value));
    let done = post(&browser, ACCOUNT, &name).await;
    done.is(200);
    assert!(done.text.contains("Key &#60;i&#62;of&#60;/i&#62; the house"), "{}", done.text);
    assert_eq!(listed(&world).await[0]["label"], "Key <i>of</i> the house");
    post(&Browser::new(&world.origin), ACCOUNT, &name).await.is(403);
    let long = form("x".repeat(100)).map(|(name, value)| (name.to_owned(), value));
    post(&browser, ACCOUNT, &long).await.is(200);
    assert_eq!(listed(&world).await[0]["label"].as_str().unwrap().len(), 64);
}

#[tokio::test]
async fn on_postgresql_a_passkey_is_made_used_and_refused_as_well() {
    let postgres = Postgres::start().await;
    let world = on(&postgres).await;
    let mut authenticator = authenticator(&world);
    let (handle, _) = with_passkey(&world, &authenticator).await;
    authenticator.counter = 1;
    let browser = Browser::new(&world.origin);
    tokens(&world, &browser, &authenticator, &handle).await;
    let page = door(&world, &browser).await;
    post(&browser, "/doorward/sign-in", &used(&page, &authenticator, &handle)).await.is(403);
    assert_eq!(listed(&world).await[0]["counter"], 1);
}
