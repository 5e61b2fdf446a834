//! The clocks of the system that std does not read: of a thread's CPU time, of the time since the machine was booted.

use std::time::Duration;

/// Reads a clock of Linux. The time before a clock's zero is zero.
#[expect(unsafe_code, reason = "clocks that std does not have")]
pub fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes into a struct of ours, and the pointer is valid.
    let answer = unsafe { libc::clock_gettime(clock, &mut time) };
    assert!(answer == 0, "Linux has the clock {clock}");
    since_zero(time)
}

/// Returns true if a service keeps the kernel's wall clock synchronised. `None`: the process may not ask.
#[expect(unsafe_code, reason = "a state of the clock that std does not have")]
pub fn is_synchronised() -> Option<bool> {
    // SAFETY: all zeros are a valid value, and `modes` 0 asks without a change.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: writes into a struct of ours, and the pointer is valid.
    let answer = unsafe { libc::adjtimex(&mut state) };
    (answer >= 0).then_some(answer != libc::TIME_ERROR)
}

/// Reads the clock of a thread's CPU time. None: the thread has ended.
#[expect(unsafe_code, reason = "clocks that std does not have")]
pub fn read_of_thread(clock: libc::clockid_t) -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes into a struct of ours, and the pointer is valid.
    let answer = unsafe { libc::clock_gettime(clock, &mut time) };
    (answer == 0).then(|| since_zero(time))
}

/// Returns the clock of this thread's CPU time. Any thread may read it, until this one ends.
#[expect(unsafe_code, reason = "a clock that std does not have")]
pub fn of_this_thread() -> libc::clockid_t {
    let mut clock = 0;
    // SAFETY: this thread lives, and the pointer is valid.
    let answer = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) };
    assert!(answer == 0, "each thread has a clock of its CPU time");
    clock
}

/// Returns the time between a clock's zero and a moment on it.
pub fn since_zero(time: libc::timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).ok();
    let nanos = u32::try_from(time.tv_nsec).ok();
    seconds.zip(nanos).map_or(Duration::ZERO, |(seconds, nanos)| Duration::new(seconds, nanos))
}
