//! On which line does a key stand? A scanner that follows indentation, so that every problem and
//! every rule can be pointed at.
//!
//! It reads block mappings and block sequences; what stands within a flow collection (`{…}`, `[…]`)
//! has the line of the key that holds it. It judges nothing: whether the text is YAML at all is
//! another question, asked in `document`.

use std::collections::HashMap;

/// Lines by dotted path, counted from one.
#[derive(Debug, Default)]
pub struct Lines {
    places: HashMap<String, usize>,
    /// Keys that stand twice in their mapping: path, first line, line of the repetition.
    pub repeated: Vec<(String, usize, usize)>,
}

impl Lines {
    /// `root` is the path of the document itself: empty, or `upstreams.github` for an included file.
    pub fn scan(text: &str, root: &str) -> Self {
        let mut scanner = Scanner { root, lines: Self::default(), levels: Vec::new(), inside: Inside::Nothing };
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            scanner.line(index + 1, line);
        }
        scanner.lines
    }

    /// The line of a path, or of the nearest thing around it that is known; the first line if nothing is.
    pub fn line(&self, path: &str) -> usize {
        let mut path = path;
        loop {
            if let Some(line) = self.places.get(path) {
                return *line;
            }
            match path.rfind(['.', '[']).and_then(|at| path.get(..at)) {
                Some(parent) => path = parent,
                None => return 1,
            }
        }
    }

    /// The line of exactly this path; none for what stands in a flow collection.
    pub fn exact(&self, path: &str) -> Option<usize> {
        self.places.get(path).copied()
    }
}

/// A path with one more key.
pub fn join(parent: &str, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}

struct Scanner<'a> {
    root: &'a str,
    lines: Lines,
    levels: Vec<Level>,
    inside: Inside,
}

/// An entry that later lines may stand in.
struct Level {
    indent: usize,
    path: String,
    /// For an entry of a sequence: the sequence's own path and the entry's number.
    item: Option<(String, usize)>,
}

/// What the line before left open.
enum Inside {
    Nothing,
    /// A block scalar: all lines deeper than this belong to it.
    Block(usize),
    /// A flow collection or a quoted text.
    Flow(Flow),
}

impl Scanner<'_> {
    fn line(&mut self, number: usize, line: &str) {
        let content = line.trim_start_matches(' ');
        let indent = line.len() - content.len();
        match &mut self.inside {
            Inside::Block(parent) if content.trim().is_empty() || indent > *parent => return,
            Inside::Flow(flow) => {
                if !flow.read(content) {
                    self.inside = Inside::Nothing;
                }
                return;
            }
            Inside::Block(_) | Inside::Nothing => self.inside = Inside::Nothing,
        }
        if content.trim().is_empty() || content.starts_with(['#', '%']) || line.starts_with("---") || line.starts_with("...") {
            return;
        }
        self.entries(number, indent, content);
    }

    /// `- `, `- - `, `key:` and `- key:` at the head of a line, then the value.
    fn entries(&mut self, number: usize, indent: usize, content: &str) {
        let (mut column, mut rest, mut owner) = (indent, content, None);
        while let Some(after) = rest.strip_prefix('-').filter(|after| after.is_empty() || after.starts_with(' ')) {
            self.item(number, column);
            owner = Some(column);
            let trimmed = after.trim_start_matches(' ');
            column += rest.len() - trimmed.len();
            rest = trimmed;
        }
        rest = without_anchor(rest);
        if let Some((key, after)) = key(rest) {
            self.key(number, column, &key);
            owner = Some(column);
            rest = without_anchor(after.trim_start());
        }
        if rest.starts_with(['|', '>']) {
            self.inside = Inside::Block(owner.unwrap_or(indent));
        } else if let Some(mut flow) = Flow::begin(rest)
            && flow.read(rest)
        {
            self.inside = Inside::Flow(flow);
        }
    }

    fn item(&mut self, number: usize, column: usize) {
        while self.levels.last().is_some_and(|level| level.indent > column) {
            self.levels.pop();
        }
        let before = self.levels.pop_if(|level| level.indent == column && level.item.is_some());
        let (base, index) = match before.and_then(|level| level.item) {
            Some((base, index)) => (base, index + 1),
            None => (self.here(), 0),
        };
        let path = format!("{base}[{index}]");
        self.lines.places.insert(path.clone(), number);
        self.levels.push(Level { indent: column, path, item: Some((base, index)) });
    }

    fn key(&mut self, number: usize, column: usize, key: &str) {
        while self.levels.last().is_some_and(|level| level.indent >= column) {
            self.levels.pop();
        }
        let path = join(&self.here(), key);
        match self.lines.places.get(&path) {
            Some(first) => self.lines.repeated.push((path.clone(), *first, number)),
            None => {
                self.lines.places.insert(path.clone(), number);
            }
        }
        self.levels.push(Level { indent: column, path, item: None });
    }

    fn here(&self) -> String {
        self.levels.last().map_or_else(|| self.root.to_owned(), |level| level.path.clone())
    }
}

