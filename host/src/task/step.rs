//! One step of a task: a call of the guest with a batch, a row or a tick, and the decision about its outcome.

use crate::model::batch::{Batch, CheckedOutput, OutputLimits, RecordRef, TICK_ROWS};
use crate::model::clock::{Monotonic, Now};
use crate::model::status::LastError;
use crate::model::units::Timestamp;
use crate::ports::{Call, ProducerRecord, Session, SessionError};
use crate::state::KeyedState;

use super::buffer::Mode;
use super::failure::{self, RecordFailure};
use super::ledger::Part;
use super::{Task, TransactionStats};

/// The parts of a worker that a step works on.
pub struct StepContext<'a> {
    pub now: Now,
    /// The end of the open transaction's allowed time: later work cannot be committed.
    pub end: Monotonic,
    /// A transaction is open in it.
    pub session: &'a mut dyn Session,
    /// The state of the task's partition.
    pub state: &'a mut KeyedState,
    pub stats: &'a mut TransactionStats,
}

/// The outcome of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A call was made, or a failed record was dealt with. A call that the transaction had no room for is made again in the
    /// next one.
    Worked,
    /// The revision on trial trapped, or no instance of it could be made. Abort, and go back to the one before.
    Refused(RecordFailure),
    /// There is nothing to do now: no record, or the task waits or is paused.
    Idle,
}

impl Task {
    /// Makes one call of the guest, and deals with its outcome. Call it only inside a transaction. An error is the
    /// session's or the state's, and ends the transaction.
    pub fn step(&mut self, context: &mut StepContext<'_>) -> Result<Step, SessionError> {
        let now = context.now;
        let is_tick = self.is_tick_due(now);
        if self.is_waiting(now.mono) || (self.buffer.is_empty() && !is_tick) {
            return Ok(Step::Idle);
        }
        self.waits.end_back_off();
        if let Err(failure) = self.ensure_guest() {
            return Ok(self.no_guest(failure, now));
        }
        // Ticks that last longer than their interval are due all the time: records come between two of them.
        let is_tick = is_tick && (self.buffer.is_empty() || !self.was_tick);
        self.was_tick = is_tick;
        match self.buffer.mode() {
            Mode::Batches if is_tick => self.step_tick(context),
            Mode::Batches => self.step_batch(context),
            Mode::OneByOne { row, attempts } => self.step_row(row, attempts, context),
        }
    }

    fn step_batch(&mut self, context: &mut StepContext<'_>) -> Result<Step, SessionError> {
        let batch = self.buffer.take_first();
        if batch.len() > 1 && self.verdicts.any_failed(batch.first_offset..=batch.last_offset()) {
            self.buffer.put_back(batch);
            self.buffer.go_one_by_one(0, 0);
            return Ok(Step::Worked);
        }
        let revision = self.revision.clone();
        let settings = &revision.settings;
        let spans = self.begin_spans(&batch, context.now.wall);
        let Some(result) = self.process(&batch, context)? else {
            self.buffer.put_back(batch);
            return Ok(Step::Worked);
        };
        let outcome = self.check(&batch, &result, &settings.output);
        let outcome = outcome.map(|checked| checked.with_trace_spans(&spans.rows));
        if let Some(failure) = self.refused_by(&outcome) {
            return Ok(Step::Refused(failure));
        }
        let failures = failure::all_of(&outcome, settings, &*context.session);
        let is_condemned = self.verdicts.failed(batch.first_offset).is_some();
        let is_retriable = !failures.is_empty() && settings.retry.attempts > 0 && !is_condemned;
        // A failed record's writes must not stay, and nobody knows which of several records wrote what.
        let is_entangled = !failures.is_empty() && context.state.has_call_writes();
        context.state.end_call(failures.is_empty());
        // Of several records, the failed one is not known, or must be run again alone.
        if batch.len() > 1 && (is_retriable || is_entangled || outcome.is_err()) {
            self.guest = None;
            self.buffer.put_back(batch);
            self.buffer.go_one_by_one(0, 0);
            return Ok(Step::Worked);
        }
        if is_retriable {
            self.buffer.put_back(batch);
            self.retry_row(0, 1, context.now.mono);
            return Ok(Step::Worked);
        }
        self.note_call(outcome.is_ok() && failures.len() < batch.len());
        let done = self.conclude(&batch, outcome.ok().as_ref(), &failures, context)?;
        self.end_spans(spans, &batch, done, &failures, context.stats);
        if done == batch.len() {
            self.buffer.done(batch);
        }
        Ok(Step::Worked)
    }

