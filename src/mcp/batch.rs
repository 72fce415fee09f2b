//! Several messages in one array (JSON-RPC 2.0 §6; MCP 2025-03-26 "Batching", removed by 2025-06-18).
//! Takes arrays apart into messages that are judged one by one. Knows nothing of what they say.

use super::json::{Fault, Scanner};
use super::listing::Unreadable;
use super::sse::Verdict;
use super::{Error, era};

/// Whether a client that claims this revision may send arrays. Without a claim it is 2025-03-26
/// (MCP 2025-06-18 "Protocol Version Header").
pub fn is_spoken(version: Option<&str>) -> bool {
    version.is_none_or(|version| version == era::BATCHING)
}

/// The messages of a client's array, each as its own text; at least one, and at most `most`.
pub fn split(body: &[u8], depth: usize, most: usize) -> Result<Vec<&[u8]>, Error> {
    let text = std::str::from_utf8(body).map_err(|_| Error::NotJson)?;
    let (parts, more) = parts(text, depth, most).map_err(|fault| match fault {
        Fault::NotJson => Error::NotJson,
        Fault::TooDeep => Error::TooDeep,
    })?;
    match (parts.is_empty(), more) {
        (true, _) => Err(Error::Batch("the batch is empty")),
        (_, true) => Err(Error::Batch("the batch holds more messages than the limit")),
        (false, false) => Ok(parts),
    }
}

/// Judges what a server sends: one message, or each message of an array, of which those remain that pass.
pub fn judge_each(data: &[u8], depth: usize, judge: &mut dyn FnMut(&[u8]) -> Verdict) -> Verdict {
    let first = data.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
    if first != Some(&b'[') {
        return judge(data);
    }
    match each(data, depth, judge) {
        Err(Unreadable) => Verdict::Unreadable,
        Ok(None) => Verdict::Drop,
        Ok(Some(array)) => Verdict::Replace(array),
    }
}

fn each(data: &[u8], depth: usize, judge: &mut dyn FnMut(&[u8]) -> Verdict) -> Result<Option<Vec<u8>>, Unreadable> {
    let text = std::str::from_utf8(data).map_err(|_| Unreadable)?;
    let (parts, _) = parts(text, depth, usize::MAX).map_err(|_| Unreadable)?;
    let mut passed = Vec::with_capacity(parts.len());
    for part in parts {
        match judge(part) {
            // An array in an array is no message.
            Verdict::Pass if part.first() != Some(&b'{') => return Err(Unreadable),
            Verdict::Pass => passed.push(part.to_vec()),
            Verdict::Replace(other) => passed.push(other),
            Verdict::Drop => {}
            Verdict::Unreadable => return Err(Unreadable),
        }
    }
    Ok((!passed.is_empty()).then(|| join(&passed)))
}

/// One array of whole messages.
pub fn join(messages: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut array = vec![b'['];
    for (index, message) in messages.iter().enumerate() {
        if index > 0 {
            array.push(b',');
        }
        array.extend_from_slice(message.as_ref());
    }
    array.push(b']');
    array
}

/// The items of an array, up to `most`, and whether there were more.
fn parts(text: &str, depth: usize, most: usize) -> Result<(Vec<&[u8]>, bool), Fault> {
    let mut scanner = Scanner::new(text, depth);
    let (mut parts, mut more) = (Vec::new(), false);
    scanner.array(|scanner| {
        let part = scanner.raw()?.as_bytes();
        match parts.len() < most {
            true => parts.push(part),
            false => more = true,
        }
        Ok(())
    })?;
    scanner.end()?;
    Ok((parts, more))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_taken_apart_into_the_texts_that_were_sent() {
        let parts = split(br#" [ {"a":[1,2]} ,"x", 3 ] "#, 8, 3).expect("a batch");
        assert_eq!(parts, [br#"{"a":[1,2]}"#.as_slice(), br#""x""#, b"3"]);
    }

    #[test]
    fn what_is_empty_too_long_too_deep_or_no_array_is_refused() {
        assert_eq!(split(b"[]", 8, 3), Err(Error::Batch("the batch is empty")));
        assert_eq!(split(b"[1,2,3,4]", 8, 3), Err(Error::Batch("the batch holds more messages than the limit")));
        assert_eq!(split(b"[[[[1]]]]", 3, 3), Err(Error::TooDeep));
        for body in [b"[1,]".as_slice(), b"[1", b"[1]x", b"[1][2]", b"{}", b"[\xff]", b"", b"\xef\xbb\xbf[1]"] {
            assert_eq!(split(body, 8, 3), Err(Error::NotJson), "{body:?}");
        }
    }

    #[test]
    fn only_2025_03_26_has_batches() {
        assert!(is_spoken(None) && is_spoken(Some("2025-03-26")));
        for other in ["2025-06-18", "2025-11-25", "2026-07-28", "", "2024-11-05"] {
            assert!(!is_spoken(Some(other)), "{other}");
        }
    }

    #[test]
    fn each_message_of_a_servers_array_is_judged() {
        let mut judge = |data: &[u8]| match data.get(2) {
            Some(b'd') => Verdict::Drop,
            Some(b'r') => Verdict::Replace(b"{}".to_vec()),
            Some(b'u') => Verdict::Unreadable,
            _ => Verdict::Pass,
        };
        let mut judged = |data: &str| judge_each(data.as_bytes(), 8, &mut judge);
        assert_eq!(judged(r#" [{"a":1}, {"d":1},{"r":1}]"#), Verdict::Replace(br#"[{"a":1},{}]"#.to_vec()));
        assert_eq!(judged(r#"[{"d":1},{"d":2}]"#), Verdict::Drop);
        assert_eq!(judged("[]"), Verdict::Drop);
        assert_eq!(judged(r#"{"a":1}"#), Verdict::Pass);
        for bad in [r#"[{"a":1},{"u":1}]"#, r#"[{"a":1}"#, r#"[[{"a":1}]]"#, r#"[{"a":1}] x"#, "[1]"] {
            assert_eq!(judged(bad), Verdict::Unreadable, "{bad}");
        }
    }
}
