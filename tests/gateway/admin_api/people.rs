//! Accounts, and what their people let clients do, over the API and by the commands that ask it (issue 5, point 9).

use doorward::config::StorePlace;
use doorward::store::Store;
use doorward::store::authorization::{Grant, Passkey};
use serde_json::{Value, json};

use super::{Held, Told, by_command, get, plain, post, tokens};
use crate::authorization_accounts as accounts;
use crate::support::World;
use crate::support::provider::Browser;

/// A gateway that keeps accounts, with a token of each role.
async fn world() -> World {
    let mut setup = accounts::setup().await;
    setup.config["admin"]["tokens"] = tokens(&setup);
    setup.start().await
}

fn why(name: &str) -> Value {
    json!({"name": name, "reason": "ticket 7"})
}

fn with(mut body: Value, more: Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

async fn act(world: &World, what: &str, body: Value) -> Told {
    post(world, &format!("user/{what}"), &body).by("operator").send().await
}

async fn said(world: &World, what: &str, body: Value) -> Value {
    let told = act(world, what, body).await;
    assert_eq!(told.status, 200, "{what}: {told:?}");
    told.body
}

/// Records of this operation whose name begins with this.
async fn recorded(world: &World, operation: &str, name: &str) -> Value {
    let fits = |record: &Value| record["operation"] == operation && record["name"].as_str().is_some_and(|found| found.starts_with(name));
    world.gateway.acts(1, fits).await.remove(0)
}

#[tokio::test]
async fn issue_5_9_accounts_are_kept_over_the_api_and_each_change_is_a_record_with_the_proven_actor() {
    let world = world().await;
    let asked = with(why("Alice"), json!({"groups": ["sre"], "email": "alice@example.com", "by": "mia"}));
    for role in ["viewer", "reviewer"] {
        assert_eq!(post(&world, "user/invite", &asked).by(role).send().await.status, 403, "{role}");
    }
    let offered = said(&world, "invite", asked.clone()).await;
    let link = accounts::link(offered["link"].as_str().unwrap());
    assert_eq!(act(&world, "invite", asked).await.status, 409, "the name is taken");
    accounts::accept(&world, &link).await;
    let record = recorded(&world, "admin/user", "account alice: invited").await;
    assert_eq!(record["actor"], "token operator from 127.0.0.1, says mia");
    let browser = Browser::new(&world.origin);
    let held = accounts::tokens(&world, &browser).await;
    assert_eq!(accounts::call(&world, &held).await, 200);

    let shown = get(&world, "user?name=alice").by("viewer").ok().await;
    assert_eq!((&shown["account"]["state"], &shown["account"]["has_password"]), (&json!("active"), &json!(true)));
    assert_eq!((shown["browsers"].as_array().unwrap().len(), &shown["clients"][0]["client"]), (1, &json!("desk")));
    said(&world, "groups", with(why("alice"), json!({"groups": []}))).await;
    let all = get(&world, "users").by("viewer").ok().await;
    assert_eq!((all["accounts"].as_array().unwrap().len(), &all["accounts"][0]["groups"]), (1, &json!([])));
    said(&world, "end", why("alice")).await;
    crate::support::eventually("the end", async || (accounts::call(&world, &held).await == 401).then_some(())).await;
    assert_eq!(said(&world, "disable", why("alice")).await["account"]["state"], "disabled");
    assert_eq!(act(&world, "reset", why("alice")).await.status, 409, "it is disabled");
    assert_eq!(said(&world, "enable", why("alice")).await["account"]["state"], "active");
    said(&world, "reset", why("alice")).await;
    for done in ["groups changed", "ended everything", "disabled", "enabled", "reset offered"] {
        let record = recorded(&world, "admin/user", &format!("account alice: {done}")).await;
        assert_eq!((&record["actor"], &record["reason"]), (&json!("token operator from 127.0.0.1"), &json!("ticket 7")), "{done}");
    }
    let log = world.gateway.stderr() + &std::fs::read_to_string(&world.gateway.audit_file).unwrap();
    assert!(!log.contains(link.rsplit('/').next().unwrap()), "a link is for its person alone");
}

#[tokio::test]
async fn issue_5_9_what_people_let_clients_do_is_listed_and_ended_over_the_api() {
    let world = world().await;
    accounts::alice(&world).await;
    let held = accounts::tokens(&world, &Browser::new(&world.origin)).await;
    let all = get(&world, "grants?client=desk&upstream=files").by("viewer").ok().await;
    assert_eq!((all["cut"].as_bool(), all["grants"].as_array().unwrap().len()), (Some(false), 1), "{all}");
    assert_eq!(get(&world, "grants?client=nobody").by("viewer").ok().await["grants"], json!([]));
    let id = all["grants"][0]["id"].as_str().unwrap();
    let end = |ids: &[&str]| post(&world, "grants/end", &json!({"grants": ids, "reason": "left the team", "by": "mia"}));
    assert_eq!(end(&[id]).by("reviewer").send().await.status, 403);
    assert_eq!(end(&[id, "nothing"]).by("operator").send().await.status, 404);
    assert_eq!(end(&[]).by("operator").send().await.status, 400);
    assert_eq!(accounts::call(&world, &held).await, 200, "nothing was ended");
    assert_eq!(end(&[id]).by("operator").ok().await["ended"], 1);
    crate::support::eventually("the end", async || (accounts::call(&world, &held).await == 401).then_some(())).await;
    assert_eq!(end(&[id]).by("operator").send().await.status, 409, "it has ended");
    let record = recorded(&world, "admin/revoke", &format!("session {id}")).await;
    assert_eq!((&record["actor"], &record["reason"]), (&json!("token operator from 127.0.0.1, says mia"), &json!("left the team")));
    let upstreams = get(&world, "upstreams").by("viewer").ok().await;
    let files = upstreams["upstreams"].as_array().unwrap().iter().find(|one| one["name"] == "files").unwrap();
    assert_eq!(files["ownership"], "self_managed");
}

#[tokio::test]
async fn issue_5_9_users_and_grants_are_clients_of_the_api() {
    let world = world().await;
    // They read no configuration: where they run there is none.
    let command = async |arguments: &[&str]| by_command(&world, arguments).await;
    let (status, printed, wrong) = command(&["users", "invite", "alice", "--reason", "ticket 7", "--by", "mia"]).await;
    assert!(status == 0 && printed.starts_with("invited: alice\n"), "{printed} {wrong}");
    accounts::accept(&world, &accounts::link(&printed)).await;
    let held = accounts::tokens(&world, &Browser::new(&world.origin)).await;
    let (status, listed, wrong) = command(&["users", "list"]).await;
    assert!(status == 0 && listed.starts_with("alice ") && listed.contains(" active "), "{listed} {wrong}");
    let (_, sessions, _) = command(&["users", "sessions", "alice"]).await;
    assert!(sessions.contains("browser  since ") && sessions.contains(" desk at "), "{sessions}");
    assert_eq!(command(&["users", "passkeys", "alice"]).await.1, "no passkeys\n");
    let (status, _, wrong) = command(&["users", "remove-passkey", "alice", "--passkey", "nothing", "--reason", "x"]).await;
    assert!(status == 3 && wrong.contains("answers 404"), "{wrong}");
    let (_, grants, _) = command(&["grants", "list", "--json"]).await;
    let grants: Value = serde_json::from_str(&grants).unwrap();
    let id = grants[0]["id"].as_str().unwrap();
    assert_eq!(command(&["grants", "end", "--reason", "left", "--", id]).await.1, "ended: 1\n");
    crate::support::eventually("the end", async || (accounts::call(&world, &held).await == 401).then_some(())).await;
    for (what, done) in [("end", "ended everything"), ("disable", "disabled"), ("enable", "enabled")] {
        assert_eq!(command(&["users", what, "alice", "--reason", "x"]).await.1, format!("{done}: alice\n"));
    }
    assert_eq!(command(&["users", "groups", "alice", "--groups", "a,b", "--reason", "x"]).await.1, "groups changed: alice\n");
    assert!(command(&["users", "reset", "alice", "--reason", "x"]).await.1.contains("/doorward/invite/"));
    let (status, _, wrong) = command(&["users", "disable", "nobody", "--reason", "x"]).await;
    assert!(status == 3 && wrong.contains("answers 404: there is no account `nobody`"), "{wrong}");
}

#[tokio::test]
async fn everything_of_a_person_ends_and_not_only_the_newest_two_hundred_of_it() {
    let world = world().await;
    accounts::alice(&world).await;
    let account = get(&world, "user?name=alice").by("viewer").ok().await["account"]["id"].as_str().unwrap().to_owned();
    let store = opened(&world).await;
    for n in 0..205 {
        let grant = Grant {
            id: format!("grant-{n}"),
            issuer: world.origin.clone(),
            upstream: "files".into(),
            client_id: "desk".into(),
            subject: format!("account|{account}"),
            person: "{}".into(),
            scopes: "[]".into(),
            created: 1,
            expires: i64::MAX,
            ..Grant::default()
        };
        store.put_grant(&grant, None).await.unwrap();
    }
    store.close().await;
    assert_eq!(get(&world, "grants").by("viewer").ok().await["grants"].as_array().unwrap().len(), 205);
    said(&world, "end", why("alice")).await;
    assert_eq!(get(&world, "grants").by("viewer").ok().await["grants"], json!([]));
}

/// Every documented answer of these routes that a gateway with accounts gives.
pub(super) async fn answers(held: &mut Held) {
    let world = world().await;
    let link = accounts::link(said(&world, "invite", why("alice")).await["link"].as_str().unwrap());
    accounts::accept(&world, &link).await;
    accounts::tokens(&world, &Browser::new(&world.origin)).await;
    let grants = get(&world, "grants").by("viewer").ok().await;
    for (path, status) in [("grants", 200), ("users", 200), ("user?name=alice", 200), ("user?name=nobody", 404)] {
        assert_eq!(held.ask("GET", path, get(&world, path).by("viewer")).await.status, status, "{path}");
    }
    for (grant, status) in [("nothing", 404), (grants["grants"][0]["id"].as_str().unwrap(), 200)] {
        let ask = post(&world, "grants/end", &json!({"grants": [grant], "reason": "x"})).by("operator");
        assert_eq!(held.ask("POST", "grants/end", ask).await.status, status, "{grant}");
    }
    let invite = post(&world, "user/invite", &why("bob")).by("operator");
    assert_eq!(held.ask("POST", "user/invite", invite).await.status, 200);
    for what in ["groups", "end", "reset", "disable", "enable"] {
        let path = format!("user/{what}");
        for (name, status) in [("alice", 200), ("nobody", 404)] {
            let told = held.ask("POST", &path, post(&world, &path, &whole(what, name)).by("operator")).await;
            assert_eq!(told.status, status, "{what} {name}: {told:?}");
        }
    }
    let shown = get(&world, "user?name=alice").by("viewer").ok().await;
    let passkey = with_passkey(&world, shown["account"]["id"].as_str().unwrap()).await;
    held.ask("GET", "user?name=alice", get(&world, "user?name=alice").by("viewer")).await;
    for (passkey, status) in [("nothing", 404), (&passkey, 200)] {
        let body = with(why("alice"), json!({"passkey": passkey}));
        let told = held.ask("POST", "user/remove-passkey", post(&world, "user/remove-passkey", &body).by("operator")).await;
        assert_eq!(told.status, status, "{told:?}");
    }
}

/// Gives an account a passkey; what it is called by.
async fn with_passkey(world: &World, account: &str) -> String {
    let store = opened(world).await;
    let passkey = Passkey {
        id: "key".into(),
        account: account.to_owned(),
        key: String::new(),
        label: "Desk".into(),
        created: 1,
        used: Some(2),
        counter: 0,
        eligible: true,
        backed_up: false,
    };
    let account = store.account_named("alice").await.unwrap().expect("the account");
    assert!(store.put_passkey(&passkey, &account).await.unwrap());
    store.close().await;
    let shown = get(world, "user?name=alice").by("viewer").ok().await;
    assert_eq!(shown["passkeys"][0]["label"], "Desk");
    shown["passkeys"][0]["id"].as_str().unwrap().to_owned()
}

async fn opened(world: &World) -> Store {
    Store::open(&StorePlace::Sqlite(world.folder.path().join("doorward.db"))).await.unwrap()
}

/// What each route that changes an account takes.
fn whole(what: &str, name: &str) -> Value {
    match what {
        "groups" => with(why(name), json!({"groups": ["a"]})),
        "remove-passkey" => with(why(name), json!({"passkey": "p"})),
        _ => why(name),
    }
}

/// A sound question to one of these routes, for a gateway that keeps no accounts; none for any other route.
pub(super) fn sound(world: &World, method: &str, path: &str) -> Option<super::Ask> {
    match path {
        "grants" | "users" => Some(plain(world, method, path)),
        "user" => Some(get(world, "user?name=c")),
        "grants/end" => Some(post(world, path, &json!({"grants": ["g"], "reason": "x"}))),
        _ => path.strip_prefix("user/").map(|what| post(world, path, &whole(what, "c"))),
    }
}
