//! Plans the next action for one transform: a pure function of the desired deployment, the running revision and the time.

use std::time::Duration;

use crate::crashes::Permit;
use crate::model::clock::Monotonic;
use crate::model::revision::{Deployment, Desired, Generations};
use crate::model::units::Timestamp;

/// Time until a suspect asks again for its turn: short beside a start, which its turn waits for.
const TURN_INTERVAL: Duration = Duration::from_millis(500);

/// The revision of a transform that runs on this host.
#[derive(Debug, Clone, PartialEq)]
pub enum RunState {
    Idle,
    Runs(u64),
    /// Preparing `revision` failed; `kept` is the revision that goes on meanwhile.
    Failed {
        revision: u64,
        retry_at: Monotonic,
        kept: Option<u64>,
    },
}

/// The one thing to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Prepare this deployment, then have the workers swap it in or start others.
    Start(Box<Deployment>),
    Stop,
    /// Nothing, until something changes or this time has passed.
    Wait(Option<Duration>),
}

/// The generations of a deployment and the time of its last change: the part that workers act on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeploymentStamp {
    asked: Generations,
    changed_at: Timestamp,
}

impl DeploymentStamp {
    pub fn of(deployment: &Deployment) -> Self {
        Self { asked: deployment.asked, changed_at: deployment.changed_at }
    }
}

/// A signal to workers that run, beside the one to swap in another revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerSignal {
    None,
    /// Take up the partitions that stopped before a bad record.
    Resume,
    /// End. Others are started in their place, from the committed offsets, where some are desired.
    Stop,
}

/// Compares two deployments that a host saw one after the other. Changes between the two are not seen: a pause and a
/// resume may have come together, and offsets or state been moved while the transform was paused elsewhere.
pub fn signal(before: DeploymentStamp, now: DeploymentStamp) -> WorkerSignal {
    let is_resumed = now.asked.resumes != before.asked.resumes;
    // Resuming what is not paused does not change when it was changed last.
    let was_paused = is_resumed && now.changed_at != before.changed_at;
    let is_restarted = now.asked.restarts != before.asked.restarts || now.asked.resets != before.asked.resets;
    if is_restarted || was_paused {
        WorkerSignal::Stop
    } else if is_resumed {
        WorkerSignal::Resume
    } else {
        WorkerSignal::None
    }
}

