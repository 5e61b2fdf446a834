//! A worker with traced and untraced records: outputs and dead letters carry the trace of their record.

use std::sync::Arc;

use sandbar::model::batch::{Batch, Failure, NULL, Output};
use sandbar::model::codes::Code;
use sandbar::ports::{Call, Guest, GuestError, GuestFactory, LogRecord};
use sandbar::state::KeyedState;
use sandbar::telemetry::export_queue::ExportQueue;
use sandbar::telemetry::observer::Observers;
use sandbar::telemetry::record_span::RecordSpan;
use serde_json::{Value, json};

use super::bench::{Bench, Setup};

const TRACESTATE: &str = "vendor=1";

/// Puts each record out with its value alone. One that begins with "own" gets a null `traceparent`, one with "fail" fails,
/// and one with "abort" fails the whole call.
struct Strip;

impl Guest for Strip {
    fn process(&mut self, batch: &Batch, _: Call, _: &mut KeyedState) -> Result<Output, GuestError> {
        let name = b"traceparent";
        let first = batch.data.len() as u32;
        let mut output = Output { data: name.to_vec(), ..Output::default() };
        for row in 0..batch.len() {
            let value = batch.value(row).unwrap_or_default();
            if value.starts_with(b"abort") {
                return Err(GuestError::Returned("as asked".into()));
            }
            if value.starts_with(b"fail") {
                output.failures.push(Failure { row: row as u32, message: "as asked".into() });
                continue;
            }
            output.targets.push(0);
            output.sources.push(row as u32);
            output.keys.extend([NULL; 2]);
            output.values.extend(&batch.values[2 * row..2 * row + 2]);
            let is_own = value.starts_with(b"own");
            output.header_counts.push(u32::from(is_own));
            if is_own {
                output.headers.extend([first, first + name.len() as u32, NULL, NULL]);
            }
        }
        Ok(output)
    }

