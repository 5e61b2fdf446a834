//! `make bench`: the cost of Sandbar beside the least that a client can cost. docs/benchmarks/results.md has figures.
//!
//! One Apache Kafka, one topic of orders, and contenders that each read all of it, write their results, and commit
//! every 100 ms, exactly once. Each is a process of its own; they run one after the other, A B C A B C ..., so that
//! other load on the machine hits all alike. The figures are medians over the rounds, the ratios are medians of the
//! ratios within a round.
//!
//! `swap`, `restart`, `restore`, `victim` and `fair` are described in their files: the pause of a swap under load, 50
//! transforms after a restart, a large store from its changelog, a transform beside the hostile corpus, and beside a greedy
//! team.
//!
//! RECORDS (1000000) and ROUNDS (3) are read from the environment; ONLY=name,name runs some of the contenders, and
//! KAFKA_PROPERTIES (name=value, by commas) overrides a client property of all of them.

mod ballast;
mod contender;
mod fair;
mod figures;
mod input;
mod job;
mod report;
mod restart;
mod restore;
#[expect(unsafe_code, reason = "librdkafka, as a C client would use it")]
mod rival;
mod swap;
mod victim;

use std::str::FromStr;

use anyhow::Context;
use contender::Contender;
use figures::Figures;
use sandbar_harness::{KafkaCluster, topics};

const INPUT: &str = "bench.orders";
const PARTITIONS: i32 = 4;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => compare(),
        ["swap"] => swap::run(),
        ["restart"] => restart::run(),
        ["restore"] => restore::run(),
        ["victim"] => victim::run(),
        ["fair"] => fair::run(),
        [rival::SUBCOMMAND, work, brokers, group, input, output] => rival::run(work.parse()?, brokers, group, input, output),
        _ => anyhow::bail!(
            "swap, restart, restore, victim, fair, or no arguments: RECORDS and ROUNDS are taken from the environment"
        ),
    }
}

fn compare() -> anyhow::Result<()> {
    let records: u64 = variable("RECORDS", 1_000_000)?;
    let rounds: usize = variable("ROUNDS", 3)?;
    let only = std::env::var("ONLY").unwrap_or_default();
    let wanted = |name: &str| only.is_empty() || only.split(',').any(|part| name == part);
    let contenders: Vec<Contender> = contender::all().into_iter().filter(|contender| wanted(contender.name)).collect();
    println!("starting Apache Kafka");
    let kafka = KafkaCluster::start(1);
    topics::create(&kafka, &[INPUT], PARTITIONS);
    let bytes = input::produce(&kafka, INPUT, records);
    println!("{records} orders of {} bytes on average, {PARTITIONS} partitions, lz4; {rounds} rounds", bytes / records);
    let mut measured: Vec<Vec<Figures>> = Vec::new();
    for round in 1..=rounds {
        let mut figures = Vec::new();
        for contender in &contenders {
            let run = contender.run(&kafka, INPUT, records, round).with_context(|| contender.name.to_owned())?;
            println!("round {round}  {:28} {run}", contender.title);
            figures.push(run);
        }
        measured.push(figures);
    }
    report::print(&contenders, &measured);
    Ok(())
}

fn variable<T: FromStr>(name: &str, default: T) -> anyhow::Result<T> {
    match std::env::var(name) {
        Ok(raw) => raw.parse().ok().with_context(|| format!("{name}={raw} is no number")),
        Err(_) => Ok(default),
    }
}
