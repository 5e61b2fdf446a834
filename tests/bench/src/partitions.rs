//! `sandbar-bench partitions`: one transform with many partitions beside the same with four.
//!
//! Each contender is a host of its own with one transform (pass-through, exactly once) over an input and an output of so
//! many partitions. It prints the time from the deployment until each partition runs, the CPU time per record of a full
//! queue, the peak RSS, and the time until a host that starts again runs all partitions. The librdkafka forwarder does the same
//! work: its ratios say how much of the host's is the clients' and the broker's. Rounds are interleaved.
//!
//! RECORDS (1000000), ROUNDS (3), MANY (300) and FEW (4) are read from the environment; QUICK=1 takes 200,000 records in
//! one round, without the forwarder.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use sandbar_harness::{Api, Host, KafkaCluster, Progress, guests, topics, wait};
use serde_json::json;

use crate::figures::{self, Figures, Window};
use crate::input::{self, Keys};
use crate::run::Job;
use crate::stats::Spread;
use crate::target::{self, Limit};
use crate::{broker, contender, quick, rival, variable};

const TRANSFORM: &str = "bench/partitions";
/// CPU time per record with many partitions, as a multiple of that with few.
const CPU_RATIO_MAX: f64 = 1.5;
/// Records a second with many partitions, as a part of those with few.
const THROUGHPUT_RATIO_MIN: f64 = 0.6;
/// Until all of many partitions run: after a deployment, and after a restart.
const START_S_MAX: f64 = 5.0;
/// With many partitions, each of which has an instance of its own.
const RSS_MIB_MAX: f64 = 400.0;

/// The figures of one contender in one round.
struct Round {
    deployed: Duration,
    restarted: Duration,
    cpu_ns: f64,
    records_per_second: f64,
    rss_mib: f64,
    /// A short run compares with the forwarder elsewhere.
    forwarder: Option<Window>,
}

pub fn run() -> anyhow::Result<()> {
    let records: u64 = variable("RECORDS", if quick() { 200_000 } else { 1_000_000 })?;
    let rounds: usize = variable("ROUNDS", if quick() { 1 } else { 3 })?;
    let many: i32 = variable("MANY", 300)?;
    let few: i32 = variable("FEW", 4)?;
    let kafka = broker::start()?;
    for partitions in [few, many] {
        topics::create(&kafka, &[&input_of(partitions)], partitions);
        input::produce(&kafka, &input_of(partitions), records, Keys::Order);
    }
    println!("{records} orders over {few} and over {many} partitions; {rounds} rounds");
    let mut all = Vec::new();
    for round in 1..=rounds {
        let mut of_round = Vec::new();
        for partitions in [few, many] {
            let figures = measure(&kafka, partitions, records, round)?;
            let Round { deployed, restarted, cpu_ns, records_per_second, rss_mib, forwarder } = &figures;
            println!(
                "round {round}  {partitions:4} partitions: {cpu_ns:.0} ns CPU/record, {records_per_second:.0} records/s, \
                 {rss_mib:.0} MiB; all run {:.2} s after a deployment, {:.2} s after a restart",
                deployed.as_secs_f64(),
                restarted.as_secs_f64()
            );
            if let Some(forwarder) = forwarder {
                println!("round {round}  the forwarder: {forwarder}");
            }
            of_round.push(figures);
        }
        let [few, many] = <[Round; 2]>::try_from(of_round).ok().context("two contenders")?;
        all.push((few, many));
    }
    report(&all, few, many);
    Ok(())
}

fn report(rounds: &[(Round, Round)], few: i32, many: i32) {
    let of_rounds = |figure: &dyn Fn(&(Round, Round)) -> f64| Spread::of(rounds.iter().map(figure)).median;
    let ratio = of_rounds(&|(few, many)| many.cpu_ns / few.cpu_ns);
    target::print(&format!("partitions_{many}_by_{few}_cpu"), ratio, Limit::AtMost(CPU_RATIO_MAX));
    let throughput = of_rounds(&|(few, many)| many.records_per_second / few.records_per_second);
    target::print(&format!("partitions_{many}_by_{few}_throughput"), throughput, Limit::AtLeast(THROUGHPUT_RATIO_MIN));
    report_forwarder(rounds, few, many);
    let deployed = of_rounds(&|(_, many)| many.deployed.as_secs_f64());
    target::print(&format!("partitions_{many}_deployed_s"), deployed, Limit::AtMost(START_S_MAX));
    let restarted = of_rounds(&|(_, many)| many.restarted.as_secs_f64());
    target::print(&format!("partitions_{many}_restarted_s"), restarted, Limit::AtMost(START_S_MAX));
    let rss = of_rounds(&|(_, many)| many.rss_mib);
    target::print(&format!("partitions_{many}_rss_mib"), rss, Limit::AtMost(RSS_MIB_MAX));
}

