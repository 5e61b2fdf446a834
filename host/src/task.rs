//! One (transform, input partition): its guest instance, its pending records, its next offset, and its answer to failed
//! records. A plain value owned by one worker thread; it reads no clock and touches the log only through the session of
//! the step's context.
//!
//! ```text
//!             traps, or fails with retries left                  last row done
//!   batches ------------------------------------> one by one ------------------> batches
//!                                                  |      ^
//!                                  culprit, retry  v      | time is up
//!                                                 waiting
//!   any ---- a record fails, `then: pause` ----> paused ---- resumed, swapped ----> batches
//! ```
//!
//! A call whose state must be committed first ([`KeyedState::must_commit`](crate::state::KeyedState::must_commit)) changes
//! none of this: it is made again in the next transaction.
//!
//! A swap gives a task another revision between two transactions. The new one is on trial until a transaction with
//! its work is committed: if it traps before, the step says so, and the worker goes back to the one before.
//!
//! Invariants: `next_offset` passes a record only when everything that it became was sent in the open transaction;
//! a failed call has no effect, since outputs are sent only after a call succeeded whole; an instance that trapped
//! or failed is dropped; order within the partition holds through every failure; no revision runs on a partition that
//! is lower than the one that its committed offset names, or that of another input over the same state; every change of
//! its state is an edge of the diagram of [`State`].

mod buffer;
mod call;
mod commit;
mod condemn;
mod dead_letter;
pub mod dry_run;
mod failure;
mod health;
mod ledger;
mod offsets;
mod runnable_revision;
mod sample;
mod send;
mod spans;
mod spare_batches;
mod step;
mod ticks;
mod transaction_stats;
mod verdicts;
mod waits;

use std::sync::Arc;
use std::time::Duration;

pub use failure::RecordFailure;
pub use ledger::{Part, Source};
pub use runnable_revision::{RunnableRevision, Settings};
pub use spare_batches::SpareBatches;
pub use step::{Step, StepContext};
pub use transaction_stats::TransactionStats;

use buffer::Buffer;
use health::Health;
use offsets::Offsets;
use ticks::Ticks;
use verdicts::Verdicts;
use waits::Waits;

use crate::model::batch::RecordRef;
use crate::model::clock::{Monotonic, Now};
use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::model::status::{LastError, PartitionStatus, State};
use crate::model::text::brief;
use crate::model::units::Timestamp;
use crate::ports::{CommitOffset, Guest, Positions, TopicPartition};

/// Longest reason for which metadata is not understood, in bytes: it quotes foreign text.
const REASON_BYTES_MAX: usize = 256;

/// One input partition of a transform in a worker.
pub struct Task {
    id: TopicPartition,
    revision: Arc<RunnableRevision>,
    /// True until the revision has committed: a trap refuses the revision as a whole.
    on_trial: bool,
    guest: Option<Box<dyn Guest>>,
    buffer: Buffer,
    offsets: Offsets,
    ticks: Ticks,
    /// The last call was a tick.
    was_tick: bool,
    /// The open transaction has deletions of expired entries, without which a call cannot go on.
    has_expiries: bool,
    waits: Waits,
    health: Health,
    /// Changed by [`Task::update_state`] alone.
    state: State,
    /// Records that fail without a call: a topic refuses their outputs, or a transaction is too small for them.
    verdicts: Verdicts,
    /// The first record of the last call; None if it was a tick.
    called: Option<i64>,
    /// The reason for which the metadata of its offset is not believed.
    unreadable: Option<String>,
}

impl Task {
    /// A task that begins at the committed offset of a partition. The spare batches are those of its worker.
    pub fn new(assigned: &CommitOffset, revision: Arc<RunnableRevision>, on_trial: bool, spares: SpareBatches) -> Self {
        let (offsets, unreadable) = Offsets::new(assigned, &revision.settings);
        let mut task = Self {
            id: assigned.partition,
            revision,
            on_trial,
            guest: None,
            buffer: Buffer::new(assigned.next_offset, spares),
            offsets,
            ticks: Ticks::default(),
            was_tick: false,
            has_expiries: false,
            waits: Waits::default(),
            health: Health::default(),
            state: State::Starting,
            verdicts: Verdicts::default(),
            called: None,
            unreadable,
        };
        task.update_state();
        task
    }

