//! A thin, safe skin over librdkafka's C API: one [`Client`] is one `rd_kafka_t`, a consumer or a producer.
//!
//! Owned by one thread at a time. Everything `unsafe` of the host's Kafka code is in this file and `raw/`.
//! Callbacks run inside `consume`, `poll` and the blocking calls, on the calling thread; they only write to
//! [`Events`], which the owner reads after the call.

mod describe;
mod list;
mod produce;

use std::collections::{HashMap, VecDeque};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka_sys::bindings::*;

use crate::kafka::oversize::Size;
use crate::model::batch::header_bytes;
use crate::model::units::Timestamp;
use crate::threads;

pub(super) use describe::{Described, describe_topics};
pub(super) use list::{PartitionList, Position};
pub(super) use produce::{Produced, TopicHandle};
pub(super) use rdkafka_sys::bindings::rd_kafka_resp_err_t as ErrorCode;

use rd_kafka_resp_err_t as Err;

/// Threads that a new client starts: its own, those of the coordinator and of internal requests, and of some brokers.
pub(super) const CLIENT_THREADS: usize = 8;

/// Stands for the first offset of a partition where a time is asked for.
pub(super) const FIRST: i64 = RD_KAFKA_OFFSET_BEGINNING as i64;
/// Stands for a partition's end: the last stable offset, to a client that reads committed records.
pub(super) const END: i64 = RD_KAFKA_OFFSET_END as i64;
/// A partition without an offset.
pub(super) const NO_OFFSET: i64 = RD_KAFKA_OFFSET_INVALID as i64;

/// A failed call, with librdkafka's own class of remedy.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{call}: {message}")]
pub(super) struct RawError {
    pub call: &'static str,
    pub code: Err,
    pub message: String,
    pub retriable: bool,
    pub requires_abort: bool,
    pub fatal: bool,
}

impl RawError {
    pub fn of(call: &'static str, code: Err) -> Self {
        // SAFETY: rd_kafka_err2str returns a static string for any code.
        let message = unsafe { text(rd_kafka_err2str(code)) };
        Self { call, code, message, retriable: false, requires_abort: false, fatal: code == Err::RD_KAFKA_RESP_ERR__FATAL }
    }

    /// Takes over an error object; null means success.
    ///
    /// # Safety
    /// `error` is null or an owned `rd_kafka_error_t`.
    unsafe fn check(call: &'static str, error: *mut rd_kafka_error_t) -> Result<(), Self> {
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: not null, and owned by us until it is destroyed at the end.
        unsafe {
            let raw = Self {
                call,
                code: rd_kafka_error_code(error),
                message: text(rd_kafka_error_string(error)),
                retriable: rd_kafka_error_is_retriable(error) != 0,
                requires_abort: rd_kafka_error_txn_requires_abort(error) != 0,
                fatal: rd_kafka_error_is_fatal(error) != 0,
            };
            rd_kafka_error_destroy(error);
            Err(raw)
        }
    }
}

fn check(call: &'static str, code: Err) -> Result<(), RawError> {
    match code {
        Err::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        code => Err(RawError::of(call, code)),
    }
}

/// What callbacks left for the owner of the client.
#[derive(Default)]
pub(super) struct Events {
    rebalances: Mutex<VecDeque<RebalanceEvent>>,
    /// The rebalance that the owner took and has not answered with an (un)assignment yet.
    unanswered: Mutex<Option<RebalanceEvent>>,
    failures: Mutex<Vec<FailedDelivery>>,
    has_failures: AtomicBool,
    /// For each topic (by handle) and partition, one past the last record delivered there. Only where the client is set
    /// to report every delivery.
    delivered: Mutex<HashMap<(usize, i32), i64>>,
    /// Connections that ended.
    disconnects: AtomicU64,
    closing: AtomicBool,
}

/// A record that was not delivered.
#[derive(Debug, Clone, Copy)]
pub(super) struct FailedDelivery {
    /// The number that it was produced with.
    pub number: u64,
    /// See [`TopicHandle::id`].
    pub topic_id: usize,
    pub partition: i32,
    pub code: Err,
    pub has_key: bool,
    /// The record's size, of some that were refused for it.
    pub size: Option<Size>,
    /// Identifies the text that librdkafka has put to it, 0 for none: see `refusal`. Nothing is at the address any more.
    pub text_id: usize,
}

