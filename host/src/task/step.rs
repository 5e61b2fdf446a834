//! What a task does with its pending records: one call of the guest, and all that follows from it.

use crate::model::batch::{Batch, CheckedOutput, Output, OutputLimits, RecordRef, TICK_ROWS};
use crate::model::codes::Code;
use crate::model::spec::Then;
use crate::model::status::LastError;
use crate::model::units::Timestamp;
use crate::ports::{Call, Guest, GuestError, Outgoing, Session, SessionError};
use crate::state::KeyedState;

use super::failure::{self, Failed};
use super::ledger::{Part, Source};
use super::letter::Letter;
use super::{BACKOFF, CULPRITS_IN_A_ROW, Mode, Step, Task, TransactionStats};

impl Task {
    /// One call of the guest, with all that follows from it. Call only inside a transaction.
    pub fn step(
        &mut self,
        now: Timestamp,
        session: &mut dyn Session,
        state: &mut KeyedState,
        stats: &mut TransactionStats,
    ) -> Result<Step, SessionError> {
        let tick = self.is_tick_due(now);
        if self.is_waiting(now) || (self.pending.is_empty() && !tick) {
            return Ok(Step::Idle);
        }
        self.wait_until = None;
        if let Err(failed) = self.ensure_guest() {
            return Ok(self.no_guest(failed, now));
        }
        match self.mode {
            Mode::Batches if tick => self.step_tick(now, session, state, stats),
            Mode::Batches => self.step_batch(now, session, state, stats),
            Mode::OneByOne { row, attempts } => self.step_row(now, row, attempts, session, state, stats),
        }
    }

    fn step_batch(
        &mut self,
        now: Timestamp,
        session: &mut dyn Session,
        state: &mut KeyedState,
        stats: &mut TransactionStats,
    ) -> Result<Step, SessionError> {
        let batch = self.pending.pop_front().expect("checked in step");
        if batch.len() > 1 && self.verdicts.any_failed(batch.first_offset..=batch.last_offset()) {
            self.pending.push_front(batch);
            self.mode = Mode::OneByOne { row: 0, attempts: 0 };
            return Ok(Step::Worked);
        }
        let program = self.program.clone();
        let settings = &program.settings;
        let result = self.call(&batch, now, state)?;
        let outcome = self.check(&batch, &result);
        if let Some(failed) = self.refused_by(&outcome) {
            return Ok(Step::Refused(failed));
        }
        let failures = failure::foreseen(session, &outcome, failure::of_outcome(&outcome, settings));
        let condemned = self.verdicts.failed(batch.first_offset).is_some();
        let retriable = !failures.is_empty() && settings.retry.attempts > 0 && !condemned;
        // What a record that failed has written must not stay, and who of several wrote what is not known.
        let entangled = !failures.is_empty() && state.has_call_writes();
        state.end_call(failures.is_empty());
        // Who of several failed is not known, or must be run again alone.
        if batch.len() > 1 && (retriable || entangled || outcome.is_err()) {
            self.go_one_by_one(batch);
            return Ok(Step::Worked);
        }
        if retriable {
            self.pending.push_front(batch);
            self.retry_row(0, 1, now);
            return Ok(Step::Worked);
        }
        self.note_success(outcome.is_ok() && failures.len() < batch.len());
        let done = self.conclude(&batch, outcome.ok().as_ref(), &failures, now, session, stats)?;
        if done == batch.len() {
            self.recycle(batch);
        }
        Ok(Step::Worked)
    }

    fn step_row(
        &mut self,
        now: Timestamp,
        row: usize,
        attempts: u32,
        session: &mut dyn Session,
        state: &mut KeyedState,
        stats: &mut TransactionStats,
    ) -> Result<Step, SessionError> {
        let one = self.pending.front().expect("checked in step").row(row);
        let program = self.program.clone();
        let settings = &program.settings;
        let result = self.call(&one, now, state)?;
        let outcome = self.check(&one, &result);
        if let Some(failed) = self.refused_by(&outcome) {
            return Ok(Step::Refused(failed));
        }
        let failures = failure::foreseen(session, &outcome, failure::of_outcome(&outcome, settings));
        state.end_call(failures.is_empty());
        let condemned = self.verdicts.failed(one.first_offset).is_some();
        if !failures.is_empty() && attempts < settings.retry.attempts && !condemned {
            self.retry_row(row, attempts + 1, now);
            return Ok(Step::Worked);
        }
        self.note_success(failures.is_empty());
        let done = self.conclude(&one, outcome.ok().as_ref(), &failures, now, session, stats)?;
        if done == 0 {
            return Ok(Step::Worked);
        }
        let rows = self.pending.front().expect("still there").len();
        self.mode = if row + 1 < rows { Mode::OneByOne { row: row + 1, attempts: 0 } } else { Mode::Batches };
        if self.mode == Mode::Batches {
            let batch = self.pending.pop_front().expect("still there");
            self.recycle(batch);
        }
        Ok(Step::Worked)
    }

