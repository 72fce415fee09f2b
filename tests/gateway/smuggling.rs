//! Bytes that two servers read in two ways: here they have one reading, or none.

use serde_json::json;

use crate::support::{Raw, Setup, World, json_call, raw};

/// What a row of the table expects.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wants {
    /// One of these, and nothing at the upstream.
    Refusal(&'static [u16]),
    /// The call as it stands reaches the upstream once.
    Call,
}

use Wants::{Call, Refusal};

/// 400, 408 where the end of a head is never seen, or the connection closed without an answer.
const BAD: Wants = Refusal(&[400, 408]);

struct Table {
    world: World,
    token: String,
    body: String,
}

impl Table {
    async fn new() -> Self {
        let world = World::with(|config| config["limits"] = json!({"header_timeout": "1s", "body_timeout": "1s"})).await;
        let token = world.ta();
        let body = json_call("tools/call", json!({"name": "read_file", "arguments": {}})).to_string();
        Self { world, token, body }
    }

    /// Puts `{host}`, `{auth}`, `{body}`, `{length}` and `{hex}` in, and ends lines with CR LF.
    fn fill(&self, text: &str) -> String {
        text.replace('\n', "\r\n")
            .replace("{host}", &format!("Host: {}", self.world.address))
            .replace("{address}", &self.world.address)
            .replace("{auth}", &format!("Authorization: Bearer {}\r\nContent-Type: application/json", self.token))
            .replace("{token}", &self.token)
            .replace("{body}", &self.body)
            .replace("{length}", &self.body.len().to_string())
            .replace("{hex}", &format!("{:x}", self.body.len()))
    }

    async fn row(&self, what: &str, text: &str, wants: Wants) {
        self.bytes(what, self.fill(text).as_bytes(), wants).await;
    }

    async fn bytes(&self, what: &str, bytes: &[u8], wants: Wants) {
        let before = self.world.files.count();
        let reply = raw(&self.world.address, bytes).await;
        let after = self.world.files.count();
        match wants {
            Call => {
                assert_eq!((reply.status, after - before), (Some(200), 1), "{what}: {reply:?}");
                assert_eq!(self.world.files.seen()[before].body, self.body, "{what}");
            }
            Refusal(statuses) => {
                let refused = reply.status.map_or(reply.closed, |status| statuses.contains(&status));
                assert!(refused, "{what}: {reply:?}");
                assert_eq!(after, before, "{what}: {}", self.world.files.seen()[after - 1].text());
            }
        }
        assert!(answers(&reply) <= 1, "{what}: several answers: {reply:?}");
    }
}

fn answers(reply: &Raw) -> usize {
    let statuses = reply.text.split("HTTP/1.1 ").skip(1).filter(|rest| rest.starts_with(['2', '3', '4', '5']));
    statuses.count()
}

#[tokio::test]
async fn a_plain_request_is_a_call() {
    let table = Table::new().await;
    table.row("with a length", "POST /mcp/files HTTP/1.1\n{host}\n{auth}\nContent-Length: {length}\n\n{body}", Call).await;
    table.row("chunked", "POST /mcp/files HTTP/1.1\n{host}\n{auth}\nTransfer-Encoding: chunked\n\n{hex}\n{body}\n0\n\n", Call).await;
    let extension = "POST /mcp/files HTTP/1.1\n{host}\n{auth}\nTransfer-Encoding: chunked\n\n{hex};x=y\n{body}\n0\n\n";
    table.row("chunk extension", extension, Call).await;
}

