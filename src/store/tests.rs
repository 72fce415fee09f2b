use super::*;
use crate::governance::{Bounds, Revocation, Revocations, Selector};

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
    let mut feed = feed::Feed::new(store.clone(), index.clone(), std::sync::Arc::default(), replica, || {});
    feed.load().await.expect("loaded");
    assert_eq!(index.len(), 1);
    let standing = store.replicas().await.expect("read");
    assert_eq!(standing.iter().map(|one| (one.seq, one.is_gone)).collect::<Vec<_>>(), [(8, false)]);
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
