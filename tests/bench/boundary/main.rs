//! The cost of a record that crosses into a guest and back: CPU ns per record through the real sandbox, checks of the
//! output included. `cargo bench -p sandbar-bench-boundary` runs it; docs/benchmarks/results.md has figures.
//!
//! The lines `rows` and `one call per record` are the cost of the contract without its columns.

mod alternatives;
mod cpu;
mod guests;

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use sandbar::guest::{ModuleOptions, Modules, Tables};
use sandbar::model::batch::{Batch, OutputLimits, RecordRef};
use sandbar::model::names::Digest;
use sandbar::model::spec::{RawSpec, Spec};
use sandbar::model::units::Timestamp;
use sandbar::ports::{Call, Guest, GuestFactory, TopicPartition};
use sandbar::state::KeyedState;
use sandbar::telemetry::metrics::Metrics;
use serde_json::json;

const BATCHES: [usize; 4] = [1, 20, 100, 400];
const ORDER: &str = include_str!("../../guests/fixture/order.json");
const KEEP: [&str; 5] = ["id", "status", "currency", "total_cents", "created_at_ms"];

/// One line of the table: median ns of CPU per record, by batch.
type Line = (&'static str, Vec<f64>);

fn main() {
    let mut criterion = Criterion::default().with_measurement(cpu::ThreadCpu).configure_from_args();
    let mut table = Vec::new();
    let folder = tempfile::tempdir().expect("a folder");
    let modules = Modules::open(folder.path(), ModuleOptions::default(), Metrics::new().modules).expect("an engine");
    let fixture = guests::transform("tests/guests/fixture");
    let strip = guests::transform("transforms/field-strip");
    let transforms = [
        ("pass-through", &fixture, json!({"mode": "echo"})),
        ("filter (every other)", &fixture, json!({"mode": "filter-odd"})),
        ("JSON field-strip, serde_json", &fixture, json!({"mode": "json-strip"})),
        ("JSON field-strip, parsed wide", &strip, json!({"keep": KEEP, "key_field": "id", "items_field": null})),
    ];
    for (name, module, config) in transforms {
        let spec = spec(module, config);
        let prepared = modules.prepare(&spec, 1, module, Tables::default(), None).expect("the module is good");
        let mut guest = prepared.instantiate().expect("it starts");
        let limits = OutputLimits {
            records_per_input: spec.limits.output_per_record,
            bytes_per_input: spec.limits.output_bytes_per_record.as_usize(),
            targets: 1,
        };
        measure(&mut criterion, &mut table, name, |batch| cross(&mut *guest, batch, &limits));
    }
    let mut crossings = alternatives::Crossings::new(&guests::alternatives());
    measure(&mut criterion, &mut table, "pass-through, rows", |batch| crossings.rows(batch));
    measure(&mut criterion, &mut table, "pass-through, one call per record", |batch| crossings.one_by_one(batch));
    criterion.final_summary();
    print(&table);
}

/// Takes a batch through the steps of a task, up to the point where it would send.
fn cross(guest: &mut dyn Guest, batch: &Batch, limits: &OutputLimits) {
    let call =
        Call { partition: TopicPartition { input: 0, partition: 0 }, now: Timestamp(1_735_689_600_000), ends_at: None };
    let output = guest.process(batch, call, &mut KeyedState::default()).expect("it does not fail");
    let checked = output.check(batch, limits).expect("it keeps to the contract");
    assert!(checked.failures().is_empty(), "{:?}", checked.failures());
    for record in checked.records() {
        black_box((record.target, record.timestamp, record.key, record.value, record.headers.len()));
    }
}

fn measure(
    criterion: &mut Criterion<cpu::ThreadCpu>,
    table: &mut Vec<Line>,
    name: &'static str,
    mut cross: impl FnMut(&Batch),
) {
    let mut medians = Vec::new();
    let mut group = criterion.benchmark_group(name);
    for records in BATCHES {
        let batch = batch(records);
        let mut samples = Vec::new();
        group.throughput(Throughput::Elements(records as u64));
        group.bench_function(records.to_string(), |bencher| {
            bencher.iter_custom(|times| {
                let start = cpu::now_ns();
                (0..times).for_each(|_| cross(&batch));
                let spent = cpu::now_ns() - start;
                samples.push(spent as f64 / (times as f64 * records as f64));
                spent
            });
        });
        medians.push(median(samples));
    }
    group.finish();
    table.push((name, medians));
}

/// Orders of some 600 bytes with keys, one millisecond apart.
fn batch(records: usize) -> Batch {
    let mut batch = Batch::default();
    for offset in 0..records as i64 {
        let key = (918_273_645 + offset).to_string();
        let value = ORDER.trim_end().replacen("918273645", &key, 1);
        let timestamp = 1_735_689_600_000 + offset;
        batch.push(&RecordRef { offset, timestamp, key: Some(key.as_bytes()), value: Some(value.as_bytes()), headers: &[] });
    }
    batch
}

fn spec(module: &[u8], config: serde_json::Value) -> Spec {
    let raw: RawSpec = serde_json::from_value(json!({"inputs": ["in"], "outputs": {"out": "out"}, "config": config}))
        .expect("it follows the wire type");
    Spec::parse(&raw, &"bench/boundary".parse().expect("a name"), Some(Digest::of(module))).expect("a valid spec")
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

fn print(table: &[Line]) {
    println!("\nCPU ns per record of {} bytes, by records in a batch (medians)", ORDER.trim_end().len());
    println!("{:34}{}", "", BATCHES.map(|records| format!("{records:>8}")).concat());
    for (name, medians) in table.iter().filter(|(_, medians)| medians.iter().any(|median| !median.is_nan())) {
        println!("{name:34}{}", medians.iter().map(|median| format!("{median:>8.0}")).collect::<String>());
    }
}
