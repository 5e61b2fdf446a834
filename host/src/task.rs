//! One (transform, input partition): its guest instance, its pending records, its next offset, and what happens when
//! a record fails. A plain value owned by one worker thread; it reads no clock and touches the log only through the
//! session that it is given.
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
//! A swap gives a task another revision between two transactions. The new one is on trial until a transaction with
//! its work is committed: if it traps before, the step says so, and the worker goes back to the one before.
//!
//! Invariants: `next_offset` passes a record only when everything that it became was sent in the open transaction;
//! a failed call has no effect, since outputs are sent only after a call succeeded whole; an instance that trapped
//! or failed is dropped; order within the partition holds through every failure; no revision runs on a partition that
//! is lower than the one that its committed offset names.

pub mod dry_run;
mod failure;
mod ledger;
mod letter;
mod runnable_revision;
mod sample;
mod step;
mod transaction_stats;
mod verdicts;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub use failure::Failed;
pub use ledger::{Part, Source};
pub use runnable_revision::{RunnableRevision, Settings};
pub use transaction_stats::TransactionStats;

use verdicts::Verdicts;

use crate::model::batch::{Batch, RecordRef};
use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::model::revision::{COUNT_MAX, Progress};
use crate::model::status::{LastError, PartitionStatus, State};
use crate::model::text::brief;
use crate::model::units::{Backoff, Timestamp};
use crate::ports::{Cause, CommitOffset, Guest, Positions, TopicPartition};

/// After so many culprits in a row, a partition backs off before the next.
const CULPRITS_IN_A_ROW: u32 = 5;
/// First and longest backoff of a partition whose guest fails on everything, or cannot be made.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(10) };

/// Longest reason for which metadata is not understood, in bytes: it quotes what somebody has written there.
const REASON_BYTES_MAX: usize = 256;

/// See the module.
pub struct Task {
    partition: TopicPartition,
    program: Arc<RunnableRevision>,
    /// The revision that its committed offset names, and since where that one ran.
    committed: Progress,
    /// The first offset of the program's revision.
    since: i64,
    on_trial: bool,
    guest: Option<Box<dyn Guest>>,
    /// Batches to be processed; the first may be done in part, when it is run one by one.
    pending: VecDeque<Batch>,
    /// Emptied batches, kept for their memory.
    spare: Vec<Batch>,
    mode: Mode,
    wait_until: Option<Timestamp>,
    /// Its state is not there yet.
    held: bool,
    /// When the next tick is due; None before the first look at the clock.
    tick_at: Option<Timestamp>,
    /// When the first of the ticks was due whose work the open transaction has.
    ticked: Option<Timestamp>,
    paused: bool,
    /// The lowest offset that may still come in: lower ones are repeats.
    expected: i64,
    next_offset: i64,
    /// Everything before it is done and committed.
    committed_offset: i64,
    /// The offset that the group has. Control records that were passed since may lie before `committed_offset`.
    stored_offset: i64,
    /// The metadata that came with it, until there is one of this task's own.
    stored_metadata: Option<String>,
    /// The highest offset up to which the partition was read, and nothing of it was dropped.
    end_seen: i64,
    culprits_in_a_row: u32,
    instance_failures: u32,
    /// Most rows of a batch, where that is less than the settings say.
    rows_max: usize,
    /// The first record of the last call; None if it was a tick.
    called: Option<i64>,
    /// Records that fail without a call: what they become is refused, or more than a transaction takes.
    verdicts: Verdicts,
    /// The reason why the metadata of its offset is not believed.
    unreadable: Option<String>,
    /// The error for which it does nothing until its worker begins anew.
    stopped: Option<LastError>,
    error: Option<LastError>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Batches,
    /// Rows of the first pending batch before `row` are done; `attempts` of `row` failed.
    OneByOne {
        row: usize,
        attempts: u32,
    },
}

/// What one step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A call was made, or a culprit dealt with.
    Worked,
    /// The revision on trial trapped, or no instance of it could be made. Abort, and go back to the one before.
    Refused(Failed),
    /// There is nothing to do now: no record, or it waits or is paused.
    Idle,
}

