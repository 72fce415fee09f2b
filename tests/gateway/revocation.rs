//! What is revoked is refused on every replica, and stays so (S40): on SQLite, and on PostgreSQL.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::gateway::{free_port, run};
use crate::support::issuer::{b64, now};
use crate::support::postgres::Postgres;
use crate::support::{Gateway, Setup, World, eventually};

/// A world whose revocations stand in a file.
async fn world() -> World {
    let mut setup = Setup::new().await;
    let file = setup.folder.path().join("doorward.db");
    setup.config["store"] = json!(format!("sqlite:{}", file.display()));
    setup.start().await
}

/// `doorward revoke`, until every replica knows.
async fn revoke(world: &World, what: &[&str]) -> Output {
    write_down(world, &[&["--wait"], what].concat()).await
}

/// The same, until it is written down.
async fn write_down(world: &World, what: &[&str]) -> Output {
    let config = world.gateway.config_file.display().to_string();
    let mut arguments = vec!["revoke", "--config", &config, "--reason", "laptop stolen", "--by", "mia"];
    arguments.extend(what);
    run(&arguments).await
}

/// The same, and it went well. What it said.
async fn revoked(world: &World, what: &[&str]) -> String {
    let output = revoke(world, what).await;
    assert!(output.status.success(), "{what:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn passes(world: &World, token: &str) {
    world.tool("read_file").token(token).send().await.is(200);
}

async fn refused(world: &World, what: &str, token: &str) {
    let before = world.files.count();
    let reply = world.tool("read_file").token(token).send().await;
    assert_eq!(reply.status, 401, "{what}: {reply:?}");
    assert_eq!(reply.challenge_parameter("error").as_deref(), Some("invalid_token"), "{what}: {reply:?}");
    assert_eq!(world.files.count(), before, "{what}");
}

/// A token with claims of its own.
fn token(world: &World, claims: Value) -> String {
    world.token(|token| {
        for (name, value) in claims.as_object().unwrap() {
            token.claims[name.as_str()] = value.clone();
        }
    })
}

fn written(world: &World, token: &str) -> String {
    let file = world.folder.path().join("token");
    std::fs::write(&file, format!("{token}\n")).unwrap();
    file.display().to_string()
}

#[tokio::test]
async fn s40_each_selector_refuses_its_tokens_and_no_others() {
    let world = world().await;
    let other = token(&world, json!({"sub": "user-z", "jti": "z", "sid": "sz", "client_id": "cz"}));
    // Ids are an issuer's own: they may begin like an option, as one in 64 does that is base64url.
    let one = |sub: &str| {
        token(&world, json!({"sub": sub, "jti": format!("-j-{sub}"), "sid": format!("-s-{sub}"), "client_id": format!("-c-{sub}")}))
    };
    let digest = {
        let token = one("user-d");
        passes(&world, &token).await;
        let records = world.gateway.audited(1, |record| record["subject"] == "user-d").await;
        (token, records[0]["token"].as_str().unwrap().to_owned())
    };
    let file = one("user-f");
    let path = written(&world, &file);
    let cases: Vec<(String, Vec<&str>)> = vec![
        (digest.0, vec!["--digest", &digest.1]),
        (file, vec!["--token-file", &path]),
        (one("user-j"), vec!["--jti", "-j-user-j", "--issuer", "corp"]),
        (one("user-s"), vec!["--session", "-s-user-s"]),
        (one("user-c"), vec!["--client", "-c-user-c"]),
        (one("-user-u"), vec!["--subject", "-user-u", "--issuer", &world.issuer.url]),
    ];
    for (token, what) in &cases {
        // Remembered, so that the refusal is not one of a token seen for the first time.
        passes(&world, token).await;
        passes(&world, token).await;
        revoked(&world, what).await;
        refused(&world, what[0], token).await;
        passes(&world, &other).await;
    }
    let records = world.gateway.audited(cases.len(), |record| record["reason"] == "revoked").await;
    assert!(records.iter().all(|record| record["outcome"] == "refused"));
    revoked(&world, &["--upstream", "crm"]).await;
    passes(&world, &other).await;
    revoked(&world, &["--upstream", "files"]).await;
    refused(&world, "upstream", &other).await;
}

#[tokio::test]
async fn s40_a_lost_key_takes_all_its_tokens_and_a_time_takes_all_before_it() {
    let world = world().await;
    let (kid, signer) = (world.issuer.signer.kid.clone(), crate::support::Signer::es256("new"));
    world.issuer.publish(&signer);
    let old = world.ta();
    passes(&world, &old).await;
    revoked(&world, &["--key", &kid, "--issuer", "corp"]).await;
    refused(&world, "remembered", &old).await;
    refused(&world, "fresh", &world.tb()).await;
    let new = world.token(|token| {
        token.signer = signer.clone();
        token.header["kid"] = json!("new");
        token.header["alg"] = json!("ES256");
        token.claims["iat"] = json!(now() - 300);
    });
    passes(&world, &new).await;
    let time = |seconds: u64| humantime::format_rfc3339(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).to_string();
    revoked(&world, &["--before", &time(now() - 600)]).await;
    passes(&world, &new).await;
    revoked(&world, &["--before", &time(now() - 100)]).await;
    refused(&world, "before", &new).await;
}

/// The same signature of ECDSA in its other spelling: r, and the order of P-256 less s.
fn respelled(token: &str) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let order: [u8; 32] = [
        0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xBC, 0xE6, 0xFA, 0xAD, 0xA7, 0x17, 0x9E, 0x84,
        0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51,
    ];
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = 0i16;
    for at in (0..32).rev() {
        let mut digit = i16::from(order[at]) - i16::from(signature[32 + at]) - borrow;
        borrow = i16::from(digit < 0);
        digit += 256 * borrow;
        signature[32 + at] = u8::try_from(digit).unwrap();
    }
    format!("{signed}.{}", b64(signature))
}

