//! Every problem that was found, each with its place; nothing is told twice.

use std::sync::Arc;

use super::document::Document;
use super::locate::join;
use super::problem::{Problem, Severity};

/// A place in a document, by dotted path from the root of the configuration.
#[derive(Clone, Debug)]
pub struct At<'d> {
    pub document: &'d Document,
    pub path: String,
}

impl<'d> At<'d> {
    pub fn new(document: &'d Document) -> Self {
        Self { document, path: document.root.clone() }
    }

    pub fn key(&self, key: &str) -> Self {
        self.absolute(&join(&self.path, key))
    }

    pub fn item(&self, index: usize) -> Self {
        self.absolute(&format!("{}[{index}]", self.path))
    }

    pub fn absolute(&self, path: &str) -> Self {
        Self { document: self.document, path: path.to_owned() }
    }

    pub fn parent(&self) -> Self {
        let parent = self.path.rfind(['.', '[']).and_then(|at| self.path.get(..at)).unwrap_or_default();
        self.absolute(parent)
    }

    /// The last key of the path.
    pub fn last(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }

    /// Whether the key stands on a line of its own.
    pub fn is_there(&self) -> bool {
        self.document.lines.exact(&self.path).is_some()
    }

    pub fn line(&self) -> usize {
        self.document.lines.line(&self.path)
    }

    /// `file:line`, to name another place in a message.
    pub fn place(&self) -> String {
        format!("{}:{}", self.document.file, self.line())
    }
}

/// Collects problems. What lies at or under a broken place is passed over: its fault is already told.
#[derive(Debug, Default)]
pub struct Report {
    problems: Vec<Problem>,
    broken: Vec<(Arc<str>, String)>,
}

impl Report {
    pub fn error(&mut self, at: &At<'_>, message: impl Into<String>) {
        self.add(Severity::Error, at, at.line(), message.into(), None);
    }

    pub fn error_hint(&mut self, at: &At<'_>, message: String, hint: Option<String>) {
        self.add(Severity::Error, at, at.line(), message, hint);
    }

    /// An error with the next step.
    pub fn mend(&mut self, at: &At<'_>, message: impl Into<String>, hint: impl Into<String>) {
        self.add(Severity::Error, at, at.line(), message.into(), Some(hint.into()));
    }

    pub fn at_line(&mut self, at: &At<'_>, line: usize, message: String) {
        self.add(Severity::Error, at, line, message, None);
    }

    /// Something, of several, that must be there and is not. Passed over when something right here
    /// was broken: it may be just that.
    pub fn missing(&mut self, at: &At<'_>, message: impl Into<String>, hint: impl Into<String>) {
        if !self.is_broken_within(at) {
            self.mend(at, message, hint);
        }
    }

    pub fn warn(&mut self, at: &At<'_>, message: impl Into<String>, hint: impl Into<String>) {
        self.add(Severity::Warning, at, at.line(), message.into(), Some(hint.into()));
    }

    /// A fault of the text itself, which has a line and no path.
    pub fn syntax(&mut self, document: &Document, line: usize, message: &str, hint: Option<String>) {
        let (file, path, message) = (document.file.clone(), document.root.clone(), message.to_owned());
        self.problems.push(Problem { severity: Severity::Error, file, line, path, message, hint });
    }

    /// A fault of a whole file.
    pub fn file(&mut self, file: &str, message: String) {
        self.problems.push(Problem { severity: Severity::Error, file: file.into(), line: 0, path: String::new(), message, hint: None });
    }

    /// Whether something at, under or around the path was broken, in whatever file.
    pub fn is_told(&self, path: &str) -> bool {
        self.broken.iter().any(|(_, broken)| is_within(broken, path) || is_within(path, broken))
    }

    pub fn broken(&mut self, at: &At<'_>) {
        self.broken.push((at.document.file.clone(), at.path.clone()));
    }

    /// Errors in the order of the files, or else the warnings.
    pub fn finish(self) -> Result<Vec<Problem>, Vec<Problem>> {
        let mut problems = self.problems;
        let failed = problems.iter().any(|problem| problem.severity == Severity::Error);
        problems.retain(|problem| !failed || problem.severity == Severity::Error);
        problems.sort_by(|a, b| (&a.file, a.line, &a.path).cmp(&(&b.file, b.line, &b.path)));
        problems.dedup();
        if failed { Err(problems) } else { Ok(problems) }
    }

    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    fn add(&mut self, severity: Severity, at: &At<'_>, line: usize, message: String, hint: Option<String>) {
        if self.is_broken(at) {
            return;
        }
        let (file, path) = (at.document.file.clone(), at.path.clone());
        self.problems.push(Problem { severity, file, line, path, message, hint });
    }

    fn is_broken(&self, at: &At<'_>) -> bool {
        self.broken.iter().any(|(file, path)| *file == at.document.file && is_within(&at.path, path))
    }

    fn is_broken_within(&self, at: &At<'_>) -> bool {
        self.broken.iter().any(|(file, path)| {
            let child = path.strip_prefix(at.path.as_str()).and_then(|rest| rest.strip_prefix('.').or(at.path.is_empty().then_some(rest)));
            *file == at.document.file && child.is_some_and(|child| !child.contains(['.', '[']))
        })
    }
}

fn is_within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}
