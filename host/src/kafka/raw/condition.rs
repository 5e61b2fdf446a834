//! Waits of librdkafka's threads, by a clock that nobody sets.
//!
//! librdkafka waits with C11's `cnd_timedwait`, whose deadline is of the wall clock. If that is set back by an hour, each
//! thread that waits then sleeps for an hour more, unless somebody wakes it: polls, timers and calls of idle transforms stand
//! still (librdkafka issue 2145). So this file defines the function, in place of the C library's: the linker binds
//! librdkafka to it. It waits for the same time by the monotonic clock.

use std::time::Duration;

use crate::system_clock;

/// C11's results, as glibc's `threads.h` numbers them.
const THRD_SUCCESS: libc::c_int = 0;
const THRD_ERROR: libc::c_int = 2;
const THRD_TIMEDOUT: libc::c_int = 4;

unsafe extern "C" {
    /// Waits with a deadline of the given clock (glibc 2.30).
    fn pthread_cond_clockwait(
        condition: *mut libc::pthread_cond_t,
        mutex: *mut libc::pthread_mutex_t,
        clock: libc::clockid_t,
        deadline: *const libc::timespec,
    ) -> libc::c_int;
}

/// Replaces the function of `threads.h`.
///
/// # Safety
/// As of C11: both are initialised, and the caller has locked the mutex.
// SAFETY: no other function of this program has the name, and the signature is that of the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cnd_timedwait(
    condition: *mut libc::pthread_cond_t,
    mutex: *mut libc::pthread_mutex_t,
    deadline: *const libc::timespec,
) -> libc::c_int {
    #[cfg(test)]
    tests::CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    // SAFETY: the caller's deadline is valid.
    let left = left(unsafe { *deadline }, system_clock::read(libc::CLOCK_REALTIME));
    let end = after(system_clock::read(libc::CLOCK_MONOTONIC), left);
    // SAFETY: glibc's `cnd_t` and `mtx_t` are its `pthread_cond_t` and `pthread_mutex_t`; its own `cnd_timedwait` casts them.
    match unsafe { pthread_cond_clockwait(condition, mutex, libc::CLOCK_MONOTONIC, &end) } {
        0 => THRD_SUCCESS,
        libc::ETIMEDOUT => THRD_TIMEDOUT,
        _ => THRD_ERROR,
    }
}

/// The time from `now` to `deadline`; none if that is past.
fn left(deadline: libc::timespec, now: Duration) -> Duration {
    system_clock::since_zero(deadline).saturating_sub(now)
}

fn after(now: Duration, left: Duration) -> libc::timespec {
    let end = now.saturating_add(left);
    libc::timespec {
        tv_sec: libc::time_t::try_from(end.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(end.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;

    pub(super) static CALLS: AtomicUsize = AtomicUsize::new(0);

    unsafe extern "C" {
        /// librdkafka's own wait, which calls `cnd_timedwait`.
        fn cnd_timedwait_ms(
            condition: *mut libc::pthread_cond_t,
            mutex: *mut libc::pthread_mutex_t,
            timeout_ms: libc::c_int,
        ) -> libc::c_int;
    }

    fn at(tv_sec: i64, tv_nsec: i64) -> libc::timespec {
        libc::timespec { tv_sec, tv_nsec }
    }

    #[track_caller]
    fn check(deadline: libc::timespec, wall: libc::timespec, expected: (i64, i64)) {
        let end = after(Duration::new(7, 900_000_000), left(deadline, system_clock::since_zero(wall)));
        assert_eq!((end.tv_sec, end.tv_nsec), expected);
    }

    #[test]
    fn a_deadline_is_carried_over_to_the_other_clock() {
        check(at(1_000_000, 0), at(999_999, 0), (8, 900_000_000));
        check(at(1_000_000, 200_000_000), at(1_000_000, 0), (8, 100_000_000));
        check(at(1_000_001, 0), at(1_000_000, 999_999_999), (7, 900_000_001));
        check(at(1_000_000, 0), at(1_000_000, 0), (7, 900_000_000));
        check(at(0, 0), at(1_000_000, 0), (7, 900_000_000));
        assert!(after(Duration::from_secs(7), left(at(i64::MAX, 0), Duration::ZERO)).tv_sec > 1_000_000_000);
    }

    #[test]
    fn librdkafka_waits_with_this_function() {
        let mut condition = libc::PTHREAD_COND_INITIALIZER;
        let mut mutex = libc::PTHREAD_MUTEX_INITIALIZER;
        let before = CALLS.load(Ordering::Relaxed);
        let started = Instant::now();
        // SAFETY: both are initialised, and this thread locks the mutex.
        let ended = unsafe {
            libc::pthread_mutex_lock(&mut mutex);
            let ended = cnd_timedwait_ms(&mut condition, &mut mutex, 30);
            libc::pthread_mutex_unlock(&mut mutex);
            ended
        };
        assert_eq!(ended, THRD_TIMEDOUT);
        assert!(started.elapsed() >= Duration::from_millis(30));
        assert!(CALLS.load(Ordering::Relaxed) > before, "the linker has bound it to another function");
    }
}
