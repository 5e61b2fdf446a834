//! A client's life: it is configured, made and closed. Its calls are in the files beside this one.

use std::ffi::{c_char, c_int};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use super::assignment::{assign, unassign};
use super::callbacks;
use super::convert::{c_string, text};
use super::error::{CodeName, ErrorCode, RawError, check, without_value};
use super::events::{Events, RebalanceKind};
use super::list::{NO_OFFSET, PartitionList};
use super::metered;
use super::sys::*;
use super::timer_slack;
use super::tokens;
use super::waker::QueueWaker;
use crate::kafka::token::Refresh;
use crate::telemetry::meter::Meter;
use crate::threads;

/// Threads that a new client starts: its own, those of tokens, of the coordinator and of internal requests, and of some
/// brokers.
pub const CLIENT_THREADS: usize = 9;
/// Bytes of a reason that librdkafka writes.
const REASON_BYTES: usize = 512;

pub struct Client {
    pub(super) rk: *mut rd_kafka_t,
    /// The consumer's queue; null for a producer.
    pub(super) queue: *mut rd_kafka_queue_t,
    /// Owned by this client and seen by its callbacks, so it is freed after `rk`.
    events: *mut Events,
    /// Counts the client's threads. They end with `rk`, before this does.
    _meter: Option<Arc<Meter>>,
}

/// The use of a new client.
#[derive(Default)]
pub struct ClientUse {
    /// Gives the client its tokens, if it logs in with some.
    pub refresh: Option<Refresh>,
    /// Counts the client's threads, if they work for a transform.
    pub meter: Option<Arc<Meter>>,
    /// The session timeout of a member of a group. The threads of such a consumer may be woken late: see
    /// [`timer_slack`].
    pub member: Option<Duration>,
}

// SAFETY: librdkafka's handles may move between threads; `Events` is Sync.
unsafe impl Send for Client {}

impl Client {
    pub fn consumer(properties: &[(String, String)], of: ClientUse) -> Result<Self, RawError> {
        let mut client = Self::new(rd_kafka_type_t::RD_KAFKA_CONSUMER, properties, of)?;
        // SAFETY: `rk` is a live consumer; the queue handle is destroyed in drop.
        unsafe {
            check("poll_set_consumer", rd_kafka_poll_set_consumer(client.rk))?;
            client.queue = rd_kafka_queue_get_consumer(client.rk);
            client.events().waker().open(client.queue);
        }
        Ok(client)
    }

    pub fn producer(properties: &[(String, String)], of: ClientUse) -> Result<Self, RawError> {
        Self::new(rd_kafka_type_t::RD_KAFKA_PRODUCER, properties, of)
    }

    fn new(kind: rd_kafka_type_t, properties: &[(String, String)], of: ClientUse) -> Result<Self, RawError> {
        let ClientUse { refresh, meter, member } = of;
        let mut reason = [0 as c_char; REASON_BYTES];
        let conf = configured(properties)?;
        let asks_for_tokens = refresh.is_some();
        let events = Box::into_raw(Box::new(Events::new(refresh)));
        let is_consumer = matches!(kind, rd_kafka_type_t::RD_KAFKA_CONSUMER);
        // SAFETY: the configuration is owned here until rd_kafka_new succeeds and takes it over; `events`
        // outlives `rk` (see drop).
        unsafe {
            callbacks::set(conf, events, is_consumer);
            let counted = meter.as_ref().map_or(Ok(()), |meter| metered::count_threads(conf, meter));
            counted.expect("no other interceptor of a new configuration has its name");
            let given = member.map_or(Ok(()), |session_timeout| timer_slack::give(conf, session_timeout));
            given.expect("no other interceptor of a new configuration has its name");
            let made = threads::with_room(CLIENT_THREADS, || {
                let rk = rd_kafka_new(kind, conf, reason.as_mut_ptr(), reason.len());
                let started = if asks_for_tokens && !rk.is_null() { tokens::start(rk) } else { Ok(()) };
                (rk, started)
            });
            let (code, message) = match made {
                Ok((rk, started)) if !rk.is_null() => {
                    // Dropped after an error.
                    let client = Self { rk, queue: ptr::null_mut(), events, _meter: meter };
                    return started.map(|()| client);
                }
                // A thread that could not be made has another code, and says nothing of the properties.
                Ok(_) => match ErrorCode::new(rd_kafka_last_error()) {
                    code if code == CodeName::RD_KAFKA_RESP_ERR__INVALID_ARG => {
                        (ErrorCode::PROPERTIES, without_value(&text(reason.as_ptr())))
                    }
                    code => (code, text(reason.as_ptr())),
                },
                Err(error) => (CodeName::RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE.into(), error.to_string()),
            };
            rd_kafka_conf_destroy(conf);
            drop(Box::from_raw(events));
            Err(RawError { message, ..RawError::of("create client", code) })
        }
    }

