//! Records the events of the transforms on this host, from changes of the status that the API shows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::model::log_entry::{Event, Level};
use crate::model::names::TransformId;
use crate::model::status::{LastError, PartitionStatus, RolloutState, State, TransformStatus};
use crate::telemetry::metrics::{Metrics, TransformCounts};
use crate::telemetry::transform_log::TransformLog;

/// Time between two events on failed records and dropped lines, which name sums.
const COUNT_INTERVAL: Duration = Duration::from_secs(5);
/// The reasons for which lines are dropped.
const LINES_DROPPED: &str = "log lines of its guest were dropped: more than limits.log_lines_per_second or \
    limits.log_bytes_per_second, than its team may log on a host (--team-log-lines-max, --team-log-bytes-max), or than \
    the queue has room for (--journal-max)";
/// Most partitions that one line names.
const NAMED_MAX: usize = 16;

/// An event with its level and its message.
type EventLine = (Level, Event, String);

/// The statuses that were seen last, and the journal that gets the events between two of them.
pub struct EventRecorder {
    journal: TransformLog,
    metrics: Metrics,
    known: BTreeMap<TransformId, TransformStatus>,
    /// Failed records and dropped lines that were told of.
    told: BTreeMap<TransformId, TransformCounts>,
    counted: Instant,
}

impl EventRecorder {
    pub fn new(journal: TransformLog, metrics: Metrics) -> Self {
        Self { journal, metrics, known: BTreeMap::new(), told: BTreeMap::new(), counted: Instant::now() }
    }

    /// Records the events between the last look at these statuses and this one.
    pub fn tell(&mut self, statuses: &[TransformStatus], now: Instant) {
        for status in statuses {
            let before = self.known.get(&status.id);
            for (level, event, message) in changes(before, status) {
                self.journal.event(&status.id, status.rollout.revision, level, event, &message);
            }
            self.known.insert(status.id.clone(), status.clone());
        }
        let here: BTreeSet<&TransformId> = statuses.iter().map(|status| &status.id).collect();
        let stopped: Vec<TransformId> = self.known.keys().filter(|id| !here.contains(id)).cloned().collect();
        for id in stopped {
            self.stopped(&id, "stopped");
        }
        if now.duration_since(self.counted) >= COUNT_INTERVAL {
            self.counted = now;
            self.count();
        }
    }

    /// The host ends.
    pub fn farewell(&mut self) {
        self.count();
        let known: Vec<TransformId> = self.known.keys().cloned().collect();
        for id in known {
            self.stopped(&id, "the host stops");
        }
    }

    fn stopped(&mut self, id: &TransformId, message: &str) {
        let revision = self.known.remove(id).map_or(0, |status| status.revision);
        self.told.remove(id);
        self.journal.event(id, revision, Level::Info, Event::Stopped, message);
    }

    fn count(&mut self) {
        for (id, status) in &self.known {
            let now = self.metrics.transform(id).counts();
            let before = self.told.insert(id.clone(), now).unwrap_or_default();
            let last = status.error.as_ref().map_or(String::new(), |error| format!(", the last for {}", text(error)));
            let dead_lettered = now.dead_lettered.saturating_sub(before.dead_lettered);
            let skipped = now.skipped.saturating_sub(before.skipped);
            let dropped = now.lines_dropped.saturating_sub(before.lines_dropped);
            if dropped > 0 {
                tracing::warn!(transform = %id, lines = dropped, "log lines of the guest were dropped");
            }
            for (event, count, message) in [
                (Event::DeadLettered, dead_lettered, format!("failed records went to the dead-letter topic{last}")),
                (Event::Skipped, skipped, format!("failed records were skipped{last}")),
                (Event::LinesDropped, dropped, LINES_DROPPED.to_owned()),
            ] {
                if count > 0 {
                    self.journal.event(id, status.revision, Level::Warn, event, &format!("{count} {message}"));
                }
            }
        }
    }
}

