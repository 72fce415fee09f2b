//! What does it cost to read a message, and to cut a list?
//!
//! Bars: a call of 330 bytes 0.5 µs, 50 KB of arguments 30 µs, a list of 100 tools (60 KB) cut to
//! 10 in 45 µs, the same list again for a comparison of its bytes.

#![expect(clippy::expect_used, reason = "a bench may stop at what cannot be")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use doorward::mcp::headers::Claim;
use doorward::mcp::listing::{Lens, Memo, Watch, cut, judge_event};
use doorward::mcp::sse::SseFilter;
use doorward::mcp::{Era, Kind, Message};

const DEPTH: usize = 64;
const LENS: Lens = Lens { kind: Kind::Tool, era: Era::Modern, depth: DEPTH };

fn call(arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"search_code","arguments":{arguments},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{{"name":"X","version":"1"}},"io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
    )
}

fn list() -> String {
    let tool = |n: usize| {
        let name = if n.is_multiple_of(10) { "get" } else { "set" };
        let text = "reads or writes one of the many things that this server knows about ".repeat(3);
        format!(
            r#"{{"name":"{name}_{n}","title":"Tool {n}","description":"{text}","inputSchema":{{"type":"object","properties":{{"owner":{{"type":"string","description":"the owner of the thing"}},"title":{{"type":"string","maxLength":200}},"count":{{"type":"integer","minimum":0,"maximum":100}},"deep":{{"type":"boolean","default":false}}}},"required":["owner","title"]}},"annotations":{{"readOnlyHint":true,"openWorldHint":false}}}}"#
        )
    };
    let tools: Vec<String> = (0..100).map(tool).collect();
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"resultType":"complete","tools":[{}],"ttlMs":60000,"cacheScope":"public"}}}}"#,
        tools.join(",")
    )
}

fn messages(c: &mut Criterion) {
    let claim = Claim { version: Some("2026-07-28"), method: Some("tools/call"), name: Some("search_code") };
    let small = call(r#"{"query":"SELECT 1","region":"us-west1"}"#);
    let string = call(&format!(r#"{{"text":"{}"}}"#, "x".repeat(50_000)));
    let lines = call(&format!(r#"{{"text":"{}"}}"#, r"a line of a file that somebody edits, about this long\n".repeat(900)));
    let object = r#"{"id":123,"name":"some name","tags":["a","b"],"ok":true,"n":1.5}"#;
    let objects = call(&format!(r#"{{"items":[{}]}}"#, vec![object; 700].join(",")));
    for (name, body) in
        [("330 B", small), ("50 KB, one string", string), ("50 KB, one string of lines", lines), ("50 KB, 700 objects", objects)]
    {
        c.bench_function(&format!("parse {name} ({} B)", body.len()), |b| {
            b.iter(|| Message::parse(black_box(body.as_bytes()), &claim, DEPTH).expect("a call").era);
        });
    }
}

fn lists(c: &mut Criterion) {
    let body = list();
    c.bench_function(&format!("cut 100 tools to 10 ({} B)", body.len()), |b| {
        b.iter(|| cut(black_box(body.as_bytes()), LENS, &mut |name| name.starts_with("get")).expect("a list").shown);
    });

    let request = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let id = Message::parse(request.as_bytes(), &Claim::default(), DEPTH).expect("a request").id.expect("an id");
    let memo = Memo::new(64, 16 << 20);
    c.bench_function("cut the same list again (memo)", |b| {
        b.iter(|| {
            memo.cut(&0u8, id, black_box(body.as_bytes()), LENS, &mut |name, _| name.starts_with("get"), None).expect("a list").len()
        });
    });

    let stream = format!("event: message\ndata: {body}\n\n");
    let watch = Watch { expected: Some(Kind::Tool), resumed: false, era: Era::Modern, depth: DEPTH };
    c.bench_function("cut the same list in a stream", |b| {
        b.iter(|| {
            let mut out = Vec::new();
            let mut filter = SseFilter::new(1 << 20);
            let mut judge = |data: &[u8]| judge_event(data, watch, &mut |_, name| name.starts_with("get"));
            for chunk in black_box(stream.as_bytes()).chunks(8192) {
                filter.push(chunk, &mut judge, &mut out).expect("a list");
            }
            out.len()
        });
    });

    let event = format!(
        "id: 1\ndata: {}\n\n",
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"words and words"}],"isError":false}}"#
    );
    let watch = Watch { expected: None, ..watch };
    c.bench_function("pass ten small events", |b| {
        b.iter(|| {
            let mut out = Vec::new();
            let mut filter = SseFilter::new(1 << 20);
            for _ in 0..10 {
                filter
                    .push(black_box(event.as_bytes()), &mut |data| judge_event(data, watch, &mut |_, _| false), &mut out)
                    .expect("an event");
            }
            out.len()
        });
    });
}

criterion_group!(benches, messages, lists);
criterion_main!(benches);
