//! The two clocks of a host, as types that do not mix.
//!
//! | clock | type | for |
//! |---|---|---|
//! | the wall clock | [`Timestamp`] | times that people, records and other hosts see: records, ticks, ttl, statuses |
//! | the monotonic clock | [`Monotonic`] | deadlines, back-offs, and every other span of time within a process |
//!
//! An operator or a time service may set the wall clock forward or back by any time. The monotonic clock goes on evenly.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use super::units::Timestamp;

/// The zero of the monotonic clock: its first use in this process.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A moment on the monotonic clock of this process. It means nothing outside of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Monotonic(Duration);

impl Monotonic {
    /// A moment that is past whenever it is compared with the clock.
    pub const PAST: Self = Self(Duration::ZERO);

    pub const fn from_millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// Reads the clock. As with the wall clock, only the composition root and the edges call this.
    pub fn now() -> Self {
        Self(ORIGIN.elapsed())
    }

    /// Returns the moment that is later by `by`.
    pub const fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }

    /// Returns the time since `earlier`; zero if `earlier` is in the future.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// One moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    pub wall: Timestamp,
    pub mono: Monotonic,
}

impl Now {
    /// Reads both clocks.
    pub fn read() -> Self {
        Self { wall: Timestamp::now(), mono: Monotonic::now() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_never_negative() {
        let at = Monotonic::from_millis(1000);
        let later = at.after(Duration::from_millis(250));
        assert_eq!((later.since(at), at.since(later)), (Duration::from_millis(250), Duration::ZERO));
        assert_eq!(at.after(Duration::MAX).since(Monotonic::PAST), Duration::MAX);
        assert!(Monotonic::now() >= Monotonic::PAST);
    }
}
