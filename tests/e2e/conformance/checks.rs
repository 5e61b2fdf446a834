//! The duties of every [`Log`], as named checks that run over any of them: the embedded one, and a real Kafka.
//!
//! A check uses topics, groups and ids of its own (all begin with `unique`), waits on conditions and never sleeps, and
//! takes nothing for granted that Kafka does not promise: offsets may have gaps, an end may lie past the last record,
//! rebalances take seconds, and repeats may be delivered.

mod groups;
mod member;
mod sessions;
mod topics;
mod transactions;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sandbar::model::names::TopicName;
use sandbar::model::spec::{Delivery, Start};
use sandbar::model::units::Timestamp;
use sandbar::ports::{GroupOffset, Log, LogRecord, NewTopic, SessionOptions};

use member::Member;

/// Longest time of any wait. Kafka's rebalances and a loaded machine are slow; only a failure waits that long.
const PATIENCE: Duration = Duration::from_secs(90);

/// The timestamp of records. Old ones would be deleted by age, at any time.
static NOW: LazyLock<i64> = LazyLock::new(|| Timestamp::now().0);

type Check = fn(&Fixture) -> Result<()>;

const CHECKS: &[(&str, Check)] = &[
    ("topics are created once and listed", topics::created_once_and_listed),
    ("payloads read back exactly", topics::payloads_read_back_exactly),
    ("a partition is read in pages", topics::read_in_pages),
    ("a waiting read is woken", topics::waiting_read_is_woken),
    ("keys go where Java puts them", topics::keys_go_where_java_puts_them),
    ("order is kept within a partition", sessions::order_is_kept),
    ("a waiting poll is woken", sessions::waiting_poll_is_woken),
    ("seek, pause and resume", sessions::seek_pause_resume),
    ("start is resolved once", sessions::start_is_resolved_once),
    ("start means the same in every log", groups::start_means_the_same),
    ("times are looked up", groups::times_are_looked_up),
    ("offsets are moved from outside", groups::offsets_are_moved_from_outside),
    ("first offsets come with a record", groups::first_offsets_come_with_a_record),
    ("a partition without a place is not read", groups::without_a_place_not_read),
    ("partitions are shared and taken over", sessions::shared_and_taken_over),
    ("a transaction is visible as a whole", transactions::visible_as_a_whole),
    ("an aborted transaction leaves nothing", transactions::abort_leaves_nothing),
    ("at-least-once commits too", transactions::at_least_once),
    ("a newer session fences the older", transactions::newer_session_fences),
    ("a stale generation is refused", transactions::stale_generation_is_refused),
    ("a writer goes on until it is fenced", transactions::writer_goes_on_until_fenced),
    ("a bulk is there as a whole or not at all", transactions::bulk_is_whole),
    ("a session may end with a rebalance unanswered", sessions::ends_unanswered),
    ("crashes lose and repeat nothing", transactions::crashes_lose_and_repeat_nothing),
];

/// Runs every check and panics with the names of those that failed.
pub fn run(log: Arc<dyn Log>, unique: &str) {
    let mut failed = Vec::new();
    for (number, (name, check)) in CHECKS.iter().enumerate() {
        let fixture = Fixture { log: Arc::clone(&log), prefix: format!("{unique}.{number}") };
        let start = Instant::now();
        let result = check(&fixture);
        println!("{} {name} [{:.1?}]", if result.is_ok() { "pass" } else { "FAIL" }, start.elapsed());
        if let Err(error) = result {
            println!("     {error:?}");
            failed.push(*name);
        }
    }
    assert!(failed.is_empty(), "{} of {} checks failed: {failed:?}", failed.len(), CHECKS.len());
}

/// A log, and names that no other check uses.
pub struct Fixture {
    log: Arc<dyn Log>,
    prefix: String,
}

impl Fixture {
    fn name(&self, suffix: &str) -> Result<TopicName> {
        Ok(format!("{}.{suffix}", self.prefix).parse()?)
    }

    /// Creates a topic and waits until it is there.
    fn topic(&self, suffix: &str, partitions: i32) -> Result<TopicName> {
        let name = self.name(suffix)?;
        self.log.create_topic(&NewTopic { name: name.clone(), partitions, compacted: false, retention: None })?;
        wait_for("the topic", || Ok(self.log.topic(&name).is_ok_and(|topic| topic.partitions == partitions)))?;
        Ok(name)
    }

