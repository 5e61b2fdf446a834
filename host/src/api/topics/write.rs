//! Writes of records to a topic.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;

use crate::api_types::WriteResult;
use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::model::units::Timestamp;
use crate::ports::{LogError, LogRecord, TopicInfo};
use crate::record_json::{RecordInput, parse};

use super::super::body::{Media, RequestBody};
use super::super::openapi::NoPartition;
use super::super::problem::Refusal;
use super::super::request::Name;
use super::super::shared::{AppState, blocking};
use super::checks::{check_partition, refuse_internal};

/// Most records of one request: they are in memory together.
const RECORDS_MAX: usize = 10_000;

/// Write records.
///
/// One JSON object a line, or an array of them, with `key`, `value`, `headers`, `timestamp` and `partition`.
/// All records are read before the first is written; if the log fails in between, the first of them may be written.
#[utoipa::path(post, path = "/v1/topics/{topic}/records", tag = "topics", params(("topic" = String, Path)),
    request_body(content((String = "application/x-ndjson"), (Vec<Object> = "application/json"))),
    responses((status = 200, description = "Written and durable", body = WriteResult),
        (status = 400, description = "A record is refused (E027); no record was written"),
        NoPartition))]
pub async fn write(
    State(shared): AppState,
    Name(topic): Name<TopicName>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<WriteResult>, Refusal> {
    refuse_internal(&topic)?;
    let lines = match Media::of(&headers) {
        Media::Ndjson => true,
        Media::Json => false,
        other => return Err(other.refuse("application/x-ndjson or application/json")),
    };
    let RequestBody { bytes, share } = shared.receive(body, shared.state.limits.records_bytes_max).await?;
    let permit = shared.changes.take().await?;
    let log = shared.state.log.clone();
    blocking(move || {
        let _held = (permit, share);
        let info = log.topic(&topic)?;
        let incoming = parse(&bytes, lines, RECORDS_MAX, Timestamp::now()).map_err(|refused| {
            if refused.is_beyond {
                Refusal::new(Code::BodyTooLarge, refused.message)
            } else {
                Refusal::of_field(Code::Record, format!("[{}]", refused.index), refused.message)
            }
        })?;
        let records = incoming.len();
        for (partition, records) in by_partition(&topic, incoming, &info)? {
            log.append(&topic, partition, records).map_err(|error| match error {
                // A record is at fault here, and not the log.
                LogError::Refused(message) => Refusal::new(Code::RecordRefused, message),
                error => error.into(),
            })?;
        }
        Ok(Json(WriteResult { records }))
    })
    .await
}

/// Checks the records, and groups them by the partition that they name.
fn by_partition(
    name: &TopicName,
    incoming: Vec<RecordInput>,
    info: &TopicInfo,
) -> Result<BTreeMap<Option<i32>, Vec<LogRecord>>, Refusal> {
    let mut groups: BTreeMap<Option<i32>, Vec<LogRecord>> = BTreeMap::new();
    for (index, RecordInput { record, topic, partition }) in incoming.into_iter().enumerate() {
        if let Some(other) = topic.filter(|topic| topic != name.as_str()) {
            return Err(Refusal::of_field(
                Code::Record,
                format!("[{index}].topic"),
                format!("is {other:?}, the URL says {name}"),
            ));
        }
        if let Some(partition) = partition {
            check_partition(partition, info)?;
        }
        let bytes = record.key.as_ref().map_or(0, Vec::len) + record.value.as_ref().map_or(0, Vec::len);
        // A topic may take a larger record than its limit, if the record is compressed: then the topic decides by itself.
        if bytes > info.sent_bytes_max {
            let message = format!("has {bytes} bytes, the topic takes {}", info.sent_bytes_max);
            return Err(Refusal::of_field(Code::Record, format!("[{index}]"), message));
        }
        groups.entry(partition).or_default().push(record);
    }
    Ok(groups)
}
