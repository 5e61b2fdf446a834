//! The CPU clock of a thread.

use std::time::Duration;

/// Returns the CPU time that this thread has had.
#[expect(unsafe_code, reason = "a clock that std does not have")]
pub fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes into a struct of ours. It cannot fail: Linux has the clock, and the pointer is valid.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
