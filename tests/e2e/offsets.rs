//! The start of a transform, moves of its offsets, and trials, on real Kafka.

use sandbar_harness::{Api, Host, KafkaCluster, Message, Response, guests, topics, wait};
use serde_json::{Value, json};

use crate::job::{Job, numbered, unchanged};

/// The calls for one transform.
struct Control<'a> {
    api: &'a Api,
    route: String,
}

impl<'a> Control<'a> {
    fn new(api: &'a Api, job: &Job) -> Self {
        let (team, name) = job.transform.split_once('/').expect("team/name");
        Control { api, route: format!("/v1/teams/{team}/transforms/{name}") }
    }

    #[track_caller]
    fn post(&self, verb: &str, body: &Value) -> Value {
        let path = format!("{}/{verb}", self.route);
        self.api.send("POST", &path, "application/json", body.to_string().as_bytes()).success().json()
    }

    fn patch(&self, query: &str, body: &Value) -> Response {
        self.api.send("PATCH", &format!("{}/offsets{query}", self.route), "application/json", body.to_string().as_bytes())
    }

    fn delete(&self, query: &str) -> Response {
        self.api.delete(&format!("{}/offsets{query}", self.route))
    }

    /// Offset and metadata of each partition.
    #[track_caller]
    fn offsets(&self) -> Vec<(Option<i64>, String)> {
        let shown = self.api.get(&format!("{}/offsets", self.route)).success().json();
        let all = shown["offsets"].as_array().expect("a list").iter();
        all.map(|at| (at["offset"].as_i64(), at["metadata"].as_str().expect("text").to_owned())).collect()
    }

    /// A dry run says it and changes nothing; then it is done.
    #[track_caller]
    fn moves(&self, body: &Value, records: i64) {
        let before = self.offsets();
        let plan = self.patch("?dry_run=true", body).success().json();
        assert_eq!((&plan["dry_run"], &plan["records"]), (&json!(true), &json!(records)), "{body}: {plan}");
        assert_eq!(self.offsets(), before, "{body}: a dry run changed something");
        let done = self.patch("", body).success().json();
        assert_eq!((&done["dry_run"], &done["offsets"]), (&json!(false), &plan["offsets"]), "{body}");
        let now: Vec<_> = self.offsets().into_iter().map(|(offset, _)| json!(offset)).collect();
        let said: Vec<_> = done["offsets"].as_array().expect("a list").iter().map(|step| step["to"].clone()).collect();
        assert_eq!(now, said, "{body}");
    }
}

/// Produces in two parts. Returns the time of the oldest record of the second part, which is after all of the first.
fn produce_parts(job: &Job, first: &[Message], second: &[Message]) -> i64 {
    job.produce(first);
    let newest = |from: usize| {
        let records = topics::read_committed(job.kafka, &job.input);
        assert!(records.len() > from);
        records.into_iter().filter_map(|record| record.timestamp)
    };
    let boundary = newest(0).max().expect("a time") + 1;
    wait::until("the clock goes on", wait::PATIENCE, || {
        let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_millis() as i64;
        if now >= boundary { Ok(()) } else { Err(format!("{now}")) }
    });
    job.produce(second);
    let after = newest(first.len()).filter(|at| *at >= boundary).count();
    assert_eq!(after, second.len(), "the clock goes back");
    boundary
}

fn rfc3339(millis: i64) -> String {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_millis(millis as u64);
    humantime::format_rfc3339_millis(at).to_string()
}

fn target(job: &Job, partition: usize, offset: i64) -> Value {
    json!({"topic": job.input, "partition": partition, "offset": offset})
}