    /// From now on the metadata of its offsets names this worker.
    pub fn sign_as(&mut self, worker: Option<&str>) {
        self.offsets.sign_as(worker);
    }

    /// Its state has the writes of this revision, which the offset of another input names: see [`Task::is_outrun`].
    pub fn share_revision(&mut self, revision: u64) {
        self.offsets.share(revision);
        self.update_state();
    }

    // === Records ===

    /// Takes a record in. Drops repeats.
    pub fn offer(&mut self, record: &RecordRef<'_>) {
        if !self.waits.is_paused() {
            let settings = &self.revision.settings;
            self.buffer.push(record, settings.batch_records, settings.batch_bytes);
        }
    }

    /// Notes that the partition was read to `offset`: after its last record there are control records at most.
    pub fn reached_end(&mut self, offset: i64) {
        // Records that came in while it was paused were dropped.
        if !self.waits.is_paused() {
            self.buffer.note_end(offset);
            self.skip_control_records();
        }
    }

    /// Counts control records at the end as done, if nothing else is left to do: they would show as lag for ever.
    fn skip_control_records(&mut self) {
        if !self.buffer.is_empty() || self.waits.is_paused() || self.offsets.have_moved() {
            return;
        }
        if let Some(end) = self.buffer.end_of_control_records(self.offsets.next()) {
            self.offsets.pass(end);
            self.buffer.expect_from(end);
        }
    }

    /// Returns true if a step would make a call: for a full batch, or for any record if `all`.
    pub fn is_ready(&self, now: Now, all: bool) -> bool {
        let has_work = self.has_full_batch() || self.is_tick_due(now) || (all && self.has_pending());
        has_work && !self.is_waiting(now.mono)
    }

    /// Returns true if a call would take as many records as it can.
    pub fn has_full_batch(&self) -> bool {
        self.buffer.is_full(self.revision.settings.batch_records)
    }

    /// From now on a batch has `rows_max` rows at most.
    pub fn limit_rows(&mut self, rows_max: usize) {
        self.buffer.limit_rows(rows_max);
    }

    pub fn has_pending(&self) -> bool {
        !self.buffer.is_empty()
    }

    pub fn pending_bytes(&self) -> usize {
        self.buffer.bytes()
    }

    /// The lowest offset that it does not have yet.
    pub fn expected_offset(&self) -> i64 {
        self.buffer.expected()
    }

    fn go_back_to(&mut self, offset: i64) {
        self.buffer.rewind(offset);
        self.offsets.move_to(offset);
    }

    // === Ticks ===

    /// Ticks are due at whole multiples of their interval since the Unix epoch, the first one after `now`.
    pub fn plan_tick(&mut self, now: Now) {
        self.ticks.plan(self.revision.settings.ticks(self.id), now);
    }

    /// As [`Task::plan_tick`], after a swap: a tick that is due is left to the revision that runs now.
    pub fn replan_tick(&mut self, now: Now) {
        self.ticks.replan(self.revision.settings.ticks(self.id), now);
    }

    /// A tick comes between batches.
    pub fn is_tick_due(&self, now: Now) -> bool {
        self.ticks.is_due(now) && self.buffer.mode() == buffer::Mode::Batches
    }

    // === Waiting and failing ===

    pub fn is_waiting(&self, now: Monotonic) -> bool {
        self.waits.are_on(now) || self.is_outrun()
    }

    /// Returns true if another host has committed a newer revision here: the task waits until its worker has that too.
    pub fn is_outrun(&self) -> bool {
        self.offsets.revision() > self.revision.settings.revision
    }

    /// Returns true if a newer revision may have committed here: that is known, or the offset has metadata that this host
    /// does not understand.
    pub fn may_be_of_newer(&self) -> bool {
        self.is_outrun() || self.unreadable.is_some()
    }

    /// Returns true if the task waits for its state, or for a revision.
    pub fn waits_for_others(&self) -> bool {
        self.waits.is_for_state() || self.is_outrun()
    }

    /// Returns true if the task has nothing to do, and waits for nothing but records.
    pub fn is_quiet(&self) -> bool {
        let has_work = self.has_pending() || self.has_passed();
        !has_work && !self.waits_for_others() && self.waits.until().is_none()
    }