#[tokio::test]
async fn a_revoked_token_does_not_come_back_in_another_spelling() {
    let world = world().await;
    let signer = crate::support::Signer::es256("ec");
    world.issuer.publish(&signer);
    for jti in [Some("j"), None] {
        let token = world.token(|token| {
            token.signer = signer.clone();
            token.header["kid"] = json!("ec");
            token.header["alg"] = json!("ES256");
            token.remove("jti");
            if let Some(jti) = jti {
                token.claims["jti"] = json!(jti);
            }
        });
        let other = respelled(&token);
        assert_ne!(token, other);
        passes(&world, &other).await;
        revoked(&world, &["--token-file", &written(&world, &token)]).await;
        refused(&world, "as revoked", &token).await;
        refused(&world, "remembered", &other).await;
        let again = respelled(&other);
        assert_eq!(again, token);
    }
}

#[tokio::test]
async fn s40_acknowledged_is_durable_through_kills_reloads_and_restarts() {
    let mut world = world().await;
    for round in 0..5 {
        let subject = format!("user-{round}");
        let token = token(&world, json!({"sub": subject}));
        passes(&world, &token).await;
        // Not even the replica need have heard of it.
        let output = write_down(&world, &["--subject", &subject, "--issuer", "corp"]).await;
        world.gateway.signal("KILL");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        world.gateway.exit().await;
        world.gateway = Gateway::start(world.folder.path(), &world.config, &world.http).await;
        refused(&world, &subject, &token).await;
    }
    let token = token(&world, json!({"sub": "user-0"}));
    let mut changed = world.config.clone();
    changed["log"] = json!("json");
    world.gateway.reload(&changed).await;
    refused(&world, "after a reload", &token).await;
    passes(&world, &world.tb()).await;
}

#[tokio::test]
async fn a_revocation_is_recorded_with_who_and_why_and_without_the_token() {
    let world = world().await;
    let token = world.ta();
    revoked(&world, &["--token-file", &written(&world, &token)]).await;
    let records: Vec<Value> = world.gateway.records().into_iter().filter(|record| record["operation"] == "admin/revoke").collect();
    assert_eq!((&records[0]["actor"], &records[0]["reason"]), (&json!("mia"), &json!("laptop stolen")));
    let audit = std::fs::read_to_string(&world.gateway.audit_file).unwrap();
    let signature = token.rsplit('.').next().unwrap();
    assert!(!audit.contains(signature));
    let file = world.folder.path().join("doorward.db");
    for name in ["", "-wal", "-shm"] {
        let path = format!("{}{name}", file.display());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path}");
        let content = std::fs::read(&path).unwrap();
        assert!(!content.windows(signature.len()).any(|part| part == signature.as_bytes()), "{path}");
    }
}

