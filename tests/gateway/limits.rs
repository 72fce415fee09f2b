//! What a stranger may take of the gateway: heads, bodies, time, connections, and a broken upstream.

use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pingora::protocols::l4::ext::get_tcp_info;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::client::{Call, read_answer};
use crate::support::gateway::free_port;
use crate::support::tls::Identity;
use crate::support::{Answer, DEADLINE, Setup, Upstream, World, eventually, raw, soon};

const SIZES: &[usize] = &[65_535, 65_536, 65_537, 100_000, 200_000, 1 << 20, 4 << 20];

/// A permitted call whose body has exactly this many bytes.
fn sized(world: &World, size: usize) -> Call {
    let call = world.tool("read_file").token(&world.ta());
    let pad = |length: usize| call.clone().edit(|message| message["params"]["arguments"] = json!({"pad": "x".repeat(length)}));
    let empty = pad(0).bytes().len();
    let call = pad(size - empty);
    assert_eq!(call.bytes().len(), size);
    call
}

/// Sends every size with a length and in chunks; the upstream gets each byte.
async fn bodies_arrive(world: &World) {
    for size in SIZES {
        for chunks in [None, Some(8 << 10), Some(100_000)] {
            let call = sized(world, *size);
            let sent = call.bytes();
            let reply = match chunks {
                None => call.send().await,
                Some(chunk) => call.chunked(chunk).send().await,
            };
            assert_eq!(reply.status, 200, "{size} bytes, chunks of {chunks:?}: {reply:?}");
            let seen = world.files.seen().pop().unwrap();
            assert!(seen.whole && seen.body == sent, "{size} bytes, chunks of {chunks:?}: {} arrived", seen.body.len());
        }
    }
}

async fn over_tls(upstream: Upstream) -> World {
    let identity = Identity::new();
    let http2 = upstream.is_h2();
    let mut setup = Setup::before(upstream).await;
    setup.over_tls(&identity);
    setup.config["upstreams"]["files"]["http2"] = json!(http2);
    setup.start_with(identity.client()).await
}

async fn plain(upstream: Upstream) -> World {
    let http2 = upstream.is_h2();
    let mut setup = Setup::before(upstream).await;
    setup.config["upstreams"]["files"]["http2"] = json!(http2);
    setup.start().await
}

#[tokio::test]
async fn bodies_of_every_size_arrive_byte_for_byte_http1_to_http1() {
    bodies_arrive(&plain(Upstream::start().await).await).await;
}

#[tokio::test]
async fn bodies_of_every_size_arrive_byte_for_byte_http1_to_h2c() {
    bodies_arrive(&plain(Upstream::h2c().await).await).await;
}

#[tokio::test]
async fn bodies_of_every_size_arrive_byte_for_byte_h2_to_http1() {
    let world = over_tls(Upstream::start().await).await;
    bodies_arrive(&world).await;
    assert_eq!(sized(&world, 1000).send().await.version, http::Version::HTTP_2);
}

#[tokio::test]
async fn bodies_of_every_size_arrive_byte_for_byte_h2_to_h2c() {
    let world = over_tls(Upstream::h2c().await).await;
    bodies_arrive(&world).await;
    assert_eq!(world.files.seen()[0].version, http::Version::HTTP_2);
}

const READS: &str = "Mcp-Method: tools/call\r\nMcp-Name: read_file";

/// Sends bodies on one connection in two packets each, parted at every odd place.
async fn pieces_arrive(world: &World, socket: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    for size in [2_000, 20_000, 70_000] {
        let call = sized(world, size);
        let request = world.written(&call, READS);
        let head = request.len() - size;
        for first in [head, head + 1, 3_071, 3_072, 3_073, request.len() - 1, request.len()] {
            let (first, rest) = request.split_at(first.min(request.len()));
            socket.write_all(first).await.unwrap();
            socket.flush().await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
            socket.write_all(rest).await.unwrap();
            socket.flush().await.unwrap();
            assert_eq!(read_answer(socket, DEADLINE).await.status, Some(200), "{size} bytes, {} first", first.len());
            assert!(world.files.last().body == call.bytes(), "{size} bytes, {} first", first.len());
        }
    }
}

