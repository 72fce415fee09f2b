//! What sits in the seat under test: a process that ends when it is dropped.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::generator::{Connection, Rendered};
use crate::tokens::{ISSUER, SCOPE};

/// The gateway has a core of its own; generator and upstream share the other.
const GATEWAY_CORE: &str = "0";
pub const LOAD_CORE: &str = "1";

/// What clients type; tokens name it as their audience. The load connects to loopback and says this host.
pub const PUBLIC_URL: &str = "https://mcp.example.com";
pub const HOST: &str = "mcp.example.com";
pub const PATH: &str = "/mcp";

/// Who sits in the seat under test.
#[derive(Clone)]
pub enum Gateway {
    Bare,
    /// The same, that verifies each proof by this key.
    Verifying(String),
    /// The binary to start, the key set it is given, and a SQLite file where it has a store.
    Doorward {
        binary: PathBuf,
        jwks: PathBuf,
        store: Option<PathBuf>,
    },
}

/// A running gateway that has answered once.
pub struct Seat {
    pub address: String,
    pub pid: u32,
    /// From the start of the process to its first answer with status 200.
    pub started_in: Duration,
    _process: Process,
    folder: tempfile::TempDir,
}

impl Seat {
    /// Starts a gateway before `upstream` and waits until `probe` is answered with 200.
    pub async fn start(gateway: &Gateway, upstream: &str, probe: &Rendered) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = free_address()?;
        let mut command = Command::new("taskset");
        command.args(["-c", GATEWAY_CORE]);
        match gateway {
            Gateway::Bare => {
                command.arg(std::env::current_exe()?).args(["baseline", &address, upstream]);
            }
            Gateway::Verifying(key) => {
                command.arg(std::env::current_exe()?).args(["baseline", &address, upstream, key]);
            }
            Gateway::Doorward { binary, jwks, store } => {
                let config = folder.path().join("doorward.yaml");
                fs::write(folder.path().join("secret"), "load")?;
                let mut text = configuration(&address, &free_address()?, upstream, jwks, folder.path());
                if let Some(store) = store {
                    text = governed(&text, store);
                }
                fs::write(&config, text)?;
                command.arg(binary).args(["serve", "--config"]).arg(&config);
            }
        }
        let log = folder.path().join("log");
        let output = File::create(&log)?;
        command.stdout(output.try_clone()?).stderr(output);
        let begun = Instant::now();
        let process = Process(command.spawn()?);
        let Some(started_in) = first_answer(&address, probe, begun).await else {
            return Err(io::Error::other(format!("no answer with 200 from {command:?}\n{}", tail(&log))));
        };
        Ok(Self { address, pid: process.0.id(), started_in, _process: process, folder })
    }

    /// Gives the resource another address by a reload: whatever was opened at the old one ends.
    pub fn move_resource(&self) -> io::Result<()> {
        let config = self.folder.path().join("doorward.yaml");
        let text = fs::read_to_string(&config)?.replace(&format!("    path: {PATH}\n"), "    path: /moved\n");
        let draft = self.folder.path().join("draft");
        fs::write(&draft, text)?;
        fs::rename(&draft, &config)?;
        let told = Command::new("kill").args(["-HUP", &self.pid.to_string()]).status()?;
        if told.success() { Ok(()) } else { Err(io::Error::other("the gateway is gone")) }
    }
}

/// Everything that production would switch on: audit, metrics and limits, the rates too high to be met.
fn configuration(address: &str, admin: &str, upstream: &str, jwks: &Path, folder: &Path) -> String {
    let (jwks, audit) = (jwks.display(), folder.join("audit.jsonl"));
    let audit = audit.display();
    let secret = folder.join("secret");
    let secret = secret.display();
    format!(
        "public_url: {PUBLIC_URL}
listen:
  - address: {address}
admin:
  address: {admin}
audit:
  file: {audit}
issuers:
  corp:
    issuer: {ISSUER}
    jwks_file: {jwks}
    introspection: {{ url: \"http://{upstream}/introspect\", client_id: load, client_secret_file: {secret}, cache: 10m }}
upstreams:
  load:
    path: {PATH}
    url: http://{upstream}/mcp
    issuers: [corp]
    rules:
      - tools: [\"tool_00*\", events, wait, tick]
        scopes: [{SCOPE}]
    limits: {{ per_client: 1000000/s, per_subject: 1000000/s }}
limits: {{ token_cache: 60000 }}
"
    )
}

/// With a store, and nobody let in who was not approved.
fn governed(configuration: &str, store: &Path) -> String {
    let text = configuration.replace("    rules:\n", "    clients: { unknown: pending }\n    rules:\n");
    format!("{text}store: \"sqlite:{}\"\n", store.display())
}

/// A child that does not outlive its handle.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks again and again without giving up the core: the time to the answer is what is measured.
async fn first_answer(address: &str, probe: &Rendered, begun: Instant) -> Option<Duration> {
    while begun.elapsed() < Duration::from_secs(10) {
        if matches!(Connection::new(address).exchange(probe).await, Ok(200)) {
            return Some(begun.elapsed());
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    None
}

/// A loopback address that was free a moment ago.
fn free_address() -> io::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
