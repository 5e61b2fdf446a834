//! Producing, and transactions.

use std::ffi::{c_char, c_int, c_void};
use std::time::Duration;

use rdkafka_sys::bindings::*;

use super::{Client, Err, GroupMetadata, PartitionList, RawError, c_string, ms};
use crate::model::batch::HeaderRef;

/// A topic by handle: saves the look-up by name of every record.
pub(in super::super) struct TopicHandle(*mut rd_kafka_topic_t);

// SAFETY: a reference-counted handle without ties to a thread.
unsafe impl Send for TopicHandle {}

impl TopicHandle {
    pub fn id(&self) -> usize {
        self.0 as usize
    }
}

impl Drop for TopicHandle {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once. The owner drops its handles before the client.
        unsafe { rd_kafka_topic_destroy(self.0) }
    }
}

/// What became of a record that was handed to the producer.
pub(in super::super) enum Produced {
    Queued,
    /// The queue is full: serve the producer, then try the same record again.
    Full,
}

impl Client {
    pub fn topic(&self, name: &str) -> Result<TopicHandle, RawError> {
        let name = c_string(name);
        // SAFETY: live handle, NUL-terminated name; null configuration means the client's own.
        let topic = unsafe { rd_kafka_topic_new(self.rk, name.as_ptr(), std::ptr::null_mut()) };
        match topic.is_null() {
            // SAFETY: reads the thread's last error.
            true => Err(RawError::of("topic", unsafe { rd_kafka_last_error() })),
            false => Ok(TopicHandle(topic)),
        }
    }