#[tokio::test]
async fn bodies_arrive_byte_for_byte_wherever_the_first_packet_ends() {
    let world = World::start().await;
    let mut socket = TcpStream::connect(&world.address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    pieces_arrive(&world, &mut socket).await;
}

#[tokio::test]
async fn bodies_arrive_byte_for_byte_wherever_the_first_packet_ends_over_tls() {
    let identity = Identity::new();
    let mut setup = Setup::new().await;
    setup.over_tls(&identity);
    let world = setup.start_with(identity.client()).await;
    let socket = TcpStream::connect(&world.address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let mut socket = identity.connector(&["http/1.1"]).connect("localhost".try_into().unwrap(), socket).await.unwrap();
    pieces_arrive(&world, &mut socket).await;
}

#[tokio::test]
async fn a_request_that_comes_behind_another_is_never_taken_for_a_part_of_it() {
    let world = World::start().await;
    let mut whole = 0;
    for size in [600, 2_000, 20_000] {
        let (call, behind) = (sized(&world, size), sized(&world, 600));
        let both = [world.written(&call, READS), world.written(&behind, READS)].concat();
        for first in [both.len(), both.len() - 100, 1_500, 3_072] {
            let before = world.files.count();
            let (now, later) = both.split_at(first.min(both.len()));
            let mut socket = TcpStream::connect(&world.address).await.unwrap();
            socket.set_nodelay(true).unwrap();
            socket.write_all(now).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
            let _ = socket.write_all(later).await;
            let mut answers = Vec::new();
            let _ = tokio::time::timeout(Duration::from_millis(300), socket.read_to_end(&mut answers)).await;
            let answers = String::from_utf8_lossy(&answers);
            assert!(answers.matches("HTTP/1.1 ").count() <= 2 && !answers.contains("HTTP/1.1 4"), "{size}, {first}: {answers}");
            if both.len() <= 3_072 && later.is_empty() {
                whole += 1;
                assert!(answers.starts_with("HTTP/1.1 200"), "{size}, {first}: {answers}");
            }
            for seen in world.files.seen().iter().skip(before) {
                assert!(seen.body == call.bytes() || seen.body == behind.bytes(), "{size}, {first}: {}", seen.text());
            }
        }
    }
    // What comes with the first read is answered, before the connection is given up.
    assert!(whole > 0);
}

#[tokio::test]
async fn a_client_that_leaves_within_a_body_sends_the_server_nothing() {
    let world = World::start().await;
    let request = world.written(&sized(&world, 20_000), READS);
    for sent in [2_500, 3_072, 10_000, request.len() - 1] {
        let mut socket = TcpStream::connect(&world.address).await.unwrap();
        socket.write_all(request.get(..sent).unwrap()).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = soon("the connection to close", socket.read_to_end(&mut answer)).await;
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    }
    world.files.saw_nothing();
    sized(&world, 20_000).send().await.is(200);
}

#[tokio::test]
async fn a_large_request_leaves_for_the_server_in_one_write() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let world = World::with(|config| config["upstreams"]["files"]["url"] = json!(url)).await;
    let served = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        for _ in 0..20 {
            let mut request = Vec::with_capacity(64 << 10);
            while !request.ends_with(b"}}") {
                assert_ne!(socket.read_buf(&mut request).await.unwrap(), 0, "{}", request.len());
            }
            let answer = r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[]}}"#;
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
        get_tcp_info(socket.as_raw_fd()).unwrap().tcpi_data_segs_in
    };
    let asked = async {
        for _ in 0..20 {
            sized(&world, 40_000).send().await.is(200);
        }
    };
    let (packets, ()) = soon("twenty answers", async { tokio::join!(served, asked) }).await;
    // The first may not fit the window of a connection that is new. With a write for each head they are forty.
    assert!((20..30).contains(&packets), "{packets}");
}