/// The key at the head of a line and what follows its colon.
fn key(text: &str) -> Option<(String, &str)> {
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let inner = text.strip_prefix(quote)?;
        let (key, after) = inner.split_once(quote)?;
        let after = after.trim_start().strip_prefix(':')?;
        return (after.is_empty() || after.starts_with(' ')).then(|| (key.to_owned(), after));
    }
    if text.starts_with(['[', '{', '|', '>', '#']) {
        return None;
    }
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.find(':')?;
        let (key, after) = (text.get(..at)?, text.get(at + 1..)?);
        if key.contains(" #") {
            return None;
        }
        if after.is_empty() || after.starts_with(' ') {
            return Some((key.trim_end().to_owned(), after));
        }
        from = at + 1;
    }
}

/// Without `&anchor` and `!tag` at its head.
fn without_anchor(text: &str) -> &str {
    let mut text = text;
    while text.starts_with(['&', '!']) {
        text = text.split_once(' ').map_or("", |(_, rest)| rest.trim_start());
    }
    text
}

/// A flow collection or quoted text that may go on over several lines.
struct Flow {
    depth: usize,
    quote: Option<char>,
}

impl Flow {
    fn begin(text: &str) -> Option<Self> {
        text.starts_with(['[', '{', '"', '\'']).then_some(Self { depth: 0, quote: None })
    }

    /// Reads one line; says whether the next one still belongs to it.
    fn read(&mut self, line: &str) -> bool {
        let mut before = ' ';
        // Where a quote would open a text: at the head of an entry.
        let mut head = true;
        let mut characters = line.chars();
        while let Some(c) = characters.next() {
            match (self.quote, c) {
                (Some('"'), '\\') => {
                    characters.next();
                }
                (Some(open), c) if c == open => self.quote = None,
                (Some(_), _) => {}
                (None, '#') if before == ' ' => break,
                (None, '"' | '\'') if head => self.quote = Some(c),
                (None, '[' | '{') => self.depth += 1,
                (None, ']' | '}') => self.depth = self.depth.saturating_sub(1),
                (None, _) => {}
            }
            head = matches!(c, '[' | '{' | ',' | ':') || (head && c == ' ');
            before = c;
        }
        self.depth > 0 || self.quote.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# yaml-language-server: $schema=x
public_url: https://mcp.example.com   # a: comment
"listen":
  - address: 0.0.0.0:1
    tls: { certificate: a,
           key: "b: c" }
  -
    address: unix:/x
issuers: &all
  corp:
    issuer: 'https://x: y'
    text: |
      rules: 1
      - no
    next: 1
upstreams:
  github:
    rules:
    - tools: [a, b]
      scopes:
        - one
        - two
    - tools: ["*"]
    limits: 1
  other:
    rules: *all
"#;

    #[test]
    fn every_block_key_has_its_line() {
        let lines = Lines::scan(TEXT, "");
        let cases = [
            ("public_url", 2),
            ("listen", 3),
            ("listen[0].address", 4),
            ("listen[0].tls.key", 5),
            ("listen[1]", 7),
            ("listen[1].address", 8),
            ("issuers.corp.issuer", 11),
            ("issuers.corp.text.rules", 12),
            ("issuers.corp.next", 15),
            ("upstreams.github.rules[0]", 19),
            ("upstreams.github.rules[0].scopes[1]", 22),
            ("upstreams.github.rules[1].tools[0]", 23),
            ("upstreams.github.limits", 24),
            ("upstreams.other.rules[0].tools", 26),
            ("nowhere", 1),
        ];
        for (path, line) in cases {
            assert_eq!(lines.line(path), line, "{path}");
        }
        assert!(lines.repeated.is_empty(), "{:?}", lines.repeated);
    }

    #[test]
    fn a_repeated_key_is_told_with_both_lines() {
        let lines = Lines::scan("a:\n  b: 1\n  c: 2\n  b: 3\n", "root");
        assert_eq!(lines.repeated, [("root.a.b".to_owned(), 2, 4)]);
    }

    #[test]
    fn a_quote_within_a_word_opens_nothing() {
        let lines = Lines::scan("a: [it's, b]\nc: it's {\nd: 1\n", "");
        assert_eq!((lines.line("c"), lines.line("d")), (2, 3));
    }
}
