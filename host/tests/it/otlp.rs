//! Export to an OpenTelemetry collector: the telemetry that it gets, and a host whose collector takes none.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use prost::Message;
use serde_json::{Value, json};

use crate::support::dev_host::DevHost;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// The telemetry that a collector got.
#[derive(Default)]
struct Received {
    spans: Vec<Span>,
    lines: Vec<LogRecord>,
    /// Attributes of the hosts that sent it.
    resources: Vec<KeyValue>,
}

/// A collector on a port of this machine.
struct Collector {
    url: String,
    received: Arc<Mutex<Received>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/in/", listener.local_addr().expect("bound"));
        let received = Arc::<Mutex<Received>>::default();
        let of_thread = received.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let received = of_thread.clone();
                std::thread::spawn(move || while take(&stream, &received).is_some() {});
            }
        });
        Self { url, received }
    }

    fn with<T>(&self, look: impl FnOnce(&Received) -> T) -> T {
        look(&self.received.lock().expect("no panic"))
    }
}

/// Takes one request. None: the host has hung up.
fn take(stream: &TcpStream, received: &Mutex<Received>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(read) if read > 2 => lines.push(line.to_lowercase()),
            Ok(2) => break,
            _ => return None,
        }
    }
    let length = lines.iter().find_map(|line| line.strip_prefix("content-length: ")).expect("a body of known length");
    let mut body = vec![0; length.trim().parse().expect("a number")];
    reader.read_exact(&mut body).ok()?;
    assert!(lines.iter().any(|line| line.trim() == "content-type: application/x-protobuf"), "{lines:?}");
    assert!(lines.iter().any(|line| line.trim() == "x-key: secret-1"), "{lines:?}");
    let mut received = received.lock().expect("no panic");
    if lines[0].starts_with("post /in/v1/traces ") {
        for resource in ExportTraceServiceRequest::decode(&body[..]).expect("spans").resource_spans {
            received.resources.extend(resource.resource.expect("a resource").attributes);
            received.spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    } else {
        assert!(lines[0].starts_with("post /in/v1/logs "), "{lines:?}");
        for resource in ExportLogsServiceRequest::decode(&body[..]).expect("log records").resource_logs {
            received.resources.extend(resource.resource.expect("a resource").attributes);
            received.lines.extend(resource.scope_logs.into_iter().flat_map(|scope| scope.log_records));
        }
    }
    (&mut &*stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok()
}

fn text(value: &Option<AnyValue>) -> String {
    match value.as_ref().and_then(|value| value.value.clone()) {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    attributes.iter().find(|attribute| attribute.key == name).map(|attribute| text(&attribute.value))
}

/// A host that exports to `url`, with a transform that fails records with the word "poison".
fn host(folder: &std::path::Path, url: &str, options: &[&str]) -> DevHost {
    let options = [&["--otlp-endpoint", url], options].concat();
    let host = DevHost::start_in(folder, &options, &[("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret-1")]);
    host.put("/v1/topics/orders", &json!({ "partitions": 1 }));
    host.put("/v1/topics/out", &json!({ "partitions": 1 }));
    host.put("/v1/topics/orders.dlq", &json!({ "partitions": 1 }));
    let module = host.upload(&DevHost::fixture());
    host.deploy("traced", &module, "fail");
    host.wait(|| host.running() == 1);
    host
}

fn produce(host: &DevHost, records: &[Value]) {
    let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
    let request = ureq::post(host.at("/v1/topics/orders/records")).header("content-type", "application/x-ndjson");
    request.send(lines).expect("written");
}

fn record(value: &str, traceparent: Option<&str>) -> Value {
    let headers: Vec<_> = traceparent.iter().map(|value| json!({ "name": "traceparent", "value": value })).collect();
    json!({ "value": value, "headers": headers })
}

fn outputs(host: &DevHost) -> Vec<Value> {
    host.get("/v1/topics/out/records?limit=1000").lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn committed(host: &DevHost) -> u64 {
    host.metric("sandbar_records_in_total{team=\"shop\",topic=\"orders\",transform=\"traced\"}")
}

#[test]
fn a_collector_gets_the_spans_of_sampled_records_and_the_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let collector = Collector::start();
    let host = host(folder.path(), &collector.url, &["--host", "host-7"]);
    let sampled = format!("00-{TRACE}-{PARENT}-01");
    let unsampled = format!("00-{TRACE}-{PARENT}-00");
    produce(
        &host,
        &[
            record("a", Some(&sampled)),
            record("b", Some(&unsampled)),
            record("c", None),
            record("poison", Some(&sampled)),
            record("e", Some(&sampled)),
        ],
    );
    host.wait(|| collector.with(|received| received.spans.len() == 3));
    let spans = collector.with(|received| received.spans.clone());
    for (span, offset) in spans.iter().zip(["0", "3", "4"]) {
        assert_eq!((hex::encode(&span.trace_id), hex::encode(&span.parent_span_id)), (TRACE.into(), PARENT.into()));
        assert_eq!((&*span.name, span.kind()), ("process orders", SpanKind::Consumer));
        assert!(span.start_time_unix_nano > 0 && span.end_time_unix_nano >= span.start_time_unix_nano, "{span:?}");
        let expected = [
            ("messaging.system", "kafka"),
            ("messaging.destination.name", "orders"),
            ("messaging.destination.partition.id", "0"),
            ("messaging.kafka.offset", offset),
            ("sandbar.team", "shop"),
            ("sandbar.transform", "traced"),
            ("sandbar.revision", "1"),
        ];
        for (name, value) in expected {
            assert_eq!(attribute(&span.attributes, name).as_deref(), Some(value), "{name}");
        }
        let failed = attribute(&span.attributes, "error.type");
        let status = span.status.as_ref().map_or(StatusCode::Unset, |status| status.code());
        let is_poison = offset == "3";
        assert_eq!(failed.as_deref(), is_poison.then_some("E101"));
        assert_eq!(status, if is_poison { StatusCode::Error } else { StatusCode::Unset });
    }
    let parents: Vec<_> = outputs(&host).iter().map(|output| output["headers"][0]["value"].clone()).collect();
    let own = |span: &Span| json!(format!("00-{TRACE}-{}-01", hex::encode(&span.span_id)));
    assert_eq!(parents, [own(&spans[0]), json!(unsampled), Value::Null, own(&spans[2])]);

    let is_ready = |line: &LogRecord| text(&line.body) == "ready" && attribute(&line.attributes, "address").is_some();
    host.wait(|| collector.with(|received| received.lines.iter().any(is_ready)));
    let resources = collector.with(|received| received.resources.clone());
    assert_eq!(attribute(&resources, "service.name").as_deref(), Some("sandbar"));
    assert_eq!(attribute(&resources, "service.instance.id").as_deref(), Some("host-7"));
    host.wait(|| host.metric("sandbar_otlp_exported_total{signal=\"traces\"}") == 3);

    // The last lines are exported before the process ends.
    assert_eq!(host.terminate().0, Some(0));
    assert!(collector.with(|received| received.lines.iter().any(|line| text(&line.body) == "stopped")));
}

#[test]
fn a_collector_that_never_answers_holds_up_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", silent.local_addr().expect("bound"));
    let host = host(folder.path(), &url, &["--otlp-queue-max", "10"]);
    let sampled = format!("00-{TRACE}-{PARENT}-01");
    let records: Vec<_> = (0..600).map(|n| record(&n.to_string(), Some(&sampled))).collect();
    produce(&host, &records);
    host.wait(|| committed(&host) == 600);
    assert_eq!(outputs(&host).len(), 600);
    host.wait(|| host.metric("sandbar_otlp_dropped_total{signal=\"traces\"}") > 500);
    let (code, time) = host.terminate();
    assert_eq!(code, Some(0));
    assert!(time < Duration::from_secs(60), "{time:?}");
}

#[test]
fn a_collector_that_refuses_is_logged_once() {
    let folder = tempfile::tempdir().expect("a folder");
    // Nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let host = host(folder.path(), &format!("http://{address}"), &[]);
    let failed = || host.metric("sandbar_otlp_failed_total{signal=\"logs\"}");
    host.wait(|| failed() > 0);
    let first = failed();
    produce(&host, &[record("poison", None), record("a", None)]);
    host.put("/v1/topics/more", &json!({ "partitions": 1 }));
    let module = host.upload(&DevHost::fixture());
    host.deploy("another", &module, "echo");
    host.wait(|| failed() > first);
    let log = std::fs::read_to_string(&host.log).expect("there");
    assert_eq!(log.matches("the OpenTelemetry collector takes no telemetry").count(), 1, "{log}");
}