/// Failures that are kept until they are taken: as many as a producer's queue has records.
const FAILURES_MAX: usize = 20_000;
/// Failures whose sizes are looked at: that takes as long as to compress them.
const SIZES_MAX: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RebalanceKind {
    Assign,
    Revoke,
    Lost,
}

#[derive(Debug, Clone)]
pub(super) struct RebalanceEvent {
    pub kind: RebalanceKind,
    pub partitions: Vec<(String, i32)>,
}

/// One fetched message, valid until the callback returns.
pub(super) struct RawMessage<'a> {
    message: &'a rd_kafka_message_t,
}

/// What one message of a consumer's queue is.
pub(super) enum Fetched<'a> {
    Record(RawMessage<'a>),
    /// The partition has nothing after this offset.
    End {
        partition: i32,
        offset: i64,
    },
    /// With a partition's error its position may have moved past a record that was never handed over.
    Error {
        error: RawError,
        of_partition: bool,
    },
}

pub(super) struct Client {
    rk: *mut rd_kafka_t,
    /// The consumer's queue; null for a producer.
    queue: *mut rd_kafka_queue_t,
    /// Owned by this client and seen by its callbacks, so it is freed after `rk`.
    events: *mut Events,
}

// SAFETY: librdkafka's handles may move between threads; `Events` is Sync.
unsafe impl Send for Client {}

impl Client {
    pub fn consumer(properties: &[(String, String)]) -> Result<Self, RawError> {
        let mut client = Self::new(rd_kafka_type_t::RD_KAFKA_CONSUMER, properties)?;
        // SAFETY: `rk` is a live consumer; the queue handle is destroyed in drop.
        unsafe {
            check("poll_set_consumer", rd_kafka_poll_set_consumer(client.rk))?;
            client.queue = rd_kafka_queue_get_consumer(client.rk);
        }
        Ok(client)
    }

    pub fn producer(properties: &[(String, String)]) -> Result<Self, RawError> {
        Self::new(rd_kafka_type_t::RD_KAFKA_PRODUCER, properties)
    }

