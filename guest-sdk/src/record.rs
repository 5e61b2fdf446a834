//! The record that a transform is given.

use crate::rows::{Header, Headers, Row};
use crate::value::FromValue;
use crate::{Message, Result};

/// A record of an input topic, its value read as `V` (see [`FromValue`]; by default the raw bytes, `None` for a
/// tombstone).
///
/// Everything in it borrows from the batch, so that handing it on copies nothing.
pub struct Record<'a, V = Option<&'a [u8]>> {
    /// The value, typed.
    pub value: V,
    row: Row<'a>,
}

// === impl Record ===

impl<'a> Record<'a> {
    pub(crate) fn raw(row: Row<'a>) -> Self {
        Record { value: row.value(), row }
    }

    /// Reads the value as `V`, and returns the record with it.
    ///
    /// # Errors
    /// Fails if the value is no `V`. The message gives the reason.
    pub fn typed<V: FromValue<'a>>(self) -> Result<Record<'a, V>> {
        let value = V::from_value(self.value).map_err(|error| error.context("value"))?;
        Ok(Record { value, row: self.row })
    }
}

impl<'a, V> Record<'a, V> {
    /// The key's bytes. `None` is null; an empty key is `Some` of no bytes.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.row.key()
    }

    /// The key read as `K`, for example `record.key_as::<&str>()?`.
    ///
    /// # Errors
    /// Fails if the key is no `K`. The message gives the reason.
    pub fn key_as<K: FromValue<'a>>(&self) -> Result<K> {
        K::from_value(self.key()).map_err(|error| error.context("key"))
    }

    /// The value's bytes, whatever [`Record::value`] has made of them; `None` for a tombstone.
    pub fn raw_value(&self) -> Option<&'a [u8]> {
        self.row.value()
    }

    /// All headers, in order.
    pub fn headers(&self) -> Headers<'a> {
        self.row.headers()
    }

    /// The header of this name; the last one where there are several, as Kafka's own clients do.
    pub fn header(&self, name: &str) -> Option<Header<'a>> {
        self.headers().filter(|header| header.name == name).last()
    }

    /// The timestamp in ms since the Unix epoch, where the record has one.
    pub fn timestamp_ms(&self) -> Option<i64> {
        self.row.timestamp_ms()
    }

    /// The name of the record's topic.
    pub fn topic(&self) -> &'a str {
        self.row.topic()
    }

    /// The index of that topic among the transform's inputs, in the order of the spec.
    pub fn input(&self) -> usize {
        self.row.input()
    }

    /// The record's partition.
    pub fn partition(&self) -> u32 {
        self.row.partition()
    }

    /// The record's offset in its partition.
    pub fn offset(&self) -> i64 {
        self.row.offset()
    }

    /// The time at which the host assembled the batch, in ms since the Unix epoch. A transform has no other clock.
    pub fn now_ms(&self) -> i64 {
        self.row.now_ms()
    }

    /// Makes a message with the key, value, headers and timestamp of this record. No byte of them is copied unless you
    /// replace it.
    pub fn forward(&self) -> Message<'a> {
        Message::new().key(self.key()).value(self.raw_value()).headers(self.headers())
    }
}

impl<V: std::fmt::Debug> std::fmt::Debug for Record<'_, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("topic", &self.topic())
            .field("partition", &self.partition())
            .field("offset", &self.offset())
            .field("value", &self.value)
            .finish_non_exhaustive()
    }
}
