use std::sync::Arc;

use super::*;
use crate::principal::{Principal, Proof};
use crate::token::{Basis, Marks, forge};

const NOW: u64 = 1_800_000_000;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn index() -> Revocations {
    let index = Revocations::new(Bounds::default());
    index.confirm(at(NOW));
    index
}

/// A token of alice's by `app`, issued a minute ago for an hour, in session `s1`.
fn token(index: &Revocations, change: impl FnOnce(&mut Marks)) -> Verified {
    let marker = index.marker();
    let mut marks = Marks {
        issued: u32::try_from(NOW - 60).expect("before 2106"),
        after: None,
        id: Some(marker.mark(Named::Id, forge::ISSUER, "j1")),
        session: Some(marker.mark(Named::Session, "", "s1")),
    };
    change(&mut marks);
    let proof = Proof { issuer: forge::ISSUER.into(), subject: "alice".into(), client: Some("app".into()), ..Proof::default() };
    Verified {
        principal: Arc::new(Principal::new(proof)),
        expires: at(NOW + 3600),
        basis: Basis::Key(1),
        audience: Arc::new([]),
        bound: None,
        marks: Some(Box::new(marks)),
        rules: Arc::new(forge::rules()),
    }
}

fn ask(index: &Revocations, verified: &Verified) -> Result<(), Error> {
    ask_at(index, verified, NOW)
}

fn ask_at(index: &Revocations, verified: &Verified, now: u64) -> Result<(), Error> {
    index.check(&Asked { token: &[7; 32], verified, upstream: "files", now: at(now) }, || Some("k1"))
}

fn revoke(index: &Revocations, selector: Selector) -> Revocation {
    let revocation = Revocation::new(selector, NOW, None, None, &index.bounds());
    index.apply(1, &revocation).expect("room");
    revocation
}

fn issuer() -> String {
    forge::ISSUER.to_owned()
}

#[test]
fn each_selector_hits_its_tokens_and_no_others() {
    let pairs = [
        (Selector::Token([7; 32]), Selector::Token([8; 32])),
        (Selector::Id { issuer: issuer(), jti: "j1".into() }, Selector::Id { issuer: "https://b.example".into(), jti: "j1".into() }),
        (Selector::Session("s1".into()), Selector::Session("j1".into())),
        (Selector::Client("app".into()), Selector::Client("alice".into())),
        (
            Selector::Subject { issuer: issuer(), subject: "alice".into() },
            Selector::Subject { issuer: "https://b.example".into(), subject: "alice".into() },
        ),
        (Selector::Key { issuer: issuer(), kid: "k1".into() }, Selector::Key { issuer: "https://b.example".into(), kid: "k1".into() }),
        (Selector::Upstream("files".into()), Selector::Upstream("crm".into())),
    ];
    for (ours, other) in pairs {
        let index = index();
        let verified = token(&index, |_| {});
        revoke(&index, other.clone());
        assert_eq!(ask(&index, &verified), Ok(()), "{other:?}");
        revoke(&index, ours.clone());
        assert_eq!(ask(&index, &verified), Err(Error::Revoked), "{ours:?}");
    }
    let index = index();
    let verified = token(&index, |_| {});
    revoke(&index, Selector::Everything);
    assert_eq!(ask(&index, &verified), Err(Error::Revoked));
}

#[test]
fn what_is_issued_later_is_not_meant_beyond_the_leeway() {
    for selector in [Selector::Client("app".into()), Selector::Upstream("files".into()), Selector::Everything] {
        let index = index();
        let leeway = forge::rules().leeway.as_secs();
        revoke(&index, selector.clone());
        let of = |issued: u64| token(&index, |marks| marks.issued = u32::try_from(issued).expect("before 2106"));
        // SECURITY: an issuer whose clock is ahead had issued this one already.
        assert_eq!(ask(&index, &of(NOW + leeway)), Err(Error::Revoked), "{selector:?}");
        assert_eq!(ask(&index, &of(NOW + leeway + 1)), Ok(()), "{selector:?}");
        assert_eq!(ask(&index, &token(&index, |marks| marks.issued = 0)), Err(Error::Revoked), "{selector:?}: no iat");
    }
}

