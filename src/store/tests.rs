use super::observed::{Attestation, ROOM, Room};
use super::*;
use crate::governance::client::{Client, Key};
use crate::governance::observed::{About, Fact, Gap, Span, Subject};
use crate::governance::{Bounds, Revocation, Revocations, Selector};
use crate::mcp::Kind;
use crate::oauth::account::{Account, AccountState};

const NOW: u64 = 1_800_000_000;

fn revocation(name: &str) -> Revocation {
    Revocation::new(Selector::Client(name.into()), NOW, None, None, &Bounds::default())
}

async fn write(store: &Store, name: &str) -> i64 {
    store.revoke(&revocation(name), &Reason { text: "test", actor: "mia", made: NOW }).await.expect("written")
}

async fn open(folder: &tempfile::TempDir) -> Store {
    Store::open(&StorePlace::Sqlite(folder.path().join("doorward.db"))).await.expect("opens")
}

#[tokio::test]
async fn numbers_have_no_gaps_and_come_back_in_their_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = tokio::join!(open(&folder), open(&folder));
    let writing = (0..20).map(|n| {
        let store = if n % 2 == 0 { one.clone() } else { two.clone() };
        async move { write(&store, &format!("c{n}")).await }
    });
    let mut numbers = futures_util::future::join_all(writing).await;
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
    assert_eq!(one.head().await.expect("read"), 20);
    let first = two.since(0, 15).await.expect("read");
    let rest = two.since(15, 15).await.expect("read");
    let read: Vec<i64> = first.iter().chain(&rest).map(|(seq, _)| *seq).collect();
    assert_eq!(read, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_has_expired_is_purged_and_makes_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder).await;
    for n in 0..7 {
        write(&store, &format!("c{n}")).await;
    }
    let leaves = i64::try_from(revocation("c").leaves.expect("a time")).expect("fits");
    assert_eq!(store.purge(leaves, 5).await.expect("purged"), 0, "not yet");
    assert_eq!(store.purge(leaves + 1, 5).await.expect("purged"), 5);
    assert_eq!(store.purge(leaves + 1, 5).await.expect("purged"), 2);
    assert_eq!(store.since(0, 10).await.expect("read"), []);
    // Numbers are not given out again, and whoever reads late is not stuck.
    assert_eq!(write(&store, "new").await, 8);
    let index = std::sync::Arc::new(Revocations::new(Bounds::default()));
    let replica = Replica { id: "a".into(), place: "here".into(), max_age: Duration::from_secs(30) };
    let mut feed = feed::Feed::new(store.clone(), index.clone(), std::sync::Arc::default(), std::sync::Arc::default(), replica, || {});
    feed.load().await.expect("loaded");
    assert_eq!(index.len(), 1);
    let standing = store.replicas().await.expect("read");
    assert_eq!(standing.iter().map(|one| (one.seq, one.is_gone)).collect::<Vec<_>>(), [(8, false)]);
}

/// Numbers that are the same each time.
fn spread(count: u64, below: usize) -> impl Iterator<Item = usize> {
    (1..=count).map(move |n| usize::try_from(n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33).expect("fits") % below)
}

#[tokio::test]
async fn c_26_a_damaged_store_is_refused_and_never_taken_for_an_empty_one() {
    const WRITTEN: usize = 400;
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder).await;
    for n in 0..WRITTEN {
        write(&store, &format!("client-{n}")).await;
    }
    store.close().await;
    let path = folder.path().join("doorward.db");
    let whole = std::fs::read(&path).expect("read");
    let with = |at: usize, new: &[u8]| {
        let mut bytes = whole.clone();
        bytes[at..at + new.len()].copy_from_slice(new);
        bytes
    };
    let torn = [0, 1, 50, 100, 4_096, whole.len() / 2, whole.len() - 4_096].map(|length| whole[..length].to_vec());
    let other = [vec![0x5A; whole.len()], b"not a database at all, but a text of some length".repeat(200), with(0, b"sqlite")];
    let pages = spread(20, whole.len() / 4_096).map(|page| with(page * 4_096, &[0x5A; 4_096]));
    let scratches = spread(40, whole.len() - 16).map(|at| with(at, &[0x5A; 16]));
    let (mut refused, mut told) = (0, 0);
    for (case, bytes) in torn.into_iter().chain(other).chain(pages).chain(scratches).enumerate() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("doorward.db"), bytes).expect("written");
        let opened = Store::open(&StorePlace::Sqlite(folder.path().join("doorward.db"))).await;
        let all = match opened {
            Ok(store) => store.since(0, 1_000).await,
            Err(error) => Err(error),
        };
        match all {
            Ok(all) => assert_eq!(all.len(), WRITTEN, "case {case}: it goes on with less than was written"),
            Err(error) => {
                refused += 1;
                told += usize::from(error.to_string().contains("put a backup back"));
            }
        }
    }
    assert!(refused >= 25 && told >= 25, "{refused} refused, of which {told} say what to do");
    assert_eq!(open(&folder).await.since(0, 1_000).await.expect("read").len(), WRITTEN, "the whole one is well");
}