/// The events between two looks at a transform.
fn changes(before: Option<&TransformStatus>, now: &TransformStatus) -> Vec<EventLine> {
    let mut all = Vec::new();
    let rollout = &now.rollout;
    let was = before.map(|before| &before.rollout);
    if rollout.revision > 0 && was.is_none_or(|was| was.revision != rollout.revision) && !now.state.is_at_rest() {
        all.push((Level::Info, Event::Deployed, format!("revision {} is to run here", rollout.revision)));
    }
    let was = was.map(|was| (was.revision, was.state));
    if rollout.state == RolloutState::Failed && was != Some((rollout.revision, RolloutState::Failed)) {
        let why = rollout.error.as_ref().map(text).unwrap_or_default();
        let goes_on = match now.revision {
            revision if revision > 0 && revision != rollout.revision => format!("; revision {revision} goes on"),
            _ => String::new(),
        };
        all.push((Level::Error, Event::Refused, format!("revision {}: {why}{goes_on}", rollout.revision)));
    }
    let ran = before.filter(|before| runs(before.state)).map(|before| before.revision);
    if let Some(older) = ran.filter(|&older| older > 0 && older < now.revision) {
        all.push((Level::Info, Event::Swapped, format!("revision {} runs, after {older}", now.revision)));
    }
    all.extend(partitions(before.map_or(&[], |before| &before.partitions), &now.partitions));
    all.extend(state(before.map(|before| before.state), now));
    all
}

fn runs(state: State) -> bool {
    matches!(state, State::Running | State::Degraded)
}

fn state(before: Option<State>, now: &TransformStatus) -> Option<EventLine> {
    if before == Some(now.state) {
        return None;
    }
    let why = now.error.as_ref().map(text);
    match (before, now.state) {
        (Some(State::Degraded | State::Failed), State::Running) => {
            Some((Level::Info, Event::Recovered, format!("revision {} runs as it should", now.revision)))
        }
        (_, State::Running) => Some((Level::Info, Event::Started, format!("revision {} runs", now.revision))),
        // Partitions that stopped are told of one by one.
        (_, State::Paused) if now.partitions.is_empty() => {
            Some((Level::Info, Event::Paused, "paused by request".to_owned()))
        }
        (_, State::Degraded) => {
            Some((Level::Warn, Event::Degraded, why.unwrap_or_else(|| "not as it should be".to_owned())))
        }
        (_, State::Failed) => Some((Level::Error, Event::Failed, why.unwrap_or_else(|| "it does not work".to_owned()))),
        _ => None,
    }
}

fn partitions(before: &[PartitionStatus], now: &[PartitionStatus]) -> Vec<EventLine> {
    let named = |all: &[PartitionStatus]| all.iter().map(name).collect::<Vec<_>>();
    let had = named(before);
    let has = named(now);
    let mut all = Vec::new();
    if had != has {
        let more = if has.len() > NAMED_MAX { ", ..." } else { "" };
        let shown = has.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
        let message = if has.is_empty() { "no partition".to_owned() } else { format!("{}: {shown}{more}", has.len()) };
        all.push((Level::Info, Event::Rebalanced, format!("partitions of this host: {message}")));
    }
    let was_paused = |name: &String| before.iter().any(|was| self::name(was) == *name && was.state == State::Paused);
    for (partition, name) in now.iter().zip(&has).filter(|(now, name)| now.state == State::Paused && !was_paused(name)) {
        let offset = partition.committed_offset.map_or(String::new(), |offset| format!(" at offset {offset}"));
        let why = partition.error.as_ref().map_or(String::new(), |error| format!(": {}", text(error)));
        all.push((Level::Error, Event::Paused, format!("{name} is paused{offset}{why}")));
    }
    all
}

fn name(partition: &PartitionStatus) -> String {
    format!("{}/{}", partition.topic, partition.partition)
}

