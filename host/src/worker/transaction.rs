//! The transaction over all tasks of a worker: its phase, the deadline of its commit, the back-off after an abort.
//!
//! ```text
//!              begin                commit, or abort
//!    idle ---------------> open -----------------------> idle
//!     | ^                   ^                              |
//!     | | ended early       | begin, when the time is up   | an abort whose cause may last
//!     | |                   |                              |
//!     | +---------------- backing off <--------------------+
//!     +-------------------> ^       an abort of work that was not begun
//! ```
//!
//! A plain value: the worker makes the session's calls, and tells it of their ends. All of its times are of the monotonic
//! clock.

use std::time::Duration;

use crate::model::clock::Monotonic;
use crate::model::codes::Code;
use crate::model::status::LastError;
use crate::model::transaction_time::COMMIT_MARGIN;
use crate::model::units::{Backoff, Timestamp};

/// First and longest wait after an abort before the next transaction. 20 ms is about one commit of a healthy broker;
/// with 5 s, an outage costs one attempt each 5 s.
const ABORT_BACKOFF: Backoff = Backoff { first: Duration::from_millis(20), longest: Duration::from_secs(5) };
/// More backed-off aborts in a row than this show as a degraded worker: one or two are a passing fault of the log.
const PASSING_ABORTS_MAX: u32 = 2;

/// The phase of a worker's transaction. A deadline is the time at which the open work, or the pending records, are to be
/// committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transaction {
    Idle {
        deadline: Option<Monotonic>,
    },
    /// `end`: the work must be over by then, so that there is time for the commit.
    Open {
        deadline: Monotonic,
        end: Monotonic,
    },
    BackingOff {
        until: Monotonic,
        deadline: Option<Monotonic>,
    },
}

/// The time at which records that have just come are committed: an interval after the last commit began, so that the time of
/// a commit is no part of the next wait. Half an interval is left to gather records, and after a silence a whole one.
pub(super) fn next_commit(last: Option<Monotonic>, now: Monotonic, interval: Duration) -> Monotonic {
    let next = last.map(|last| last.after(interval)).filter(|next| *next > now);
    next.map_or(now.after(interval), |next| next.max(now.after(interval / 2)))
}

impl Transaction {
    pub fn is_open(self) -> bool {
        matches!(self, Self::Open { .. })
    }

    pub fn is_backing_off(self, now: Monotonic) -> bool {
        matches!(self, Self::BackingOff { until, .. } if now < until)
    }

    pub fn deadline(self) -> Option<Monotonic> {
        match self {
            Self::Idle { deadline } | Self::BackingOff { deadline, .. } => deadline,
            Self::Open { deadline, .. } => Some(deadline),
        }
    }

    /// The end of the open transaction's allowed time: its timeout, less the time of a commit. A call that lasts longer can
    /// not be committed.
    pub fn end(self) -> Option<Monotonic> {
        if let Self::Open { end, .. } = self { Some(end) } else { None }
    }

    /// Returns true if the deadline is past by `grace`.
    pub fn is_overdue(self, now: Monotonic, grace: Duration) -> bool {
        self.deadline().is_some_and(|deadline| now >= deadline.after(grace))
    }

    /// The times at which the phase or the duty to commit changes.
    pub fn times(self) -> impl Iterator<Item = Monotonic> {
        let until = if let Self::BackingOff { until, .. } = self { Some(until) } else { None };
        self.deadline().into_iter().chain(until)
    }

    /// Sets the deadline. An open transaction has one until it ends.
    pub fn set_deadline(&mut self, next: Monotonic) {
        *self = match *self {
            Self::Idle { .. } => Self::Idle { deadline: Some(next) },
            Self::Open { end, .. } => Self::Open { deadline: next, end },
            Self::BackingOff { until, .. } => Self::BackingOff { until, deadline: Some(next) },
        }
    }

    /// Forgets the deadline of pending records.
    pub fn clear_deadline(&mut self) {
        match self {
            Self::Idle { deadline } | Self::BackingOff { deadline, .. } => *deadline = None,
            Self::Open { .. } => panic!("an open transaction has a deadline"),
        }
    }

    /// The session has begun a transaction. Its deadline is that of the pending records, or the interval from now on.
    /// A deadline that passed during a slow commit is now: the transaction has its time, as any other. `timeout` is the log's.
    pub fn begun(&mut self, now: Monotonic, commit_interval: Duration, timeout: Duration) {
        let deadline = self.deadline().map_or_else(|| now.after(commit_interval), |deadline| deadline.max(now));
        let end = now.after(timeout.saturating_sub(COMMIT_MARGIN));
        self.transition_to(Self::Open { deadline, end }, now);
    }

    /// The transaction was committed or aborted. Pending records have a deadline of their own.
    pub fn ended(&mut self, now: Monotonic) {
        self.transition_to(Self::Idle { deadline: None }, now);
    }

    /// The transaction was aborted, and the next one waits.
    pub fn back_off(&mut self, until: Monotonic, now: Monotonic) {
        self.transition_to(Self::BackingOff { until, deadline: None }, now);
    }

    /// Ends a back-off before its time.
    pub fn end_back_off(&mut self) {
        if let Self::BackingOff { deadline, .. } = *self {
            *self = Self::Idle { deadline };
        }
    }

    fn transition_to(&mut self, next: Self, now: Monotonic) {
        assert!(self.can_become(next, now), "a transaction that is {self:?} becomes {next:?} at {now:?}");
        *self = next;
    }

