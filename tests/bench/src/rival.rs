//! The rivals of Sandbar: loops that do only the necessary work, straight on librdkafka, with the guarantee and the
//! client settings of Sandbar's own worker.
//!
//! They forward key and value only. A host has timestamps, headers, error policies, revisions, metrics and rebalances
//! on top.

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use rdkafka_sys::bindings::*;

use crate::job;

pub const SUBCOMMAND: &str = "rival";

const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
const CALL_TIMEOUT_MS: c_int = 10_000;
const POLL_RECORDS_MAX: usize = 4096;
/// The most partitions of an input.
const PARTITIONS_MAX: usize = 1024;

/// The work on a record.
#[derive(Debug, Clone, Copy)]
pub enum Work {
    /// The record is written unchanged.
    Forward,
    /// The record's JSON is parsed, and some of it written.
    Strip,
}

impl Work {
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Strip => "strip",
        }
    }
}

impl FromStr for Work {
    type Err = anyhow::Error;

    fn from_str(raw: &str) -> anyhow::Result<Self> {
        [Self::Forward, Self::Strip].into_iter().find(|work| work.name() == raw).ok_or_else(|| anyhow!("no rival {raw}"))
    }
}

/// Both sides: as in host/src/kafka/config.rs, which says why.
const COMMON: [(&str, &str); 3] =
    [("socket.keepalive.enable", "true"), ("reconnect.backoff.max.ms", "1000"), ("socket.timeout.ms", "10000")];

const CONSUMER: [(&str, &str); 12] = [
    ("partition.assignment.strategy", "cooperative-sticky"),
    ("session.timeout.ms", "10000"),
    ("heartbeat.interval.ms", "2000"),
    ("max.poll.interval.ms", "60000"),
    ("isolation.level", "read_committed"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "earliest"),
    ("queued.min.messages", "20000"),
    ("queued.max.messages.kbytes", "16384"),
    ("fetch.queue.backoff.ms", "5"),
    ("fetch.wait.max.ms", "100"),
];

const PRODUCER: [(&str, &str); 13] = [
    ("partitioner", "murmur2_random"),
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("compression.type", "lz4"),
    ("linger.ms", "5"),
    ("max.in.flight.requests.per.connection", "1"),
    ("batch.size", "524288"),
    ("queue.buffering.max.messages", "20000"),
    ("queue.buffering.max.kbytes", "32768"),
    ("message.max.bytes", "67108864"),
    ("message.timeout.ms", "15000"),
    ("transaction.timeout.ms", "15000"),
    ("delivery.report.only.error", "true"),
];

/// Client properties from the environment, the same for every contender.
pub fn overrides() -> Vec<(String, String)> {
    let raw = std::env::var("KAFKA_PROPERTIES").unwrap_or_default();
    let pairs = raw.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
}

/// Runs until it is killed.
pub fn run(work: Work, brokers: &str, group: &str, input: &str, output: &str) -> anyhow::Result<()> {
    let mut rival = Rival::open(work, brokers, group, input, output)?;
    loop {
        rival.turn()?;
    }
}

struct Rival {
    work: Work,
    /// The value that was written last.
    value: Vec<u8>,
    consumer: *mut rd_kafka_t,
    queue: *mut rd_kafka_queue_t,
    producer: *mut rd_kafka_t,
    output: *mut rd_kafka_topic_t,
    input: CString,
    fetched: Vec<*mut rd_kafka_message_t>,
    next_offsets: Vec<i64>,
    /// The time at which the open transaction is to be committed, and the membership that it began under.
    open: Option<(Instant, *mut rd_kafka_consumer_group_metadata_t)>,
}

// === impl Rival ===

impl Rival {
    fn open(work: Work, brokers: &str, group: &str, input: &str, output: &str) -> anyhow::Result<Self> {
        let own = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
        let common = [own(&COMMON), own(&[("bootstrap.servers", brokers)])].concat();
        let consumer = [common.clone(), own(&CONSUMER), own(&[("group.id", group)])].concat();
        let producer = [common, own(&PRODUCER), own(&[("transactional.id", group)])].concat();
        let input = CString::new(input)?;
        let output = CString::new(output)?;
        // SAFETY: handles are live until the process ends; every string is NUL-terminated.
        unsafe {
            let producer = client(rd_kafka_type_t::RD_KAFKA_PRODUCER, &producer)?;
            done("init_transactions", rd_kafka_init_transactions(producer, CALL_TIMEOUT_MS))?;
            let output = rd_kafka_topic_new(producer, output.as_ptr(), ptr::null_mut());
            let consumer = client(rd_kafka_type_t::RD_KAFKA_CONSUMER, &consumer)?;
            rd_kafka_poll_set_consumer(consumer);
            let topics = rd_kafka_topic_partition_list_new(1);
            rd_kafka_topic_partition_list_add(topics, input.as_ptr(), -1);
            rd_kafka_subscribe(consumer, topics);
            rd_kafka_topic_partition_list_destroy(topics);
            let queue = rd_kafka_queue_get_consumer(consumer);
            let fetched = vec![ptr::null_mut(); POLL_RECORDS_MAX];
            let next_offsets = vec![-1; PARTITIONS_MAX];
            Ok(Self { work, value: Vec::new(), consumer, queue, producer, output, input, fetched, next_offsets, open: None })
        }
    }

