//! The deadline of a call, in CPU time of the call's own thread.
//!
//! A call on a busy host waits for its turn, and whoever keeps the host busy is another: so waiting does not count. The
//! clock bounds a call too, since its transaction ends some time; a call that the clock ends is nobody's fault, and is made
//! again.

use std::time::{Duration, Instant};

use crate::cpu::{self, thread_time};

/// Time on the clock for a call that no transaction bounds: of `init`, and of dry runs, for which somebody waits. It is four
/// times the longest `limits.batch_time`, and less than clients wait.
const CLOCK_TIME: Duration = Duration::from_secs(20);

/// The end of a call that has not ended by itself. The thread that makes the call sets it and looks at it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    /// The end by the thread's own clock.
    cpu: Duration,
    clock: Instant,
}

/// The limit that ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Cpu,
    Clock,
}

impl Deadline {
    /// Returns the deadline of a call that begins now and may take `time`. It is over at `ends_at` on the clock.
    pub fn after(time: Duration, ends_at: Option<Instant>) -> Self {
        let clock = ends_at.unwrap_or_else(|| Instant::now() + CLOCK_TIME);
        Self { cpu: thread_time() + time, clock }
    }

    /// Gives the call so much more CPU time: it went into work of the host's own.
    pub fn extend(&mut self, time: Duration) {
        self.cpu += time;
    }

    /// Lets other teams have the processor, if it is their turn, and returns the limit that the call has met.
    pub fn check(&self) -> Option<Limit> {
        if thread_time() >= self.cpu {
            return Some(Limit::Cpu);
        }
        let is_over = !cpu::pass_on(self.clock) || Instant::now() >= self.clock;
        is_over.then_some(Limit::Clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_does_not_count_and_work_does() {
        let deadline = Deadline::after(Duration::from_millis(40), None);
        std::thread::sleep(Duration::from_millis(60));
        assert_eq!(deadline.check(), None, "it has slept");
        let began = thread_time();
        while thread_time() - began < Duration::from_millis(45) {}
        assert_eq!(deadline.check(), Some(Limit::Cpu), "it has worked");
    }

    #[test]
    fn waiting_ends_too() {
        let deadline = Deadline::after(Duration::from_secs(1), Some(Instant::now()));
        assert_eq!(deadline.check(), Some(Limit::Clock));
    }
}