impl Task {
    pub fn new(assigned: &CommitOffset, program: Arc<RunnableRevision>, on_trial: bool) -> Self {
        let &CommitOffset { partition, next_offset, .. } = assigned;
        let read = Progress::parse(&assigned.metadata, next_offset);
        let unreadable = read.as_ref().err().map(ToString::to_string);
        let mut committed = read.unwrap_or_else(|_| Progress::unknown(next_offset));
        let settings = &program.settings;
        // Of a state that never was, or that this host has not heard of yet.
        let beyond = || format!("it is of a state after {} resets, and there were {}", committed.resets, settings.resets);
        let is_beyond = !settings.changelogs.is_empty() && committed.resets > settings.resets;
        let unreadable = unreadable.or_else(|| is_beyond.then(beyond));
        if committed.resets != program.settings.resets {
            // Of changelogs that are given up.
            committed.changelogs.clear();
        }
        // Somebody may have moved the offset back since.
        let continued = committed.revision == program.settings.revision;
        let since = if continued { committed.since.min(next_offset) } else { next_offset };
        Self {
            partition,
            program,
            committed,
            since,
            on_trial,
            guest: None,
            pending: VecDeque::new(),
            spare: Vec::new(),
            mode: Mode::Batches,
            wait_until: None,
            held: false,
            tick_at: None,
            ticked: None,
            paused: false,
            expected: next_offset,
            next_offset,
            committed_offset: next_offset,
            stored_offset: next_offset,
            stored_metadata: Some(assigned.metadata.clone()),
            end_seen: next_offset,
            culprits_in_a_row: 0,
            instance_failures: 0,
            rows_max: usize::MAX,
            called: None,
            verdicts: Verdicts::default(),
            unreadable,
            stopped: None,
            error: None,
        }
    }

    /// The error of a task whose offset has metadata that is not understood, until it is stopped.
    pub fn unreadable(&self, now: Timestamp) -> Option<LastError> {
        let reason = self.unreadable.as_ref().filter(|_| self.stopped.is_none())?;
        let offset = self.committed_offset;
        let place = format!("{}/{}", self.topic(), self.partition.partition);
        let reason = brief(reason, REASON_BYTES_MAX);
        let message = format!("{place} has an offset, {offset}, with metadata that is not believed: {reason}");
        Some(LastError { code: Code::OffsetUnreadable, message, offset: Some(offset), at: now })
    }

    /// Does nothing from here on.
    pub fn stop(&mut self, error: LastError) {
        self.error = Some(error.clone());
        self.stopped = Some(error);
    }

    /// Takes a record in. Repeats are dropped.
    pub fn offer(&mut self, record: &RecordRef<'_>) {
        if record.offset < self.expected || self.paused {
            return;
        }
        self.expected = record.offset.saturating_add(1);
        let bytes = record.held_bytes();
        let settings = &self.program.settings;
        let fits = self.pending.back().is_some_and(|batch| {
            batch.len() < settings.batch_records.min(self.rows_max)
                && batch.bytes() + bytes <= settings.batch_bytes
                && batch.takes(record.offset)
        });
        // The first batch may be half done; a new row would be taken for one of its own.
        let busy = self.pending.len() == 1 && self.mode != Mode::Batches;
        if !fits || busy {
            self.pending.push_back(self.spare.pop().unwrap_or_default());
        }
        self.pending.back_mut().expect("just pushed").push(record);
    }

    /// The partition was read to `offset`: after its last record there are control records at most.
    pub fn reached_end(&mut self, offset: i64) {
        // What came in while paused was not kept.
        if self.paused {
            return;
        }
        self.end_seen = self.end_seen.max(offset);
        self.skip_control_records();
    }

    /// With nothing left to do, control records at the end count as done: they would show as lag for ever.
    fn skip_control_records(&mut self) {
        let idle = self.pending.is_empty() && !self.paused && self.next_offset == self.committed_offset;
        if idle && self.end_seen > self.next_offset && self.end_seen >= self.expected {
            self.next_offset = self.end_seen;
            self.committed_offset = self.end_seen;
            self.expected = self.end_seen;
        }
    }

    /// Whether a step would do something: a full batch is there, or any record if `all`.
    pub fn is_ready(&self, now: Timestamp, all: bool) -> bool {
        let full = self.pending.len() > 1 || self.mode != Mode::Batches || self.is_tick_due(now);
        !self.is_waiting(now) && (full || self.has_full_batch() || (all && self.has_pending()))
    }

    fn batch_records(&self) -> usize {
        self.program.settings.batch_records.min(self.rows_max)
    }

    /// From now on a batch has so many rows at most.
    pub fn limit_rows(&mut self, rows_max: usize) {
        self.rows_max = rows_max;
    }

    /// The work of its last call, which was of one record, cannot be committed: the record fails, without another call.
    /// Call it after [`Task::rewind`].
    pub fn condemn(&mut self, failed: Failed, now: Timestamp) {
        match self.called {
            Some(offset) => {
                // One that failed already has sent its dead letter only.
                if !self.verdicts.condemn(offset, failed.clone()) {
                    self.verdicts.refuse_dead_letter(offset, Cause::Size, &failed.message);
                }
            }
            None => self.condemn_tick(&failed, now),
        }
    }