#[tokio::test]
async fn more_than_replicas_can_hold_is_not_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder).await;
    let Pool::Sqlite(pool) = &store.pool else { panic!("SQLite") };
    sqlx::query("UPDATE feed SET revocations = 1000000").execute(pool).await.expect("set");
    let reason = Reason { text: "test", actor: "mia", made: NOW };
    assert!(matches!(store.revoke(&revocation("c"), &reason).await, Err(Error::Full)));
    assert_eq!(store.head().await.expect("read"), 0, "nothing was written");
}

#[tokio::test]
async fn a_replica_without_a_sign_of_life_counts_as_gone_when_it_refuses_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder).await;
    let replica = Replica { id: "a".into(), place: "here".into(), max_age: Duration::from_secs(30) };
    store.beat(&replica, 0).await.expect("told");
    let Pool::Sqlite(pool) = &store.pool else { panic!("SQLite") };
    let gone = async |ago: i64| {
        sqlx::query("UPDATE replicas SET seen = CAST(unixepoch('subsec') * 1000 AS INTEGER) - $1")
            .bind(ago)
            .execute(pool)
            .await
            .expect("set");
        store.replicas().await.expect("read")[0].is_gone
    };
    assert!(!gone(30_000).await);
    assert!(gone(36_000).await);
    store.leave(&replica).await.expect("left");
    assert_eq!(store.replicas().await.expect("read"), []);
}

#[tokio::test]
async fn a_replica_that_starts_is_waited_for_before_it_has_read_anything() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder).await;
    write(&store, "c").await;
    let file = folder.path().join("doorward.db");
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let (kept, index) = (seen.clone(), std::sync::Arc::new(Revocations::new(Bounds::default())));
    // What somebody else finds in the store while the first page is read.
    let look = move || {
        let file = file.clone();
        let look = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async { Store::open(&StorePlace::Sqlite(file)).await.expect("opens").replicas().await.expect("read") })
        });
        kept.lock().expect("a lock").extend(look.join().expect("looked"));
    };
    let replica = Replica { id: "a".into(), place: "here".into(), max_age: Duration::from_secs(30) };
    let mut feed = feed::Feed::new(store.clone(), index, std::sync::Arc::default(), std::sync::Arc::default(), replica, look);
    feed.load().await.expect("loaded");
    let seen: Vec<(i64, bool)> = seen.lock().expect("a lock").iter().map(|one| (one.seq, one.is_gone)).collect();
    assert_eq!(seen, [(0, false)], "`revoke --wait` waits for it");
    assert_eq!(store.replicas().await.expect("read").first().map(|one| one.seq), Some(1));
}

mod surfaces {
    use super::*;
    use crate::governance::surface::{Acceptance, IssuerKey, KeyState, Settled, Shown, settle};

    const ISSUER: &str = "https://login.example.com";

    async fn saw(store: &Store, digest: u8, keys: &[&str], acceptance: Acceptance, now: u64) -> Settled {
        let shown = |name: &&str| Shown { thumbprint: (*name).to_owned(), kid: format!("kid-{name}"), algorithms: "ES256".into() };
        let shown: Vec<Shown> = keys.iter().map(shown).collect();
        let version = Version { issuer: ISSUER, kind: SurfaceKind::Keys, digest: &[digest; 32], summary: "[]", now };
        store.saw_keys(&version, |known| settle(ISSUER, known, &shown, acceptance, now)).await.expect("written")
    }

