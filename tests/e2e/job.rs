//! A transform with its topics, its input, and its expected output.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sandbar_harness::{Api, KafkaCluster, Message, Producer, Progress, Record, topics, wait};
use serde_json::{Value, json};

/// The outputs for a key, in order; `None` is a tombstone.
pub type ByKey = BTreeMap<Option<Vec<u8>>, Vec<Option<Vec<u8>>>>;

/// One transform of a cluster. Its topics are `<cluster>.<name>.in` and `.out`.
pub struct Job {
    pub kafka: &'static KafkaCluster,
    /// `team/name`.
    pub transform: String,
    pub input: String,
    pub output: String,
    pub dead_letters: String,
    pub module: Arc<[u8]>,
    pub spec: Value,
    pub progress: Progress,
}

// === impl Job ===

impl Job {
    /// Creates the topics. The transform begins at the first record of its input.
    pub fn new(cluster: &str, name: &str, partitions: i32, module: Arc<[u8]>, config: Value) -> Job {
        Self::on(KafkaCluster::shared(), (cluster, name), partitions, module, config)
    }

    /// A job on a Kafka of its own.
    pub fn on(
        kafka: &'static KafkaCluster,
        (cluster, name): (&str, &str),
        partitions: i32,
        module: Arc<[u8]>,
        config: Value,
    ) -> Job {
        let [input, output] = ["in", "out"].map(|end| format!("{cluster}.{name}.{end}"));
        topics::create(kafka, &[&input, &output], partitions);
        let group = format!("sandbar.{cluster}.tests.{name}");
        Job {
            kafka,
            transform: format!("tests/{name}"),
            dead_letters: format!("tests.{name}.dead-letter"),
            module,
            spec: json!({"inputs": [input], "outputs": {"out": output}, "config": config, "start": "earliest"}),
            progress: Progress::new(kafka, &group, &input),
            input,
            output,
        }
    }

    /// The spec with these fields set.
    pub fn with(mut self, fields: Value) -> Job {
        let spec = self.spec.as_object_mut().expect("a spec is an object");
        spec.extend(fields.as_object().expect("fields").clone());
        self
    }

    /// Uploads the module, then deploys the spec that names it.
    #[track_caller]
    pub fn deploy(&self, api: &Api) {
        let mut spec = self.spec.clone();
        spec["module"] = api.upload(&self.module).into();
        api.deploy(&self.transform, &spec);
    }

    pub fn produce(&self, messages: &[Message]) {
        Producer::new(self.kafka).send_all(&self.input, messages);
    }

    /// Produces while the transform works, never more records than are `allowed` by now.
    pub fn produce_up_to(&self, messages: &[Message], allowed: &AtomicI64) {
        let producer = Producer::new(self.kafka);
        for (i, message) in (0..).zip(messages) {
            wait::until("the transform goes on", 3 * wait::PATIENCE, || {
                let allowed = allowed.load(Ordering::Relaxed);
                if i < allowed { Ok(()) } else { Err(format!("{allowed} are allowed")) }
            });
            producer.send(&self.input, message);
        }
        producer.flush();
    }

    /// Waits until at least `count` records are committed, and tells `seen` on the way how many there are.
    pub fn wait_total(&self, count: i64, seen: impl Fn(i64)) {
        wait::until_complete(&format!("{} has {count} records behind it", self.transform), wait::PATIENCE, || {
            let total = self.progress.total();
            seen(total);
            if total >= count { Ok(()) } else { Err(format!("{total}")) }
        });
    }

    /// Waits until this number of hosts have partitions.
    #[track_caller]
    pub fn wait_for_hosts(&self, api: &Api, count: usize) {
        wait::until(&format!("{count} hosts have partitions"), wait::PATIENCE, || {
            let status = api.status(&self.transform);
            let hosts = status["hosts"].as_array().map(Vec::as_slice).unwrap_or_default();
            let working = hosts.iter().filter(|host| host["partitions"].as_array().is_some_and(|own| !own.is_empty()));
            if working.count() == count { Ok(()) } else { Err(status.to_string()) }
        });
    }

    #[track_caller]
    pub fn wait_through(&self, deadline: Duration) {
        self.progress.wait_through(deadline);
    }

    #[track_caller]
    pub fn outputs(&self) -> Vec<Record> {
        topics::read_committed(self.kafka, &self.output)
    }

    /// Compares the output topic with `expected`, key by key.
    #[track_caller]
    pub fn assert_output(&self, expected: &ByKey) {
        let records = self.outputs();
        let mut actual = ByKey::new();
        for record in records {
            actual.entry(record.key).or_default().push(record.value);
        }
        if actual == *expected {
            return;
        }
        let count = |all: &ByKey| all.values().map(Vec::len).sum::<usize>();
        println!("{}: {} records came out, {} should have", self.output, count(&actual), count(expected));
        let none = Vec::new();
        let keys: std::collections::BTreeSet<_> = actual.keys().chain(expected.keys()).collect();
        for key in keys {
            let got = actual.get(key).unwrap_or(&none);
            let want = expected.get(key).unwrap_or(&none);
            if got != want {
                let at = got.iter().zip(want).take_while(|(got, want)| got == want).count();
                println!("key {:?}: {} instead of {}, first difference at {at}:", text(key), got.len(), want.len());
                println!("  got  {:?}", got.get(at).map(text));
                panic!("  want {:?}", want.get(at).map(text));
            }
        }
    }
}

fn text(bytes: &Option<Vec<u8>>) -> String {
    bytes.as_ref().map_or_else(|| "null".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// The outputs of an identity transform for `messages`.
pub fn unchanged<'a>(messages: impl IntoIterator<Item = &'a Message>) -> ByKey {
    let mut all = ByKey::new();
    for message in messages {
        all.entry(message.key.clone()).or_default().push(message.value.clone());
    }
    all
}

/// `count` messages of different values, over `keys` keys.
pub fn numbered(count: usize, keys: usize) -> Vec<Message> {
    (0..count).map(|i| Message::new(format!("key-{}", i % keys), format!("value-{i}"))).collect()
}
