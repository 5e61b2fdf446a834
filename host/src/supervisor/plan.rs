//! What is to be done about one transform: a pure function of what is desired, what runs, and the time.

use std::time::Duration;

use crate::crashes::Permit;
use crate::model::revision::{Deployment, Desired, Generations};
use crate::model::units::Timestamp;

/// How soon a suspect asks again for its turn.
const TURN_INTERVAL: Duration = Duration::from_millis(500);

/// What runs of a transform on this host.
#[derive(Debug, Clone, PartialEq)]
pub enum Running {
    Nothing,
    Revision(u64),
    /// Preparing `revision` failed; `kept` is the revision that goes on meanwhile.
    Failed {
        revision: u64,
        retry_at: Timestamp,
        kept: Option<u64>,
    },
}

/// The one thing to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Prepare this deployment, then stop what runs, then start it.
    Start(Box<Deployment>),
    Stop,
    /// Nothing, until something changes or this time has passed.
    Wait(Option<Duration>),
}

/// A deployment, as far as its workers were told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    asked: Generations,
    changed_at: Timestamp,
}

impl Told {
    pub fn of(deployment: &Deployment) -> Self {
        Self { asked: deployment.asked, changed_at: deployment.changed_at }
    }
}

/// An order to workers that run, beside the one to run another revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    GoOn,
    /// Take up the partitions that stopped before a bad record.
    Resume,
    /// End. Others are started in their place, from the committed offsets, where some are desired.
    Stop,
}

/// Compares two deployments that a host saw one after the other. Changes between the two are not seen: a pause and a
/// resume may have come together, and offsets or state been moved while the transform was paused elsewhere.
pub fn order(before: Told, now: Told) -> Order {
    let is_resumed = now.asked.resumes != before.asked.resumes;
    // Resuming what is not paused does not change when it was changed last.
    let was_paused = is_resumed && now.changed_at != before.changed_at;
    match () {
        () if now.asked.restarts != before.asked.restarts || now.asked.resets != before.asked.resets => Order::Stop,
        () if was_paused => Order::Stop,
        () if is_resumed => Order::Resume,
        () => Order::GoOn,
    }
}

/// Decides. Called again after each action, change or time-out. `permit` is about a start where nothing runs yet.
pub fn plan(desired: Option<&Deployment>, running: &Running, permit: Permit, now: Timestamp) -> Action {
    let runs = match running {
        Running::Nothing => None,
        Running::Revision(revision) => Some(*revision),
        Running::Failed { kept, .. } => *kept,
    };
    let Some(deployment) = desired.filter(|deployment| deployment.desired == Desired::Running) else {
        return match (runs, running) {
            (None, Running::Nothing) => Action::Wait(None),
            _ => Action::Stop,
        };
    };
    if deployment.unread.is_some() {
        // Whatever runs goes on, and nothing is started that is not the newest.
        return match (runs, running) {
            (None, Running::Failed { .. }) => Action::Stop,
            _ => Action::Wait(None),
        };
    }
    match running {
        Running::Revision(revision) if *revision == deployment.revision => Action::Wait(None),
        Running::Failed { revision, retry_at, .. } if *revision == deployment.revision && now < *retry_at => {
            Action::Wait(Some(Duration::from_millis(retry_at.millis_since(now))))
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
        let (module, changed_at) = (Digest::of(b""), Timestamp(0));
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
            rest: serde_json::Map::new(),
            unread: None,
        }
    }

    #[test]
    fn each_case_has_one_action() {
        let start = |revision| Action::Start(Box::new(deployment(revision, Desired::Running)));
        let failed = |kept| Running::Failed { revision: 2, retry_at: Timestamp(1000), kept };
        let wait = Action::Wait;
        for (desired, running, now, expected) in [
            (None, Running::Nothing, 0, wait(None)),
            (Some((1, Desired::Running)), Running::Nothing, 0, start(1)),
            (Some((1, Desired::Running)), Running::Revision(1), 0, wait(None)),
            (Some((2, Desired::Running)), Running::Revision(1), 0, start(2)),
            (Some((2, Desired::Running)), failed(Some(1)), 900, wait(Some(Duration::from_millis(100)))),
            (Some((2, Desired::Running)), failed(None), 1000, start(2)),
            (Some((3, Desired::Running)), failed(Some(1)), 0, start(3)),
            (Some((1, Desired::Paused)), Running::Revision(1), 0, Action::Stop),
            (Some((2, Desired::Paused)), failed(None), 0, Action::Stop),
            (Some((1, Desired::Deleted)), Running::Revision(1), 0, Action::Stop),
            (Some((1, Desired::Paused)), Running::Nothing, 0, wait(None)),
            (None, Running::Revision(1), 0, Action::Stop),
        ] {
            let desired = desired.map(|(revision, desired)| deployment(revision, desired));
            let planned = plan(desired.as_ref(), &running, Permit::Granted, Timestamp(now));
            assert_eq!(planned, expected, "{desired:?} {running:?} at {now}");
        }
    }

    #[test]
    fn a_suspect_waits_and_a_quarantined_one_stays_off() {
        let desired = deployment(2, Desired::Running);
        let failed = Running::Failed { revision: 2, retry_at: Timestamp(0), kept: None };
        for running in [Running::Nothing, failed] {
            for (permit, expected) in [
                (Permit::Granted, Action::Start(Box::new(desired.clone()))),
                (Permit::Waits, Action::Wait(Some(TURN_INTERVAL))),
                (Permit::Quarantined { since: Timestamp(0) }, Action::Wait(None)),
            ] {
                assert_eq!(plan(Some(&desired), &running, permit, Timestamp(0)), expected, "{permit:?} {running:?}");
            }
        }
        let paused = deployment(2, Desired::Paused);
        let quarantined = Permit::Quarantined { since: Timestamp(0) };
        assert_eq!(plan(Some(&paused), &Running::Nothing, quarantined, Timestamp(0)), Action::Wait(None));
    }

    #[test]
    fn changes_that_come_together_stop_what_one_of_them_would() {
        let asked = |restarts, resumes, resets| Generations { restarts, resumes, resets };
        for (name, now, changed_at, expected) in [
            ("nothing", asked(1, 1, 1), 5, Order::GoOn),
            ("deploy", asked(1, 1, 1), 6, Order::GoOn),
            ("resume", asked(1, 2, 1), 5, Order::Resume),
            ("two resumes", asked(1, 3, 1), 5, Order::Resume),
            ("restart", asked(2, 1, 1), 5, Order::Stop),
            ("restart, resume", asked(2, 2, 1), 5, Order::Stop),
            ("pause, resume", asked(1, 2, 1), 6, Order::Stop),
            ("pause, state reset", asked(1, 1, 2), 6, Order::Stop),
            ("pause, state reset, resume", asked(1, 2, 2), 6, Order::Stop),
            ("pause, two state resets, resume", asked(1, 2, 3), 6, Order::Stop),
            // A count that was forged begins again.
            ("state reset, to a lower count", asked(1, 1, 0), 5, Order::Stop),
        ] {
            let before = Told { asked: asked(1, 1, 1), changed_at: Timestamp(5) };
            let now = Told { asked: now, changed_at: Timestamp(changed_at) };
            assert_eq!(order(before, now), expected, "{name}");
        }
    }
}
