//! Events out of a stream, each one judged, and a stream out of what passed (WHATWG HTML §9.2).
//! Knows nothing of JSON: the caller judges the data.

use std::borrow::Cow;

use super::bytes::until;
use super::listing::Unreadable;

/// What becomes of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Goes on as it came, byte for byte.
    Pass,
    /// Goes on with other data; `id`, `event` and `retry` stay.
    Replace(Vec<u8>),
    Drop,
    /// Ends the stream: what cannot be judged cannot be passed.
    Unreadable,
}

/// Gives the id of an event another name.
pub type Naming<'n> = &'n mut dyn FnMut(&[u8]) -> Option<String>;

/// Cuts a stream into events, however it arrives. A complete event leaves at once, and so does a
/// comment between events. Events without data (priming events) are not judged.
#[derive(Debug)]
pub struct SseFilter {
    limit: usize,
    /// The bytes of the event that is not complete.
    event: Vec<u8>,
    /// Where its last line begins.
    line: usize,
    /// Whether it has a line that is neither blank nor a leading comment.
    begun: bool,
    /// The last byte was CR: a LF that follows belongs to it.
    after_cr: bool,
    /// What became of the last thing that left, for the LF that may follow it.
    passed: bool,
    /// Something has left: a byte order mark is none any more.
    started: bool,
    dead: bool,
}

impl SseFilter {
    /// `limit`: the most bytes that one event may have.
    pub fn new(limit: usize) -> Self {
        Self { limit, event: Vec::new(), line: 0, begun: false, after_cr: false, passed: true, started: false, dead: false }
    }

    /// Takes the next bytes of the stream and appends to `out` what may go on. After an error the
    /// stream must end; what `out` holds by then may still go.
    pub fn push(&mut self, chunk: &[u8], judge: &mut dyn FnMut(&[u8]) -> Verdict, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        self.push_named(chunk, judge, None, out)
    }

    /// The same, and each `id` of an event is given another name on its way; one that gets none is left out.
    pub fn push_named(
        &mut self,
        chunk: &[u8],
        judge: &mut dyn FnMut(&[u8]) -> Verdict,
        mut name: Option<Naming<'_>>,
        out: &mut Vec<u8>,
    ) -> Result<(), Unreadable> {
        let mut rest = chunk;
        while let Some((&first, tail)) = rest.split_first() {
            if self.dead {
                return Err(Unreadable);
            }
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                self.second_half_of_line_end(out);
                rest = tail;
                continue;
            }
            let length = until(rest, b'\n', b'\r');
            let (line, tail) = rest.split_at(length);
            self.event.extend_from_slice(line);
            if self.event.len() > self.limit {
                self.dead = true;
                return Err(Unreadable);
            }
            let Some((&end, tail)) = tail.split_first() else {
                return Ok(());
            };
            self.event.push(end);
            self.after_cr = end == b'\r';
            match &mut name {
                Some(name) => self.line_ended(judge, Some(&mut **name), out)?,
                None => self.line_ended(judge, None, out)?,
            }
            rest = tail;
        }
        if self.dead { Err(Unreadable) } else { Ok(()) }
    }

    /// The stream has ended. An incomplete event is discarded, as clients do.
    pub fn finish(self) -> Result<(), Unreadable> {
        if self.dead { Err(Unreadable) } else { Ok(()) }
    }

    fn second_half_of_line_end(&mut self, out: &mut Vec<u8>) {
        if !self.event.is_empty() {
            self.event.push(b'\n');
            self.line = self.event.len();
        } else if self.passed {
            out.push(b'\n');
        }
    }

    fn line_ended(
        &mut self,
        judge: &mut dyn FnMut(&[u8]) -> Verdict,
        name: Option<Naming<'_>>,
        out: &mut Vec<u8>,
    ) -> Result<(), Unreadable> {
        let end = self.event.len() - 1;
        let line = self.event.get(self.line..end).unwrap_or_default();
        let line = if self.started || self.line > 0 { line } else { without_mark(line) };
        let (blank, comment) = (line.is_empty(), line.starts_with(b":"));
        if !blank && (self.begun || !comment) {
            self.begun = true;
            self.line = self.event.len();
            return Ok(());
        }
        let sentence = self.sentence(judge);
        self.passed = sentence == Verdict::Pass;
        match sentence {
            Verdict::Pass if name.is_none() || !self.lines().any(is_id) => out.extend_from_slice(&self.event),
            Verdict::Pass => self.rewrite(None, name, out),
            Verdict::Replace(data) => self.rewrite(Some(&data), name, out),
            Verdict::Drop => {}
            Verdict::Unreadable => self.dead = true,
        }
        self.event.clear();
        self.line = 0;
        self.begun = false;
        self.started = true;
        if self.dead { Err(Unreadable) } else { Ok(()) }
    }

    fn sentence(&self, judge: &mut dyn FnMut(&[u8]) -> Verdict) -> Verdict {
        let mut data: Option<Cow<'_, [u8]>> = None;
        let mut kind: &[u8] = b"";
        for line in self.lines() {
            match field(line) {
                (b"data", value) => match &mut data {
                    None => data = Some(Cow::Borrowed(value)),
                    Some(data) => {
                        let data = data.to_mut();
                        data.push(b'\n');
                        data.extend_from_slice(value);
                    }
                },
                _ if holds_other_line_break(line) => return Verdict::Unreadable,
                (b"event", value) => kind = value,
                _ => {}
            }
        }
        let Some(data) = data.filter(|data| !data.is_empty()) else {
            return Verdict::Pass;
        };
        match judge(&data) {
            // An event of another type carries no JSON-RPC, but some clients do not look at the type.
            Verdict::Unreadable if !matches!(kind, b"" | b"message") => Verdict::Drop,
            verdict => verdict,
        }
    }

    /// The event with other data, in one line (in JSON a line break is nothing but white space), or with another id.
    fn rewrite(&self, data: Option<&[u8]>, mut name: Option<Naming<'_>>, out: &mut Vec<u8>) {
        for line in self.lines() {
            match (field(line), &mut name) {
                ((b"data", _), _) if data.is_some() => continue,
                ((b"id", id), Some(name)) if !id.is_empty() => match name(id) {
                    Some(named) => out.extend_from_slice(&[b"id: ", named.as_bytes()].concat()),
                    None => continue,
                },
                _ => out.extend_from_slice(line),
            }
            out.push(b'\n');
        }
        if let Some(data) = data {
            out.extend_from_slice(b"data: ");
            out.extend(data.iter().map(|&byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
            out.push(b'\n');
        }
        out.push(b'\n');
    }

    /// The lines of the event that are not blank.
    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = if self.started { self.event.as_slice() } else { without_mark(&self.event) };
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (line, tail) = rest.split_at(until(rest, b'\n', b'\r'));
            rest = tail.split_first().map_or(tail, |(_, tail)| tail);
            Some(line)
        })
        .filter(|line| !line.is_empty())
    }
}

