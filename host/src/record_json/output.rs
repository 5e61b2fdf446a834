//! Records as the host shows them.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use crate::api_types::{Form, HeaderOut, JsonOrText, Line, RecordContent, RecordOut};
use crate::model::{json, text};
use crate::ports::LogRecord;

impl RecordOut {
    pub fn of(partition: i32, record: LogRecord, form: Form) -> Self {
        Self { partition, offset: record.offset, timestamp: record.timestamp, content: RecordContent::of(record, form) }
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

/// JSON text as JSON, if it comes back byte for byte. A JSON string or `null` would be read as other bytes; spaces around it
/// would be lost, and line breaks and other control characters are changed wherever a line of JSON is shown.
fn as_json(text: String) -> JsonOrText {
    let is_bare = text.trim_ascii().len() == text.len() && !text.starts_with('"') && !text.starts_with("null");
    if !is_bare || matches!(text::json(&text), Cow::Owned(_)) {
        return JsonOrText::Text(text);
    }
    match json::read::<&RawValue>(text.as_bytes()) {
        Ok(raw) => JsonOrText::Json(raw.to_owned()),
        Err(_) => JsonOrText::Text(text),
    }
}
