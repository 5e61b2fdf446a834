//! The deadline of a call, in CPU time of the call's own thread.
//!
//! A call on a busy host waits for its turn, and whoever keeps the host busy is another: so waiting counts against a looser
//! limit only. Without that, a guest near its limit would lose records because of a neighbour's load.

use std::time::{Duration, Instant};

/// Factor by which a call's time on the clock may exceed its CPU time: the call may wait for a disk, too.
const CLOCK_FACTOR: u32 = 5;

/// The end of a call that has not ended by itself. The thread that makes the call sets it and looks at it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    /// The end by the thread's own clock.
    cpu: Duration,
    clock: Instant,
}

impl Deadline {
    /// Returns the deadline of a call that begins now and may take `time`.
    pub fn after(time: Duration) -> Self {
        Self { cpu: thread_time() + time, clock: Instant::now() + CLOCK_FACTOR * time }
    }

    /// Returns the time until the next look; `None` means that the call is over.
    pub fn left(&self) -> Option<Duration> {
        let cpu = self.cpu.saturating_sub(thread_time());
        let is_over = cpu.is_zero() || Instant::now() >= self.clock;
        (!is_over).then_some(cpu)
    }
}

/// Returns the CPU time that this thread has had.
#[expect(unsafe_code, reason = "a clock that std does not have")]
fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes into a struct of ours. It cannot fail: Linux has the clock, and the pointer is valid.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_does_not_count_and_work_does() {
        let deadline = Deadline::after(Duration::from_millis(40));
        std::thread::sleep(Duration::from_millis(60));
        assert!(deadline.left().is_some(), "it has slept");
        let began = thread_time();
        while thread_time() - began < Duration::from_millis(45) {}
        assert_eq!(deadline.left(), None, "it has worked");
    }

    #[test]
    fn waiting_ends_too() {
        let deadline = Deadline::after(Duration::from_millis(4));
        std::thread::sleep(Duration::from_millis(4) * CLOCK_FACTOR);
        assert_eq!(deadline.left(), None);
    }
}
