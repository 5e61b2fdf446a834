//! Records as JSON. `record_json` says how their bytes become text.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Line;
use crate::model::json;
use crate::model::text::OneLine;

/// The form in which text is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Keys and values as JSON strings.
    #[default]
    Text,
    /// Keys and values that are a JSON object, array, number or boolean, as such.
    Json,
}

/// A record of a topic.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(from = "FlatRecord")]
pub struct RecordOut {
    pub partition: i32,
    pub offset: i64,
    /// In ms since the Unix epoch.
    pub timestamp: i64,
    #[serde(flatten)]
    pub content: RecordContent,
}

/// Key, value and headers: as text, or in base64 if they are not text.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordContent {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub key: Option<JsonOrText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub key_base64: Option<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub value: Option<JsonOrText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub value_base64: Option<Line>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderOut>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct HeaderOut {
    #[schema(value_type = String)]
    pub name: Line,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub value: Option<JsonOrText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub value_base64: Option<Line>,
}

/// A key or value: text, or JSON, byte for byte.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum JsonOrText {
    Null,
    Text(String),
    Json(Box<RawValue>),
}

/// A record with all that may stand beside its content in one JSON object. A client reads records through this type: JSON
/// within a field that is flattened would lose its exact form, such as `1.0` or the digits of a long number.
#[derive(Deserialize)]
pub(super) struct FlatRecord {
    #[serde(default)]
    pub input: usize,
    #[serde(default)]
    pub target: Line,
    #[serde(default)]
    pub topic: Line,
    #[serde(default)]
    pub partition: i32,
    #[serde(default)]
    pub offset: i64,
    #[serde(default)]
    pub timestamp: i64,
    #[serde(default)]
    pub cut: bool,
    #[serde(default)]
    key: Option<JsonOrText>,
    #[serde(default)]
    key_base64: Option<Line>,
    #[serde(default)]
    value: Option<JsonOrText>,
    #[serde(default)]
    value_base64: Option<Line>,
    #[serde(default)]
    headers: Vec<HeaderOut>,
}

// === impl FlatRecord ===

impl FlatRecord {
    pub fn into_content(self) -> RecordContent {
        let Self { key, key_base64, value, value_base64, headers, .. } = self;
        RecordContent { key, key_base64, value, value_base64, headers }
    }
}

impl From<FlatRecord> for RecordOut {
    fn from(flat: FlatRecord) -> Self {
        Self { partition: flat.partition, offset: flat.offset, timestamp: flat.timestamp, content: flat.into_content() }
    }
}

// === impl JsonOrText ===

impl<'de> Deserialize<'de> for JsonOrText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(match json::read(raw.get().as_bytes()) {
            Ok(Some(text)) => Self::Text(text),
            Ok(None) => Self::Null,
            Err(_) => Self::Json(raw),
        })
    }
}

/// Shows the text, or the JSON, on one line.
impl fmt::Display for JsonOrText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Text(text) => write!(f, "{}", OneLine(text)),
            Self::Json(json) => write!(f, "{}", OneLine(json.get())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        for json in [
            r#"{"partition":1,"offset":2,"timestamp":3,"key":"k","value":{"n":1.0,"m":10.10}}"#,
            r#"{"partition":1,"offset":2,"timestamp":3,"key_base64":"/w==","value":12345678901234567890123,"headers":[{"name":"h","value":"x"}]}"#,
            r#"{"partition":1,"offset":2,"timestamp":3,"value":"null"}"#,
        ] {
            let record: RecordOut = serde_json::from_str(json).expect(json);
            assert_eq!(serde_json::to_string(&record).expect("plain data"), json);
        }
    }
}