#[tokio::test]
async fn the_length_of_a_body_is_given_once() {
    let table = Table::new().await;
    let head = "POST /mcp/files HTTP/1.1\n{host}\n{auth}\n";
    for (what, framing) in [
        ("CL and TE", "Content-Length: {length}\nTransfer-Encoding: chunked\n"),
        ("TE and CL", "Transfer-Encoding: chunked\nContent-Length: {length}\n"),
        ("TE and CL 0", "Transfer-Encoding: chunked\nContent-Length: 0\n"),
        ("TE twice", "Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n"),
        ("TE chunked, chunked", "Transfer-Encoding: chunked, chunked\n"),
        ("TE gzip, chunked", "Transfer-Encoding: gzip, chunked\n"),
        ("TE chunked, gzip", "Transfer-Encoding: chunked, gzip\n"),
        ("TE identity", "Transfer-Encoding: identity\n"),
        ("TE xchunked", "Transfer-Encoding: xchunked\n"),
        ("TE quoted", "Transfer-Encoding: \"chunked\"\n"),
        ("TE with a tab before the colon", "Transfer-Encoding\t: chunked\n"),
        ("TE with a space before the colon", "Transfer-Encoding : chunked\n"),
        ("TE with a vertical tab", "Transfer-Encoding: \u{b}chunked\n"),
        ("TE empty", "Transfer-Encoding:\n"),
        ("TE folded", "Transfer-Encoding:\n chunked\n"),
    ] {
        table.row(what, &format!("{head}{framing}\n{{hex}}\n{{body}}\n0\n\n"), BAD).await;
    }
    for (what, framing) in [
        ("CL differing", "Content-Length: {length}\nContent-Length: 3\n"),
        ("CL list", "Content-Length: {length}, {length}\n"),
        ("CL with a sign", "Content-Length: +{length}\n"),
        ("CL negative", "Content-Length: -1\n"),
        ("CL hexadecimal", "Content-Length: 0x10\n"),
        ("CL empty", "Content-Length:\n"),
        ("CL too big", "Content-Length: 99999999999999999999999\n"),
        ("CL folded", "Content-Length:\n {length}\n"),
        ("CL with a space before the colon", "Content-Length : {length}\n"),
    ] {
        table.row(what, &format!("{head}{framing}\n{{body}}"), Refusal(&[400, 413])).await;
    }
}

#[tokio::test]
async fn chunks_are_read_strictly() {
    let table = Table::new().await;
    let head = "POST /mcp/files HTTP/1.1\n{host}\n{auth}\nTransfer-Encoding: chunked\n\n";
    for (what, body) in [
        ("size with 0x", "0x{hex}\n{body}\n0\n\n"),
        ("size with a sign", "+{hex}\n{body}\n0\n\n"),
        ("size negative", "-1\n{body}\n0\n\n"),
        ("size empty", "\n{body}\n0\n\n"),
        ("size too big", "ffffffffffffffffff\n{body}\n0\n\n"),
        ("size is a word", "zz\n{body}\n0\n\n"),
        ("no line end behind the chunk", "{hex}\n{body}0\n\n"),
    ] {
        table.row(what, &format!("{head}{body}"), Refusal(&[400, 413, 408])).await;
    }
}

#[tokio::test]
async fn what_stands_behind_a_body_is_no_request_of_the_same_caller() {
    let table = Table::new().await;
    let hidden = "POST /mcp/files HTTP/1.1\n{host}\nContent-Type: application/json\nContent-Length: {length}\n\n{body}";
    // A second request on the connection stands for itself: it has no token.
    let before = table.world.files.count();
    let text = format!("POST /mcp/files HTTP/1.1\n{{host}}\n{{auth}}\nContent-Length: {{length}}\n\n{{body}}{hidden}");
    raw(&table.world.address, table.fill(&text).as_bytes()).await;
    assert!(table.world.files.count() - before <= 1);
    // The body of a refused request is not a request either.
    let smuggled = "POST /mcp/files HTTP/1.1\n{host}\n{auth}\nContent-Length: {length}\n\n{body}";
    let inner = table.fill(smuggled);
    let outer = format!("POST /mcp/files HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{inner}", table.world.address, inner.len());
    table.bytes("a request in the body of a refused one", outer.as_bytes(), Refusal(&[401])).await;
    let outer = format!("GET /mcp/files HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{inner}", table.world.address, inner.len());
    table.bytes("a request in the body of a GET", outer.as_bytes(), Refusal(&[400, 401, 405])).await;
}

