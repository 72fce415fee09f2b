//! The binary: written a configuration, started, watched, signalled and stopped.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::eventually;

/// A port that nobody listens on. Below the range that outgoing connections take theirs from.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = u16::try_from(std::process::id() % 80).unwrap() * 150;
    loop {
        let port = 15_000 + (spread + NEXT.fetch_add(1, SeqCst)) % 16_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A running `doorward serve`.
pub struct Gateway {
    pub config_file: PathBuf,
    pub admin: String,
    pub audit_file: PathBuf,
    child: Child,
    stderr: Arc<Mutex<String>>,
    http: reqwest::Client,
}

/// Writes a configuration whole or not at all, as a careful operator does.
pub fn write_config(file: &Path, text: &str) {
    let draft = file.with_extension("draft");
    std::fs::write(&draft, text).unwrap();
    std::fs::rename(&draft, file).unwrap();
}

pub fn yaml(config: &Value) -> String {
    serde_yaml::to_string(config).unwrap()
}

/// Starts the binary and does not wait for it.
pub fn launch(config_file: &Path) -> Child {
    launch_with(config_file, &[])
}

/// Starts the binary with more flags.
pub fn launch_with(config_file: &Path, flags: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_doorward"))
        .args(["serve", "--config"])
        .arg(config_file)
        .args(flags)
        .env("GATEWAY_TEST_SECRET", "upstream-secret")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs a command of the binary to its end; the fake neighbours go on answering meanwhile.
pub async fn run(arguments: &[&str]) -> std::process::Output {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let run = move || Command::new(env!("CARGO_BIN_EXE_doorward")).args(arguments).stdin(Stdio::null()).output().unwrap();
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Waits for a process to end.
pub async fn exit(child: &mut Child) -> ExitStatus {
    let child = Mutex::new(child);
    eventually("the process to end", || async { child.lock().unwrap().try_wait().unwrap() }).await
}

impl Gateway {
    /// Starts with this configuration and waits until it serves.
    pub async fn start(folder: &Path, config: &Value, http: &reqwest::Client) -> Self {
        let gateway = Self::start_until_ready(folder, config, http).await;
        // That readiness means this is the claim of a test of its own.
        let address = config["listen"][0]["address"].as_str().unwrap();
        eventually("the listener", || async { tokio::net::TcpStream::connect(address).await.ok() }).await;
        gateway
    }

    /// Starts with this configuration and waits until it says that it is ready.
    pub async fn start_until_ready(folder: &Path, config: &Value, http: &reqwest::Client) -> Self {
        Self::started_by(launch, folder, config, http).await
    }

    /// The same, with room for so many open files.
    pub async fn start_with_files(files: usize, folder: &Path, config: &Value, http: &reqwest::Client) -> Self {
        let launch = |config_file: &Path| {
            let mut command = Command::new("sh");
            let limited = format!("ulimit -n {files}; exec \"$0\" \"$@\"");
            command.args(["-c", &limited, env!("CARGO_BIN_EXE_doorward"), "serve", "--config"]).arg(config_file);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        Self::started_by(launch, folder, config, http).await
    }

    /// The same, and a file that may not grow is an error of the write, as on a full disk, and not the end of the process.
    pub async fn start_for_a_full_disk(folder: &Path, config: &Value, http: &reqwest::Client) -> Self {
        let launch = |config_file: &Path| {
            let mut command = Command::new("sh");
            command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_doorward"), "serve", "--config"]).arg(config_file);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        Self::started_by(launch, folder, config, http).await
    }

    async fn started_by(launch: impl FnOnce(&Path) -> Child, folder: &Path, config: &Value, http: &reqwest::Client) -> Self {
        let config_file = folder.join("doorward.yaml");
        write_config(&config_file, &yaml(config));
        let mut child = launch(&config_file);
        let stderr = collect(child.stderr.take().unwrap());
        let admin = format!("http://{}", config["admin"]["address"].as_str().unwrap());
        let audit_file = folder.join("audit.jsonl");
        let mut gateway = Self { config_file, admin, audit_file, child, stderr, http: http.clone() };
        gateway.ready().await;
        gateway
    }

    /// Starts another process that takes over from this one, and does not wait for it.
    pub fn successor(&self) -> Self {
        let mut child = launch_with(&self.config_file, &["--upgrade"]);
        let stderr = collect(child.stderr.take().unwrap());
        let (config_file, admin, audit_file) = (self.config_file.clone(), self.admin.clone(), self.audit_file.clone());
        Self { config_file, admin, audit_file, child, stderr, http: self.http.clone() }
    }

    async fn ready(&mut self) {
        let begun = std::time::Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the gateway ended with {status}: {}", self.stderr());
            }
            let answer = self.http.get(format!("{}/readyz", self.admin)).send().await;
            if answer.is_ok_and(|answer| answer.status() == 200) {
                return;
            }
            // A start waits for the keys of issuers, whose first fetch a busy machine may lose.
            assert!(begun.elapsed() < 3 * super::DEADLINE, "the gateway is not ready: {}", self.stderr());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Waits for a text in the log, which is read beside the test.
    pub async fn says(&self, text: &str) {
        eventually(&format!("`{text}` in the log"), || async { self.stderr().contains(text).then_some(()) }).await;
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let done = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.pid())]).status().unwrap();
        assert!(done.success());
    }

    pub async fn exit(&mut self) -> ExitStatus {
        exit(&mut self.child).await
    }

    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    pub async fn admin(&self, path: &str) -> (u16, String) {
        let answer = self.http.get(format!("{}{path}", self.admin)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    pub async fn metrics(&self) -> Metrics {
        let (status, text) = self.admin("/metrics").await;
        assert_eq!(status, 200);
        Metrics(text)
    }

    /// Puts a configuration in the file's place and asks for a reload.
    pub fn offer(&self, text: &str) {
        write_config(&self.config_file, text);
        self.signal("HUP");
    }

    /// Offers a configuration and waits until it rules.
    pub async fn reload(&self, config: &Value) {
        let before = self.metrics().await.hash();
        self.offer(&yaml(config));
        self.changed(&before).await;
    }

    /// Waits until another configuration rules than the one of this hash.
    pub async fn changed(&self, before: &str) {
        eventually("the new configuration", || async { (self.metrics().await.hash() != before).then_some(()) }).await;
    }

    /// Offers a configuration and waits until it was looked at, for better or worse.
    pub async fn offer_and_wait(&self, text: &str) {
        let before = self.metrics().await.sum("doorward_config_reload_total", "");
        self.offer(text);
        eventually("the reload to be counted", || async {
            (self.metrics().await.sum("doorward_config_reload_total", "") > before).then_some(())
        })
        .await;
    }

    /// The audit lines of requests so far.
    pub fn audit(&self) -> Vec<Value> {
        let own = |line: &Value| {
            line["operation"].as_str().is_some_and(|operation| operation.starts_with("audit/") || operation.starts_with("admin/"))
        };
        self.records().into_iter().filter(|line| !own(line)).collect()
    }

    /// Every audit line so far, also those that the log and acts leave.
    pub fn records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.audit_file).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("a torn audit line: {line}"))).collect()
    }

    /// The audit lines that fit, once there are at least so many.
    pub async fn audited(&self, count: usize, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
        eventually("audit lines", || async {
            let lines: Vec<Value> = self.audit().into_iter().filter(|line| fits(line)).collect();
            (lines.len() >= count).then_some(lines)
        })
        .await
    }

    /// The records of what was done to the gateway that fit, once there are at least so many.
    pub async fn acts(&self, count: usize, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
        eventually("acts", || async {
            let acts: Vec<Value> = self.records().into_iter().filter(|record| fits(record)).collect();
            (acts.len() >= count).then_some(acts)
        })
        .await
    }

    /// Resident memory in KiB.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = self.stderr();
            eprintln!("the gateway said, last: {}", &said[said.floor_char_boundary(said.len().saturating_sub(4000))..]);
        }
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.pid())]).status();
            let begun = std::time::Instant::now();
            while self.child.try_wait().is_ok_and(|status| status.is_none()) {
                if begun.elapsed().as_millis() > 300 {
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    return;
                }
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }
}

fn collect(pipe: std::process::ChildStderr) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let sink = text.clone();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            sink.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
    text
}

/// The text of `/metrics`.
pub struct Metrics(pub String);

impl Metrics {
    /// Whatever the configuration's hash is written as.
    pub fn hash(&self) -> String {
        let lines: Vec<&str> = self.0.lines().filter(|line| line.starts_with("doorward_config_hash")).collect();
        assert!(!lines.is_empty(), "no doorward_config_hash");
        lines.join("\n")
    }

    /// The sum of all series of a name whose labels hold `part`.
    pub fn sum(&self, name: &str, part: &str) -> f64 {
        self.series(name).filter(|line| line.contains(part)).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// The lines of one name.
    pub fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.lines().filter(move |line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains(&format!("# TYPE {name} "))
    }
}
