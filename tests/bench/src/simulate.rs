//! `sandbar-bench simulate`: 1,000 transforms (TRANSFORMS) of 12 partitions (PARTITIONS) on 20 hosts (HOSTS), without a
//! broker, in seconds. Each figure is printed as it was before placement, with every transform on every host, and after.
//!
//! The catalog, the placement, the statuses and the page of metrics are the host's own code. Threads and requests are counts
//! over the clients that hosts would open.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use sandbar::catalog::{Deployments, Fold};
use sandbar::cluster::{ClusterStatus, Members};
use sandbar::model::format::{Format, encode};
use sandbar::model::names::TransformId;
use sandbar::model::revision::Deployment;
use sandbar::model::status::{HostStatus, PartitionStatus, Rollout, RolloutState, State, TransformStatus};
use sandbar::model::units::Timestamp;
use sandbar::placement::Placement;
use sandbar::ports::LogRecord;
use sandbar::telemetry::metrics::Metrics;
use serde_json::json;

use crate::target::{self, Limit};
use crate::variable;

/// Threads of a transform on a host: its worker, and those of a consumer and a producer (each a main thread and one for each
/// of 3 brokers, the bootstrap address and the coordinator).
const THREADS: usize = 1 + 2 * (1 + 3 + 2);
/// Records of a host in the status topic, a second.
const BEATS_PER_SECOND: f64 = 1.0 / 3.0;
/// Statuses of a transform on a host whose offsets move, a second; and of one at rest.
const MOVING_PER_SECOND: f64 = 1.0 / 2.0;
const RESTING_PER_SECOND: f64 = 1.0 / 60.0;

struct Simulation {
    hosts: usize,
    partitions: usize,
    deployments: Deployments,
    members: Members,
}

/// The figures of a cluster whose transforms are on these hosts.
struct Figures {
    members: usize,
    members_without_partition: usize,
    most_on_a_host: usize,
    least_on_a_host: usize,
    status_records_at_rest: f64,
    status_bytes_at_rest: f64,
    status_records_moving: f64,
    status_bytes_moving: f64,
}

pub fn run() -> anyhow::Result<()> {
    let transforms: usize = variable("TRANSFORMS", 1000)?;
    let hosts: usize = variable("HOSTS", 20)?;
    let partitions: usize = variable("PARTITIONS", 12)?;
    println!("{transforms} transforms of {partitions} partitions on {hosts} hosts, without a broker");
    let began = Instant::now();
    let deployments = catalog(transforms, partitions)?;
    let members = Members { live: live(hosts), ..Members::default() };
    let simulation = Simulation { hosts, partitions, deployments, members };
    let everywhere: Vec<Vec<String>> = vec![names(hosts); transforms];
    let (placed, took) = simulation.place();
    println!("placement of all transforms: {:.2} ms, by each host once a second", ms(took));
    let before = simulation.figures(&everywhere)?;
    let after = simulation.figures(&placed)?;
    print(&before, &after);
    simulation.churn(&placed);
    simulation.fold(&everywhere, "before")?;
    simulation.fold(&placed, "after")?;
    let (size_before, time_before) = metrics_page(simulation.deployments.keys().take(transforms));
    let (size_after, time_after) = metrics_page(simulation.deployments.keys().take(after.most_on_a_host));
    println!(
        "/metrics of a host: {:.1} MB in {:.0} ms -> {:.2} MB in {:.1} ms",
        size_before as f64 / 1e6,
        ms(time_before),
        size_after as f64 / 1e6,
        ms(time_after)
    );
    println!("simulated in {:.1} s", began.elapsed().as_secs_f64());
    let mean = after.members as f64 / hosts as f64;
    target::print("placement-most-over-mean", after.most_on_a_host as f64 / mean, Limit::AtMost(1.35));
    target::print("placement-least-over-mean", after.least_on_a_host as f64 / mean, Limit::AtLeast(0.65));
    target::print("placement-threads-a-host", (after.most_on_a_host * THREADS) as f64, Limit::AtMost(2000.0));
    Ok(())
}

/// Folds the records of all deployments, and prints the cost of the catalog.
fn catalog(transforms: usize, partitions: usize) -> anyhow::Result<Deployments> {
    let resident = resident_kib()?;
    let mut deployments = Deployments::default();
    let mut bytes = 0;
    for number in 0..transforms {
        let record = deployment(number, partitions);
        bytes += record.value.as_ref().map_or(0, Vec::len);
        deployments.take(&record).map_err(anyhow::Error::msg)?;
    }
    let memory_kib = resident_kib()?.saturating_sub(resident);
    let began = Instant::now();
    let copy = std::hint::black_box(deployments.clone());
    let copied = began.elapsed();
    ensure!(copy.len() == transforms, "a copy is whole");
    println!(
        "catalog: {:.1} MB of records, about {:.1} MB in memory, a copy for each change {:.2} ms",
        bytes as f64 / 1e6,
        memory_kib as f64 / 1e3,
        ms(copied)
    );
    Ok(deployments)
}