#[tokio::test]
async fn lines_end_with_cr_lf() {
    let table = Table::new().await;
    let whole = table.fill("POST /mcp/files HTTP/1.1\n{host}\n{auth}\nContent-Length: {length}\n\n{body}");
    table.bytes("all bare LF", whole.replace("\r\n", "\n").as_bytes(), BAD).await;
    table.bytes("one bare LF", whole.replacen("\r\nAuthorization", "\nAuthorization", 1).as_bytes(), BAD).await;
    table.bytes("bare LF after the request line", whole.replacen("HTTP/1.1\r\n", "HTTP/1.1\n", 1).as_bytes(), BAD).await;
    table.bytes("bare CR", whole.replacen("\r\nAuthorization", "\rAuthorization", 1).as_bytes(), BAD).await;
    table
        .bytes(
            "a hidden header behind a bare LF",
            whole.replacen("\r\nContent-Length", "\nX-Mcp-User: root\r\nContent-Length", 1).as_bytes(),
            BAD,
        )
        .await;
    table
        .bytes(
            "a hidden header behind a bare CR",
            whole.replacen("\r\nContent-Length", "\rX-Mcp-User: root\r\nContent-Length", 1).as_bytes(),
            BAD,
        )
        .await;
    table.bytes("NUL in a value", whole.replacen("\r\nContent-Length", "\r\nX: a\0b\r\nContent-Length", 1).as_bytes(), BAD).await;
}

#[tokio::test]
async fn header_lines_have_one_reading() {
    let table = Table::new().await;
    for (what, line) in [
        ("folded with a space", "X-A: b\n c"),
        ("folded with a tab", "X-A: b\n\tc"),
        ("folded at once", " X-A: b"),
        ("no colon", "X-A"),
        ("no name", ": b"),
        ("a space before the colon", "X-A : b"),
        ("a tab before the colon", "X-A\t: b"),
        ("a space in the name", "X A: b"),
        ("a name in quotes", "\"X-A\": b"),
    ] {
        table
            .row(what, &format!("POST /mcp/files HTTP/1.1\n{{host}}\n{line}\n{{auth}}\nContent-Length: {{length}}\n\n{{body}}"), BAD)
            .await;
    }
    table.row("folded first line", "POST /mcp/files HTTP/1.1\n {host}\n{auth}\nContent-Length: {length}\n\n{body}", BAD).await;
}

#[tokio::test]
async fn there_is_exactly_one_host() {
    let table = Table::new().await;
    let rest = "{auth}\nContent-Length: {length}\n\n{body}";
    for (what, lines) in [
        ("none", ""),
        ("two", "{host}\n{host}\n"),
        ("two differing", "{host}\nHost: evil.example\n"),
        ("two differing, the other first", "Host: evil.example\n{host}\n"),
        ("a list", "Host: {address}, evil.example\n"),
        ("empty", "Host:\n"),
        ("user information", "Host: user@{address}\n"),
        ("a path", "Host: {address}/mcp\n"),
        ("a scheme", "Host: http://{address}\n"),
        ("a space", "Host: {address} evil.example\n"),
        ("a foreign one", "Host: evil.example\n"),
        ("another port", "Host: {address}1\n"),
    ] {
        table.row(what, &format!("POST /mcp/files HTTP/1.1\n{lines}{rest}"), Refusal(&[400, 421])).await;
    }
}

#[tokio::test]
async fn there_is_exactly_one_credential() {
    let table = Table::new().await;
    let twice = "POST /mcp/files HTTP/1.1\n{host}\n{auth}\nAuthorization: Bearer {token}\nContent-Length: {length}\n\n{body}";
    table.row("the same twice", twice, BAD).await;
    let other = "POST /mcp/files HTTP/1.1\n{host}\nAuthorization: Bearer x\n{auth}\nContent-Length: {length}\n\n{body}";
    table.row("another first", other, BAD).await;
    let list = "POST /mcp/files HTTP/1.1\n{host}\nContent-Type: application/json\nAuthorization: Bearer {token}, Bearer {token}\nContent-Length: {length}\n\n{body}";
    table.row("a list", list, BAD).await;
}