    /// Has connections that are made from now on log in with another password.
    pub fn set_password(&self, name: &str, password: &str) -> Result<(), RawError> {
        let name = c_string(name);
        let password = c_string(password);
        // SAFETY: `rk` is live; both texts are NUL-terminated, and copied. The error is owned.
        unsafe {
            let error = rd_kafka_sasl_set_credentials(self.rk, name.as_ptr(), password.as_ptr());
            RawError::check("set_credentials", error)
        }
    }

    /// Wakes the owner of a consumer while it waits in [`Self::consume`].
    pub fn waker(&self) -> Arc<QueueWaker> {
        self.events().waker().clone()
    }

    pub(super) fn events(&self) -> &Events {
        // SAFETY: allocated in new(), freed in drop().
        unsafe { &*self.events }
    }

    /// Answers the rebalances that nobody answered: the group would wait for it, and closing with it, for ever.
    fn answer_rebalances(&self) {
        for event in self.events().take_unanswered() {
            let mut list = PartitionList::new();
            let answered = match event.kind {
                // None of them: a partition that was not taken over need not be given up.
                // SAFETY: live handles.
                RebalanceKind::Assign => unsafe { assign(self.rk, list.ptr()) },
                RebalanceKind::Revoke | RebalanceKind::Lost => {
                    event.partitions.iter().for_each(|(topic, number)| list.add(topic, *number, NO_OFFSET, ""));
                    // SAFETY: live handles.
                    unsafe { unassign(self.rk, list.ptr()) }
                }
            };
            if let Err(error) = answered {
                tracing::debug!(%error, "a rebalance was not answered before closing");
            }
        }
    }
}

/// Refuses properties that librdkafka does not take for a client.
pub fn check_properties(properties: &[(String, String)]) -> Result<(), RawError> {
    let conf = configured(properties)?;
    // SAFETY: the configuration is owned here, and no client has it.
    unsafe { rd_kafka_conf_destroy(conf) };
    Ok(())
}

/// An owned configuration with these properties.
fn configured(properties: &[(String, String)]) -> Result<*mut rd_kafka_conf_t, RawError> {
    let mut reason = [0 as c_char; REASON_BYTES];
    // SAFETY: the configuration is owned here; names and values are NUL-terminated, and copied.
    unsafe {
        let conf = rd_kafka_conf_new();
        for (name, value) in properties {
            let c_name = c_string(name);
            let c_value = c_string(value);
            let set = rd_kafka_conf_set(conf, c_name.as_ptr(), c_value.as_ptr(), reason.as_mut_ptr(), reason.len());
            if set != rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
                rd_kafka_conf_destroy(conf);
                return Err(RawError::of_property(name, set));
            }
        }
        Ok(conf)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.answer_rebalances();
        self.events().close();
        self.events().waker().close();
        // SAFETY: handles are destroyed once, here; `events` goes last, because destroying runs callbacks.
        unsafe {
            if !self.queue.is_null() {
                rd_kafka_queue_destroy(self.queue);
                rd_kafka_consumer_close(self.rk);
            } else {
                rd_kafka_purge(self.rk, (RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT) as c_int);
            }
            rd_kafka_destroy(self.rk);
            drop(Box::from_raw(self.events));
        }
    }
}