    /// Between batches: what the guest puts out and writes is a part of the transaction like any other. A tick that fails
    /// changes nothing; the next one comes at its time.
    fn step_tick(
        &mut self,
        now: Timestamp,
        session: &mut dyn Session,
        state: &mut KeyedState,
        stats: &mut TransactionStats,
    ) -> Result<Step, SessionError> {
        let due = self.tick_at;
        self.called = None;
        self.plan_tick(now);
        let program = self.program.clone();
        // The output is as that of one row without data.
        let mut row = Batch::default();
        row.push(&RecordRef { offset: self.next_offset, timestamp: now.0, key: None, value: None, headers: &[] });
        let result = self.run(state, |guest, call, state| guest.tick(call, state), now)?;
        let limits = OutputLimits {
            records_per_input: program.settings.output.records_per_input.saturating_mul(TICK_ROWS),
            bytes_per_input: program.settings.output.bytes_per_input.saturating_mul(TICK_ROWS as usize),
            ..program.settings.output
        };
        let outcome = self.check_within(&row, &result, &limits);
        if let Some(failed) = self.refused_by(&outcome) {
            return Ok(Step::Refused(failed));
        }
        let failures = failure::foreseen(session, &outcome, failure::of_outcome(&outcome, &program.settings));
        state.end_call(failures.is_empty());
        self.note_success(failures.is_empty());
        if let Some((_, failed)) = failures.first() {
            self.tick_failed(failed, now);
            return Ok(Step::Worked);
        }
        for record in outcome.iter().flat_map(CheckedOutput::records) {
            let (topic, key, value) = (record.target as usize, record.key, record.value);
            let (headers, timestamp) = (&record.headers, record.timestamp);
            let outgoing = Outgoing { topic, partition: None, key, value, headers, timestamp };
            stats.sent(&outgoing, self.source(self.next_offset, Part::Tick));
            session.send(&outgoing)?;
        }
        // An abort takes back all ticks of the transaction: the first of them is due then.
        self.ticked = self.ticked.or(due);
        Ok(Step::Worked)
    }

    /// A tick that failed has changed nothing.
    pub(super) fn tick_failed(&mut self, failed: &Failed, now: Timestamp) {
        let (id, error) = (&self.program.settings.id, &failed.message);
        tracing::warn!(transform = %id, partition = self.partition.partition, code = %failed.code, error, "a tick failed");
        self.program.observer.metrics.failed("tick");
        self.error = Some(LastError { code: failed.code, message: failed.message.clone(), offset: None, at: now });
    }

    /// A revision on trial that traps is refused as a whole, whatever the error policy says of single records.
    fn refused_by(&self, outcome: &Result<CheckedOutput<'_>, Failed>) -> Option<Failed> {
        outcome.as_ref().err().filter(|failed| self.on_trial && failed.is_the_modules()).cloned()
    }

    /// Runs the batch.
    fn call(
        &mut self,
        batch: &Batch,
        now: Timestamp,
        state: &mut KeyedState,
    ) -> Result<Result<Output, Failed>, SessionError> {
        self.called = Some(batch.first_offset);
        if let Some(failed) = self.verdicts.failed(batch.first_offset).filter(|_| batch.len() == 1) {
            return Ok(Err(failed.clone()));
        }
        self.program.observer.metrics.guest.batch_records.observe(batch.len() as f64);
        self.run(state, |guest, call, state| guest.process(batch, call, state), now)
    }

    /// A call of the guest. A failure drops the instance. Where its local state failed, the call says nothing of its
    /// records: the transaction is aborted, and the state opened anew.
    fn run(
        &mut self,
        state: &mut KeyedState,
        call: impl FnOnce(&mut dyn Guest, Call, &mut KeyedState) -> Result<Output, GuestError>,
        now: Timestamp,
    ) -> Result<Result<Output, Failed>, SessionError> {
        let guest = self.guest.as_mut().expect("ensured in step");
        let metrics = &self.program.observer.metrics.guest;
        let timer = metrics.call_time.start_timer();
        let result = call(&mut **guest, Call { partition: self.partition, now }, state);
        timer.observe_duration();
        if let Some(fault) = state.fault() {
            let message = format!("the local state failed: {fault}");
            return Err(SessionError::Withheld { code: Code::StateUnavailable, message });
        }
        // Nor does it where the system refused memory that the guest was granted.
        if let Err(GuestError::Host(message)) = &result {
            self.guest = None;
            return Err(SessionError::Withheld { code: Code::HostResources, message: message.clone() });
        }
        Ok(result.map_err(|error| {
            let failed = Failed::of_guest(&error);
            if failed.is_trap() {
                metrics.trapped(failed.reason());
            }
            self.guest = None;
            failed
        }))
    }

