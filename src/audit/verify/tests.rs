use proptest::prelude::*;

use super::*;
use crate::audit::chain::LEAD;
use crate::audit::checkpoint::Signer;
use crate::audit::line::{self, Begin, Reason};
use std::time::SystemTime;

type Lines = Vec<Vec<u8>>;

fn seal(head: &mut Head, out: &mut Lines, write: impl FnOnce(&mut Vec<u8>) -> bool) {
    let mut line = Vec::new();
    head.lead(&mut line);
    assert!(write(&mut line));
    head.seal(&mut line, LEAD);
    line.pop();
    out.push(line.split_off(LEAD));
}

fn begin(head: &mut Head, out: &mut Lines) {
    let after = head.clone();
    let reason = if head.sequence == 0 { Reason::First } else { Reason::Rotated };
    seal(head, out, |line| line::begin(Begin { reason, torn: 0 }, SystemTime::UNIX_EPOCH, &after, line));
}

fn body(text: &str) -> impl FnOnce(&mut Vec<u8>) -> bool {
    let text = format!(r#"{{"operation":"tools/call","name":"{text}"}}"#);
    move |line| {
        line.extend_from_slice(text.as_bytes());
        true
    }
}

/// A log of `count` records in files of `each`.
fn log(name: &str, count: usize, each: usize) -> (Vec<Lines>, Head) {
    let mut head = Head::new(name.into());
    let mut files = Vec::new();
    for at in 0..count {
        if at % each == 0 {
            files.push(Lines::new());
            begin(&mut head, files.last_mut().expect("a file"));
        }
        seal(&mut head, files.last_mut().expect("a file"), body(&format!("{name}-{at}")));
    }
    (files, head)
}

fn verified(files: &[Lines], state: Option<&Head>, keys: Vec<Key>) -> Report {
    let mut verifier = Verifier::new(keys);
    if let Some(state) = state {
        verifier.state("state", state.clone());
    }
    for (name, lines) in files.iter().enumerate() {
        for (number, line) in lines.iter().enumerate() {
            verifier.line(&format!("{name}:{}", number + 1), line);
        }
    }
    verifier.finish()
}

fn signer() -> Signer {
    let pair = aws_lc_rs::signature::Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1()).expect("a key");
    Signer::from_der(pair.as_ref()).expect("a signer")
}

#[test]
fn item_s41_an_untouched_log_over_several_files_and_replicas_is_well() {
    let ((mut files, head), (other, _)) = (log("aaaaaaaa", 30, 7), log("bbbbbbbb", 20, 20));
    let report = verified(&files, Some(&head), vec![]);
    assert_eq!((report.count, report.logs["aaaaaaaa"].records, report.logs["aaaaaaaa"].confirmed), (0, 35, true));
    // Mixed line by line, as a collector may keep them.
    files[0] = files[0].iter().zip(&other[0]).flat_map(|(one, two)| [one.clone(), two.clone()]).collect();
    let report = verified(&files, None, vec![]);
    assert_eq!((report.count, report.logs.len()), (0, 2), "{:?}", report.problems);
}

#[test]
fn the_first_bad_line_is_named_with_what_is_wrong() {
    let (files, _) = log("aaaaaaaa", 20, 10);
    let told = |change: &dyn Fn(&mut Vec<Lines>)| {
        let mut files = files.clone();
        change(&mut files);
        verified(&files, None, vec![]).problems.first().map(ToString::to_string).unwrap_or_default()
    };
    assert_eq!(told(&|_| {}), "");
    assert_eq!(told(&|files| drop(files[0].remove(4))), "0:5: record 5 is missing before this one");
    assert_eq!(told(&|files| drop(files[1].drain(2..5))), "1:3: records 14 to 16 are missing before this one");
    assert_eq!(told(&|files| drop(files.remove(0))), "");
    assert_eq!(told(&|files| files[0].truncate(8)), "1:1: records 9 to 11 are missing before this one");
    assert_eq!(told(&|files| files[0].swap(3, 4)), "0:4: record 4 is missing before this one");
    assert_eq!(told(&|files| files[0][3].truncate(40)), "0:4: not a record: it does not end in its place and chain value");
    let first = told(&|files| drop(files[0].remove(0)));
    assert_eq!(first, "0:1: what came before was removed: the log does not begin with a begin record");
    let again = told(&|files| {
        let line = files[0][5].clone();
        files[0].insert(6, line);
    });
    assert_eq!(again, "0:7: record 6 stands where 7 should: repeated or out of order");
}

