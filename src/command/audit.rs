//! `doorward audit`: is the log what was written (`verify`), what does it say (`search`), whose signature is it (`key`)?

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use super::reach::Reach;
use super::{Failure, say};
use crate::audit::checkpoint::{Key, Signer};
use crate::audit::state;
use crate::audit::verify::{Found, Report, Verifier};
use crate::config;
use crate::control::records::{self, Filter, LONGEST, Query};
use crate::state::environment;

#[derive(Args)]
pub struct AuditCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Say whether the log is what was written, and the first line that is not.
    Verify(Verify),
    /// Print the records that fit, as they stand in the log.
    Search(Box<Search>),
    /// Print the public key of the configuration's checkpoints, for `verify --key`.
    Key(KeyOf),
}

impl AuditCommand {
    pub fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Verify(verify) => verify.run(),
            What::Search(search) => search.run(),
            What::Key(key) => key.run(),
        }
    }
}

#[derive(Args)]
struct Verify {
    /// The files of one log or of several, in any order; `-` for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A public key in PEM by which checkpoints must be signed. May be given for each replica.
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Any text that holds checkpoints as they were published, such as the process's own log kept elsewhere.
    #[arg(long, value_name = "FILE")]
    published: Vec<PathBuf>,
    /// The state that the gateway keeps beside the file, where it is not `FILE.state`.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// The first record of each log must be among the files.
    #[arg(long)]
    complete: bool,
    /// For programs.
    #[arg(long)]
    json: bool,
}

impl Verify {
    fn run(self) -> Result<(), Failure> {
        let keys = self.key.iter().map(|path| key(path)).collect::<Result<_, _>>()?;
        let mut verifier = Verifier::new(keys);
        for path in &self.published {
            each_line(path, |number, line, _| verifier.published(&place(path, number), &String::from_utf8_lossy(line)))?;
        }
        // Before the files: the gateway may be writing.
        // `audit.jsonl*` of a shell names the state too.
        let (named, files): (Vec<_>, Vec<_>) =
            self.files.iter().cloned().partition(|path| path.extension().is_some_and(|end| end == "state"));
        let found = files.iter().map(|path| state::beside(path)).filter(|path| self.state.is_none() && path.exists());
        let states: BTreeSet<PathBuf> = found.chain(named).chain(self.state.clone()).collect();
        for path in states {
            match state::read(&path) {
                Some(head) => verifier.state(&path.display().to_string(), head),
                None => verifier.wrong(path.display().to_string(), "not the state of an audit log".into()),
            }
        }
        for path in in_order(&files)? {
            each_line(&path, |number, line, whole| match whole {
                true => verifier.line(&place(&path, number), line),
                false => verifier.wrong(place(&path, number), "torn: the line has no end".into()),
            })?;
        }
        let mut report = verifier.finish();
        if self.complete {
            let cut: Vec<_> =
                report.logs.iter().filter(|(_, found)| found.after > 0).map(|(log, found)| (log.clone(), found.after)).collect();
            for (log, after) in cut {
                report.count += 1;
                let what = format!("records 1 to {after} were not given");
                report.problems.push(crate::audit::verify::Problem { place: format!("log {log}"), what });
            }
        }
        say(&if self.json { told_json(&report) } else { told(&report) })?;
        if report.count == 0 { Ok(()) } else { Err(Failure::No) }
    }
}

fn told(report: &Report) -> String {
    let mut text = String::new();
    for problem in &report.problems {
        text.push_str(&format!("{problem}\n"));
    }
    let more = report.count.saturating_sub(report.problems.len() as u64);
    if more > 0 {
        text.push_str(&format!("and {more} more\n"));
    }
    for (log, found) in &report.logs {
        text.push_str(&format!("log {log}: {}\n", summary(found)));
    }
    text.push_str(match (report.count, report.logs.is_empty()) {
        (0, true) => "no record was given\n",
        (0, false) => "the log is what was written\n",
        _ => "the log is not what was written\n",
    });
    text
}

fn summary(found: &Found) -> String {
    let Found { after, last, records, dropped, signed, covered, ended, confirmed } = found;
    let mut text = format!("{records} records, {} to {last}", after + 1);
    if *after > 0 {
        text.push_str(&format!("; records 1 to {after} were not given"));
    }
    if *dropped > 0 {
        text.push_str(&format!("; {dropped} requests have no record (`when_full: drop`)"));
    }
    if let Some(covered) = covered {
        text.push_str(&format!("; {signed} signed checkpoints, the last over record {covered}"));
    }
    text.push_str(match (confirmed, ended) {
        (true, _) => "; the end is the one that the state names",
        (false, true) => "; it ends in an orderly stop",
        (false, false) => "; nothing here says where it ends, so its last records could be missing",
    });
    text
}

fn told_json(report: &Report) -> String {
    let problems: Vec<Value> = report.problems.iter().map(|problem| json!({ "place": problem.place, "what": problem.what })).collect();
    let logs: serde_json::Map<String, Value> = report
        .logs
        .iter()
        .map(|(log, found)| {
            let Found { after, last, records, dropped, signed, covered, ended, confirmed } = found;
            let told = json!({
                "after": after, "last": last, "records": records, "dropped": dropped, "signed": signed,
                "covered": covered, "ended": ended, "confirmed": confirmed,
            });
            (log.clone(), told)
        })
        .collect();
    format!("{}\n", json!({ "sound": report.count == 0, "problems": problems, "count": report.count, "logs": logs }))
}

