//! A newer host and this one share a cluster. This one keeps the records of the newer one, and reports them. The test
//! plays the newer host, and writes the topics by hand.

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use sandbar_harness::{Api, Host, KafkaCluster, Message, Producer, guests, topics, wait};
use serde_json::{Value, json};

use crate::job::{Job, numbered, unchanged};

const PATH: &str = "/v1/teams/tests/transforms/echo";

/// The cluster `formats`, with a transform.
struct FormatsCluster {
    job: Job,
    producer: Producer,
    all: Vec<Message>,
}

impl FormatsCluster {
    fn newest(&self) -> Value {
        let records = topics::read_committed(self.job.kafka, "_sandbar.formats.deployments");
        let newest = records.into_iter().rfind(|record| record.key_text() == "tests/echo").expect("it was deployed");
        serde_json::from_str(&newest.value_text()).expect("JSON")
    }

    fn send(&self, topic: &str, key: &str, value: &Value) {
        self.producer.send(&format!("_sandbar.formats.{topic}"), &Message::new(key, value.to_string()).to_partition(0));
        self.producer.flush();
    }

    /// Produces, and waits until the transform is through.
    #[track_caller]
    fn goes_on(&mut self) {
        let messages = numbered(200, 10);
        self.job.produce(&messages);
        self.job.wait_through(wait::PATIENCE);
        self.all.extend(messages);
    }

    /// The newer host reports itself and the transforms on it in its own format. This one shows both.
    #[track_caller]
    fn newer_host_is_seen(&self, api: &Api, revision: u64) {
        let beat = json!({"host": "newer", "format": 2, "version": "9.0.0", "formats": {"spec": 7}, "load": 0.5});
        self.send("status", "newer", &beat);
        let told = json!({
            "version": 2, "team": "tests", "name": "echo", "host": "newer", "state": "hibernating", "revision": revision,
            "partitions": [{"shape": "other"}],
        });
        self.send("status", "tests/echo@newer", &told);
        wait::until("the newer host is there", wait::PATIENCE, || {
            self.send("status", "newer", &beat);
            let hosts = api.get("/v1/hosts").success().json();
            let found = hosts["hosts"].as_array().is_some_and(|all| all.iter().any(|host| host["formats"]["spec"] == 7));
            let status = api.status("tests/echo").to_string();
            if found && status.contains("host newer tells") { Ok(()) } else { Err(format!("{hosts} {status}")) }
        });
        self.producer.send("_sandbar.formats.status", &Message { value: None, ..Message::new("newer", "") }.to_partition(0));
        self.producer.flush();
    }
}

/// Waits until the status has an error of this code, or has none.
#[track_caller]
fn wait_for(api: &Api, transform: &str, code: Option<&str>) -> Value {
    wait::until(&format!("the status of {transform} says {code:?}"), wait::PATIENCE, || {
        let status = api.status(transform);
        let text = status.to_string();
        let fits = match code {
            Some(code) => text.contains(&format!("\"{code}\"")),
            None => !text.contains("\"code\"") && status["rollout"]["state"] == "complete",
        };
        if fits { Ok(status) } else { Err(text) }
    })
}

#[track_caller]
fn assert_refused(api: &Api, job: &Job) {
    let mut spec = job.spec.clone();
    spec["module"] = api.upload(&job.module).into();
    let deployed = api.try_deploy(&job.transform, &spec);
    let rest = ["pause", "resume", "restart", "rollback"]
        .map(|verb| api.send("POST", &format!("{PATH}/{verb}"), "application/json", b""));
    for answer in [deployed, api.delete(PATH)].into_iter().chain(rest) {
        assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("E226")), "{answer:?}");
    }
    let listed = api.get("/v1/transforms").success().json();
    assert!(listed["transforms"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == "echo")), "{listed}");
}