#[tokio::test]
async fn request_targets_are_paths() {
    let table = Table::new().await;
    let rest = "{host}\n{auth}\nContent-Length: {length}\n\n{body}";
    for (what, line) in [
        ("absolute, the same host", "POST http://{address}/mcp/files HTTP/1.1"),
        ("absolute, another host", "POST http://evil.example/mcp/files HTTP/1.1"),
        ("authority", "POST {address} HTTP/1.1"),
        ("star", "POST * HTTP/1.1"),
        ("OPTIONS star", "OPTIONS * HTTP/1.1"),
        ("CONNECT", "CONNECT {address} HTTP/1.1"),
        ("CONNECT with a path", "CONNECT /mcp/files HTTP/1.1"),
        ("no target", "POST HTTP/1.1"),
        ("two spaces", "POST  /mcp/files HTTP/1.1"),
        ("a tab", "POST\t/mcp/files HTTP/1.1"),
        ("no version", "POST /mcp/files"),
        ("a space in the path", "POST /mcp/files x HTTP/1.1"),
        ("HTTP/2.0", "POST /mcp/files HTTP/2.0"),
        ("HTTP/0.9", "POST /mcp/files HTTP/0.9"),
        ("http/1.1", "POST /mcp/files http/1.1"),
        ("HTTP/1.2", "POST /mcp/files HTTP/1.2"),
        ("HTTP/1.10", "POST /mcp/files HTTP/1.10"),
        ("HTTP/1.0", "POST /mcp/files HTTP/1.0"),
        ("TRACE", "TRACE /mcp/files HTTP/1.1"),
        ("a method in small letters", "post /mcp/files HTTP/1.1"),
    ] {
        table.row(what, &format!("{line}\n{rest}"), Refusal(&[400, 404, 405, 408, 421, 426, 501, 505])).await;
    }
}

#[tokio::test]
async fn an_upgrade_is_not_forwarded() {
    let table = Table::new().await;
    let upgrade = "GET /mcp/files HTTP/1.1\n{host}\n{auth}\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n";
    table.row("websocket", upgrade, Refusal(&[400, 405])).await;
    // A POST that asks for more is still only a POST.
    let h2c = "POST /mcp/files HTTP/1.1\n{host}\n{auth}\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\nContent-Length: {length}\n\n{body}";
    let before = table.world.files.count();
    let reply = raw(&table.world.address, table.fill(h2c).as_bytes()).await;
    assert!(matches!(reply.status, Some(200 | 400)), "{reply:?}");
    for seen in &table.world.files.seen()[before..] {
        assert_eq!(
            (seen.header("upgrade"), seen.header("connection"), seen.header("http2-settings")),
            (String::new(), String::new(), String::new())
        );
    }
}

#[tokio::test]
async fn item_s23_no_other_spelling_of_a_path_slips_by() {
    let table = Table::new().await;
    for path in [
        "//mcp/files",
        "/mcp//files",
        "/mcp/files//",
        "/mcp/%66iles",
        "/%6dcp/files",
        "/mcp%2ffiles",
        "/mcp%2Ffiles",
        "/mcp/files;x",
        "/mcp/files;x=y",
        "/mcp;a/files",
        "/mcp/x/../files",
        "/mcp/./files",
        "/./mcp/files",
        "/../mcp/files",
        "/mcp/crm/../files",
        "/mcp/x/%2e%2e/files",
        "/mcp/x/%2E%2E/files",
        "/mcp/x/.%2e/files",
        "/mcp\\files",
        "/mcp/files\\",
        "/mcp/files%00",
        "/mcp/files%20",
        "/mcp/files%0d%0aX-A:b",
        "/mcp/files.",
        "/mcp/files/.",
        "/mcp/files/..",
        "/mcp/files#x",
        "/MCP/FILES",
        "/mcp/\u{ff46}iles",
    ] {
        for auth in ["{auth}\n", "Content-Type: application/json\n"] {
            let text = format!("POST {path} HTTP/1.1\n{{host}}\n{auth}Content-Length: {{length}}\n\n{{body}}");
            table.row(path, &text, Refusal(&[400, 404])).await;
        }
    }
}