    fn new(kind: rd_kafka_type_t, properties: &[(String, String)]) -> Result<Self, RawError> {
        let mut reason = [0 as c_char; 512];
        // SAFETY: the configuration is owned here until rd_kafka_new takes it over; `events` outlives `rk` (see drop).
        unsafe {
            let conf = rd_kafka_conf_new();
            for (name, value) in properties {
                let (c_name, c_value) = (c_string(name), c_string(value));
                let set = rd_kafka_conf_set(conf, c_name.as_ptr(), c_value.as_ptr(), reason.as_mut_ptr(), reason.len());
                if set != rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
                    let mut error = RawError::of("configure", Err::RD_KAFKA_RESP_ERR__INVALID_ARG);
                    error.message = text(reason.as_ptr());
                    rd_kafka_conf_destroy(conf);
                    return Err(error);
                }
            }
            let events = Box::into_raw(Box::<Events>::default());
            rd_kafka_conf_set_opaque(conf, events.cast());
            rd_kafka_conf_set_log_cb(conf, Some(on_log));
            rd_kafka_conf_set_error_cb(conf, Some(on_error));
            rd_kafka_conf_set_closesocket_cb(conf, Some(on_close));
            if matches!(kind, rd_kafka_type_t::RD_KAFKA_CONSUMER) {
                rd_kafka_conf_set_rebalance_cb(conf, Some(on_rebalance));
            } else {
                rd_kafka_conf_set_dr_msg_cb(conf, Some(on_delivery));
            }
            let made = threads::with_room(CLIENT_THREADS, || rd_kafka_new(kind, conf, reason.as_mut_ptr(), reason.len()));
            let (rk, refusal) = match made {
                Ok(rk) if rk.is_null() => (rk, Some((Err::RD_KAFKA_RESP_ERR__INVALID_ARG, text(reason.as_ptr())))),
                Ok(rk) => (rk, None),
                Err(error) => (ptr::null_mut(), Some((Err::RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE, error.to_string()))),
            };
            if let Some((code, message)) = refusal {
                rd_kafka_conf_destroy(conf);
                drop(Box::from_raw(events));
                return Err(RawError { message, ..RawError::of("create client", code) });
            }
            Ok(Self { rk, queue: ptr::null_mut(), events })
        }
    }

    fn events(&self) -> &Events {
        // SAFETY: allocated in new(), freed in drop().
        unsafe { &*self.events }
    }

    /// The oldest rebalance that was not taken yet; to be answered with `assign` or `unassign`.
    pub fn next_rebalance(&self) -> Option<RebalanceEvent> {
        let event = self.events().rebalances.lock().pop_front()?;
        *self.events().unanswered.lock() = Some(event.clone());
        Some(event)
    }

    /// Answers the rebalances that nobody answered: the group would wait for it, and closing with it, for ever.
    fn answer_rebalances(&self) {
        let taken = self.events().unanswered.lock().take();
        let waiting = std::mem::take(&mut *self.events().rebalances.lock());
        for event in taken.into_iter().chain(waiting) {
            let mut list = PartitionList::new();
            let answered = match event.kind {
                // None of them: what was not taken over is nothing to give up.
                RebalanceKind::Assign => self.assign(&list),
                RebalanceKind::Revoke | RebalanceKind::Lost => {
                    event.partitions.iter().for_each(|(topic, number)| list.add(topic, *number, -1001, ""));
                    self.unassign(&list)
                }
            };
            if let Err(error) = answered {
                tracing::debug!(%error, "a rebalance was not answered before closing");
            }
        }
    }

    /// Tells whether deliveries have failed since they were taken last. Costs no lock.
    pub fn has_failures(&self) -> bool {
        self.events().has_failures.load(Ordering::Acquire)
    }

    /// The failed deliveries since the last call, in the order of their reports.
    pub fn take_failures(&self) -> Vec<FailedDelivery> {
        let mut failures = self.events().failures.lock();
        self.events().has_failures.store(false, Ordering::Release);
        std::mem::take(&mut *failures)
    }

    /// One past the last record that was delivered to a partition, as far as deliveries are reported.
    pub fn delivered_end(&self, topic: &TopicHandle, partition: i32) -> Option<i64> {
        self.events().delivered.lock().get(&(topic.id(), partition)).copied()
    }

    /// Connections, or attempts at one, that have ended so far: counted before anything that was under way on them is
    /// sent again. (Error events come when the client is polled, which may be later, and not every time.)
    pub fn disconnects(&self) -> u64 {
        self.events().disconnects.load(Ordering::Acquire)
    }

    // === consumer ===

    pub fn subscribe(&self, topics: &PartitionList) -> Result<(), RawError> {
        // SAFETY: both handles are live; the list is copied.
        check("subscribe", unsafe { rd_kafka_subscribe(self.rk, topics.ptr()) })
    }

    pub fn assign_only(&self, partitions: &PartitionList) -> Result<(), RawError> {
        // SAFETY: as above.
        check("assign", unsafe { rd_kafka_assign(self.rk, partitions.ptr()) })
    }

    /// Answers a rebalance that assigns: takes these partitions over.
    pub fn assign(&self, partitions: &PartitionList) -> Result<(), RawError> {
        self.events().unanswered.lock().take();
        if is_eager(self.rk) {
            // It brings all partitions at once.
            return self.assign_only(partitions);
        }
        // SAFETY: as above; the error object is taken over.
        unsafe { RawError::check("incremental_assign", rd_kafka_incremental_assign(self.rk, partitions.ptr())) }
    }

    /// Answers a rebalance that revokes: gives these partitions up.
    pub fn unassign(&self, partitions: &PartitionList) -> Result<(), RawError> {
        self.events().unanswered.lock().take();
        // SAFETY: as above.
        unsafe { unassign(self.rk, partitions.ptr()) }
    }

    pub fn seek(&self, partitions: &PartitionList, timeout: Duration) -> Result<(), RawError> {
        // SAFETY: as above.
        unsafe { RawError::check("seek", rd_kafka_seek_partitions(self.rk, partitions.ptr(), ms(timeout))) }?;
        partitions.first_error("seek")
    }

    pub fn pause(&self, partitions: &PartitionList) -> Result<(), RawError> {
        // SAFETY: as above.
        check("pause", unsafe { rd_kafka_pause_partitions(self.rk, partitions.ptr()) })
    }

    pub fn resume(&self, partitions: &PartitionList) -> Result<(), RawError> {
        // SAFETY: as above.
        check("resume", unsafe { rd_kafka_resume_partitions(self.rk, partitions.ptr()) })
    }

    /// Fills the list with the offsets after what was handed over, control records included. Negative for a partition
    /// of which nothing was handed over since it was assigned or sought.
    pub fn position(&self, partitions: &PartitionList) -> Result<(), RawError> {
        // SAFETY: as above; the list is filled in place.
        check("position", unsafe { rd_kafka_position(self.rk, partitions.ptr()) })
    }

    /// Fills the list with committed offsets and their metadata.
    pub fn committed(&self, partitions: &PartitionList, timeout: Duration) -> Result<(), RawError> {
        // SAFETY: as above; the list is filled in place.
        check("committed", unsafe { rd_kafka_committed(self.rk, partitions.ptr(), ms(timeout)) })?;
        partitions.first_error("committed")
    }

    /// Tells whether the group has given this member's partitions to others, which it has not been told yet.
    pub fn is_assignment_lost(&self) -> bool {
        // SAFETY: live handle.
        unsafe { rd_kafka_assignment_lost(self.rk) != 0 }
    }

    pub fn commit_sync(&self, partitions: &PartitionList) -> Result<(), RawError> {
        // SAFETY: as above.
        check("commit", unsafe { rd_kafka_commit(self.rk, partitions.ptr(), 0) })?;
        partitions.first_error("commit")
    }

    /// First offset and end of a partition, asked of its leader.
    pub fn query_watermarks(&self, topic: &str, partition: i32, timeout: Duration) -> Result<(i64, i64), RawError> {
        let (mut low, mut high) = (0, 0);
        let name = c_string(topic);
        // SAFETY: live handle, NUL-terminated name, valid out pointers.
        let code =
            unsafe { rd_kafka_query_watermark_offsets(self.rk, name.as_ptr(), partition, &mut low, &mut high, ms(timeout)) };
        check("query_watermarks", code).map(|()| (low, high))
    }

    /// For each of these partitions the first offset whose record is not older than `at`, asked of their leaders; None
    /// where all are older.
    pub fn offsets_at(
        &self,
        topic: &str,
        partitions: std::ops::Range<i32>,
        at: Timestamp,
        timeout: Duration,
    ) -> Result<Vec<Option<i64>>, RawError> {
        let mut list = PartitionList::new();
        for partition in partitions {
            // Below 0 a time has another meaning to a broker: one of the partition's ends.
            list.add(topic, partition, at.0.max(0), "");
        }
        self.look_up_offsets(&list, timeout)?;
        Ok(list.entries().iter().map(|position| Some(position.offset).filter(|offset| *offset >= 0)).collect())
    }

    /// Fills the list, which holds times or one of [`FIRST`] and [`END`], with offsets, asked of the partitions' leaders.
    pub fn look_up_offsets(&self, list: &PartitionList, timeout: Duration) -> Result<(), RawError> {
        // SAFETY: live handle; the list is filled in place.
        check("offsets_for_times", unsafe { rd_kafka_offsets_for_times(self.rk, list.ptr(), ms(timeout)) })?;
        list.first_error("offsets_for_times")
    }

    /// Asks for the metadata of all topics that this client knows.
    pub fn refresh_metadata(&self, timeout: Duration) -> Result<(), RawError> {
        let mut metadata = ptr::null();
        // SAFETY: live handle, valid out pointer; null means no single topic. The answer is ours to destroy.
        unsafe {
            let code = rd_kafka_metadata(self.rk, 0, ptr::null_mut(), &mut metadata, ms(timeout));
            if !metadata.is_null() {
                rd_kafka_metadata_destroy(metadata);
            }
            check("metadata", code)
        }
    }

    /// The end of a partition as the last fetch saw it.
    pub fn known_end(&self, topic: &CStr, partition: i32) -> Option<i64> {
        let (mut low, mut high) = (0, 0);
        // SAFETY: live handle, NUL-terminated name, valid out pointers.
        let code = unsafe { rd_kafka_get_watermark_offsets(self.rk, topic.as_ptr(), partition, &mut low, &mut high) };
        (code == Err::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }

    /// Waits up to `timeout` for a first message, then hands over what is there, `max` at most. Returns how many.
    pub fn consume(
        &self,
        buffer: &mut Vec<*mut rd_kafka_message_t>,
        timeout: Duration,
        max: usize,
        on_message: &mut dyn FnMut(Fetched<'_>),
    ) -> usize {
        buffer.resize(max, ptr::null_mut());
        // rd_kafka_consume_batch_queue with a time-out waits until the batch is full, so: drain, else wait for one.
        let mut taken = self.drain(buffer, on_message);
        if taken == 0 && !timeout.is_zero() {
            // SAFETY: the queue is live; the message is destroyed in hand_over().
            let first = unsafe { rd_kafka_consume_queue(self.queue, ms(timeout)) };
            if !first.is_null() {
                hand_over(first, on_message);
                buffer.truncate(max - 1);
                taken = 1 + self.drain(buffer, on_message);
            }
        }
        taken
    }

    fn drain(&self, buffer: &mut [*mut rd_kafka_message_t], on_message: &mut dyn FnMut(Fetched<'_>)) -> usize {
        // SAFETY: the buffer has room for as many pointers as is said.
        let taken = unsafe { rd_kafka_consume_batch_queue(self.queue, 0, buffer.as_mut_ptr(), buffer.len()) };
        let taken = usize::try_from(taken).unwrap_or(0);
        for &message in &buffer[..taken] {
            hand_over(message, on_message);
        }
        taken
    }

    /// The group's metadata as it is now; None while this consumer is not a member.
    pub fn group_metadata(&self) -> Option<GroupMetadata> {
        // SAFETY: live consumer; the metadata is owned by the value made here.
        unsafe {
            let metadata = rd_kafka_consumer_group_metadata(self.rk);
            if metadata.is_null() {
                return None;
            }
            let metadata = GroupMetadata(metadata);
            (rd_kafka_consumer_group_metadata_generation_id(metadata.0) >= 0).then_some(metadata)
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.answer_rebalances();
        self.events().closing.store(true, Ordering::Relaxed);
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

/// A captured membership: what a transaction commits under.
pub(super) struct GroupMetadata(*mut rd_kafka_consumer_group_metadata_t);

// SAFETY: an owned copy without ties to a thread.
unsafe impl Send for GroupMetadata {}

impl GroupMetadata {
    /// The membership of whoever never joined a group.
    pub fn of_outsider(group: &str) -> Self {
        let name = c_string(group);
        // SAFETY: NUL-terminated name, which is copied; the metadata is owned by the value made here.
        Self(unsafe { rd_kafka_consumer_group_metadata_new(name.as_ptr()) })
    }
}

impl Drop for GroupMetadata {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once.
        unsafe { rd_kafka_consumer_group_metadata_destroy(self.0) }
    }
}

fn hand_over(message: *mut rd_kafka_message_t, on_message: &mut dyn FnMut(Fetched<'_>)) {
    // SAFETY: a message that librdkafka just gave us; it is not used after it is destroyed.
    unsafe {
        let raw = &*message;
        match raw.err {
            Err::RD_KAFKA_RESP_ERR_NO_ERROR => on_message(Fetched::Record(RawMessage { message: raw })),
            Err::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
                on_message(Fetched::End { partition: raw.partition, offset: raw.offset })
            }
            code => {
                let mut error = RawError::of("consume", code);
                let topic = if raw.rkt.is_null() { String::new() } else { text(rd_kafka_topic_name(raw.rkt)) };
                let reason = text(rd_kafka_message_errstr(message));
                error.message = format!("{topic}[{}] at {}: {reason}", raw.partition, raw.offset);
                on_message(Fetched::Error { error, of_partition: !raw.rkt.is_null() });
            }
        }
        rd_kafka_message_destroy(message);
    }
}

impl<'a> RawMessage<'a> {
    /// Identifies the topic as long as a [`TopicHandle`] of it lives in the same client.
    pub fn topic_id(&self) -> usize {
        self.message.rkt as usize
    }

    pub fn topic(&self) -> String {
        // SAFETY: a record's topic handle is live.
        unsafe { text(rd_kafka_topic_name(self.message.rkt)) }
    }

    pub fn partition(&self) -> i32 {
        self.message.partition
    }

    pub fn offset(&self) -> i64 {
        self.message.offset
    }

    pub fn key(&self) -> Option<&'a [u8]> {
        // SAFETY: librdkafka gives pointer and length of bytes that live as long as the message.
        unsafe { bytes(self.message.key, self.message.key_len) }
    }

    pub fn value(&self) -> Option<&'a [u8]> {
        // SAFETY: as above.
        unsafe { bytes(self.message.payload, self.message.len) }
    }

    /// In ms since the Unix epoch; -1 where there is none.
    pub fn timestamp(&self) -> i64 {
        let mut kind = rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: live message, valid out pointer.
        unsafe { rd_kafka_message_timestamp(self.message, &mut kind) }
    }

    /// Appends the headers to `out`. Returns the reason where they could be read only in part: names are text in Kafka, and
    /// librdkafka shows them as C strings.
    pub fn headers(&self, out: &mut Vec<(&'a str, Option<&'a [u8]>)>) -> Option<&'static str> {
        let mut headers = ptr::null_mut();
        let mut damage = None;
        // SAFETY: live message; names and values live as long as it does.
        unsafe {
            match rd_kafka_message_headers(self.message, &mut headers) {
                Err::RD_KAFKA_RESP_ERR_NO_ERROR => {}
                Err::RD_KAFKA_RESP_ERR__NOENT => return None,
                _ => return Some("its headers are not encoded as Kafka encodes them"),
            }
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            let mut index = 0;
            while rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut size)
                == Err::RD_KAFKA_RESP_ERR_NO_ERROR
            {
                let shown = CStr::from_ptr(name);
                // A value lies right behind the NUL that librdkafka puts after its name.
                let ends = name.wrapping_add(shown.to_bytes().len() + 1);
                if !value.is_null() && value.cast() != ends {
                    damage = Some("the name of a header has a NUL byte in it");
                }
                let valid = shown.to_bytes().utf8_chunks().next().map_or("", |chunk| chunk.valid());
                if valid.len() != shown.to_bytes().len() {
                    damage = Some("the name of a header is not UTF-8");
                }
                out.push((valid, bytes(value, size)));
                index += 1;
            }
        }
        damage
    }
}

