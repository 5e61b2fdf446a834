//! The dead letter of a failed record: the record as it was, and its failure.

use std::borrow::Cow;

use crate::model::batch::{Batch, HeaderRef};
use crate::model::text::cut;
use crate::ports::{ProducerRecord, TopicPartition, refused_timestamp};

use super::Settings;
use super::failure::RecordFailure;
use super::verdicts::Mend;

/// The beginning of the names of Sandbar's headers.
const OWN_PREFIX: &str = "sandbar.error.";
/// The beginning of the new names of a record's own headers with such names, so that each of Sandbar's is there once.
const KEPT_PREFIX: &str = "was.";
/// Longest message of a dead letter whose headers are mended, in bytes.
const SHORT_MESSAGE_BYTES: usize = 256;

/// A header's name, and its value or null.
type Header<'a> = (Cow<'a, str>, Option<Cow<'a, [u8]>>);

/// The dead letter of a failed record.
pub(super) struct DeadLetter<'a> {
    topic: usize,
    key: Option<Cow<'a, [u8]>>,
    value: Option<&'a [u8]>,
    timestamp: i64,
    headers: Vec<Header<'a>>,
}

impl<'a> DeadLetter<'a> {
    /// The dead letter of a row, for output `topic`.
    pub fn new(
        topic: usize,
        settings: &Settings,
        partition: TopicPartition,
        batch: &'a Batch,
        row: usize,
        failure: &RecordFailure,
        mend: Mend,
    ) -> Self {
        let offset = batch.offset(row);
        let timestamp = batch.timestamps[row];
        // Every topic refuses it: it is not sent first to find that out.
        let mend = Mend { timestamp: mend.timestamp || refused_timestamp(timestamp).is_some(), ..mend };
        let input = &settings.inputs[partition.input as usize];
        let made_key = || Cow::Owned(format!("{input}/{}/{offset}", partition.partition).into_bytes());
        let key = match batch.key(row) {
            None if mend.key => Some(made_key()),
            key => key.map(Cow::Borrowed),
        };
        let kept = if mend.headers { Vec::new() } else { batch.headers(row) };
        let mut headers: Vec<Header<'_>> =
            kept.into_iter().map(|(name, value)| (renamed(name), value.map(Cow::Borrowed))).collect();
        for (name, text) in own(settings, partition, offset, timestamp, failure, mend) {
            headers.push((Cow::Owned(format!("{OWN_PREFIX}{name}")), Some(Cow::Owned(text.into_bytes()))));
        }
        Self { topic, key, value: batch.value(row), timestamp: if mend.timestamp { -1 } else { timestamp }, headers }
    }

    /// Hands the record over that is to be sent.
    pub fn with_record<T>(&self, send: impl FnOnce(&ProducerRecord<'_>) -> T) -> T {
        let headers: Vec<HeaderRef<'_>> = self.headers.iter().map(|(name, value)| (&**name, value.as_deref())).collect();
        let &Self { topic, value, timestamp, .. } = self;
        send(&ProducerRecord { topic, partition: None, key: self.key.as_deref(), value, headers: &headers, timestamp })
    }
}

fn renamed(name: &str) -> Cow<'_, str> {
    if name.starts_with(OWN_PREFIX) { Cow::Owned(format!("{KEPT_PREFIX}{name}")) } else { Cow::Borrowed(name) }
}

/// The headers that a dead letter gains, without [`OWN_PREFIX`].
fn own(
    settings: &Settings,
    partition: TopicPartition,
    offset: i64,
    timestamp: i64,
    failure: &RecordFailure,
    mend: Mend,
) -> Vec<(&'static str, String)> {
    let message = if mend.headers { cut(&failure.message, SHORT_MESSAGE_BYTES) } else { &failure.message };
    let mut own = vec![
        ("transform", settings.id.to_string()),
        ("revision", settings.revision.to_string()),
        ("module", settings.module.to_string()),
        ("topic", settings.inputs[partition.input as usize].to_string()),
        ("partition", partition.partition.to_string()),
        ("offset", offset.to_string()),
        ("code", failure.code.to_string()),
        ("message", message.to_owned()),
    ];
    if mend.timestamp {
        own.push(("timestamp", timestamp.to_string()));
    }
    if mend != Mend::default() {
        own.push(("mended", mend.names().join(",")));
    }
    own
}
