use std::collections::HashSet;

use super::super::verify::{Report, Verifier};
use super::*;

fn sink(path: &Path, log: &str) -> Sink {
    Sink::open(Some(path.to_owned()), log.into()).expect("opens")
}

fn put(sink: &mut Sink) {
    let line = |out: &mut Vec<u8>| {
        out.extend_from_slice(br#"{"operation":"x"}"#);
        true
    };
    sink.append(SystemTime::UNIX_EPOCH, |page| page.line(line)).expect("written");
}

/// Holds the files, in this order, against each other and against the state.
fn verified(log: &Path, files: &[PathBuf]) -> Report {
    let mut verifier = Verifier::default();
    verifier.state("state", super::super::state::read(&super::super::state::beside(log)).expect("a state"));
    for file in files {
        let text = std::fs::read_to_string(file).expect("read");
        text.lines().for_each(|line| verifier.line("x", line.as_bytes()));
    }
    verifier.finish()
}

#[test]
fn a_file_of_something_else_is_left_as_it_is() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("secret");
    std::fs::write(&path, "not a record").expect("written");
    assert!(sink(&path, "abcdefgh").append(SystemTime::UNIX_EPOCH, |_| {}).is_err());
    assert_eq!(std::fs::read_to_string(&path).expect("read"), "not a record");
}

#[test]
fn a_log_begins_once_and_a_second_process_goes_on_from_it() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("audit.jsonl");
    let mut sinks = ["first000", "second00"].map(|log| sink(&path, log));
    for _ in 0..3 {
        sinks.iter_mut().for_each(put);
    }
    let report = verified(&path, std::slice::from_ref(&path));
    assert_eq!((report.count, report.logs.len(), report.logs["first000"].records), (0, 1, 8), "{:?}", report.problems);
}

/// How much of its last lines a process had written when it was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Nothing,
    /// One line, and half of another.
    Half,
    /// And not yet said so.
    All,
    Said,
}

/// What became of the file before the next process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Stayed,
    Moved,
    /// And the next process was killed with the new file empty.
    MovedAndMade,
    /// And with half a line in it.
    MovedAndBegun,
    /// To another folder, or packed.
    Gone,
    CopiedAndCut,
}

const HALF: &[u8] = br#"{"operation":"audit/beg"#;

/// A log of a process that was killed; the files in their order, the last one is that of the next process.
fn killed(folder: &Path, written: Written, then: Then) -> Vec<PathBuf> {
    let (path, old, away) = (folder.join("audit.jsonl"), folder.join("audit.jsonl.1"), folder.join("away"));
    let state = State::open(&path).expect("a state");
    let kept = || state.read().expect("read").expect("a state");
    let mut first = sink(&path, "first000");
    put(&mut first);
    let before = kept();
    put(&mut first);
    let between = kept().length;
    put(&mut first);
    let after = kept();
    drop(first);
    let file = OpenOptions::new().write(true).open(&path).expect("opens");
    let length = match written {
        Written::Nothing => before.length,
        Written::Half => between + 9,
        Written::All | Written::Said => after.length,
    };
    file.set_len(length).expect("cut");
    if written != Written::Said {
        let next = Point { sequence: after.head.sequence, chain: after.head.chain };
        state.write(&Kept { next: Some(next), ..before }).expect("written");
    }
    std::fs::create_dir(&away).expect("a folder");
    let rename = |to: &Path| std::fs::rename(&path, to).expect("moved");
    match then {
        Then::Stayed => return vec![path],
        Then::Moved => rename(&old),
        Then::MovedAndMade => {
            rename(&old);
            std::fs::write(&path, "").expect("made");
        }
        Then::MovedAndBegun => {
            rename(&old);
            std::fs::write(&path, HALF).expect("made");
        }
        Then::Gone => {
            rename(&away.join("1"));
            return vec![away.join("1"), path];
        }
        Then::CopiedAndCut => {
            std::fs::copy(&path, &old).expect("copied");
            file.set_len(0).expect("cut");
        }
    }
    vec![old, path]
}

#[test]
fn issue_5_7_killed_at_any_point_of_a_write_and_of_a_rotation_no_number_is_given_out_twice() {
    for written in [Written::Nothing, Written::Half, Written::All, Written::Said] {
        for then in [Then::Stayed, Then::Moved, Then::MovedAndMade, Then::MovedAndBegun, Then::Gone, Then::CopiedAndCut] {
            let folder = tempfile::tempdir().expect("folder");
            let files = killed(folder.path(), written, then);
            let path = folder.path().join("audit.jsonl");
            let mut next = sink(&path, "second00");
            (0..2).for_each(|_| put(&mut next));
            let text: String = files.iter().map(|file| std::fs::read_to_string(file).expect("read")).collect();
            let places =
                text.lines().filter_map(|line| Sealed::read(line.as_bytes())).map(|sealed| (sealed.head.log, sealed.head.sequence));
            let places: Vec<_> = places.collect();
            assert_eq!(places.iter().collect::<HashSet<_>>().len(), places.len(), "{written:?} {then:?}: {places:?}");
            let report = verified(&path, &files);
            // Where the lines went, nobody can say who does not find the file: what is missing is told.
            let is_unknown = matches!(then, Then::Gone | Then::CopiedAndCut) && matches!(written, Written::Nothing | Written::Half);
            assert_eq!(report.count > 0, is_unknown, "{written:?} {then:?}: {:?}", report.problems);
            assert!(!text.contains(r#""reason":"altered""#), "{written:?} {then:?}: nobody has changed anything: {text}");
        }
    }
}

#[test]
fn a_process_that_is_killed_at_its_first_write_leaves_a_log_that_begins() {
    for half in [&[][..], HALF] {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("audit.jsonl");
        std::fs::write(&path, half).expect("made");
        let file = Id::of(&File::open(&path).expect("opens")).expect("an id");
        let next = Some(Point { sequence: 2, chain: [7; 32] });
        let kept = Kept { head: Head::new("first000".into()), file, length: 0, next };
        State::open(&path).expect("a state").write(&kept).expect("written");
        put(&mut sink(&path, "second00"));
        let report = verified(&path, std::slice::from_ref(&path));
        assert_eq!((report.count, report.logs["first000"].after), (0, 0), "{:?}", report.problems);
    }
}

#[test]
fn after_a_write_that_failed_the_log_goes_on_from_where_it_was() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("audit.jsonl");
    let mut first = sink(&path, "first000");
    put(&mut first);
    let Place::File(kind) = &first.place else { panic!("a file") };
    let now = kind.state.read().expect("read").expect("a state");
    // Open for reading alone: nothing can be written into it.
    let mut closed = File::open(&path).expect("opens");
    let after = Head { sequence: 9, ..now.head.clone() };
    assert!(kind.put(&mut closed, &now, &after, b"x").is_err());
    put(&mut first);
    let report = verified(&path, std::slice::from_ref(&path));
    assert_eq!((report.count, report.logs["first000"].last), (0, 3), "{:?}", report.problems);
}