#[tokio::test]
async fn a_query_neither_opens_nor_changes_the_path() {
    let table = Table::new().await;
    for query in ["?", "?x=1", "?/../crm", "?a=%2e%2e/x"] {
        let text =
            format!("POST /mcp/files{query} HTTP/1.1\n{{host}}\nContent-Type: application/json\nContent-Length: {{length}}\n\n{{body}}");
        table.row(query, &text, Refusal(&[401])).await;
    }
}

#[tokio::test]
async fn garbage_is_answered_or_closed_and_harms_nobody() {
    let table = Table::new().await;
    let garbage: [&[u8]; 7] = [
        b"\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.0\r\n\r\n",
        b"{\"jsonrpc\":\"2.0\"}\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
    ];
    for bytes in garbage {
        table.bytes(&String::from_utf8_lossy(bytes), bytes, Refusal(&[400, 405, 408, 501, 505])).await;
    }
    table.row("and still", "POST /mcp/files HTTP/1.1\n{host}\n{auth}\nContent-Length: {length}\n\n{body}", Call).await;
}

#[tokio::test]
async fn expect_continue_is_answered_after_authentication_only() {
    let table = Table::new().await;
    let with = "POST /mcp/files HTTP/1.1\n{host}\n{auth}\nExpect: 100-continue\nContent-Length: {length}\n\n{body}";
    table.row("with a token", with, Call).await;
    let without = "POST /mcp/files HTTP/1.1\n{host}\nContent-Type: application/json\nExpect: 100-continue\nContent-Length: {length}\n\n";
    let reply = raw(&table.world.address, table.fill(without).as_bytes()).await;
    assert_eq!(reply.status, Some(401), "{reply:?}");
    assert!(!reply.text.contains("100 Continue"), "{reply:?}");
}

#[tokio::test]
async fn a_connection_is_kept_after_a_small_refusal_and_each_request_stands_alone() {
    use crate::support::client::read_answer;
    use tokio::io::AsyncWriteExt;
    let table = Table::new().await;
    let refused = table.fill("POST /mcp/files HTTP/1.1\n{host}\nContent-Type: application/json\nContent-Length: {length}\n\n{body}");
    let allowed = table.fill("POST /mcp/files HTTP/1.1\n{host}\n{auth}\nContent-Length: {length}\n\n{body}");
    let mut socket = tokio::net::TcpStream::connect(&table.world.address).await.unwrap();
    for (bytes, status) in [(&refused, 401), (&allowed, 200), (&refused, 401), (&allowed, 200)] {
        socket.write_all(bytes.as_bytes()).await.unwrap();
        assert_eq!(read_answer(&mut socket, crate::support::DEADLINE).await.status, Some(status));
    }
    assert_eq!(table.world.files.count(), 2);
}

#[tokio::test]
async fn over_h2_an_authority_that_is_not_ours_is_refused() {
    use crate::support::tls::Identity;
    let identity = Identity::new();
    let mut setup = Setup::new().await;
    setup.over_tls(&identity);
    let world = setup.start_with(identity.client()).await;
    for (authority, host) in [("evil.example", None), ("localhost:1", None), ("own", Some("evil.example"))] {
        let socket = tokio::net::TcpStream::connect(&world.address).await.unwrap();
        let stream = identity.connector(&["h2"]).connect("localhost".try_into().unwrap(), socket).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let own = world.origin.strip_prefix("https://").unwrap();
        let authority = if authority == "own" { own } else { authority };
        let mut request =
            http::Request::post(format!("https://{authority}/mcp/files")).header("authorization", format!("Bearer {}", world.ta()));
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let (response, _) = client.send_request(request.body(()).unwrap(), true).unwrap();
        // A reset stream is an answer as well.
        if let Ok(response) = crate::support::soon("an answer", response).await {
            assert!([400, 421].contains(&response.status().as_u16()), "{authority} {host:?}: {response:?}");
        }
    }
    world.files.saw_nothing();
}
