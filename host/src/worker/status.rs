//! The status of a worker, as a function of its parts.

use crate::model::status::{LastError, PartitionStatus, Refused, State};

use super::rollout::RolloutStage;

/// The status of a worker.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerStatus {
    pub state: State,
    /// True if its session is a member of the transform's group.
    pub joined: bool,
    pub error: Option<LastError>,
    pub partitions: Vec<PartitionStatus>,
    /// Memory of its largest instance, in bytes.
    pub memory_bytes: usize,
    /// Memory of all its instances.
    pub memory_total_bytes: usize,
    pub revision: u64,
    /// The revision that it goes back to if this one fails: there is one while this one is on trial, for it has not
    /// committed yet.
    pub fallback: Option<u64>,
    /// The last revision that did not pass its trial.
    pub refused: Option<Refused>,
    /// A newer revision that another host has committed with, on partitions that are this worker's now: they wait
    /// for it.
    pub outrun_by: Option<u64>,
    /// The part of the last whole 2 s in which it did not wait for records, in percent.
    pub busy_percent: u8,
}

impl WorkerStatus {
    /// The status of a worker without a session.
    pub fn without_session(state: State, error: Option<LastError>) -> Self {
        Self {
            state,
            joined: false,
            error,
            partitions: Vec::new(),
            memory_bytes: 0,
            memory_total_bytes: 0,
            revision: 0,
            fallback: None,
            refused: None,
            outrun_by: None,
            busy_percent: 0,
        }
    }

    /// Returns true if the status of a session may take the place of this one. A failure that does not pass by itself stays
    /// until the group has taken the session in, which may be refused for the same reason.
    pub fn gives_way(&self, is_member: bool) -> bool {
        let lasts = self.state == State::Failed && self.error.as_ref().is_some_and(|error| !error.code.may_pass());
        is_member || !lasts
    }
}

impl Default for WorkerStatus {
    fn default() -> Self {
        Self::without_session(State::Starting, None)
    }
}

/// The parts of a worker that its status shows.
pub(super) struct Facts<'a> {
    pub joined: bool,
    pub partitions: Vec<PartitionStatus>,
    pub stage: RolloutStage,
    pub rejected: Option<&'a Refused>,
    pub outrun_by: Option<u64>,
    /// The reason of the last abort since the last commit.
    pub abort_error: Option<&'a LastError>,
    /// True if transactions are aborted again and again.
    pub is_stuck: bool,
    pub memory_bytes: usize,
    pub memory_total_bytes: usize,
    pub busy_percent: u8,
}

/// The status of a worker that has a session.
pub(super) fn of(facts: Facts<'_>) -> WorkerStatus {
    let Facts { joined, partitions, stage, rejected, outrun_by, abort_error, is_stuck, .. } = facts;
    WorkerStatus {
        state: state(&partitions, joined, is_stuck),
        joined,
        error: last_error(&partitions, abort_error).cloned(),
        partitions,
        memory_bytes: facts.memory_bytes,
        memory_total_bytes: facts.memory_total_bytes,
        revision: stage.revision,
        fallback: stage.fallback,
        refused: rejected.cloned(),
        outrun_by,
        busy_percent: facts.busy_percent,
    }
}

/// The state of a worker from those of its partitions. A worker whose partitions all fail is degraded, not failed: its
/// session works. One that has none runs only as a member of its group: others have the partitions then.
fn state(partitions: &[PartitionStatus], joined: bool, is_stuck: bool) -> State {
    let any = |state| partitions.iter().any(|partition| partition.state == state);
    let all = |state| partitions.iter().all(|partition| partition.state == state);
    if partitions.is_empty() {
        if joined { State::Running } else { State::Starting }
    } else if all(State::Starting) {
        State::Starting
    } else if all(State::Paused) {
        State::Paused
    } else if any(State::Paused) || any(State::Failed) || any(State::Degraded) || is_stuck {
        State::Degraded
    } else {
        State::Running
    }
}

/// The newest error of all.
fn last_error<'a>(partitions: &'a [PartitionStatus], abort: Option<&'a LastError>) -> Option<&'a LastError> {
    let errors = partitions.iter().filter_map(|partition| partition.error.as_ref());
    abort.into_iter().chain(errors).max_by_key(|error| error.at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::codes::Code;
    use crate::model::units::Timestamp;

    fn error_at(at: i64) -> LastError {
        LastError { code: Code::LogUnavailable, message: String::new(), offset: None, at: Timestamp(at) }
    }

    fn partition(state: State, error: Option<LastError>) -> PartitionStatus {
        PartitionStatus {
            topic: "in".parse().expect("valid"),
            partition: 0,
            committed_offset: None,
            end_offset: None,
            lag: None,
            state,
            revision: 1,
            revision_since: 0,
            restoring: None,
            stores: Vec::new(),
            error,
        }
    }

    #[track_caller]
    fn check(states: &[State], is_stuck: bool, expected: State) {
        let partitions: Vec<_> = states.iter().map(|&state| partition(state, None)).collect();
        assert_eq!(state(&partitions, true, is_stuck), expected);
    }

    #[test]
    fn a_worker_shows_what_needs_attention() {
        use State::*;
        check(&[], true, Running);
        check(&[Starting, Starting], true, Starting);
        check(&[Paused, Paused], false, Paused);
        check(&[Running, Starting], false, Running);
        check(&[Running, Running], true, Degraded);
        for state in [Paused, Failed, Degraded] {
            check(&[Running, state], false, Degraded);
        }
        check(&[Failed], false, Degraded);
    }

    #[test]
    fn a_worker_without_partitions_runs_once_it_has_joined() {
        assert_eq!(state(&[], false, false), State::Starting);
        assert_eq!(state(&[], true, false), State::Running);
        let lost = [partition(State::Running, None)];
        assert_eq!(state(&lost, false, false), State::Running, "it works until its partitions are taken away");
    }

    #[test]
    fn a_failure_that_does_not_pass_stays_until_the_group_takes_the_session_in() {
        for (state, code, alone) in [
            (State::Failed, Code::JoinRefused, false),
            (State::Failed, Code::LogUnavailable, true),
            (State::Degraded, Code::JoinRefused, true),
        ] {
            let shown = WorkerStatus::without_session(state, Some(LastError { code, ..error_at(1) }));
            assert_eq!([shown.gives_way(false), shown.gives_way(true)], [alone, true], "{state:?} {code}");
        }
        assert!(WorkerStatus::without_session(State::Failed, None).gives_way(false));
    }

    #[test]
    fn the_newest_error_shows() {
        let partitions = [partition(State::Failed, Some(error_at(5))), partition(State::Running, None)];
        for (abort, expected) in [(None, Some(5)), (Some(3), Some(5)), (Some(7), Some(7))] {
            let abort = abort.map(error_at);
            let found = last_error(&partitions, abort.as_ref()).map(|error| error.at.0);
            assert_eq!(found, expected);
        }
        assert_eq!(last_error(&[], None), None);
    }
}
