//! A cluster loses its control topics, and gets them back from a backup: on the same Kafka it goes on exactly where it was,
//! on another one nothing begins by itself.

use std::path::{Path, PathBuf};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use sandbar_harness::cli::CommandResult;
use sandbar_harness::{
    Api, Cli, Host, KafkaCluster, Message, OwnKafka, Producer, Progress, Record, Seed, guests, topics, wait,
};
use serde_json::{Value, json};

use crate::job::{Job, numbered, unchanged};
use crate::stateful::{Stateful, messages};

/// Topics that a backup holds, and those that hosts make by themselves.
pub const SAVED: [&str; 5] = ["deployments", "positions", "modules", "tokens", "audit"];
pub const MADE_ANEW: [&str; 3] = ["status", "logs", "samples"];

/// The command line for one cluster of a Kafka, without a host.
struct Operator<'a> {
    cli: Cli,
    kafka: &'a KafkaCluster,
    cluster: &'a str,
}

impl<'a> Operator<'a> {
    fn new(kafka: &'a KafkaCluster, cluster: &'a str) -> Self {
        Self { cli: Cli::at(cluster, ([127, 0, 0, 1], 1).into()), kafka, cluster }
    }

    fn run(&self, verb: &str) -> CommandResult {
        self.cli.run(&format!("{verb} --brokers {} --cluster {}", self.kafka.brokers(), self.cluster))
    }

    #[track_caller]
    fn succeeds(&self, verb: &str) -> String {
        let ran = self.run(verb);
        assert_eq!(ran.code, Some(0), "sandbar {verb}: {ran:?}");
        ran.out
    }

    /// Runs a restore that is refused with this code, and changes no topic.
    #[track_caller]
    fn refuses(&self, verb: &str, code: &str) {
        let before = self.ends();
        let ran = self.run(verb);
        assert_eq!(ran.code, Some(1), "sandbar {verb}: {ran:?}");
        assert!(ran.err.starts_with(&format!("error[{code}]: ")) && ran.err.contains("\nhint: "), "{ran:?}");
        assert_eq!(self.ends(), before, "sandbar {verb} wrote");
    }

    /// The ends of the topics that a backup holds.
    fn ends(&self) -> Vec<Option<Vec<i64>>> {
        let ends = |topic: &&str| {
            let topic = format!("_sandbar.{}.{topic}", self.cluster);
            topics::partitions(self.kafka, &topic).map(|_| topics::ends(self.kafka, &topic))
        };
        SAVED.iter().map(ends).collect()
    }

    fn records(&self, topic: &str) -> Vec<Record> {
        topics::read_committed(self.kafka, &format!("_sandbar.{}.{topic}", self.cluster))
    }

    fn delete(&self, names: &[&str]) {
        names.iter().for_each(|topic| topics::delete(self.kafka, &format!("_sandbar.{}.{topic}", self.cluster)));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.cli.folder.join(name)
    }
}

