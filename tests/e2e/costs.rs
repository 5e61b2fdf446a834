//! The cost of each transform in CPU time: an observer outside of the host reads the same from the system.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use sandbar_harness::{Api, Host, KafkaCluster, guests, wait};
use serde_json::json;

use crate::job::{Job, numbered};

const CLUSTER: &str = "costs";
/// The time for which the host is under load.
const LOAD: Duration = Duration::from_secs(6);
/// The part of the process's time by which the rows may be off.
const TOLERANCE: f64 = 0.03;

/// CPU seconds by labels, from one page of metrics.
struct Page {
    /// By transform and revision; `-` stands for the host.
    rows: BTreeMap<(String, String), f64>,
    process: f64,
}

/// CPU seconds of the threads of a host, as the system has them.
#[derive(Debug)]
struct Threads {
    /// Of the worker of a transform.
    workers: BTreeMap<String, f64>,
    /// Of all of librdkafka's threads.
    clients: f64,
    others: f64,
}

fn page(api: &Api) -> Page {
    let text = api.get("/metrics").success().body.clone();
    let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number");
    let label = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("{name}=\"")).expect("the label is there");
        rest.split('"').next().expect("text").to_owned()
    };
    let lines = text.lines().filter(|line| line.starts_with("sandbar_cpu_seconds_total{"));
    let rows = lines.map(|line| ((label(line, "transform"), label(line, "revision")), value(line))).collect();
    let process = text.lines().find(|line| line.starts_with("process_cpu_seconds_total ")).map(value);
    Page { rows, process: process.expect("the process has a row") }
}

impl Page {
    /// All revisions of a transform.
    fn of(&self, transform: &str) -> f64 {
        self.rows.iter().filter(|((name, _), _)| name == transform).map(|(_, seconds)| seconds).sum()
    }

    fn sum(&self) -> f64 {
        self.rows.values().sum()
    }
}

fn threads(host: &Host, transforms: &[&str]) -> Threads {
    let mut threads = Threads { workers: BTreeMap::new(), clients: 0.0, others: 0.0 };
    let tasks = fs::read_dir(format!("/proc/{}/task", host.pid().expect("it runs"))).expect("it lives");
    for task in tasks.flatten() {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let name = read("comm");
        let nanos: f64 = read("schedstat").split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(0.0);
        let seconds = nanos / 1e9;
        if let Some(transform) = transforms.iter().find(|transform| name.trim() == format!("{transform}-0")) {
            *threads.workers.entry((*transform).to_owned()).or_default() += seconds;
        } else if name.starts_with("rdk:") {
            threads.clients += seconds;
        } else {
            threads.others += seconds;
        }
    }
    threads
}

#[test]
fn each_transform_pays_for_its_threads_and_the_host_for_the_rest() {
    let host = Host::start(KafkaCluster::shared(), CLUSTER);
    let api = host.api();
    let names = ["heavy", "light"];
    let job = |name: &str| Job::new(CLUSTER, name, 1, guests::fixture(), json!({"mode": "echo"}));
    let [heavy, light] = names.map(job);
    heavy.deploy(&api);
    light.deploy(&api);
    light.produce(&numbered(10, 5));
    light.wait_through(wait::PATIENCE);
    let began = Instant::now();
    let load = numbered(20_000, 100);
    while began.elapsed() < LOAD {
        heavy.produce(&load);
    }
    heavy.wait_through(wait::PATIENCE);

    let before = threads(&host, &names);
    let shown = page(&api);
    let after = threads(&host, &names);
    let [of_heavy, of_light, of_host] = ["heavy", "light", "-"].map(|name| shown.of(name));
    let off = (shown.sum() - shown.process).abs() / shown.process;
    println!(
        "process {:.3} s: heavy {of_heavy:.3}, light {of_light:.3}, host {of_host:.3}; {:.3} % off",
        shown.process,
        off * 100.0
    );
    println!("threads: {after:?}");
    assert!(off < TOLERANCE, "{} s of {} s", shown.sum(), shown.process);
    for (name, own) in [("heavy", of_heavy), ("light", of_light)] {
        assert!(own >= before.workers[name], "{name} has {own} s, and its worker alone {:?}", before.workers);
        let most = after.workers[name] + after.clients;
        assert!(own <= most, "{name} has {own} s, and its worker with all clients {most}");
    }
    assert!(of_heavy > 5.0 * of_light, "{of_heavy} s and {of_light} s");
    // Nearly all that librdkafka does is for the heavy one: without its clients it would have less.
    let clients_of_heavy = of_heavy - before.workers["heavy"];
    assert!(clients_of_heavy > 0.5 * before.clients, "{clients_of_heavy} s of {} s of all clients", before.clients);
    assert!(of_host + 0.01 >= before.others, "the host has {of_host} s, and threads that are no transform's {before:?}");

    // The next revision has a row of its own, and that of the one before stands still.
    let heavy = heavy.with(json!({"config": {"mode": "fail"}}));
    heavy.deploy(&api);
    let key = |revision: &str| ("heavy".to_owned(), revision.to_owned());
    wait::until("the next revision has a row", wait::PATIENCE, || {
        heavy.produce(&load[..100]);
        if page(&api).rows.contains_key(&key("2")) { Ok(()) } else { Err("it has none".to_owned()) }
    });
    let first = page(&api).rows[&key("1")];
    heavy.produce(&load);
    heavy.wait_through(wait::PATIENCE);
    let later = page(&api);
    assert!((later.rows[&key("1")] - first).abs() < 1e-9 && later.rows[&key("2")] > 0.0, "{:?}", later.rows);
    let off = (later.sum() - later.process).abs() / later.process;
    println!("after the swap {:.3} % off", off * 100.0);
    assert!(off < TOLERANCE, "{} s of {} s", later.sum(), later.process);
}
