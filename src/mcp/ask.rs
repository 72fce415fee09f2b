//! What may a server ask of its client? Sampling, elicitation and roots: on streams in the legacy era
//! (MCP 2025-03-26 to 2025-11-25, "Client Features"), within a result in the modern one
//! (MCP 2026-07-28 "Multi Round-Trip Requests"). Knows what is asked, not who decides.

use super::bytes::any_place;
use super::json::{Fault, Scanner, is_variant};
use super::listing::{Unreadable, names_method};

/// One kind of request from a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// `elicitation/create` by a form that the client shows.
    Elicitation,
    /// `elicitation/create` by a page that the user is sent to: the way of phishing.
    ElicitationUrl,
    /// `sampling/createMessage`: the client's model works for the server.
    Sampling,
    /// `roots/list`: paths of the user's machine.
    Roots,
    Ping,
    /// What no revision names, or only for tasks.
    Other,
}

impl Ask {
    pub const ALL: [Self; 6] = [Self::Elicitation, Self::ElicitationUrl, Self::Sampling, Self::Roots, Self::Ping, Self::Other];

    /// By its method; `by_url` where its `params` send the user to a page.
    pub fn of(method: &str, by_url: bool) -> Self {
        match (method, by_url) {
            ("elicitation/create", false) => Self::Elicitation,
            ("elicitation/create", true) => Self::ElicitationUrl,
            ("sampling/createMessage", _) => Self::Sampling,
            ("roots/list", _) => Self::Roots,
            ("ping", _) => Self::Ping,
            _ => Self::Other,
        }
    }

    /// The method, for records.
    pub fn method(self) -> &'static str {
        match self {
            Self::Elicitation | Self::ElicitationUrl => "elicitation/create",
            Self::Sampling => "sampling/createMessage",
            Self::Roots => "roots/list",
            Self::Ping => "ping",
            Self::Other => "server/other",
        }
    }

    /// As the configuration and metrics call it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Elicitation => "elicitation",
            Self::ElicitationUrl => "elicitation_url",
            Self::Sampling => "sampling",
            Self::Roots => "roots",
            Self::Ping => "ping",
            Self::Other => "other",
        }
    }
}

/// What the servers of an upstream may ask, or what a client says it can answer. Nothing, unless it is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    pub elicitation: bool,
    pub elicitation_url: bool,
    pub sampling: bool,
    pub roots: bool,
}

impl Asks {
    /// A ping tells nothing and costs nothing; what nobody knows is refused.
    pub fn permits(self, ask: Ask) -> bool {
        match ask {
            Ask::Elicitation => self.elicitation,
            Ask::ElicitationUrl => self.elicitation_url,
            Ask::Sampling => self.sampling,
            Ask::Roots => self.roots,
            Ask::Ping => true,
            Ask::Other => false,
        }
    }

    /// Whether all that the other permits is permitted.
    pub fn covers(self, other: Self) -> bool {
        Ask::ALL.into_iter().all(|ask| self.permits(ask) || !other.permits(ask))
    }

    /// All of it in one hexadecimal digit.
    pub fn digit(self) -> char {
        let bits = [self.elicitation, self.elicitation_url, self.sampling, self.roots];
        let sum = bits.into_iter().fold(0, |sum, bit| sum << 1 | u32::from(bit));
        char::from_digit(sum, 16).unwrap_or('0')
    }

    /// What such a digit says; none for any other text.
    pub fn of_digit(digit: &str) -> Option<Self> {
        let mut digits = digit.chars();
        let (Some(digit), None) = (digits.next()?.to_digit(16), digits.next()) else { return None };
        let has = |bit: u32| digit & bit != 0;
        Some(Self { elicitation: has(8), elicitation_url: has(4), sampling: has(2), roots: has(1) })
    }
}

/// A cheap first look: without one of these words no parser finds a question in an answer.
pub fn may_ask(data: &[u8]) -> bool {
    any_place(data, [b'h', b'H', b'\\', b'q', b'Q', b'"'], |at| match data.get(at) {
        Some(b'"') => names_error(data, at),
        Some(b'q' | b'Q') => names_inputs(data, at),
        _ => names_method(data, at),
    })
}

/// The error that sends a user to pages (MCP 2025-11-25 "URL Elicitation Required Error"): a question in another dress.
const URL_REQUIRED: f64 = -32042.0;

/// Whether a member could be called `error` behind the quote that stands here. A `u` in an escape is found as one of a method's.
fn names_error(data: &[u8], at: usize) -> bool {
    data.get(at + 1..at + 7).is_some_and(|name| name.eq_ignore_ascii_case(b"error\""))
}

