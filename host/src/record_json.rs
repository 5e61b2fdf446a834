//! Records as JSON: how they are written and read over HTTP, and on the command line. Pure.
//!
//! | in JSON | in the record |
//! |---|---|
//! | `"value": "text"` | the text |
//! | `"value": {..}`, `[..]`, `12.50`, `true` | that JSON text, byte for byte as it was sent |
//! | `"value": null`, or absent | null |
//! | `"value_base64": "AAE="` | those bytes |
//!
//! The same for keys and header values. What is read can be written back as it is.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::api_types::{HeaderOut, JsonOrText, Line};
use crate::model::units::Timestamp;
use crate::ports::LogRecord;

pub use crate::api_types::{Form, RecordContent, RecordOut};

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
    /// Of effect only where no log gives the record one.
    #[serde(default)]
    offset: Option<i64>,
    /// Taken, so that what a transform put out can be sent, and of no effect.
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
pub struct Incoming {
    /// Without an offset of its own, it has its place among those that it came with.
    pub record: LogRecord,
    pub topic: Option<String>,
    pub partition: Option<i32>,
}

/// Why records were refused: which one (from 0), and what is wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    pub index: usize,
    pub message: String,
    /// Tells a record that is one more than are taken.
    pub is_beyond: bool,
}

/// Reads at most `records_max` records: one JSON object a line, or one JSON array of objects.
pub fn parse(bytes: &[u8], lines: bool, records_max: usize, now: Timestamp) -> Result<Vec<Incoming>, Refused> {
    let beyond =
        || Refused { index: records_max, message: format!("there are more than {records_max} records"), is_beyond: true };
    let texts: Vec<&[u8]> = if lines {
        let filled = bytes.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        filled.take(records_max.saturating_add(1)).collect()
    } else if bytes.trim_ascii_start().starts_with(b"[") {
        let refused = |error: serde_json::Error| Refused::of(0, format!("not JSON: {error}"));
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

impl Refused {
    fn of(index: usize, message: String) -> Self {
        Self { index, message, is_beyond: false }
    }
}

/// Reads one record, number `index` of those that come together.
pub fn one(index: usize, bytes: &[u8], now: Timestamp) -> Result<Incoming, Refused> {
    let refused = |message: String| Refused::of(index, message);
    let raw: RecordIn = serde_json::from_slice(bytes).map_err(|error| refused(error.to_string()))?;
    let mut headers = Vec::new();
    for header in raw.headers {
        let value = content("a header's value", header.value, header.value_base64).map_err(refused)?;
        headers.push((header.name, value));
    }
    Ok(Incoming {
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
            let text: String = serde_json::from_str(raw.get()).map_err(|error| format!("{what}: {error}"))?;
            Ok(Some(text.into_bytes()))
        }
        (Some(raw), None) => Ok(Some(raw.get().as_bytes().to_vec())),
    }
}

impl RecordOut {
    pub fn of(partition: i32, record: LogRecord, form: Form) -> Self {
        let (offset, timestamp) = (record.offset, record.timestamp);
        Self { partition, offset, timestamp, content: RecordContent::of(record, form) }
    }
}

impl RecordContent {
    pub fn of(record: LogRecord, form: Form) -> Self {
        let (key, key_base64) = shown(record.key, form);
        let (value, value_base64) = shown(record.value, form);
        let headers = record.headers.into_iter().map(|(name, value)| {
            let (value, value_base64) = shown(value, Form::Text);
            HeaderOut { name: name.into(), value, value_base64 }
        });
        Self { key, key_base64, value, value_base64, headers: headers.collect() }
    }
}

fn shown(bytes: Option<Vec<u8>>, form: Form) -> (Option<JsonOrText>, Option<Line>) {
    match bytes.map(String::from_utf8) {
        None => (Some(JsonOrText::Null), None),
        Some(Err(error)) => (None, Some(STANDARD.encode(error.as_bytes()).into())),
        Some(Ok(text)) if form == Form::Json => (Some(as_json(text)), None),
        Some(Ok(text)) => (Some(JsonOrText::Text(text)), None),
    }
}

/// JSON text as JSON, on one line: outside of strings, which cannot hold line breaks, they mean nothing. A text that is
/// a JSON string or `null` stays text: read back, those would be other bytes.
fn as_json(text: String) -> JsonOrText {
    let start = text.trim_ascii_start();
    if start.starts_with('"') || start.starts_with("null") {
        return JsonOrText::Text(text);
    }
    match serde_json::from_str::<&RawValue>(&text) {
        Ok(_) => {
            let line = text.replace(['\n', '\r'], " ");
            RawValue::from_string(line).map_or(JsonOrText::Text(text), JsonOrText::Json)
        }
        Err(_) => JsonOrText::Text(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_one(line: &str) -> Result<Incoming, Refused> {
        Ok(parse(line.as_bytes(), true, 10, Timestamp(7))?.remove(0))
    }

    #[test]
    fn each_form_becomes_its_bytes() {
        for (json, value) in [
            (r#"{"value": "a\nb"}"#, Some(&b"a\nb"[..])),
            (r#"{"value": {"total": 10.10,  "n": 1}}"#, Some(br#"{"total": 10.10,  "n": 1}"#)),
            (r#"{"value": 12.50}"#, Some(b"12.50")),
            (r#"{"value": null}"#, None),
            (r#"{}"#, None),
            (r#"{"value": ""}"#, Some(b"")),
            (r#"{"value_base64": "AAH/"}"#, Some(&[0, 1, 255])),
        ] {
            let incoming = parse_one(json).expect(json);
            assert_eq!(incoming.record.value.as_deref(), value, "{json}");
            assert_eq!(incoming.record.timestamp, 7);
        }
    }

    #[test]
    fn bad_records_are_named() {
        for (text, lines, index) in [
            ("{}\n\n{\"valu\": 1}", true, 1),
            ("{\"value\": 1, \"value_base64\": \"AA==\"}", true, 0),
            ("{\"value_base64\": \"?\"}", true, 0),
            ("[{}, {}, 3]", false, 2),
            ("[{}", false, 0),
            ("hello", false, 0),
            ("{\"headers\": [{\"value\": \"x\"}]}", true, 0),
        ] {
            let refused = parse(text.as_bytes(), lines, 10, Timestamp(0)).expect_err(text);
            assert_eq!((refused.index, refused.is_beyond), (index, false), "{text}: {refused:?}");
        }
    }

    #[test]
    fn more_records_than_are_taken_are_refused_before_they_are_read() {
        for (text, lines, count) in [
            ("[{}, {}, {}]", false, 3),
            ("{}\n{}\n\n{}\n", true, 3),
            ("[]", false, 0),
            ("[{}, {}, {}, {\"bad\": 1}]", false, 4),
            (&format!("[{}{{}}]", "{},".repeat(100_000)), false, 100_001),
            (&"{}\n".repeat(100_000), true, 100_000),
        ] {
            let read = parse(text.as_bytes(), lines, 3, Timestamp(0)).map(|read| read.len());
            match count {
                0..=3 => assert_eq!(read, Ok(count)),
                _ => assert!(read.as_ref().is_err_and(|refused| refused.is_beyond && refused.index == 3), "{read:?}"),
            }
        }
    }

    #[test]
    fn what_is_read_can_be_written_back() {
        let record = LogRecord {
            offset: 3,
            timestamp: 9,
            key: Some(vec![0xff, 0]),
            value: Some("{\"a\":\n1.0}".into()),
            headers: vec![("h".into(), None), ("h".into(), Some(b"x".to_vec())), ("b".into(), Some(vec![0x80]))],
        };
        for value in ["{\"a\": 1.0}", "[]", "12.50", "true", "\"quoted\"", "null", "plain", ""] {
            let record = LogRecord { value: Some(value.into()), ..record.clone() };
            let line = serde_json::to_string(&RecordOut::of(2, record.clone(), Form::Json)).expect("plain data");
            assert_eq!(parse_one(&line).expect(&line).record, record, "{line}");
        }
        for form in [Form::Text, Form::Json] {
            let line = serde_json::to_string(&RecordOut::of(2, record.clone(), form)).expect("plain data");
            assert!(!line.contains('\n'), "{line}");
            let back = parse_one(&line).expect(&line);
            assert_eq!((back.partition, &back.record.key, &back.record.headers), (Some(2), &record.key, &record.headers));
            if form == Form::Text {
                assert_eq!(back.record.value, record.value);
            }
        }
        let tombstone = LogRecord { value: None, ..record };
        let line = serde_json::to_string(&RecordOut::of(0, tombstone, Form::Text)).expect("plain data");
        assert!(line.contains(r#""value":null"#), "{line}");
    }
}
