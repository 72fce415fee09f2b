use super::*;
use crate::demo::Serving;
use tokio::net::TcpListener;

struct Sample {
    url: String,
    client: reqwest::Client,
    _serving: Serving,
}

async fn sample() -> Sample {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/mcp", listener.local_addr().expect("an address"));
    Sample { url, client: reqwest::Client::new(), _serving: Serving::start(listener, router()).expect("started") }
}

impl Sample {
    async fn post(&self, body: &str, headers: &[(&str, &str)]) -> (u16, String, String) {
        let mut request = self.client.post(&self.url).header("content-type", "application/json").body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let reply = request.send().await.expect("an answer");
        let kind = reply.headers().get("content-type").map(|kind| kind.to_str().expect("text").to_owned()).unwrap_or_default();
        (reply.status().as_u16(), kind, reply.text().await.expect("a body"))
    }

    async fn legacy(&self, method: &str, params: Value) -> Value {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        serde_json::from_str(&self.post(&body.to_string(), &[]).await.2).expect("json")
    }

    async fn modern(&self, method: &str, mut params: Value) -> (u16, Value) {
        params["_meta"] = json!({ VERSION: MODERN, "io.modelcontextprotocol/clientCapabilities": {} });
        let body = json!({ "jsonrpc": "2.0", "id": "a", "method": method, "params": params });
        let (status, _, text) = self.post(&body.to_string(), &[("mcp-protocol-version", MODERN)]).await;
        (status, serde_json::from_str(&text).expect("json"))
    }
}

#[tokio::test]
async fn legacy_initialize_agrees_on_a_version_and_opens_no_session() {
    let sample = sample().await;
    let answer = sample.legacy("initialize", json!({ "protocolVersion": "2025-06-18", "capabilities": {} })).await;
    assert_eq!(answer["result"]["protocolVersion"], "2025-06-18");
    let answer = sample.legacy("initialize", json!({ "protocolVersion": "1999-01-01", "capabilities": {} })).await;
    assert_eq!(answer["result"]["protocolVersion"], "2025-11-25");
    let (status, _, body) = sample.post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, &[]).await;
    assert_eq!((status, body.as_str()), (202, ""));
    assert_eq!(sample.legacy("ping", json!({})).await["result"], json!({}));
    assert_eq!(sample.client.get(&sample.url).send().await.expect("an answer").status(), 405);
}

#[tokio::test]
async fn each_tool_has_a_schema_and_hints_and_each_of_the_twelve_is_answered() {
    let sample = sample().await;
    let answer = sample.legacy("tools/list", json!({})).await;
    let tools = answer["result"]["tools"].as_array().expect("a list").clone();
    assert_eq!(tools.len(), 12);
    assert!(answer["result"].get("resultType").is_none(), "legacy results have no type");
    for tool in tools {
        assert_eq!(tool["inputSchema"]["type"], "object", "{tool}");
        assert!(tool["annotations"]["readOnlyHint"].is_boolean(), "{tool}");
        let arguments = json!({ "id": 1, "query": "door", "title": "t", "text": "x", "space": "team" });
        let answer = sample.legacy("tools/call", json!({ "name": tool["name"], "arguments": arguments })).await;
        assert!(answer["result"]["content"][0]["text"].is_string(), "{tool}: {answer}");
    }
}

#[tokio::test]
async fn modern_results_are_complete_and_lists_say_how_they_may_be_kept() {
    let sample = sample().await;
    for (method, member) in [
        ("server/discover", "supportedVersions"),
        ("tools/list", "tools"),
        ("resources/list", "resources"),
        ("resources/templates/list", "resourceTemplates"),
        ("prompts/list", "prompts"),
    ] {
        let (status, answer) = sample.modern(method, json!({})).await;
        let result = &answer["result"];
        assert_eq!(status, 200);
        assert_eq!((&result["resultType"], &result["cacheScope"]), (&json!("complete"), &json!("public")), "{method}");
        assert!(result["ttlMs"].is_u64() && result[member].is_array(), "{method}");
    }
    let (_, answer) = sample.modern("resources/read", json!({ "uri": "notes://team/roadmap" })).await;
    assert_eq!(answer["result"]["contents"][0]["uri"], "notes://team/roadmap");
    let (_, answer) = sample.modern("prompts/get", json!({ "name": "weekly_update" })).await;
    assert_eq!(answer["result"]["messages"][0]["role"], "user");
}

#[tokio::test]
async fn each_era_refuses_the_methods_of_the_other() {
    let sample = sample().await;
    let (status, answer) = sample.modern("initialize", json!({})).await;
    assert_eq!((status, &answer["error"]["code"], &answer["id"]), (404, &json!(-32601), &json!("a")));
    assert_eq!(sample.legacy("server/discover", json!({})).await["error"]["code"], -32601);
}

#[tokio::test]
async fn what_is_not_json_or_not_a_request_or_of_another_version_is_refused() {
    let sample = sample().await;
    assert_eq!(sample.post("{", &[]).await.0, 400);
    assert_eq!(sample.post("[]", &[]).await.0, 400);
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": { "_meta": { VERSION: "2099-01-01" } } });
    let (status, _, text) = sample.post(&body.to_string(), &[]).await;
    assert_eq!(status, 400);
    assert!(text.contains("-32022") && text.contains(MODERN), "{text}");
}

#[tokio::test]
async fn whoami_tells_the_identity_headers_and_only_whether_a_credential_came() {
    let sample = sample().await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami"}}"#;
    let headers = [("x-forwarded-user", "alice"), ("authorization", "Bearer abc.def.ghi")];
    let (_, _, text) = sample.post(body, &headers).await;
    let answer: Value = serde_json::from_str(&text).expect("json");
    let seen = &answer["result"]["structuredContent"];
    assert_eq!((&seen["identity"]["x-forwarded-user"], &seen["authorization"]), (&json!("alice"), &json!(true)));
    assert!(!text.contains("abc.def"), "a token is never repeated");
}

#[tokio::test]
async fn a_report_streams_its_progress_where_streams_are_accepted() {
    let sample = sample().await;
    let body = r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"run_report","arguments":{"steps":2},"_meta":{"progressToken":"p"}}}"#;
    let (_, kind, text) = sample.post(body, &[("accept", "application/json, text/event-stream")]).await;
    assert_eq!(kind, "text/event-stream");
    let data: Vec<Value> =
        text.lines().filter_map(|line| line.strip_prefix("data: ")).map(|data| serde_json::from_str(data).expect("json")).collect();
    assert_eq!(data.iter().map(|message| &message["params"]["progress"]).collect::<Vec<_>>(), [&json!(1), &json!(2), &Value::Null]);
    assert_eq!(data[2]["id"], 9);
    let (_, kind, text) = sample.post(body, &[("accept", "application/json")]).await;
    assert_eq!(kind, "application/json");
    assert!(text.contains("report done"), "{text}");
}
