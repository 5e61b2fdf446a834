//! Committed offsets that are lost, partitions and topics that are new, records that are gone: nothing is skipped and
//! nothing counts twice, and the other partitions go on.

mod retention;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sandbar_harness::{Api, Host, KafkaCluster, Message, OwnKafka, Producer, Seed, dirs, guests, topics, wait};
use serde_json::{Value, json};

use crate::job::{Job, numbered, unchanged};
use crate::stateful::{Stateful, messages};

fn echo(cluster: &str, name: &str, partitions: i32, start: &str) -> Job {
    Job::new(cluster, name, partitions, guests::fixture(), json!({"mode": "echo"})).with(json!({ "start": start }))
}

fn group(cluster: &str, job: &Job) -> String {
    format!("sandbar.{cluster}.{}", job.transform.replace('/', "."))
}

#[track_caller]
fn post(api: &Api, job: &Job, verb: &str) {
    let path = format!("/v1/teams/{}/{verb}", job.transform.replace('/', "/transforms/"));
    api.send("POST", &path, "application/json", b"{}").success();
}

#[track_caller]
fn set(api: &Api, job: &Job, offsets: &[(i32, i64)]) {
    let target = |(partition, offset): &(i32, i64)| json!({"topic": job.input, "partition": partition, "offset": offset});
    let body = json!({"offsets": offsets.iter().map(target).collect::<Vec<_>>()}).to_string();
    let path = format!("/v1/teams/{}/offsets", job.transform.replace('/', "/transforms/"));
    api.send("PATCH", &path, "application/json", body.as_bytes()).success();
}

/// The answer of `GET .../offsets` for each partition.
#[track_caller]
fn shown(api: &Api, job: &Job) -> Vec<Value> {
    let path = format!("/v1/teams/{}/offsets", job.transform.replace('/', "/transforms/"));
    api.get(&path).success().json()["offsets"].as_array().expect("a list").clone()
}