#[tokio::test]
async fn a_command_that_would_have_no_effect_is_refused() {
    let world = world().await;
    for (what, code) in [
        (vec!["--subject", "a", "--issuer", "nobody"], 3),
        (vec!["--subject", "a"], 2),
        (vec![], 2),
        (vec!["--digest", "short"], 3),
        (vec!["--upstream", "nothing"], 3),
        (vec!["--before", "2999-01-01T00:00:00Z"], 3),
        (vec!["--token-file", "/no/such/file"], 3),
    ] {
        let output = revoke(&world, &what).await;
        assert_eq!(output.status.code(), Some(code), "{what:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    passes(&world, &world.ta()).await;
    let without = World::start().await;
    assert_eq!(revoke(&without, &["--client", "a"]).await.status.code(), Some(3));
}

#[tokio::test]
async fn a_token_that_could_outlive_its_revocation_is_refused() {
    let world = world().await;
    let (issued, day) = (now() - 5, 24 * 3600);
    passes(&world, &token(&world, json!({"iat": issued, "exp": issued + day}))).await;
    refused(&world, "too long", &token(&world, json!({"iat": issued, "exp": issued + day + 1}))).await;
    world.gateway.audited(1, |record| record["reason"] == "token_lifetime").await;
}

#[tokio::test]
async fn s40_a_file_that_was_replaced_is_not_believed() {
    let mut setup = Setup::new().await;
    let file = setup.folder.path().join("doorward.db");
    setup.config["store"] = json!({"url": format!("sqlite:{}", file.display()), "revocation_max_age": "2s"});
    let world = setup.start().await;
    let token = world.ta();
    passes(&world, &token).await;
    std::fs::rename(&file, file.with_extension("old")).unwrap();
    std::fs::write(&file, "").unwrap();
    unknown(&world, &token).await;
}

/// Waits until nobody is let in.
async fn unknown(world: &World, token: &str) {
    let reply = eventually("the refusal", || async {
        let reply = world.tool("read_file").token(token).send().await;
        (reply.status != 200).then_some(reply)
    })
    .await;
    assert_eq!(reply.status, 503, "{reply:?}");
    assert_eq!(reply.challenge(), "");
    world.gateway.audited(1, |record| record["reason"] == "revocations_unknown").await;
    assert_eq!(world.gateway.admin("/readyz").await.0, 503);
}

/// A second gateway with this world's store and issuer, and the origin at which it is reached.
pub async fn second(world: &World) -> (Gateway, tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let (port, mut config) = (free_port(), world.config.clone());
    let origin = format!("http://127.0.0.1:{port}");
    config["public_url"] = json!(origin);
    config["listen"][0]["address"] = json!(format!("127.0.0.1:{port}"));
    config["admin"]["address"] = json!(format!("127.0.0.1:{}", free_port()));
    config["audit"]["file"] = json!(folder.path().join("audit.jsonl"));
    (Gateway::start(folder.path(), &config, &world.http).await, folder, origin)
}

/// When the command returns, both replicas refuse.
async fn both_refuse(world: &World) {
    let (mut other, _folder, origin) = second(world).await;
    for round in 0..10 {
        let subject = format!("user-{round}");
        let here = token(world, json!({"sub": subject}));
        let there = world.issuer.token(&format!("{origin}/mcp/files"), |token| token.claims["sub"] = json!(subject));
        let call = || world.tool("read_file").by(&world.http, &origin).token(&there);
        passes(world, &here).await;
        call().send().await.is(200);
        let said = revoked(world, &["--subject", &subject, "--issuer", "corp"]).await;
        assert_eq!(said.matches(": confirmed").count(), 2, "{said}");
        refused(world, &subject, &here).await;
        call().send().await.is(401);
    }
    assert_eq!(world.gateway.metrics().await.sum("doorward_revocations", ""), 10.0);
    // One that ended says so, and is not waited for.
    other.signal("TERM");
    other.exit().await;
    let said = revoked(world, &["--client", "nobody"]).await;
    assert_eq!(said.matches(": confirmed").count(), 1, "{said}");
}

#[tokio::test]
async fn s40_two_gateways_on_one_file_refuse_when_the_command_returns() {
    both_refuse(&world().await).await;
}

/// A world whose revocations stand in PostgreSQL.
async fn shared(postgres: &Postgres) -> World {
    let mut setup = Setup::new().await;
    share(&mut setup, &postgres.url());
    setup.start().await
}

/// The store of this world is at this address. Without news for two seconds nobody is let in.
pub fn share(setup: &mut Setup, url: &str) {
    let file = setup.folder.path().join("store-url");
    std::fs::write(&file, url).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    setup.config["store"] = json!({"url_file": file, "revocation_max_age": "2s"});
}

#[tokio::test]
async fn s40_two_gateways_on_postgresql_refuse_when_the_command_returns() {
    let postgres = Postgres::start().await;
    both_refuse(&shared(&postgres).await).await;
}

#[tokio::test]
async fn s40_a_database_that_starts_anew_while_somebody_waits_is_asked_again() {
    let mut postgres = Postgres::start().await;
    let world = shared(&postgres).await;
    let (other, _folder, _) = second(&world).await;
    let alice = token(&world, json!({"sub": "alice"}));
    passes(&world, &alice).await;
    // It cannot confirm for now.
    other.signal("STOP");
    let meanwhile = async {
        eventually("the revocation", || async { (world.tool("read_file").token(&alice).send().await.status == 401).then_some(()) }).await;
        postgres.crash();
        postgres.resume().await;
        other.signal("CONT");
    };
    let (output, ()) = tokio::join!(revoke(&world, &["--subject", "alice", "--issuer", "corp"]), meanwhile);
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.matches(": confirmed").count() == 2, "{said} {wrong}");
}

#[tokio::test]
async fn s40_while_postgresql_is_away_nobody_is_let_in_and_nothing_is_lost_by_its_crash() {
    let mut postgres = Postgres::start().await;
    let world = shared(&postgres).await;
    let (alice, bob) = (token(&world, json!({"sub": "alice"})), token(&world, json!({"sub": "bob"})));
    passes(&world, &alice).await;
    revoked(&world, &["--subject", "alice", "--issuer", "corp"]).await;
    postgres.crash();
    unknown(&world, &bob).await;
    postgres.resume().await;
    eventually("bob to be let in", || async {
        let reply = world.tool("read_file").token(&bob).send().await;
        (reply.status == 200).then_some(())
    })
    .await;
    refused(&world, "alice", &alice).await;
    // The feed goes on where it was.
    revoked(&world, &["--subject", "bob", "--issuer", "corp"]).await;
    refused(&world, "bob", &bob).await;
}
