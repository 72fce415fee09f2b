//! `doorward check`: every problem at once, with file, line and what to do next.

use clap::Args;
use serde_json::json;

use super::{Failure, File, probe, say};
use crate::config::{self, Issuer, Problem, Severity};
use crate::state::environment;

#[derive(Args)]
pub struct Check {
    #[command(flatten)]
    file: File,
    /// For programs: `{"ok": bool, "problems": [...], "notes": [...]}`.
    #[arg(long)]
    json: bool,
    /// Warnings count as problems.
    #[arg(long)]
    strict: bool,
    /// Ask each upstream for its tools, prompts and resources, and say which rule decides each.
    #[arg(long)]
    probe: bool,
}

impl Check {
    pub fn run(self) -> Result<(), Failure> {
        let mut notes = Vec::new();
        let (problems, summary) = match config::load(&self.file.config, &environment) {
            Ok(loaded) if self.probe => return probe::run(&loaded.config, self.json, self.strict),
            Ok(loaded) => {
                let rules: usize = loaded.config.routes.iter().map(|route| route.policy.rules().len()).sum();
                notes = loaded.config.issuers.iter().filter_map(|(name, issuer)| registration(name, issuer)).collect();
                let summary = format!("{} upstreams, {rules} rules, {} issuers", loaded.config.routes.len(), loaded.config.issuers.len());
                (loaded.warnings, summary)
            }
            Err(problems) => (problems, String::new()),
        };
        let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
        let ok = errors == 0 && (problems.is_empty() || !self.strict);
        if self.json {
            let problems: Vec<_> = problems.iter().map(as_json).collect();
            say(&format!("{}\n", json!({ "ok": ok, "problems": problems, "notes": notes })))?;
        } else {
            for problem in &problems {
                say(&format!("{problem}\n"))?;
            }
            for note in &notes {
                say(&format!("note: {note}\n"))?;
            }
            let warnings = problems.len() - errors;
            say(&match (ok, errors) {
                (true, _) => format!("ok: {summary}{}\n", if warnings > 0 { format!(", {warnings} warnings") } else { String::new() }),
                (false, 0) => format!("{warnings} warnings, and --strict\n"),
                (false, _) => format!("{errors} errors, {warnings} warnings\n"),
            })?;
        }
        if ok { Ok(()) } else { Err(Failure::No) }
    }
}

/// What an operator should know of an issuer's clients before they come.
fn registration(name: &str, issuer: &Issuer) -> Option<String> {
    let profile = issuer.profile;
    (!profile.registration.is_empty()).then(|| format!("issuers.{name} ({}): {}", profile.name, profile.registration))
}

fn as_json(problem: &Problem) -> serde_json::Value {
    let Problem { severity, file, line, path, message, hint } = problem;
    let severity = match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    json!({ "severity": severity, "file": &**file, "line": line, "path": path, "message": message, "hint": hint })
}