/// Copies of a backup, each with a fault, and the code of its refusal.
fn faulty(whole: &Path) -> Vec<(PathBuf, &'static str)> {
    let bytes = std::fs::read(whole).expect("there");
    let text = std::fs::read_to_string(whole).expect("text");
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 0x10;
    let newer = text.replacen(r#""version":1}"#, r#""version":2}"#, 1);
    let all: [(&str, Vec<u8>, &str); 4] = [
        ("cut", bytes[..bytes.len() - 10].to_vec(), "E112"),
        ("flipped", flipped, "E112"),
        ("newer", newer.into_bytes(), "E113"),
        ("empty", Vec::new(), "E112"),
    ];
    let write = |(name, bytes, code): (&str, Vec<u8>, &'static str)| {
        let path = whole.with_file_name(name);
        std::fs::write(&path, bytes).expect("written");
        (path, code)
    };
    all.into_iter().map(write).collect()
}

fn revisions(api: &Api, transform: &str) -> Vec<u64> {
    let path = format!("/v1/teams/{}/revisions", transform.replace('/', "/transforms/"));
    let list = api.get(&path).success().json();
    let numbers = list["revisions"].as_array().expect("a list").iter().map(|it| it["revision"].as_u64().expect("a number"));
    numbers.collect()
}

pub fn wait_complete(api: &Api, transform: &str) {
    wait::until("the newest revision runs", wait::PATIENCE, || {
        let status = api.status(transform);
        if status["rollout"]["state"] == "complete" { Ok(()) } else { Err(status.to_string()) }
    });
}

/// Writes records in a transaction and aborts it: the records after them have higher offsets here than in a copy.
fn abort_records(kafka: &KafkaCluster, topic: &str, partition: i32, count: usize) {
    let producer: BaseProducer = kafka.client().set("transactional.id", topic).create().expect("valid");
    producer.init_transactions(wait::PATIENCE).expect("Kafka answers");
    producer.begin_transaction().expect("it is open");
    for _ in 0..count {
        let record = BaseRecord::to(topic).partition(partition).key("aborted").payload("aborted");
        producer.send(record).expect("the queue is large");
    }
    producer.flush(wait::PATIENCE).expect("Kafka takes them");
    producer.abort_transaction(wait::PATIENCE).expect("Kafka answers");
}

/// Restores into a cluster whose control topics were deleted while hosts were away.
#[test]
fn a_cluster_goes_on_exactly_where_it_was() {
    let kafka = KafkaCluster::shared();
    let cluster = "backed";
    let operator = Operator::new(kafka, cluster);
    let mut seed = Seed::new("backup");
    let mut host = Host::start(kafka, cluster);
    abort_records(kafka, &format!("_sandbar.{cluster}.modules"), 1, 100);
    let mut echo = Job::new(cluster, "echo", 3, guests::fixture(), json!({"mode": "echo", "tag": "1"}));
    echo.deploy(&host.api());
    echo.spec["config"]["tag"] = json!("2");
    echo.deploy(&host.api());
    let stateful = Stateful::new(cluster, 3, json!({"mode": "fold"}), json!({}));
    stateful.job.deploy(&host.api());
    // Anybody with the right may write anything; it comes back as it is.
    let all: Vec<u8> = (0..=255).collect();
    let producer = Producer::new(kafka);
    for topic in SAVED {
        let message = Message::new(all.clone(), all.clone()).with_header("h\n", Some(&all)).with_header("", None);
        producer.send(&format!("_sandbar.{cluster}.{topic}"), &message.to_partition(0));
    }
    producer.flush();
    let records = numbered(6_000, 20);
    let (before, after) = records.split_at(4_000);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            for part in before.chunks(200) {
                echo.produce(part);
                stateful.job.produce(&messages(&mut seed, 200, 50));
            }
        });
        // Under load, beside a host that works.
        operator.succeeds("backup --out live.backup");
        load.join().expect("it ends");
    });
    let saved = operator.succeeds("backup --out cluster.backup");
    assert!(saved.contains("saved 2 transforms with "), "{saved}");
    let again = operator.run("backup --out cluster.backup");
    assert!(again.code == Some(2) && again.err.contains("is there already"), "{again:?}");
    operator.refuses("restore cluster.backup", "E114");
    // More is done before the hosts go away: offsets are the groups', not the backup's.
    echo.wait_total(2_000, |_| ());
    assert_eq!(host.sigterm_and_wait(), Some(0));
    let before_loss: Vec<Vec<Record>> = SAVED.iter().map(|topic| operator.records(topic)).collect();
    operator.delete(&SAVED);
    operator.delete(&MADE_ANEW);

    for (path, code) in faulty(&operator.file("cluster.backup")) {
        operator.refuses(&format!("restore {}", path.display()), code);
    }
    let wrong = operator.cli.run(&format!("restore cluster.backup --brokers {} --cluster other", kafka.brokers()));
    assert!(wrong.code == Some(1) && wrong.err.contains("error[E113]"), "{wrong:?}");
    // Somebody started a host too early.
    let mut early = Host::start(kafka, cluster);
    operator.refuses("restore cluster.backup", "E115");
    assert_eq!(early.sigterm_and_wait(), Some(0));

    let planned = operator.succeeds("restore cluster.backup --dry-run");
    assert!(planned.contains("would restore ") && planned.contains("at the offsets of its group"), "{planned}");
    let restored = operator.succeeds("restore cluster.backup");
    assert!(restored.contains("restored ") && !restored.contains("waits"), "{restored}");
    for (topic, before) in SAVED.iter().zip(before_loss) {
        let content = |records: Vec<Record>| -> Vec<_> {
            let is_manifest =
                |record: &Record| *topic == "modules" && record.partition == 0 && record.key_text().starts_with("sha256:");
            let own = records.into_iter().filter(|record| !is_manifest(record));
            own.map(|it| (it.partition, it.timestamp, it.key, it.value, it.headers)).collect()
        };
        assert_eq!(content(operator.records(topic)), content(before), "{topic}");
    }
    operator.refuses("restore cluster.backup", "E114");

    // A host that has no copy of anything.
    let mut host = Host::start(kafka, cluster);
    let api = host.api();
    wait_complete(&api, &echo.transform);
    assert_eq!(revisions(&api, &echo.transform), [2, 1]);
    echo.produce(after);
    stateful.job.produce(&messages(&mut seed, 2_000, 50));
    echo.wait_through(wait::PATIENCE);
    stateful.probe(50);
    echo.assert_output(&unchanged(&records));
    stateful.assert_exact();
    let last = echo.outputs().pop().expect("an output").header("tag");
    assert_eq!(last.as_deref(), Some("2"));
    // The earlier revision and its module are there.
    let path = format!("/v1/teams/{}/rollback", echo.transform.replace('/', "/transforms/"));
    api.send("POST", &path, "application/json", br#"{"revision": 1}"#).success();
    wait_complete(&api, &echo.transform);
    assert_eq!(revisions(&api, &echo.transform), [3, 2, 1]);
    let entries = operator.records("audit");
    let deploys = entries.iter().filter(|entry| entry.value_text().contains(r#""action":"deploy""#)).count();
    assert!(deploys >= 3, "{deploys} of the audit's {} entries are deployments", entries.len());
    assert_eq!(host.sigterm_and_wait(), Some(0));
}

/// Copies records into a topic of the same name that is empty: they have the same offsets.
pub fn copy(from: &KafkaCluster, to: &KafkaCluster, topic: &str) {
    let producer = Producer::new(to);
    let mut records = topics::read_committed(from, topic);
    records.sort_by_key(|record| (record.partition, record.offset));
    for Record { partition, key, value, .. } in records {
        producer.send(topic, &Message { key, value, partition: Some(partition), ..Message::default() });
    }
    producer.flush();
    assert_eq!(topics::ends(from, topic), topics::ends(to, topic), "{topic} has the same offsets");
}

/// Waits until a transform, or each of its partitions, stands still with this code.
fn wait_for_code(api: &Api, transform: &str, expected: &str) {
    wait::until(&format!("{transform} waits with {expected}"), wait::PATIENCE, || {
        let status = api.status(transform);
        let list = |of: &Value, name: &str| of[name].as_array().cloned().unwrap_or_default();
        let hosts = list(&status, "hosts");
        let of_host = hosts.iter().any(|host| host["error"]["code"] == expected && list(host, "partitions").is_empty());
        let partitions: Vec<Value> = hosts.iter().flat_map(|host| list(host, "partitions")).collect();
        let of_each = !partitions.is_empty() && partitions.iter().all(|partition| partition["error"]["code"] == expected);
        if of_host || of_each { Ok(()) } else { Err(status.to_string()) }
    });
}

#[test]
fn another_kafka_begins_nothing_by_itself() {
    let kafka = KafkaCluster::shared();
    let own = OwnKafka::start_with("");
    let other = own.cluster();
    let records = numbered(2_000, 20);
    // Two clusters: the offsets of one go with it, those of the other do not.
    let mut hosts = ["moved", "copied"].map(|cluster| Host::start(kafka, cluster));
    let job = |kafka, of| Job::on(kafka, of, 2, guests::fixture(), json!({"mode": "echo"}));
    let all = [("moved", "echo"), ("copied", "echo"), ("copied", "second")];
    let jobs = all.map(|of| job(kafka, of));
    let [moved, copied, second_copied] = all.map(|of| job(other, of));
    let stateful = Stateful::new("moved", 2, json!({"mode": "fold"}), json!({}));
    topics::create(other, &[&stateful.job.input, &stateful.job.output], 2);
    stateful.job.deploy(&hosts[0].api());
    stateful.job.produce(&messages(&mut Seed::new("backup"), 1_000, 50));
    stateful.job.wait_through(wait::PATIENCE);
    copy(kafka, other, &stateful.job.input);
    for (job, host) in jobs.iter().zip([0, 1, 1]) {
        job.deploy(&hosts[host].api());
        job.produce(&records[..1_500]);
        job.wait_through(wait::PATIENCE);
    }
    hosts.iter_mut().for_each(|host| assert_eq!(host.sigterm_and_wait(), Some(0)));
    for job in &jobs {
        job.produce(&records[1_500..]);
        copy(kafka, other, &job.input);
    }

    // Without offsets, each waits: whatever `start` says, and whatever the record of another topic says.
    let there = Operator::new(other, "moved");
    let out = there.file("moved.backup");
    Operator::new(kafka, "moved").succeeds(&format!("backup --out {}", out.display()));
    // The changelog was not copied, so the offsets of the store's transform are refused.
    there.refuses("restore moved.backup --offsets backup", "E237");
    let planned = there.succeeds("restore moved.backup --dry-run");
    for topic in ["tests.echo.dead-letter", "tests.moved.dead-letter"] {
        assert!(planned.contains(&format!("there is no topic {topic}\n")), "{planned}");
    }
    topics::create(other, &["tests.echo.dead-letter", "tests.moved.dead-letter", "tests.second.dead-letter"], 1);
    let restored = there.succeeds("restore moved.backup");
    assert!(restored.contains("not: it waits for offsets (E224)") && restored.contains("sandbar offsets set"), "{restored}");
    let host = Host::start(other, "moved");
    let api = host.api();
    wait_for_code(&api, &jobs[0].transform, "E224");
    wait_for_code(&api, &stateful.job.transform, "E220");
    assert_eq!(topics::read_committed(other, &jobs[0].output), []);
    assert_eq!(topics::read_committed(other, &stateful.job.output), []);
    // The operator says where: all of it here, since the outputs were not copied.
    let cli = Cli::new("moved", &host);
    cli.succeeds("pause tests/echo");
    cli.succeeds("offsets set tests/echo --to earliest");
    cli.succeeds("resume tests/echo");
    cli.succeeds("pause tests/moved");
    cli.succeeds("state reset tests/moved --yes");
    cli.succeeds("offsets set tests/moved --to earliest");
    cli.succeeds("resume tests/moved");
    moved.wait_through(wait::PATIENCE);
    moved.assert_output(&unchanged(&records));
    let rebuilt = Progress::new(other, "sandbar.moved.tests.moved", &stateful.job.input);
    rebuilt.wait_through(wait::PATIENCE);
    let values = |kafka| {
        let records = topics::read_committed(kafka, &stateful.job.output);
        let mut values: Vec<_> = records.into_iter().map(|it| (it.partition, it.offset, it.key, it.value)).collect();
        values.sort();
        values.into_iter().map(|(partition, _, key, value)| (partition, key, value)).collect::<Vec<_>>()
    };
    assert_eq!(values(other), values(kafka), "the store was rebuilt from its input");

    // Topics with their offsets: both of its transforms go on at those of the backup.
    let there = Operator::new(other, "copied");
    let out = there.file("copied.backup");
    Operator::new(kafka, "copied").succeeds(&format!("backup --out {}", out.display()));
    let restored = there.succeeds("restore copied.backup --offsets backup");
    assert!(restored.contains("at the offsets of the backup"), "{restored}");
    let _host = Host::start(other, "copied");
    for copied in [copied, second_copied] {
        copied.wait_through(wait::PATIENCE);
        copied.assert_output(&unchanged(&records[1_500..]));
    }
}