#[test]
fn a_session_and_a_key_are_refused_whenever_their_tokens_were_issued() {
    for selector in [Selector::Session("s1".into()), Selector::Key { issuer: issuer(), kid: "k1".into() }] {
        let index = index();
        revoke(&index, selector.clone());
        let later = token(&index, |marks| marks.issued = u32::try_from(NOW + 1000).expect("before 2106"));
        assert_eq!(ask(&index, &later), Err(Error::Revoked), "{selector:?}");
    }
}

#[test]
fn an_entry_stays_until_its_last_token_has_expired_and_then_leaves() {
    let index = index();
    let lost = revoke(&index, Selector::Key { issuer: issuer(), kid: "k1".into() });
    assert_eq!(lost.leaves, None);
    let client = revoke(&index, Selector::Client("app".into()));
    let leaves = client.leaves.expect("a time");
    assert!(leaves >= NOW + 24 * 3600 + 2 * 300, "{leaves}");
    index.prune(at(leaves - 1));
    assert_eq!(index.len(), 2);
    index.prune(at(leaves + 1));
    assert_eq!(index.len(), 1);
    // By then the longest-lived token that was meant is over: a longer one was never let in.
    let bounds = index.bounds();
    let one = Revocation::new(Selector::Token([7; 32]), NOW, None, Some(NOW + 60), &bounds);
    assert_eq!(one.leaves, Some(NOW + 360));
    let forged = Revocation::new(Selector::Token([7; 32]), NOW, None, Some(u64::MAX), &bounds);
    assert_eq!(forged.leaves, Some(leaves));
}

#[test]
fn a_token_that_could_outlive_its_revocation_is_refused() {
    let index = index();
    let mut verified = token(&index, |_| {});
    verified.expires = at(NOW - 60 + 24 * 3600);
    assert_eq!(ask(&index, &verified), Ok(()));
    verified.expires = at(NOW - 60 + 24 * 3600 + 1);
    assert_eq!(ask(&index, &verified), Err(Error::Lifetime));
    let mut silent = token(&index, |marks| marks.issued = 0);
    silent.expires = at(NOW + 24 * 3600 + 1);
    assert_eq!(ask(&index, &silent), Err(Error::Lifetime));
}

#[test]
fn a_weaker_revocation_takes_nothing_back() {
    let index = index();
    revoke(&index, Selector::Client("app".into()));
    let weaker = Revocation::new(Selector::Client("app".into()), NOW, Some(NOW - 1_000_000), None, &index.bounds());
    index.apply(1, &weaker).expect("room");
    revoke(&index, Selector::Everything);
    index.apply(1, &Revocation::new(Selector::Everything, NOW, Some(5), None, &index.bounds())).expect("room");
    assert_eq!(ask(&index, &token(&index, |_| {})), Err(Error::Revoked));
}

#[test]
fn before_a_time_is_before_it() {
    let index = index();
    let leeway = forge::rules().leeway.as_secs();
    index.apply(1, &Revocation::new(Selector::Everything, NOW, Some(NOW - 60 - leeway), None, &index.bounds())).expect("room");
    assert_eq!(ask(&index, &token(&index, |_| {})), Ok(()));
    index.apply(1, &Revocation::new(Selector::Everything, NOW, Some(NOW - 59 - leeway), None, &index.bounds())).expect("room");
    assert_eq!(ask(&index, &token(&index, |_| {})), Err(Error::Revoked));
}

#[test]
fn s40_what_is_not_known_is_refused() {
    let index = Revocations::new(Bounds::default());
    let verified = token(&index, |_| {});
    assert_eq!(ask(&index, &verified), Err(Error::RevocationsUnknown), "never read");
    index.confirm(at(NOW));
    assert_eq!(ask_at(&index, &verified, NOW + 30), Ok(()));
    assert_eq!(ask_at(&index, &verified, NOW + 31), Err(Error::RevocationsUnknown), "too old");
    index.confirm(at(NOW + 31));
    assert_eq!(ask_at(&index, &verified, NOW + 31), Ok(()));
    index.doubt();
    assert_eq!(ask_at(&index, &verified, NOW + 31), Err(Error::RevocationsUnknown), "doubted");
}

