//! What were a server's tools when somebody approved them? The approvals of one upstream, as their file holds them.
//!
//! Knows neither what the server says now (see [`crate::vigil`]) nor where the file lies.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::mcp::definition::{Definition, Digest, is_unambiguous};

/// The form of the file.
const VERSION: u64 = 1;

/// That an upstream's tools are held against their approvals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Where the approvals stand.
    pub file: PathBuf,
    /// Between two looks at the servers.
    pub interval: Duration,
    pub approvals: Approvals,
}

/// The approved tools by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Approvals(BTreeMap<String, Approval>);

/// One tool as it was approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    pub digest: Digest,
    pub definition: Definition,
    /// Who approved it.
    pub by: String,
    /// When, in RFC 3339.
    pub at: String,
}

/// Why a tool may not be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is defined otherwise than it was approved.
    Changed,
    /// Nobody approved it.
    Unapproved,
    /// It has not been seen yet since the start.
    Unverified,
}

impl Flaw {
    /// The label for audit and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Changed => "tool_changed",
            Self::Unapproved => "tool_unapproved",
            Self::Unverified => "tool_unverified",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    version: u64,
    upstream: String,
    #[serde(borrow)]
    tools: BTreeMap<String, Entry<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<'a> {
    digest: String,
    approved_by: String,
    approved_at: String,
    #[serde(borrow)]
    definition: &'a RawValue,
}

impl Approvals {
    /// Reads the file of an upstream.
    ///
    /// # Errors
    /// In words for the operator. SECURITY: a digest that is not that of the definition beside it is one, so that what a
    /// reviewer reads in the file is what was approved.
    pub fn read(text: &str, upstream: &str) -> Result<Self, String> {
        // A name that stands twice would be one tool to us and another to a reader.
        if !is_unambiguous(text) {
            return Err("it is not JSON, or names something twice".into());
        }
        let file: File<'_> = serde_json::from_str(text).map_err(|error| format!("it is no file of approvals: {error}"))?;
        if file.version != VERSION {
            return Err(format!("it is of version {}, and this version of doorward knows {VERSION}", file.version));
        }
        if file.upstream != upstream {
            return Err(format!("it holds the tools of `{}`", file.upstream));
        }
        let tools = file.tools.into_iter().map(|(name, entry)| entry.resolve(&name).map(|approval| (name, approval)));
        tools.collect::<Result<_, _>>().map(Self)
    }

    /// The file's text.
    pub fn write(&self, upstream: &str) -> String {
        let mut out = format!("{{\n  \"version\": {VERSION},\n  \"upstream\": {},\n  \"tools\": {{", Value::from(upstream));
        for (index, (name, approval)) in self.0.iter().enumerate() {
            let Approval { digest, definition, by, at } = approval;
            let _ = write!(
                out,
                "{}\n    {}: {{\n      \"digest\": \"{digest}\",\n      \"approved_by\": {},\n      \"approved_at\": {},\n      \"definition\": {}\n    }}",
                if index > 0 { "," } else { "" },
                Value::from(name.as_str()),
                Value::from(by.as_str()),
                Value::from(at.as_str()),
                definition.pretty().replace('\n', "\n      "),
            );
        }
        out.push_str(if self.0.is_empty() { "}\n}\n" } else { "\n  }\n}\n" });
        out
    }

    pub fn find(&self, name: &str) -> Option<&Approval> {
        self.0.get(name)
    }

    /// In the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Approval)> {
        self.0.iter().map(|(name, approval)| (name.as_str(), approval))
    }

    pub fn insert(&mut self, name: String, approval: Approval) {
        self.0.insert(name, approval);
    }

    /// Keeps the tools of these names only.
    pub fn retain(&mut self, keeps: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| keeps(name));
    }
}

impl Entry<'_> {
    fn resolve(self, name: &str) -> Result<Approval, String> {
        let told = |what: &str, fault: &str| format!("the {what} of `{}` {fault}", name.escape_debug());
        let digest = Digest::parse(&self.digest).ok_or_else(|| told("digest", "is no `sha256:…`"))?;
        let definition = Definition::read(self.definition.get()).ok_or_else(|| told("definition", "is no object"))?;
        if definition.digest() != digest {
            return Err(told("digest", "is not that of its definition"));
        }
        if serde_json::from_str::<Value>(definition.as_json()).ok().as_ref().and_then(|tool| tool.get("name")?.as_str()) != Some(name) {
            return Err(told("definition", "has another name"));
        }
        Ok(Approval { digest, definition, by: self.approved_by, at: self.approved_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn approval(definition: &str) -> Approval {
        let definition = Definition::read(definition).expect("a definition");
        Approval { digest: definition.digest(), definition, by: "al\"ice".into(), at: "2026-01-02T03:04:05Z".into() }
    }

    fn two() -> Approvals {
        let mut all = Approvals::default();
        all.insert("a".into(), approval(r#"{"name":"a","description":"line\nline","n":1.50}"#));
        all.insert("b\"\n".into(), approval(r#"{"name":"b\"\n","inputSchema":{}}"#));
        all
    }

    #[test]
    fn the_file_is_read_as_it_is_written() {
        for all in [two(), Approvals::default()] {
            let text = all.write("files");
            assert_eq!(Approvals::read(&text, "files"), Ok(all), "{text}");
        }
    }

    #[test]
    fn a_file_that_was_tampered_with_is_none() {
        let text = two().write("files");
        for (from, to, why) in [
            ("line\\nline", "line", "is not that of its definition"),
            ("\"version\": 1", "\"version\": 2", "version 2"),
            ("\"upstream\": \"files\"", "\"upstream\": \"crm\"", "of `crm`"),
            ("\"a\": {", "\"c\": {", "has another name"),
            ("sha256:", "sha1:", "is no `sha256"),
            ("\"approved_by\"", "\"approved\"", "no file of approvals"),
            ("\"version\": 1,", "\"version\": 1, \"version\": 1,", "twice"),
        ] {
            let error = Approvals::read(&text.replacen(from, to, 1), "files").expect_err(from);
            assert!(error.contains(why), "{error}");
        }
        assert!(Approvals::read("", "files").is_err());
    }
}
