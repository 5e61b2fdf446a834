//! The partitions of a worker that have no place to be read from. They show in its status; the others go on.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::clock::{Monotonic, Now};
use crate::model::codes::Code;
use crate::model::status::{LastError, PartitionStatus, State};
use crate::ports::{NoPlace, TopicPartition, UnplacedPartition};
use crate::task::Settings;

/// The time between two questions for the offset of a partition that never had one. Its host commits one within a second
/// or two.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// The time between two questions for an offset that is gone: a coordinator that has just taken over may not know it yet.
const ASK_FORGOTTEN_INTERVAL: Duration = Duration::from_secs(5);
/// The time between two questions for an offset that an open transaction may change.
const SETTLE_INTERVAL: Duration = Duration::from_millis(200);
/// The time after which such a transaction is an error: brokers have aborted it before, whoever left it.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
/// The time after which a partition that nobody has begun is an error.
const BEGUN_WITHIN: Duration = Duration::from_secs(60);

/// The partitions of one worker that have no place to be read from.
#[derive(Default)]
pub(super) struct UnplacedPartitions {
    all: BTreeMap<TopicPartition, Entry>,
    ask_at: Monotonic,
    ask_forgotten_at: Monotonic,
    settle_at: Monotonic,
    /// The time of the last call that had one.
    now: Monotonic,
}

struct Entry {
    reason: NoPlace,
    since: Now,
}

// === impl UnplacedPartitions ===