/// Decides. Called again after each action, change or time-out. `permit` is about a start where nothing runs yet.
pub fn plan(desired: Option<&Deployment>, state: &RunState, permit: Permit, now: Monotonic) -> Action {
    let runs = match state {
        RunState::Idle => None,
        RunState::Runs(revision) => Some(*revision),
        RunState::Failed { kept, .. } => *kept,
    };
    let Some(deployment) = desired.filter(|deployment| deployment.desired == Desired::Running) else {
        return match (runs, state) {
            (None, RunState::Idle) => Action::Wait(None),
            _ => Action::Stop,
        };
    };
    if deployment.unread.is_some() {
        // Whatever runs goes on, and nothing is started that is not the newest.
        return match (runs, state) {
            (None, RunState::Failed { .. }) => Action::Stop,
            _ => Action::Wait(None),
        };
    }
    match state {
        RunState::Runs(revision) if *revision == deployment.revision => Action::Wait(None),
        RunState::Failed { revision, retry_at, .. } if *revision == deployment.revision && now < *retry_at => {
            Action::Wait(Some(retry_at.since(now)))
        }
        _ => match permit {
            Permit::Granted => Action::Start(Box::new(deployment.clone())),
            Permit::Waits => Action::Wait(Some(TURN_INTERVAL)),
            // Until somebody resumes it.
            Permit::Quarantined { .. } => Action::Wait(None),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::names::Digest;
    use crate::model::spec::RawSpec;

    fn deployment(revision: u64, desired: Desired) -> Deployment {
        let spec: RawSpec = serde_json::from_str("{}").expect("all fields have defaults");
        let id = "orders/strip".parse().expect("valid");
        let module = Digest::of(b"");
        let changed_at = Timestamp(0);
        let asked = Generations::default();
        Deployment {
            id,
            revision,
            module,
            spec,
            desired,
            asked,
            changed_at,
            changes: revision,
            requests: Vec::new(),
            partitions: None,
            signature: None,
            rest: serde_json::Map::new(),
            unread: None,
        }
    }

    #[test]
    fn each_case_has_one_action() {
        let start = |revision| Action::Start(Box::new(deployment(revision, Desired::Running)));
        let failed = |kept| RunState::Failed { revision: 2, retry_at: Monotonic::from_millis(1000), kept };
        let wait = Action::Wait;
        for (desired, running, now, expected) in [
            (None, RunState::Idle, 0, wait(None)),
            (Some((1, Desired::Running)), RunState::Idle, 0, start(1)),
            (Some((1, Desired::Running)), RunState::Runs(1), 0, wait(None)),
            (Some((2, Desired::Running)), RunState::Runs(1), 0, start(2)),
            (Some((2, Desired::Running)), failed(Some(1)), 900, wait(Some(Duration::from_millis(100)))),
            (Some((2, Desired::Running)), failed(None), 1000, start(2)),
            (Some((3, Desired::Running)), failed(Some(1)), 0, start(3)),
            (Some((1, Desired::Paused)), RunState::Runs(1), 0, Action::Stop),
            (Some((2, Desired::Paused)), failed(None), 0, Action::Stop),
            (Some((1, Desired::Deleted)), RunState::Runs(1), 0, Action::Stop),
            (Some((1, Desired::Paused)), RunState::Idle, 0, wait(None)),
            (None, RunState::Runs(1), 0, Action::Stop),
        ] {
            let desired = desired.map(|(revision, desired)| deployment(revision, desired));
            let planned = plan(desired.as_ref(), &running, Permit::Granted, Monotonic::from_millis(now));
            assert_eq!(planned, expected, "{desired:?} {running:?} at {now}");
        }
    }

    #[test]
    fn a_suspect_waits_and_a_quarantined_one_stays_off() {
        let desired = deployment(2, Desired::Running);
        let failed = RunState::Failed { revision: 2, retry_at: Monotonic::PAST, kept: None };
        for running in [RunState::Idle, failed] {
            for (permit, expected) in [
                (Permit::Granted, Action::Start(Box::new(desired.clone()))),
                (Permit::Waits, Action::Wait(Some(TURN_INTERVAL))),
                (Permit::Quarantined { since: Timestamp(0) }, Action::Wait(None)),
            ] {
                assert_eq!(plan(Some(&desired), &running, permit, Monotonic::PAST), expected, "{permit:?} {running:?}");
            }
        }
        let paused = deployment(2, Desired::Paused);
        let quarantined = Permit::Quarantined { since: Timestamp(0) };
        assert_eq!(plan(Some(&paused), &RunState::Idle, quarantined, Monotonic::PAST), Action::Wait(None));
    }

    #[test]
    fn changes_that_come_together_stop_what_one_of_them_would() {
        let asked = |restarts, resumes, resets| Generations { restarts, resumes, resets };
        for (name, now, changed_at, expected) in [
            ("nothing", asked(1, 1, 1), 5, WorkerSignal::None),
            ("deploy", asked(1, 1, 1), 6, WorkerSignal::None),
            ("resume", asked(1, 2, 1), 5, WorkerSignal::Resume),
            ("two resumes", asked(1, 3, 1), 5, WorkerSignal::Resume),
            ("restart", asked(2, 1, 1), 5, WorkerSignal::Stop),
            ("restart, resume", asked(2, 2, 1), 5, WorkerSignal::Stop),
            ("pause, resume", asked(1, 2, 1), 6, WorkerSignal::Stop),
            ("pause, state reset", asked(1, 1, 2), 6, WorkerSignal::Stop),
            ("pause, state reset, resume", asked(1, 2, 2), 6, WorkerSignal::Stop),
            ("pause, two state resets, resume", asked(1, 2, 3), 6, WorkerSignal::Stop),
            // A count that was forged begins again.
            ("state reset, to a lower count", asked(1, 1, 0), 5, WorkerSignal::Stop),
        ] {
            let before = DeploymentStamp { asked: asked(1, 1, 1), changed_at: Timestamp(5) };
            let now = DeploymentStamp { asked: now, changed_at: Timestamp(changed_at) };
            assert_eq!(signal(before, now), expected, "{name}");
        }
    }
}
