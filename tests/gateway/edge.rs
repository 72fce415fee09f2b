//! The edge of listeners: certificates by SNI, certificates of clients, what trusted proxies say, and
//! listeners that pass from one process to the next.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::client::{Raw, builder, read_answer};
use crate::support::gateway::{write_config, yaml};
use crate::support::tls::Identity;
use crate::support::{Answer, DEADLINE, Setup, World, eventually, raw, soon};

/// A self-signed server certificate.
struct Served {
    certificate: String,
    key: String,
}

fn served(names: &[&str]) -> Served {
    crate::support::install_crypto();
    let made = rcgen::generate_simple_self_signed(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    Served { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
}

impl Served {
    fn write(&self, folder: &Path, stem: &str) -> Value {
        let (certificate, key) = (folder.join(format!("{stem}.pem")), folder.join(format!("{stem}.key")));
        std::fs::write(&key, &self.key).unwrap();
        std::fs::write(&certificate, &self.certificate).unwrap();
        json!({"certificate": certificate, "key": key})
    }

    /// A client that trusts this certificate alone and finds every name of these tests at the gateway.
    fn client(&self, port: u16) -> reqwest::ClientBuilder {
        let root = reqwest::Certificate::from_pem(self.certificate.as_bytes()).unwrap();
        let mut client = builder().tls_certs_only([root]);
        for name in ["a.test", "also-a.test", "b.test", "x.wild.test"] {
            client = client.resolve(name, SocketAddr::from(([127, 0, 0, 1], port)));
        }
        client
    }
}

/// A gateway that serves `a.test` and `also-a.test` with one certificate, `b.test` and `*.wild.test` with another.
async fn by_sni() -> (World, Served, Served, u16) {
    let (first, second) = (served(&["a.test", "also-a.test", "127.0.0.1"]), served(&["*.wild.test", "b.test"]));
    let mut setup = Setup::new().await;
    let (port, folder) = (setup.port, setup.folder.path());
    let tls = json!([first.write(folder, "first"), second.write(folder, "second")]);
    setup.config["public_url"] = json!(format!("https://a.test:{port}"));
    let names = ["also-a.test", "b.test", "x.wild.test", "127.0.0.1"].map(|name| format!("{name}:{port}"));
    setup.config["allow_hosts"] = json!(names);
    setup.config["listen"][0]["tls"] = tls;
    let world = setup.start_with(first.client(port).build().unwrap()).await;
    (world, first, second, port)
}

#[tokio::test]
async fn each_name_gets_its_own_certificate() {
    let (world, first, second, port) = by_sni().await;
    let call = world.tool("read_file").token(&world.ta());
    let cases = [("a.test", true), ("also-a.test", true), ("127.0.0.1", true), ("b.test", false), ("x.wild.test", false)];
    for (name, is_first) in cases {
        for (identity, fits) in [(&first, is_first), (&second, !is_first)] {
            let client = identity.client(port).build().unwrap();
            let reply = call.clone().by(&client, &format!("https://{name}:{port}")).try_send().await;
            assert_eq!(reply.is_ok_and(|reply| reply.status == 200), fits, "{name}");
        }
    }
}

#[tokio::test]
async fn each_certificate_is_renewed_for_itself() {
    let (world, first, _, port) = by_sni().await;
    let folder = world.folder.path();
    let renewed = served(&["b.test"]);
    std::fs::write(folder.join("first.pem"), "half of a certif").unwrap();
    renewed.write(folder, "second");
    world.gateway.signal("HUP");
    let call = world.tool("read_file").token(&world.ta());
    let b = format!("https://b.test:{port}");
    eventually("the renewed certificate", || async {
        let fresh = renewed.client(port).build().unwrap();
        call.clone().by(&fresh, &b).try_send().await.is_ok().then_some(())
    })
    .await;
    let fresh = first.client(port).build().unwrap();
    call.clone().by(&fresh, &format!("https://a.test:{port}")).send().await.is(200);
}

#[tokio::test]
async fn a_host_of_another_certificate_is_misdirected() {
    let (world, first, second, port) = by_sni().await;
    let client = first.client(port).http1_only().build().unwrap();
    let origin = format!("https://a.test:{port}");
    let call = world.tool("read_file").token(&world.ta()).by(&client, &origin);
    let host = |name: &str| call.clone().header("host", &format!("{name}:{port}")).send();
    host("a.test").await.is(200);
    host("A.TEST").await.is(200);
    // One certificate for both: a connection may be shared.
    host("also-a.test").await.is(200);
    for other in ["b.test", "x.wild.test"] {
        host(other).await.refuses(421, -31421);
    }
    let back = second.client(port).http1_only().build().unwrap();
    let from_b = call.clone().by(&back, &format!("https://b.test:{port}"));
    from_b.header("host", &format!("a.test:{port}")).send().await.refuses(421, -31421);
    assert_eq!(world.files.count(), 3);
}

#[tokio::test]
async fn over_h2_host_and_authority_agree() {
    let (world, ..) = by_sni().await;
    let call = world.tool("read_file").token(&world.ta());
    let reply = call.header("host", &world.origin.replace("https://a.test", "also-a.test")).send().await;
    assert_eq!((reply.status, reply.version), (400, http::Version::HTTP_2), "{reply:?}");
    world.files.saw_nothing();
}

/// An authority that signs certificates of clients.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        crate::support::install_crypto();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn client(&self, purpose: ExtendedKeyUsagePurpose) -> reqwest::Identity {
        let mut params = CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        reqwest::Identity::from_pem(format!("{}{}", certificate.pem(), key.serialize_pem()).as_bytes()).unwrap()
    }
}