    fn tick(&mut self, _: Call, _: &mut KeyedState) -> Result<Output, GuestError> {
        let nulls = vec![NULL; 2];
        Ok(Output { targets: vec![0], sources: vec![0], keys: nulls.clone(), values: nulls, ..Output::default() })
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

struct Strips;

impl GuestFactory for Strips {
    fn instantiate(&self) -> Result<Box<dyn Guest>, GuestError> {
        Ok(Box::new(Strip))
    }
}

type Headers = Vec<(String, Option<Vec<u8>>)>;

fn bench(spec: &Value) -> Bench {
    bench_with(spec, false, Observers::default())
}

/// A bench whose output topic refuses all records, since they have no key, if it is compacted.
fn bench_with(spec: &Value, compacted: bool, observers: Observers) -> Bench {
    Bench::new(Setup {
        spec,
        options: |options| options,
        compacted: [compacted, false],
        record_bytes_max: usize::MAX,
        guests: Arc::new(Strips),
        observers,
    })
}

/// The headers of record `n`'s own trace.
fn trace(n: usize) -> Headers {
    let traceparent = format!("00-4bf92f3577b34da6a3ce929d{n:08x}-00f067aa0ba902b7-01");
    [("traceparent", traceparent), ("tracestate", TRACESTATE.to_owned())]
        .map(|(name, value)| (name.to_owned(), Some(value.into_bytes())))
        .to_vec()
}

fn record(value: &str, headers: Headers) -> LogRecord {
    LogRecord { offset: 0, timestamp: 1, key: None, value: Some(value.into()), headers }
}

#[test]
fn outputs_and_dead_letters_carry_the_trace_of_their_record() {
    let malformed = vec![("traceparent".to_owned(), Some(b"00-1-2-3".to_vec()))];
    let other = ("other".to_owned(), Some(b"1".to_vec()));
    let records = [
        record("traced 0", [vec![other.clone()], trace(0)].concat()),
        record("plain", Vec::new()),
        record("fail", trace(2)),
        record("malformed", malformed),
        record("own", trace(4)),
        record("abort", trace(5)),
        record("other", vec![other]),
        record("traced 7", trace(7)),
    ];
    let mut bench = bench(&json!({}));
    bench.append(&records);
    bench.run_until(|bench| bench.committed() == Some(8));
    let outputs = bench.read(&bench.output).into_iter();
    let found: Vec<_> = outputs.map(|output| (output.value.expect("a value"), output.headers)).collect();
    let expected = [
        ("traced 0", trace(0)),
        ("plain", Vec::new()),
        ("malformed", Vec::new()),
        ("own", vec![("traceparent".to_owned(), None)]),
        ("other", Vec::new()),
        ("traced 7", trace(7)),
    ];
    assert_eq!(found, expected.map(|(value, headers)| (value.as_bytes().to_vec(), headers)));
    let letters = bench.read(&bench.dead);
    assert_eq!(letters.len(), 2);
    assert_eq!(letters[0].headers[..2], trace(2));
    assert_eq!(letters[1].headers[..2], trace(5));
}

#[test]
fn a_tick_carries_no_trace() {
    let mut bench = bench(&json!({"tick": "100ms"}));
    bench.append(&[record("traced", trace(0))]);
    let split = |bench: &Bench| {
        let outputs = bench.read(&bench.output).into_iter();
        outputs.partition::<Vec<_>, _>(|output| output.value.is_none())
    };
    bench.run_until(|bench| {
        let (of_ticks, of_record) = split(bench);
        !of_ticks.is_empty() && !of_record.is_empty()
    });
    let (of_ticks, of_record) = split(&bench);
    assert!(of_ticks.iter().all(|output| output.headers.is_empty()), "{of_ticks:?}");
    assert_eq!(of_record.iter().map(|output| &output.headers).collect::<Vec<_>>(), [&trace(0)]);
}

/// Runs three records, of which the second has no trace. Returns the outputs' headers and the spans.
fn run_with_spans(compacted: bool) -> (Bench, Vec<RecordSpan>) {
    let dropped = prometheus::IntCounter::new("dropped", "spans").expect("a valid name");
    let (queue, spans) = ExportQueue::new(100, dropped.clone());
    let mut bench = bench_with(&json!({}), compacted, Observers::default().tracing_to(Some(queue)));
    bench.append(&[record("a", trace(0)), record("b", Vec::new()), record("fail", trace(2)), record("d", trace(3))]);
    bench.run_until(|bench| bench.committed() == Some(4));
    assert_eq!(dropped.get(), 0);
    (bench, spans.try_iter().collect())
}

fn offsets_and_codes(spans: &[RecordSpan]) -> Vec<(i64, Option<&'static str>)> {
    spans.iter().map(|span| (span.offset, span.failed.map(Code::as_str))).collect()
}

#[test]
fn outputs_name_the_span_of_their_record_where_spans_are_exported() {
    let (bench, spans) = run_with_spans(false);
    assert_eq!(offsets_and_codes(&spans), [(0, None), (2, Some("E101")), (3, None)]);
    let found: Vec<_> = bench.read(&bench.output).into_iter().map(|output| output.headers).collect();
    let own = |n: usize, span: &RecordSpan| {
        let traceparent = format!("00-4bf92f3577b34da6a3ce929d{n:08x}-{}-01", hex::encode(span.ids.span_id));
        vec![("traceparent".to_owned(), Some(traceparent.into_bytes())), trace(n)[1].clone()]
    };
    assert_eq!(found, [own(0, &spans[0]), Vec::new(), own(3, &spans[2])]);
    // A dead letter is the record as it was.
    assert_eq!(bench.read(&bench.dead)[0].headers[..2], trace(2));
    let (_, again) = run_with_spans(false);
    assert_eq!(spans.iter().map(|span| span.ids).collect::<Vec<_>>(), again.iter().map(|span| span.ids).collect::<Vec<_>>());
}

#[test]
fn an_aborted_transaction_leaves_no_span() {
    let (bench, spans) = run_with_spans(true);
    assert_eq!(bench.read(&bench.dead).len(), 4, "the topic refuses them");
    let codes: Vec<_> = spans.iter().map(|span| (span.offset, span.failed.is_some())).collect();
    assert_eq!(codes, [(0, true), (2, true), (3, true)]);
}
