//! Many writers of one transform through several hosts, which are killed and frozen in mid-write: each accepted request
//! is a revision, exactly once, each refused one none, and the revisions have no gap.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sandbar_harness::{Api, Host, KafkaCluster, Seed, guests, topics, wait};
use serde_json::{Value, json};

use crate::job::Job;

const HOSTS: usize = 3;
const WRITERS: usize = 8;
/// With the first deployment fewer than the revisions that are kept, so that all can be compared.
const REQUESTS: usize = 6;
const FAULTS_LEAST: usize = 3;
/// A frozen host does not answer: the request is repeated elsewhere.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);
const PATH: &str = "/v1/teams/tests/transforms/contended";

/// The end of a request, as its writer knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The change is this revision.
    Accepted(u64),
    Refused,
    /// Told that nobody knows (E211).
    Unknown,
}

/// One request under its key, through one host after the other until one answers.
fn request(apis: &[Api], first: usize, key: &str, spec: &Value, if_match: Option<u64>) -> End {
    let tag = if_match.map(|revision| format!("\"{revision}\""));
    let mut headers = vec![("idempotency-key", key)];
    headers.extend(tag.as_deref().map(|tag| ("if-match", tag)));
    let mut end = None;
    let attempt = AtomicUsize::new(first);
    wait::until(&format!("an answer to {key}"), 2 * wait::PATIENCE, || {
        let api = &apis[attempt.fetch_add(1, Ordering::Relaxed) % apis.len()];
        let answer = api.try_send("PUT", PATH, &headers, spec)?;
        let body = answer.json();
        end = Some(match (answer.status, body["code"].as_str()) {
            (200 | 202, _) => End::Accepted(body["revision"].as_u64().expect("a revision")),
            (409, Some("E008")) => End::Refused,
            (503, Some("E211")) => End::Unknown,
            // Kafka or the other hosts are in the way: the same request again.
            (503, _) => return Err(answer.body),
            _ => panic!("{key}: {answer:?}"),
        });
        Ok(())
    });
    end.expect("answered")
}

/// Half of its requests say which revision they are for. A fast writer waits for the faults, so that there are requests
/// before, amid and after each of the first `FAULTS_LEAST`.
fn write(apis: &[Api], writer: usize, spec: &Value, faults: &AtomicUsize) -> Vec<(String, End)> {
    let mut all = Vec::new();
    for number in 0..REQUESTS {
        let due = (number + FAULTS_LEAST + 1).saturating_sub(REQUESTS);
        wait::until("the next fault", wait::PATIENCE, || {
            let begun = faults.load(Ordering::Relaxed);
            if begun >= due { Ok(()) } else { Err(format!("{begun} of {due}")) }
        });
        let key = format!("writer-{writer}-{number}");
        let mut spec = spec.clone();
        spec["config"]["tag"] = key.as_str().into();
        let seen = apis.iter().find_map(|api| api.try_get(PATH).ok()).map(|answer| answer.json()["revision"].as_u64());
        let if_match = if number % 2 == 0 { seen.flatten() } else { None };
        all.push((key.clone(), request(apis, writer + number, &key, &spec, if_match)));
    }
    all
}

/// Kills or freezes one host after the other for as long as writers write, and counts these faults as they begin.
fn disturb(hosts: &mut [Host], seed: &mut Seed, writing: &AtomicUsize, faults: &AtomicUsize) {
    while writing.load(Ordering::Relaxed) > 0 {
        let host = &mut hosts[seed.within(0..HOSTS as u64) as usize];
        std::thread::sleep(seed.duration(Duration::from_millis(700)));
        faults.fetch_add(1, Ordering::Relaxed);
        if seed.within(0..2) == 0 {
            host.kill9();
            host.start_again();
            host.wait_ready();
        } else {
            host.sigstop();
            std::thread::sleep(Duration::from_millis(500) + seed.duration(Duration::from_secs(3)));
            host.sigcont();
        }
    }
}

