//! The points of the curves whose contender has one group.

use std::sync::atomic::{AtomicU32, Ordering};

use sandbar_harness::{KafkaCluster, Message, Producer, topics};
use serde_json::json;

use crate::contender::{Contender, Kind};
use crate::figures::Window;
use crate::run::Job;
use crate::sandbar::Sandbar;
use crate::work::Work;

/// A contender on topics of its own.
pub struct Point {
    pub kind: Kind,
    pub partitions: i32,
    /// The records before the measured ones.
    pub first: u64,
}

// === impl Point ===

impl Point {
    /// The cost of `records` records, made by their numbers, after those that come first.
    pub fn measure(
        self,
        kafka: &KafkaCluster,
        records: u64,
        record: &dyn Fn(u64) -> (String, String),
    ) -> anyhow::Result<Window> {
        let [input, output] = fresh_topics();
        topics::create(kafka, &[&input, &output], self.partitions);
        let producer = Producer::new(kafka);
        for number in 0..self.first + records {
            let (key, value) = record(number);
            producer.send(&input, &Message::new(key, value));
        }
        producer.flush();
        let job = Job { input: &input, output: &output, table: "" };
        let contender = Contender { name: "point", title: "", work: Work::PassThrough, is_apart: true, kind: self.kind };
        let figures = contender.start(kafka, &job)?.measure_from(kafka, &job, self.first, self.first + records)?;
        job.delete_topics(kafka)?;
        topics::delete(kafka, &input);
        Ok(figures.whole)
    }
}

/// A count over so many uniform keys, each of which is there already.
pub fn count(kafka: &KafkaCluster, keys: u64, records: u64) -> anyhow::Result<Window> {
    let spec = json!({"state": {"counts": {}}});
    let kind = Kind::Sandbar(Sandbar { module: "tests/guests/count", spec, tailed: false });
    let point = Point { kind, partitions: crate::PARTITIONS, first: keys };
    point.measure(kafka, records, &|number| {
        // The multiplier has no factor in common with a power of ten, so that the first `keys` numbers are all keys, once.
        let key = number.wrapping_mul(7_368_787) % keys;
        let value = if number < keys { "first".to_owned() } else { text(100) };
        (key.to_string(), value)
    })
}

/// So many bytes that look like nothing, so that lz4 makes no less of them.
pub fn text(bytes: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(LETTERS[(state >> 58) as usize])
    };
    (0..bytes).map(|_| letter()).collect()
}

/// Names of an input and an output that nobody has used yet.
pub fn fresh_topics() -> [String; 2] {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    ["in", "out"].map(|side| format!("bench.curve.{side}.{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_its_length_and_does_not_repeat() {
        let text = text(1000);
        assert_eq!(text.len(), 1000);
        assert_eq!(text.matches(&text[..8]).count(), 1);
    }
}
