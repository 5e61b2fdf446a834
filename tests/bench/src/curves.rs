//! `sandbar-bench curves`: how the cost of a record grows with partitions, transforms, sizes of records, of batches and of
//! the state.
//!
//! Each curve is a table and a plot. The points are short; RECORDS (1000000) is the number of records of one, ROUNDS (1) the
//! number of measurements of each. ONLY=name,name measures some of the curves.

mod points;
mod transforms;

use sandbar_harness::KafkaCluster;
use serde_json::json;

use crate::contender::Kind;
use crate::figures::Window;
use crate::rival;
use crate::sandbar::Sandbar;
use crate::stats::Spread;
use crate::svg::{self, Curve};
use crate::table::{Row, Table};
use crate::{broker, input, quick, results, variable};
use points::Point;

const FIXTURE: &str = "tests/guests/fixture";
/// Bytes of all records of one point: fewer records where they are large.
const BYTES_MAX: u64 = 600 << 20;
/// The limit of a short run.
const BYTES_MAX_QUICK: u64 = 300 << 20;
/// Points with small records have more, up to so many times as many. Otherwise the work is done before it is seen.
const SMALL_TIMES: u64 = 8;

/// One curve: its points, by name of the contender and place on the axis.
struct Growth {
    name: &'static str,
    title: &'static str,
    axis: &'static str,
    contenders: &'static [&'static str],
    at: Vec<u64>,
    measure: fn(&KafkaCluster, &str, u64, u64) -> anyhow::Result<Window>,
}

const SANDBAR: &str = "Sandbar";
const FORWARDER: &str = "forwarder";

pub fn run() -> anyhow::Result<()> {
    let records: u64 = variable("RECORDS", if quick() { 60_000 } else { 1_000_000 })?;
    let rounds: usize = variable("ROUNDS", 1)?;
    let only = std::env::var("ONLY").unwrap_or_default();
    let kafka = broker::start()?;
    for growth in all().iter().filter(|growth| only.is_empty() || only.split(',').any(|name| name == growth.name)) {
        growth.run(&kafka, records, rounds)?;
    }
    Ok(())
}

fn all() -> Vec<Growth> {
    let points = |full: &[u64], few: &[u64]| if quick() { few.to_vec() } else { full.to_vec() };
    vec![
        Growth {
            name: "partitions",
            title: "Pass-through by partitions of the topics",
            axis: "partitions",
            contenders: &[SANDBAR, FORWARDER],
            at: points(&[1, 4, 16, 64], &[1, 64]),
            measure: |kafka, contender, at, records| {
                let point = Point { partitions: at as i32, ..pass_through(contender) };
                point.measure(kafka, records, &|order| (order.to_string(), input::one_order(order)))
            },
        },
        Growth {
            name: "transforms",
            title: "Pass-through by transforms on one host",
            axis: "transforms that read one topic",
            contenders: &[SANDBAR],
            at: points(&[1, 10, 50, 200], &[1, 10]),
            measure: |kafka, _, at, records| transforms::measure(kafka, at, records),
        },
        Growth {
            name: "record-sizes",
            title: "Pass-through by size of the records",
            axis: "bytes of a value",
            contenders: &[SANDBAR, FORWARDER],
            at: points(&[100, 1 << 10, 10 << 10, 100 << 10], &[100, 100 << 10]),
            measure: |kafka, contender, at, records| {
                let value = points::text(at as usize);
                let bytes_max = if quick() { BYTES_MAX_QUICK } else { BYTES_MAX };
                let records = (records * SMALL_TIMES).min(bytes_max / at);
                pass_through(contender).measure(kafka, records, &|order| (order.to_string(), value.clone()))
            },
        },
        Growth {
            name: "batch-sizes",
            title: "Pass-through by records in a call (`limits.batch_records`)",
            axis: "records in a call at most",
            contenders: &[SANDBAR],
            at: points(&[1, 10, 100, 400, 4096], &[1, 400]),
            measure: |kafka, _, at, records| {
                let spec = json!({"config": {"mode": "echo"}, "limits": {"batch_records": at, "batch_bytes": "1MiB"}});
                let kind = Kind::Sandbar(Sandbar { module: FIXTURE, spec, tailed: false });
                let point = Point { kind, ..pass_through(SANDBAR) };
                // A short run of large calls would be over within a commit interval.
                point.measure(kafka, 2 * records, &|order| (order.to_string(), input::one_order(order)))
            },
        },
        Growth {
            name: "state",
            title: "Count per key by entries of the store",
            axis: "entries",
            contenders: &[SANDBAR],
            at: points(&[10_000, 100_000, 1_000_000, 10_000_000], &[10_000, 100_000]),
            measure: |kafka, _, at, records| points::count(kafka, at, records),
        },
    ]
}

fn pass_through(contender: &str) -> Point {
    let echo = Sandbar { module: FIXTURE, spec: json!({"config": {"mode": "echo"}}), tailed: false };
    let kind = if contender == SANDBAR { Kind::Sandbar(echo) } else { Kind::Rival(rival::Work::Forward) };
    Point { kind, partitions: crate::PARTITIONS, first: 0 }
}

// === impl Growth ===

impl Growth {
    fn run(&self, kafka: &KafkaCluster, records: u64, rounds: usize) -> anyhow::Result<()> {
        let mut rows = Vec::new();
        let mut curves: Vec<Curve<'_>> = Vec::new();
        // A short run compares with the forwarder elsewhere.
        for &contender in self.contenders.iter().filter(|&&contender| !quick() || contender == SANDBAR) {
            let mut points = Vec::new();
            for &at in &self.at {
                let windows: anyhow::Result<Vec<Window>> =
                    (0..rounds).map(|_| (self.measure)(kafka, contender, at, records)).collect();
                let windows = windows?;
                let cpu_ns = Spread::of(windows.iter().map(|window| window.cpu_ns));
                let rate = Spread::of(windows.iter().map(|window| window.records_per_second));
                println!("{} {at}, {contender}: {}", self.name, windows[0]);
                points.push((at as f64, cpu_ns.median));
                rows.push(Row { name: format!("{contender}, {at}"), figures: vec![cpu_ns, rate] });
            }
            curves.push(Curve { name: contender, points });
        }
        let table =
            Table { title: self.title.to_owned(), subject: self.axis, columns: vec!["ns CPU a record", "records/s"], rows };
        let plot = svg::curves(self.title, "ns CPU a record", self.axis, &curves);
        results::write_with(&format!("curve-{}", self.name), &table, &plot)
    }
}