#[test]
fn what_is_cut_off_at_the_end_is_found_by_the_state_and_by_what_was_published() {
    let (mut files, head) = log("aaaaaaaa", 20, 20);
    let signer = signer();
    let published = publish(&head, "t", signer.kid(), &signer.sign(&head, "t"));
    files[0].truncate(15);
    // INVARIANT of every chain: its own lines cannot tell where it ended.
    assert_eq!(verified(&files, None, vec![]).count, 0);
    let report = verified(&files, Some(&head), vec![]);
    assert_eq!(report.problems[0].what, "records 16 to 21 are missing at the end: the state names 21 as the last");
    let mut verifier = Verifier::default();
    verifier.published("elsewhere:1", &format!(r#"{{"fields":{{"checkpoint":"{published}"}}}}"#));
    files[0].iter().for_each(|line| verifier.line("x", line));
    assert!(verifier.finish().problems[0].what.contains("the log was cut"));
}

#[test]
fn a_log_that_was_computed_anew_is_found_by_its_checkpoints() {
    let (signer, thief) = (signer(), signer());
    let make = |signer: &Signer, name: &str| {
        let mut head = Head::new("aaaaaaaa".into());
        let mut lines = Lines::new();
        begin(&mut head, &mut lines);
        seal(&mut head, &mut lines, body(name));
        let (of, signature) = (head.clone(), signer.sign(&head, "t"));
        seal(&mut head, &mut lines, |line| line::checkpoint("t", &of, signer.kid(), &signature, line));
        (lines, of, head)
    };
    let key = || signer.key().into_iter().collect::<Vec<_>>();
    let (honest, of, _) = make(&signer, "wipe");
    let report = verified(std::slice::from_ref(&honest), None, key());
    assert_eq!((report.count, report.logs["aaaaaaaa"].covered), (0, Some(2)), "{:?}", report.problems);
    // Signed by somebody else.
    assert_eq!(verified(&[make(&thief, "harmless").0], None, key()).count, 2);
    // With the old signature over another record.
    let mut head = Head::new("aaaaaaaa".into());
    let mut forged = Lines::new();
    begin(&mut head, &mut forged);
    seal(&mut head, &mut forged, body("harmless"));
    let lying = head.clone();
    for named in [&lying, &of] {
        let (mut head, mut lines) = (head.clone(), forged.clone());
        seal(&mut head, &mut lines, |line| line::checkpoint("t", named, signer.kid(), &signer.sign(&of, "t"), line));
        let report = verified(&[lines], None, key());
        assert_eq!((report.count, report.logs["aaaaaaaa"].signed), (2, 0), "{named:?}: {:?}", report.problems);
    }
    // Without any checkpoint.
    assert_eq!(verified(&[forged], None, key()).count, 1);
}

/// What somebody does to a log.
#[derive(Clone, Debug)]
enum Tampering {
    Change { line: usize, at: usize, by: u8 },
    Delete { line: usize, count: usize },
    Insert { line: usize, of: usize },
    Swap { one: usize, other: usize },
    Cut { line: usize, at: usize },
    Splice { line: usize },
}

fn tampering() -> impl Strategy<Value = Tampering> {
    let any = any::<usize>;
    prop_oneof![
        (any(), any(), 1u8..=255).prop_map(|(line, at, by)| Tampering::Change { line, at, by }),
        (any(), 1usize..5).prop_map(|(line, count)| Tampering::Delete { line, count }),
        (any(), any()).prop_map(|(line, of)| Tampering::Insert { line, of }),
        (any(), any()).prop_map(|(one, other)| Tampering::Swap { one, other }),
        (any(), any()).prop_map(|(line, at)| Tampering::Cut { line, at }),
        any().prop_map(|line| Tampering::Splice { line }),
    ]
}

proptest! {
    #[test]
    fn item_s41_whatever_is_done_to_a_log_is_found(count in 3usize..40, each in 3usize..20, deed in tampering()) {
        let (files, head) = log("aaaaaaaa", count, each);
        let whole: Lines = files.concat();
        let mut lines = whole.clone();
        let some = |n: usize| n % whole.len();
        match deed {
            Tampering::Change { line, at, by } => {
                let line = &mut lines[some(line)];
                let at = at % line.len();
                line[at] ^= by;
            }
            Tampering::Delete { line, count } => {
                let line = some(line);
                lines.drain(line..(line + count).min(whole.len()));
            }
            Tampering::Insert { line, of } => lines.insert(some(line), whole[some(of)].clone()),
            Tampering::Swap { one, other } => lines.swap(some(one), some(other)),
            Tampering::Cut { line, at } => {
                let line = &mut lines[some(line)];
                let at = at % line.len();
                line.truncate(at);
            }
            // The rest is that of another log under the same name.
            Tampering::Splice { line } => {
                let mut other = Head::new("aaaaaaaa".into());
                let mut rest = Lines::new();
                begin(&mut other, &mut rest);
                (1..whole.len()).for_each(|at| seal(&mut other, &mut rest, body(&format!("other-{at}"))));
                let line = some(line);
                lines.splice(line.., rest.drain(line..));
            }
        }
        // What is left where older files were moved away: nothing was done to it.
        let is_later_part = whole.ends_with(&lines) && files.iter().any(|file| !file.is_empty() && file.first() == lines.first());
        let report = verified(std::slice::from_ref(&lines), Some(&head), vec![]);
        prop_assert_eq!(report.count > 0, !is_later_part, "{:?}", report.problems);
    }
}