fn text(error: &LastError) -> String {
    format!("{} {}", error.code, error.message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::codes::Code;
    use crate::model::status::Rollout;
    use crate::model::units::Timestamp;
    use crate::telemetry::transform_log::Entry;

    fn partition(number: i32, state: State) -> PartitionStatus {
        PartitionStatus {
            restoring: None,
            stores: Vec::new(),
            topic: "in".parse().expect("valid"),
            partition: number,
            committed_offset: Some(7),
            end_offset: None,
            lag: None,
            state,
            revision: 1,
            revision_since: 0,
            error: (state == State::Paused).then(error),
        }
    }

    fn error() -> LastError {
        LastError { code: Code::Trap, message: "oh".into(), offset: None, at: Timestamp(0) }
    }

    fn status(
        state: State,
        revision: u64,
        target: u64,
        rollout: RolloutState,
        partitions: &[(i32, State)],
    ) -> TransformStatus {
        let failed = rollout == RolloutState::Failed || state == State::Failed;
        TransformStatus {
            id: "t/n".parse().expect("valid"),
            state,
            revision,
            rollout: Rollout { revision: target, state: rollout, error: failed.then(error) },
            host: "a".into(),
            error: failed.then(error),
            partitions: partitions.iter().map(|&(number, state)| partition(number, state)).collect(),
            truncated: false,
            omitted: None,
            hosts_wanted: None,
            activity: None,
        }
    }

    #[test]
    fn dropped_lines_are_told_of_as_a_sum() {
        let metrics = Metrics::new();
        let (journal, [entries, _]) = TransformLog::new("a", 1 << 20, |kind| metrics.transform_log.dropped(kind));
        let status = status(State::Running, 1, 1, RolloutState::Complete, &[]);
        let dropped = metrics.transform(&status.id).guest.log_lines_dropped.clone();
        let mut recorder = EventRecorder::new(journal, metrics);
        let now = Instant::now();
        let statuses = [status];
        let mut told = Vec::new();
        for (more, at) in [(7, now), (5, now + COUNT_INTERVAL), (0, now + COUNT_INTERVAL * 2), (1, now + COUNT_INTERVAL * 3)]
        {
            dropped.inc_by(more);
            recorder.tell(&statuses, at);
            for (_, entry) in entries.take(1 << 20) {
                if let Entry::Log(entry) = entry
                    && entry.event == Some(Event::LinesDropped)
                {
                    told.push(entry.message.split(' ').next().unwrap_or_default().to_owned());
                }
            }
        }
        assert_eq!(told, ["12", "1"]);
    }

    #[test]
    fn each_change_is_told_once() {
        use RolloutState::{Complete, Failed as Refused, InProgress, Ready};
        use State::{Degraded, Failed, Paused, Running, Starting};
        let own: &[(i32, State)] = &[(0, Running), (1, Running)];
        let one_paused: &[(i32, State)] = &[(0, Running), (1, Paused)];
        let steps = [
            (status(Starting, 1, 1, InProgress, &[]), "deployed: revision 1 is to run here"),
            (status(Starting, 0, 1, Ready, &[]), ""),
            (
                status(Running, 1, 1, Complete, own),
                "rebalanced: partitions of this host: 2: in/0, in/1 | started: revision 1 runs",
            ),
            (status(Running, 1, 1, Complete, own), ""),
            (status(Running, 1, 2, InProgress, own), "deployed: revision 2 is to run here"),
            (status(Running, 2, 2, Ready, own), "swapped: revision 2 runs, after 1"),
            (status(Running, 1, 2, Refused, own), "refused: revision 2: E102 oh; revision 1 goes on"),
            (
                status(Running, 3, 3, Complete, own),
                "deployed: revision 3 is to run here | swapped: revision 3 runs, after 1",
            ),
            (
                status(Degraded, 3, 3, Complete, one_paused),
                "paused: in/1 is paused at offset 7: E102 oh | degraded: not as it should be",
            ),
            (status(Running, 3, 3, Complete, own), "recovered: revision 3 runs as it should"),
            (status(Failed, 0, 3, Ready, &[]), "rebalanced: partitions of this host: no partition | failed: E102 oh"),
            (status(Paused, 3, 3, Complete, &[]), "paused: paused by request"),
        ];
        let mut before: Option<TransformStatus> = None;
        for (number, (now, expected)) in steps.into_iter().enumerate() {
            let told = changes(before.as_ref(), &now);
            let told: Vec<_> = told.iter().map(|(_, event, message)| format!("{}: {message}", event.as_str())).collect();
            assert_eq!(told.join(" | "), expected, "step {number}");
            before = Some(now);
        }
    }
}