/// `inputRequests` without its `s`, which some parsers take for a long one.
const INPUTS: &[u8] = b"inputrequest";

/// Whether the word stands around the `q` that stands here.
fn names_inputs(data: &[u8], at: usize) -> bool {
    let there = at.checked_sub(7).and_then(|from| data.get(from..from + INPUTS.len()));
    there.is_some_and(|there| there.eq_ignore_ascii_case(INPUTS))
}

/// Looks for a question in an answer that is too long to be held: sees the names of its outer members,
/// however it arrives, and no more. What may have another reading counts as one.
#[derive(Debug, Default)]
pub struct Watcher {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The beginning of the string that is being read.
    string: Vec<u8>,
}

/// No escaped spelling of the names is longer.
const SPELLED: usize = 6 * 14;

impl Watcher {
    /// Whether a question may have begun in these bytes.
    pub fn sees(&mut self, bytes: &[u8]) -> bool {
        bytes.iter().any(|byte| self.step(*byte))
    }

    fn step(&mut self, byte: u8) -> bool {
        if !self.in_string {
            match byte {
                b'"' => {
                    self.in_string = true;
                    self.string.clear();
                }
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            return false;
        }
        if byte == b'"' && !self.escaped {
            self.in_string = false;
            return self.is_question();
        }
        self.escaped = byte == b'\\' && !self.escaped;
        if self.depth <= 2 && self.string.len() <= SPELLED {
            self.string.push(byte);
        }
        false
    }

    fn is_question(&self) -> bool {
        let begins = |word: &[u8]| self.string.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        let strange = self.string.contains(&b'\\');
        match self.depth {
            1 | 2 if self.string.len() > SPELLED => false,
            1 => strange || begins(b"method") || begins(b"error"),
            2 => strange || begins(INPUTS),
            _ => false,
        }
    }
}

/// What an answer asks: each of its `inputRequests`, the pages that an error wants visited, or itself, where it is no
/// answer but a request. An array is no answer.
pub fn asked(data: &[u8], depth: usize) -> Result<Vec<Ask>, Unreadable> {
    let text = std::str::from_utf8(data).map_err(|_| Unreadable)?;
    let mut scanner = Scanner::new(text, depth);
    let mut found = Found::default();
    found.message(&mut scanner).and_then(|()| scanner.end()).map_err(|_| Unreadable)?;
    if found.strange || scanner.duplicate() { Err(Unreadable) } else { Ok(found.asks) }
}

#[derive(Default)]
struct Found {
    asks: Vec<Ask>,
    /// Something that has more than one reading.
    strange: bool,
}

impl Found {
    fn message(&mut self, scanner: &mut Scanner<'_>) -> Result<(), Fault> {
        let (mut method, mut by_url) = (None, false);
        scanner.object(|scanner, name| {
            match name {
                "method" => method = Some(text(scanner)?),
                "params" => by_url = sends_to_page(scanner)?,
                "result" if scanner.peek()? == b'{' => return self.result(scanner),
                "error" if scanner.peek()? == b'{' => return self.error(scanner),
                other => {
                    self.strange |= is_variant(other, &["method", "params", "result", "error"]);
                    scanner.skip()?;
                }
            }
            Ok(())
        })?;
        self.asks.extend(method.map(|method| Ask::of(&method, by_url)));
        Ok(())
    }

    fn error(&mut self, scanner: &mut Scanner<'_>) -> Result<(), Fault> {
        scanner.object(|scanner, name| {
            if name != "code" {
                self.strange |= is_variant(name, &["code"]);
                return scanner.skip();
            }
            // Other spellings of a number are the same number to most clients.
            if scanner.raw()?.parse() == Ok(URL_REQUIRED) {
                self.asks.push(Ask::ElicitationUrl);
            }
            Ok(())
        })
    }

    fn result(&mut self, scanner: &mut Scanner<'_>) -> Result<(), Fault> {
        scanner.object(|scanner, name| {
            if name != "inputRequests" {
                self.strange |= is_variant(name, &["inputRequests"]);
                return scanner.skip();
            }
            if scanner.peek()? != b'{' {
                self.strange |= scanner.raw()? != "null";
                return Ok(());
            }
            scanner.object(|scanner, _| self.input(scanner))
        })
    }