/// Revision by revision, the tag of its content, as a host tells it.
fn history(api: &Api) -> BTreeMap<u64, String> {
    let list = api.get(&format!("{PATH}/revisions")).success().json();
    let revisions = list["revisions"].as_array().expect("a list").iter();
    let content = revisions.map(|revision| {
        let number = revision["revision"].as_u64().expect("a number");
        let content = api.get(&format!("{PATH}/revisions/{number}")).success().json();
        (number, content["spec"]["config"]["tag"].as_str().expect("a tag").to_owned())
    });
    content.collect()
}

#[test]
fn writers_through_hosts_that_die() {
    let mut seed = Seed::new("writers_through_hosts_that_die");
    let kafka = KafkaCluster::shared();
    let mut hosts: Vec<Host> = (0..HOSTS).map(|_| Host::start(kafka, "writers")).collect();
    let job = Job::new("writers", "contended", 1, guests::fixture(), json!({"mode": "echo", "tag": "first"}));
    job.deploy(&hosts[0].api());
    // This test is about the writes: nothing has to run.
    assert_eq!(hosts[0].api().send("POST", &format!("{PATH}/pause"), "application/json", b"").status, 202);
    let mut spec = job.spec.clone();
    spec["module"] = hosts[0].api().get(PATH).json()["module"].clone();

    let apis: Vec<Api> = hosts.iter().map(|host| Api::waiting(host.address(), ANSWER_WITHIN)).collect();
    let writing = AtomicUsize::new(WRITERS);
    let faults = AtomicUsize::new(0);
    let ends: Vec<(String, End)> = std::thread::scope(|scope| {
        let apis = &apis;
        let spec = &spec;
        let writing = &writing;
        let faults = &faults;
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    let _ended = EndGuard(writing);
                    write(apis, writer, spec, faults)
                })
            })
            .collect();
        disturb(&mut hosts, &mut seed, writing, faults);
        writers.into_iter().flat_map(|writer| writer.join().expect("the writer ends")).collect()
    });
    let faults = faults.into_inner();
    hosts.iter_mut().for_each(Host::wait_ready);

    let apis: Vec<Api> = hosts.iter().map(Host::api).collect();
    let mut revisions = BTreeMap::new();
    wait::until("all hosts tell the same history", wait::PATIENCE, || {
        revisions = history(&apis[0]);
        if apis.iter().all(|api| history(api) == revisions) { Ok(()) } else { Err(format!("{revisions:?}")) }
    });
    let last = revisions.len() as u64;
    assert!(revisions.keys().copied().eq(1..=last), "a gap: {revisions:?}");
    let count = |wanted: fn(&End) -> bool| ends.iter().filter(|(_, end)| wanted(end)).count();
    let accepted = count(|end| matches!(end, End::Accepted(_)));
    println!(
        "{accepted} accepted, {} refused, {} unknown of {}; {faults} faults",
        count(|end| *end == End::Refused),
        count(|end| *end == End::Unknown),
        ends.len()
    );
    for (key, end) in &ends {
        let of_key: Vec<u64> = revisions.iter().filter(|(_, tag)| *tag == key).map(|(number, _)| *number).collect();
        match end {
            End::Accepted(revision) => assert_eq!(of_key, [*revision], "{key}"),
            End::Refused => assert_eq!(of_key, [0u64; 0], "{key} was refused"),
            End::Unknown => assert!(of_key.len() <= 1, "{key}: {of_key:?}"),
        }
    }
    assert!(faults >= FAULTS_LEAST && accepted > WRITERS, "too little happened to prove anything");

    // The topic itself: each change is one record, and none is missing.
    let records = topics::read_committed(kafka, "_sandbar.writers.deployments");
    let current = records.iter().filter(|record| record.key.as_deref() == Some(b"tests/contended"));
    let changes: Vec<u64> = current
        .map(|record| {
            let value: Value = serde_json::from_slice(record.value.as_deref().expect("no tombstone")).expect("JSON");
            value["changes"].as_u64().expect("a count")
        })
        .collect();
    assert!(changes.iter().copied().eq(1..=changes.len() as u64), "{changes:?}");
}

/// Counts a writer off, also one that panics.
struct EndGuard<'a>(&'a AtomicUsize);

impl Drop for EndGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