#[tokio::test]
async fn small_bodies_are_judged_too() {
    let world = World::start().await;
    let call = world.tool("read_file").token(&world.ta());
    for body in ["", "{\"a\":1}   ", "          "] {
        call.clone().body(body).send().await.is(400);
        call.clone().body(body).chunked(3).send().await.is(400);
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_with_a_length_and_without() {
    let world = World::with(|config| config["upstreams"]["files"]["limits"] = json!({"body": "64KiB"})).await;
    sized(&world, 65_536).send().await.is(200);
    sized(&world, 65_536).chunked(1000).send().await.is(200);
    for size in [65_537, 1 << 20] {
        sized(&world, size).send().await.refuses(413, -31413);
        sized(&world, size).chunked(1000).send().await.refuses(413, -31413);
    }
    assert_eq!(world.files.count(), 2);
    // With a length nothing of the body is waited for.
    let head = format!(
        "POST /mcp/files HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n",
        world.address,
        world.ta()
    );
    assert_eq!(raw(&world.address, head.as_bytes()).await.status, Some(413));
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_over_h2() {
    let identity = Identity::new();
    let mut setup = Setup::new().await;
    setup.over_tls(&identity);
    setup.config["upstreams"]["files"]["limits"] = json!({"body": "64KiB"});
    let world = setup.start_with(identity.client()).await;
    sized(&world, 1 << 20).send().await.is(413);
    sized(&world, 1 << 20).chunked(1000).send().await.is(413);
    sized(&world, 1000).send().await.is(200);
    assert_eq!(world.files.count(), 1);
}

#[tokio::test]
async fn a_large_upload_without_a_token_still_gets_its_challenge() {
    let world = World::start().await;
    let reply = sized(&world, 3 << 20).without("authorization").send().await;
    assert_eq!(reply.is(401).challenge_parameter("resource_metadata"), Some(world.metadata_url()));
}

#[tokio::test]
async fn long_and_many_headers_are_431() {
    let world = World::start().await;
    let call = world.tool("read_file").token(&world.ta());
    let long = |bytes: usize| call.clone().header("x-pad", &"x".repeat(bytes));
    long(12 << 10).send().await.is(200);
    long(17 << 10).send().await.is(431);
    long(200 << 10).send().await.is(431);
    let many = |count: usize| (0..count).fold(call.clone(), |call, at| call.header(&format!("x-{at}"), "y"));
    many(80).send().await.is(200);
    many(101).send().await.is(431);
    let thousand = many(1000).try_send().await;
    assert!(thousand.is_err() || thousand.is_ok_and(|reply| [400, 431].contains(&reply.status)));
    assert_eq!(world.files.count(), 2);
}

#[tokio::test]
async fn long_and_many_headers_are_431_over_h2() {
    let world = over_tls(Upstream::start().await).await;
    let call = world.tool("read_file").token(&world.ta());
    call.clone().header("x-pad", &"x".repeat(17 << 10)).send().await.is(431);
    (0..101).fold(call.clone(), |call, at| call.header(&format!("x-{at}"), "y")).send().await.is(431);
    // The connection survives.
    call.send().await.is(200);
}

#[tokio::test]
async fn the_limits_of_the_head_are_the_operators() {
    let world = World::with(|config| config["limits"] = json!({"headers": "2KiB", "header_count": 20})).await;
    let call = world.tool("read_file").token(&world.ta());
    call.clone().send().await.is(200);
    call.clone().header("x-pad", &"x".repeat(2100)).send().await.is(431);
    (0..20).fold(call, |call, at| call.header(&format!("x-{at}"), "y")).send().await.is(431);
}

/// Whether the socket is answered 408 or closed; fails when it stays open past the bound.
async fn is_given_up(socket: &mut (impl AsyncReadExt + Unpin), begun: Instant, bound: Duration) {
    let answer = read_answer(socket, bound.saturating_sub(begun.elapsed())).await;
    assert!(answer.closed || answer.status == Some(408), "still open after {:?}: {answer:?}", begun.elapsed());
    assert!(begun.elapsed() < bound, "{:?}", begun.elapsed());
}

fn impatient(config: &mut serde_json::Value) {
    config["limits"] = json!({"header_timeout": "1s", "body_timeout": "1s", "idle_timeout": "1s"});
}

#[tokio::test]
async fn c_10_a_head_that_does_not_end_is_given_up() {
    let world = World::with(impatient).await;
    let begun = Instant::now();
    let mut stalled = TcpStream::connect(&world.address).await.unwrap();
    stalled.write_all(b"POST /mcp/files HTTP/1.1\r\nHost: x\r\nX-").await.unwrap();
    is_given_up(&mut stalled, begun, Duration::from_secs(2)).await;
    world.tool("read_file").token(&world.ta()).send().await.is(200);
}

#[tokio::test]
async fn c_10_a_head_that_drips_is_given_up_all_the_same() {
    let world = World::with(impatient).await;
    let begun = Instant::now();
    let (mut receive, mut send) = TcpStream::connect(&world.address).await.unwrap().into_split();
    let dripping = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        for byte in b"POST /mcp/files HTTP/1.1\r\nHost: x\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'a')) {
            tick.tick().await;
            if send.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    });
    is_given_up(&mut receive, begun, Duration::from_secs(2)).await;
    dripping.abort();
}

#[tokio::test]
async fn c_10_a_second_head_on_a_connection_has_a_deadline_too() {
    let world = World::with(|config| config["limits"] = json!({"header_timeout": "1s"})).await;
    let mut socket = TcpStream::connect(&world.address).await.unwrap();
    let first = format!("GET /.well-known/oauth-protected-resource/mcp/files HTTP/1.1\r\nHost: {}\r\n\r\n", world.address);
    socket.write_all(first.as_bytes()).await.unwrap();
    assert_eq!(read_answer(&mut socket, Duration::from_secs(2)).await.status, Some(200));
    let begun = Instant::now();
    socket.write_all(b"POST /mcp/files HT").await.unwrap();
    is_given_up(&mut socket, begun, Duration::from_secs(2)).await;
}

#[tokio::test]
async fn c_09_a_connection_without_a_request_is_closed_when_its_time_is_over() {
    let world = World::with(impatient).await;
    let begun = Instant::now();
    let mut silent = TcpStream::connect(&world.address).await.unwrap();
    is_given_up(&mut silent, begun, Duration::from_secs(2)).await;
}

#[tokio::test]
async fn c_10_a_handshake_that_does_not_end_is_given_up() {
    let identity = Identity::new();
    let mut setup = Setup::new().await;
    setup.over_tls(&identity);
    impatient(&mut setup.config);
    let world = setup.start_with(identity.client()).await;
    let begun = Instant::now();
    let mut stalled = TcpStream::connect(&world.address).await.unwrap();
    // The beginning of a TLS record that never comes.
    stalled.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
    is_given_up(&mut stalled, begun, Duration::from_secs(3)).await;
}

/// A TLS connection to the gateway that speaks HTTP/2.
async fn h2_socket(world: &World, identity: &Identity) -> tokio_rustls::client::TlsStream<TcpStream> {
    let socket = TcpStream::connect(&world.address).await.unwrap();
    identity.connector(&["h2"]).connect("localhost".try_into().unwrap(), socket).await.unwrap()
}

#[tokio::test]
async fn c_10_an_h2_head_that_does_not_end_is_given_up() {
    let identity = Identity::new();
    let mut setup = Setup::new().await;
    setup.over_tls(&identity);
    impatient(&mut setup.config);
    let world = setup.start_with(identity.client()).await;
    let mut socket = h2_socket(&world, &identity).await;
    let begun = Instant::now();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    // HEADERS on stream 1 without END_HEADERS: `:method: POST`, and no CONTINUATION.
    bytes.extend([0, 0, 1, 1, 0, 0, 0, 0, 1, 0x83]);
    socket.write_all(&bytes).await.unwrap();
    let closed = async {
        let mut buffer = [0; 1024];
        while !matches!(socket.read(&mut buffer).await, Ok(0) | Err(_)) {}
    };
    tokio::time::timeout(Duration::from_secs(3), closed).await.expect("the connection is still open");
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn c_10_an_h2_connection_that_says_nothing_is_given_up() {
    let identity = Identity::new();
    let mut setup = Setup::new().await;
    setup.over_tls(&identity);
    setup.config["limits"] = json!({"header_timeout": "1s"});
    let world = setup.start_with(identity.client()).await;
    for preface in [&b""[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"] {
        let mut socket = h2_socket(&world, &identity).await;
        socket.write_all(preface).await.unwrap();
        let closed = async {
            let mut buffer = [0; 1024];
            while !matches!(socket.read(&mut buffer).await, Ok(0) | Err(_)) {}
        };
        tokio::time::timeout(Duration::from_secs(3), closed).await.expect("the connection is still open");
    }
}

#[tokio::test]
async fn c_10_a_body_that_does_not_end_is_408() {
    let world = World::with(|config| config["limits"] = json!({"body_timeout": "1s"})).await;
    let head = |framing: &str| {
        format!(
            "POST /mcp/files HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n{framing}\r\n\r\n",
            world.address,
            world.ta()
        )
    };
    for (framing, begin) in [("Content-Length: 1000", "{\"jsonrpc\""), ("Transfer-Encoding: chunked", "5\r\n{\"jso\r\n")] {
        let mut socket = TcpStream::connect(&world.address).await.unwrap();
        let begun = Instant::now();
        socket.write_all(format!("{}{begin}", head(framing)).as_bytes()).await.unwrap();
        let answer = read_answer(&mut socket, Duration::from_secs(3)).await;
        assert_eq!(answer.status, Some(408), "{framing}: {answer:?}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{framing}: {:?}", begun.elapsed());
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn c_10_a_body_that_drips_is_408_all_the_same() {
    let world = World::with(|config| config["limits"] = json!({"body_timeout": "1s"})).await;
    let (mut receive, mut send) = TcpStream::connect(&world.address).await.unwrap().into_split();
    let head = format!(
        "POST /mcp/files HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n",
        world.address,
        world.ta()
    );
    send.write_all(head.as_bytes()).await.unwrap();
    let begun = Instant::now();
    let dripping = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tick.tick().await;
            if send.write_all(b" ").await.is_err() {
                return;
            }
        }
    });
    let answer = read_answer(&mut receive, Duration::from_secs(3)).await;
    dripping.abort();
    assert!(answer.closed || answer.status == Some(408), "{answer:?}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    world.files.saw_nothing();
}

#[tokio::test]
async fn c_10_an_h2_body_that_does_not_end_is_408() {
    let identity = Identity::new();
    let mut setup = Setup::new().await;
    setup.over_tls(&identity);
    setup.config["limits"] = json!({"body_timeout": "1s"});
    let world = setup.start_with(identity.client()).await;
    let socket = h2_socket(&world, &identity).await;
    let (mut client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("{}/mcp/files", world.origin))
        .header("authorization", format!("Bearer {}", world.ta()))
        .header("content-type", "application/json")
        .body(())
        .unwrap();
    let (response, mut body) = client.send_request(request, false).unwrap();
    body.send_data(Bytes::from_static(b"{\"jsonrpc\""), false).unwrap();
    let begun = Instant::now();
    let response = soon("an answer", response).await.unwrap();
    assert_eq!(response.status(), 408);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    world.files.saw_nothing();
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_forwarded() {
    let world = World::start().await;
    let mut socket = TcpStream::connect(&world.address).await.unwrap();
    let call = sized(&world, 500).bytes();
    let head = format!(
        "POST /mcp/files HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n",
        world.address,
        world.ta()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&call).await.unwrap();
    drop(socket);
    // Something recorded the end of it, and it was not the upstream.
    world.gateway.audited(1, |_| true).await;
    world.files.saw_nothing();
}

#[tokio::test]
async fn connections_over_the_cap_are_closed_and_room_is_made_again() {
    let world = World::with(|config| config["limits"] = json!({"connections": 8})).await;
    let mut sockets = Vec::new();
    for _ in 0..24 {
        sockets.push(TcpStream::connect(&world.address).await.unwrap());
    }
    let mut closed = 0;
    for socket in &mut sockets {
        let mut byte = [0];
        if matches!(tokio::time::timeout(Duration::from_millis(50), socket.read(&mut byte)).await, Ok(Ok(0) | Err(_))) {
            closed += 1;
        }
    }
    assert_eq!(closed, 16);
    assert_eq!(world.gateway.admin("/healthz").await.0, 200);
    drop(sockets);
    eventually("room for a call", || async {
        let reply = world.tool("read_file").token(&world.ta()).try_send().await;
        reply.is_ok_and(|reply| reply.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn c_07_a_call_is_delivered_at_most_once_when_the_upstream_dies() {
    let world = World::start().await;
    let call = || world.tool("read_file").token(&world.ta()).send();
    // On a fresh connection, and on one that is kept from before.
    for before in [0, 1] {
        for _ in 0..before {
            call().await.is(200);
        }
        let count = world.files.count();
        world.files.once(Answer::Die);
        call().await.refuses(502, -31502);
        assert_eq!(world.files.count(), count + 1);
    }
}

#[tokio::test]
async fn c_07_an_answer_that_breaks_off_is_not_a_whole_one() {
    let world = World::start().await;
    let (answer, feed) = Answer::stream();
    world.files.once(answer);
    let reading = tokio::spawn(async move {
        feed.send(Ok(Bytes::from_static(b"data: {\"jsonrpc\":\"2.0\",\"id\":1,"))).await.unwrap();
        feed.send(Err(crate::support::upstream::Cut)).await.unwrap();
    });
    let outcome = world.tool("read_file").token(&world.ta()).try_send().await;
    reading.await.unwrap();
    assert!(outcome.is_err() || outcome.is_ok_and(|reply| reply.status >= 500));
    assert_eq!(world.files.count(), 1);
}

#[tokio::test]
async fn c_07_an_upstream_that_is_not_there_is_502_at_once() {
    let world = World::with(|config| config["upstreams"]["files"]["url"] = json!(format!("http://127.0.0.1:{}/mcp", free_port()))).await;
    let begun = Instant::now();
    world.tool("read_file").token(&world.ta()).send().await.refuses(502, -31502);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn c_08_an_upstream_that_never_answers_is_504_and_harms_nobody() {
    let world = World::with(|config| config["upstreams"]["files"]["limits"] = json!({"timeout": "1s"})).await;
    world.files.script(|seen| (seen.json()["id"] == "slow").then(|| Answer::never().0));
    let slow =
        (0..20).map(|_| tokio::spawn(world.tool("read_file").token(&world.ta()).edit(|message| message["id"] = json!("slow")).send()));
    let slow: Vec<_> = slow.collect();
    let begun = Instant::now();
    for _ in 0..10 {
        world.tool("read_file").token(&world.ta()).send().await.is(200);
    }
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
    for reply in slow {
        soon("the end of a slow call", reply).await.unwrap().refuses(504, -31504);
    }
}

#[tokio::test]
async fn c_08_a_stream_may_be_silent_for_longer_than_the_timeout() {
    let world = World::with(|config| config["upstreams"]["files"]["limits"] = json!({"timeout": "500ms"})).await;
    let (answer, feed) = Answer::stream();
    world.files.once(answer);
    let mut response = world.tool("read_file").token(&world.ta()).open().await;
    assert_eq!(response.status(), 200);
    // Silence is what is tested here.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    feed.send(Ok(Bytes::from_static(b": still here\n\n"))).await.unwrap();
    assert_eq!(soon("the late event", response.chunk()).await.unwrap().unwrap(), ": still here\n\n");
}

#[tokio::test]
async fn c_11_a_reader_who_does_not_read_slows_the_upstream_down() {
    let world = World::start().await;
    let (answer, feed) = Answer::stream();
    world.files.once(answer);
    let response = world.tool("read_file").token(&world.ta()).open().await;
    let before = world.gateway.resident();
    // 64 MiB for a reader who takes nothing: most of it must stay with the upstream.
    let chunk = Bytes::from(format!(": {}\n\n", "x".repeat((64 << 10) - 4)));
    let mut sent = 0;
    while sent < 1024 && tokio::time::timeout(Duration::from_millis(500), feed.send(Ok(chunk.clone()))).await.is_ok_and(|done| done.is_ok())
    {
        sent += 1;
    }
    assert!(sent < 1024, "everything was taken in");
    let grown = world.gateway.resident().saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB more");
    drop(response);
}

#[tokio::test]
async fn depth_is_bounded_by_configuration() {
    let world = World::with(|config| config["limits"] = json!({"depth": 16})).await;
    let nested = |depth: usize| {
        let value = (0..depth).fold(json!(1), |inner, _| json!([inner]));
        world.tool("read_file").token(&world.ta()).edit(|message| message["params"]["arguments"] = json!({"a": value})).send()
    };
    nested(8).await.is(200);
    nested(20).await.is(400);
    assert_eq!(world.files.count(), 1);
}
