//! `sandbar-bench latency`: the time of a record on its way, at a modest load and exactly once at commits of 100 ms.
//!
//! 2,000 orders a second arrive. A reader of committed records takes the time from the creation of each, which is its key,
//! to its arrival. Producer, broker and reader are the same for all contenders, so that their time is in all figures.
//!
//! SECONDS (20) and ROUNDS (3) are read from the environment.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sandbar_harness::{KafkaCluster, LiveReader, Message, Producer, topics, wait};

use crate::contender::Contender;
use crate::run::Job;
use crate::stats::Spread;
use crate::table::{Row, Table};
use crate::target::{self, Limit};
use crate::{PARTITIONS, broker, contenders, input, quick, results, variable};

const RATE: usize = 2_000;
/// A JVM compiles its hot code meanwhile.
const WARM_UP_SECONDS: usize = 10;
const WARM_UP_SECONDS_QUICK: usize = 3;
const CONTENDERS: [&str; 3] = ["forward", "pass-through", "streams-forward"];

#[derive(Debug, Clone, Copy)]
struct Latency {
    p50_ms: f64,
    p99_ms: f64,
}

pub fn run() -> anyhow::Result<()> {
    let seconds: usize = variable("SECONDS", if quick() { 5 } else { 20 })?;
    let rounds: usize = variable("ROUNDS", if quick() { 1 } else { 3 })?;
    let all = contenders::all();
    let all: Vec<&Contender> =
        CONTENDERS.iter().filter_map(|name| all.iter().find(|contender| contender.name == *name)).collect();
    let kafka = broker::start()?;
    let producer = Producer::new(&kafka);
    let mut measured: Vec<Vec<Latency>> = Vec::new();
    for round in 1..=rounds {
        let mut latencies = Vec::new();
        for contender in &all {
            let latency = measure(contender, &kafka, &producer, (round, seconds))?;
            println!("round {round}  {:20} p50 {:>4.0} ms, p99 {:>4.0} ms", contender.name, latency.p50_ms, latency.p99_ms);
            latencies.push(latency);
        }
        measured.push(latencies);
    }
    write(&all, &measured)
}

fn measure(
    contender: &Contender,
    kafka: &KafkaCluster,
    producer: &Producer,
    (round, seconds): (usize, usize),
) -> anyhow::Result<Latency> {
    let input = format!("bench.latency.in.{}.{round}", contender.name);
    let output = format!("bench.latency.out.{}.{round}", contender.name);
    topics::create(kafka, &[&input, &output], PARTITIONS);
    let job = Job { input: &input, output: &output, table: "" };
    let mut reader = LiveReader::at_end(kafka, &output);
    let running = contender.start(kafka, &job)?;
    producer.send(&input, &Message::new(now_ms().to_string(), "first"));
    wait::until("the first record has come", wait::PATIENCE, || {
        if reader.poll(Duration::from_millis(100)).is_empty() { Err("no record has come".into()) } else { Ok(()) }
    });
    offer(producer, &mut reader, &input, if quick() { WARM_UP_SECONDS_QUICK } else { WARM_UP_SECONDS });
    let latency = offer(producer, &mut reader, &input, seconds);
    running.end()?;
    job.delete_topics(kafka)?;
    topics::delete(kafka, &input);
    Ok(latency)
}

/// Offers records for some time, and reads all that become of them.
fn offer(producer: &Producer, reader: &mut LiveReader, input: &str, seconds: usize) -> Latency {
    let count = RATE * seconds;
    let started = Instant::now();
    let mut latencies_ms: Vec<f64> = Vec::with_capacity(count);
    let mut sent = 0;
    while latencies_ms.len() < count {
        while sent < count && started.elapsed().as_secs_f64() * RATE as f64 >= sent as f64 {
            let order = input::one_order(sent as u64);
            producer.send(input, &Message::new(now_ms().to_string(), order));
            sent += 1;
        }
        for record in reader.poll(Duration::from_millis(1)) {
            let created: f64 = record.key_text().parse().expect("the time at which it was sent");
            latencies_ms.push(now_ms() - created);
        }
        assert!(started.elapsed() < 5 * wait::PATIENCE, "{} of {count} records arrived", latencies_ms.len());
    }
    latencies_ms.sort_by(f64::total_cmp);
    Latency { p50_ms: latencies_ms[count / 2], p99_ms: latencies_ms[count * 99 / 100] }
}

fn write(all: &[&Contender], measured: &[Vec<Latency>]) -> anyhow::Result<()> {
    let figure = |index: usize, of: fn(&Latency) -> f64| Spread::of(measured.iter().map(|round| of(&round[index])));
    let rows = all.iter().enumerate().map(|(index, contender)| Row {
        name: contender.title.to_owned(),
        figures: vec![figure(index, |latency| latency.p50_ms), figure(index, |latency| latency.p99_ms)],
    });
    let title = "Latency at 2,000 records/s, exactly once at commits of 100 ms".to_owned();
    let table = Table { title, subject: "contender", columns: vec!["p50, ms", "p99, ms"], rows: rows.collect() };
    results::write("latency", &table, 1)?;
    let ratio = |of: fn(&Latency) -> f64, rival: usize| {
        Spread::of(measured.iter().map(|round| of(&round[1]) / of(&round[rival]))).median
    };
    target::print("latency_p50_by_streams", ratio(|latency| latency.p50_ms, 2), Limit::AtMost(1.0));
    target::print("latency_p99_by_streams", ratio(|latency| latency.p99_ms, 2), Limit::AtMost(1.0));
    target::print("latency_p99_by_forward", ratio(|latency| latency.p99_ms, 0), Limit::AtMost(1.1));
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the time at which a record is made and read, in this process")]
fn now_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64() * 1000.0
}