    /// Copies the record into the producer's queue. `partition` None: by the key's hash. `number`: a failed delivery names
    /// it. A timestamp of -1 stands for the time of the call, and so does 0, since librdkafka knows no other way to say so.
    #[expect(clippy::too_many_arguments, reason = "the parts of a record, by reference")]
    pub fn produce(
        &self,
        number: u64,
        topic: &TopicHandle,
        partition: Option<i32>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderRef<'_>],
        timestamp: i64,
    ) -> Result<Produced, RawError> {
        use rd_kafka_vtype_t as V;
        let vu = |vtype, u| rd_kafka_vu_t { vtype, u };
        let mem = |bytes: Option<&[u8]>| rd_kafka_vu_s__bindgen_ty_1 {
            mem: rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
                ptr: bytes.map_or(std::ptr::null_mut(), |bytes| bytes.as_ptr().cast_mut().cast()),
                size: bytes.map_or(0, <[u8]>::len),
            },
        };
        let built = build_headers(headers);
        let columns = [
            vu(V::RD_KAFKA_VTYPE_RKT, rd_kafka_vu_s__bindgen_ty_1 { rkt: topic.0 }),
            vu(V::RD_KAFKA_VTYPE_PARTITION, rd_kafka_vu_s__bindgen_ty_1 { i32_: partition.unwrap_or(-1) }),
            vu(V::RD_KAFKA_VTYPE_MSGFLAGS, rd_kafka_vu_s__bindgen_ty_1 { i: RD_KAFKA_MSG_F_COPY as c_int }),
            vu(
                V::RD_KAFKA_VTYPE_TIMESTAMP,
                rd_kafka_vu_s__bindgen_ty_1 { i64_: if timestamp == -1 { 0 } else { timestamp } },
            ),
            vu(V::RD_KAFKA_VTYPE_OPAQUE, rd_kafka_vu_s__bindgen_ty_1 { ptr: number as usize as *mut c_void }),
            vu(V::RD_KAFKA_VTYPE_KEY, mem(key)),
            vu(V::RD_KAFKA_VTYPE_VALUE, mem(value)),
            vu(V::RD_KAFKA_VTYPE_HEADERS, rd_kafka_vu_s__bindgen_ty_1 { headers: built }),
        ];
        let used = columns.len() - usize::from(built.is_null());
        // SAFETY: live handles; key and value are copied during the call; headers are taken over on success only.
        let sent = unsafe { RawError::check("produce", rd_kafka_produceva(self.rk, columns.as_ptr(), used)) };
        if sent.is_err() && !built.is_null() {
            // SAFETY: not taken over.
            unsafe { rd_kafka_headers_destroy(built) };
        }
        match sent {
            Ok(()) => Ok(Produced::Queued),
            Err(error) if error.code == Err::RD_KAFKA_RESP_ERR__QUEUE_FULL => Ok(Produced::Full),
            Err(error) => Err(error),
        }
    }

    /// Serves callbacks; waits up to `timeout` for the first.
    pub fn poll(&self, timeout: Duration) {
        // SAFETY: live handle.
        unsafe { rd_kafka_poll(self.rk, ms(timeout)) };
    }

    /// Serves callbacks for up to `timeout`, or until all is delivered; meanwhile no record waits for others (`linger.ms`).
    pub fn flush(&self, timeout: Duration) {
        // SAFETY: live handle. It says whether there is more: see `in_flight`.
        unsafe { rd_kafka_flush(self.rk, ms(timeout)) };
    }

    /// Records that are neither delivered nor failed.
    pub fn in_flight(&self) -> usize {
        // SAFETY: live handle.
        usize::try_from(unsafe { rd_kafka_outq_len(self.rk) }).unwrap_or(0)
    }

    /// The error of a topic, asked of a broker; None where it has none. What the client knows of the topic is brought up to
    /// date with it.
    pub fn topic_error(&self, topic: &TopicHandle, timeout: Duration) -> Result<Option<Err>, RawError> {
        let mut metadata = std::ptr::null();
        // SAFETY: live handles, valid out pointer.
        let code = unsafe { rd_kafka_metadata(self.rk, 0, topic.0, &mut metadata, ms(timeout)) };
        super::check("metadata", code)?;
        // SAFETY: made by the call above, read while it lives, destroyed once.
        let error = unsafe {
            let topics = std::slice::from_raw_parts((*metadata).topics, (*metadata).topic_cnt as usize);
            let error = topics.first().map(|topic| topic.err);
            rd_kafka_metadata_destroy(metadata);
            error
        };
        Ok(error.filter(|error| *error != Err::RD_KAFKA_RESP_ERR_NO_ERROR))
    }

    /// Waits until a broker is connected, or for `timeout`: what is called next says why none is. librdkafka 2.12 looks for
    /// one to find the transaction coordinator by, and if none is connected yet, looks again after 500 ms. The first answer
    /// may be of the bootstrap server, whose connection ends with it; so this asks twice.
    fn connect(&self, timeout: Duration) {
        for _ in 0..2 {
            let mut metadata = std::ptr::null();
            // SAFETY: live handle, valid out pointer; no topic is asked for.
            let code = unsafe { rd_kafka_metadata(self.rk, 0, std::ptr::null_mut(), &mut metadata, ms(timeout)) };
            if code != Err::RD_KAFKA_RESP_ERR_NO_ERROR {
                return;
            }
            // SAFETY: made by the call above, destroyed once.
            unsafe { rd_kafka_metadata_destroy(metadata) };
        }
    }

    pub fn init_transactions(&self, timeout: Duration) -> Result<(), RawError> {
        self.connect(timeout);
        // SAFETY: live handle; the error object is taken over. So for the calls below.
        unsafe { RawError::check("init_transactions", rd_kafka_init_transactions(self.rk, ms(timeout))) }
    }

    pub fn begin_transaction(&self) -> Result<(), RawError> {
        // SAFETY: see init_transactions.
        unsafe { RawError::check("begin_transaction", rd_kafka_begin_transaction(self.rk)) }
    }

    pub fn send_offsets(&self, offsets: &PartitionList, group: &GroupMetadata, timeout: Duration) -> Result<(), RawError> {
        // SAFETY: see init_transactions; list and metadata are only read.
        let error = unsafe { rd_kafka_send_offsets_to_transaction(self.rk, offsets.ptr(), group.0, ms(timeout)) };
        // SAFETY: as above.
        unsafe { RawError::check("send_offsets", error) }
    }

    pub fn commit_transaction(&self, timeout: Duration) -> Result<(), RawError> {
        // SAFETY: see init_transactions.
        unsafe { RawError::check("commit_transaction", rd_kafka_commit_transaction(self.rk, ms(timeout))) }
    }

    pub fn abort_transaction(&self, timeout: Duration) -> Result<(), RawError> {
        // SAFETY: see init_transactions.
        unsafe { RawError::check("abort_transaction", rd_kafka_abort_transaction(self.rk, ms(timeout))) }
    }
}

fn build_headers(headers: &[HeaderRef<'_>]) -> *mut rd_kafka_headers_t {
    if headers.is_empty() {
        return std::ptr::null_mut();
    }
    // SAFETY: names and values are copied; a null value is a null header value.
    unsafe {
        let built = rd_kafka_headers_new(headers.len());
        for (name, value) in headers {
            let (start, size) = value.map_or((std::ptr::null(), 0), |value| (value.as_ptr(), value.len() as isize));
            rd_kafka_header_add(built, name.as_ptr().cast::<c_char>(), name.len() as isize, start.cast(), size);
        }
        built
    }
}
