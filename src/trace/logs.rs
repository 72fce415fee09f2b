//! How does an audit line go over the wire? OTLP 1.x, `ExportLogsServiceRequest` in protobuf.
//!
//! The line itself is the body, so that what a collector keeps can be verified as the file can. Field numbers are those of
//! opentelemetry-proto `logs/v1/logs.proto`. Knows nothing of what a line says.

use super::otlp::{Message, resource};

/// INFO (OpenTelemetry logs data model, SeverityNumber).
const INFO: u64 = 9;

/// The bytes of one export. `observed` is nanoseconds since 1970; `instance` tells one process from another.
pub fn export(lines: &[u8], observed: u64, instance: &str) -> Vec<u8> {
    let mut scope = Message::default();
    scope.bytes(1, b"doorward.audit");
    let mut of_scope = Message::default();
    of_scope.message(1, scope);
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let mut body = Message::default();
        body.bytes(1, line);
        let mut record = Message::default();
        record.fixed(1, observed);
        record.number(2, INFO);
        record.message(5, body);
        record.fixed(11, observed);
        of_scope.message(2, record);
    }
    let mut of_resource = Message::default();
    of_resource.message(1, resource(instance));
    of_resource.message(2, of_scope);
    let mut request = Message::default();
    request.message(1, of_resource);
    request.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use prost::Message as _;

    #[test]
    fn the_published_types_read_each_line_back() {
        let read =
            ExportLogsServiceRequest::decode(export("{\"a\":1}\n{\"b\":\"ä\"}\n".as_bytes(), 7, "here").as_slice()).expect("decodes");
        assert!(read.resource_logs[0].resource.as_ref().is_some_and(|resource| resource.attributes.len() == 3));
        let records = &read.resource_logs[0].scope_logs[0].log_records;
        let bodies: Vec<_> = records.iter().filter_map(|record| record.body.as_ref()?.value.clone()).collect();
        assert_eq!(bodies, [Value::StringValue("{\"a\":1}".into()), Value::StringValue("{\"b\":\"ä\"}".into())]);
        assert!(records.iter().all(|record| (record.time_unix_nano, record.observed_time_unix_nano, record.severity_number) == (7, 7, 9)));
    }
}