    fn step_row(&mut self, row: usize, attempts: u32, context: &mut StepContext<'_>) -> Result<Step, SessionError> {
        let one = self.buffer.first().row(row);
        let revision = self.revision.clone();
        let settings = &revision.settings;
        let spans = self.begin_spans(&one, context.now.wall);
        let Some(result) = self.process(&one, context)? else { return Ok(Step::Worked) };
        let outcome = self.check(&one, &result, &settings.output);
        let outcome = outcome.map(|checked| checked.with_trace_spans(&spans.rows));
        if let Some(failure) = self.refused_by(&outcome) {
            return Ok(Step::Refused(failure));
        }
        let failures = failure::all_of(&outcome, settings, &*context.session);
        context.state.end_call(failures.is_empty());
        let is_condemned = self.verdicts.failed(one.first_offset).is_some();
        if !failures.is_empty() && attempts < settings.retry.attempts && !is_condemned {
            self.retry_row(row, attempts + 1, context.now.mono);
            return Ok(Step::Worked);
        }
        self.note_call(failures.is_empty());
        let done = self.conclude(&one, outcome.ok().as_ref(), &failures, context)?;
        self.end_spans(spans, &one, done, &failures, context.stats);
        // A row that is not done paused the partition, which dropped the batch.
        if done > 0 {
            self.buffer.next_row(row);
        }
        Ok(Step::Worked)
    }

    /// Runs a tick: its outputs and its writes are a part of the transaction like any other. A tick that fails changes
    /// nothing; the next one comes at its time. One that an abort takes back, or that could not end, is made again.
    fn step_tick(&mut self, context: &mut StepContext<'_>) -> Result<Step, SessionError> {
        self.called = None;
        let revision = self.revision.clone();
        let settings = &revision.settings;
        let at = self.ticks.take(settings.ticks(self.id), context.now);
        // The output is shaped like that of one row without data.
        let mut row = Batch::default();
        let offset = self.offsets.next();
        row.push(&RecordRef { offset, timestamp: at.0, key: None, value: None, headers: &[] });
        let result = self.call(|guest, call, state| guest.tick(Call { now: at, ..call }, state), context)?;
        let Some(result) = result else {
            self.ticks.put_back();
            return Ok(Step::Worked);
        };
        let limits = OutputLimits {
            records_per_input: settings.output.records_per_input.saturating_mul(TICK_ROWS),
            bytes_per_input: settings.output.bytes_per_input.saturating_mul(TICK_ROWS as usize),
            ..settings.output
        };
        let outcome = self.check(&row, &result, &limits);
        if let Some(failure) = self.refused_by(&outcome) {
            return Ok(Step::Refused(failure));
        }
        let failures = failure::all_of(&outcome, settings, &*context.session);
        context.state.end_call(failures.is_empty());
        self.note_call(failures.is_empty());
        if let Some((_, failure)) = failures.first() {
            self.ticks.note_failure();
            self.tick_failed(failure, at);
            return Ok(Step::Worked);
        }
        for record in outcome.iter().flat_map(CheckedOutput::records) {
            self.send(&ProducerRecord::of(&record), offset, Part::Tick, context)?;
        }
        self.ticks.note_work(at);
        Ok(Step::Worked)
    }

    /// Shows the failure of a tick, which has changed nothing.
    pub(super) fn tick_failed(&mut self, failure: &RecordFailure, now: Timestamp) {
        let id = &self.revision.settings.id;
        let error = &failure.message;
        tracing::warn!(transform = %id, partition = self.id.partition, code = %failure.code, error, "a tick failed");
        self.revision.observer.metrics.failed("tick");
        self.health.note_error(LastError { code: failure.code, message: failure.message.clone(), offset: None, at: now });
    }

    /// Runs the row again, with a fresh instance, after the policy's back-off.
    fn retry_row(&mut self, row: usize, attempts: u32, now: Monotonic) {
        self.guest = None;
        self.buffer.go_one_by_one(row, attempts);
        self.waits.back_off(now.after(self.revision.settings.retry.backoff.0));
    }

    fn note_call(&mut self, success: bool) {
        self.health.note_call(success);
        self.update_state();
    }
}