#[test]
fn issue_5_a_clock_that_jumps_by_minutes_lets_no_revoked_token_in() {
    let index = index();
    let (alice, minutes) = (token(&index, |_| {}), 300);
    revoke(&index, Selector::Client("app".into()));
    let bob =
        Verified { principal: Arc::new(Principal::new(Proof { subject: "bob".into(), ..Proof::default() })), ..token(&index, |_| {}) };
    // Ahead: not known until the store was read by the new clock, and nothing was thrown away for it.
    assert_eq!(ask_at(&index, &bob, NOW + minutes), Err(Error::RevocationsUnknown));
    index.prune(at(NOW + minutes));
    index.confirm(at(NOW + minutes));
    assert_eq!((ask_at(&index, &bob, NOW + minutes), ask_at(&index, &alice, NOW + minutes)), (Ok(()), Err(Error::Revoked)));
    // Back again.
    assert_eq!((ask_at(&index, &bob, NOW), ask_at(&index, &alice, NOW)), (Ok(()), Err(Error::Revoked)));
}

#[test]
fn issue_5_an_entry_outlives_its_tokens_by_more_than_a_clock_that_is_minutes_ahead_takes_away() {
    let revocation = Revocation::new(Selector::Client("app".into()), NOW, None, None, &Bounds::default());
    let last_token_ends = NOW + Bounds::default().token_lifetime.as_secs();
    assert!(revocation.leaves.expect("a time") >= last_token_ends + 300);
}

#[test]
fn the_index_is_bounded_and_says_so() {
    let index = index();
    index.len.store(MOST, Ordering::Relaxed);
    let one = |name: &str| Revocation::new(Selector::Client(name.into()), NOW, None, None, &Bounds::default());
    assert_eq!(index.apply(1, &one("a")), Err(Full));
    assert_eq!(index.len(), MOST);
    index.len.store(MOST - 1, Ordering::Relaxed);
    assert_eq!(index.apply(1, &one("a")), Ok(()));
    assert_eq!(index.apply(1, &one("b")), Err(Full));
    assert_eq!(index.apply(1, &one("a")), Ok(()), "a known one takes no more room");
}

/// 29 MiB, as the documentation says, and not twice that because every part is a little too full.
#[test]
fn issue_5_a_full_index_takes_no_more_room_than_is_said() {
    let index = index();
    for mark in 0..u64::try_from(MOST).expect("a number") {
        // What a keyed hash would make of it.
        let mark = index.marker.mark(Named::Id, "", &mark.to_string());
        let entry = Entry { issued_until: 0, leaves: ALWAYS, fence: Fence::BY_CLOCK };
        index.shard(mark).expect("a part").write().expect("a lock").insert(mark, entry);
    }
    let places: usize = index.shards.iter().map(|shard| shard.read().expect("a lock").capacity() / 7 * 8).sum();
    assert_eq!(index.shards.iter().map(|shard| shard.read().expect("a lock").len()).sum::<usize>(), MOST);
    assert_eq!((places * (size_of::<(u64, Entry)>() + 1)) >> 20, 29, "MiB");
}

/// A token of our own, issued at this time when the store held so many changes.
fn own(index: &Revocations, issued: u64, after: u64) -> Verified {
    let verified = token(index, |marks| {
        marks.issued = u32::try_from(issued).expect("before 2106");
        marks.after = Some(after);
    });
    Verified { rules: Arc::new(crate::token::IssuerRules { own: true, ..forge::rules() }), ..verified }
}