    fn states(keys: &[IssuerKey]) -> Vec<(&str, &str, bool)> {
        keys.iter().map(|key| (key.thumbprint.as_str(), key.state.name(), key.gone.is_some())).collect()
    }

    #[tokio::test]
    async fn what_one_replica_saw_is_no_news_for_another_nor_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, two) = (open(&folder).await, open(&folder).await);
        assert_eq!(saw(&one, 1, &["a"], Acceptance::Approved, 10).await.drifts, []);
        assert_eq!(saw(&one, 2, &["a", "b"], Acceptance::Approved, 20).await.drifts.len(), 1);
        assert_eq!(saw(&two, 2, &["a", "b"], Acceptance::Approved, 21).await, Settled::default());
        let again = open(&folder).await;
        assert_eq!(saw(&again, 2, &["a", "b"], Acceptance::Approved, 22).await, Settled::default());
        let known = again.issuer_keys(ISSUER).await.expect("read");
        assert_eq!(states(&known), [("a", "accepted", false), ("b", "held", false)]);
        let feed: Vec<IssuerKey> = two.issuer_keys_since(0, 10).await.expect("read").into_iter().map(|(_, key)| key).collect();
        assert_eq!(states(&feed), states(&known));
    }

    #[tokio::test]
    async fn of_replicas_that_see_other_keys_at_once_on_an_empty_store_the_first_to_write_is_believed() {
        for _ in 0..8 {
            let folder = tempfile::tempdir().expect("a folder");
            let (one, two) = tokio::join!(open(&folder), open(&folder));
            let (one, two) = tokio::join!(saw(&one, 1, &["a"], Acceptance::Approved, 10), saw(&two, 2, &["b"], Acceptance::Approved, 10));
            let (first, second) = if one.drifts.is_empty() { (one, two) } else { (two, one) };
            assert_eq!(states(&first.changed).iter().map(|(_, state, _)| *state).collect::<Vec<_>>(), ["accepted"]);
            let told: Vec<(&str, bool)> = second.drifts.iter().map(|drift| (drift.kind.name(), drift.on_hold)).collect();
            assert_eq!(told, [("key_new", true), ("key_vanished", false)], "the other one tells how it differs");
            let known = open(&folder).await.issuer_keys(ISSUER).await.expect("read");
            let mut all: Vec<(&str, bool)> = known.iter().map(|key| (key.state.name(), key.gone.is_some())).collect();
            all.sort_unstable();
            assert_eq!(all, [("accepted", true), ("held", false)]);
        }
    }

    #[tokio::test]
    async fn a_decision_on_a_key_takes_a_number_of_the_feed_and_stays_with_its_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(&folder).await;
        saw(&store, 1, &["a"], Acceptance::Approved, 10).await;
        saw(&store, 2, &["a", "b"], Acceptance::Approved, 20).await;
        let before = store.head().await.expect("read");
        let reason = Reason { text: "rotation", actor: "mia", made: NOW };
        let (seq, key) = store.decide_key((ISSUER, "b"), KeyState::Accepted, |_| false, &reason).await.expect("written").expect("decided");
        assert_eq!((seq, key.state), (before + 1, KeyState::Accepted));
        assert_eq!(store.issuer_keys_since(before, 10).await.expect("read"), [(seq, key.clone())]);
        for (name, unless) in [("b", false), ("nobody", false), ("a", true)] {
            let decided = store.decide_key((ISSUER, name), KeyState::Accepted, |_| unless, &reason).await.expect("asked");
            assert_eq!(decided, None, "{name}");
        }
        assert_eq!(store.head().await.expect("read"), seq, "what changes nothing takes no number");
        let history = store.key_history(&key).await.expect("read");
        assert_eq!((history.len(), history[0].reason.as_str(), history[0].actor.as_str()), (1, "rotation", "mia"));
    }

    #[tokio::test]
    async fn versions_of_a_document_are_kept_up_to_a_bound_and_the_current_one_is_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(&folder).await;
        let saw = async |digest: u8| {
            let summary = format!("{{\"{digest}\":[]}}");
            let version =
                Version { issuer: ISSUER, kind: SurfaceKind::Metadata, digest: &[digest; 32], summary: &summary, now: digest.into() };
            store.saw_document(&version).await.expect("written")
        };
        assert_eq!(saw(1).await, Some(None), "the first");
        assert_eq!(saw(1).await, None, "the same");
        assert_eq!(saw(2).await, Some(Some("{\"1\":[]}".into())));
        assert_eq!(saw(1).await, Some(Some("{\"2\":[]}".into())), "back again");
        for digest in 3..50 {
            saw(digest).await;
        }
        let kept = store.versions().await.expect("read");
        assert_eq!((kept.len(), kept.last().map(|last| last.first_seen)), (20, Some(49)));
    }
}