/// The files as their first records stand in their logs: a shell lists the newest one first.
fn in_order(files: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut all = Vec::new();
    for path in files {
        let mut first = None;
        if path != Path::new("-") {
            let file = open(path)?;
            let mut line = Vec::new();
            let _ = BufReader::new(file).take(LONGEST).read_until(b'\n', &mut line);
            let record = serde_json::from_slice::<Value>(&line).unwrap_or_default();
            first = record.get("log").and_then(Value::as_str).map(str::to_owned).zip(record.get("sequence").and_then(Value::as_u64));
        }
        all.push((first, path.clone()));
    }
    if all.iter().all(|(first, _)| first.is_some()) {
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
    }
    Ok(all.into_iter().map(|(_, path)| path).collect())
}

#[derive(Args)]
struct Search {
    /// The files, in the order in which to print; `-` for standard input. Without one, the admin API's log.
    #[arg(required_unless_present = "admin", value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    query: Query,
    #[command(flatten)]
    at: Reach,
}

impl Search {
    /// Like `grep`: 0 where something was found, 1 where nothing was.
    fn run(self) -> Result<(), Failure> {
        let mut out = BufWriter::new(std::io::stdout().lock());
        let mut left = self.query.limit.unwrap_or(u64::MAX);
        let (mut found, mut fault) = (false, None);
        let mut print = |line: &[u8]| {
            (found, left) = (true, left - 1);
            fault = out.write_all(line).and_then(|()| out.write_all(b"\n")).err();
            left > 0 && fault.is_none()
        };
        match self.files.is_empty() {
            true => self.ask(&mut print)?,
            false => self.read(&mut print)?,
        }
        match fault.or(out.flush().err()) {
            Some(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Failure::Impossible(format!("cannot write to standard output: {error}")))
            }
            _ if found => Ok(()),
            _ => Err(Failure::No),
        }
    }

    fn read(&self, print: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), Failure> {
        let filter = Filter::new(&self.query)?;
        let mut goes_on = self.query.limit != Some(0);
        for path in &self.files {
            each_line(path, |_, line, _| {
                if goes_on && serde_json::from_slice(line).is_ok_and(|record| filter.fits(&record)) {
                    goes_on = print(line);
                }
            })?;
        }
        Ok(())
    }

    /// Page after page, until there is no more.
    fn ask(&self, print: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), Failure> {
        let Some(api) = self.at.api()?.filter(|_| self.query.limit != Some(0)) else { return Ok(()) };
        let mut query = self.query.clone();
        loop {
            let page: Page = api.get("/admin/v1/audit/records", &query)?;
            for record in &page.records {
                if !print(record.to_string().as_bytes()) {
                    return Ok(());
                }
            }
            match page.next {
                // Where nothing was read there is no progress.
                Some(next) if query.after != Some(next) => query.after = Some(next),
                _ => return Ok(()),
            }
        }
    }
}

/// What the admin API answers to a search.
#[derive(serde::Deserialize)]
struct Page {
    records: Vec<Value>,
    next: Option<u64>,
}

#[derive(Args)]
struct KeyOf {
    #[command(flatten)]
    file: super::File,
    #[command(flatten)]
    at: Reach,
}

impl KeyOf {
    fn run(self) -> Result<(), Failure> {
        if let Some(api) = self.at.api()? {
            let key: Value = api.get("/admin/v1/audit/key", &json!({}))?;
            return say(key.get("pem").and_then(Value::as_str).unwrap_or_default());
        }
        let loaded = config::load(&self.file.config, &environment).map_err(Failure::Problems)?;
        let checkpoints = loaded.config.audit.checkpoints;
        let der = checkpoints.as_ref().and_then(|checkpoints| checkpoints.key.0.first());
        match der.and_then(|der| Signer::from_der(der)?.key()) {
            Some(key) => say(&key.pem()),
            None => Err(Failure::Impossible("`audit.checkpoints` is not set: nothing is signed".into())),
        }
    }
}

fn key(path: &Path) -> Result<Key, Failure> {
    let mut bytes = Vec::new();
    open(path)?.take(LONGEST).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    let der = SubjectPublicKeyInfoDer::from_pem_slice(&bytes).ok();
    der.and_then(|der| Key::from_spki(&der)).ok_or_else(|| {
        Failure::Impossible(format!("`{}` holds no public Ed25519 key in PEM: `doorward audit key` prints it", path.display()))
    })
}

fn place(path: &Path, number: u64) -> String {
    format!("{}:{number}", path.display())
}

fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Impossible(format!("cannot read `{}`: {error}", path.display()))
}

/// Calls with each line's number, the line without its newline, and whether it had one.
pub fn each_line(path: &Path, mut tell: impl FnMut(u64, &[u8], bool)) -> Result<(), Failure> {
    let source: Box<dyn Read> = if path == Path::new("-") { Box::new(std::io::stdin()) } else { Box::new(open(path)?) };
    let tell = |number, line: &[u8], whole| {
        tell(number, line, whole);
        true
    };
    records::each_line(source, tell).map_err(|error| unreadable(path, &error))
}
