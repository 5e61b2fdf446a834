//! Writes of records to a topic.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;

use crate::api_types::WriteResult;
use crate::model::names::TopicName;
use crate::topics::{append, refuse_internal};

use super::super::access::Caller;
use super::super::body::{Media, RequestBody};
use super::super::openapi::NoPartition;
use super::super::problem::Refusal;
use super::super::request::Name;
use super::super::shared::{AppState, blocking};

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
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<WriteResult>, Refusal> {
    refuse_internal(&topic)?;
    let lines = match Media::of(&headers) {
        Media::Ndjson => true,
        Media::Json => false,
        other => return Err(other.refuse("application/x-ndjson or application/json")),
    };
    let RequestBody { bytes, share } =
        shared.receive(&caller.principal, body, shared.state.limits.records_bytes_max).await?;
    let permit = shared.changes.take(None).await?;
    let log = shared.state.log.clone();
    blocking(move || {
        let _held = (permit, share);
        let records = append(&*log, &topic, &bytes, lines)?;
        Ok(Json(WriteResult { records }))
    })
    .await
}