fn showing(server: &Identity, client: Option<reqwest::Identity>) -> reqwest::Client {
    let root = reqwest::Certificate::from_pem(server.certificate_pem.as_bytes()).unwrap();
    let mut made = builder().tls_certs_only([root]);
    if let Some(client) = client {
        made = made.identity(client);
    }
    made.build().unwrap()
}

/// A gateway that knows this authority of clients.
async fn mutual(authority: &Authority, demand: Option<&str>) -> (World, Identity) {
    let identity = Identity::new();
    let mut setup = Setup::new().await;
    setup.over_tls(&identity);
    let ca = setup.folder.path().join("clients.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    setup.config["listen"][0]["client_ca"] = json!(ca);
    if let Some(demand) = demand {
        setup.config["listen"][0]["client_certificate"] = json!(demand);
    }
    // The fixture's own client only asks the admin address.
    (setup.start_with(identity.client()).await, identity)
}

#[tokio::test]
async fn a_client_without_a_certificate_of_the_authority_gets_no_connection() {
    let (ours, other) = (Authority::new(), Authority::new());
    let (world, identity) = mutual(&ours, None).await;
    let call = world.tool("read_file").token(&world.ta());
    let by = |client: Option<reqwest::Identity>| {
        let call = call.clone().by(&showing(&identity, client), &world.origin);
        async move { call.try_send().await.map(|reply| reply.status).ok() }
    };
    assert_eq!(by(Some(ours.client(ExtendedKeyUsagePurpose::ClientAuth))).await, Some(200));
    assert_eq!(by(None).await, None);
    assert_eq!(by(Some(other.client(ExtendedKeyUsagePurpose::ClientAuth))).await, None);
    // A server's certificate of the same authority is no client's.
    assert_eq!(by(Some(ours.client(ExtendedKeyUsagePurpose::ServerAuth))).await, None);
    assert_eq!(world.files.count(), 1);
}

#[tokio::test]
async fn where_certificates_are_optional_a_wrong_one_is_still_wrong() {
    let (ours, other) = (Authority::new(), Authority::new());
    let (world, identity) = mutual(&ours, Some("optional")).await;
    let call = world.tool("read_file").token(&world.ta());
    let good = [None, Some(ours.client(ExtendedKeyUsagePurpose::ClientAuth))];
    for client in good {
        call.clone().by(&showing(&identity, client), &world.origin).send().await.is(200);
    }
    let wrong = showing(&identity, Some(other.client(ExtendedKeyUsagePurpose::ClientAuth)));
    assert!(call.clone().by(&wrong, &world.origin).try_send().await.is_err());
}

#[tokio::test]
async fn a_new_authority_replaces_the_old_one_without_a_restart() {
    let (old, new) = (Authority::new(), Authority::new());
    let (world, identity) = mutual(&old, None).await;
    let call = world.tool("read_file").token(&world.ta());
    let before = showing(&identity, Some(old.client(ExtendedKeyUsagePurpose::ClientAuth)));
    call.clone().by(&before, &world.origin).send().await.is(200);
    std::fs::write(world.folder.path().join("clients.pem"), &new.pem).unwrap();
    world.gateway.signal("HUP");
    let after = new.client(ExtendedKeyUsagePurpose::ClientAuth);
    eventually("the new authority", || async {
        let fresh = showing(&identity, Some(after.clone()));
        call.clone().by(&fresh, &world.origin).try_send().await.is_ok().then_some(())
    })
    .await;
    let late = showing(&identity, Some(old.client(ExtendedKeyUsagePurpose::ClientAuth)));
    assert!(call.clone().by(&late, &world.origin).try_send().await.is_err());
}

/// Only from 192.0.2.0/24 may files be read; the listener trusts these proxies.
async fn by_source(trusted: Option<Value>) -> World {
    World::with(|config| {
        config["upstreams"]["files"]["rules"] = json!([{"tools": ["read_file"], "scopes": ["files:read"], "source": ["192.0.2.0/24"]}]);
        config["scopes"] = json!({"files:read": {}, "crm:read": {}});
        if let Some(trusted) = trusted {
            config["listen"][0]["trusted_proxies"] = trusted;
        }
    })
    .await
}

#[tokio::test]
async fn a_trusted_proxy_says_for_whom_it_asks() {
    let world = by_source(Some(json!(["127.0.0.0/8", "10.0.0.0/8"]))).await;
    let call = world.tool("read_file").token(&world.ta());
    for (header, value) in [
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-for", "203.0.113.9, 192.0.2.7, 10.0.0.3"),
        ("forwarded", "for=192.0.2.7;proto=https"),
    ] {
        call.clone().header(header, value).send().await.is(200);
    }
    for seen in world.files.seen() {
        assert_eq!((seen.header("x-forwarded-for").as_str(), seen.header("forwarded").as_str()), ("192.0.2.7", ""));
    }
    let permitted = world.gateway.audited(3, |line| line["outcome"] == "permitted").await;
    assert!(permitted.iter().all(|line| line["source"] == "192.0.2.7"), "{permitted:?}");
}

#[tokio::test]
async fn what_a_client_wrote_before_the_proxy_does_not_count() {
    let world = by_source(Some(json!(["127.0.0.1"]))).await;
    let call = world.tool("read_file").token(&world.ta());
    call.clone().send().await.is(403);
    call.clone().header("x-forwarded-for", "192.0.2.7, 203.0.113.9").send().await.is(403);
    call.clone().header("x-forwarded-for", "192.0.2.7").header("x-forwarded-for", "203.0.113.9").send().await.is(403);
    // One of the two came from the client.
    call.clone().header("x-forwarded-for", "203.0.113.9").header("forwarded", "for=192.0.2.7").send().await.is(400);
    call.clone().header("x-forwarded-for", "192.0.2.7, unknown").send().await.is(400);
    world.files.saw_nothing();
}

#[tokio::test]
async fn item_144_headers_of_proxies_are_ignored_from_strangers_and_removed() {
    for trusted in [None, Some(json!(["10.0.0.0/8"]))] {
        let world = by_source(trusted).await;
        let call = world.tool("read_file").token(&world.ta());
        for (header, value) in [("x-forwarded-for", "192.0.2.7"), ("forwarded", "for=192.0.2.7"), ("x-real-ip", "192.0.2.7")] {
            call.clone().header(header, value).send().await.is(403);
        }
        let lines = world.gateway.audited(3, |line| line["reason"] == "source").await;
        assert!(lines.iter().all(|line| line["source"] == "127.0.0.1"), "{lines:?}");
        let crm = world.modern("tools/call", json!({"name": "crm_find", "arguments": {}})).path("/mcp/crm");
        let token = world.issuer.token(&format!("{}/mcp/crm", world.origin), |token| token.claims["scope"] = json!("crm:read"));
        let call = crm.token(&token).header("x-forwarded-for", "192.0.2.7").header("forwarded", "for=x").header("client-cert", "junk");
        call.send().await.is(200);
        let seen = world.crm.only();
        assert_eq!(seen.header("x-forwarded-for"), "127.0.0.1");
        assert_eq!((seen.header("forwarded").as_str(), seen.header("client-cert").as_str()), ("", ""));
    }
}

#[tokio::test]
async fn item_144_a_certificate_from_a_trusted_proxy_is_one_or_none() {
    use base64::Engine;
    let world = World::with(|config| config["listen"][0]["trusted_proxies"] = json!(["127.0.0.1"])).await;
    let call = world.tool("read_file").token(&world.ta());
    let der = rcgen::generate_simple_self_signed(["client.test".to_owned()]).unwrap().cert.der().to_vec();
    let good = format!(":{}:", base64::engine::general_purpose::STANDARD.encode(der));
    call.clone().header("client-cert", &good).send().await.is(200);
    for bad in ["junk", "::", ":junk:", &format!("{good}, {good}")] {
        call.clone().header("client-cert", bad).send().await.is(400);
    }
    call.clone().header("client-cert", &good).header("client-cert", &good).send().await.is(400);
    assert_eq!(world.files.only().header("client-cert"), "");
}

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n";

fn v2() -> Vec<u8> {
    let addresses = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 1, 187];
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".as_slice(), &addresses].concat()
}

