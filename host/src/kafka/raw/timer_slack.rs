//! The timer slack of a consumer's threads: the time by which the kernel may delay their timers, so that it ends the sleep
//! of many threads at once (`PR_SET_TIMERSLACK` of prctl(2)).
//!
//! A consumer whose partitions get no records has four or five threads. Each of them wakes about once a second, and more
//! often for heartbeats, to see that there is nothing to do. With hundreds of consumers that is what a host without work
//! does, and to end the sleep of a processor costs more than what the thread does then. The kernel uses the slack only
//! while a processor sleeps: on a busy machine timers are not late.
//!
//! A response of a broker, or a request of another thread, wakes a thread at once, with slack or without. Two things of a
//! consumer do wait for a timer. Its main thread sends heartbeats, so its slack is a part of the session timeout. And a
//! broker's thread fetches again when a full queue has room, so it has no slack while responses bring many records.

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::time::Duration;

use super::error::{RawError, check};
use super::sys::*;

const NAME: *const c_char = c"sandbar-timer-slack".as_ptr();
/// The slack of a thread that talks to a broker. A connection that was lost is made again later by as much.
const OF_BROKER_THREAD: Duration = Duration::from_secs(1);
/// The slack of a thread that is to be in time. It is Linux' own. A thread begins with that of the thread that starts it, so
/// it is named here.
const IN_TIME: Duration = Duration::from_micros(50);
/// The part of a session timeout by which a heartbeat may be late. Four are sent in one, so three of them may still be late
/// in a row, two of them lost.
const OF_SESSION_TIMEOUT: u32 = 16;
/// A response to a fetch with fewer bytes fills no queue.
const SMALL_FETCH_BYTES: usize = 4 << 10;

/// Keys of requests: <https://kafka.apache.org/protocol#protocol_api_keys>.
const FETCH: i16 = 1;
const METADATA: i16 = 3;
const HEARTBEAT: i16 = 12;

thread_local! {
    /// The slack that was set.
    static SLACK: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    /// True for a thread that talks to a broker.
    static IS_OF_BROKER: Cell<bool> = const { Cell::new(false) };
}

/// Gives slack to the threads of the consumer that is made from this configuration.
///
/// # Safety
/// The configuration is owned by the caller.
pub(super) unsafe fn give(conf: *mut rd_kafka_conf_t, session_timeout: Duration) -> Result<(), RawError> {
    // A number of milliseconds in the place of a pointer, so nobody has to own it.
    let slack_ms = of_main_thread(session_timeout).as_millis() as usize;
    let opaque = std::ptr::without_provenance_mut(slack_ms);
    // SAFETY: the configuration is the caller's; the name is copied.
    let code = unsafe { rd_kafka_conf_interceptor_add_on_new(conf, NAME, Some(on_new), opaque) };
    check("interceptor", code as c_int)
}

fn of_main_thread(session_timeout: Duration) -> Duration {
    (session_timeout / OF_SESSION_TIMEOUT).min(OF_BROKER_THREAD)
}

/// The slack of a broker's thread after a response.
fn after_response(request: i16, bytes: usize) -> Duration {
    match request {
        FETCH if bytes < SMALL_FETCH_BYTES => OF_BROKER_THREAD,
        HEARTBEAT | METADATA => OF_BROKER_THREAD,
        // Records, or a request of a start or of a rebalance, which may be refused, and is then sent again by a timer.
        _ => IN_TIME,
    }
}

/// Sets the slack of this thread. A system that refuses it has timers that are in time.
fn set(slack: Duration) {
    if SLACK.replace(slack) != slack {
        // SAFETY: the call takes a number, and changes this thread alone.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, slack.as_nanos() as libc::c_ulong) };
    }
}

/// SAFETY: librdkafka calls it while it makes the client, before the first thread.
unsafe extern "C" fn on_new(
    rk: *mut rd_kafka_t,
    _: *const rd_kafka_conf_t,
    slack_ms: *mut c_void,
    _: *mut c_char,
    _: usize,
) -> rd_kafka_resp_err_t {
    // SAFETY: the client is being made; the name is copied.
    unsafe {
        match rd_kafka_interceptor_add_on_thread_start(rk, NAME, Some(on_start), slack_ms) {
            rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {
                rd_kafka_interceptor_add_on_response_received(rk, NAME, Some(on_response), slack_ms)
            }
            error => error,
        }
    }
}

/// SAFETY: librdkafka calls it on the thread that starts.
unsafe extern "C" fn on_start(
    _: *mut rd_kafka_t,
    thread: rd_kafka_thread_type_t,
    _: *const c_char,
    slack_ms: *mut c_void,
) -> rd_kafka_resp_err_t {
    let is_of_broker = matches!(thread, rd_kafka_thread_type_t::RD_KAFKA_THREAD_BROKER);
    IS_OF_BROKER.set(is_of_broker);
    set(if is_of_broker { OF_BROKER_THREAD } else { Duration::from_millis(slack_ms.addr() as u64) });
    rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
}

/// SAFETY: librdkafka calls it on the thread of the broker that sent a response, and once more on the main thread if that is
/// to read it. It has no pointer that is read.
unsafe extern "C" fn on_response(
    _: *mut rd_kafka_t,
    _socket: c_int,
    _broker: *const c_char,
    _broker_id: i32,
    request: i16,
    _version: i16,
    _correlation_id: i32,
    bytes: usize,
    _round_trip_us: i64,
    _code: c_int,
    _: *mut c_void,
) -> rd_kafka_resp_err_t {
    if IS_OF_BROKER.get() {
        set(after_response(request, bytes));
    }
    rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_heartbeats_in_a_row_may_be_late() {
        for timeout in [6, 10, 45, 300].map(Duration::from_secs) {
            assert!(3 * (timeout / 4 + of_main_thread(timeout)) < timeout, "{timeout:?}");
        }
    }

    #[test]
    fn a_thread_has_no_slack_while_records_come() {
        const OFFSET_FETCH: i16 = 9;
        for (request, bytes, has_slack) in
            [(HEARTBEAT, 20, true), (FETCH, 300, true), (FETCH, 1 << 20, false), (OFFSET_FETCH, 20, false)]
        {
            assert_eq!(after_response(request, bytes) > IN_TIME, has_slack, "{request}, {bytes} bytes");
        }
    }

    #[test]
    fn the_slack_is_that_of_this_thread() {
        // SAFETY: the call reads a number of this thread.
        let slack_ns = || unsafe { libc::prctl(libc::PR_GET_TIMERSLACK) };
        set(OF_BROKER_THREAD);
        assert_eq!(slack_ns(), 1_000_000_000);
        set(IN_TIME);
        assert_eq!(slack_ns(), 50_000);
    }
}