/// Refused are offsets beyond the end, partitions that do not exist, and topics that are no input.
#[track_caller]
fn assert_wrong_targets_are_refused(control: &Control<'_>, job: &Job, end: i64) {
    for (targets, named) in [
        (json!([target(job, 0, end + 1)]), format!("has 0 to {end}")),
        (json!([target(job, 0, 0), target(job, 2, 0)]), "offsets[1].partition".to_owned()),
        (json!([{"topic": job.output, "partition": 0, "offset": 0}]), "is not an input".to_owned()),
    ] {
        let refused = control.patch("", &json!({"offsets": targets}));
        assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("E041")), "{refused:?}");
        assert!(refused.body.contains(&named), "{named}: {refused:?}");
    }
}

#[test]
fn what_is_said_to_be_processed_again_is() {
    let host = Host::start(KafkaCluster::shared(), "offsets");
    let api = host.api();
    let job = Job::new("offsets", "echo", 2, guests::fixture(), json!({"mode": "echo"}));
    let control = Control::new(&api, &job);
    let messages = numbered(1_200, 50);
    let first = &messages[..600];
    let second = &messages[600..1_000];
    let boundary = produce_parts(&job, first, second);
    job.deploy(&api);
    job.wait_through(wait::PATIENCE);
    let mut expected: Vec<&Message> = messages[..1_000].iter().collect();
    job.assert_output(&unchanged(expected.clone()));

    let running = control.patch("?dry_run=true", &json!({"to": "earliest"}));
    assert_eq!(running.status, 409, "{running:?}");
    assert_eq!(running.json()["hint"], "pause it first: sandbar pause tests/echo");
    assert_eq!(control.delete("").json()["code"], "E040");

    // At once after the pause: the hosts are waited for.
    control.post("pause", &json!({}));
    control.moves(&json!({"to": {"timestamp": rfc3339(boundary)}}), second.len() as i64);
    assert!(
        control.offsets().iter().all(|(_, metadata)| metadata.starts_with("{\"revision\":1,")),
        "{:?}",
        control.offsets()
    );
    control.post("resume", &json!({}));
    job.wait_through(wait::PATIENCE);
    expected.extend(second);
    job.assert_output(&unchanged(expected.clone()));

    // Everything of the last hour again.
    control.post("pause", &json!({}));
    control.moves(&json!({"to": {"ago": "1h"}}), 1_000);
    control.post("resume", &json!({}));
    job.wait_through(wait::PATIENCE);
    expected.extend(&messages[..1_000]);
    job.assert_output(&unchanged(expected.clone()));

    // Records that come during a pause are skipped.
    control.post("pause", &json!({}));
    job.produce(&messages[1_000..1_100]);
    control.moves(&json!({"to": "latest"}), -100);
    control.post("resume", &json!({}));
    job.produce(&messages[1_100..]);
    job.wait_through(wait::PATIENCE);
    expected.extend(&messages[1_100..]);
    job.assert_output(&unchanged(expected.clone()));

    // One partition is set by offset; then partitions that do not exist.
    control.post("pause", &json!({}));
    let ends = topics::ends(job.kafka, &job.input);
    assert_wrong_targets_are_refused(&control, &job, ends[0]);
    let moved = control.patch("", &json!({"offsets": [target(&job, 1, ends[1] - 5)]})).success().json();
    assert_eq!(moved["records"], 5, "{moved}");
    control.post("resume", &json!({}));
    job.wait_through(wait::PATIENCE);
    let input = topics::read_committed(job.kafka, &job.input);
    let again: Vec<Message> = input
        .iter()
        .filter(|record| record.partition == 1 && record.offset >= ends[1] - 5)
        .map(|record| Message { key: record.key.clone(), value: record.value.clone(), ..Message::default() })
        .collect();
    expected.extend(&again);
    job.assert_output(&unchanged(expected.clone()));

    // Forgotten: the spec's `start` is the first record.
    control.post("pause", &json!({}));
    assert_eq!(control.delete("?dry_run=true").success().json()["records"], 1_200);
    assert_eq!(control.delete("").success().json()["records"], 1_200);
    assert_eq!(control.offsets(), [(None, String::new()), (None, String::new())]);
    control.post("resume", &json!({}));
    job.wait_through(wait::PATIENCE);
    expected.extend(&messages);
    job.assert_output(&unchanged(expected));
}

