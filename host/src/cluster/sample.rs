//! A sample as the samples topic holds it and the API shows it: an input record with its outputs, or its failure.

use serde::{Deserialize, Serialize};

use crate::model::codes::Code;
use crate::model::json;
use crate::model::sample::{Content, Sample};
use crate::model::units::Timestamp;
use crate::ports::LogRecord;
use crate::record_json::{Form, RecordContent};

/// A sample as its topic holds it.
#[derive(Debug, Serialize)]
pub struct SampleValue {
    /// In ms since the Unix epoch, by the host's clock.
    at: Timestamp,
    host: String,
    revision: u64,
    /// The input's topic.
    topic: String,
    partition: i32,
    offset: i64,
    input: ContentValue,
    outputs: Vec<OutputValue>,
    /// Outputs that are not shown.
    #[serde(skip_serializing_if = "is_zero")]
    outputs_more: usize,
    /// The reason why nothing came of it: it was dead-lettered or skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<FailureValue>,
}

#[derive(Debug, Serialize)]
struct ContentValue {
    timestamp: i64,
    #[serde(flatten)]
    content: RecordContent,
    /// Keys, values and headers are shown up to 4 KiB each.
    #[serde(skip_serializing_if = "is_false")]
    cut: bool,
}

#[derive(Debug, Serialize)]
struct OutputValue {
    topic: String,
    #[serde(flatten)]
    record: ContentValue,
}

#[derive(Debug, Serialize)]
struct FailureValue {
    code: Code,
    message: String,
}

/// The fields of every sample. A record without them is no sample.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "at")]
    _at: Timestamp,
    #[serde(rename = "host")]
    _host: String,
    #[serde(rename = "offset")]
    _offset: i64,
}

impl SampleValue {
    pub fn of(sample: Sample, host: &str) -> Self {
        let outputs = sample.outputs.into_iter();
        Self {
            at: sample.at,
            host: host.to_owned(),
            revision: sample.revision,
            topic: sample.topic.to_string(),
            partition: sample.partition,
            offset: sample.offset,
            input: ContentValue::of(sample.input),
            outputs: outputs
                .map(|output| OutputValue { topic: output.topic.to_string(), record: ContentValue::of(output.content) })
                .collect(),
            outputs_more: sample.outputs_more,
            failed: sample.failed.map(|(code, message)| FailureValue { code, message }),
        }
    }

    /// Returns true if a record's value is a sample, on one line.
    pub fn is_in(value: &str) -> bool {
        json::read::<Head>(value.as_bytes()).is_ok() && !value.contains(['\n', '\r'])
    }
}

impl ContentValue {
    fn of(content: Content) -> Self {
        let Content { timestamp, key, value, headers, cut } = content;
        // A value that was cut is no JSON any more, or looks like other JSON.
        let form = if cut { Form::Text } else { Form::Json };
        let record = LogRecord { offset: 0, timestamp, key, value, headers };
        Self { timestamp, content: RecordContent::of(record, form), cut }
    }
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sample::SampledOutput;
    use serde_json::json;

    #[test]
    fn a_sample_shows_both_sides_in_one_line() {
        let input = Content::of(5, Some(b"k"), Some(b"{\"total\":\n 10.10}"), &[("h", Some(&[0xff]))]);
        let long = Content::of(6, None, Some(&vec![b'1'; 5000]), &[]);
        let topic = |name: &str| name.parse().expect("valid");
        let sample = Sample {
            at: Timestamp(9),
            revision: 3,
            topic: topic("in"),
            partition: 2,
            offset: 7,
            input,
            outputs: vec![SampledOutput { topic: topic("out"), content: long }],
            outputs_more: 0,
            failed: None,
        };
        let text = serde_json::to_string(&SampleValue::of(sample, "a")).expect("plain data");
        assert!(SampleValue::is_in(&text) && text.contains("10.10"), "{text}");
        let shown: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(shown["input"]["headers"], json!([{"name": "h", "value_base64": "/w=="}]));
        assert_eq!((&shown["outputs"][0]["cut"], &shown["outputs"][0]["topic"]), (&json!(true), &json!("out")));
        assert!(shown["outputs"][0]["value"].is_string() && shown.get("failed").is_none(), "{text}");
        for foreign in ["", "{}", "hello", "{\"at\":1,\"host\":\"a\"}"] {
            assert!(!SampleValue::is_in(foreign), "{foreign}");
        }
    }
}
