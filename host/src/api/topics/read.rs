//! Reads of records from a topic.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::IntoParams;

use crate::api_types::{Form, RecordOut, RecordPage};
use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::model::units::Span;
use crate::ports::Log;

use super::super::openapi::NoPartition;
use super::super::problem::Refusal;
use super::super::request::{Name, Params};
use super::super::shared::{AppState, blocking};
use super::checks::{check_partition, refuse_internal};

/// Most records of one page.
const READ_LIMIT_MAX: usize = 10_000;
/// Bytes of one page's records; a single record may be larger.
const READ_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest wait for a first record: proxies close a connection that is silent for longer.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A page of records that are written already: the answer's size is known while it grows.
type Page = RecordPage<Box<RawValue>>;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ReadParams {
    /// The partition, by default 0.
    #[serde(default)]
    partition: i32,
    /// `earliest` (the default), `latest`, an offset, or -n for the last n.
    #[serde(default)]
    offset: Option<String>,
    /// Records at most: 1 to 10000, by default 100.
    #[serde(default)]
    limit: Option<usize>,
    /// How long to wait for a first record, such as `5s`: up to 30s, by default not at all.
    #[serde(default)]
    wait: Option<String>,
    /// `json`: keys and values that are JSON are shown as such; `text` (the default): as strings.
    #[serde(default)]
    #[param(inline)]
    form: Form,
}

/// Read records.
///
/// One JSON object a line, with `Sandbar-Next-Offset` and `Sandbar-End-Offset` as headers; with
/// `Accept: application/json` one object that holds all three.
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
    if !(1..=READ_LIMIT_MAX).contains(&limit) {
        return Err(Refusal::of_field(Code::Query, "limit", format!("is {limit}, but must be 1 to {READ_LIMIT_MAX}")));
    }
    let wait = wait_of(params.wait.as_deref())?;
    let start = ReadStart::parse(params.offset.as_deref())?;
    let ReadParams { partition, form, .. } = params;
    let json = headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"application/json"));
    // Many reads may wait, and few pages are written at once: a page takes memory and time.
    let permit = shared.poll_permit()?;
    let log = shared.state.log.clone();
    let awaited = topic.clone();
    let next = blocking(move || {
        let _held = permit;
        wait_for_record(&*log, &awaited, partition, start, wait)
    })
    .await?;
    let permit = shared.pages.take().await?;
    let log = shared.state.log.clone();
    blocking(move || {
        let _held = permit;
        let page = read_page(&*log, &topic, partition, next, limit, form)?;
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
    let headers = [
        ("content-type", "application/x-ndjson".to_owned()),
        ("sandbar-next-offset", page.next_offset.to_string()),
        ("sandbar-end-offset", page.end_offset.to_string()),
    ];
    (headers, lines).into_response()
}

/// Waits until there is a record or the time is over; returns the offset to read from.
fn wait_for_record(
    log: &dyn Log,
    topic: &TopicName,
    partition: i32,
    start: ReadStart,
    wait: Duration,
) -> Result<i64, Refusal> {
    check_partition(partition, &log.topic(topic)?)?;
    let (first, end) = log.offsets(topic, partition)?;
    let mut next = start.offset(first, end);
    let deadline = Instant::now() + wait;
    while Instant::now() < deadline {
        let read = log.read(topic, partition, next, deadline.saturating_duration_since(Instant::now()), 1)?;
        if !read.records.is_empty() {
            break;
        }
        next = read.next_offset;
    }
    Ok(next)
}

/// Reads the records that are there, within the limits of a page.
fn read_page(
    log: &dyn Log,
    topic: &TopicName,
    partition: i32,
    next: i64,
    limit: usize,
    form: Form,
) -> Result<Page, Refusal> {
    let mut page = Page { records: Vec::new(), next_offset: next, end_offset: next };
    let mut bytes = 0;
    loop {
        let read = log.read(topic, partition, page.next_offset, Duration::ZERO, READ_BYTES_MAX)?;
        let nothing = read.records.is_empty();
        page.next_offset = read.next_offset;
        page.end_offset = read.end_offset;
        for record in read.records {
            if page.records.len() == limit {
                page.next_offset = record.offset;
                return Ok(page);
            }
            let offset = record.offset;
            let written = serde_json::value::to_raw_value(&RecordOut::of(partition, record, form));
            let written = written.expect("a record is plain data");
            bytes += written.get().len();
            if bytes > READ_BYTES_MAX && !page.records.is_empty() {
                page.next_offset = offset;
                return Ok(page);
            }
            page.records.push(written);
        }
        if nothing || page.records.len() >= limit || bytes >= READ_BYTES_MAX {
            return Ok(page);
        }
    }
}

/// The first offset of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadStart {
    Earliest,
    Latest,
    Offset(i64),
    /// This number of offsets before the end.
    Last(i64),
}

impl ReadStart {
    fn parse(raw: Option<&str>) -> Result<Self, Refusal> {
        let refused = |raw: &str| {
            Refusal::of_field(
                Code::Query,
                "offset",
                format!("{raw:?} is not earliest, latest, an offset, or -n for the last n"),
            )
        };
        match raw {
            None | Some("earliest") => Ok(Self::Earliest),
            Some("latest") => Ok(Self::Latest),
            Some(raw) => match raw.parse::<i64>() {
                Ok(offset) if offset >= 0 => Ok(Self::Offset(offset)),
                Ok(last) => Ok(Self::Last(last.saturating_neg())),
                Err(_) => Err(refused(raw)),
            },
        }
    }

    fn offset(self, first: i64, end: i64) -> i64 {
        match self {
            Self::Earliest => first,
            Self::Latest => end,
            Self::Offset(offset) => offset.max(first),
            Self::Last(last) => end.saturating_sub(last).max(first),
        }
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
