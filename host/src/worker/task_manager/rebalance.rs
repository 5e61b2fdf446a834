//! Partitions come and go, between two transactions.

use std::collections::{BTreeMap, BTreeSet};

use super::{TaskManager, as_restart};
use crate::model::clock::Now;
use crate::model::status::LastError;
use crate::ports::{CommitOffset, Rebalance, SessionError, TopicPartition};
use crate::task::Task;

impl TaskManager {
    /// Takes partitions over, or gives them up. Call it while no transaction is open.
    pub(super) fn apply(&mut self, change: Rebalance, now: Now) -> Result<(), SessionError> {
        self.revision().observer.metrics.rebalances.inc();
        match change {
            Rebalance::Assign(partitions) => self.on_assigned(&partitions, now),
            Rebalance::Revoke(partitions) | Rebalance::Lost(partitions) => self.on_revoked(&partitions),
        }
    }

    fn on_assigned(&mut self, partitions: &[TopicPartition], now: Now) -> Result<(), SessionError> {
        let assigned = self.session.assign(partitions)?;
        self.begin_tasks(&assigned, now);
        Ok(())
    }

    /// Takes over partitions whose offset was not settled when they were assigned. Call it while no transaction is open.
    pub(super) fn settle(&mut self, now: Now) -> Result<(), SessionError> {
        if self.unplaced.is_settling_due(now.mono) {
            let settled = self.session.settle()?;
            self.begin_tasks(&settled, now);
        }
        Ok(())
    }

    fn begin_tasks(&mut self, assigned: &[CommitOffset], now: Now) {
        self.rest.stir();
        for assigned in assigned {
            let task = self.new_task(assigned, now);
            tracing::info!(
                transform = %self.revision().settings.id, topic = %task.topic(), partition = assigned.partition.partition,
                offset = assigned.next_offset, "partition assigned"
            );
            self.tasks.insert(assigned.partition, task);
        }
        self.share_revisions();
        self.unplaced.follow(self.session.unplaced(), &self.rollout.current().settings, now);
        self.stop_unreadable(now);
        self.pass_trial_if_committed();
    }

    fn new_task(&mut self, assigned: &CommitOffset, now: Now) -> Task {
        let mut task = Task::new(assigned, self.revision().clone(), self.rollout.is_on_trial(), self.spares.clone());
        task.sign_as(self.session.name());
        task.plan_tick(now);
        task.limit_rows(self.portion.rows_max());
        if self.states.are_needed() {
            let partition = assigned.partition.partition;
            self.states.request(partition, task.committed_changelogs());
            task.wait_for_state(!self.states.is_open(partition));
        }
        task
    }

    /// Holds the tasks of all inputs over one state where the offset of one names a newer revision: its work is in the state.
    fn share_revisions(&mut self) {
        if !self.states.are_needed() {
            return;
        }
        let mut highest: BTreeMap<i32, u64> = BTreeMap::new();
        for task in self.tasks.values() {
            let revision = highest.entry(task.id().partition).or_default();
            *revision = task.committed_revision().max(*revision);
        }
        self.tasks.values_mut().for_each(|task| task.share_revision(highest[&task.id().partition]));
    }

    fn on_revoked(&mut self, partitions: &[TopicPartition]) -> Result<(), SessionError> {
        tracing::info!(transform = %self.revision().settings.id, partitions = partitions.len(), "partitions revoked");
        self.forget(partitions);
        if self.tasks.is_empty() {
            // The next owner of the records shows how it goes on with them.
            self.aborts.forget_error();
        }
        self.session.unassign(partitions)
    }

    /// Gives up partitions that another member may own already: the open transaction is aborted.
    pub(super) fn on_lost(&mut self, partitions: &[TopicPartition], now: Now) -> Result<(), SessionError> {
        tracing::warn!(transform = %self.revision().settings.id, ?partitions, "partitions lost: uncommitted work is dropped");
        self.revision().observer.metrics.rebalances.inc();
        self.revision().observer.metrics.aborted("lost");
        self.forget(partitions);
        self.session.unassign(partitions).map_err(as_restart)?;
        self.abort(now.mono)?;
        self.aborts.forget_error();
        self.transaction.end_back_off();
        Ok(())
    }

    /// Drops the tasks of these partitions, and the states that no task has any more.
    fn forget(&mut self, partitions: &[TopicPartition]) {
        self.rest.stir();
        self.tasks.retain(|partition, _| !partitions.contains(partition));
        self.unplaced.remove(partitions);
        self.paused.retain(|partition| !partitions.contains(partition));
        self.schedule.forget(partitions);
        let left: BTreeSet<i32> = self.tasks.keys().map(|partition| partition.partition).collect();
        self.states.retain(&left);
    }

    /// Stops partitions whose offsets have metadata that this host does not understand, and with them those that share
    /// their state.
    fn stop_unreadable(&mut self, now: Now) {
        let unreadable = self.tasks.values().filter_map(|task| Some((task.id(), task.unreadable(now.wall)?)));
        let unreadable: Vec<(TopicPartition, LastError)> = unreadable.collect();
        for (at, error) in unreadable {
            let id = &self.rollout.current().settings.id;
            tracing::error!(transform = %id, partition = at.partition, code = %error.code, error = error.message, "stopped");
            let shares_state = |other: TopicPartition| self.states.are_needed() && other.partition == at.partition;
            let own = self.tasks.values_mut().filter(|task| task.id() == at || shares_state(task.id()));
            own.for_each(|task| task.stop(error.clone()));
        }
    }
}
