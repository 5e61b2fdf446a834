//! `sandbar-bench fair`: a team of modest needs beside a greedy one, and two greedy teams whose weights are 1 and 3.
//!
//! The modest team is offered 500 records a second, and a reader of committed records takes the time of each, from its
//! creation to its arrival. It is measured alone, then beside a team whose 20 transforms work on full queues without a
//! break. Then two teams with 10 such transforms each compete; their CPU time is the host's own
//! (`sandbar_team_cpu_seconds_total`).
//!
//! SECONDS (30) and ROUNDS (3) are read from the environment. QUICK=1 has 6 greedy transforms, and one round of 5 s.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sandbar_harness::{Api, Host, KafkaCluster, LiveReader, Message, Producer, guests, topics, wait};
use serde_json::json;

use crate::target::{self, Limit};
use crate::{broker, quick, variable};

const CLUSTER: &str = "bench-fair";
const INPUT: &str = "bench.fair.in";
const OUTPUT: &str = "bench.fair.out";
/// The input of all greedy transforms, and their output, which nobody reads.
const WORK: &str = "bench.fair.work";
const WORK_DONE: &str = "bench.fair.done";
const RATE: usize = 500;
const GREEDY: usize = 20;
const GREEDY_QUICK: usize = 6;
/// Records that wait for each greedy transform, and the work on each: about 50 ms. A call has 20 of them.
const QUEUE: usize = 20_000;
const TURNS: u64 = 200_000_000;
const TEAMS: &str = "teams:\n  one: {cpu_weight: 1}\n  three: {cpu_weight: 3}\n";

/// The figures of the modest team.
#[derive(Debug, Clone, Copy)]
struct Figures {
    records_per_second: f64,
    p99_ms: f64,
}

pub fn run() -> anyhow::Result<()> {
    let seconds: usize = variable("SECONDS", if quick() { 5 } else { 30 })?;
    let rounds: usize = variable("ROUNDS", if quick() { 1 } else { 3 })?;
    let transforms = if quick() { GREEDY_QUICK } else { GREEDY };
    let kafka = broker::start()?;
    topics::create(&kafka, &[INPUT, OUTPUT, WORK, WORK_DONE], 1);
    let teams = std::env::temp_dir().join(format!("sandbar-bench-fair-{}.yaml", std::process::id()));
    std::fs::write(&teams, TEAMS)?;
    let host = Host::start_with(&kafka, CLUSTER, &["--teams", &teams.to_string_lossy()]);
    let api = host.api();
    let module = api.upload(&guests::fixture());
    let spec = json!({
        "module": module, "inputs": [INPUT], "outputs": {"out": OUTPUT}, "start": "earliest", "config": {"mode": "echo"},
    });
    api.deploy("modest/echo", &spec);
    let producer = Producer::new(&kafka);
    let work: Vec<Message> = (0..QUEUE).map(|number| Message::new(number.to_string(), "work")).collect();
    producer.send_all(WORK, &work);
    measure(&kafka, &producer, if quick() { 2 } else { 5 });
    let alone = median("alone", rounds, || measure(&kafka, &producer, seconds));
    let greedy = |team: &str, count: usize| {
        for number in 0..count {
            let spec = json!({
                "module": module, "inputs": [WORK], "outputs": {"out": WORK_DONE}, "start": "earliest",
                "config": {"mode": "spin", "turns": TURNS}, "limits": {"batch_records": 20},
            });
            api.deploy(&format!("{team}/spin-{number}"), &spec);
        }
    };
    greedy("greedy", transforms);
    wait::until("the greedy team works", wait::PATIENCE, || {
        if used(&api, "greedy") > 5.0 { Ok(()) } else { Err("it does not".into()) }
    });
    let beside = median("beside a greedy team", rounds, || measure(&kafka, &producer, seconds));
    target::print("fair-throughput", beside.records_per_second / alone.records_per_second, Limit::AtLeast(0.95));
    target::print("fair-p99", beside.p99_ms / alone.p99_ms, Limit::AtMost(1.25));
    for number in 0..transforms {
        api.delete(&format!("/v1/teams/greedy/transforms/spin-{number}"));
    }
    greedy("one", transforms / 2);
    greedy("three", transforms / 2);
    wait::until("both teams work", wait::PATIENCE, || {
        if used(&api, "one").min(used(&api, "three")) > 2.0 { Ok(()) } else { Err("they do not".into()) }
    });
    let before = ["one", "three"].map(|team| used(&api, team));
    std::thread::sleep(Duration::from_secs(seconds as u64));
    let after = ["one", "three"].map(|team| used(&api, team));
    let [one, three] = [0, 1].map(|team| after[team] - before[team]);
    println!("CPU seconds of the teams with the weights 1 and 3: {one:.2} and {three:.2}");
    target::print("fair-weights-least", three / one, Limit::AtLeast(2.7));
    target::print("fair-weights-most", three / one, Limit::AtMost(3.3));
    std::fs::remove_file(teams)?;
    Ok(())
}

/// CPU seconds of a team.
fn used(api: &Api, team: &str) -> f64 {
    let line = format!("sandbar_team_cpu_seconds_total{{team=\"{team}\"}} ");
    let metrics = api.get("/metrics").body;
    metrics.lines().find_map(|found| found.strip_prefix(&line)?.parse().ok()).unwrap_or(0.0)
}

fn median(what: &str, rounds: usize, mut measure: impl FnMut() -> Figures) -> Figures {
    let all: Vec<Figures> = (0..rounds).map(|_| measure()).collect();
    let median = |value: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = all.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let figures = Figures {
        records_per_second: median(|figures| figures.records_per_second),
        p99_ms: median(|figures| figures.p99_ms),
    };
    println!("{what}: {:.0} records/s, p99 {:.0} ms; rounds {all:.0?}", figures.records_per_second, figures.p99_ms);
    figures
}

/// Offers records for some time, and reads all that become of them.
fn measure(kafka: &KafkaCluster, producer: &Producer, seconds: usize) -> Figures {
    let count = RATE * seconds;
    let mut reader = LiveReader::at_end(kafka, OUTPUT);
    // A reader that begins is late by some hundred milliseconds, which is not the host's doing.
    producer.send(INPUT, &Message::new("first", now_ms().to_string()));
    wait::until("the reader has begun", wait::PATIENCE, || {
        if reader.poll(Duration::from_millis(100)).is_empty() { Err("no record has come".into()) } else { Ok(()) }
    });
    let started = Instant::now();
    let mut latencies_ms: Vec<f64> = Vec::with_capacity(count);
    let mut sent = 0;
    while latencies_ms.len() < count {
        while sent < count && started.elapsed().as_secs_f64() * RATE as f64 >= sent as f64 {
            producer.send(INPUT, &Message::new(sent.to_string(), now_ms().to_string()));
            sent += 1;
        }
        for record in reader.poll(Duration::from_millis(1)) {
            let created: f64 = record.value_text().parse().expect("the time at which it was sent");
            latencies_ms.push(now_ms() - created);
        }
        assert!(started.elapsed() < 20 * wait::PATIENCE, "{} of {count} records arrived", latencies_ms.len());
    }
    let records_per_second = count as f64 / started.elapsed().as_secs_f64();
    latencies_ms.sort_by(f64::total_cmp);
    Figures { records_per_second, p99_ms: latencies_ms[count * 99 / 100] }
}

#[expect(clippy::disallowed_methods, reason = "the time at which a record is made and read, in this process")]
fn now_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64() * 1000.0
}