/// A head without a token: answered with 401 by whoever gets so far.
fn asking(world: &World) -> Vec<u8> {
    let host = world.origin.split_once("://").unwrap().1;
    let length = "Content-Length: 2\r\nContent-Type: application/json";
    format!("POST /mcp/files HTTP/1.1\r\nHost: {host}\r\n{length}\r\n\r\n{{}}").into_bytes()
}

fn proxied(config: &mut Value) {
    config["listen"][0]["trusted_proxies"] = json!(["127.0.0.1"]);
    config["listen"][0]["proxy_protocol"] = json!(true);
}

#[tokio::test]
async fn the_proxy_protocol_names_the_client() {
    let world = World::with(proxied).await;
    for header in [V1.to_vec(), v2()] {
        let answer = raw(&world.address, &[header, asking(&world)].concat()).await;
        assert_eq!(answer.status, Some(401), "{answer:?}");
    }
    let lines = world.gateway.audited(2, |line| line["reason"] == "token_missing").await;
    assert!(lines.iter().all(|line| line["source"] == "192.0.2.7"), "{lines:?}");
    // Whom the balancer names is a stranger, whose headers do not count.
    let spoof = String::from_utf8(asking(&world)).unwrap().replace("Content-Type", "X-Forwarded-For: 203.0.113.9\r\nContent-Type");
    assert_eq!(raw(&world.address, &[V1, spoof.as_bytes()].concat()).await.status, Some(401));
    let lines = world.gateway.audited(3, |line| line["reason"] == "token_missing").await;
    assert!(lines.iter().all(|line| line["source"] == "192.0.2.7"), "{lines:?}");
}