fn deployment(number: usize, partitions: usize) -> LogRecord {
    let team = format!("team-{:02}", number % 25);
    let name = format!("transform-{number:04}");
    let module = format!("sha256:{:064x}", number % 300);
    let value = json!({
        "id": {"team": team, "name": name}, "revision": 1, "module": module,
        "spec": {
            "team": team, "name": name, "module": module,
            "inputs": [format!("{team}.events-{number}")], "outputs": {"out": format!("{team}.results-{number}")},
            "config": {"mode": "echo", "fields": ["id", "customer", "total", "currency"]},
            "start": "latest", "commit_interval": "100ms", "workers": 1,
        },
        "desired": "running", "asked": {"restarts": 0, "resumes": 0, "resets": 0}, "changed_at": 1_790_000_000_000_u64,
        "changes": 1, "requests": [], "partitions": partitions, "version": 1,
    });
    record(format!("{team}/{name}"), value.to_string().into_bytes())
}

fn record(key: String, value: Vec<u8>) -> LogRecord {
    LogRecord { offset: 0, timestamp: 0, key: Some(key.into_bytes()), value: Some(value), headers: Vec::new() }
}

fn names(hosts: usize) -> Vec<String> {
    (0..hosts).map(|number| format!("sandbar-{number}")).collect()
}

fn live(hosts: usize) -> Vec<HostStatus> {
    names(hosts).iter().map(|host| HostStatus::new(host, Timestamp(1_790_000_000_000))).collect()
}

impl Simulation {
    /// The hosts of each transform, and the time that this took.
    fn place(&self) -> (Vec<Vec<String>>, Duration) {
        let began = Instant::now();
        let placed = self.place_among(&self.members);
        (placed, began.elapsed())
    }

    fn place_among(&self, members: &Members) -> Vec<Vec<String>> {
        self.deployments.values().map(|deployment| Placement::of(deployment, members).hosts).collect()
    }

    fn figures(&self, placed: &[Vec<String>]) -> anyhow::Result<Figures> {
        let mut on_host: BTreeMap<&str, usize> = BTreeMap::new();
        placed.iter().flatten().for_each(|host| *on_host.entry(host).or_default() += 1);
        let members = placed.iter().map(Vec::len).sum();
        let without = placed.iter().map(|hosts| hosts.len().saturating_sub(self.partitions)).sum();
        let mut status_bytes = 0;
        for (deployment, hosts) in self.deployments.values().zip(placed) {
            status_bytes +=
                self.statuses(deployment, hosts).map(|status| encode(Format::Status, &status).len()).sum::<usize>();
        }
        let beat = encode(Format::Host, &self.members.live[0]).len() as f64;
        let hosts = self.hosts as f64;
        let traffic = |per_second: f64| {
            let records = members as f64 * per_second + hosts * BEATS_PER_SECOND;
            (records, status_bytes as f64 * per_second + hosts * BEATS_PER_SECOND * beat)
        };
        let (status_records_at_rest, status_bytes_at_rest) = traffic(RESTING_PER_SECOND);
        let (status_records_moving, status_bytes_moving) = traffic(MOVING_PER_SECOND);
        Ok(Figures {
            members,
            members_without_partition: without,
            most_on_a_host: on_host.values().copied().max().context("a host")?,
            least_on_a_host: on_host.values().copied().min().context("a host")?,
            status_records_at_rest,
            status_bytes_at_rest,
            status_records_moving,
            status_bytes_moving,
        })
    }

