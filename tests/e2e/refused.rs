//! Records that a topic refuses, on real Kafka: each is its own failure, and nobody else stands still.

use std::collections::BTreeMap;

use sandbar::kafka::{KafkaConfig, KafkaLog};
use sandbar::model::units::Timestamp;
use sandbar::ports::{Log as _, LogError, LogRecord};
use sandbar_harness::{Api, Host, KafkaCluster, Message, Record, guests, topics, wait};
use serde_json::{Value, json};

use crate::job::{Job, numbered, unchanged};
use crate::stateful::Stateful;

const PARTITIONS: i32 = 3;
/// The places of the records that are refused.
const BAD: i32 = 1;

/// A pass-through whose output has these settings.
fn job(cluster: &str, name: &str, settings: &[(&str, &str)], fields: Value) -> Job {
    let job = Job::new(cluster, name, PARTITIONS, guests::fixture(), json!({"mode": "echo"})).with(fields);
    topics::configure(job.kafka, &job.output, settings);
    job
}

/// Numbered messages over all partitions, with `bad` among those of one.
fn mixed(count: usize, bad: &Message) -> Vec<Message> {
    let mut messages: Vec<Message> =
        numbered(count, 30).into_iter().zip((0..PARTITIONS).cycle()).map(|(one, at)| one.to_partition(at)).collect();
    messages.insert(count / 2, bad.clone().to_partition(BAD));
    messages
}

fn null_key(value: &str) -> Message {
    Message { value: Some(value.into()), ..Message::default() }
}

/// Bytes that no compression makes fewer.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

fn dead_letters(job: &Job) -> Vec<Record> {
    topics::read_committed(job.kafka, &job.dead_letters)
}

/// The dead letters of a job: partition, code, and mended parts.
fn told(job: &Job) -> Vec<(String, String, String)> {
    let of = |letter: &Record, name: &str| letter.header(&format!("sandbar.error.{name}")).unwrap_or_default();
    dead_letters(job).iter().map(|letter| (of(letter, "partition"), of(letter, "code"), of(letter, "mended"))).collect()
}

fn partitions(status: &Value) -> BTreeMap<i64, Value> {
    let hosts = status["hosts"].as_array().cloned().unwrap_or_default();
    let all = hosts.iter().flat_map(|host| host["partitions"].as_array().cloned().unwrap_or_default());
    all.map(|partition| (partition["partition"].as_i64().expect("a number"), partition)).collect()
}

/// Waits until a partition is paused with this code, and the others have nothing left to do.
#[track_caller]
fn wait_paused(api: &Api, job: &Job, at: i64, code: &str) {
    wait::until(&format!("{} stands at partition {at}, {code}", job.transform), wait::PATIENCE, || {
        let status = api.status(&job.transform);
        let partitions = partitions(&status);
        let is_right = |(number, partition): (&i64, &Value)| {
            if *number == at {
                partition["state"] == "paused" && partition["error"]["code"] == code
            } else {
                partition["lag"] == 0
            }
        };
        if !partitions.is_empty() && partitions.iter().all(is_right) { Ok(()) } else { Err(status.to_string()) }
    });
}

fn resume(api: &Api, job: &Job) {
    let (team, name) = job.transform.split_once('/').expect("team/name");
    api.send("POST", &format!("/v1/teams/{team}/transforms/{name}/resume"), "application/json", b"{}").success();
}