#[test]
fn a_transform_begins_where_its_spec_says() {
    let host = Host::start(KafkaCluster::shared(), "starts");
    let api = host.api();
    let messages = numbered(500, 20);
    let (first, second) = messages.split_at(300);
    let at_boundary: fn(&Job, i64) -> Value = |_, boundary| json!({"timestamp": rfc3339(boundary)});
    let an_hour_ago: fn(&Job, i64) -> Value = |_, _| json!({"ago": "1h"});
    for (name, start, expected) in [("time", at_boundary, second), ("ago", an_hour_ago, &messages)] {
        let job = Job::new("starts", name, 2, guests::fixture(), json!({"mode": "echo"}));
        let boundary = produce_parts(&job, first, second);
        let start = start(&job, boundary);
        let job = job.with(json!({"start": start}));
        job.deploy(&api);
        job.wait_through(wait::PATIENCE);
        job.assert_output(&unchanged(expected));
    }

    let job = Job::new("starts", "offsets", 2, guests::fixture(), json!({"mode": "echo"}));
    job.produce(&messages);
    let ends = topics::ends(job.kafka, &job.input);
    let mut spec = job.spec.clone();
    spec["module"] = api.upload(&job.module).into();
    spec["start"] = json!({"offsets": {job.input.as_str(): {"0": ends[0] + 1}}});
    let refused = api.try_deploy(&job.transform, &spec);
    assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("E020")), "{refused:?}");
    assert!(refused.body.contains(&format!("start.offsets.{}.0", job.input)), "{refused:?}");
    let start = json!({"offsets": {job.input.as_str(): {"0": ends[0] - 7}}});
    let job = job.with(json!({"start": start}));
    job.deploy(&api);
    job.wait_through(wait::PATIENCE);
    assert_eq!(job.outputs().len() as i64, ends[1] + 7, "partition 1, which is not named, from its first record");
}

#[test]
fn a_trial_of_real_records_changes_nothing() {
    let host = Host::start(KafkaCluster::shared(), "trials");
    let api = host.api();
    let job = Job::new("trials", "echo", 2, guests::fixture(), json!({"mode": "echo"}));
    let control = Control::new(&api, &job);
    let messages = numbered(200, 20);
    produce_parts(&job, &messages[..150], &messages[150..]);
    job.deploy(&api);
    job.wait_through(wait::PATIENCE);
    let committed = job.progress.committed();

    let view = control.post("test", &json!({"live": {"records": 50}}));
    let mut values: Vec<_> = view["outputs"].as_array().expect("outputs").iter().map(|put| put["value"].clone()).collect();
    values.sort_by_key(|value| value.to_string());
    let mut expected: Vec<_> = (150..200).map(|i| json!(format!("value-{i}"))).collect();
    expected.sort_by_key(|value| value.to_string());
    assert_eq!((values, &view["failures"]), (expected, &json!([])));
    assert!(view["micros_total"].as_u64() > Some(0) && view["memory_bytes"].as_u64() > Some(0), "{view}");

    let spec = json!({"inputs": [job.input], "outputs": {"out": job.output}, "config": {"mode": "panic"}});
    let records = json!([{"value": "fine"}, {"value": "poison"}, {"value": "fine too"}]);
    let view = control.post("test", &json!({"spec": spec, "records": records}));
    assert_eq!((&view["failures"][0]["input"], &view["failures"][0]["code"]), (&json!(1), &json!("E102")), "{view}");
    assert_eq!(view["outputs"].as_array().map(Vec::len), Some(2), "{view}");

    job.produce(&messages[..10]);
    job.wait_through(wait::PATIENCE);
    job.assert_output(&unchanged(messages.iter().chain(&messages[..10])));
    let moved: i64 = job.progress.total() - committed.into_iter().flatten().sum::<i64>();
    assert_eq!(moved, 10);
}