/// Whether a rebalance of this consumer's group takes all partitions away before it deals them out anew.
fn is_eager(rk: *mut rd_kafka_t) -> bool {
    // SAFETY: live handle; the answer is a static string.
    unsafe { text(rd_kafka_rebalance_protocol(rk)) == "EAGER" }
}

/// Gives partitions up: all that there are, where rebalances are eager.
///
/// # Safety
/// Both are live.
unsafe fn unassign(rk: *mut rd_kafka_t, partitions: *const rd_kafka_topic_partition_list_t) -> Result<(), RawError> {
    if is_eager(rk) {
        // SAFETY: null means none.
        return check("unassign", unsafe { rd_kafka_assign(rk, ptr::null()) });
    }
    // SAFETY: the caller's promise; the error object is taken over.
    unsafe { RawError::check("incremental_unassign", rd_kafka_incremental_unassign(rk, partitions)) }
}

/// # Safety
/// `start` is null, or points to `len` bytes that live for `'a`.
unsafe fn bytes<'a>(start: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast(), len) })
}

/// # Safety
/// `raw` is null or NUL-terminated.
unsafe fn text(raw: *const c_char) -> String {
    if raw.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(raw) }.to_string_lossy().into_owned()
}

/// Text for C. A NUL cannot be in a name that was parsed; should one be, the text ends there.
pub(super) fn c_string(raw: &str) -> CString {
    CString::new(raw.split('\0').next().unwrap_or_default()).expect("cut before the first NUL")
}