#[test]
fn a_null_key_in_a_compacted_topic_is_its_records_failure() {
    let host = Host::start(KafkaCluster::shared(), "refused-keys");
    let api = host.api();
    let compacted = [("cleanup.policy", "compact")];
    let messages = mixed(1000, &null_key("null"));
    let good = || messages.iter().filter(|message| message.key.is_some());
    let jobs: Vec<Job> = [
        ("letters", json!({})),
        ("skips", json!({"on_error": {"then": "skip"}})),
        ("at-least-once", json!({"delivery": "at-least-once"})),
        ("pauses", json!({"on_error": {"then": "pause"}})),
    ]
    .into_iter()
    .map(|(name, fields)| job("refused-keys", name, &compacted, fields))
    .collect();
    let [letters, skips, at_least_once, pauses] = &jobs[..] else { unreachable!("four") };
    jobs.iter().for_each(|job| {
        job.deploy(&api);
        job.produce(&messages);
    });

    wait_paused(&api, pauses, i64::from(BAD), "E109");
    let before: Vec<Message> = messages.iter().take_while(|message| message.key.is_some()).cloned().collect();
    let others = messages.iter().filter(|message| message.partition != Some(BAD));
    let of_bad = before.iter().filter(|message| message.partition == Some(BAD));
    pauses.assert_output(&unchanged(others.chain(of_bad)));
    topics::configure(pauses.kafka, &pauses.output, &[]);
    resume(&api, pauses);

    for job in &jobs {
        job.wait_through(wait::PATIENCE);
    }
    letters.assert_output(&unchanged(good()));
    skips.assert_output(&unchanged(good()));
    pauses.assert_output(&unchanged(&messages));
    let letter = ("1".to_owned(), "E109".to_owned(), String::new());
    assert_eq!(told(letters), std::slice::from_ref(&letter));
    assert!(dead_letters(letters)[0].header("sandbar.error.message").is_some_and(|text| text.contains("the key is null")));
    assert_eq!(told(at_least_once), [letter]);
    // Each record comes at least once: those beside the null key are sent again.
    let seen: std::collections::BTreeSet<_> = at_least_once.outputs().into_iter().map(|record| record.value).collect();
    assert_eq!(seen, good().map(|message| message.value.clone()).collect());

    // Every record is refused, and goes its way.
    let nulls: Vec<Message> = (0..300).map(|i| null_key(&format!("null {i}"))).collect();
    letters.produce(&nulls);
    letters.wait_through(wait::PATIENCE);
    letters.assert_output(&unchanged(good()));
    assert_eq!(told(letters).len(), 301);
    let metrics = api.get("/metrics").body;
    let labels = "team=\"tests\",transform=\"letters\"";
    let failed = format!("sandbar_records_failed_total{{reason=\"refused\",{labels}}} 301");
    assert!(metrics.contains(&failed), "{metrics}");
    // An abort for each batch with refused records, and none that looks like an outage.
    let aborted = |reason: &str| format!("sandbar_transactions_aborted_total{{reason=\"{reason}\",{labels}}}");
    assert!(metrics.contains(&aborted("rejected")) && !metrics.contains(&aborted("abort")), "{metrics}");
}

#[test]
fn the_broker_decides_on_sizes() {
    let host = Host::start(KafkaCluster::shared(), "refused-sizes");
    let api = host.api();
    let job = job("refused-sizes", "sizes", &[], json!({}));
    job.deploy(&api);
    let letter = Message::new("a", vec![b'a'; 3_000_000]);
    let mut all = vec![letter];
    job.produce(&all);
    job.wait_through(wait::PATIENCE);
    job.assert_output(&unchanged(&all));

    // The limit is below the producer's batches: a record that is small enough passes.
    topics::configure(job.kafka, &job.output, &[("max.message.bytes", "20000")]);
    let small: Vec<Message> = (0..600).map(|i| Message::new(format!("k{}", i % 30), noise(200 + i))).collect();
    let large = Message::new("k7", noise(30_000));
    let fat = Message::new("k8", "v").with_header("h", Some(&noise(30_000)));
    job.produce(&small[..300]);
    job.produce(&[large.clone(), fat.clone()]);
    job.produce(&small[300..]);
    all.extend(small);
    job.wait_through(2 * wait::PATIENCE);
    job.assert_output(&unchanged(&all));
    let mut codes: Vec<String> = told(&job).into_iter().map(|(_, code, _)| code).collect();
    codes.sort();
    assert_eq!(codes, ["E107", "E107"]);
    // Many of them: the broker is not asked about each. They grow by so much that all but a few are surely larger than one
    // that was refused, also after the refusal of the 30,000 bytes was forgotten.
    let many: Vec<Message> = (0..300).map(|i| Message::new(format!("k{}", i % 30), noise(32_000 + 200 * i))).collect();
    job.produce(&many);
    job.wait_through(wait::PATIENCE);
    assert_eq!(told(&job).len(), 302);
    let metrics = api.get("/metrics").body;
    let aborts = "sandbar_transactions_aborted_total{reason=\"rejected\",team=\"tests\",transform=\"sizes\"} ";
    let aborts = metrics.lines().find_map(|line| line.strip_prefix(aborts)).expect("some");
    assert!(aborts.parse::<u32>().expect("a number") < 50, "{aborts} aborts");

    // Seen at once.
    topics::configure(job.kafka, &job.output, &[("max.message.bytes", "100000")]);
    all.extend([large, fat]);
    job.produce(&all[all.len() - 2..]);
    job.wait_through(wait::PATIENCE);
    job.assert_output(&unchanged(&all));
    assert_eq!(told(&job).len(), 302);
}

