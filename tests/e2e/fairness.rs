//! Teams that share a host's processors: a greedy one takes neither records nor progress from the others.

use sandbar_harness::{Host, KafkaCluster, Message, Progress, guests, topics, wait};
use serde_json::json;

use crate::job::{Job, numbered, unchanged};

const GREEDY: usize = 8;
/// Records that wait for each greedy transform: more than it gets done.
const QUEUE: usize = 4_000;
/// Of a greedy call: about a third of a second.
const TURNS: u64 = 1_500_000_000;
/// A call for each takes a third of a greedy one, about a tenth of its limit.
const INNOCENT_RECORDS: usize = 18;

/// Seconds of CPU time that a team has had.
fn cpu_seconds(metrics: &str, team: &str) -> f64 {
    let line = format!("sandbar_team_cpu_seconds_total{{team=\"{team}\"}} ");
    metrics.lines().find_map(|found| found.strip_prefix(&line)?.parse().ok()).unwrap_or(0.0)
}

/// A call of a tenth of a second takes a second or more beside 32 threads that never rest. Its limit counts CPU time, and
/// its team has a share of the processors.
#[test]
fn a_busy_neighbour_costs_an_innocent_team_no_record() {
    let cluster = "fairness";
    let host = Host::start(KafkaCluster::shared(), cluster);
    let api = host.api();
    let greedy: Vec<Job> = (0..GREEDY)
        .map(|number| {
            let config = json!({"mode": "spin", "turns": TURNS});
            let job = Job::new(cluster, &format!("greedy-{number}"), 4, guests::fixture(), config);
            let job = job.with(json!({"workers": 4, "limits": {"batch_records": 1}}));
            job.produce(&numbered(QUEUE, 100));
            job
        })
        .collect();
    let mut innocent = Job::new(cluster, "innocent", 1, guests::fixture(), json!({"mode": "spin", "turns": TURNS / 3}))
        .with(json!({"limits": {"batch_records": 1, "batch_time": "1s"}}));
    innocent.transform = "innocent/innocent".into();
    innocent.dead_letters = "innocent.innocent.dead-letter".into();
    innocent.progress = Progress::new(innocent.kafka, &format!("sandbar.{cluster}.innocent.innocent"), &innocent.input);
    greedy.iter().for_each(|job| job.deploy(&api));
    wait::until("the greedy transforms work", wait::PATIENCE, || {
        let total: i64 = greedy.iter().map(|job| job.progress.total()).sum();
        if total > 0 { Ok(()) } else { Err(format!("{total} records")) }
    });
    let messages: Vec<Message> = numbered(INNOCENT_RECORDS, 3);
    innocent.produce(&messages);
    innocent.deploy(&api);
    innocent.wait_through(2 * wait::PATIENCE);
    innocent.assert_output(&unchanged(&messages));
    assert_eq!(topics::read_committed(innocent.kafka, &innocent.dead_letters), [], "no record has failed");
    let metrics = api.get("/metrics").body;
    let shares = ["tests", "innocent"].map(|team| cpu_seconds(&metrics, team));
    assert!(shares.iter().all(|&seconds| seconds > 1.0), "CPU seconds of both teams: {shares:?}");
    // All progress: no greedy transform waits for ever either.
    wait::until("each greedy transform has committed", 2 * wait::PATIENCE, || {
        let totals: Vec<i64> = greedy.iter().map(|job| job.progress.total()).collect();
        if totals.iter().all(|&total| total > 0) { Ok(()) } else { Err(format!("{totals:?}")) }
    });
}