    /// The statuses of a transform on its hosts, which share its partitions.
    fn statuses<'a>(&self, deployment: &Deployment, hosts: &'a [String]) -> impl Iterator<Item = TransformStatus> + use<'a> {
        let topic = deployment.spec.inputs[0].parse().expect("a topic");
        let partition = move |number: usize| PartitionStatus {
            topic: Clone::clone(&topic),
            partition: number as i32,
            committed_offset: Some(1_234_567),
            end_offset: Some(1_234_567),
            lag: Some(0),
            state: State::Running,
            revision: 1,
            revision_since: 1_000_000,
            restoring: None,
            stores: Vec::new(),
            error: None,
        };
        let id = deployment.id.clone();
        let partitions = self.partitions;
        hosts.iter().enumerate().map(move |(own, host)| TransformStatus {
            id: id.clone(),
            state: State::Running,
            revision: 1,
            rollout: Rollout { revision: 1, state: RolloutState::Complete, error: None },
            host: host.clone(),
            error: None,
            partitions: (0..partitions).filter(|number| number % hosts.len() == own).map(&partition).collect(),
            truncated: false,
            omitted: None,
            hosts_wanted: None,
            activity: None,
        })
    }

    /// The members that join and leave when each host in turn goes and comes back: within a minute, and after longer.
    fn churn(&self, placed: &[Vec<String>]) {
        let moves = |keeps_place: bool| {
            let mut joins = 0;
            for gone in 0..self.hosts {
                let mut members = self.members.clone();
                let host = members.live.remove(gone).host;
                if keeps_place {
                    members.away.push(host);
                }
                let without = self.place_among(&members);
                let pairs = placed.iter().zip(&without);
                joins += pairs.map(|(before, now)| now.iter().filter(|host| !before.contains(host)).count()).sum::<usize>();
            }
            joins
        };
        println!(
            "a rolling restart of all hosts: each member leaves and joins once; {} others join for it ({} if each host is away for over a minute)",
            moves(true),
            moves(false)
        );
    }

    /// Folds every status once, with a snapshot for each page of 50, as a host reads them.
    fn fold(&self, placed: &[Vec<String>], when: &str) -> anyhow::Result<()> {
        let records: Vec<LogRecord> = self
            .deployments
            .values()
            .zip(placed)
            .flat_map(|(deployment, hosts)| {
                let of_status = |status: TransformStatus| {
                    record(format!("{}@{}", status.id, status.host), encode(Format::Status, &status))
                };
                self.statuses(deployment, hosts).map(of_status).collect::<Vec<_>>()
            })
            .collect();
        let resident = resident_kib()?;
        let mut fold = ClusterStatus::default();
        records.iter().try_for_each(|record| fold.apply(record)).map_err(anyhow::Error::msg)?;
        fold.loaded();
        let memory_kib = resident_kib()?.saturating_sub(resident);
        let mut snapshot = fold.snapshot();
        let began = Instant::now();
        for page in records.chunks(50) {
            page.iter().try_for_each(|record| fold.apply(record)).map_err(anyhow::Error::msg)?;
            snapshot = fold.snapshot();
        }
        let took = began.elapsed();
        ensure!(snapshot.members(Instant::now()).live.is_empty(), "only statuses were told");
        println!(
            "{when}: {} statuses, about {:.1} MB in memory of each host, {:.1} us to take one",
            records.len(),
            memory_kib as f64 / 1e3,
            took.as_secs_f64() * 1e6 / records.len() as f64
        );
        Ok(())
    }
}

fn print(before: &Figures, after: &Figures) {
    let line = |name: &str, before: f64, after: f64| println!("{name:44} {before:>12.0} -> {after:>10.0}");
    line("members of groups", before.members as f64, after.members as f64);
    let without = |figures: &Figures| figures.members_without_partition as f64;
    line("members without a partition", without(before), without(after));
    line("transforms on the fullest host", before.most_on_a_host as f64, after.most_on_a_host as f64);
    line("transforms on the emptiest host", before.least_on_a_host as f64, after.least_on_a_host as f64);
    let threads = |figures: &Figures| (figures.most_on_a_host * THREADS) as f64;
    line("threads of the fullest host", threads(before), threads(after));
    line("status records/s, all at rest", before.status_records_at_rest, after.status_records_at_rest);
    line("status bytes/s, all at rest", before.status_bytes_at_rest, after.status_bytes_at_rest);
    line("status records/s, all offsets move", before.status_records_moving, after.status_records_moving);
    line("status bytes/s, all offsets move", before.status_bytes_moving, after.status_bytes_moving);
}

/// Renders the page of a host that runs these transforms. Returns its size and the time for it.
fn metrics_page<'a>(transforms: impl Iterator<Item = &'a TransformId>) -> (usize, Duration) {
    let metrics = Metrics::new();
    for id in transforms {
        let own = metrics.transform(id);
        let topic = "orders.in".parse().expect("a topic");
        own.input(&topic).records.inc();
        own.output(&topic).records.inc();
        own.state(State::Running);
        own.guest.memory(65536, 65536);
        for partition in 0..6 {
            own.lag("orders.in", partition, Some(0));
        }
    }
    let began = Instant::now();
    let text = metrics.render();
    (text.len(), began.elapsed())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn resident_kib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}