fn fact(client: &str, subject: &str, about: About, name: &str, span: (u64, u64, u64)) -> Fact {
    let (uses, first, last) = span;
    let of =
        Subject { upstream: "files".into(), issuer: "i".into(), client: client.into(), subject: subject.into(), about, name: name.into() };
    Fact { of, span: Span { uses, first, last } }
}

const TOOL: About = About::Thing(Kind::Tool);

#[tokio::test]
async fn counts_of_several_replicas_add_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = tokio::join!(open(&folder), open(&folder));
    assert_eq!(one.observed_since().await.expect("read"), None);
    let many =
        |first: u64| -> Vec<Fact> { (0..150).map(|n| fact("c", "alice", TOOL, &format!("t{n:03}"), (2, first, first + 5))).collect() };
    let (first, second) = (many(20), many(10));
    let (a, b) = tokio::join!(one.add_observed(&first, NOW), two.add_observed(&second, NOW + 1));
    a.and(b).expect("written");
    let read = one.observed().await.expect("read");
    assert_eq!(read.len(), 150);
    assert!(read.iter().all(|fact| fact.span == Span { uses: 4, first: 10, last: 25 }), "{read:?}");
    assert!([NOW, NOW + 1].map(Some).contains(&one.observed_since().await.expect("read")));
}

#[tokio::test]
async fn what_was_used_longest_ago_makes_room_and_leaves_a_gap() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder).await;
    let mut facts: Vec<Fact> = (0..10).map(|n| fact("c", "alice", TOOL, &format!("t{n}"), (1, 1, 100 + n))).collect();
    facts.push(fact("c", "alice", About::Passed, "", (1, 1, 1)));
    facts.push(fact("c", "bob", About::Passed, "", (1, 1, 50)));
    store.add_observed(&facts, NOW).await.expect("written");
    assert_eq!(store.trim_observed(ROOM, 100).await.expect("trimmed"), 0);
    assert_eq!(store.trim_observed(Room { all: 100, one: 8 }, 100).await.expect("trimmed"), 3, "of alice alone");
    let names: Vec<String> = store.observed().await.expect("read").iter().map(|fact| fact.of.name.to_string()).collect();
    assert_eq!(names, ["", "t3", "t4", "t5", "t6", "t7", "t8", "t9", ""], "requests stay before things");
    assert_eq!(store.trim_observed(Room { all: 6, one: 100 }, 2).await.expect("trimmed"), 2, "at most so many at once");
    assert_eq!(store.trim_observed(Room { all: 6, one: 100 }, 2).await.expect("trimmed"), 1);
    store.add_gaps(&[Gap { upstream: "files".into(), about: TOOL, lost: 5, last: 7 }]).await.expect("written");
    let gap = |about, lost, last| Gap { upstream: "files".into(), about, lost, last };
    assert_eq!(store.observed_gaps().await.expect("read"), [gap(About::Passed, 2, 50), gap(TOOL, 9, 103)]);
}