/// The state, the lag and the error's code of each partition that a host has.
fn partitions(status: &Value) -> BTreeMap<i64, (String, Option<u64>, Option<String>)> {
    let hosts = status["hosts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let all = hosts.iter().flat_map(|host| host["partitions"].as_array().map(Vec::as_slice).unwrap_or_default());
    let of_one = |own: &Value| {
        let code = own["error"]["code"].as_str().map(str::to_owned);
        let state = own["state"].as_str().expect("a state").to_owned();
        (own["partition"].as_i64().expect("a number"), (state, own["lag"].as_u64(), code))
    };
    all.map(of_one).collect()
}

/// Waits until each partition runs, or stands still with the code that is named for it. Returns the status.
#[track_caller]
fn wait_for(api: &Api, job: &Job, expected: &[(i64, Option<&str>)]) -> Value {
    wait::until(&format!("{} has {expected:?}", job.transform), wait::PATIENCE, || {
        let status = api.status(&job.transform);
        let found = partitions(&status);
        let is_so = |(partition, code): &(i64, Option<&str>)| {
            let of_one = found.get(partition);
            of_one.is_some_and(|(state, _, found)| {
                found.as_deref() == *code && state == if code.is_some() { "failed" } else { "running" }
            })
        };
        if found.len() == expected.len() && expected.iter().all(is_so) { Ok(status) } else { Err(status.to_string()) }
    })
}

/// Deploys, and waits until every partition has begun.
#[track_caller]
fn begin(api: &Api, job: &Job, count: i64) {
    job.deploy(api);
    wait_for(api, job, &(0..count).map(|partition| (partition, None)).collect::<Vec<_>>());
}

fn to_partition(partition: i32, values: std::ops::Range<usize>) -> Vec<Message> {
    values.map(|i| Message::new(format!("key-{partition}"), format!("value-{i}")).to_partition(partition)).collect()
}

#[track_caller]
fn wait_outputs(job: &Job, expected: &[Message]) {
    wait::until_complete(&format!("{} has put out {} records", job.transform, expected.len()), wait::PATIENCE, || {
        let count = job.outputs().len();
        if count >= expected.len() { Ok(()) } else { Err(format!("{count}")) }
    });
    job.assert_output(&unchanged(expected));
}

/// The partition stands still whatever `start` says, and goes on where somebody says.
#[test]
fn a_forgotten_offset_is_not_new() {
    let kafka = KafkaCluster::shared();
    let cluster = "forgotten";
    let host = Host::start(kafka, cluster);
    let api = host.api();
    let [latest, earliest] = ["latest", "earliest"].map(|start| echo(cluster, start, 2, start));
    let jobs = [latest, earliest.with(json!({"delivery": "at-least-once"}))];
    let stateful = Stateful::new("forgotten-state", 2, json!({"mode": "fold"}), json!({}));
    let state_host = Host::start(kafka, "forgotten-state");
    jobs.iter().for_each(|job| begin(&api, job, 2));
    begin(&state_host.api(), &stateful.job, 2);
    let values = numbered(200, 20);
    let mut seed = Seed::new("a_forgotten_offset_is_not_new");
    let sums = messages(&mut seed, 400, 20);
    for job in &jobs {
        job.produce(&values[..100]);
        job.wait_through(wait::PATIENCE);
        post(&api, job, "pause");
        job.produce(&values[100..]);
    }
    stateful.job.produce(&sums[..200]);
    stateful.job.wait_through(wait::PATIENCE);
    post(&state_host.api(), &stateful.job, "pause");
    stateful.job.produce(&sums[200..]);

    let both = [(0, Some("E224")), (1, Some("E224"))];
    let all = [(&api, cluster, &jobs[0]), (&api, cluster, &jobs[1]), (&state_host.api(), "forgotten-state", &stateful.job)];
    for (number, (api, cluster, job)) in all.into_iter().enumerate() {
        let before = job.progress.committed().into_iter().map(|at| at.expect("committed")).collect::<Vec<_>>();
        topics::forget_group(kafka, &group(cluster, job));
        let outputs = job.outputs().len();
        // All of them, or only one of two.
        if number == 1 {
            topics::commit(kafka, &group(cluster, job), &job.input, 0, before[0]);
        }
        post(api, job, "resume");
        let expected = if number == 1 { [(0, None), (1, Some("E224"))] } else { both };
        let status = wait_for(api, job, &expected).to_string();
        assert!(status.contains(&format!("sandbar offsets set {}", job.transform)), "{status}");
        let forgotten: Vec<bool> = shown(api, job).iter().map(|at| at["forgotten"] == true).collect();
        assert_eq!(forgotten, [number != 1, true]);
        if number == 1 {
            // The other one goes on.
            let end = topics::ends(kafka, &job.input)[0];
            wait::until("partition 0 goes on", wait::PATIENCE, || match job.progress.committed()[0] {
                Some(next) if next == end => Ok(()),
                other => Err(format!("{other:?} of {end}")),
            });
        }
        if number != 1 {
            assert_eq!(job.outputs().len(), outputs, "{}: something was processed", job.transform);
        }
        post(api, job, "pause");
        let places: Vec<(i32, i64)> = (0..).zip(before).filter(|(partition, _)| number != 1 || *partition == 1).collect();
        set(api, job, &places);
        post(api, job, "resume");
        job.wait_through(wait::PATIENCE);
    }
    jobs.iter().for_each(|job| job.assert_output(&unchanged(&values)));
    stateful.assert_exact();
}

/// With `start: latest` and two hosts: found at once while they run, and after a pause and after a stop.
#[test]
fn new_partitions_begin_at_their_first_records() {
    let kafka = KafkaCluster::shared();
    let cluster = "grown";
    let mut host = Host::start(kafka, cluster);
    let mut other = Host::start(kafka, cluster);
    let job = echo(cluster, "echo", 1, "latest");
    let skipped = to_partition(0, 0..5);
    job.produce(&skipped);
    begin(&host.api(), &job, 1);
    let mut expected = to_partition(0, 5..10);
    job.produce(&expected);
    wait_outputs(&job, &expected);

    let started = Instant::now();
    topics::raise_partitions(kafka, &job.input, 3);
    let more = [to_partition(1, 0..3), to_partition(2, 0..3)].concat();
    job.produce(&more);
    expected.extend(more);
    wait_outputs(&job, &expected);
    println!("records of new partitions were processed after {:?}", started.elapsed());
    // librdkafka asks by itself every 30 s.
    assert!(started.elapsed() < Duration::from_secs(20), "it took {:?}", started.elapsed());

    post(&host.api(), &job, "pause");
    topics::raise_partitions(kafka, &job.input, 4);
    let more = to_partition(3, 0..3);
    job.produce(&more);
    expected.extend(more);
    post(&host.api(), &job, "resume");
    wait_outputs(&job, &expected);

    for host in [&mut host, &mut other] {
        assert_eq!(host.sigterm_and_wait(), Some(0));
    }
    topics::raise_partitions(kafka, &job.input, 5);
    let more = to_partition(4, 0..3);
    job.produce(&more);
    expected.extend(more);
    for host in [&mut host, &mut other] {
        host.start_again();
    }
    host.wait_ready();
    other.wait_ready();
    wait_outputs(&job, &expected);

    // Forgotten by request, it is new again.
    post(&host.api(), &job, "pause");
    host.api().delete("/v1/teams/tests/transforms/echo/offsets").success();
    post(&host.api(), &job, "resume");
    wait_for(&host.api(), &job, &[0, 1, 2, 3, 4].map(|partition| (partition, None)));
    let more = to_partition(2, 10..12);
    job.produce(&more);
    expected.extend(more);
    wait_outputs(&job, &expected);
}

/// Its offsets are of another topic, whether Kafka has them still or not.
#[test]
fn a_recreated_topic_begins_at_its_first_records() {
    let kafka = KafkaCluster::shared();
    let cluster = "recreated";
    let host = Host::start(kafka, cluster);
    let api = host.api();
    let jobs = ["paused", "running"].map(|name| echo(cluster, name, 2, "latest"));
    let mut expected = [to_partition(0, 0..20), to_partition(1, 0..5)].concat();
    for job in &jobs {
        begin(&api, job, 2);
        job.produce(&expected);
        wait_outputs(job, &expected);
    }
    post(&api, &jobs[0], "pause");
    for job in &jobs {
        topics::delete(kafka, &job.input);
        topics::create(kafka, &[&job.input], 2);
    }
    // The offset looks like one that Kafka has not deleted yet.
    wait::until("the group is empty", wait::PATIENCE, || {
        let status = api.status(&jobs[0].transform);
        if partitions(&status).is_empty() { Ok(()) } else { Err(status.to_string()) }
    });
    topics::commit(kafka, &group(cluster, &jobs[0]), &jobs[0].input, 0, 20);
    let more = [to_partition(0, 100..103), to_partition(1, 100..130)].concat();
    jobs.iter().for_each(|job| job.produce(&more));
    expected.extend(more);
    post(&api, &jobs[0], "resume");
    jobs.iter().for_each(|job| wait_outputs(job, &expected));
}

/// One host begins the new topic. The other one, which may see its record before the topic, must not commit positions of the
/// old topic over the first offsets. The new topic has those offsets again, so nothing is out of range.
#[test]
fn a_topic_is_recreated_under_two_hosts() {
    const PARTITIONS: i32 = 4;
    let kafka = KafkaCluster::shared();
    let cluster = "anew-for-two";
    let hosts = [(); 2].map(|()| Host::start(kafka, cluster));
    let api = hosts[0].api();
    let job = echo(cluster, "echo", PARTITIONS, "earliest").with(json!({"workers": 1}));
    let to_all = |values: std::ops::Range<usize>| -> Vec<Message> {
        (0..PARTITIONS).flat_map(|partition| to_partition(partition, values.clone())).collect()
    };
    job.deploy(&api);
    job.wait_for_hosts(&api, 2);
    job.produce(&to_all(0..100));
    job.wait_through(wait::PATIENCE);
    for round in 1..=3 {
        topics::delete(kafka, &job.input);
        topics::create(kafka, &[&job.input], PARTITIONS);
        let first = 1000 * round;
        let new = to_all(first..first + 120);
        job.produce(&new);
        wait::until(&format!("all of topic {round} is put out"), wait::PATIENCE, || {
            let found: BTreeSet<_> = job.outputs().into_iter().map(|record| (record.key, record.value)).collect();
            let is_missing = |message: &&Message| !found.contains(&(message.key.clone(), message.value.clone()));
            match new.iter().filter(is_missing).count() {
                0 => Ok(()),
                missing => Err(format!("{missing} are missing; {}", api.status(&job.transform))),
            }
        });
        let all: Vec<_> = (0..i64::from(PARTITIONS)).map(|partition| (partition, None)).collect();
        wait_for(&api, &job, &all);
        // Where it was read at the old offsets before it was known to be new, the records behind them came twice.
        job.wait_for_hosts(&api, 2);
    }
}

/// The memory and the first offsets are there together, or neither is.
#[test]
fn a_host_is_killed_while_it_begins() {
    kill_while_it_begins("begun", &[], true);
}

/// Where teams have rights of their own, the offsets come before the start record, and never the other way round.
#[test]
fn a_host_with_rights_of_teams_is_killed_while_it_begins() {
    let folder = dirs::fresh("rights-of-teams");
    kill_while_it_begins("begun-teams", &["--kafka-teams-dir", folder.to_str().expect("UTF-8")], false);
}

fn kill_while_it_begins(cluster: &str, options: &[&str], in_one_transaction: bool) {
    const JOBS: usize = 3;
    let kafka = KafkaCluster::shared();
    let mut seed = Seed::new("a_host_is_killed_while_it_begins");
    let mut host = Host::start_with(kafka, cluster, options);
    for round in 0..2 {
        let jobs: Vec<Job> = (0..JOBS).map(|i| echo(cluster, &format!("echo-{round}-{i}"), 2, "latest")).collect();
        jobs.iter().for_each(|job| job.deploy(&host.api()));
        std::thread::sleep(seed.duration(Duration::from_millis(700)));
        host.kill9();
        let remembered: Vec<String> =
            topics::read_committed(kafka, &format!("_sandbar.{cluster}.positions")).iter().map(|at| at.key_text()).collect();
        let begun: Vec<bool> = jobs
            .iter()
            .map(|job| {
                let committed = job.progress.stable(kafka);
                let all = committed.iter().filter(|at| at.is_some()).count();
                assert!(all == 0 || all == committed.len(), "{committed:?}");
                let is_remembered = remembered.contains(&job.transform);
                let fits = if in_one_transaction { is_remembered == (all > 0) } else { !is_remembered || all > 0 };
                assert!(fits, "{}: {committed:?}, remembered: {is_remembered}", job.transform);
                all > 0
            })
            .collect();
        println!("round {round}: begun {begun:?}");
        let records = [to_partition(0, 0..5), to_partition(1, 0..5)].concat();
        jobs.iter().for_each(|job| job.produce(&records));
        host.start_again();
        host.wait_ready();
        for (job, begun) in jobs.iter().zip(begun) {
            wait_for(&host.api(), job, &[(0, None), (1, None)]);
            // A transform that had not begun begins now, at `latest`.
            let more = to_partition(0, 5..7);
            job.produce(&more);
            let expected = if begun { [records.clone(), more].concat() } else { more };
            wait_outputs(job, &expected);
        }
    }
}

/// Version 0.1 remembered nothing outside of groups; and a later version may remember more than this one understands.
#[test]
fn memories_of_other_versions() {
    let kafka = KafkaCluster::shared();
    let cluster = "versions";
    let mut host = Host::start(kafka, cluster);
    let job = echo(cluster, "echo", 3, "latest");
    let records = [to_partition(0, 0..5), to_partition(1, 0..5), to_partition(2, 0..5)].concat();
    job.produce(&records);
    topics::commit(kafka, &group(cluster, &job), &job.input, 0, 3);
    topics::commit(kafka, &group(cluster, &job), &job.input, 1, 4);
    begin(&host.api(), &job, 3);
    let mut expected = [to_partition(0, 3..5), to_partition(1, 4..5), to_partition(2, 0..5)].concat();
    wait_outputs(&job, &expected);
    let memory = format!("_sandbar.{cluster}.positions");
    let last = || topics::read_committed(kafka, &memory).last().map(|record| record.value_text());
    assert!(last().is_some_and(|value| value.contains("\"partitions\":3")), "{:?}", last());

    post(&host.api(), &job, "pause");
    job.produce(&to_partition(0, 5..8));
    let newer = r#"{"version":2,"of":"a later time"}"#;
    Producer::new(kafka).send_all(&memory, &[Message::new(job.transform.clone(), newer)]);
    post(&host.api(), &job, "resume");
    wait::until("it does not begin", wait::PATIENCE, || {
        let status = host.api().status(&job.transform).to_string();
        if status.contains("\"E210\"") && status.contains("version 2") { Ok(()) } else { Err(status) }
    });
    post(&host.api(), &job, "pause");
    let refused = host.api().delete("/v1/teams/tests/transforms/echo/offsets");
    assert_eq!((refused.status, &refused.json()["code"]), (502, &json!("E210")), "{refused:?}");
    assert_eq!(last().as_deref(), Some(newer), "written over");
    assert_eq!(job.progress.committed().len(), 3);

    // A person who knows better removes it: then the offsets that are there count.
    let gone = Message { value: None, ..Message::new(job.transform.clone(), "") };
    Producer::new(kafka).send_all(&memory, &[gone]);
    post(&host.api(), &job, "resume");
    expected.extend(to_partition(0, 5..8));
    wait_outputs(&job, &expected);
    assert_eq!(host.sigterm_and_wait(), Some(0));
}

/// Days of a pause, in a minute, on a Kafka that forgets groups after one: one transform is kept alive, the other one's host
/// does not see to it.
#[test]
fn a_long_pause() {
    let own = OwnKafka::start_with("offsets.retention.minutes=1\noffsets.retention.check.interval.ms=1000\n");
    let kafka = own.cluster();
    let kept = Host::start_with(kafka, "kept", &["--group-keep-alive-interval", "15s"]);
    let lost = Host::start(kafka, "lost");
    let hosts = [("kept", kept), ("lost", lost)];
    let jobs = ["kept", "lost"].map(|cluster| {
        let echo = json!({"mode": "echo"});
        Job::on(kafka, (cluster, "echo"), 2, guests::fixture(), echo).with(json!({"start": "latest"}))
    });
    let values = numbered(100, 10);
    for ((_, host), job) in hosts.iter().zip(&jobs) {
        begin(&host.api(), job, 2);
        job.produce(&values[..50]);
        job.wait_through(wait::PATIENCE);
        post(&host.api(), job, "pause");
        job.produce(&values[50..]);
    }
    let before = jobs[0].progress.committed();
    wait::until("Kafka forgets a group", 2 * wait::PATIENCE, || {
        let committed = jobs[1].progress.committed();
        if committed == [None, None] { Ok(()) } else { Err(format!("{committed:?}")) }
    });
    assert_eq!(jobs[0].progress.committed(), before, "it is kept alive as it was");
    for ((_, host), job) in hosts.iter().zip(&jobs) {
        post(&host.api(), job, "resume");
    }
    wait_for(&hosts[1].1.api(), &jobs[1], &[(0, Some("E224")), (1, Some("E224"))]);
    wait_outputs(&jobs[0], &values);
    assert_eq!(jobs[1].outputs().len(), 50);
}
