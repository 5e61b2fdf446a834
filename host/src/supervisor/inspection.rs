//! The facts that an inspection of workers starts from: while they are the same, it finds the same.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{pending, select_all};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::model::clock::Monotonic;
use crate::model::status::State;
use crate::teams::TeamsState;
use crate::worker::WorkerStatus;

use super::workers::WorkerHandle;

/// Time between two inspections while something changes: once a second, as metrics are scraped more rarely than that.
const INTERVAL: Duration = Duration::from_secs(1);
/// Longest time between two inspections of workers that do their work.
const INTERVAL_MAX: Duration = Duration::from_secs(5);

/// The facts that an inspection starts from.
pub struct Inspection {
    pub at: Monotonic,
    pub statuses: Vec<WorkerStatus>,
    pub teams: Arc<TeamsState>,
    /// The number of looks at the inputs.
    pub looks: u64,
}

impl Inspection {
    /// Returns true if another inspection, at `next`, would find nothing new.
    pub fn covers(&self, next: &Self) -> bool {
        let works = |worker: &WorkerStatus| worker.state == State::Running && worker.outrun_by.is_none();
        let is_recent = next.at < self.at.after(INTERVAL_MAX) && self.looks == next.looks;
        let is_same = Arc::ptr_eq(&self.teams, &next.teams) && self.statuses == next.statuses;
        is_recent && is_same && next.statuses.iter().all(works)
    }
}

/// Waits until the next inspection is due. After one that found nothing new (`last`) that is when a worker's status or the
/// file of teams has changed since, or [`INTERVAL_MAX`] is over.
pub async fn due(last: Option<&Inspection>, workers: &[WorkerHandle], mut teams: watch::Receiver<Arc<TeamsState>>) {
    sleep(INTERVAL).await;
    let Some(last) = last.filter(|last| last.statuses.len() == workers.len()) else { return };
    let changed_team = teams.wait_for(|now| !Arc::ptr_eq(now, &last.teams));
    let statuses = last.statuses.iter().zip(workers);
    let changed = statuses.map(|(inspected, worker)| {
        let mut status = worker.status.clone();
        Box::pin(async move { drop(status.wait_for(|now| now != inspected).await) })
    });
    let changed: Vec<_> = changed.collect();
    let changed_worker = async move { if changed.is_empty() { pending().await } else { drop(select_all(changed).await) } };
    tokio::select! {
        _ = changed_team => {}
        () = changed_worker => {}
        () = sleep(INTERVAL_MAX - INTERVAL) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An inspection of one worker after another of a running one.
    #[track_caller]
    fn check(change: impl FnOnce(&mut Inspection), is_covered: bool) {
        let teams: Arc<TeamsState> = Arc::default();
        let at = |ms| Inspection {
            at: Monotonic::from_millis(ms),
            statuses: vec![WorkerStatus::without_session(State::Running, None)],
            teams: teams.clone(),
            looks: 3,
        };
        let mut next = at(5000);
        change(&mut next);
        assert_eq!(at(1000).covers(&next), is_covered);
    }

    #[test]
    fn an_inspection_covers_another_while_nothing_changes() {
        check(|_| {}, true);
        check(|next| next.at = Monotonic::from_millis(6000), false);
        check(|next| next.looks = 4, false);
        check(|next| next.teams = Arc::default(), false);
        check(|next| next.statuses[0].memory_bytes = 1, false);
        check(|next| next.statuses.clear(), false);
    }

    #[tokio::test(start_paused = true)]
    async fn a_transform_without_workers_is_rarely_inspected() {
        let teams: Arc<TeamsState> = Arc::default();
        let (_sender, seen) = watch::channel(teams.clone());
        let last = Inspection { at: Monotonic::from_millis(1), statuses: Vec::new(), teams, looks: 0 };
        let started = tokio::time::Instant::now();
        due(Some(&last), &[], seen).await;
        assert_eq!(started.elapsed(), INTERVAL_MAX);
    }

    #[test]
    fn workers_that_need_attention_are_always_inspected() {
        for (state, outrun_by) in [(State::Starting, None), (State::Degraded, None), (State::Running, Some(2))] {
            let inspection = || Inspection {
                at: Monotonic::from_millis(1),
                statuses: vec![WorkerStatus { outrun_by, ..WorkerStatus::without_session(state, None) }],
                teams: Arc::default(),
                looks: 0,
            };
            let last = inspection();
            assert!(!last.covers(&Inspection { teams: last.teams.clone(), ..inspection() }), "{state:?} {outrun_by:?}");
        }
    }
}