    fn options(&self, id: &str, input: &TopicName, outputs: &[&TopicName]) -> SessionOptions {
        SessionOptions {
            group: format!("{}.group", self.prefix),
            transactional_id: format!("{}.{id}", self.prefix),
            inputs: vec![input.clone()],
            outputs: outputs.iter().map(|&output| output.clone()).collect(),
            delivery: Delivery::ExactlyOnce,
            transaction_timeout: sandbar::model::transaction_time::TIMEOUT_MIN,
            start: Start::Earliest,
            begun: BTreeMap::new(),
            co_partitioned: false,
        }
    }

    /// Opens a session that begins at the earliest record, and wraps it up.
    fn member(&self, id: &str, input: &TopicName, outputs: &[&TopicName]) -> Result<Member> {
        self.member_with(&self.options(id, input, outputs))
    }

    /// Partitions that the group never had begin at `start`.
    fn member_with(&self, options: &SessionOptions) -> Result<Member> {
        let committed = self.log.group_offsets(&options.group, &options.inputs)?;
        let has_none = |first: &GroupOffset| {
            !committed.iter().any(|other| (&other.topic, other.partition) == (&first.topic, first.partition))
        };
        let first = self.log.start_offsets(&options.inputs[0], &options.start)?.into_iter().filter(has_none);
        let first: Vec<GroupOffset> = first.collect();
        if !first.is_empty() {
            self.log.commit_for_group(&options.group, &first)?;
        }
        self.member_unbegun(options)
    }

    fn member_unbegun(&self, options: &SessionOptions) -> Result<Member> {
        Ok(Member::new(self.log.open(options).context("open")?))
    }

    /// Appends records `from..to` to one partition; their values are their numbers.
    fn fill(&self, topic: &TopicName, partition: i32, numbers: std::ops::Range<usize>) -> Result<()> {
        let records = numbers.map(|n| record(Some(format!("k{n}").as_bytes()), Some(n.to_string().as_bytes()))).collect();
        Ok(self.log.append(topic, Some(partition), records)?)
    }

    /// All committed records of a partition, in order.
    fn read_all(&self, topic: &TopicName, partition: i32) -> Result<Vec<LogRecord>> {
        let mut records: Vec<LogRecord> = Vec::new();
        let (mut offset, _) = self.log.offsets(topic, partition)?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let page = self.log.read(topic, partition, offset, Duration::from_millis(300), 1 << 20)?;
            records.extend(page.records);
            offset = page.next_offset;
            if offset >= page.end_offset {
                return Ok(records);
            }
        }
        bail!("reading {topic}/{partition} came to offset {offset} and no further")
    }

    /// The values of all committed records of a partition, as text.
    fn values(&self, topic: &TopicName, partition: i32) -> Result<Vec<String>> {
        let records = self.read_all(topic, partition)?;
        Ok(records.into_iter().map(|record| text(record.value.as_deref())).collect())
    }

    fn wait_for_values(&self, topic: &TopicName, partition: i32, expected: &[&str]) -> Result<()> {
        let mut found = Vec::new();
        wait_for("the committed records", || {
            found = self.values(topic, partition)?;
            Ok(found == expected)
        })
        .with_context(|| format!("{topic}/{partition} holds {found:?}, expected {expected:?}"))
    }
}

fn record(key: Option<&[u8]>, value: Option<&[u8]>) -> LogRecord {
    let key = key.map(<[u8]>::to_vec);
    let value = value.map(<[u8]>::to_vec);
    LogRecord { offset: 0, timestamp: *NOW, key, value, headers: Vec::new() }
}

fn text(bytes: Option<&[u8]>) -> String {
    bytes.map_or("null".into(), |bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// Asks again and again, until it is so.
fn wait_for(what: &str, condition: impl FnMut() -> Result<bool>) -> Result<()> {
    wait_within(PATIENCE, what, condition)
}

fn wait_within(patience: Duration, what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + patience;
    while !condition()? {
        if Instant::now() > deadline {
            bail!("waited {patience:?} for {what}");
        }
        std::thread::yield_now();
    }
    Ok(())
}