    fn turn(&mut self) -> anyhow::Result<()> {
        // SAFETY: live handles; a message is read before it is destroyed, and destroyed once.
        unsafe {
            let mut taken = rd_kafka_consume_batch_queue(self.queue, 0, self.fetched.as_mut_ptr(), self.fetched.len());
            if taken <= 0 {
                let left = self.open.map_or(COMMIT_INTERVAL, |(due, _)| due.saturating_duration_since(Instant::now()));
                let first = rd_kafka_consume_queue(self.queue, left.as_millis() as c_int);
                taken = isize::from(!first.is_null());
                self.fetched[0] = first;
            }
            for index in 0..taken.max(0) as usize {
                let message = &*self.fetched[index];
                if message.err == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                    self.begin()?;
                    self.next_offsets[message.partition as usize] = message.offset + 1;
                    let value = std::slice::from_raw_parts(message.payload.cast(), message.len);
                    match self.work {
                        Work::Forward => self.send(message, value)?,
                        Work::Strip => {
                            job::strip(value, &mut self.value)?;
                            self.send(message, &self.value)?;
                        }
                    }
                }
                rd_kafka_message_destroy(self.fetched[index]);
            }
        }
        match self.open {
            Some((due, _)) if Instant::now() >= due => self.commit(),
            _ => Ok(()),
        }
    }

    /// # Safety
    /// `message` is live.
    unsafe fn send(&self, message: &rd_kafka_message_t, value: &[u8]) -> anyhow::Result<()> {
        loop {
            // SAFETY: live handles; key and value are copied during the call.
            let failed = unsafe {
                rd_kafka_produce(
                    self.output,
                    -1,
                    RD_KAFKA_MSG_F_COPY as c_int,
                    value.as_ptr().cast_mut().cast(),
                    value.len(),
                    message.key,
                    message.key_len,
                    ptr::null_mut(),
                ) != 0
            };
            if !failed {
                return Ok(());
            }
            // SAFETY: reads the thread's last error, then serves a live producer.
            unsafe {
                match rd_kafka_last_error() {
                    rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__QUEUE_FULL => rd_kafka_poll(self.producer, 1),
                    code => bail!("produce: {code:?}"),
                };
            }
        }
    }

    fn begin(&mut self) -> anyhow::Result<()> {
        if self.open.is_none() {
            // SAFETY: live handles.
            unsafe {
                done("begin_transaction", rd_kafka_begin_transaction(self.producer))?;
                self.open = Some((Instant::now() + COMMIT_INTERVAL, rd_kafka_consumer_group_metadata(self.consumer)));
            }
        }
        Ok(())
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        let Some((_, group)) = self.open.take() else { return Ok(()) };
        // SAFETY: live handles; list and metadata are destroyed once, here.
        unsafe {
            // librdkafka's own flush sleeps in slices of 100 ms.
            while rd_kafka_outq_len(self.producer) > 0 {
                rd_kafka_poll(self.producer, 1);
            }
            let offsets = rd_kafka_topic_partition_list_new(PARTITIONS_MAX as c_int);
            for (partition, &next) in self.next_offsets.iter().enumerate().filter(|(_, next)| **next >= 0) {
                let entry = rd_kafka_topic_partition_list_add(offsets, self.input.as_ptr(), partition as i32);
                (*entry).offset = next;
            }
            let sent = rd_kafka_send_offsets_to_transaction(self.producer, offsets, group, CALL_TIMEOUT_MS);
            rd_kafka_topic_partition_list_destroy(offsets);
            rd_kafka_consumer_group_metadata_destroy(group);
            done("send_offsets", sent)?;
            done("commit_transaction", rd_kafka_commit_transaction(self.producer, CALL_TIMEOUT_MS))
        }
    }
}

/// # Safety
/// No requirement: the client lives until it is destroyed, which nobody does.
unsafe fn client(kind: rd_kafka_type_t, properties: &[(String, String)]) -> anyhow::Result<*mut rd_kafka_t> {
    let mut reason: [c_char; 512] = [0; 512];
    // SAFETY: strings are NUL-terminated, the buffer's length is told, the configuration is taken over.
    unsafe {
        let conf = rd_kafka_conf_new();
        for (name, value) in properties.iter().chain(&overrides()) {
            let name = CString::new(name.as_str())?;
            let value = CString::new(value.as_str())?;
            let set = rd_kafka_conf_set(conf, name.as_ptr(), value.as_ptr(), reason.as_mut_ptr(), reason.len());
            if set != rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
                bail!("{}", CStr::from_ptr(reason.as_ptr()).to_string_lossy());
            }
        }
        let client = rd_kafka_new(kind, conf, reason.as_mut_ptr(), reason.len());
        if client.is_null() { bail!("{}", CStr::from_ptr(reason.as_ptr()).to_string_lossy()) } else { Ok(client) }
    }
}

/// # Safety
/// `error` is null or an owned error object.
unsafe fn done(call: &str, error: *mut rd_kafka_error_t) -> anyhow::Result<()> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: not null. It is not freed: the process ends.
    bail!("{call}: {}", unsafe { CStr::from_ptr(rd_kafka_error_string(error)) }.to_string_lossy())
}
