//! The health of a task: its failures as the status shows them, and the back-offs for them.

use std::time::Duration;

use crate::model::status::LastError;
use crate::model::units::Backoff;

/// Failed calls in a row after which a partition is degraded, and backs off after each further trap. A single bad record
/// among good ones costs no time.
const FAILED_CALLS_MAX: u32 = 5;
/// First and longest back-off of a partition whose guest fails on everything, or cannot be made. 10 s is short beside a
/// deployment that mends the guest.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(10) };

/// The failures of a task, and the back-offs for them.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Calls in a row of which no record succeeded.
    failed_calls: u32,
    /// Attempts in a row to make an instance of the guest.
    failed_instances: u32,
    /// The partition's state could not be opened, or no revision that may go on with the partition is there.
    has_no_state: bool,
    error: Option<LastError>,
}

impl Health {
    /// The last error, until it is over.
    pub fn error(&self) -> Option<&LastError> {
        self.error.as_ref()
    }

    pub fn note_error(&mut self, error: LastError) {
        self.error = Some(error);
    }

    /// Gives records another chance. `lasting` is the error that stays.
    pub fn forgive(&mut self, lasting: Option<&LastError>) {
        self.failed_calls = 0;
        self.error = lasting.cloned();
    }

    pub fn note_call(&mut self, success: bool) {
        self.failed_calls = if success { 0 } else { self.failed_calls.saturating_add(1) };
    }

    /// The back-off after a trap. The first few traps in a row have none.
    pub fn trap_backoff(&self) -> Option<Duration> {
        Some(BACKOFF.after(self.failed_calls.checked_sub(FAILED_CALLS_MAX)?))
    }

    /// Notes that no instance of the guest could be made. Returns the back-off before the next attempt.
    pub fn note_no_instance(&mut self) -> Duration {
        let backoff = BACKOFF.after(self.failed_instances);
        self.failed_instances = self.failed_instances.saturating_add(1);
        backoff
    }

    /// Notes that there is an instance, or another revision to make one of.
    pub fn note_instance(&mut self) {
        self.failed_instances = 0;
    }

    pub fn note_no_state(&mut self, error: LastError) {
        self.has_no_state = true;
        self.error = Some(error);
    }

    /// Notes that the partition's state is open. `lasting` is the error that stays.
    pub fn note_state(&mut self, lasting: Option<&LastError>) {
        self.has_no_state = false;
        self.failed_instances = 0;
        self.error = lasting.cloned();
    }

    /// Notes another revision: the partition may go on with it.
    pub fn note_revision(&mut self) {
        self.has_no_state = false;
        self.failed_instances = 0;
    }

    /// Returns true if the task cannot work, and tries it again.
    pub fn is_failed(&self) -> bool {
        self.has_no_state || self.failed_instances > 0
    }

    /// Returns true if the guest fails again and again.
    pub fn is_degraded(&self) -> bool {
        self.failed_calls >= FAILED_CALLS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The back-offs after each of these calls, in ms; None without a trap's back-off.
    #[track_caller]
    fn check(successes: &[bool], expected: &[Option<u64>]) {
        let mut health = Health::default();
        let backoffs = successes.iter().map(|&success| {
            health.note_call(success);
            health.trap_backoff().map(|backoff| backoff.as_millis() as u64)
        });
        assert_eq!(backoffs.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_guest_that_fails_on_everything_gets_slower() {
        check(&[true, true], &[None, None]);
        check(&[false; 6], &[None, None, None, None, Some(100), Some(200)]);
        check(&[false, false, false, false, true, false], &[None; 6]);
    }

    #[test]
    fn a_failed_instance_shows_until_there_is_one() {
        let mut health = Health::default();
        let backoffs = [(); 3].map(|()| health.note_no_instance().as_millis());
        assert_eq!((backoffs, health.is_failed()), ([100, 200, 400], true));
        health.note_instance();
        assert!(!health.is_failed());
    }
}