    /// The time until a waiting task goes on, or a tick is due.
    pub fn time_left(&self, now: Now) -> Option<Duration> {
        if self.waits.have_no_end() {
            return None;
        }
        self.waits.until().map(|until| until.since(now.mono)).or_else(|| self.ticks.time_left(now))
    }

    /// Waits until its state is open, or no more. After a wait the caller seeks to [`Task::expected_offset`].
    pub fn wait_for_state(&mut self, waits: bool) {
        self.waits.wait_for_state(waits);
        self.update_state();
    }

    /// Notes that its state could not be opened, or that the revision does not come that it waits for.
    pub fn state_failed(&mut self, error: LastError) {
        self.health.note_no_state(error);
        self.update_state();
    }

    /// Notes that its state is open.
    pub fn state_opened(&mut self) {
        self.waits.wait_for_state(false);
        self.health.note_state(self.waits.stopped());
        self.update_state();
    }

    /// The error of a task whose offset has metadata that is not understood, until it is stopped.
    pub fn unreadable(&self, now: Timestamp) -> Option<LastError> {
        let reason = self.unreadable.as_ref().filter(|_| self.waits.stopped().is_none())?;
        let offset = self.offsets.committed();
        let place = format!("{}/{}", self.topic(), self.id.partition);
        let reason = brief(reason, REASON_BYTES_MAX);
        let message = format!("{place} has an offset, {offset}, with metadata that is not believed: {reason}");
        Some(LastError { code: Code::OffsetUnreadable, message, offset: Some(offset), at: now })
    }

    /// Makes no call from here on.
    pub fn stop(&mut self, error: LastError) {
        self.health.note_error(error.clone());
        self.waits.stop(error);
        self.update_state();
    }

    fn pause_at(&mut self, offset: i64) {
        self.go_back_to(offset);
        self.waits.pause();
        self.update_state();
    }

    /// Goes on after a pause; the caller seeks to [`Task::next_offset`].
    pub fn resume(&mut self) {
        self.waits.unpause();
        self.waits.end_back_off();
        self.verdicts.clear();
        self.health.forgive(self.waits.stopped());
        self.update_state();
    }

    /// Takes over the state that its waits and its health make. Each change is an edge of the diagram of [`State`].
    fn update_state(&mut self) {
        let next = if self.waits.is_paused() {
            State::Paused
        } else if self.waits.stopped().is_some() || self.health.is_failed() {
            State::Failed
        } else if self.waits.is_for_state() || self.is_outrun() {
            State::Starting
        } else if self.health.is_degraded() {
            State::Degraded
        } else {
            State::Running
        };
        assert!(self.state.can_become(next), "a task that is {} becomes {next}", self.state);
        self.state = next;
    }

    // === Facts ===

    pub fn id(&self) -> TopicPartition {
        self.id
    }

    pub fn topic(&self) -> &TopicName {
        &self.revision.settings.inputs[self.id.input as usize]
    }

    pub fn next_offset(&self) -> i64 {
        self.offsets.next()
    }

    pub fn committed_offset(&self) -> i64 {
        self.offsets.committed()
    }

    /// The revision that its committed offset names, or one that shares its state; 0 if no revision can follow that one.
    pub fn committed_revision(&self) -> u64 {
        self.offsets.revision()
    }

    /// The positions of changelogs that were committed with the offset that it began at.
    pub fn committed_changelogs(&self) -> &Positions {
        self.offsets.changelogs()
    }

    /// `end_offset` is the end of the partition, as far as it is known.
    pub fn status(&self, end_offset: Option<i64>) -> PartitionStatus {
        let committed_offset = Some(self.offsets.committed());
        PartitionStatus {
            topic: self.topic().clone(),
            partition: self.id.partition,
            committed_offset,
            end_offset,
            lag: PartitionStatus::lag(committed_offset, end_offset),
            state: self.state,
            revision: self.revision.settings.revision,
            revision_since: self.offsets.since(),
            restoring: None,
            stores: Vec::new(),
            error: self.health.error().cloned(),
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn is_paused(&self) -> bool {
        self.waits.is_paused()
    }

    pub fn memory_bytes(&self) -> usize {
        self.guest.as_ref().map_or(0, |guest| guest.memory_bytes())
    }
}
