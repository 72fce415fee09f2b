//! One thing that is wrong, with its place and what to do next.

use std::fmt;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// Legal, and probably not meant.
    Warning,
}

/// Printed as `file:line: path: message` and the hint on a line of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    pub file: Arc<str>,
    /// Counted from one; zero where the problem has no line.
    pub line: usize,
    /// The dotted path of the key: `upstreams.github.rules[2].scopes`.
    pub path: String,
    /// Lower case, no full stop, what the operator wrote in backticks.
    pub message: String,
    pub hint: Option<String>,
}

impl Problem {
    /// Nothing was found wrong, and yet there is no configuration: a fault of doorward's own.
    pub(super) fn unexplained(path: &std::path::Path) -> Self {
        let file = path.display().to_string().into();
        let message = "this file cannot be read, for a reason that doorward does not know".into();
        Self { severity: Severity::Error, file, line: 0, path: String::new(), message, hint: None }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: ", self.file)?,
            line => write!(f, "{}:{line}: ", self.file)?,
        }
        if self.severity == Severity::Warning {
            write!(f, "warning: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n    hint: {hint}"),
            None => Ok(()),
        }
    }
}
