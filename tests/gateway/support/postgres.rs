//! A PostgreSQL server of a test's own, in a folder of its own, at a free port. Needs the package `postgresql`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::eventually;
use super::gateway::free_port;

pub struct Postgres {
    folder: tempfile::TempDir,
    port: u16,
    server: Option<Child>,
}

/// The newest that is installed.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is not installed: `apt-get install postgresql`");
    versions.map(|entry| entry.unwrap().path().join("bin")).max().expect("a version of PostgreSQL")
}

/// PostgreSQL does not run as root: then it runs as the user that its package made.
fn command(program: &str) -> Command {
    let path = programs().join(program);
    if std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) != 0) {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(path);
    command
}

fn quiet(command: &mut Command) -> &mut Command {
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

impl Postgres {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let _ = Command::new("chown").arg("postgres").arg(folder.path()).stderr(Stdio::null()).status();
        let data = folder.path().join("data");
        let made = quiet(command("initdb").args(["--auth=trust", "--no-sync", "--username=doorward", "-D"]).arg(&data)).status();
        assert!(made.unwrap().success(), "initdb");
        let mut postgres = Self { folder, port: free_port(), server: None };
        postgres.resume().await;
        postgres
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Where the gateway finds it.
    pub fn url(&self) -> String {
        Self::url_at(self.port)
    }

    /// Where it is found behind this port.
    pub fn url_at(port: u16) -> String {
        format!("postgres://doorward@127.0.0.1:{port}/postgres")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub async fn resume(&mut self) {
        self.resume_with(&[]).await;
    }

    /// Takes no change from anybody.
    pub async fn resume_read_only(&mut self) {
        self.resume_with(&["-c", "default_transaction_read_only=on"]).await;
    }

    async fn resume_with(&mut self, more: &[&str]) {
        let (data, port): (&Path, String) = (&self.data(), self.port.to_string());
        let mut postgres = command("postgres");
        postgres.arg("-D").arg(data).args(["-p", &port, "-k", "", "-h", "127.0.0.1"]).args(more);
        let server = quiet(&mut postgres).spawn().unwrap();
        self.server = Some(server);
        let ready = || async {
            let asked = quiet(command("pg_isready").args(["-q", "-h", "127.0.0.1", "-p", &port, "-U", "doorward"])).status();
            asked.unwrap().success().then_some(())
        };
        eventually("PostgreSQL", ready).await;
    }

    /// Ends it at once, as a crash would.
    pub fn crash(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let _ = Command::new("sh").args(["-c", &format!("kill -QUIT {}", server.id())]).status();
        for _ in 0..400 {
            if server.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = server.kill();
        let _ = server.wait();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.crash();
    }
}