    /// Proves what came back; an instance whose output is not right is not to be trusted with the next batch.
    fn check<'a>(&mut self, batch: &'a Batch, result: &'a Result<Output, Failed>) -> Result<CheckedOutput<'a>, Failed> {
        let limits = self.program.settings.output;
        self.check_within(batch, result, &limits)
    }

    fn check_within<'a>(
        &mut self,
        batch: &'a Batch,
        result: &'a Result<Output, Failed>,
        limits: &OutputLimits,
    ) -> Result<CheckedOutput<'a>, Failed> {
        let output = result.as_ref().map_err(Failed::clone)?;
        output.check(batch, limits).map_err(|error| {
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
        stats: &mut TransactionStats,
    ) -> Result<usize, SessionError> {
        let program = self.program.clone();
        let settings = &program.settings;
        let stop = failures.iter().find(|(row, _)| self.must_pause(batch, *row));
        let done = stop.map_or(batch.len(), |(row, _)| *row as usize);
        let failed = &failures[..failures.partition_point(|(row, _)| (*row as usize) < done)];
        let mut passed = 0;
        if let Some(checked) = checked {
            let mut last = None;
            for record in checked.records().filter(|record| (record.source as usize) < done) {
                if failed.binary_search_by_key(&record.source, |(row, _)| *row).is_ok() {
                    continue;
                }
                let topic = record.target as usize;
                let (key, value) = (record.key, record.value);
                let (headers, timestamp) = (&record.headers, record.timestamp);
                let outgoing = Outgoing { topic, partition: None, key, value, headers, timestamp };
                stats.sent(&outgoing, self.source(batch.offset(record.source as usize), Part::Output));
                session.send(&outgoing)?;
                passed += u64::from(last != Some(record.source));
                last = Some(record.source);
            }
        }
        for (row, failed) in failed {
            self.dispose(batch, *row as usize, failed, now, session, stats)?;
        }
        if program.observer.samples.is_on() {
            self.sample(batch, done, checked, failed, now, stats);
        }
        stats.processed(self.partition.input as usize, batch, done, done as u64 - passed - failed.len() as u64);
        if let Some((row, failed)) = stop {
            let offset = batch.offset(*row as usize);
            let failed = self.verdicts.stop(offset).unwrap_or(failed).clone();
            self.note_failure(offset, &failed, now);
            self.pause_at(offset);
            tracing::error!(
                transform = %settings.id, topic = %self.topic(), partition = self.partition.partition,
                offset = self.next_offset, code = %failed.code, error = failed.message,
                "a record failed: its partition is paused until it is resumed"
            );
        } else {
            self.next_offset = batch.last_offset().saturating_add(1);
        }
        if failures.iter().any(|(_, failed)| failed.is_trap()) {
            self.back_off(now);
        }
        Ok(done)
    }

    fn must_pause(&self, batch: &Batch, row: u32) -> bool {
        // A dead letter that its topic does not take must not be lost either.
        self.program.settings.then == Then::Pause || self.verdicts.stop(batch.offset(row as usize)).is_some()
    }

    fn source(&self, offset: i64, part: Part) -> Source {
        Source { partition: self.partition, offset, part }
    }

    /// Dead-letters or skips one failed row.
    fn dispose(
        &mut self,
        batch: &Batch,
        row: usize,
        failed: &Failed,
        now: Timestamp,
        session: &mut dyn Session,
        stats: &mut TransactionStats,
    ) -> Result<(), SessionError> {
        let program = self.program.clone();
        let settings = &program.settings;
        let offset = batch.offset(row);
        self.note_failure(offset, failed, now);
        tracing::debug!(
            transform = %settings.id, topic = %self.topic(), partition = self.partition.partition, offset,
            code = %failed.code, error = failed.message, "a record failed"
        );
        stats.failed(failed.reason());
        let Some(topic) = settings.dead_letters else {
            stats.skipped += 1;
            return Ok(());
        };
        let mend = self.verdicts.mend(offset);
        Letter::new(topic, settings, self.partition, batch, row, failed, mend).with(|outgoing| {
            stats.sent(outgoing, self.source(offset, Part::DeadLetter));
            session.send(outgoing)
        })?;
        stats.dead_lettered += 1;
        Ok(())
    }

    fn ensure_guest(&mut self) -> Result<(), Failed> {
        if self.guest.is_none() {
            self.guest = Some(self.program.guests.instantiate().map_err(|error| Failed::of_guest(&error))?);
            self.instance_failures = 0;
        }
        Ok(())
    }

    /// No record's fault: nothing is dead-lettered, it is tried again.
    fn no_guest(&mut self, failed: Failed, now: Timestamp) -> Step {
        if self.on_trial && failed.is_the_modules() {
            return Step::Refused(failed);
        }
        tracing::error!(transform = %self.program.settings.id, error = failed.message, "no instance of the guest");
        self.note_failure(self.next_offset, &failed, now);
        self.wait_until = Some(now.after(BACKOFF.after(self.instance_failures)));
        self.instance_failures = self.instance_failures.saturating_add(1);
        Step::Idle
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
}
