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
//!   any ---- a record fails, `then: pause` ----> paused ---- resumed ----> batches
//! ```
//!
//! Invariants: `next_offset` passes a record only when everything that it became was sent in the open transaction;
//! a failed call has no effect, since outputs are sent only after a call succeeded whole; an instance that trapped
//! or failed is dropped; order within the partition holds through every failure.

mod failure;
mod tally;
pub mod trial;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub use failure::{Failed, dead_letter_headers};
pub use tally::Tally;

use crate::model::batch::{Batch, CheckedOutput, Output, OutputLimits, RecordRef};
use crate::model::codes::Code;
use crate::model::names::{Digest, TopicName, TransformId};
use crate::model::spec::{Retry, Spec, Then};
use crate::model::status::{LastError, PartitionStatus, State};
use crate::model::units::{Backoff, Timestamp};
use crate::ports::{Call, Guest, GuestFactory, Outgoing, Partition, Session, SessionError};
use crate::telemetry::metrics::TransformMetrics;

/// After so many culprits in a row, a partition backs off before the next.
const CULPRITS_IN_A_ROW: u32 = 5;
/// First and longest backoff of a partition whose guest fails on everything, or cannot be made.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(10) };

/// One revision, ready to run: shared by the workers and tasks of a transform.
pub struct Program {
    pub settings: Settings,
    pub guests: Arc<dyn GuestFactory>,
    pub metrics: Arc<TransformMetrics>,
}

/// What a task needs of a spec.
#[derive(Debug, Clone)]
pub struct Settings {
    pub id: TransformId,
    pub revision: u64,
    pub module: Digest,
    pub inputs: Vec<TopicName>,
    pub batch_records: usize,
    pub batch_bytes: usize,
    pub output: OutputLimits,
    /// Largest record of each topic that is written, in the order of `SessionOptions::outputs`.
    pub record_bytes_max: Vec<usize>,
    pub retry: Retry,
    pub then: Then,
    /// Index of the dead-letter topic among those that are written.
    pub dead_letters: Option<usize>,
}

impl Settings {
    /// `record_bytes_max` is by the order of `Spec::written_topics`.
    pub fn of(spec: &Spec, revision: u64, record_bytes_max: Vec<usize>) -> Self {
        Self {
            id: spec.id.clone(),
            revision,
            module: spec.module,
            inputs: spec.inputs.clone(),
            batch_records: spec.limits.batch_records as usize,
            batch_bytes: spec.limits.batch_bytes.as_usize(),
            output: OutputLimits {
                records_per_input: spec.limits.output_per_record,
                bytes_per_input: spec.limits.output_bytes_per_record.as_usize(),
                targets: spec.outputs.len() as u32,
            },
            record_bytes_max,
            retry: spec.retry,
            then: spec.then,
            dead_letters: (spec.then == Then::DeadLetter).then_some(spec.outputs.len()),
        }
    }
}

/// See the module.
pub struct Task {
    partition: Partition,
    program: Arc<Program>,
    guest: Option<Box<dyn Guest>>,
    /// Batches to be processed; the first may be done in part, when it is run one by one.
    pending: VecDeque<Batch>,
    /// Emptied batches, kept for their memory.
    spare: Vec<Batch>,
    mode: Mode,
    wait_until: Option<Timestamp>,
    paused: bool,
    /// The lowest offset that may still come in: lower ones are repeats.
    expected: i64,
    next_offset: i64,
    committed_offset: i64,
    end_offset: Option<i64>,
    /// The highest offset up to which the partition was read, and nothing of it was dropped.
    end_seen: i64,
    culprits_in_a_row: u32,
    instance_failures: u32,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A call was made, or a culprit dealt with.
    Worked,
    /// There is nothing to do now: no record, or it waits or is paused.
    Idle,
}

impl Task {
    pub fn new(partition: Partition, next_offset: i64, program: Arc<Program>) -> Self {
        Self {
            partition,
            program,
            guest: None,
            pending: VecDeque::new(),
            spare: Vec::new(),
            mode: Mode::Batches,
            wait_until: None,
            paused: false,
            expected: next_offset,
            next_offset,
            committed_offset: next_offset,
            end_offset: None,
            end_seen: next_offset,
            culprits_in_a_row: 0,
            instance_failures: 0,
            error: None,
        }
    }

