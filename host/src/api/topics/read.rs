//! Reads of records from a topic.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api_types::{Form, PartitionPosition, RecordOut, RecordPage};
use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::model::units::Span;
use crate::topics::read::{LIMIT_MAX, Page, ReadStart, read_page, start_positions, wait_for_record};
use crate::topics::refuse_internal;

use super::super::openapi::NoPartition;
use super::super::problem::Refusal;
use super::super::request::{Name, Params};
use super::super::shared::{AppState, blocking};

/// Longest wait for a first record: proxies close a connection that is silent for longer.
const WAIT_MAX: Duration = Duration::from_secs(30);

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ReadParams {
    /// The partition, by default all of them.
    #[serde(default)]
    partition: Option<i32>,
    /// `earliest` (the default), `latest`, an offset, or -n for the last n: in each partition that is read.
    #[serde(default)]
    offset: Option<String>,
    /// The offsets at which a read of all partitions goes on: `0:17,1:20`. A partition that is not named begins at its first
    /// record.
    #[serde(default)]
    offsets: Option<String>,
    /// The number of records: 1 to 10000, by default 100. A page begins with any of the partitions.
    #[serde(default)]
    limit: Option<usize>,
    /// The time to wait for a first record, such as `5s`: up to 30s, by default no time.
    #[serde(default)]
    wait: Option<String>,
    /// `json`: keys and values that are JSON are shown as such; `text` (the default): as strings.
    #[serde(default)]
    #[param(inline)]
    form: Form,
}

/// Read records.
///
/// One JSON object a line, with `Sandbar-Next-Offset` and `Sandbar-End-Offset` as headers, or with `Sandbar-Next-Offsets` if
/// several partitions are read; with `Accept: application/json` one object that holds all. Records are in order within their
/// partition.
#[utoipa::path(get, path = "/v1/topics/{topic}/records", tag = "topics", params(("topic" = String, Path), ReadParams),
    responses((status = 200, description = "Committed records in order", content((RecordOut = "application/x-ndjson"), (RecordPage = "application/json"))),
        NoPartition))]
pub async fn read(
    State(shared): AppState,
    Name(topic): Name<TopicName>,
    Params(params): Params<ReadParams>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    refuse_internal(&topic)?;
    let limit = params.limit.unwrap_or(100);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Refusal::of_field(Code::Query, "limit", format!("is {limit}, but must be 1 to {LIMIT_MAX}")));
    }
    let wait = wait_of(params.wait.as_deref())?;
    let start = ReadStart::parse(params.offset.as_deref(), params.offsets.as_deref())?;
    let ReadParams { partition, form, .. } = params;
    let json = headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"application/json"));
    // Many reads may wait, and few pages are written at once: a page takes memory and time.
    let permit = shared.poll_permit()?;
    let log = shared.state.log.clone();
    let awaited = topic.clone();
    let positions = blocking(move || {
        let _held = permit;
        let positions = start_positions(&*log, &awaited, partition, &start)?;
        Ok(wait_for_record(&*log, &awaited, positions, wait)?)
    })
    .await?;
    let permit = shared.pages.take(None).await?;
    let log = shared.state.log.clone();
    blocking(move || {
        let _held = permit;
        let page = read_page(&*log, &topic, positions, limit, form)?;
        Ok(if json { Json(page).into_response() } else { ndjson(&page) })
    })
    .await
}

fn ndjson(page: &Page) -> Response {
    let mut lines = Vec::new();
    for record in &page.records {
        lines.extend_from_slice(record.get().as_bytes());
        lines.push(b'\n');
    }
    let content_type = [(header::CONTENT_TYPE, "application/x-ndjson")];
    let next_offsets = [("sandbar-next-offsets", ReadStart::next(&page.partitions).to_string())];
    match page.partitions[..] {
        [PartitionPosition { next_offset, end_offset, .. }] => {
            let one = [("sandbar-next-offset", next_offset.to_string()), ("sandbar-end-offset", end_offset.to_string())];
            (content_type, next_offsets, one, lines).into_response()
        }
        _ => (content_type, next_offsets, lines).into_response(),
    }
}

fn wait_of(raw: Option<&str>) -> Result<Duration, Refusal> {
    let Some(raw) = raw else {
        return Ok(Duration::ZERO);
    };
    let Span(wait) = raw.parse().map_err(|message: String| Refusal::of_field(Code::Query, "wait", message))?;
    if wait > WAIT_MAX {
        return Err(Refusal::of_field(Code::Query, "wait", format!("must be at most {} s", WAIT_MAX.as_secs())));
    }
    Ok(wait)
}