    fn input(&mut self, scanner: &mut Scanner<'_>) -> Result<(), Fault> {
        if scanner.peek()? != b'{' {
            self.strange = true;
            return scanner.skip();
        }
        let (mut method, mut by_url) = (String::new(), false);
        scanner.object(|scanner, name| {
            match name {
                "method" => method = text(scanner)?,
                "params" => by_url = sends_to_page(scanner)?,
                other => {
                    self.strange |= is_variant(other, &["method", "params"]);
                    scanner.skip()?;
                }
            }
            Ok(())
        })?;
        self.asks.push(Ask::of(&method, by_url));
        Ok(())
    }
}

fn text(scanner: &mut Scanner<'_>) -> Result<String, Fault> {
    if scanner.peek()? == b'"' {
        return Ok(scanner.string()?.into_owned());
    }
    scanner.skip()?;
    Ok(String::new())
}

/// Whether the `params` of an elicitation are more than a form (MCP 2025-11-25 "Elicitation": `mode` is
/// `form` where it is absent). What is spelled otherwise counts as a page.
fn sends_to_page(scanner: &mut Scanner<'_>) -> Result<bool, Fault> {
    if scanner.peek()? != b'{' {
        scanner.skip()?;
        return Ok(false);
    }
    let mut page = false;
    scanner.object(|scanner, name| {
        page |= member_sends_to_page(scanner, name)?;
        Ok(())
    })?;
    Ok(page)
}

/// The same of one member of them, whose value is read.
pub(super) fn member_sends_to_page(scanner: &mut Scanner<'_>, name: &str) -> Result<bool, Fault> {
    if name == "mode" {
        return Ok(text(scanner)? != "form");
    }
    scanner.skip()?;
    Ok(name == "url" || is_variant(name, &["mode", "url"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::select;

    fn found(data: &str) -> Result<Vec<Ask>, Unreadable> {
        let asks = asked(data.as_bytes(), 16);
        if asks.as_ref().is_ok_and(|asks| !asks.is_empty()) {
            assert!(may_ask(data.as_bytes()), "{data}");
        }
        asks
    }

    #[test]
    fn item_95_each_input_request_of_a_result_is_found() {
        let data = r#"{"id":1,"result":{"resultType":"input_required","inputRequests":{
            "a":{"method":"elicitation/create","params":{"message":"m"}},
            "b":{"params":{"mode":"url","url":"https://x"},"method":"elicitation/create"},
            "c":{"method":"sampling/createMessage"},"d":{"method":"roots/list"},"e":{"method":"x"},"f":{}}}}"#;
        let all = [Ask::Elicitation, Ask::ElicitationUrl, Ask::Sampling, Ask::Roots, Ask::Other, Ask::Other];
        assert_eq!(found(data), Ok(all.to_vec()));
        assert_eq!(found(&data.replace("inputRequests", r"input\u0052equests")), Ok(all.to_vec()));
    }

    #[test]
    fn a_request_in_the_place_of_an_answer_is_found() {
        assert_eq!(found(r#"{"id":1,"method":"sampling/createMessage"}"#), Ok(vec![Ask::Sampling]));
        assert_eq!(found(r#"{"id":1,"m\u0065thod":"x","result":{}}"#), Ok(vec![Ask::Other]));
    }

    #[test]
    fn item_95_an_error_that_wants_a_page_visited_is_the_question_it_stands_for() {
        let error = |code: &str| format!(r#"{{"id":1,"error":{{"code":{code},"data":{{"elicitations":[{{"url":"https://x"}}]}}}}}}"#);
        for code in ["-32042", "-32042.0", "-3.2042e4", "-320420E-1"] {
            assert_eq!(found(&error(code)), Ok(vec![Ask::ElicitationUrl]), "{code}");
            assert_eq!(found(&error(code).replace("error", r"\u0065rror")), Ok(vec![Ask::ElicitationUrl]), "{code}");
        }
        for code in ["-32602", "32042", "\"-32042\"", "[-32042]"] {
            assert_eq!(found(&error(code)), Ok(vec![]), "{code}");
        }
        assert_eq!(found(&error("-32042").replace("error", "Error")), Err(Unreadable));
        assert_eq!(found(&error("-32042").replace("code", "Code")), Err(Unreadable));
        assert!(!may_ask(br#"{"id":1,"result":{"isError":false,"content":[{"text":"an error"}]}}"#));
    }

    #[test]
    fn an_answer_asks_nothing_though_it_speaks_of_it() {
        for data in [
            r#"{"id":1,"result":{"content":[{"type":"text","text":"inputRequests method"}],"structuredContent":{"method":1,"inputRequests":{"a":1}}}}"#,
            r#"{"id":1,"result":{"inputRequests":null}}"#,
            r#"{"id":1,"result":{"inputRequests":{}}}"#,
            r#"{"id":1,"error":{"code":1,"message":"inputRequests"}}"#,
            r#"{"id":1,"result":3}"#,
        ] {
            assert_eq!(found(data), Ok(vec![]), "{data}");
        }
        assert!(!may_ask(br#"{"id":1,"result":{"content":[{"text":"quick request for unique input"}]}}"#));
    }

    #[test]
    fn what_has_two_readings_is_not_passed() {
        for data in [
            r#"[{"id":1,"result":{}}]"#,
            r#"{"id":1,"result":{"inputRequests":{},"inputRequests":{"a":{"method":"roots/list"}}}}"#,
            r#"{"id":1,"result":{"InputRequests":{"a":{"method":"roots/list"}}}}"#,
            r#"{"id":1,"Result":{"inputRequests":{"a":{"method":"roots/list"}}}}"#,
            r#"{"id":1,"result":{"inputRequests":{"a":{"Method":"roots/list"}}}}"#,
            r#"{"id":1,"result":{"inputRequests":[{"method":"roots/list"}]}}"#,
            r#"{"id":1,"Method":"ping"}"#,
            r#"{"id":1,"result":{}"#,
        ] {
            assert_eq!(found(data), Err(Unreadable), "{data}");
        }
    }

    #[test]
    fn a_watcher_sees_the_same_questions_however_they_arrive() {
        for (data, seen) in [
            (r#"{"id":1,"result":{"x":"y","inputRequests":{}}}"#, true),
            (r#"{"id":1,"result":{"input\u0052equests":{}}}"#, true),
            ("{\"id\":1,\"result\":{\"InputRequest\u{17f}\":{}}}", true),
            (r#"{"id":1,"meth\u006fd":"x"}"#, true),
            (
                r#"{"id":1,"result":{"content":[{"text":"a\\","method":"\u0041"},{"inputRequests":"\""}],"is":"}"},"x":[["method","error"]]}"#,
                false,
            ),
            (r#"{"id":1,"error":{"code":-32042}}"#, true),
        ] {
            for size in [1, 3, 1000] {
                let mut watcher = Watcher::default();
                let sees = data.as_bytes().chunks(size).any(|chunk| watcher.sees(chunk));
                assert_eq!(sees, seen, "{data} by {size}");
            }
        }
    }

    #[test]
    fn an_elicitation_is_a_form_only_where_it_says_nothing_else() {
        for (params, ask) in [
            (r#"{"mode":"form"}"#, Ask::Elicitation),
            (r#"{"message":"url"}"#, Ask::Elicitation),
            ("[]", Ask::Elicitation),
            (r#"{"mode":"url"}"#, Ask::ElicitationUrl),
            (r#"{"mode":"form","url":"x"}"#, Ask::ElicitationUrl),
            (r#"{"Mode":"url"}"#, Ask::ElicitationUrl),
            (r#"{"mode":7}"#, Ask::ElicitationUrl),
        ] {
            assert_eq!(found(&format!(r#"{{"method":"elicitation/create","params":{params}}}"#)), Ok(vec![ask]), "{params}");
        }
    }

    #[test]
    fn what_is_said_in_a_digit_is_read_from_it() {
        for bits in 0..16_u8 {
            let has = |bit: u8| bits & bit != 0;
            let asks = Asks { elicitation: has(1), elicitation_url: has(2), sampling: has(4), roots: has(8) };
            assert_eq!(Asks::of_digit(&asks.digit().to_string()), Some(asks));
        }
        let (none, some) = (Asks::default(), Asks { roots: true, ..Asks::default() });
        assert!(some.covers(none) && some.covers(some) && !none.covers(some));
        assert!(["", "g", "00", "-"].into_iter().all(|other| Asks::of_digit(other).is_none()));
    }

    #[test]
    fn nothing_is_permitted_by_default_but_a_ping() {
        let permitted: Vec<Ask> = Ask::ALL.into_iter().filter(|ask| Asks::default().permits(*ask)).collect();
        assert_eq!(permitted, [Ask::Ping]);
        let all = Asks { elicitation: true, elicitation_url: true, sampling: true, roots: true };
        assert!(Ask::ALL.into_iter().all(|ask| all.permits(ask) == (ask != Ask::Other)));
    }

    proptest! {
        /// Words and halves of words, at every place of a block and across two of them.
        #[test]
        fn a_first_look_finds_each_word_wherever_it_stands(
            words in prop::collection::vec(
                select(vec![
                    "method", "METHOD", "meT", "hod", "h", "q", "inputRequest", "INPUTREQUEST", "inputre", "quest", "\"error\"", "\"Error\"", "\"", "error",
                    "\\", "u", "\\n", "x", " and what stands between them ", "................................................",
                ]),
                0..12,
            ),
        ) {
            let data = words.concat();
            let lower = data.to_ascii_lowercase();
            let slow = ["method", "inputrequest", "\"error\""].iter().any(|word| lower.contains(word)) || data.contains("\\u");
            prop_assert_eq!(may_ask(data.as_bytes()), slow);
        }
    }
}
