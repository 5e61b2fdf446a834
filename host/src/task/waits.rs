//! The reasons for which a task makes no call. They are independent: a paused task may wait for its state as well.

use crate::model::clock::Monotonic;
use crate::model::status::LastError;

/// The reasons for which a task makes no call.
#[derive(Debug, Default)]
pub(super) struct Waits {
    /// A bad record stopped the partition, until somebody resumes it.
    paused: bool,
    /// That happened in the open transaction, whose abort undoes it.
    is_pause_open: bool,
    /// The partition's state is not open.
    for_state: bool,
    /// An error stopped the partition until its worker opens another session.
    stopped: Option<LastError>,
    /// The end of a back-off.
    until: Option<Monotonic>,
}

impl Waits {
    /// Returns true if the task makes no call at `now`.
    pub fn are_on(&self, now: Monotonic) -> bool {
        self.have_no_end() || self.until.is_some_and(|until| now < until)
    }

    /// Returns true if no time ends them.
    pub fn have_no_end(&self) -> bool {
        self.paused || self.for_state || self.stopped.is_some()
    }

    /// The end of the back-off.
    pub fn until(&self) -> Option<Monotonic> {
        self.until
    }

    pub fn back_off(&mut self, until: Monotonic) {
        self.until = Some(until);
    }

    pub fn end_back_off(&mut self) {
        self.until = None;
    }

    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Stops before a bad record. Only a task that works can meet one.
    pub fn pause(&mut self) {
        assert!(!self.have_no_end(), "a task that waits met a bad record");
        self.paused = true;
        self.is_pause_open = true;
    }

    /// The transaction has ended well: only somebody's request ends a pause from now on.
    pub fn keep_pause(&mut self) {
        self.is_pause_open = false;
    }

    /// Ends a pause of the transaction that was aborted. A back-off goes on.
    pub fn undo_pause(&mut self) {
        if std::mem::take(&mut self.is_pause_open) {
            self.paused = false;
        }
    }

    /// Ends a pause by request. A back-off goes on.
    pub fn unpause(&mut self) {
        self.paused = false;
        self.is_pause_open = false;
    }

    pub fn is_for_state(&self) -> bool {
        self.for_state
    }

    pub fn wait_for_state(&mut self, waits: bool) {
        self.for_state = waits;
    }

    /// The error that stopped the partition.
    pub fn stopped(&self) -> Option<&LastError> {
        self.stopped.as_ref()
    }

    pub fn stop(&mut self, error: LastError) {
        self.stopped = Some(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::codes::Code;
    use crate::model::units::Timestamp;

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_millis(ms)
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Waits), is_on: [bool; 3], has_no_end: bool) {
        let mut waits = Waits::default();
        change(&mut waits);
        assert_eq!([0, 9, 10].map(|now| waits.are_on(at(now))), is_on);
        assert_eq!(waits.have_no_end(), has_no_end);
    }

    #[test]
    fn a_task_waits_for_its_last_reason() {
        let error = LastError { code: Code::OffsetUnreadable, message: String::new(), offset: None, at: Timestamp(0) };
        check(|_| {}, [false; 3], false);
        check(|waits| waits.back_off(at(10)), [true, true, false], false);
        check(Waits::pause, [true; 3], true);
        check(|waits| waits.wait_for_state(true), [true; 3], true);
        check(|waits| waits.stop(error), [true; 3], true);
        let paused_in_aborted = |waits: &mut Waits| {
            waits.pause();
            waits.undo_pause();
        };
        check(paused_in_aborted, [false; 3], false);
        let paused_before = |waits: &mut Waits| {
            waits.pause();
            waits.keep_pause();
            waits.undo_pause();
        };
        check(paused_before, [true; 3], true);
        let paused_and_backing_off = |waits: &mut Waits| {
            waits.pause();
            waits.back_off(at(10));
            waits.unpause();
        };
        check(paused_and_backing_off, [true, true, false], false);
    }
}