fn report_forwarder(rounds: &[(Round, Round)], few: i32, many: i32) {
    let both = |(few, many): &(Round, Round)| Some((few.forwarder?, many.forwarder?));
    let Some(forwarders) = rounds.iter().map(both).collect::<Option<Vec<_>>>() else { return };
    println!(
        "the forwarder: {:.2} of the CPU time with {few} partitions, {:.2} of the records/s",
        Spread::of(forwarders.iter().map(|(few, many)| many.cpu_ns / few.cpu_ns)).median,
        Spread::of(forwarders.iter().map(|(few, many)| many.records_per_second / few.records_per_second)).median
    );
    let with_hosts = || rounds.iter().zip(&forwarders);
    println!(
        "with {many} partitions the host takes {:.2} of the forwarder's CPU time, with {few} {:.2}",
        Spread::of(with_hosts().map(|((_, host), (_, forwarder))| host.cpu_ns / forwarder.cpu_ns)).median,
        Spread::of(with_hosts().map(|((host, _), (forwarder, _))| host.cpu_ns / forwarder.cpu_ns)).median
    );
}

fn input_of(partitions: i32) -> String {
    format!("bench.partitions.in-{partitions}")
}

fn measure(kafka: &KafkaCluster, partitions: i32, records: u64, round: usize) -> anyhow::Result<Round> {
    let cluster = format!("bench-partitions-{partitions}-{round}");
    let output = format!("bench.partitions.out-{partitions}-{round}");
    topics::create(kafka, &[&output], partitions);
    let mut host = Host::start(kafka, &cluster);
    let progress = Progress::new(kafka, &format!("sandbar.{cluster}.bench.partitions"), &input_of(partitions));
    let module = host.api().upload(&guests::fixture());
    let spec = json!({
        "module": module, "inputs": [input_of(partitions)], "outputs": {"out": output}, "config": {"mode": "echo"},
        "start": "earliest", "commit_interval": "100ms", "delivery": "exactly-once",
    });
    let started = Instant::now();
    host.api().deploy(TRANSFORM, &spec);
    // A look takes a moment of the host: few are enough for the time that a start takes.
    let deployed = std::thread::scope(|scope| {
        let api = host.api();
        let running = scope.spawn(move || {
            until_all_run(&api, partitions);
            started.elapsed()
        });
        let work = figures::watch(host.pid().context("the host runs")?, &progress, records)?;
        anyhow::Ok((running.join().expect("it only waits"), work))
    });
    let (deployed, work) = deployed?;
    ensure!(host.sigterm_and_wait() == Some(0), "the host did not end well");
    let started = Instant::now();
    host.start_again();
    host.wait_ready();
    until_all_run(&host.api(), partitions);
    let restarted = started.elapsed();
    ensure!(host.sigterm_and_wait() == Some(0), "the host did not end well");
    let Figures { whole: Window { cpu_ns, records_per_second }, rss_mib, .. } = work;
    let forwarder = if quick() { None } else { Some(forward(kafka, partitions, records, round)?) };
    Ok(Round { deployed, restarted, cpu_ns, records_per_second, rss_mib, forwarder })
}

/// Has the forwarder do the same work.
fn forward(kafka: &KafkaCluster, partitions: i32, records: u64, round: usize) -> anyhow::Result<Window> {
    let output = format!("bench.partitions.forward-{partitions}-{round}");
    topics::create(kafka, &[&output], partitions);
    let job = Job { input: &input_of(partitions), output: &output, table: "" };
    let running = contender::start_rival(rival::Work::Forward, kafka, &job)?;
    Ok(running.measure(kafka, &job, records)?.whole)
}

fn until_all_run(api: &Api, partitions: i32) {
    wait::until(&format!("{partitions} partitions run"), wait::PATIENCE, || {
        let status = api.status(TRANSFORM);
        let all = status["hosts"][0]["partitions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let running = all.iter().filter(|partition| partition["state"] == "running").count();
        if running == partitions as usize { Ok(()) } else { Err(format!("{running} of {partitions}")) }
    });
}
