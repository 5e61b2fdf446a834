//! The message that a transform sends.

use crate::Result;
use crate::rows::{Header, Headers};
use serde::Serialize;
use std::borrow::Cow;

/// A record to be written to an output topic: by default with a null key, a null value, no headers, the timestamp of
/// the record that it comes from, and for the first output of the spec.
///
/// Bytes are borrowed or owned. Those that are slices of the input are not copied.
#[derive(Clone, Debug, Default)]
pub struct Message<'a> {
    pub(crate) key: Bytes<'a>,
    pub(crate) value: Bytes<'a>,
    pub(crate) copied_headers: Headers<'a>,
    pub(crate) own_headers: Vec<(Cow<'a, str>, Bytes<'a>)>,
    pub(crate) timestamp_ms: Option<i64>,
    pub(crate) output: Option<Cow<'a, str>>,
}

/// Borrowed or owned; `None` is null.
type Bytes<'a> = Option<Cow<'a, [u8]>>;

// === impl Message ===

impl<'a> Message<'a> {
    /// A message of a null key and a null value.
    pub fn new() -> Self {
        Message::default()
    }

    /// A message of this value in JSON, and a null key. A float that is NaN or infinite is null in JSON.
    ///
    /// [`Output::send_json`](crate::Output::send_json) is faster: it writes the JSON where the host reads it.
    ///
    /// # Errors
    /// Fails if `T` refuses to be serialised.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        Message::new().with_json(value)
    }

    /// Replaces the value by this one in JSON. A float that is NaN or infinite is null in JSON.
    ///
    /// # Errors
    /// Fails if `T` refuses to be serialised.
    pub fn with_json<T: Serialize + ?Sized>(self, value: &T) -> Result<Self> {
        Ok(self.value(serde_json::to_vec(value)?))
    }

    /// Sets the key; `None` is null.
    pub fn key(mut self, key: impl IntoBytes<'a>) -> Self {
        self.key = key.into_bytes();
        self
    }

    /// Sets the value; `None` is null.
    pub fn value(mut self, value: impl IntoBytes<'a>) -> Self {
        self.value = value.into_bytes();
        self
    }

    /// Makes the value null: in a compacted topic that deletes the key.
    pub fn tombstone(self) -> Self {
        self.value(None::<&[u8]>)
    }

    /// Adds a header, after those that are there; a value of `None` is null.
    pub fn header(mut self, name: impl Into<Cow<'a, str>>, value: impl IntoBytes<'a>) -> Self {
        self.own_headers.push((name.into(), value.into_bytes()));
        self
    }

    /// Replaces all headers by those of a record; `Headers::default()` leaves none.
    pub fn headers(mut self, headers: Headers<'a>) -> Self {
        self.own_headers.clear();
        self.copied_headers = headers;
        self
    }

    /// Sets the timestamp, in ms since the Unix epoch.
    pub fn timestamp(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }

    /// Sends it to the output of this alias instead of the first one. An alias that the spec does not have fails the
    /// record when the message is sent.
    pub fn to(mut self, output: impl Into<Cow<'a, str>>) -> Self {
        self.output = Some(output.into());
        self
    }

    pub(crate) fn all_headers(&self) -> impl Iterator<Item = Header<'_>> {
        let own = self.own_headers.iter().map(|(name, value)| Header { name, value: value.as_deref() });
        self.copied_headers.clone().chain(own)
    }
}

/// Compares the bytes, whether borrowed or owned.
impl PartialEq for Message<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
            && self.value == other.value
            && self.all_headers().eq(other.all_headers())
            && self.timestamp_ms == other.timestamp_ms
            && self.output == other.output
    }
}

/// A source of a key, a value or a header's value: bytes, text, or an `Option` of these, where `None` is null.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither bytes nor text",
    note = "use `&[u8]`, `Vec<u8>`, `&str`, `String`, a `Cow` or an `Option` of these; for JSON `Message::json(&value)`"
)]
pub trait IntoBytes<'a> {
    /// The bytes, or `None` for null.
    fn into_bytes(self) -> Option<Cow<'a, [u8]>>;
}

impl<'a> IntoBytes<'a> for &'a [u8] {
    fn into_bytes(self) -> Option<Cow<'a, [u8]>> {
        Some(Cow::Borrowed(self))
    }
}

impl<'a, const N: usize> IntoBytes<'a> for &'a [u8; N] {
    fn into_bytes(self) -> Option<Cow<'a, [u8]>> {
        Some(Cow::Borrowed(self))
    }
}

impl<'a> IntoBytes<'a> for &'a str {
    fn into_bytes(self) -> Option<Cow<'a, [u8]>> {
        Some(Cow::Borrowed(self.as_bytes()))
    }
}

impl<'a> IntoBytes<'a> for Vec<u8> {
    fn into_bytes(self) -> Option<Cow<'a, [u8]>> {
        Some(Cow::Owned(self))
    }
}

impl<'a> IntoBytes<'a> for String {
    fn into_bytes(self) -> Option<Cow<'a, [u8]>> {
        Some(Cow::Owned(String::into_bytes(self)))
    }
}

impl<'a> IntoBytes<'a> for Cow<'a, [u8]> {
    fn into_bytes(self) -> Option<Cow<'a, [u8]>> {
        Some(self)
    }
}

impl<'a> IntoBytes<'a> for Cow<'a, str> {
    fn into_bytes(self) -> Option<Cow<'a, [u8]>> {
        match self {
            Cow::Borrowed(text) => text.into_bytes(),
            Cow::Owned(text) => IntoBytes::into_bytes(text),
        }
    }
}

impl<'a, T: IntoBytes<'a>> IntoBytes<'a> for Option<T> {
    fn into_bytes(self) -> Option<Cow<'a, [u8]>> {
        self.and_then(T::into_bytes)
    }
}
