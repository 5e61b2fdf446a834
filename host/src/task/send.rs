//! The end of a call: outputs are sent, failed records go the way of the error policy.

use crate::model::batch::{Batch, CheckedOutput};
use crate::model::spec::Then;
use crate::model::status::LastError;
use crate::model::units::Timestamp;
use crate::ports::{ProducerRecord, SessionError};

use super::Task;
use super::dead_letter::DeadLetter;
use super::failure::RecordFailure;
use super::ledger::{Part, Source};
use super::step::StepContext;

impl Task {
    /// Sends the outputs of the rows, and deals with the failed ones as the policy says. Returns the number of rows that
    /// are done: all, or those before the one at which the partition was paused.
    pub(super) fn conclude(
        &mut self,
        batch: &Batch,
        checked: Option<&CheckedOutput<'_>>,
        failures: &[(u32, RecordFailure)],
        context: &mut StepContext<'_>,
    ) -> Result<usize, SessionError> {
        let pause = failures.iter().find(|(row, _)| self.must_pause(batch, *row));
        let done = pause.map_or(batch.len(), |(row, _)| *row as usize);
        let failed = &failures[..failures.partition_point(|(row, _)| (*row as usize) < done)];
        let passed = match checked {
            Some(checked) => self.send_outputs(batch, done, checked, failed, context)?,
            None => 0,
        };
        for (row, failure) in failed {
            self.dispose(batch, *row as usize, failure, context)?;
        }
        if self.revision.observer.samples.is_on() {
            self.sample(batch, done, checked, failed, context);
        }
        let filtered = done as u64 - passed - failed.len() as u64;
        context.stats.processed(self.id.input as usize, batch, done, filtered);
        match pause {
            Some((row, failure)) => self.pause_before(batch.offset(*row as usize), failure, context.now.wall),
            None => self.offsets.move_to(batch.last_offset().saturating_add(1)),
        }
        if failures.iter().any(|(_, failure)| failure.is_trap())
            && let Some(backoff) = self.health.trap_backoff()
        {
            // A guest that traps on everything gets slower and slower; others on the host notice nothing.
            self.waits.back_off(context.now.mono.after(backoff));
        }
        Ok(done)
    }

    /// Sends the outputs of the first `done` rows, without those of failed rows. Returns the number of rows that have some.
    fn send_outputs(
        &self,
        batch: &Batch,
        done: usize,
        checked: &CheckedOutput<'_>,
        failed: &[(u32, RecordFailure)],
        context: &mut StepContext<'_>,
    ) -> Result<u64, SessionError> {
        let mut rows = 0;
        let mut last_row = None;
        for record in checked.records().filter(|record| (record.source as usize) < done) {
            let row = record.source;
            if failed.binary_search_by_key(&row, |(failed, _)| *failed).is_ok() {
                continue;
            }
            self.send(&ProducerRecord::of(&record), batch.offset(row as usize), Part::Output, context)?;
            rows += u64::from(last_row != Some(row));
            last_row = Some(row);
        }
        Ok(rows)
    }

    /// Sends a record that came of the row at `offset`.
    pub(super) fn send(
        &self,
        record: &ProducerRecord<'_>,
        offset: i64,
        part: Part,
        context: &mut StepContext<'_>,
    ) -> Result<(), SessionError> {
        context.stats.sent(record, Source { partition: self.id, offset, part });
        context.session.send(record)
    }

    fn must_pause(&self, batch: &Batch, row: u32) -> bool {
        // A dead letter that its topic does not take must not be lost either.
        self.revision.settings.then == Then::Pause || self.verdicts.stop(batch.offset(row as usize)).is_some()
    }

    fn pause_before(&mut self, offset: i64, failure: &RecordFailure, now: Timestamp) {
        let failure = self.verdicts.stop(offset).unwrap_or(failure).clone();
        self.note_failure(offset, &failure, now);
        self.pause_at(offset);
        tracing::error!(
            transform = %self.revision.settings.id, topic = %self.topic(), partition = self.id.partition,
            offset, code = %failure.code, error = failure.message,
            "a record failed: its partition is paused until it is resumed"
        );
    }

    /// Dead-letters or skips one failed row.
    fn dispose(
        &mut self,
        batch: &Batch,
        row: usize,
        failure: &RecordFailure,
        context: &mut StepContext<'_>,
    ) -> Result<(), SessionError> {
        let offset = batch.offset(row);
        self.note_failure(offset, failure, context.now.wall);
        let settings = &self.revision.settings;
        tracing::debug!(
            transform = %settings.id, topic = %self.topic(), partition = self.id.partition, offset,
            code = %failure.code, error = failure.message, "a record failed"
        );
        context.stats.failed(failure.reason());
        let Some(topic) = settings.dead_letters else {
            context.stats.skipped += 1;
            return Ok(());
        };
        let mend = self.verdicts.mend(offset);
        let letter = DeadLetter::new(topic, settings, self.id, batch, row, failure, mend);
        letter.with_record(|record| self.send(record, offset, Part::DeadLetter, context))?;
        context.stats.dead_lettered += 1;
        Ok(())
    }

    pub(super) fn note_failure(&mut self, offset: i64, failure: &RecordFailure, now: Timestamp) {
        let message = failure.message.clone();
        self.health.note_error(LastError { code: failure.code, message, offset: Some(offset), at: now });
    }
}
