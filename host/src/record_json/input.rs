//! Records as they are sent to the host.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::model::json;
use crate::model::units::Timestamp;
use crate::ports::LogRecord;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordIn<'a> {
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(default)]
    key_base64: Option<String>,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
    #[serde(default)]
    value_base64: Option<String>,
    #[serde(borrow, default)]
    headers: Vec<HeaderIn<'a>>,
    #[serde(default)]
    timestamp: Option<i64>,
    #[serde(default)]
    partition: Option<i32>,
    #[serde(default)]
    topic: Option<String>,
    /// Used only if no log gives the record an offset.
    #[serde(default)]
    offset: Option<i64>,
    /// Ignored. It is accepted so that a transform's output can be sent as it is.
    #[serde(default, rename = "target")]
    _target: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderIn<'a> {
    name: String,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
    #[serde(default)]
    value_base64: Option<String>,
}

/// A record, and the topic and partition that were asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct RecordInput {
    /// Without an offset of its own, it has its place among those that it came with.
    pub record: LogRecord,
    pub topic: Option<String>,
    pub partition: Option<i32>,
}

/// The refusal of a record: its index (from 0), and the reason.
#[derive(Debug, PartialEq, Eq)]
pub struct RecordError {
    pub index: usize,
    pub message: String,
    /// Tells a record that is one more than are taken.
    pub is_beyond: bool,
}

/// Reads at most `records_max` records: one JSON object a line, or one JSON array of objects.
pub fn parse(bytes: &[u8], lines: bool, records_max: usize, now: Timestamp) -> Result<Vec<RecordInput>, RecordError> {
    let beyond = || RecordError {
        index: records_max,
        message: format!("there are more than {records_max} records"),
        is_beyond: true,
    };
    let texts: Vec<&[u8]> = if lines {
        let filled = bytes.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        filled.take(records_max.saturating_add(1)).collect()
    } else if bytes.trim_ascii_start().starts_with(b"[") {
        let refused = |error: serde_json::Error| RecordError::of(0, format!("not JSON: {error}"));
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let found = Elements { max: records_max.saturating_add(1) }.deserialize(&mut json).map_err(refused)?;
        if found.len() <= records_max {
            json.end().map_err(refused)?;
        }
        found.into_iter().map(|raw| raw.get().as_bytes()).collect()
    } else {
        vec![bytes]
    };
    if texts.len() > records_max {
        return Err(beyond());
    }
    texts.into_iter().enumerate().map(|(index, text)| one(index, text, now)).collect()
}

/// The first elements of an array, as they are written; the others are looked at and left out.
struct Elements {
    max: usize,
}

impl<'de> DeserializeSeed<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while found.len() < self.max
            && let Some(element) = elements.next_element()?
        {
            found.push(element);
        }
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}

impl RecordError {
    fn of(index: usize, message: String) -> Self {
        Self { index, message, is_beyond: false }
    }
}

/// Reads one record, number `index` of those that come together.
pub fn one(index: usize, bytes: &[u8], now: Timestamp) -> Result<RecordInput, RecordError> {
    let refused = |message: String| RecordError::of(index, message);
    let raw: RecordIn = json::read(bytes).map_err(|error| refused(error.to_string()))?;
    let mut headers = Vec::new();
    for header in raw.headers {
        let value = content("a header's value", header.value, header.value_base64).map_err(refused)?;
        headers.push((header.name, value));
    }
    Ok(RecordInput {
        record: LogRecord {
            offset: raw.offset.unwrap_or(index as i64),
            timestamp: raw.timestamp.unwrap_or(now.0),
            key: content("key", raw.key, raw.key_base64).map_err(refused)?,
            value: content("value", raw.value, raw.value_base64).map_err(refused)?,
            headers,
        },
        topic: raw.topic,
        partition: raw.partition,
    })
}

fn content(what: &str, raw: Option<&RawValue>, base64: Option<String>) -> Result<Option<Vec<u8>>, String> {
    match (raw, base64) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(format!("{what} is given twice: as it is and in base64")),
        (None, Some(base64)) => STANDARD.decode(base64).map(Some).map_err(|error| format!("{what} is not base64: {error}")),
        (Some(raw), None) if raw.get().starts_with('"') => {
            let text: String = json::read(raw.get().as_bytes()).map_err(|error| format!("{what}: {error}"))?;
            Ok(Some(text.into_bytes()))
        }
        (Some(raw), None) => Ok(Some(raw.get().as_bytes().to_vec())),
    }
}