    /// Takes a record in. Repeats are dropped.
    pub fn offer(&mut self, record: &RecordRef<'_>) {
        if record.offset < self.expected || self.paused {
            return;
        }
        self.expected = record.offset + 1;
        let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len)).sum();
        let bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len) + headers;
        let settings = &self.program.settings;
        let fits = self.pending.back().is_some_and(|batch| {
            batch.len() < settings.batch_records
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

    pub fn saw_end(&mut self, end_offset: Option<i64>) {
        self.end_offset = end_offset.or(self.end_offset);
    }

    /// Whether a step would do something: a full batch is there, or any record if `all`.
    pub fn is_ready(&self, now: Timestamp, all: bool) -> bool {
        let full = self.pending.len() > 1 || self.mode != Mode::Batches;
        !self.is_waiting(now) && if all { !self.pending.is_empty() } else { full || self.has_full_batch() }
    }

    fn has_full_batch(&self) -> bool {
        self.pending.front().is_some_and(|batch| batch.len() >= self.program.settings.batch_records)
    }

    pub fn is_waiting(&self, now: Timestamp) -> bool {
        self.paused || self.wait_until.is_some_and(|until| now < until)
    }

    /// When a waiting task goes on.
    pub fn wait_until(&self) -> Option<Timestamp> {
        self.wait_until
    }

    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    pub fn pending_bytes(&self) -> usize {
        self.pending.iter().map(Batch::bytes).sum()
    }

    /// One call of the guest, with all that follows from it. Call only inside a transaction.
    pub fn step(&mut self, now: Timestamp, session: &mut dyn Session, tally: &mut Tally) -> Result<Step, SessionError> {
        if self.is_waiting(now) || self.pending.is_empty() {
            return Ok(Step::Idle);
        }
        self.wait_until = None;
        if !self.ensure_guest(now) {
            return Ok(Step::Idle);
        }
        match self.mode {
            Mode::Batches => self.step_batch(now, session, tally)?,
            Mode::OneByOne { row, attempts } => self.step_row(now, row, attempts, session, tally)?,
        }
        Ok(Step::Worked)
    }

    fn step_batch(&mut self, now: Timestamp, session: &mut dyn Session, tally: &mut Tally) -> Result<(), SessionError> {
        let batch = self.pending.pop_front().expect("checked in step");
        let program = self.program.clone();
        let settings = &program.settings;
        let result = self.call(&batch, now);
        let outcome = self.check(&batch, &result);
        let failures = match &outcome {
            Ok(checked) => failure::of_rows(checked, settings),
            Err(failed) => vec![(0, failed.clone())],
        };
        let retriable = !failures.is_empty() && settings.retry.attempts > 0;
        // Who of several failed is not known, or must be run again alone.
        if batch.len() > 1 && (retriable || outcome.is_err()) {
            self.go_one_by_one(batch);
            return Ok(());
        }
        if retriable {
            self.pending.push_front(batch);
            self.retry_row(0, 1, now);
            return Ok(());
        }
        self.note_success(outcome.is_ok() && failures.len() < batch.len());
        let done = self.conclude(&batch, outcome.ok().as_ref(), &failures, now, session, tally)?;
        if done == batch.len() {
            self.recycle(batch);
        }
        Ok(())
    }

    fn step_row(
        &mut self,
        now: Timestamp,
        row: usize,
        attempts: u32,
        session: &mut dyn Session,
        tally: &mut Tally,
    ) -> Result<(), SessionError> {
        let one = self.pending.front().expect("checked in step").row(row);
        let program = self.program.clone();
        let settings = &program.settings;
        let result = self.call(&one, now);
        let outcome = self.check(&one, &result);
        let failures = match &outcome {
            Ok(checked) => failure::of_rows(checked, settings),
            Err(failed) => vec![(0, failed.clone())],
        };
        if !failures.is_empty() && attempts < settings.retry.attempts {
            self.retry_row(row, attempts + 1, now);
            return Ok(());
        }
        self.note_success(failures.is_empty());
        let done = self.conclude(&one, outcome.ok().as_ref(), &failures, now, session, tally)?;
        if done == 0 {
            return Ok(());
        }
        let rows = self.pending.front().expect("still there").len();
        self.mode = if row + 1 < rows { Mode::OneByOne { row: row + 1, attempts: 0 } } else { Mode::Batches };
        if self.mode == Mode::Batches {
            let batch = self.pending.pop_front().expect("still there");
            self.recycle(batch);
        }
        Ok(())
    }

    /// Runs the batch; a failure of the guest drops the instance.
    fn call(&mut self, batch: &Batch, now: Timestamp) -> Result<Output, Failed> {
        let guest = self.guest.as_mut().expect("ensured in step");
        let metrics = &self.program.metrics;
        let timer = metrics.guest_call.start_timer();
        let result = guest.process(batch, Call { partition: self.partition, now });
        timer.observe_duration();
        metrics.batch_records.observe(batch.len() as f64);
        result.map_err(|error| {
            let failed = Failed::of_guest(&error);
            if failed.is_trap() {
                metrics.trapped(failed.reason());
            }
            self.guest = None;
            failed
        })
    }

    /// Proves what came back; an instance whose output is not right is not to be trusted with the next batch.
    fn check<'a>(&mut self, batch: &'a Batch, result: &'a Result<Output, Failed>) -> Result<CheckedOutput<'a>, Failed> {
        let output = result.as_ref().map_err(Failed::clone)?;
        output.check(batch, &self.program.settings.output).map_err(|error| {
            self.guest = None;
            Failed::of_output(&error)
        })
    }

    fn go_one_by_one(&mut self, batch: Batch) {
        self.guest = None;
        self.pending.push_front(batch);
        self.mode = Mode::OneByOne { row: 0, attempts: 0 };
    }

    /// The row failed and may be run again: with a fresh instance, after the policy's backoff.
    fn retry_row(&mut self, row: usize, attempts: u32, now: Timestamp) {
        self.guest = None;
        self.mode = Mode::OneByOne { row, attempts };
        self.wait_until = Some(now.after(self.program.settings.retry.backoff.0));
    }

    /// Sends what the rows became, and the failed ones the way of the policy. Returns how many rows are done: all,
    /// or those before the one at which the partition was paused.
    fn conclude(
        &mut self,
        batch: &Batch,
        checked: Option<&CheckedOutput<'_>>,
        failures: &[(u32, Failed)],
        now: Timestamp,
        session: &mut dyn Session,
        tally: &mut Tally,
    ) -> Result<usize, SessionError> {
        let program = self.program.clone();
        let settings = &program.settings;
        let stop = failures.iter().find(|(row, failed)| self.must_pause(batch, *row, failed));
        let done = stop.map_or(batch.len(), |(row, _)| *row as usize);
        let failed_rows: Vec<u32> = failures.iter().map(|(row, _)| *row).collect();
        let mut passed = 0;
        if let Some(checked) = checked {
            let mut last = None;
            for record in checked.records().filter(|record| (record.source as usize) < done) {
                if failed_rows.binary_search(&record.source).is_ok() {
                    continue;
                }
                let topic = record.target as usize;
                let (key, value) = (record.key, record.value);
                session.send(&Outgoing { topic, key, value, headers: &record.headers, timestamp: record.timestamp })?;
                tally.sent(topic, key, value);
                passed += u64::from(last != Some(record.source));
                last = Some(record.source);
            }
        }
        for (row, failed) in failures.iter().filter(|(row, _)| (*row as usize) < done) {
            self.dispose(batch, *row as usize, failed, now, session, tally)?;
        }
        let failed = failures.iter().filter(|(row, _)| (*row as usize) < done).count() as u64;
        tally.processed(self.partition.input as usize, batch, done, done as u64 - passed - failed);
        if let Some((row, failed)) = stop {
            self.note_failure(batch.offset(*row as usize), failed, now);
            self.pause_at(batch.offset(*row as usize));
            tracing::error!(
                transform = %settings.id, topic = %self.topic(), partition = self.partition.number,
                offset = self.next_offset, code = %failed.code, error = failed.message,
                "a record failed: its partition is paused until it is resumed"
            );
        } else {
            self.next_offset = batch.last_offset() + 1;
        }
        if failures.iter().any(|(_, failed)| failed.is_trap()) {
            self.back_off(now);
        }
        Ok(done)
    }

    fn must_pause(&self, batch: &Batch, row: u32, failed: &Failed) -> bool {
        let settings = &self.program.settings;
        match (settings.then, settings.dead_letters) {
            (Then::Pause, _) => true,
            // A dead letter that its topic would not take must not be lost either.
            (Then::DeadLetter, Some(topic)) => {
                failure::dead_letter_bytes(batch, row as usize, failed) > settings.record_bytes_max[topic]
            }
            (Then::DeadLetter, None) | (Then::Skip, _) => false,
        }
    }

    /// Dead-letters or skips one failed row.
    fn dispose(
        &mut self,
        batch: &Batch,
        row: usize,
        failed: &Failed,
        now: Timestamp,
        session: &mut dyn Session,
        tally: &mut Tally,
    ) -> Result<(), SessionError> {
        let program = self.program.clone();
        let settings = &program.settings;
        let offset = batch.offset(row);
        self.note_failure(offset, failed, now);
        tracing::debug!(
            transform = %settings.id, topic = %self.topic(), partition = self.partition.number, offset,
            code = %failed.code, error = failed.message, "a record failed"
        );
        tally.failed(failed.reason());
        let Some(topic) = settings.dead_letters else {
            tally.skipped += 1;
            return Ok(());
        };
        let own = dead_letter_headers(settings, self.partition, offset, failed);
        let mut headers = batch.headers(row);
        headers.extend(own.iter().map(|(name, value)| (*name, Some(value.as_bytes()))));
        let (key, value, timestamp) = (batch.key(row), batch.value(row), batch.timestamps[row]);
        session.send(&Outgoing { topic, key, value, headers: &headers, timestamp })?;
        tally.sent(topic, key, value);
        tally.dead_lettered += 1;
        Ok(())
    }

    fn ensure_guest(&mut self, now: Timestamp) -> bool {
        if self.guest.is_some() {
            return true;
        }
        match self.program.guests.instantiate() {
            Ok(guest) => {
                self.guest = Some(guest);
                self.instance_failures = 0;
                true
            }
            // No record's fault: nothing is dead-lettered, it is tried again.
            Err(error) => {
                let failed = Failed::of_guest(&error);
                self.note_failure(self.next_offset, &failed, now);
                self.wait_until = Some(now.after(BACKOFF.after(self.instance_failures)));
                self.instance_failures = self.instance_failures.saturating_add(1);
                tracing::error!(transform = %self.program.settings.id, error = failed.message, "no instance of the guest");
                false
            }
        }
    }

    fn note_success(&mut self, success: bool) {
        self.culprits_in_a_row = if success { 0 } else { self.culprits_in_a_row.saturating_add(1) };
    }

    fn note_failure(&mut self, offset: i64, failed: &Failed, now: Timestamp) {
        self.error = Some(LastError { code: failed.code, message: failed.message.clone(), offset: Some(offset), at: now });
    }

    /// A guest that traps on everything gets slower and slower; others on the host notice nothing.
    fn back_off(&mut self, now: Timestamp) {
        if let Some(more) = self.culprits_in_a_row.checked_sub(CULPRITS_IN_A_ROW) {
            self.wait_until = Some(now.after(BACKOFF.after(more)));
        }
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
        self.error = None;
    }

    /// The transaction was aborted: back to the committed offset, with a fresh instance. The caller seeks there.
    pub fn rewind(&mut self) {
        self.go_back_to(self.committed_offset);
        self.guest = None;
        self.paused = false;
    }

    /// The transaction with everything up to [`Task::next_offset`] was committed.
    pub fn committed(&mut self) {
        self.committed_offset = self.next_offset;
        self.skip_control_records();
    }

    /// Runs another revision from the next batch on. Call only between two transactions.
    pub fn swap(&mut self, program: Arc<Program>) {
        self.guest = None;
        self.program = program;
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
        if self.spare.len() < 4 && batch.data.capacity() <= 2 * self.program.settings.batch_bytes {
            self.spare.push(batch);
        }
    }

    pub fn partition(&self) -> Partition {
        self.partition
    }

    pub fn topic(&self) -> &TopicName {
        &self.program.settings.inputs[self.partition.input as usize]
    }

    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    pub fn committed_offset(&self) -> i64 {
        self.committed_offset
    }

    /// Records between the committed offset and the end of the partition, as far as that is known.
    pub fn lag(&self) -> Option<u64> {
        PartitionStatus::lag(Some(self.committed_offset), self.end_offset)
    }

    pub fn status(&self) -> PartitionStatus {
        PartitionStatus {
            topic: self.topic().clone(),
            partition: self.partition.number,
            committed_offset: Some(self.committed_offset),
            end_offset: self.end_offset,
            lag: self.lag(),
            state: self.state(),
            revision: self.program.settings.revision,
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
            Self { instance_failures: 1.., .. } => State::Failed,
            Self { culprits_in_a_row: CULPRITS_IN_A_ROW.., .. } => State::Degraded,
            _ => State::Running,
        }
    }
}

/// The code of an error that a task reports, for metrics.
pub fn reason_of(code: Code) -> &'static str {
    match code {
        Code::GuestFailed => "returned",
        Code::Timeout => "timeout",
        Code::Memory => "memory",
        Code::OutputLimit => "output-limit",
        Code::Contract => "contract",
        Code::RecordTooLarge => "record-too-large",
        Code::Init => "init",
        Code::HostResources => "host",
        _ => "trap",
    }
}