#[test]
fn issue_6_of_our_own_tokens_those_before_a_revocation_never_pass_and_those_after_it_do_whatever_the_clocks_say() {
    let subject = Selector::Subject { issuer: issuer(), subject: "alice".into() };
    for selector in [Selector::Client("app".into()), Selector::Upstream("files".into()), subject] {
        let (index, leeway) = (index(), forge::rules().leeway.as_secs());
        index.apply(5, &Revocation::new(selector.clone(), NOW, None, None, &index.bounds())).expect("room");
        for issued in [NOW - 60, NOW, NOW + leeway, NOW + leeway + 300] {
            assert_eq!(ask(&index, &own(&index, issued, 4)), Err(Error::Revoked), "{selector:?}: before, {issued}");
        }
        for issued in [NOW - leeway, NOW, NOW + 1, NOW + leeway] {
            assert_eq!(ask(&index, &own(&index, issued, 5)), Ok(()), "{selector:?}: after, {issued}");
        }
        // SECURITY: however it came to that number, it was there long before.
        assert_eq!(ask(&index, &own(&index, NOW - leeway - 1, 9)), Err(Error::Revoked), "{selector:?}");
        // Once more, by a later change.
        index.apply(8, &Revocation::new(selector.clone(), NOW, None, None, &index.bounds())).expect("room");
        assert_eq!(ask(&index, &own(&index, NOW, 7)), Err(Error::Revoked), "{selector:?}");
        assert_eq!(ask(&index, &own(&index, NOW, 8)), Ok(()), "{selector:?}");
    }
}

#[test]
fn issue_6_what_another_issuer_writes_there_is_not_believed() {
    let index = index();
    revoke(&index, Selector::Client("app".into()));
    let foreign = token(&index, |marks| marks.after = Some(u64::MAX));
    assert_eq!(ask(&index, &foreign), Err(Error::Revoked));
}

#[test]
fn issue_6_before_a_time_is_by_the_clock_for_our_own_tokens_too() {
    let (index, leeway) = (index(), forge::rules().leeway.as_secs());
    let client = || Selector::Client("app".into());
    index.apply(5, &Revocation::new(client(), NOW, Some(NOW - 1000), None, &index.bounds())).expect("room");
    assert_eq!(ask(&index, &own(&index, NOW - 1001, 4)), Err(Error::Revoked));
    assert_eq!(ask(&index, &own(&index, NOW - 1000 + leeway, 4)), Ok(()), "issued later, though before it was written");
    // Together with one until now, each means what it meant.
    index.apply(6, &Revocation::new(client(), NOW, None, None, &index.bounds())).expect("room");
    assert_eq!(ask(&index, &own(&index, NOW - 1000 + leeway, 4)), Err(Error::Revoked));
    assert_eq!(ask(&index, &own(&index, NOW + leeway + 1, 6)), Ok(()));
    for selector in [Selector::Session("s1".into()), Selector::Key { issuer: issuer(), kid: "k1".into() }] {
        revoke(&index, selector.clone());
        assert_eq!(ask(&index, &own(&index, NOW + leeway + 1, 6)), Err(Error::Revoked), "{selector:?}: for good");
    }
}

#[test]
fn issue_6_a_backup_that_takes_the_place_of_the_store_lets_no_revoked_token_in_and_shuts_nobody_out() {
    let (index, leeway) = (index(), forge::rules().leeway.as_secs());
    let revocation = Revocation::new(Selector::Client("app".into()), NOW, None, None, &index.bounds());
    index.apply(100, &revocation).expect("room");
    assert_eq!(ask(&index, &own(&index, NOW + 1, 150)), Ok(()));
    // Its changes begin at 51 again.
    index.restored(at(NOW + 2));
    let again = Revocation::new(Selector::Client("app".into()), NOW + 3, None, None, &index.bounds());
    index.apply(51, &again).expect("room");
    assert_eq!(ask(&index, &own(&index, NOW + 1, 150)), Err(Error::Revoked), "that number is of the other store");
    assert_eq!(ask(&index, &own(&index, NOW + 4 + 2 * leeway, 51)), Ok(()), "and so is the hundred");
}

#[test]
fn issue_6_a_browser_that_signs_in_again_at_once_is_signed_in_and_the_one_before_is_not() {
    let index = index();
    index
        .apply(5, &Revocation::new(Selector::Subject { issuer: issuer(), subject: "alice".into() }, NOW, None, None, &index.bounds()))
        .expect("room");
    let is_out = |at: u64, after| {
        let since = Since { at, leeway: Duration::from_secs(5), after };
        index.ends_subject(forge::ISSUER, "alice", since, self::at(NOW))
    };
    assert!(is_out(NOW + 3, Some(4)), "by a clock that is ahead, and before");
    assert!(!is_out(NOW - 3, Some(5)), "by a clock that is behind, and after");
    assert!(is_out(NOW + 5, None) && !is_out(NOW + 6, None), "where only the clock says it");
}