/// A line's field name and value; one space after the colon is not part of it.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    let (name, rest) = line.split_at(line.iter().position(|&byte| byte == b':').unwrap_or(line.len()));
    let value = rest.strip_prefix(b":").unwrap_or_default();
    (name, value.strip_prefix(b" ").unwrap_or(value))
}

/// Whether clients that split text as Python's `splitlines` does (httpx) would find another line
/// in this one. SECURITY: a comment that hides a `data:` line from us would pass unjudged. Data
/// needs no such look: JSON has these characters in strings only, where no whole message fits.
fn holds_other_line_break(line: &[u8]) -> bool {
    let control = |byte: &u8| *byte < 0x20 && *byte != b'\t' || *byte == 0x85;
    line.iter().any(control) || line.windows(3).any(|three| matches!(three, [0xE2, 0x80, 0xA8 | 0xA9]))
}

fn is_id(line: &[u8]) -> bool {
    let (name, value) = field(line);
    name == b"id" && !value.is_empty()
}

fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Judges by the first letter of the data.
    fn judge(data: &[u8]) -> Verdict {
        match data.first() {
            Some(b'r') => Verdict::Replace([b"<", data, b">"].concat()),
            Some(b'd') => Verdict::Drop,
            Some(b'u') => Verdict::Unreadable,
            _ => Verdict::Pass,
        }
    }

    fn filter<'c>(chunks: impl IntoIterator<Item = &'c [u8]>, limit: usize) -> (String, Result<(), Unreadable>) {
        let mut out = Vec::new();
        let mut filter = SseFilter::new(limit);
        let ended = chunks.into_iter().try_for_each(|chunk| filter.push(chunk, &mut judge, &mut out)).and_then(|()| filter.finish());
        (String::from_utf8_lossy(&out).into_owned(), ended)
    }

    fn whole(stream: &str) -> String {
        let (out, ended) = filter([stream.as_bytes()], 1000);
        assert_eq!(ended, Ok(()), "{stream:?}");
        out
    }

    #[test]
    fn item_74_priming_events_retry_and_comments_pass_unchanged() {
        for stream in [
            "id: 1\ndata: \n\n",
            "id: 1\ndata\n\n",
            ": hello\n",
            ":\n\n",
            "retry: 5000\n\n",
            "\r\n\r\n\n",
            "\u{feff}id: 7\r\rretry: 1\r\n\r\n",
        ] {
            assert_eq!(whole(stream), stream);
        }
    }

    #[test]
    fn item_97_every_line_end_ends_a_line_and_passed_events_stay_as_they_are() {
        for end in ["\n", "\r", "\r\n"] {
            let stream = format!("event: message{end}id: 4{end}data: x{end}data:y{end}{end}data: z{end}{end}");
            assert_eq!(whole(&stream), stream);
            assert_eq!(whole(&format!("data: dx{end}{end}data: z{end}{end}")), format!("data: z{end}{end}"));
        }
    }

    #[test]
    fn item_80_a_replaced_event_keeps_its_other_lines_and_has_one_line_of_data() {
        let stream = ": c\r\nid: 4\r\ndata: r1\r\nevent: message\r\ndata:2\r\n: d\r\nretry: 3\r\n\r\n";
        assert_eq!(whole(stream), ": c\r\nid: 4\nevent: message\n: d\nretry: 3\ndata: <r1 2>\n\n");
        assert_eq!(whole("\u{feff}data: r\n\n"), "data: <r>\n\n");
        assert_eq!(whole("\u{feff}id: 1\ndata: d\n\ndata: r\n\n"), "data: <r>\n\n");
    }

    #[test]
    fn a_dropped_event_leaves_nothing() {
        assert_eq!(whole("id: 1\rdata: d\r\r\ndata: x\n\n"), "data: x\n\n");
    }

    #[test]
    fn a_mark_hides_no_data_and_counts_only_at_the_start() {
        assert_eq!(whole("\u{feff}data: d\n\n"), "");
        // Here it is part of an unknown field's name.
        let stream = "data: x\n\n\u{feff}data: d\n\n";
        assert_eq!(whole(stream), stream);
        let stream = "id: 1\n\u{feff}data: d\n\n";
        assert_eq!(whole(stream), stream);
    }

    #[test]
    fn what_cannot_be_judged_ends_the_stream_and_nothing_passes_after_it() {
        let (out, ended) = filter([b"data: a\n\ndata: u\n\ndata: b\n\n".as_slice()], 1000);
        assert_eq!((out.as_str(), ended), ("data: a\n\n", Err(Unreadable)));
        let mut filter = SseFilter::new(1000);
        let mut out = Vec::new();
        assert!(filter.push(b"data: u\n\n", &mut judge, &mut out).is_err());
        assert!(filter.push(b"data: a\n\n", &mut judge, &mut out).is_err());
        assert!(out.is_empty() && filter.finish().is_err());
    }

    #[test]
    fn an_event_of_another_type_is_judged_the_same_and_dropped_if_it_cannot_be() {
        assert_eq!(whole("event: ping\ndata: u\n\nevent: ping\ndata: a\n\n"), "event: ping\ndata: a\n\n");
        assert_eq!(whole("event: other\ndata: d\n\n"), "");
        assert!(filter([b"event: message\ndata: u\n\n".as_slice()], 1000).1.is_err());
        assert!(filter([b"event\ndata: u\n\n".as_slice()], 1000).1.is_err());
    }

    #[test]
    fn an_incomplete_event_is_discarded_at_the_end() {
        for stream in ["data: a\n\ndata: b", "data: a\n\ndata: b\n"] {
            assert_eq!(whole(stream), "data: a\n\n");
        }
    }

    #[test]
    fn an_event_larger_than_the_limit_ends_the_stream_before_it_is_whole() {
        let mut filter = SseFilter::new(100);
        let mut out = Vec::new();
        let pushed = (0..).find(|_| filter.push(b"data: 34\n", &mut judge, &mut out).is_err());
        assert_eq!(pushed, Some(11));
        assert!(filter.event.len() <= 110);
        let events = "data: 34\n\n".repeat(1000);
        assert_eq!(filter_str(&events, 100), (events, Ok(())));
    }

    fn filter_str(stream: &str, limit: usize) -> (String, Result<(), Unreadable>) {
        filter([stream.as_bytes()], limit)
    }

    #[test]
    fn a_line_that_other_clients_would_split_does_not_pass() {
        for mark in ["\u{2028}", "\u{2029}", "\u{85}", "\u{b}", "\u{c}", "\u{1e}"] {
            for line in [": x", "id: x", "event: x", "unknown"] {
                let stream = format!("{line}{mark}data: hidden\n\n");
                assert_eq!(filter_str(&stream, 1000), (String::new(), Err(Unreadable)), "{stream:?}");
            }
            let data = format!("data: x{mark}y\n\n");
            assert_eq!(whole(&data), data);
        }
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_output(
            lines in prop::collection::vec(("(data: ?[rdx]?.{0,6}|id: 1|event: message|event: x|:c|retry: 1||data|\u{feff}data: r)", "(\n|\r|\r\n)"), 0..30),
            sizes in prop::collection::vec(1..9usize, 1..50),
            limit in 20..60usize,
        ) {
            let stream: String = lines.into_iter().map(|(line, end)| line + &end).collect();
            let expected = filter_str(&stream, limit);
            let mut rest = stream.as_bytes();
            let mut chunks = Vec::new();
            for size in sizes.iter().cycle() {
                if rest.is_empty() { break; }
                let (chunk, tail) = rest.split_at((*size).min(rest.len()));
                chunks.push(chunk);
                rest = tail;
            }
            prop_assert_eq!(filter(chunks, limit), expected.clone());
            prop_assert_eq!(filter(stream.as_bytes().chunks(1), limit), expected);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = filter([bytes.as_slice()], 100);
        }
    }
}