fn ms(duration: Duration) -> c_int {
    c_int::try_from(duration.as_millis()).unwrap_or(c_int::MAX)
}

// === callbacks ===

unsafe extern "C" fn on_rebalance(
    rk: *mut rd_kafka_t,
    code: Err,
    partitions: *mut rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
) {
    // SAFETY: opaque is the client's Events; librdkafka lends handle and list for the call.
    let (events, list) = unsafe { (&*opaque.cast::<Events>(), list::names(partitions)) };
    if events.closing.load(Ordering::Relaxed) {
        // Nobody will read the event: give the partitions up at once, or closing waits for ever.
        // SAFETY: as above; the error, if any, is owned and destroyed.
        unsafe {
            if code == Err::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
                rd_kafka_assign(rk, ptr::null());
            } else {
                drop(unassign(rk, partitions));
            }
        }
        return;
    }
    let kind = match code {
        Err::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => RebalanceKind::Assign,
        // SAFETY: live handle.
        _ if unsafe { rd_kafka_assignment_lost(rk) } != 0 => RebalanceKind::Lost,
        _ => RebalanceKind::Revoke,
    };
    events.rebalances.lock().push_back(RebalanceEvent { kind, partitions: list });
}

unsafe extern "C" fn on_delivery(_: *mut rd_kafka_t, message: *const rd_kafka_message_t, opaque: *mut c_void) {
    // SAFETY: librdkafka lends the message for the call; opaque is the client's Events.
    let (message, events) = unsafe { (&*message, &*opaque.cast::<Events>()) };
    if message.err != Err::RD_KAFKA_RESP_ERR_NO_ERROR {
        let mut failures = events.failures.lock();
        let is_too_large = message.err == Err::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
        if failures.len() < FAILURES_MAX {
            let size = (is_too_large && failures.len() < SIZES_MAX).then(|| size(message));
            failures.push(FailedDelivery {
                number: message._private as u64,
                topic_id: message.rkt as usize,
                partition: message.partition,
                code: message.err,
                has_key: !message.key.is_null(),
                size,
                // SAFETY: the message is one of a delivery; the text is not read.
                text_id: unsafe { rd_kafka_message_produce_errstr(message) } as usize,
            });
        }
        events.has_failures.store(true, Ordering::Release);
    } else if message.offset >= 0 {
        let mut delivered = events.delivered.lock();
        let end = delivered.entry((message.rkt as usize, message.partition)).or_default();
        *end = (*end).max(message.offset + 1);
    }
}