#[test]
fn whatever_a_record_has_is_passed_on_or_fails() {
    const DAYS_MS: i64 = 30 * 24 * 60 * 60 * 1000;
    let host = Host::start(KafkaCluster::shared(), "refused-odd");
    let api = host.api();
    let job = job("refused-odd", "odd", &[], json!({}));
    // The output takes an hour ahead, as by default.
    topics::configure(job.kafka, &job.input, &[("message.timestamp.after.max.ms", "9223372036854775807")]);
    job.deploy(&api);
    let now = Timestamp::now().0;
    let one = |value: &str| Message::new("k", value).to_partition(0).at(now);
    let null = Message { key: None, value: None, ..Message::default() };
    let odd = [
        one("plain"),
        one("1 ms after 1970").at(1),
        one("a little ahead").at(now + 60_000),
        Message::new("", "").to_partition(0).at(now),
        null.to_partition(0).at(now),
        one("headers").with_header("h", None).with_header("h", Some(b"")).with_header("h", Some(b"\xff\0")),
        one("names").with_header("", Some(b"1")).with_header("\u{1f98a} \u{7f}", Some(b"2")),
    ];
    let ahead = one("far ahead").at(now + DAYS_MS);
    // A broker takes it, and never compacts its partition again: it must not get into the output.
    let negative = one("negative").at(-5);
    let mut messages = odd.to_vec();
    messages.insert(3, ahead.clone());
    messages.insert(1, negative.clone());
    job.produce(&messages);
    // Names with a NUL, which the tests' own producer cannot write.
    let log = KafkaLog::new(KafkaConfig { brokers: job.kafka.brokers().to_owned(), ..KafkaConfig::default() });
    let log = log.expect("a client");
    let with = |headers: &[(&str, Option<&[u8]>)]| {
        let owned = |(name, value): &(&str, Option<&[u8]>)| ((*name).to_owned(), value.map(<[u8]>::to_vec));
        let headers = headers.iter().map(owned).collect();
        LogRecord { offset: 0, timestamp: now, key: Some(b"nul".to_vec()), value: Some(b"v".to_vec()), headers }
    };
    let nuls = vec![with(&[("a\0b", Some(&b"v"[..]))]), with(&[("a\0b", None)]), with(&[("a", None), ("a\0b", None)])];
    let input = job.input.parse().expect("a name");
    log.append(&input, Some(1), nuls).expect("appended");
    let refused = log.append(&input, Some(1), vec![LogRecord { timestamp: -5, ..with(&[]) }]);
    assert!(matches!(&refused, Err(LogError::Refused(message)) if message.contains("timestamp -5")), "{refused:?}");
    job.wait_through(wait::PATIENCE);
    let parts = |record: &Record| (record.timestamp, record.key.clone(), record.value.clone(), record.headers.clone());
    let of_first = |records: Vec<Record>| records.into_iter().filter(|record| record.partition == 0).collect::<Vec<_>>();
    let input = of_first(topics::read_committed(job.kafka, &job.input));
    let is_sent = |record: &&Record| ![&ahead.value, &negative.value].contains(&&record.value);
    let expected: Vec<_> = input.iter().filter(is_sent).map(parts).collect();
    assert_eq!(expected.len(), odd.len());
    // Keys choose the partition.
    let mut found: Vec<_> = job.outputs().iter().map(parts).collect();
    let mut expected = expected;
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let mut told = told(&job);
    told.sort();
    let letter = |partition: &str, mended: &str| (partition.to_owned(), "E109".to_owned(), mended.to_owned());
    let damaged = || letter("1", "");
    assert_eq!(told, [letter("0", "timestamp"), letter("0", "timestamp"), damaged(), damaged(), damaged()]);
    let letters = dead_letters(&job);
    for (message, timestamp) in [(ahead, now + DAYS_MS), (negative, -5)] {
        let letter = letters.iter().find(|letter| letter.value == message.value).expect("a dead letter");
        assert_eq!(letter.header("sandbar.error.timestamp"), Some(timestamp.to_string()));
    }
}

