//! The log lines of a client of the rdkafka crate. They wait in its main queue, which the crate does not empty for an
//! administration client.

use std::ffi::{c_char, c_int};
use std::ptr;

use rdkafka::ClientContext;
use rdkafka::client::Client as CrateClient;

use super::callbacks::log_line;
use super::convert::text;
use super::sys::*;

/// Takes the lines that wait, logs them, and returns facility and text of each error.
pub fn take_error_lines<C: ClientContext>(client: &CrateClient<C>) -> Vec<(String, String)> {
    let mut errors = Vec::new();
    // SAFETY: the client is live; the queue's handle and each event are destroyed here, an event's texts live as long as it.
    unsafe {
        let queue = rd_kafka_queue_get_main(client.native_ptr());
        loop {
            let event = rd_kafka_queue_poll(queue, 0);
            if event.is_null() {
                break;
            }
            let mut facility: *const c_char = ptr::null();
            let mut line: *const c_char = ptr::null();
            let mut level: c_int = 0;
            if rd_kafka_event_log(event, &mut facility, &mut line, &mut level) == 0 {
                let facility = text(facility);
                let line = text(line);
                log_line(level, &facility, &line);
                if level <= LOG_ERR {
                    errors.push((facility, line));
                }
            }
            rd_kafka_event_destroy(event);
        }
        rd_kafka_queue_destroy(queue);
    }
    errors
}

/// The level of errors in syslog.
const LOG_ERR: c_int = 3;
