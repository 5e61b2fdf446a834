//! The dead letter of a failed record: the record as it was, and what failed on it.

use std::borrow::Cow;

use crate::model::batch::{Batch, HeaderRef};
use crate::model::text::cut;
use crate::ports::{Outgoing, TopicPartition};

use super::Settings;
use super::failure::Failed;
use super::verdicts::Mend;

/// Our headers begin with it. A record's own ones of these names are kept under [`KEPT`] and the name, so that each of
/// ours is there once.
const OURS: &str = "sandbar.error.";
const KEPT: &str = "was.";
/// Longest message of a dead letter whose headers are mended, in bytes.
const SHORT_MESSAGE_BYTES: usize = 256;

/// A header's name, and its value or null.
type Header<'a> = (Cow<'a, str>, Option<Cow<'a, [u8]>>);

/// A dead letter on its way.
pub(super) struct Letter<'a> {
    topic: usize,
    key: Option<Cow<'a, [u8]>>,
    value: Option<&'a [u8]>,
    timestamp: i64,
    headers: Vec<Header<'a>>,
}

impl<'a> Letter<'a> {
    /// The dead letter of a row, for output `topic`.
    pub fn new(
        topic: usize,
        settings: &Settings,
        partition: TopicPartition,
        batch: &'a Batch,
        row: usize,
        failed: &Failed,
        mend: Mend,
    ) -> Self {
        let offset = batch.offset(row);
        let timestamp = batch.timestamps[row];
        let input = &settings.inputs[partition.input as usize];
        let made_key = || Cow::Owned(format!("{input}/{}/{offset}", partition.partition).into_bytes());
        let key = match batch.key(row) {
            None if mend.key => Some(made_key()),
            key => key.map(Cow::Borrowed),
        };
        let kept = if mend.headers { Vec::new() } else { batch.headers(row) };
        let mut headers: Vec<Header<'_>> =
            kept.into_iter().map(|(name, value)| (renamed(name), value.map(Cow::Borrowed))).collect();
        for (name, text) in own(settings, partition, offset, timestamp, failed, mend) {
            headers.push((Cow::Owned(format!("{OURS}{name}")), Some(Cow::Owned(text.into_bytes()))));
        }
        Self { topic, key, value: batch.value(row), timestamp: if mend.timestamp { -1 } else { timestamp }, headers }
    }

    /// Hands over the record that is to be sent.
    pub fn with<T>(&self, send: impl FnOnce(&Outgoing<'_>) -> T) -> T {
        let headers: Vec<HeaderRef<'_>> = self.headers.iter().map(|(name, value)| (&**name, value.as_deref())).collect();
        let &Self { topic, value, timestamp, .. } = self;
        send(&Outgoing { topic, partition: None, key: self.key.as_deref(), value, headers: &headers, timestamp })
    }
}

fn renamed(name: &str) -> Cow<'_, str> {
    if name.starts_with(OURS) { Cow::Owned(format!("{KEPT}{name}")) } else { Cow::Borrowed(name) }
}

/// The headers that a dead letter gains, without [`OURS`].
fn own(
    settings: &Settings,
    partition: TopicPartition,
    offset: i64,
    timestamp: i64,
    failed: &Failed,
    mend: Mend,
) -> Vec<(&'static str, String)> {
    let message = if mend.headers { cut(&failed.message, SHORT_MESSAGE_BYTES) } else { &failed.message };
    let mut own = vec![
        ("transform", settings.id.to_string()),
        ("revision", settings.revision.to_string()),
        ("module", settings.module.to_string()),
        ("topic", settings.inputs[partition.input as usize].to_string()),
        ("partition", partition.partition.to_string()),
        ("offset", offset.to_string()),
        ("code", failed.code.to_string()),
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