#[tokio::test]
async fn s38_the_inventory_holds_clients_that_were_only_seen_and_says_when_each_was_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder).await;
    let key = |id: &str| Key { issuer: "i".into(), id: id.into() };
    let reason = Reason { text: "test", actor: "mia", made: NOW };
    for id in ["known", "idle"] {
        store.change_client(&key(id), |_| Ok(Client::entered(key(id))), &reason).await.expect("entered");
    }
    let facts = [
        fact("known", "alice", About::Passed, "", (3, 10, 40)),
        fact("known", "bob", About::Passed, "", (2, 5, 30)),
        fact("known", "bob", About::Refused, "", (9, 1, 90)),
        fact("new", "carol", About::Refused, "", (1, 7, 7)),
        fact("", "machine", About::Passed, "", (1, 1, 1)),
    ];
    store.add_observed(&facts, NOW).await.expect("written");
    let all = store.inventory().await.expect("read");
    let line = |(client, used): &(Client, Option<ClientUse>)| {
        let used = used.as_ref().map(|used| (used.uses, used.first_used, used.last_used, used.subjects));
        (client.key.id.clone(), client.first_seen, used)
    };
    let lines: Vec<_> = all.iter().map(line).collect();
    assert_eq!(
        lines,
        [
            ("known".into(), None, Some((5, Some(5), Some(40), 2))),
            ("idle".into(), None, None),
            ("new".into(), Some(7), Some((0, None, None, 1))),
        ]
    );
}

#[tokio::test]
async fn the_last_attestation_of_each_client_and_of_the_whole_is_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder).await;
    let attested = |client: &str, made, digest: &str| Attestation {
        issuer: if client.is_empty() { String::new() } else { "i".into() },
        client: client.into(),
        made,
        actor: "mia".into(),
        note: "well".into(),
        digest: digest.into(),
    };
    for one in [attested("", 5, "a"), attested("c", 1, "b"), attested("", 7, "d"), attested("", 6, "e")] {
        store.attest(&one).await.expect("written");
    }
    assert_eq!(store.attestations().await.expect("read"), [attested("", 7, "d"), attested("c", 1, "b")]);
}

#[tokio::test]
async fn what_cannot_be_written_now_is_written_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder).await;
    let observed = std::sync::Arc::new(crate::governance::Observed::default());
    let who = std::sync::Arc::new(crate::principal::Principal::new(crate::principal::Proof { subject: "s".into(), ..Default::default() }));
    let now = std::time::UNIX_EPOCH + Duration::from_secs(NOW);
    let target = crate::mcp::Target::Nothing;
    observed.note(&crate::governance::observed::Noted { upstream: &"files".into(), who: &who, target: &target, passed: true, now });
    let Pool::Sqlite(pool) = &store.pool else { panic!("SQLite") };
    sqlx::query("ALTER TABLE observed RENAME TO away").execute(pool).await.expect("set");
    let mut observing = observing::Observing::new(store.clone(), observed);
    observing.write().await.expect_err("no table");
    sqlx::query("ALTER TABLE away RENAME TO observed").execute(pool).await.expect("set");
    observing.write().await.expect("written");
    let read = store.observed().await.expect("read");
    assert!(matches!(read.as_slice(), [fact] if fact.span.uses == 1), "{read:?}");
}

#[tokio::test]
async fn a_passkey_is_of_one_account_and_of_two_uses_with_one_counter_one_counts() {
    use crate::oauth::passkey::{MOST, Used};
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder).await;
    let (alice, bob) = (account(&store, "alice").await, account(&store, "bob").await);
    assert!(store.put_passkey(&passkey("a", "alice", 7), &alice).await.expect("written"));
    assert!(!store.put_passkey(&passkey("a", "bob", 0), &bob).await.expect("answered"), "the id is taken");
    assert_eq!(store.passkey("a").await.expect("read"), Some(passkey("a", "alice", 7)));
    let used = async |id: &str, counter| store.use_passkey(id, Used { counter, backed_up: true }, NOW + 1).await.expect("answered");
    assert!(!used("a", 7).await && used("a", 8).await && !used("a", 8).await && !used("a", 0).await);
    let kept = authorization::Passkey { used: Some(NOW + 1), backed_up: true, ..passkey("a", "alice", 8) };
    assert_eq!(store.passkey("a").await.expect("read"), Some(kept));
    assert!(store.put_passkey(&passkey("b", "bob", 0), &bob).await.expect("written"));
    assert!(used("b", 0).await && used("b", 0).await, "one that does not count");
    for n in 1..MOST {
        assert!(store.put_passkey(&passkey(&format!("a{n}"), "alice", 0), &alice).await.expect("written"), "{n}");
    }
    assert!(!store.put_passkey(&passkey("more", "alice", 0), &alice).await.expect("answered"), "alice has as many as she may");
    assert!(!store.drop_passkey("bob", "a").await.expect("answered"), "it is not his");
    assert!(store.drop_passkey("alice", "a").await.expect("answered"));
    store.drop_passkeys("alice").await.expect("written");
    assert_eq!(store.passkeys_of("alice").await.expect("read"), []);
    assert_eq!(store.passkeys_of("bob").await.expect("read").len(), 1);
}