#[tokio::test]
async fn the_proxy_protocol_comes_before_tls_in_pieces_of_any_size() {
    let identity = Identity::new();
    let mut setup = Setup::new().await;
    setup.over_tls(&identity);
    let http = identity.client();
    proxied(&mut setup.config);
    let world = {
        let gateway = crate::support::Gateway::start_until_ready(setup.folder.path(), &setup.config, &http).await;
        let origin = setup.config["public_url"].as_str().unwrap().to_owned();
        let Setup { issuer, files, crm, folder, port, config } = setup;
        World { issuer, files, crm, gateway, config, origin, address: format!("127.0.0.1:{port}"), http, folder }
    };
    for header in [V1.to_vec(), v2()] {
        let mut socket = TcpStream::connect(&world.address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        for byte in header {
            socket.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let mut tls = identity.connector(&["http/1.1"]).connect(name, socket).await.unwrap();
        tls.write_all(&asking(&world)).await.unwrap();
        let answer = read_answer(&mut tls, DEADLINE).await;
        assert_eq!(answer.status, Some(401), "{answer:?}");
    }
    let lines = world.gateway.audited(2, |line| line["reason"] == "token_missing").await;
    assert!(lines.iter().all(|line| line["source"] == "192.0.2.7"), "{lines:?}");
}

#[tokio::test]
async fn without_a_proxy_header_that_can_be_believed_the_connection_is_closed() {
    let world = World::with(|config| {
        proxied(config);
        config["limits"] = json!({"header_timeout": "300ms"});
    })
    .await;
    let refused = || async { world.gateway.metrics().await.sum("doorward_proxy_header_refused_total", "") };
    // The fixture itself has connected once and said nothing.
    eventually("the fixture's own connection to be counted", || async { (refused().await > 0.0).then_some(()) }).await;
    let before = refused().await;
    let nothing = |answer: Raw| assert!(answer.closed && answer.text.is_empty(), "{answer:?}");
    let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200], b"\r\n", &asking(&world)].concat();
    let huge = [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".as_slice(), &[0; 9000]].concat();
    for bytes in [asking(&world), long, huge, b"PROXY TCP4 a b c d\r\n".to_vec(), V1[..20].to_vec(), v2()[..15].to_vec()] {
        nothing(raw(&world.address, &bytes).await);
    }
    assert_eq!(refused().await - before, 6.0);
    assert_eq!(world.gateway.audit().len(), 0);
}

#[tokio::test]
async fn a_peer_that_is_no_proxy_may_not_connect_where_proxies_do() {
    let mut setup = Setup::new().await;
    proxied(&mut setup.config);
    setup.config["listen"][0]["trusted_proxies"] = json!(["10.0.0.0/8"]);
    let world = setup.start().await;
    let answer = raw(&world.address, &[V1, &asking(&world)].concat()).await;
    assert!(answer.closed && answer.text.is_empty(), "{answer:?}");
    assert_eq!(world.gateway.audit().len(), 0);
}

#[tokio::test]
async fn the_end_of_a_certificate_is_told_before_it_comes() {
    let identity = Identity::new();
    let mut setup = Setup::new().await;
    setup.over_tls(&identity);
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let end = std::time::SystemTime::now() + std::time::Duration::from_secs(84 * 60 * 60);
    params.not_after = end.into();
    let key = KeyPair::generate().unwrap();
    let short = Served { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() };
    let pair = short.write(setup.folder.path(), "short");
    setup.config["listen"][0]["tls"] = json!([setup.config["listen"][0]["tls"], pair]);
    let world = setup.start_with(identity.client()).await;
    let told = world.gateway.stderr();
    assert!(told.contains("short.pem` expires in 3 days"), "{told}");
    let metrics = world.gateway.metrics().await;
    let at = metrics.sum("doorward_certificate_expiry_seconds", &world.address);
    let end = end.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((at - end).abs() < 2.0, "{at} {end}");
}

async fn upgradable() -> World {
    let mut setup = Setup::new().await;
    setup.config["upgrade"] = json!({"socket": setup.folder.path().join("upgrade.sock")});
    setup.config["limits"] = json!({"drain_timeout": "3s"});
    setup.start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c_15_an_upgrade_under_load_refuses_no_connection_and_fails_no_call() {
    let mut world = upgradable().await;
    let (answered, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let fresh = builder().tls_certs_only([]).pool_max_idle_per_host(0).build().unwrap();
    let load: Vec<_> = (0..8)
        .map(|number| {
            let mut call = world.tool("read_file").token(&world.ta());
            if number % 2 == 0 {
                call = call.by(&fresh, &world.origin);
            }
            let (answered, done) = (answered.clone(), done.clone());
            tokio::spawn(async move {
                while !done.load(SeqCst) {
                    call.try_send().await.unwrap().is(200);
                    answered.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    for _ in 0..3 {
        let before = answered.load(SeqCst);
        eventually("some load", || async { (answered.load(SeqCst) > before + 50).then_some(()) }).await;
        let next = world.gateway.successor();
        let mut old = std::mem::replace(&mut world.gateway, next);
        assert_eq!(old.exit().await.code(), Some(0), "{}", old.stderr());
        assert!(!old.stderr().contains("still in flight"), "{}", old.stderr());
    }
    let before = answered.load(SeqCst);
    eventually("some load", || async { (answered.load(SeqCst) > before + 50).then_some(()) }).await;
    done.store(true, SeqCst);
    for load in load {
        soon("the end of the load", load).await.unwrap();
    }
    assert_eq!(world.files.count(), answered.load(SeqCst));
    world.gateway.audited(answered.load(SeqCst), |line| line["outcome"] == "permitted").await;
    assert_eq!(world.gateway.admin("/readyz").await.0, 200);
}

#[tokio::test]
async fn c_15_a_call_in_flight_ends_in_the_process_that_took_it() {
    let mut world = upgradable().await;
    let (answer, feed) = Answer::held("application/json");
    world.files.once(answer);
    let call = tokio::spawn(world.tool("read_file").token(&world.ta()).send());
    world.files.arrived(1).await;
    let next = world.gateway.successor();
    let mut old = std::mem::replace(&mut world.gateway, next);
    eventually("the old process to be relieved", || async { old.stderr().contains("has taken over").then_some(()) }).await;
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    feed.send(Ok(Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[]}}"#))).await.unwrap();
    drop(feed);
    soon("the call in flight", call).await.unwrap().is(200);
    assert_eq!(old.exit().await.code(), Some(0));
}

#[tokio::test]
async fn c_15_a_stream_goes_on_for_a_while_and_ends_in_order() {
    let mut world = upgradable().await;
    let (answer, feed) = Answer::stream();
    world.files.once(answer);
    let listening = json!({"notifications": {"resourceSubscriptions": ["file:///pub/a"]}});
    let mut stream = world.modern("subscriptions/listen", listening).token(&world.ta()).open().await;
    assert_eq!(stream.status(), 200);
    let next = world.gateway.successor();
    let mut old = std::mem::replace(&mut world.gateway, next);
    eventually("the old process to be relieved", || async { old.stderr().contains("has taken over").then_some(()) }).await;
    feed.send(Ok(Bytes::from_static(b": still here\n\n"))).await.unwrap();
    assert!(soon("an event after the upgrade", stream.chunk()).await.unwrap().is_some());
    let last = soon("the last event", stream.chunk()).await.unwrap().expect("a result");
    assert!(last.starts_with(b"data: ") && last.windows(8).any(|window| window == b"complete"), "{last:?}");
    assert!(soon("the end of the stream", stream.chunk()).await.unwrap().is_none());
    assert_eq!(old.exit().await.code(), Some(0));
    assert!(!old.stderr().contains("still in flight"), "{}", old.stderr());
}

#[tokio::test]
async fn an_upgrade_that_cannot_start_leaves_the_running_process_alone() {
    let world = upgradable().await;
    let socket = world.folder.path().join("upgrade.sock");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&socket).unwrap().permissions());
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    // One that asks and goes away, one that says something else, and one whose configuration is broken.
    drop(tokio::net::UnixStream::connect(&socket).await.unwrap());
    let mut odd = tokio::net::UnixStream::connect(&socket).await.unwrap();
    odd.write_all(b"nobody").await.unwrap();
    let good = std::fs::read_to_string(&world.gateway.config_file).unwrap();
    std::fs::write(&world.gateway.config_file, "public_url: [").unwrap();
    let mut failed = world.gateway.successor();
    assert_eq!(failed.exit().await.code(), Some(1));
    std::fs::write(&world.gateway.config_file, good).unwrap();
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    // And a good one still can.
    let next = world.gateway.successor();
    let World { mut gateway, .. } = world;
    assert_eq!(gateway.exit().await.code(), Some(0));
    drop(next);
}

#[tokio::test]
async fn an_upgrade_takes_the_listeners_that_both_configurations_name() {
    let mut setup = Setup::new().await;
    let path = |name: &str| setup.folder.path().join(name);
    let (upgrade, kept, dropped, added) = (path("upgrade.sock"), path("kept.sock"), path("dropped.sock"), path("added.sock"));
    setup.config["upgrade"] = json!({"socket": upgrade});
    setup.config["limits"] = json!({"drain_timeout": "3s"});
    let tcp = setup.config["listen"][0].clone();
    let unix = |path: &Path| json!({"address": format!("unix:{}", path.display())});
    setup.config["listen"] = json!([tcp, unix(&kept), unix(&dropped)]);
    let mut world = setup.start().await;
    let mut config = world.config.clone();
    config["listen"] = json!([tcp, unix(&kept), unix(&added)]);
    write_config(&world.gateway.config_file, &yaml(&config));
    let next = world.gateway.successor();
    let mut old = std::mem::replace(&mut world.gateway, next);
    assert_eq!(old.exit().await.code(), Some(0));
    for (path, served) in [(&kept, true), (&added, true), (&dropped, false)] {
        let local = builder().tls_certs_only([]).unix_socket(path.clone()).build().unwrap();
        let reply = world.tool("read_file").token(&world.ta()).by(&local, &world.origin).try_send().await;
        assert_eq!(reply.is_ok_and(|reply| reply.status == 200), served, "{}", path.display());
    }
    // What the next process was given it can give on.
    let next = world.gateway.successor();
    let mut old = std::mem::replace(&mut world.gateway, next);
    assert_eq!(old.exit().await.code(), Some(0));
    world.tool("read_file").token(&world.ta()).send().await.is(200);
}

#[tokio::test]
async fn an_upgrade_without_a_running_process_starts_anew() {
    let mut world = upgradable().await;
    world.gateway.signal("KILL");
    world.gateway.exit().await;
    let next = world.gateway.successor();
    world.gateway = next;
    eventually("the new process", || async { world.tool("read_file").token(&world.ta()).try_send().await.ok() }).await.is(200);
}

#[tokio::test]
async fn item_144_a_bound_token_passes_with_its_certificate_and_no_other() {
    use base64::Engine;
    let mut setup = Setup::new().await;
    setup.config["listen"][0]["trusted_proxies"] = json!(["127.0.0.1"]);
    setup.config["upstreams"]["files"]["require_certificate"] = json!(true);
    let world = setup.start().await;
    let made = || rcgen::generate_simple_self_signed(["client.test".to_owned()]).unwrap().cert.der().to_vec();
    let (own, others) = (made(), made());
    let header = |der: &[u8]| format!(":{}:", base64::engine::general_purpose::STANDARD.encode(der));
    let digest = crate::support::issuer::b64(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &own));
    let bound = world.token(|token| token.claims["cnf"] = json!({"x5t#S256": digest}));
    let call = |token: &str| world.tool("read_file").token(token);
    call(&bound).header("client-cert", &header(&own)).send().await.is(200);
    call(&bound).header("client-cert", &header(&others)).send().await.is(401);
    call(&bound).send().await.is(401);
    call(&world.ta()).header("client-cert", &header(&own)).send().await.is(401);
    assert_eq!(world.files.count(), 1);
}
