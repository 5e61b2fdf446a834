//! The oracle of the guest `stateful`, and the three places that show its state: its outputs, its changelog, and its
//! local store (by the outputs of the next records).

use std::collections::BTreeMap;

use sandbar_harness::{Message, Producer, Record, Seed, guests, topics, wait};
use serde_json::{Value, json};

use crate::job::Job;

/// Keys that the guest keeps for itself begin with it.
const OWN: u8 = 0xff;

/// A job with the store `sums`.
pub struct Stateful {
    pub job: Job,
    pub changelog: String,
    partitions: i32,
}

/// By key: how many records, and their sum.
pub type Sums = BTreeMap<String, (i64, i64)>;

/// The fold of one partition's records, in their order.
#[derive(Debug, Default)]
struct FoldResult {
    outputs: Vec<(String, String)>,
    /// Count and sum of each key.
    sums: Sums,
    failed: usize,
}

// === impl Stateful ===

impl Stateful {
    /// Creates the topics but the changelog, which the host makes. `fields` are set in the spec.
    pub fn new(cluster: &str, partitions: i32, config: Value, fields: Value) -> Stateful {
        // Dead-letter topics have the transform's name, and the tests share a Kafka.
        let job = Job::new(cluster, cluster, partitions, guests::stateful(), config);
        let job = job.with(json!({ "state": { "sums": {} } })).with(fields);
        Stateful { job, changelog: format!("_sandbar.{cluster}.state.tests.{cluster}.sums"), partitions }
    }

    /// Reads every key, and lists every partition. The answers are outputs, and compared like all others.
    pub fn probe(&self, keys: u64) {
        let producer = Producer::new(self.job.kafka);
        let touch = (0..keys).map(|key| Message::new(format!("key-{key}"), "0"));
        let scan = (0..keys.min(40)).map(|key| Message::new(format!("key-{key}"), "scan"));
        let all: Vec<Message> = touch.chain(scan).collect();
        producer.send_all(&self.job.input, &all);
        self.job.wait_through(wait::PATIENCE);
    }

    /// Asserts that outputs and changelog are, partition by partition, the fold of the input.
    #[track_caller]
    pub fn assert_exact(&self) {
        let mut expected: Vec<FoldResult> = (0..self.partitions).map(|_| FoldResult::default()).collect();
        for record in topics::read_committed(self.job.kafka, &self.job.input) {
            expected[record.partition as usize].take(&record);
        }
        let mut outputs: Vec<Vec<(String, String)>> = expected.iter().map(|_| Vec::new()).collect();
        for record in self.job.outputs().into_iter().filter(|record| !record.key_text().starts_with("tick-")) {
            outputs[record.partition as usize].push((record.key_text(), record.value_text()));
        }
        let changelog = self.fold_changelog();
        for (partition, (expected, outputs)) in expected.iter().zip(&outputs).enumerate() {
            if outputs != &expected.outputs {
                let at = outputs.iter().zip(&expected.outputs).take_while(|(got, want)| got == want).count();
                let got = outputs.get(at);
                let want = expected.outputs.get(at);
                let counts = (outputs.len(), expected.outputs.len());
                panic!("partition {partition}: {} outputs of {}, output {at}: {got:?}, not {want:?}", counts.0, counts.1);
            }
            assert_eq!(changelog[partition].0, expected.sums, "partition {partition} of the changelog");
        }
        let failed: usize = expected.iter().map(|folded| folded.failed).sum();
        assert_eq!(topics::read_committed(self.job.kafka, &self.job.dead_letters).len(), failed, "dead letters");
        let count: usize = outputs.iter().map(Vec::len).sum();
        println!("{}: {count} outputs and {failed} dead letters are right", self.job.transform);
    }

    /// The contents of each partition of the changelog: the entries, and the number of ticks.
    pub fn fold_changelog(&self) -> Vec<(Sums, u64)> {
        let mut folded: Vec<(BTreeMap<_, _>, u64)> = (0..self.partitions).map(|_| Default::default()).collect();
        for record in topics::read_committed(self.job.kafka, &self.changelog) {
            let (sums, ticks) = &mut folded[record.partition as usize];
            match (record.key.as_deref(), &record.value) {
                (Some([OWN, ..]), _) => *ticks = record.value_text().parse().expect("a number"),
                (_, None) => drop(sums.remove(&record.key_text())),
                (_, Some(_)) => drop(sums.insert(record.key_text(), numbers(&record.value_text()))),
            }
        }
        folded
    }
}

/// Count and sum of an entry, or of an output.
pub fn numbers(text: &str) -> (i64, i64) {
    let mut numbers = text.split(' ').map(|number| number.parse().unwrap_or_else(|_| panic!("{text:?}")));
    (numbers.next().expect("a count"), numbers.next().expect("a sum"))
}

// === impl FoldResult ===

impl FoldResult {
    fn take(&mut self, record: &Record) {
        let key = record.key_text();
        let answer = match record.value.as_deref() {
            None => {
                self.sums.remove(&key);
                "gone".to_owned()
            }
            Some(b"scan") => {
                let total = self.sums.values().fold((0, 0), |all, own| (all.0 + own.0, all.1 + own.1));
                format!("all {} {} {}", self.sums.len(), total.0, total.1)
            }
            Some(b"poison" | b"refuse") => {
                self.failed += 1;
                return;
            }
            Some(_) => {
                let number: i64 = record.value_text().parse().expect("a number");
                let sum = self.sums.entry(key.clone()).or_default();
                *sum = (sum.0 + 1, sum.1 + number);
                format!("{} {}", sum.0, sum.1)
            }
        };
        self.outputs.push((key, answer));
    }
}

/// Numbers for most, for some a deletion, a listing, or a failure.
pub fn messages(seed: &mut Seed, count: usize, keys: u64) -> Vec<Message> {
    let mut message = || {
        let key = format!("key-{}", seed.within(0..keys)).into_bytes();
        let value = match seed.within(0..2000) {
            0..40 => None,
            40..44 => Some("scan".to_owned()),
            44 => Some("poison".to_owned()),
            45 => Some("refuse".to_owned()),
            number => Some((number as i64 - 1000).to_string()),
        };
        Message { key: Some(key), value: value.map(String::into_bytes), ..Message::default() }
    };
    (0..count).map(|_| message()).collect()
}
