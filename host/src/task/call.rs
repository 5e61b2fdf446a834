//! Calls of a task's guest: making an instance, running it, proving its output.

use std::time::Instant;

use crate::model::batch::{Batch, CheckedOutput, Output, OutputLimits};
use crate::model::clock::Now;
use crate::model::codes::Code;
use crate::ports::{Call, Guest, GuestError, SessionError};
use crate::state::KeyedState;

use super::Task;
use super::failure::RecordFailure;
use super::step::{Step, StepContext};

impl Task {
    pub(super) fn ensure_guest(&mut self) -> Result<(), RecordFailure> {
        if self.guest.is_none() {
            let guest = self.revision.guests.instantiate().map_err(|error| RecordFailure::of_guest(&error))?;
            self.guest = Some(guest);
            self.health.note_instance();
            self.update_state();
        }
        Ok(())
    }

    /// Backs off before the next attempt to make an instance. It is no record's fault: nothing is dead-lettered.
    pub(super) fn no_guest(&mut self, failure: RecordFailure, now: Now) -> Step {
        if self.on_trial && failure.is_the_modules() {
            return Step::Refused(failure);
        }
        tracing::error!(transform = %self.revision.settings.id, error = failure.message, "no instance of the guest");
        self.note_failure(self.offsets.next(), &failure, now.wall);
        let backoff = self.health.note_no_instance();
        self.waits.back_off(now.mono.after(backoff));
        self.update_state();
        Step::Idle
    }

    /// Runs a batch. A single record with a verdict fails without a call. None as in [`Task::call`].
    pub(super) fn process(
        &mut self,
        batch: &Batch,
        context: &mut StepContext<'_>,
    ) -> Result<Option<Result<Output, RecordFailure>>, SessionError> {
        self.called = Some(batch.first_offset);
        if let Some(failure) = self.verdicts.failed(batch.first_offset).filter(|_| batch.len() == 1) {
            return Ok(Some(Err(failure.clone())));
        }
        self.revision.observer.metrics.guest.batch_records.observe(batch.len() as f64);
        self.call(|guest, call, state| guest.process(batch, call, state), context)
    }

    /// Calls the guest. A failure drops the instance. A fault of the local state, or of the host, says nothing of the
    /// records: it is the outer error, which aborts the transaction.
    ///
    /// None: the transaction has no room for more expiries of the state, and is to be committed with those that it has. The
    /// call has changed nothing else, and is to be made again.
    pub(super) fn call(
        &mut self,
        call: impl FnOnce(&mut dyn Guest, Call, &mut KeyedState) -> Result<Output, GuestError>,
        context: &mut StepContext<'_>,
    ) -> Result<Option<Result<Output, RecordFailure>>, SessionError> {
        let guest = self.guest.as_mut().expect("ensured in step");
        let metrics = &self.revision.observer.metrics;
        let timer = metrics.guest.call_time.start_timer();
        let ends_at = Instant::now().checked_add(context.end.since(context.now.mono));
        let result = call(&mut **guest, Call { partition: self.id, now: context.now.wall, ends_at }, context.state);
        timer.observe_duration();
        if let Some(fault) = context.state.fault() {
            let message = format!("the local state failed: {fault}");
            return Err(SessionError::Withheld { code: Code::StateUnavailable, message });
        }
        if context.state.must_commit() {
            context.state.end_call(false);
            self.guest = None;
            self.has_expiries = true;
            let id = &self.revision.settings.id;
            let partition = self.id.partition;
            tracing::info!(transform = %id, partition, "a call is made again after a commit of expired entries");
            return Ok(None);
        }
        // The system refused memory that the guest was granted, for example.
        if let Err(error @ (GuestError::Host(_) | GuestError::Stalled(_))) = &result {
            self.guest = None;
            let RecordFailure { code, message } = RecordFailure::of_guest(error);
            return Err(SessionError::Withheld { code, message });
        }
        Ok(Some(result.map_err(|error| {
            let failure = RecordFailure::of_guest(&error);
            if failure.is_trap() {
                metrics.guest.trapped(failure.reason());
            }
            self.guest = None;
            failure
        })))
    }

    /// Proves an output. An instance whose output breaks the contract is not to be trusted with the next batch.
    pub(super) fn check<'a>(
        &mut self,
        batch: &'a Batch,
        result: &'a Result<Output, RecordFailure>,
        limits: &OutputLimits,
    ) -> Result<CheckedOutput<'a>, RecordFailure> {
        let output = result.as_ref().map_err(RecordFailure::clone)?;
        output.check(batch, limits).map_err(|error| {
            self.guest = None;
            RecordFailure::of_output(&error)
        })
    }

    /// The failure for which a revision on trial is refused as a whole, whatever the error policy says of single records.
    pub(super) fn refused_by(&self, outcome: &Result<CheckedOutput<'_>, RecordFailure>) -> Option<RecordFailure> {
        outcome.as_ref().err().filter(|failure| self.on_trial && failure.is_the_modules()).cloned()
    }
}