    /// A topic refused a record that this row became. Call it after [`Task::rewind`]. Returns whether the next run will
    /// be another.
    pub fn reject(&mut self, offset: i64, part: Part, cause: Cause, reason: &str, now: Timestamp) -> bool {
        match part {
            Part::Output => self.verdicts.condemn(offset, Failed::refused(cause, reason)),
            Part::DeadLetter => self.verdicts.refuse_dead_letter(offset, cause, reason),
            Part::Tick => {
                self.condemn_tick(&Failed::refused(cause, reason), now);
                true
            }
        }
    }

    /// The record at this offset came in only in part.
    pub fn condemn_damaged(&mut self, offset: i64, reason: &str) {
        if offset >= self.next_offset {
            self.verdicts.condemn_damaged(offset, Failed::damaged(reason));
        }
    }

    /// The record of its last call; None where that was a tick.
    pub fn called(&self) -> Option<i64> {
        self.called
    }

    fn condemn_tick(&mut self, failed: &Failed, now: Timestamp) {
        self.plan_tick(now);
        self.tick_failed(failed, now);
    }

    fn has_full_batch(&self) -> bool {
        self.pending.front().is_some_and(|batch| batch.len() >= self.batch_records())
    }

    pub fn is_waiting(&self, now: Timestamp) -> bool {
        self.paused
            || self.held
            || self.stopped.is_some()
            || self.is_outrun()
            || self.wait_until.is_some_and(|until| now < until)
    }

    /// A newer revision was committed here, by another host: this one waits until its worker has that too.
    pub fn is_outrun(&self) -> bool {
        self.committed_revision() > self.program.settings.revision
    }

    /// When a waiting task goes on, or a tick is due.
    pub fn wait_until(&self) -> Option<Timestamp> {
        if self.paused || self.held || self.stopped.is_some() { None } else { self.wait_until.or(self.tick_at) }
    }

    /// Waits until its state is there; let go, the caller seeks to [`Task::next_offset`].
    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Its state could not be opened.
    pub fn state_failed(&mut self, error: LastError) {
        self.instance_failures = self.instance_failures.max(1);
        self.error = Some(error);
    }

    /// Its state is there, after all.
    pub fn state_opened(&mut self) {
        self.held = false;
        self.instance_failures = 0;
        self.error.clone_from(&self.stopped);
    }

    /// Ticks are due at whole multiples of their interval since the Unix epoch, the first one after `now`.
    pub fn plan_tick(&mut self, now: Timestamp) {
        let interval = self.program.settings.ticks(self.partition).map(|every| every.as_millis() as i64);
        self.tick_at = interval.map(|every| Timestamp((now.0.div_euclid(every) + 1) * every));
    }

    fn is_tick_due(&self, now: Timestamp) -> bool {
        self.tick_at.is_some_and(|at| at <= now) && self.mode == Mode::Batches
    }

    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    pub fn pending_bytes(&self) -> usize {
        self.pending.iter().map(Batch::bytes).sum()
    }

    fn pause_at(&mut self, offset: i64) {
        self.go_back_to(offset);
        self.paused = true;
    }

    /// What was read from `offset` on is forgotten, also that there was an end: it is read again.
    fn go_back_to(&mut self, offset: i64) {
        self.forget_pending();
        self.next_offset = offset;
        self.expected = offset;
        self.end_seen = offset;
    }

    /// Goes on after a pause; the caller seeks to [`Task::next_offset`].
    pub fn resume(&mut self) {
        self.paused = false;
        self.wait_until = None;
        self.culprits_in_a_row = 0;
        self.verdicts.clear();
        self.error.clone_from(&self.stopped);
    }

    /// The transaction was aborted: back to the committed offset, with a fresh instance. The caller seeks there.
    pub fn rewind(&mut self) {
        self.go_back_to(self.committed_offset);
        self.guest = None;
        self.paused = false;
        // What it did is undone, so it is due again.
        self.tick_at = self.ticked.take().or(self.tick_at);
    }

    /// The transaction with everything up to [`Task::next_offset`] was committed.
    pub fn committed(&mut self, changelogs: &Positions) {
        if self.has_worked() {
            self.committed = self.progress(changelogs);
            self.stored_metadata = None;
        }
        self.stored_offset = self.next_offset;
        self.ticked = None;
        self.verdicts.committed(self.next_offset);
        self.committed_offset = self.next_offset;
        self.skip_control_records();
    }

    /// The control records that it passed were committed.
    pub fn passed(&mut self) {
        self.stored_offset = self.next_offset;
    }

