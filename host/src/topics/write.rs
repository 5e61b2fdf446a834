//! Writes of records to a topic.

use std::collections::BTreeMap;

use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::model::units::Timestamp;
use crate::ports::{Log, LogError, LogRecord, TopicInfo, refused_timestamp};
use crate::record_json::{RecordInput, parse};

use super::checks::check_partition;
use super::error::TopicError;

/// Most records of one request: they are in memory together.
const RECORDS_MAX: usize = 10_000;

/// Writes records that are JSON: one object a line (`lines`), or an array. All are read before the first is written; if the
/// log fails in between, the first of them may be written. Returns their number.
pub fn append(log: &dyn Log, topic: &TopicName, json: &[u8], lines: bool) -> Result<usize, TopicError> {
    let info = log.topic(topic)?;
    let incoming = parse(json, lines, RECORDS_MAX, Timestamp::now()).map_err(|refused| {
        if refused.is_beyond {
            TopicError::Refused { code: Code::BodyTooLarge, message: refused.message }
        } else {
            TopicError::of_field(Code::Record, format!("[{}]", refused.index), refused.message)
        }
    })?;
    let records = incoming.len();
    for (partition, records) in by_partition(topic, incoming, &info)? {
        log.append(topic, partition, records).map_err(|error| match error {
            // A record is at fault here, and not the log.
            LogError::Refused(message) => TopicError::Refused { code: Code::RecordRefused, message },
            error => error.into(),
        })?;
    }
    Ok(records)
}

/// Checks the records, and groups them by the partition that they name.
fn by_partition(
    name: &TopicName,
    incoming: Vec<RecordInput>,
    info: &TopicInfo,
) -> Result<BTreeMap<Option<i32>, Vec<LogRecord>>, TopicError> {
    let mut groups: BTreeMap<Option<i32>, Vec<LogRecord>> = BTreeMap::new();
    for (index, RecordInput { record, topic, partition }) in incoming.into_iter().enumerate() {
        if let Some(other) = topic.filter(|topic| topic != name.as_str()) {
            return Err(TopicError::of_field(
                Code::Record,
                format!("[{index}].topic"),
                format!("is {other:?}, the URL says {name}"),
            ));
        }
        if let Some(partition) = partition {
            check_partition(partition, info).map_err(|error| error.of_record(index))?;
        }
        if let Some(reason) = refused_timestamp(record.timestamp) {
            return Err(TopicError::of_field(Code::Record, format!("[{index}].timestamp"), reason));
        }
        let bytes = record.key.as_ref().map_or(0, Vec::len) + record.value.as_ref().map_or(0, Vec::len);
        // A topic may take a larger record than its limit, if the record is compressed: then the topic decides by itself.
        if bytes > info.sent_bytes_max {
            let message = format!("has {bytes} bytes, the topic takes {}", info.sent_bytes_max);
            return Err(TopicError::of_field(Code::Record, format!("[{index}]"), message));
        }
        groups.entry(partition).or_default().push(record);
    }
    Ok(groups)
}
