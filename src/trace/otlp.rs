//! How does a span go over the wire? OTLP 1.x, `ExportTraceServiceRequest` in protobuf.
//!
//! Written out by hand: seven messages of opentelemetry-proto `trace/v1/trace.proto`, whose field numbers are fixed
//! for good. The SDK would bring fourteen crates, a span in the hot path of every build, and a queue that does not
//! count what it drops. Tests read this with the published types. Knows nothing of what the spans say.

use super::{Span, Value};

/// The bytes of one export. `instance` tells one process from another.
pub fn export(spans: &[Span], instance: &str) -> Vec<u8> {
    let mut scope = Message::default();
    scope.bytes(1, b"doorward");
    let mut of_scope = Message::default();
    of_scope.message(1, scope);
    for one in spans {
        of_scope.message(2, span(one));
    }
    let mut of_resource = Message::default();
    of_resource.message(1, resource(instance));
    of_resource.message(2, of_scope);
    let mut request = Message::default();
    request.message(1, of_resource);
    request.0
}

/// The process that tells.
pub(super) fn resource(instance: &str) -> Message {
    let mut resource = Message::default();
    for (key, value) in [("service.name", "doorward"), ("service.version", env!("CARGO_PKG_VERSION")), ("service.instance.id", instance)] {
        resource.message(1, attribute(key, &Value::Text(value.to_owned())));
    }
    resource
}

fn span(span: &Span) -> Message {
    let Span { trace, id, parent, name, kind, start, end, failed, attributes } = span;
    let mut out = Message::default();
    out.bytes(1, &trace.to_be_bytes());
    out.bytes(2, &id.to_be_bytes());
    if let Some(parent) = parent {
        out.bytes(4, &parent.to_be_bytes());
    }
    out.bytes(5, name.as_bytes());
    out.number(6, *kind as u64);
    out.fixed(7, *start);
    out.fixed(8, *end);
    for (key, value) in attributes {
        out.message(9, attribute(key, value));
    }
    if *failed {
        let mut status = Message::default();
        status.number(3, 2);
        out.message(15, status);
    }
    out
}

fn attribute(key: &str, value: &Value) -> Message {
    let mut any = Message::default();
    match value {
        Value::Text(text) => any.bytes(1, text.as_bytes()),
        Value::Number(number) => any.number(3, number.cast_unsigned()),
    }
    let mut out = Message::default();
    out.bytes(1, key.as_bytes());
    out.message(2, any);
    out
}

/// A protobuf message as it grows.
#[derive(Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    pub(super) fn fixed(&mut self, field: u64, value: u64) {
        self.varint(field << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    pub(super) fn message(&mut self, field: u64, value: Self) {
        self.bytes(field, &value.0);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value;
    use prost::Message as _;

    #[test]
    fn the_published_types_read_every_field_back() {
        let span = Span {
            trace: 1 << 120,
            id: 7,
            parent: Some(u64::MAX),
            name: "tools/call",
            kind: Kind::Client,
            start: u64::MAX - 1,
            end: u64::MAX,
            failed: true,
            attributes: vec![("a", Value::Text("ä".repeat(300))), ("n", Value::Number(-5)), ("m", Value::Number(200))],
        };
        let bytes = export(&[span.clone(), Span { parent: None, failed: false, ..span.clone() }], "here");
        let read = ExportTraceServiceRequest::decode(bytes.as_slice()).expect("decodes");
        let resource = &read.resource_spans[0];
        let of = |key: &str| resource.resource.as_ref().expect("resource").attributes.iter().any(|attribute| attribute.key == key);
        assert!(of("service.name") && of("service.version") && of("service.instance.id"));
        let [first, second] = resource.scope_spans[0].spans.as_slice() else { panic!("two spans") };
        assert_eq!((first.trace_id.as_slice(), first.span_id.as_slice()), (&span.trace.to_be_bytes()[..], &span.id.to_be_bytes()[..]));
        assert_eq!((first.parent_span_id.len(), second.parent_span_id.len()), (8, 0));
        assert_eq!(
            (first.name.as_str(), first.kind, first.start_time_unix_nano, first.end_time_unix_nano),
            ("tools/call", 3, span.start, span.end)
        );
        assert_eq!((first.status.as_ref().map(|status| status.code), second.status.as_ref()), (Some(2), None));
        let values: Vec<_> = first.attributes.iter().filter_map(|one| one.value.as_ref()?.value.clone()).collect();
        assert_eq!(
            values,
            [any_value::Value::StringValue("ä".repeat(300)), any_value::Value::IntValue(-5), any_value::Value::IntValue(200)]
        );
    }
}