impl UnplacedPartitions {
    /// Takes over the unplaced partitions of a session after an assignment.
    pub fn follow(&mut self, unplaced: &[UnplacedPartition], settings: &Settings, now: Now) {
        self.now = now.mono;
        let is_there = |partition: &TopicPartition| unplaced.iter().any(|other| other.partition == *partition);
        self.all.retain(|partition, _| is_there(partition));
        for UnplacedPartition { partition, reason } in unplaced {
            if self.all.get(partition).is_some_and(|known| known.reason == *reason) {
                continue;
            }
            let entry = Entry { reason: reason.clone(), since: now };
            if let Some(LastError { code, message, .. }) = entry.error(*partition, settings, now.mono) {
                tracing::error!(transform = %settings.id, %code, error = message, "a partition stands still");
            }
            self.all.insert(*partition, entry);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn remove(&mut self, partitions: &[TopicPartition]) {
        self.all.retain(|partition, _| !partitions.contains(partition));
    }

    /// Returns true if it is time to ask for the offsets of partitions that nobody has begun yet, or whose offset is gone.
    pub fn is_due(&mut self, now: Monotonic) -> bool {
        self.now = now;
        let has = |reason| self.all.values().any(|entry| entry.reason == reason);
        let is_due =
            (now >= self.ask_at && has(NoPlace::Unbegun)) || (now >= self.ask_forgotten_at && has(NoPlace::Forgotten));
        if is_due {
            self.ask_at = now.after(ASK_INTERVAL);
            self.ask_forgotten_at = now.after(ASK_FORGOTTEN_INTERVAL);
        }
        is_due
    }

    /// Returns true if it is time to ask for offsets that are not settled.
    pub fn is_settling_due(&mut self, now: Monotonic) -> bool {
        self.now = now;
        let waits = now >= self.settle_at && self.all.values().any(|entry| entry.reason == NoPlace::Unsettled);
        if waits {
            self.settle_at = now.after(SETTLE_INTERVAL);
        }
        waits
    }

    pub fn statuses(&self, settings: &Settings) -> Vec<PartitionStatus> {
        self.all.iter().map(|(partition, entry)| entry.status(*partition, settings, self.now)).collect()
    }
}

// === impl Entry ===

impl Entry {
    fn error(&self, partition: TopicPartition, settings: &Settings, now: Monotonic) -> Option<LastError> {
        let topic = &settings.inputs[partition.input as usize];
        let id = &settings.id;
        let index = partition.partition;
        let (code, message) = match self.reason {
            NoPlace::Unbegun if now < self.since.mono.after(BEGUN_WITHIN) => return None,
            NoPlace::Unbegun => {
                let waited = BEGUN_WITHIN.as_secs();
                (Code::OffsetForgotten, format!("{topic}/{index} has no offset, and no host gave it one in {waited} s"))
            }
            NoPlace::Unsettled if now < self.since.mono.after(SETTLED_WITHIN) => return None,
            NoPlace::Unsettled => {
                let waited = SETTLED_WITHIN.as_secs();
                let message =
                    format!("the offset of {topic}/{index} is not settled: a transaction is open for over {waited} s");
                (Code::OffsetUnsettled, message)
            }
            NoPlace::Forgotten => (
                Code::OffsetForgotten,
                format!(
                    "{topic}/{index} had a committed offset and has none any more: pause {id}, and say where it goes on \
                     with `sandbar offsets set {id} --offset {topic}:{index}:OFFSET` or `sandbar offsets reset {id}`"
                ),
            ),
            NoPlace::Outside { next_offset, first, .. } if next_offset < first => (
                Code::OffsetOutside,
                format!(
                    "{topic}/{index}: offsets {next_offset} to {} were deleted before they were read; to go on without \
                     them, pause {id} and run `sandbar offsets set {id} --offset {topic}:{index}:{first}`",
                    first - 1
                ),
            ),
            NoPlace::Outside { next_offset, end, .. } => (
                Code::OffsetOutside,
                format!(
                    "{topic}/{index} ends at {end}, and the committed offset is {next_offset}: the partition was cut \
                     short or made anew; offsets {end} to {} are not there. To go on, pause {id} and run `sandbar offsets \
                     set {id} --offset {topic}:{index}:OFFSET`",
                    next_offset - 1
                ),
            ),
        };
        Some(LastError { code, message, offset: self.offset(), at: self.since.wall })
    }

    fn offset(&self) -> Option<i64> {
        match self.reason {
            NoPlace::Outside { next_offset, .. } => Some(next_offset),
            NoPlace::Unbegun | NoPlace::Unsettled | NoPlace::Forgotten => None,
        }
    }

    fn status(&self, partition: TopicPartition, settings: &Settings, now: Monotonic) -> PartitionStatus {
        let end_offset = match self.reason {
            NoPlace::Outside { end, .. } => Some(end),
            NoPlace::Unbegun | NoPlace::Unsettled | NoPlace::Forgotten => None,
        };
        let error = self.error(partition, settings, now);
        PartitionStatus {
            topic: settings.inputs[partition.input as usize].clone(),
            partition: partition.partition,
            committed_offset: self.offset(),
            end_offset,
            // Nobody knows the number of records.
            lag: None,
            state: if error.is_some() { State::Failed } else { State::Starting },
            revision: settings.revision,
            revision_since: self.offset().unwrap_or(0),
            restoring: None,
            stores: Vec::new(),
            error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::names::Digest;
    use crate::model::spec::{RawSpec, Spec};
    use crate::model::units::Timestamp;

    const AT: TopicPartition = TopicPartition { input: 0, partition: 1 };
    const NOW: Now = Now { wall: Timestamp(5), mono: Monotonic::from_millis(1000) };

    fn settings() -> Settings {
        let raw: RawSpec = serde_json::from_str(r#"{"inputs":["in"],"outputs":{"out":"out"}}"#).expect("a spec");
        let spec = Spec::parse(&raw, &"team/name".parse().expect("valid"), Some(Digest::of(b""))).expect("valid");
        Settings::of(&spec, 3, Vec::new(), vec![1000; 8])
    }

    #[track_caller]
    fn check(reason: NoPlace, waited: Duration, code: Option<Code>, named: &[&str]) {
        let settings = settings();
        let mut all = UnplacedPartitions::default();
        all.follow(&[UnplacedPartition { partition: AT, reason }], &settings, NOW);
        all.is_due(NOW.mono.after(waited));
        let [status] = &all.statuses(&settings)[..] else { panic!("one partition") };
        let message = status.error.as_ref().map(|error| error.message.clone()).unwrap_or_default();
        assert_eq!(status.error.as_ref().map(|error| error.code), code, "{message}");
        assert_eq!(status.state, if code.is_some() { State::Failed } else { State::Starting });
        for named in named {
            assert!(message.contains(named), "{named}: {message}");
        }
        all.remove(&[AT]);
        assert!(all.statuses(&settings).is_empty());
    }

    #[test]
    fn an_error_says_which_offsets_and_the_way_out() {
        let none = Duration::ZERO;
        let long = BEGUN_WITHIN;
        check(NoPlace::Unbegun, none, None, &[]);
        check(NoPlace::Unbegun, long, Some(Code::OffsetForgotten), &["in/1", "60 s"]);
        check(NoPlace::Unsettled, none, None, &[]);
        check(NoPlace::Unsettled, long, Some(Code::OffsetUnsettled), &["in/1", "60 s"]);
        check(NoPlace::Forgotten, none, Some(Code::OffsetForgotten), &["in/1", "sandbar offsets set team/name", "reset"]);
        let deleted = NoPlace::Outside { next_offset: 10, first: 25, end: 90 };
        check(deleted, none, Some(Code::OffsetOutside), &["10 to 24", "--offset in:1:25"]);
        let cut = NoPlace::Outside { next_offset: 70, first: 5, end: 50 };
        check(cut, none, Some(Code::OffsetOutside), &["ends at 50", "offset is 70", "50 to 69"]);
    }

    #[test]
    fn an_offset_is_asked_for_where_it_may_come() {
        let settings = settings();
        for (reason, asks, settles) in [
            (NoPlace::Unbegun, [true, false, true, true], false),
            (NoPlace::Unsettled, [false; 4], true),
            (NoPlace::Forgotten, [true, false, false, true], false),
            (NoPlace::Outside { next_offset: 1, first: 2, end: 3 }, [false; 4], false),
        ] {
            let mut all = UnplacedPartitions::default();
            all.follow(&[UnplacedPartition { partition: AT, reason }], &settings, NOW);
            let asked = [1000, 1500, 2000, 6000].map(|now| all.is_due(Monotonic::from_millis(now)));
            assert_eq!(asked, asks);
            let asked = [1000, 1199, 1200].map(|now| all.is_settling_due(Monotonic::from_millis(now)));
            assert_eq!(asked, [settles, false, settles]);
        }
    }
}