    /// From now on a trap is the matter of its record.
    pub fn pass_trial(&mut self) {
        self.on_trial = false;
    }

    /// Goes on with another revision from the next record on, with an instance of it if there is one. What an error
    /// had stopped gets another chance. Call only between two transactions; the caller seeks to
    /// [`Task::next_offset`] if the task was paused.
    pub fn swap(&mut self, program: Arc<RunnableRevision>, guest: Option<Box<dyn Guest>>, on_trial: bool) {
        self.since = match self.committed.revision == program.settings.revision {
            true => self.committed.since,
            false => self.next_offset,
        };
        self.program = program;
        self.guest = guest;
        self.on_trial = on_trial;
        self.instance_failures = 0;
        if let Mode::OneByOne { attempts, .. } = &mut self.mode {
            *attempts = 0;
        }
        self.resume();
    }

    fn forget_pending(&mut self) {
        while let Some(batch) = self.pending.pop_front() {
            self.recycle(batch);
        }
        self.mode = Mode::Batches;
    }

    fn recycle(&mut self, mut batch: Batch) {
        batch.clear();
        // Enough for a queue that breathes; the memory of an unusually large batch is not kept.
        if self.spare.len() < 4 && batch.capacity_bytes() <= 2 * self.program.settings.batch_bytes {
            self.spare.push(batch);
        }
    }

    pub fn partition(&self) -> TopicPartition {
        self.partition
    }

    pub fn topic(&self) -> &TopicName {
        &self.program.settings.inputs[self.partition.input as usize]
    }

    /// The lowest offset that it does not have yet.
    pub fn expected_offset(&self) -> i64 {
        self.expected
    }

    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    pub fn committed_offset(&self) -> i64 {
        self.committed_offset
    }

    /// The revision that its committed offset names; 0 where nobody could follow that one.
    pub fn committed_revision(&self) -> u64 {
        if self.committed.revision < COUNT_MAX { self.committed.revision } else { 0 }
    }

    /// What is to be committed, unless nothing was done since the last commit: together with how far the changelogs of
    /// its state reach. After a tick that is the offset as it was, so that a commit always proves who owns the partition.
    /// Control records that were passed are committed with the metadata that is there already: no revision has worked.
    pub fn commit_offset(&self, changelogs: &Positions) -> Option<CommitOffset> {
        let metadata = match () {
            () if self.has_worked() => self.progress(changelogs).to_string(),
            () if self.has_passed() => self.stored_metadata.clone().unwrap_or_else(|| self.committed.to_string()),
            () => return None,
        };
        Some(CommitOffset { partition: self.partition, next_offset: self.next_offset, metadata })
    }

    /// Tells whether control records were passed since the last commit, and nothing else is to be committed.
    pub fn has_passed(&self) -> bool {
        self.next_offset > self.stored_offset && !self.has_worked()
    }

    /// Whether the open transaction has anything of it.
    pub fn has_worked(&self) -> bool {
        self.next_offset != self.committed_offset || self.ticked.is_some()
    }

    fn progress(&self, changelogs: &Positions) -> Progress {
        let &Settings { revision, resets, .. } = &self.program.settings;
        Progress { revision, since: self.since, changelogs: changelogs.clone(), resets }
    }

    /// How far the changelogs reached with the offset that it began at.
    pub fn committed_changelogs(&self) -> &Positions {
        &self.committed.changelogs
    }

    /// `end_offset`: the end of the partition, as far as it is known.
    pub fn status(&self, end_offset: Option<i64>) -> PartitionStatus {
        PartitionStatus {
            topic: self.topic().clone(),
            partition: self.partition.partition,
            committed_offset: Some(self.committed_offset),
            end_offset,
            lag: PartitionStatus::lag(Some(self.committed_offset), end_offset),
            state: self.state(),
            revision: self.program.settings.revision,
            revision_since: self.since,
            restoring: None,
            stores: Vec::new(),
            error: self.error.clone(),
        }
    }

    pub fn is_paused(&self) -> bool {
        self.paused
    }

    pub fn memory_bytes(&self) -> usize {
        self.guest.as_ref().map_or(0, |guest| guest.memory_bytes())
    }

    pub fn state(&self) -> State {
        match self {
            Self { paused: true, .. } => State::Paused,
            Self { stopped: Some(_), .. } => State::Failed,
            Self { instance_failures: 1.., .. } => State::Failed,
            _ if self.is_outrun() || self.held => State::Starting,
            Self { culprits_in_a_row: CULPRITS_IN_A_ROW.., .. } => State::Degraded,
            _ => State::Running,
        }
    }
}
