use super::*;
use std::net::Ipv4Addr;

fn route(resource: &str) -> Arc<Route> {
    Arc::new(Route {
        name: resource.into(),
        resource: resource.into(),
        metadata_url: String::new(),
        metadata: Bytes::new(),
        issuers: vec![],
        policy: Policy::default(),
        identity: IdentityRules::default(),
        upstream: Upstream {
            reach: Arc::new(Reach::to(Place { address: Address::Tcp { host: "127.0.0.1".into(), port: 1 }, authority: String::new() })),
            path: http::uri::PathAndQuery::from_static("/"),
            credential: None,
        },
        grant: None,
        mode: Mode::Enforce,
        list: ListMode::Granted,
        challenge: crate::route::ChallengeScopes::default(),
        origins: vec!["https://app.example".into()],
        limits: RouteLimits { body: 1, per_client: None, per_subject: None, streams_per_subject: None, timeout: Duration::from_secs(1) },
        asks: Default::default(),
        sender: Sender::default(),
        pin: None,
        protocol: Default::default(),
        approves_clients: false,
        recorded_arguments: Default::default(),
    })
}

fn find(table: &RouteTable, host: &str, path: &str) -> Result<String, Error> {
    let head = Head {
        method: &Method::POST,
        authority: Some(host),
        path,
        headers: &HeaderMap::new(),
        source: Ipv4Addr::LOCALHOST.into(),
        certificate: None,
        received: SystemTime::UNIX_EPOCH,
    };
    table.find(&head).map(|target| match target {
        Target::Mcp(route) => format!("mcp {}", route.name),
        Target::Metadata(route) => format!("prm {}", route.name),
        Target::AssertionKeys => "keys".into(),
        Target::Issuer(route) => format!("as {}", route.name),
        Target::Undecided => "undecided".into(),
        Target::Authorization => "authorization".into(),
        Target::Signal(name, inlet) => format!("{} {name}", inlet.operation()),
    })
}

#[test]
fn host_and_path_choose_exactly() {
    let table =
        RouteTable::new(vec![route("https://gw.example/a/mcp"), route("https://gw.example/b"), route("https://other.example/a/mcp")]);
    assert_eq!(find(&table, "gw.example", "/a/mcp").as_deref(), Ok("mcp https://gw.example/a/mcp"));
    assert_eq!(find(&table, "GW.example:443", "/b").as_deref(), Ok("mcp https://gw.example/b"));
    assert_eq!(find(&table, "gw.example", "/b/").as_deref(), Ok("mcp https://gw.example/b"));
    assert_eq!(find(&table, "other.example", "/a/mcp").as_deref(), Ok("mcp https://other.example/a/mcp"));
    assert_eq!(find(&table, "other.example", "/b"), Err(Error::NotFound));
    assert_eq!(find(&table, "evil.example", "/b"), Err(Error::Misdirected));
    assert_eq!(find(&table, "a, b", "/b"), Err(Error::Host));
}

#[test]
fn another_name_of_the_host_is_served_only_where_it_is_allowed() {
    let table = RouteTable::new(vec![route("https://gw.example/b"), route("https://other.example/c")]);
    assert_eq!(find(&table, "inside:8443", "/b"), Err(Error::Misdirected));
    let table = table.with_aliases("https://gw.example", &["inside:8443".into()]);
    assert_eq!(find(&table, "Inside:8443", "/b").as_deref(), Ok("mcp https://gw.example/b"));
    assert_eq!(find(&table, "inside:8443", "/c"), Err(Error::NotFound));
    assert_eq!(find(&table, "inside", "/b"), Err(Error::Misdirected));
}

#[test]
fn the_root_document_stands_only_where_it_is_unambiguous() {
    let table = RouteTable::new(vec![route("https://gw.example/a"), route("https://gw.example/b"), route("https://one.example/mcp")]);
    assert_eq!(find(&table, "gw.example", WELL_KNOWN), Err(Error::NotFound));
    assert_eq!(find(&table, "gw.example", "/.well-known/oauth-protected-resource/a").as_deref(), Ok("prm https://gw.example/a"));
    assert_eq!(find(&table, "one.example", WELL_KNOWN).as_deref(), Ok("prm https://one.example/mcp"));
    assert_eq!(find(&table, "one.example", "/.well-known/oauth-protected-resource/unknown"), Err(Error::NotFound));
}

#[test]
fn the_issuers_metadata_never_takes_the_place_of_an_endpoint() {
    let shadow = "https://gw.example/.well-known/oauth-authorization-server";
    let table = RouteTable::new(vec![route("https://gw.example/a"), route(shadow)]);
    assert_eq!(find(&table, "gw.example", "/.well-known/oauth-authorization-server"), Ok(format!("mcp {shadow}")));
    assert_eq!(find(&table, "gw.example", "/.well-known/openid-configuration/a").as_deref(), Ok("as https://gw.example/a"));
    assert_eq!(find(&table, "gw.example", "/a/.well-known/openid-configuration").as_deref(), Ok("as https://gw.example/a"));
    assert_eq!(find(&table, "gw.example", "/.well-known/openid-configuration/b"), Err(Error::NotFound));
}

#[test]
fn other_spellings_of_a_path_are_refused() {
    let table = RouteTable::new(vec![route("https://gw.example/mcp/files")]);
    for path in [
        "//mcp/files",
        "/mcp/%66iles",
        "/mcp/files;x",
        "/mcp/x/../files",
        "/mcp//files",
        "/mcp/./files",
        "/mcp\\files",
        "/mcp/files//",
        "*",
        "http://gw.example/mcp/files",
    ] {
        assert_eq!(find(&table, "gw.example", path), Err(Error::Spelling), "{path}");
    }
    assert_eq!(find(&table, "gw.example", "/MCP/files"), Err(Error::NotFound));
}

#[test]
fn an_origin_is_accepted_when_listed_or_own() {
    let route = route("https://gw.example/mcp");
    assert!(route.accepts_origin("https://gw.example"));
    assert!(route.accepts_origin("https://app.example"));
    for origin in ["https://evil.example", "null", "https://gw.example.evil", "http://gw.example", ""] {
        assert!(!route.accepts_origin(origin), "{origin}");
    }
}

#[test]
fn signals_come_in_at_the_public_origin_and_displace_nothing() {
    let inlets = [("/s/okta", "okta", Inlet::Push), ("/a/mcp", "okta", Inlet::Logout)];
    let table = RouteTable::new(vec![route("https://gw.example/a/mcp")])
        .with_signals("https://gw.example", inlets.into_iter().map(|(path, name, inlet)| (path, name.into(), inlet)));
    assert_eq!(find(&table, "gw.example", "/s/okta"), Ok("signal/push okta".into()));
    assert_eq!(find(&table, "gw.example", "/a/mcp"), Ok("mcp https://gw.example/a/mcp".into()));
    assert_eq!(find(&table, "other.example", "/s/okta"), Err(Error::Misdirected));
    assert_eq!(find(&table, "gw.example", "//s/okta"), Err(Error::Spelling));
}