    /// Returns true if the diagram has this edge.
    fn can_become(self, next: Self, now: Monotonic) -> bool {
        match (self, next) {
            (Self::Idle { .. }, Self::Open { .. } | Self::BackingOff { .. }) => true,
            (Self::Open { .. }, Self::Idle { .. }) => true,
            (Self::BackingOff { .. }, Self::BackingOff { .. }) => true,
            (Self::BackingOff { .. }, Self::Open { .. }) => !self.is_backing_off(now),
            _ => false,
        }
    }
}

/// Aborted transactions since the last commit.
#[derive(Debug, Default)]
pub(super) struct Aborts {
    /// Aborts after which the worker backed off.
    backed_off: u32,
    /// Aborts for a refused record that is known.
    rejections: u32,
    /// The reason of the last one.
    error: Option<LastError>,
}

impl Aborts {
    pub fn note(&mut self, code: Code, reason: &str, now: Timestamp) {
        self.error = Some(LastError { code, message: reason.to_owned(), offset: None, at: now });
    }

    /// Counts an abort for a refused record, and returns the number of those in a row.
    pub fn note_rejection(&mut self) -> u32 {
        self.rejections = self.rejections.saturating_add(1);
        self.rejections
    }

    /// Counts a back-off, and returns its length.
    pub fn next_backoff(&mut self) -> Duration {
        let backoff = ABORT_BACKOFF.after(self.backed_off);
        self.backed_off = self.backed_off.saturating_add(1);
        backoff
    }

    /// The number of back-offs in a row.
    pub fn backed_off(&self) -> u32 {
        self.backed_off
    }

    /// The reason of the last abort.
    pub fn error(&self) -> Option<&LastError> {
        self.error.as_ref()
    }

    /// Forgets the reason, but not the number of aborts: other workers may have the records now.
    pub fn forget_error(&mut self) {
        self.error = None;
    }

    /// Returns true if transactions are aborted again and again, or for a reason that does not pass by itself.
    pub fn are_stuck(&self) -> bool {
        // A group that gives partitions to others fences a transaction, which is over with that.
        let passes = |code: Code| code.may_pass() || code == Code::Fenced;
        let lasts = self.error.as_ref().is_some_and(|error| self.backed_off > 0 && !passes(error.code));
        self.backed_off > PASSING_ABORTS_MAX || lasts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(15);
    const NOW: Monotonic = at(1000);
    const IDLE: Transaction = Transaction::Idle { deadline: None };
    const OPEN: Transaction = Transaction::Open { deadline: at(1100), end: at(12_000) };
    const BACKING_OFF: Transaction = Transaction::BackingOff { until: at(1020), deadline: None };
    const BACKED_OFF: Transaction = Transaction::BackingOff { until: NOW, deadline: None };

    const fn at(ms: u64) -> Monotonic {
        Monotonic::from_millis(ms)
    }

    #[track_caller]
    fn check(from: Transaction, edges: [bool; 3]) {
        assert_eq!([IDLE, OPEN, BACKING_OFF].map(|next| from.can_become(next, NOW)), edges);
    }

    #[test]
    fn phases_follow_the_diagram() {
        check(IDLE, [false, true, true]);
        check(OPEN, [true, false, false]);
        check(BACKING_OFF, [false, false, true]);
        check(BACKED_OFF, [false, true, true]);
    }

    #[test]
    fn a_transaction_takes_over_the_deadline_of_pending_records() {
        let interval = Duration::from_millis(100);
        let mut transaction = IDLE;
        transaction.begun(NOW, interval, TIMEOUT);
        assert_eq!((transaction, transaction.end()), (OPEN, Some(at(12_000))));
        transaction.ended(NOW);
        assert_eq!(transaction.end(), None);
        transaction.set_deadline(at(1050));
        transaction.begun(NOW, interval, TIMEOUT);
        assert_eq!(transaction, Transaction::Open { deadline: at(1050), end: at(12_000) });
        transaction.ended(NOW);
        transaction.set_deadline(at(900));
        transaction.begun(NOW, interval, TIMEOUT);
        assert_eq!(transaction.deadline(), Some(NOW), "the commit before it took long");
        transaction.ended(NOW);
        transaction.set_deadline(at(1050));
        transaction.begun(NOW, interval, TIMEOUT);
        assert!(!transaction.is_overdue(at(1049), Duration::ZERO) && transaction.is_overdue(at(1150), interval));
    }

    #[test]
    fn commits_are_an_interval_apart() {
        let interval = Duration::from_millis(100);
        for (last, expected) in
            [(None, 1100), (Some(990), 1090), (Some(950), 1050), (Some(949), 1050), (Some(901), 1050), (Some(900), 1100)]
        {
            assert_eq!(next_commit(last.map(at), NOW, interval), at(expected), "{last:?}");
        }
    }

    #[test]
    fn a_back_off_has_an_end() {
        let mut transaction = IDLE;
        transaction.back_off(at(1020), NOW);
        assert_eq!([1019, 1020].map(|now| transaction.is_backing_off(at(now))), [true, false]);
        transaction.end_back_off();
        assert_eq!(transaction, IDLE);
    }

    #[test]
    fn aborts_show_when_they_do_not_pass() {
        let mut aborts = Aborts::default();
        aborts.note(Code::LogUnavailable, "no broker", Timestamp(1000));
        let backoffs = [(); 3].map(|()| {
            let backoff = aborts.next_backoff().as_millis();
            (backoff, aborts.are_stuck())
        });
        assert_eq!(backoffs, [(20, false), (40, false), (80, true)]);
        let mut lasting = Aborts::default();
        lasting.note(Code::TopicGone, "there is no topic out", Timestamp(1000));
        lasting.next_backoff();
        assert_eq!(lasting.are_stuck(), !Code::TopicGone.may_pass());
    }
}
