//! Listening sockets that the supervisor holds (`LISTEN_FDS`): used, kept through a restart, and refused where they fit nothing.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::gateway::{exit, write_config, yaml};
use crate::support::{Setup, eventually, raw, soon};

/// Starts the binary as systemd does: sockets from number 3 on, and words about them.
fn activated(config_file: &Path, first: OwnedFd, second: OwnedFd, count: usize, pid: &str) -> Child {
    let script = format!("export LISTEN_PID={pid} LISTEN_FDS={count}; exec \"$0\" serve --config \"$1\" 3<&0 4<&1 0</dev/null 1>/dev/null");
    Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_doorward")])
        .arg(config_file)
        .stdin(Stdio::from(first))
        .stdout(Stdio::from(second))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn nothing() -> OwnedFd {
    std::fs::File::open("/dev/null").unwrap().into()
}

/// A configuration in its file, and the file.
fn written(setup: &Setup) -> std::path::PathBuf {
    let file = setup.folder.path().join("doorward.yaml");
    write_config(&file, &yaml(&setup.config));
    file
}

fn terminate(child: &Child) {
    assert!(Command::new("sh").args(["-c", &format!("kill -TERM {}", child.id())]).status().unwrap().success());
}

/// What an end at the start says.
async fn ended(child: Child) -> Output {
    soon("the process to end", tokio::task::spawn_blocking(|| child.wait_with_output().unwrap())).await.unwrap()
}

#[tokio::test]
async fn the_supervisors_sockets_are_used_and_keep_callers_waiting_over_a_restart() {
    let mut setup = Setup::new().await;
    let folder = setup.folder.path().to_owned();
    let address = format!("127.0.0.1:{}", setup.port);
    let tcp = TcpListener::bind(&address).unwrap();
    let unix = UnixListener::bind(folder.join("door.sock")).unwrap();
    setup.config["listen"] = serde_json::json!([{"address": address}, {"address": format!("unix:{}", folder.join("door.sock").display())}]);
    let file = written(&setup);
    let start = || {
        let fds = [OwnedFd::from(tcp.try_clone().unwrap()), OwnedFd::from(unix.try_clone().unwrap())];
        let [first, second] = fds;
        activated(&file, first, second, 2, "$$")
    };
    let request = format!("GET /.well-known/oauth-protected-resource/mcp/files HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut child = start();
    // The socket listens already: a caller waits for the process and is not refused.
    assert_eq!(raw(&address, request.as_bytes()).await.status, Some(200));
    let mut local = tokio::net::UnixStream::connect(folder.join("door.sock")).await.unwrap();
    local.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("an answer", local.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    terminate(&child);
    assert_eq!(exit(&mut child).await.code(), Some(0));
    let waiting = tokio::spawn({
        let (address, request) = (address.clone(), request.clone());
        async move { raw(&address, request.as_bytes()).await.status }
    });
    let mut next = start();
    assert_eq!(soon("the caller that waited", waiting).await.unwrap(), Some(200));
    terminate(&next);
    assert_eq!(exit(&mut next).await.code(), Some(0));
    assert!(folder.join("door.sock").exists(), "the supervisor's socket was removed");
}

#[tokio::test]
async fn the_admin_listener_may_be_the_supervisors_too() {
    let setup = Setup::new().await;
    let admin = setup.config["admin"]["address"].as_str().unwrap().to_owned();
    let held = TcpListener::bind(&admin).unwrap();
    let mut child = activated(&written(&setup), held.try_clone().unwrap().into(), nothing(), 1, "$$");
    let address = format!("127.0.0.1:{}", setup.port);
    eventually("the listener of its own", || async { tokio::net::TcpStream::connect(&address).await.ok() }).await;
    let health = raw(&admin, format!("GET /healthz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n").as_bytes()).await;
    assert_eq!(health.status, Some(200));
    terminate(&child);
    assert_eq!(exit(&mut child).await.code(), Some(0));
}

#[tokio::test]
async fn a_unix_socket_of_the_supervisor_becomes_the_admin_listener() {
    let mut setup = Setup::new().await;
    let path = setup.folder.path().join("admin.sock");
    setup.config["admin"]["address"] = serde_json::json!(format!("unix:{}", path.display()));
    let held = UnixListener::bind(&path).unwrap();
    let mut child = activated(&written(&setup), held.try_clone().unwrap().into(), nothing(), 1, "$$");
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    terminate(&child);
    assert_eq!(exit(&mut child).await.code(), Some(0));
}

#[tokio::test]
async fn a_socket_that_fits_nothing_ends_the_start_with_a_line_that_says_so() {
    let setup = Setup::new().await;
    let file = written(&setup);
    let stray = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = stray.local_addr().unwrap().to_string();
    let output = ended(activated(&file, stray.into(), nothing(), 1, "$$")).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(&place) && said.contains("add it to `listen`"), "{said}");
    let (datagram, _other) = UnixDatagram::pair().unwrap();
    let connection = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap()
    };
    for (socket, count, hint) in [
        (OwnedFd::from(datagram), 1, "is no stream socket"),
        (OwnedFd::from(connection), 1, "does not listen"),
        (nothing(), 1, "is no stream socket"),
        (nothing(), 100_000, "is the most"),
    ] {
        let output = ended(activated(&file, socket, nothing(), count, "$$")).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(hint), "{said}");
    }
}

#[tokio::test]
async fn words_for_another_process_are_not_read() {
    let setup = Setup::new().await;
    let stray = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut child = activated(&written(&setup), stray.into(), nothing(), 1, "1");
    let address = format!("127.0.0.1:{}", setup.port);
    eventually("the listener of its own", || async { tokio::net::TcpStream::connect(&address).await.ok() }).await;
    terminate(&child);
    assert_eq!(exit(&mut child).await.code(), Some(0));
}
