//! Producing, and the reports of deliveries.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::time::Duration;

use super::client::Client;
use super::convert::{c_string, ms};
use super::error::{CodeName, ErrorCode, RawError, check};
use super::events::FailedDelivery;
use super::sys::*;
use crate::model::batch::HeaderRef;

/// A topic by handle: saves the look-up by name of every record.
pub struct TopicHandle(*mut rd_kafka_topic_t);

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

/// The producer's answer to a record that was handed to it.
pub enum Admission {
    Queued,
    /// The queue is full: serve the producer, then try the same record again.
    QueueFull,
}

impl Client {
    pub fn topic(&self, name: &str) -> Result<TopicHandle, RawError> {
        let name = c_string(name);
        // SAFETY: live handle, NUL-terminated name; a null configuration stands for the client's own.
        let topic = unsafe { rd_kafka_topic_new(self.rk, name.as_ptr(), ptr::null_mut()) };
        if topic.is_null() {
            // SAFETY: reads the thread's last error.
            return Err(RawError::of("topic", ErrorCode::new(unsafe { rd_kafka_last_error() })));
        }
        Ok(TopicHandle(topic))
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
    ) -> Result<Admission, RawError> {
        use rd_kafka_vtype_t as V;
        let vu = |vtype, u| rd_kafka_vu_t { vtype, u };
        let mem = |bytes: Option<&[u8]>| rd_kafka_vu_s__bindgen_ty_1 {
            mem: rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
                ptr: bytes.map_or(ptr::null_mut(), |bytes| bytes.as_ptr().cast_mut().cast()),
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
            Ok(()) => Ok(Admission::Queued),
            Err(error) if error.code == CodeName::RD_KAFKA_RESP_ERR__QUEUE_FULL => Ok(Admission::QueueFull),
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
        // SAFETY: live handle. Its answer, that there is more, is also the one of `in_flight`.
        unsafe { rd_kafka_flush(self.rk, ms(timeout)) };
    }

    /// Records that are neither delivered nor failed.
    pub fn in_flight(&self) -> usize {
        // SAFETY: live handle.
        usize::try_from(unsafe { rd_kafka_outq_len(self.rk) }).unwrap_or(0)
    }

    /// Returns true if deliveries have failed since the failures were taken last. Costs no lock.
    pub fn has_failures(&self) -> bool {
        self.events().has_failures()
    }

    /// The failed deliveries since the last call, in the order of their reports.
    pub fn take_failures(&self) -> Vec<FailedDelivery> {
        self.events().take_failures()
    }

    /// One past the last record that was delivered to a partition, as far as deliveries are reported.
    pub fn delivered_end(&self, topic: &TopicHandle, partition: i32) -> Option<i64> {
        self.events().delivered_end(topic.id(), partition)
    }

    /// Connections, or attempts at one, that have ended so far: counted before any request that they had under way is sent
    /// again. (Error events come when the client is polled, which may be later, and not every time.)
    pub fn disconnects(&self) -> u64 {
        self.events().disconnects()
    }

    /// The error of a topic, asked of a broker; None where it has none. The client's own view of the topic is brought up to
    /// date with it.
    pub fn topic_error(&self, topic: &TopicHandle, timeout: Duration) -> Result<Option<ErrorCode>, RawError> {
        let mut metadata = ptr::null();
        // SAFETY: live handles, valid out pointer.
        let code = unsafe { rd_kafka_metadata(self.rk, 0, topic.0, &mut metadata, ms(timeout)) };
        check("metadata", code)?;
        // SAFETY: made by the call above, read while it lives, destroyed once.
        let error = unsafe {
            let has_topic = (*metadata).topic_cnt > 0;
            let error = has_topic.then(|| ErrorCode::read(&raw const (*(*metadata).topics).err));
            rd_kafka_metadata_destroy(metadata);
            error
        };
        Ok(error.filter(|error| !error.is_success()))
    }
}

fn build_headers(headers: &[HeaderRef<'_>]) -> *mut rd_kafka_headers_t {
    if headers.is_empty() {
        return ptr::null_mut();
    }
    // SAFETY: names and values are copied; a null value is a null header value.
    unsafe {
        let built = rd_kafka_headers_new(headers.len());
        for (name, value) in headers {
            let start = value.map_or(ptr::null(), <[u8]>::as_ptr);
            let size = value.map_or(0, <[u8]>::len) as isize;
            rd_kafka_header_add(built, name.as_ptr().cast::<c_char>(), name.len() as isize, start.cast(), size);
        }
        built
    }
}
