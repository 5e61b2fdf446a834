//! The threads of a client, which count for the worker that opened it.
//!
//! librdkafka tells an interceptor of each thread that it starts for a client (its main thread, one for each broker, one for
//! tokens), on that thread, and again before the thread ends.

use std::ffi::{c_char, c_int, c_void};

use super::error::{RawError, check};
use super::sys::*;
use crate::telemetry::meter::Meter;

const NAME: *const c_char = c"sandbar-meter".as_ptr();

/// Has the threads of the client that is made from this configuration count for a meter.
///
/// # Safety
/// The configuration is owned by the caller, and the meter lives longer than the client.
pub(super) unsafe fn count_threads(conf: *mut rd_kafka_conf_t, meter: &Meter) -> Result<(), RawError> {
    let meter = std::ptr::from_ref(meter).cast_mut().cast();
    // SAFETY: the configuration is the caller's; the name is copied.
    let code = unsafe { rd_kafka_conf_interceptor_add_on_new(conf, NAME, Some(on_new), meter) };
    check("interceptor", code as c_int)
}

/// SAFETY: librdkafka calls it while it makes the client, before the first thread.
unsafe extern "C" fn on_new(
    rk: *mut rd_kafka_t,
    _: *const rd_kafka_conf_t,
    meter: *mut c_void,
    _: *mut c_char,
    _: usize,
) -> rd_kafka_resp_err_t {
    // SAFETY: the client is being made; the name is copied. A thread that would not tell its end must not tell its start.
    unsafe {
        match rd_kafka_interceptor_add_on_thread_exit(rk, NAME, Some(on_exit), meter) {
            rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {
                rd_kafka_interceptor_add_on_thread_start(rk, NAME, Some(on_start), meter)
            }
            error => error,
        }
    }
}

/// SAFETY: `meter` lives longer than the client, and so longer than its threads.
unsafe extern "C" fn on_start(
    _: *mut rd_kafka_t,
    _: rd_kafka_thread_type_t,
    _: *const c_char,
    meter: *mut c_void,
) -> rd_kafka_resp_err_t {
    // SAFETY: see above.
    unsafe { &*meter.cast::<Meter>() }.add_this_thread();
    rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
}

/// SAFETY: as [`on_start`].
unsafe extern "C" fn on_exit(
    _: *mut rd_kafka_t,
    _: rd_kafka_thread_type_t,
    _: *const c_char,
    meter: *mut c_void,
) -> rd_kafka_resp_err_t {
    // SAFETY: see above.
    unsafe { &*meter.cast::<Meter>() }.remove_this_thread();
    rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
}