#[test]
fn a_newer_host_and_this_one_share_a_cluster() {
    let kafka = KafkaCluster::shared();
    let host = Host::start(kafka, "formats");
    let api = host.api();
    let job = Job::new("formats", "echo", 2, guests::fixture(), json!({"mode": "echo"}));
    job.deploy(&api);
    let mut shared = FormatsCluster { job, producer: Producer::new(kafka), all: Vec::new() };
    shared.goes_on();
    let first = shared.newest();
    assert_eq!(first["version"], 1);

    // Nobody's versions: skipped, as all else that no host wrote.
    for (name, version) in [json!("x"), json!(null), json!(u64::MAX), json!(-1), json!([2])].into_iter().enumerate() {
        let mut foreign = first.clone();
        foreign["version"] = version;
        shared.send("deployments", "tests/echo", &foreign);
        shared.job.spec["config"]["tag"] = json!(name.to_string());
        shared.job.deploy(&api);
    }
    wait_for(&api, "tests/echo", None);
    shared.goes_on();

    // A newer host's.
    let understood = shared.newest();
    let revision = understood["revision"].as_u64().expect("a number") + 1;
    let mut others = Vec::new();
    for (parent, field, value) in [
        ("", "version", json!(2)),
        ("/spec", "steps", json!([{"name": "x"}])),
        ("/spec/on_error", "then", json!("bisect")),
        ("/spec/limits", "files", json!(3)),
    ] {
        let mut newer = understood.clone();
        newer["revision"] = json!(revision);
        newer.pointer_mut(parent).expect("an object")[field] = value;
        shared.send("deployments", "tests/echo", &newer);
        shared.send("deployments", &format!("tests/echo@{revision}"), &newer);
        wait_for(&api, "tests/echo", Some("E226"));
        assert_refused(&api, &shared.job);
        shared.goes_on();
        assert_eq!(shared.newest(), newer, "it was written over");
        // A host that knew nothing before starts none of these transforms.
        if others.is_empty() {
            others.push(Host::start(kafka, "formats"));
        }
        wait_for(&others[0].api(), "tests/echo", Some("E226"));
        assert_refused(&others[0].api(), &shared.job);
    }

    shared.newer_host_is_seen(&api, revision);

    // The newer host goes back to a format that this one understands, and keeps a field that nobody needs to know.
    let mut back = understood;
    back["revision"] = json!(revision + 1);
    back["more"] = json!({"kept": true});
    shared.send("deployments", "tests/echo", &back);
    wait_for(&api, "tests/echo", None);
    shared.job.spec["config"]["tag"] = json!("last");
    shared.job.deploy(&others[0].api());
    let last = shared.newest();
    assert_eq!((&last["revision"], &last["more"]), (&json!(revision + 2), &back["more"]));
    wait_for(&api, "tests/echo", None);
    shared.goes_on();
    shared.job.assert_output(&unchanged(&shared.all));
}

/// Commits an offset of a group without members, with metadata, as any tool can.
fn commit_by_hand(job: &Job, group: &str, offset: i64, metadata: &str) {
    let mut config = job.kafka.client();
    config.set("group.id", group);
    let consumer: BaseConsumer = config.create().expect("valid");
    let mut list = TopicPartitionList::new();
    let mut place = list.add_partition(&job.input, 0);
    place.set_offset(Offset::Offset(offset)).expect("an offset");
    place.set_metadata(metadata);
    wait::until("the group has no members, and takes it", wait::PATIENCE, || {
        consumer.commit(&list, CommitMode::Sync).map_err(|error| error.to_string())
    });
}

#[test]
fn an_offset_that_somebody_else_wrote_stops_its_partition_until_it_is_set() {
    let kafka = KafkaCluster::shared();
    let host = Host::start(kafka, "metadata");
    let api = host.api();
    let job = Job::new("metadata", "echo", 2, guests::fixture(), json!({"mode": "echo"}));
    job.deploy(&api);
    let send = |method: &str, path: &str, body: Value| {
        api.send(method, &format!("{PATH}{path}"), "application/json", body.to_string().as_bytes()).success().json()
    };
    let mut all = Vec::new();
    let mut produce = || {
        let messages = numbered(200, 20);
        job.produce(&messages);
        all.extend(messages);
    };
    produce();
    job.wait_through(wait::PATIENCE);
    for metadata in ["by hand", r#"{"version":2,"at":{}}"#, r#"{"revision":999,"since":0}"#] {
        send("POST", "/pause", json!(null));
        let offset = job.progress.committed()[0].expect("committed");
        commit_by_hand(&job, "sandbar.metadata.tests.echo", offset, metadata);
        send("POST", "/resume", json!(null));
        produce();
        let status = wait_for(&api, &job.transform, Some("E227"));
        assert!(status.to_string().contains("\"failed\""), "{status}");
        wait::until("the other partition goes on", wait::PATIENCE, || {
            let committed = job.progress.committed();
            let ends = topics::ends(kafka, &job.input);
            if committed[1] == Some(ends[1]) { Ok(()) } else { Err(format!("{committed:?} of {ends:?}")) }
        });
        assert_eq!(job.progress.committed()[0], Some(offset), "the partition stands where it was");
        send("POST", "/pause", json!(null));
        let target = json!({"offsets": [{"topic": job.input, "partition": 0, "offset": offset}]});
        send("PATCH", "/offsets", target);
        send("POST", "/resume", json!(null));
        job.wait_through(wait::PATIENCE);
    }
    job.assert_output(&unchanged(&all));
}