fn passkey(id: &str, account: &str, counter: u32) -> authorization::Passkey {
    authorization::Passkey {
        id: id.into(),
        account: account.into(),
        key: "key".into(),
        label: "Phone".into(),
        created: NOW,
        used: None,
        counter,
        eligible: true,
        backed_up: false,
    }
}

/// An account without a password, which is kept.
async fn account(store: &Store, name: &str) -> Account {
    let account = Account {
        id: name.into(),
        name: name.into(),
        display: None,
        email: None,
        groups: vec!["sre".into()],
        state: AccountState::Active,
        password: None,
        created: NOW,
        changed: NOW,
    };
    assert!(store.put_account(&account).await.expect("written"));
    account
}

#[tokio::test]
async fn issue_6_of_two_last_passkeys_that_are_removed_at_once_one_stays_and_beside_a_password_none_must() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = tokio::join!(open(&folder), open(&folder));
    let alice = account(&one, "alice").await;
    for id in ["a", "b"] {
        assert!(one.put_passkey(&passkey(id, "alice", 0), &alice).await.expect("written"));
    }
    let (a, b) = tokio::join!(one.drop_spare_passkey("alice", "a"), two.drop_spare_passkey("alice", "b"));
    assert!(a.expect("answered") != b.expect("answered"), "one of the two went");
    let left = one.passkeys_of("alice").await.expect("read");
    assert_eq!(left.len(), 1);
    assert!(!one.drop_spare_passkey("alice", &left[0].id).await.expect("answered"));
    let change = |account: &mut Account| {
        account.password = Some("hash".into());
        true
    };
    one.change_account("alice", change).await.expect("written").expect("an account");
    assert!(one.drop_spare_passkey("alice", &left[0].id).await.expect("answered"));
}

#[tokio::test]
async fn issue_6_whoever_proved_a_password_that_is_no_longer_it_adds_no_passkey() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder).await;
    let before = account(&store, "alice").await;
    let recovered = |account: &mut Account| {
        account.password = Some("another".into());
        true
    };
    let after = store.change_account("alice", recovered).await.expect("written").expect("an account");
    assert!(!store.put_passkey(&passkey("a", "alice", 0), &before).await.expect("answered"));
    assert!(store.put_passkey(&passkey("a", "alice", 0), &after).await.expect("answered"));
    assert!(store.name_passkey("alice", "a", "Desk").await.expect("answered"));
    assert!(!store.name_passkey("bob", "a", "Mine").await.expect("answered"), "it is not his");
    assert_eq!(store.passkeys_of("alice").await.expect("read")[0].label, "Desk");
}

#[tokio::test]
async fn issue_6_what_changes_an_account_at_once_takes_nothing_back_of_the_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = tokio::join!(open(&folder), open(&folder));
    account(&one, "alice").await;
    for round in 0..20 {
        let password = one.change_account("alice", |account| {
            account.password = Some(format!("hash {round}"));
            account.state == AccountState::Active
        });
        let disabled = two.change_account("alice", |account| {
            (account.state, account.groups) = (AccountState::Disabled, Vec::new());
            true
        });
        let (_, disabled) = tokio::join!(password, disabled);
        disabled.expect("written").expect("an account");
        let now = one.account("alice").await.expect("read").expect("an account");
        assert_eq!((now.state, now.groups), (AccountState::Disabled, Vec::new()), "{round}");
        let again = |account: &mut Account| {
            account.state = AccountState::Active;
            true
        };
        one.change_account("alice", again).await.expect("written").expect("an account");
    }
    assert!(one.change_account("nobody", |_| true).await.expect("answered").is_none());
}
