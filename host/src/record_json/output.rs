//! Records as the host shows them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::ports::LogRecord;

/// How text is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Keys and values as JSON strings.
    #[default]
    Text,
    /// Those that are a JSON object, array, number or boolean as what they are.
    Json,
}

/// A record that was read.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordOut {
    pub partition: i32,
    pub offset: i64,
    /// In ms since the Unix epoch.
    pub timestamp: i64,
    #[serde(flatten)]
    content: RecordContent,
}

/// Key, value and headers: text, or base64 where they are none.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordContent {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    key: Option<Content>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    value: Option<Content>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<HeaderOut>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct HeaderOut {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    value: Option<Content>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Content {
    Null,
    Text(String),
    Json(Box<RawValue>),
}

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
            HeaderOut { name, value, value_base64 }
        });
        Self { key, key_base64, value, value_base64, headers: headers.collect() }
    }
}

fn shown(bytes: Option<Vec<u8>>, form: Form) -> (Option<Content>, Option<String>) {
    match bytes.map(String::from_utf8) {
        None => (Some(Content::Null), None),
        Some(Err(error)) => (None, Some(STANDARD.encode(error.as_bytes()))),
        Some(Ok(text)) if form == Form::Json => (Some(as_json(text)), None),
        Some(Ok(text)) => (Some(Content::Text(text)), None),
    }
}

/// JSON text as JSON, on one line: outside of strings, which cannot hold line breaks, they mean nothing. A text that is
/// a JSON string or `null` stays text: read back, those would be other bytes.
fn as_json(text: String) -> Content {
    let start = text.trim_ascii_start();
    if start.starts_with('"') || start.starts_with("null") {
        return Content::Text(text);
    }
    match serde_json::from_str::<&RawValue>(&text) {
        Ok(_) => {
            let line = text.replace(['\n', '\r'], " ");
            RawValue::from_string(line).map_or(Content::Text(text), Content::Json)
        }
        Err(_) => Content::Text(text),
    }
}