/// The size of a record that was handed to the producer.
fn size(message: &rd_kafka_message_t) -> Size {
    let mut headers = Vec::new();
    let raw = RawMessage { message };
    raw.headers(&mut headers);
    Size::of(raw.key(), raw.value(), header_bytes(&headers))
}

unsafe extern "C" fn on_error(_: *mut rd_kafka_t, code: c_int, reason: *const c_char, _: *mut c_void) {
    // SAFETY: NUL-terminated text, lent for the call.
    let reason = unsafe { text(reason) };
    tracing::debug!(code, reason, "librdkafka error");
}

unsafe extern "C" fn on_close(socket: c_int, opaque: *mut c_void) -> c_int {
    // SAFETY: opaque is the client's Events; the socket is librdkafka's own, and it leaves closing it to this.
    unsafe {
        (*opaque.cast::<Events>()).disconnects.fetch_add(1, Ordering::Release);
        libc::close(socket)
    }
}

unsafe extern "C" fn on_log(_: *const rd_kafka_t, level: c_int, facility: *const c_char, line: *const c_char) {
    // SAFETY: NUL-terminated text, lent for the call.
    let (facility, line) = unsafe { (text(facility), text(line)) };
    // Syslog levels. Broken connections are routine here: what matters shows in results and in worker states.
    match level {
        0..=2 => tracing::error!(target: "librdkafka", facility, "{line}"),
        3 | 4 => tracing::debug!(target: "librdkafka", facility, "{line}"),
        _ => tracing::trace!(target: "librdkafka", facility, "{line}"),
    }
}