#[test]
fn a_dead_letter_is_mended_or_its_partition_stands() {
    let host = Host::start(KafkaCluster::shared(), "refused-letters");
    let api = host.api();
    let job = job("refused-letters", "dead", &[], json!({"config": {"mode": "fail"}}));
    topics::create_with(job.kafka, &[&job.dead_letters], 1, &[("cleanup.policy", "compact"), ("max.message.bytes", "5000")]);
    job.deploy(&api);
    let poison = |more: &[u8]| [b"poison ".as_slice(), more].concat();
    let bad = [
        Message { value: Some(poison(b"")), ..Message::default() }.to_partition(0),
        Message::new("fat", poison(b"")).with_header("h", Some(&noise(10_000))).to_partition(2),
        Message::new("large", poison(&noise(10_000))).to_partition(BAD),
    ];
    let good: Vec<Message> = mixed(300, &Message::new("good", "good"));
    job.produce(&good);
    job.produce(&bad);
    job.produce(&good);
    wait_paused(&api, &job, i64::from(BAD), "E110");
    let letter = |partition: &str, mended: &str| (partition.to_owned(), "E101".to_owned(), mended.to_owned());
    let sorted = |mut letters: Vec<(String, String, String)>| {
        letters.sort();
        letters
    };
    assert_eq!(sorted(told(&job)), [letter("0", "key"), letter("2", "headers")]);
    let made = dead_letters(&job).into_iter().find(|letter| letter.header("sandbar.error.mended").as_deref() == Some("key"));
    let made = made.expect("a letter");
    assert_eq!(made.key_text(), format!("{}/0/{}", job.input, made.header("sandbar.error.offset").expect("an offset")));

    topics::configure(job.kafka, &job.dead_letters, &[("cleanup.policy", "compact")]);
    resume(&api, &job);
    job.wait_through(wait::PATIENCE);
    job.assert_output(&unchanged(good.iter().chain(&good)));
    assert_eq!(sorted(told(&job)), [letter("0", "key"), letter("1", ""), letter("2", "headers")]);
}

/// An entry that the changelog topic does not take fails the record that wrote it, and none of its transaction is there.
#[test]
fn a_refused_change_of_a_store_is_its_records_failure() {
    let host = Host::start(KafkaCluster::shared(), "refused-state");
    let stateful = Stateful::new("refused-state", PARTITIONS, json!({"mode": "fold"}), json!({}));
    let job = &stateful.job;
    job.deploy(&host.api());
    let ones = |count: usize| (0..count).map(|i| Message::new(format!("key-{}", i % 30), "1")).collect::<Vec<_>>();
    job.produce(&ones(90));
    job.wait_through(wait::PATIENCE);
    let compacted = ("cleanup.policy", "compact");
    topics::configure(job.kafka, &stateful.changelog, &[compacted, ("max.message.bytes", "20000")]);
    job.produce(&ones(300));
    let large = String::from_utf8(noise(30_000).into_iter().map(|byte| b'0' + byte % 64).collect()).expect("ASCII");
    job.produce(&[Message::new(large, "1")]);
    job.produce(&ones(300));
    job.wait_through(2 * wait::PATIENCE);
    let codes: Vec<String> = told(job).into_iter().map(|(_, code, _)| code).collect();
    assert_eq!(codes, ["E107"]);
    // The last count of each key.
    let mut counts = BTreeMap::new();
    for record in job.outputs() {
        counts.insert(record.key_text(), record.value_text());
    }
    assert_eq!(counts.len(), 30, "{:?}", counts.keys());
    let all: Vec<&str> = counts.values().map(String::as_str).collect();
    assert!(all.iter().all(|count| count.contains("23")), "690 records over 30 keys: {all:?}");
}

#[test]
fn a_topic_that_is_gone_is_no_records_fault() {
    let host = Host::start(KafkaCluster::shared(), "refused-gone");
    let api = host.api();
    let job = job("refused-gone", "gone", &[], json!({}));
    job.deploy(&api);
    let messages = numbered(200, 30);
    job.produce(&messages[..100]);
    job.wait_through(wait::PATIENCE);
    topics::delete(job.kafka, &job.output);
    job.produce(&messages[100..]);
    let status = wait::until("the status says that the topic is gone", 2 * wait::PATIENCE, || {
        let status = api.status(&job.transform);
        let host = &status["hosts"][0];
        let says_so = host["state"] == "degraded" && host["error"]["code"] == "E207";
        if says_so { Ok(status.clone()) } else { Err(status.to_string()) }
    });
    let message = status["hosts"][0]["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains(&job.output), "{status}");
    topics::create(job.kafka, &[&job.output], PARTITIONS);
    job.wait_through(2 * wait::PATIENCE);
    job.assert_output(&unchanged(&messages[100..]));
    assert!(dead_letters(&job).is_empty());
    wait::until("nothing is wrong any more", wait::PATIENCE, || {
        let status = api.status(&job.transform);
        let host = &status["hosts"][0];
        if host["state"] == "running" && host["error"].is_null() { Ok(()) } else { Err(status.to_string()) }
    });
}
