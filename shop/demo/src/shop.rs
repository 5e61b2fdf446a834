//! The made-up shop: it writes change events at a steady rate, and keeps the expected outputs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::anyhow;
use sandbar_shop::{ChangeEvent, Generator};
use serde_json::{Value, json};

use crate::api::Api;

/// Per key, the values in order; None is a tombstone.
pub type PerKey = BTreeMap<String, Vec<Option<String>>>;

/// The events that the shop has written.
#[derive(Default)]
pub struct Written {
    pub events: u64,
    pub expected: PerKey,
}

impl Written {
    pub fn outputs(&self) -> u64 {
        self.expected.values().map(|values| values.len() as u64).sum()
    }
}

pub struct Shop {
    closed: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Written>>,
}

impl Shop {
    pub fn open(api: Api, seed: u64, rate: u32) -> Self {
        let closed = Arc::new(AtomicBool::new(false));
        let seen = closed.clone();
        Self { closed, thread: std::thread::spawn(move || trade(&api, seed, rate.max(10), &seen)) }
    }

    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    pub fn close(self) -> anyhow::Result<Written> {
        self.closed.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the shop's thread panicked"))?
    }
}

fn trade(api: &Api, seed: u64, rate: u32, closed: &AtomicBool) -> anyhow::Result<Written> {
    const ROUNDS_PER_SECOND: u32 = 10;
    let mut written = Written::default();
    let mut events = Generator::new(seed);
    let mut next = Instant::now();
    while !closed.load(Ordering::Relaxed) {
        let round: Vec<ChangeEvent> = events.by_ref().take((rate / ROUNDS_PER_SECOND) as usize).collect();
        let lines: Vec<String> = round.iter().map(line).collect();
        api.write(crate::INPUT, &lines.join("\n"))?;
        for event in round {
            written.events += 1;
            let expected = event.expected();
            written.expected.entry(text(expected.key)).or_default().push(expected.value.map(text));
        }
        next += Duration::from_secs(1) / ROUNDS_PER_SECOND;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(written)
}

fn line(event: &ChangeEvent) -> String {
    let header = |(name, value): &(String, Option<Vec<u8>>)| json!({"name": name, "value": value.clone().map(text)});
    json!({
        "key": text(event.key.clone()),
        "value": event.value.clone().map(text),
        "headers": event.headers.iter().map(header).collect::<Vec<_>>(),
        // The time is now, so that latencies mean something.
        "timestamp": now_ms(),
    })
    .to_string()
}

#[expect(clippy::disallowed_methods, reason = "the demo makes up live events")]
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}

/// Everything in a topic, per key.
pub fn read_all(api: &Api, topic: &str, partitions: u32) -> anyhow::Result<PerKey> {
    let mut found = PerKey::new();
    for partition in 0..partitions {
        let mut offset = 0;
        loop {
            let page = api.get(&format!("/v1/topics/{topic}/records?partition={partition}&offset={offset}&limit=1000"))?;
            for record in page["records"].as_array().into_iter().flatten() {
                let key = record["key"].as_str().unwrap_or_default().to_owned();
                found.entry(key).or_default().push(record["value"].as_str().map(str::to_owned));
            }
            offset = page["next_offset"].as_i64().unwrap_or(0);
            if page["end_offset"].as_i64().is_none_or(|end| offset >= end) {
                break;
            }
        }
    }
    Ok(found)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The last record of a topic's partition, shortened for a line on the screen.
pub fn latest(api: &Api, topic: &str, partition: u32) -> anyhow::Result<Option<Value>> {
    let page = api.get(&format!("/v1/topics/{topic}/records?partition={partition}&offset=-1&limit=1"))?;
    Ok(page["records"].as_array().and_then(|records| records.last()).cloned())
}
