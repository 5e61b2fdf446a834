//! Topics over HTTP, for the embedded log only: Kafka's clients cannot connect to it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::model::units::{Span, Timestamp};
use crate::ports::{Log, LogError, LogRecord, NewTopic, TopicInfo};
use crate::record_json::{Form, RecordInput, RecordOut, parse};

use super::body::{self, Media, Received};
use super::problem::{ProblemDetails, Refusal};
use super::request::{Name, Params};
use super::{AppState, blocking};

const PARTITIONS_MAX: i32 = 1024;
const RECORDS_MAX: usize = 10_000;
/// Largest body of a topic's settings.
const SETTINGS_BYTES_MAX: usize = 4096;
const READ_LIMIT_MAX: usize = 10_000;
/// Bytes of one answer's records; a single one may be larger.
const READ_BYTES_MAX: usize = 8 * 1024 * 1024;
const WAIT_MAX: Duration = Duration::from_secs(30);

#[derive(Serialize, ToSchema)]
pub struct TopicList {
    topics: Vec<TopicView>,
}

#[derive(Serialize, ToSchema)]
pub struct TopicView {
    name: String,
    partitions: i32,
    /// Largest record.
    record_bytes_max: usize,
    /// First and end offset of each partition. Only in answers about one topic.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    offsets: Vec<Offsets>,
}

#[derive(Serialize, ToSchema)]
pub struct Offsets {
    partition: i32,
    first: i64,
    end: i64,
}

/// List the topics.
#[utoipa::path(get, path = "/v1/topics", tag = "topics",
    responses((status = 200, description = "All but Sandbar's own", body = TopicList)))]
pub async fn list(State(shared): AppState) -> Result<Json<TopicList>, Refusal> {
    let log = shared.state.log.clone();
    blocking(move || {
        let mut topics = log.topics()?;
        topics.retain(|(name, _)| !name.is_internal());
        topics.sort_by(|a, b| a.0.cmp(&b.0));
        let topics = topics.iter().map(|(name, info)| offsets_view(&*log, name, info)).collect::<Result<_, _>>()?;
        Ok(Json(TopicList { topics }))
    })
    .await
}

fn offsets_view(log: &dyn Log, name: &TopicName, info: &TopicInfo) -> Result<TopicView, Refusal> {
    let mut offsets = Vec::new();
    for partition in 0..info.partitions {
        let (first, end) = log.offsets(name, partition)?;
        offsets.push(Offsets { partition, first, end });
    }
    let record_bytes_max = info.record_bytes_max;
    Ok(TopicView { name: name.to_string(), partitions: info.partitions, record_bytes_max, offsets })
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicSettings {
    /// 1 to 1024.
    #[serde(default = "one")]
    #[schema(default = 1)]
    partitions: i32,
    /// Keep the last value of each key, instead of deleting by age.
    #[serde(default)]
    compacted: bool,
}

fn one() -> i32 {
    1
}

/// Create a topic.
#[utoipa::path(put, path = "/v1/topics/{topic}", tag = "topics", params(("topic" = String, Path)),
    request_body = TopicSettings,
    responses((status = 201, description = "Created", body = TopicView),
        (status = 200, description = "It was there, with as many partitions", body = TopicView),
        (status = 409, description = "It is there with other settings (E029)", body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn create(
    State(shared): AppState,
    Name(topic): Name<TopicName>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    refuse_internal(&topic)?;
    let bytes = shared.receive(body, SETTINGS_BYTES_MAX).await?.bytes;
    let settings = settings_of(&headers, &bytes)?;
    let log = shared.state.log.clone();
    blocking(move || {
        let before = match log.topic(&topic) {
            Ok(info) => Some(info),
            Err(LogError::NoTopic(_)) => None,
            Err(error) => return Err(error.into()),
        };
        if let Some(found) = before.as_ref().filter(|found| found.partitions != settings.partitions) {
            let message = format!("{topic} has {} partitions, not {}", found.partitions, settings.partitions);
            return Err(Refusal::of_field(Code::TopicDiffers, "partitions", message));
        }
        if before.is_none() {
            let TopicSettings { partitions, compacted } = settings;
            log.create_topic(&NewTopic { name: topic.clone(), partitions, compacted, retention: None })?;
        }
        let status = if before.is_none() { StatusCode::CREATED } else { StatusCode::OK };
        let view = offsets_view(&*log, &topic, &log.topic(&topic)?)?;
        Ok((status, Json(view)).into_response())
    })
    .await
}

fn settings_of(headers: &HeaderMap, bytes: &[u8]) -> Result<TopicSettings, Refusal> {
    let settings = match Media::of(headers) {
        _ if bytes.is_empty() => TopicSettings { partitions: 1, compacted: false },
        Media::Json => body::json_of(bytes, Code::Malformed)?,
        other => return Err(other.refuse("application/json")),
    };
    if !(1..=PARTITIONS_MAX).contains(&settings.partitions) {
        let message = format!("is {}, but must be 1 to {PARTITIONS_MAX}", settings.partitions);
        return Err(Refusal::of_field(Code::Malformed, "partitions", message));
    }
    Ok(settings)
}

#[derive(Serialize, ToSchema)]
pub struct Written {
    records: usize,
}

/// Write records.
///
/// One JSON object a line, or an array of them, with `key`, `value`, `headers`, `timestamp` and `partition`.
/// All of them are read before the first is written; if the log fails in between, a first part of them may be there.
#[utoipa::path(post, path = "/v1/topics/{topic}/records", tag = "topics", params(("topic" = String, Path)),
    request_body(content((String = "application/x-ndjson"), (Vec<Object> = "application/json"))),
    responses((status = 200, description = "Written and durable", body = Written),
        (status = 400, description = "A record is refused (E027); none was written", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 404, description = "No such topic (E025) or partition (E030)", body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn write(
    State(shared): AppState,
    Name(topic): Name<TopicName>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Written>, Refusal> {
    refuse_internal(&topic)?;
    let lines = match Media::of(&headers) {
        Media::Ndjson => true,
        Media::Json => false,
        other => return Err(other.refuse("application/x-ndjson or application/json")),
    };
    let Received { bytes, share } = shared.receive(body, shared.state.limits.records_bytes_max).await?;
    let log = shared.state.log.clone();
    blocking(move || {
        let _held = share;
        let info = log.topic(&topic)?;
        let incoming = parse(&bytes, lines, RECORDS_MAX, Timestamp::now()).map_err(|refused| match refused.is_beyond {
            true => Refusal::new(Code::BodyTooLarge, refused.message),
            false => Refusal::of_field(Code::Record, format!("[{}]", refused.index), refused.message),
        })?;
        let records = incoming.len();
        for (partition, records) in by_partition(&topic, incoming, &info)? {
            log.append(&topic, partition, records)?;
        }
        Ok(Json(Written { records }))
    })
    .await
}

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
        // Where it is compressed, the topic may take a larger one than its limit says: then it answers for itself.
        if bytes > info.sent_bytes_max {
            let message = format!("has {bytes} bytes, the topic takes {}", info.sent_bytes_max);
            return Err(Refusal::of_field(Code::Record, format!("[{index}]"), message));
        }
        groups.entry(partition).or_default().push(record);
    }
    Ok(groups)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ReadParams {
    /// By default 0.
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

/// Records as they are written: the answer's size is known while it grows.
#[derive(Serialize, ToSchema)]
pub struct RecordPage {
    #[schema(value_type = Vec<RecordOut>)]
    records: Vec<Box<RawValue>>,
    /// Where to go on.
    next_offset: i64,
    end_offset: i64,
}

/// Read records.
///
/// One JSON object a line, with `Sandbar-Next-Offset` and `Sandbar-End-Offset` as headers; with
/// `Accept: application/json` one object that holds all three.
#[utoipa::path(get, path = "/v1/topics/{topic}/records", tag = "topics", params(("topic" = String, Path), ReadParams),
    responses((status = 200, description = "Committed records in order", content((RecordOut = "application/x-ndjson"), (RecordPage = "application/json"))),
        (status = 404, description = "No such topic (E025) or partition (E030)", body = ProblemDetails, content_type = "application/problem+json")))]
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
    let from = From::parse(params.offset.as_deref())?;
    let (partition, form) = (params.partition, params.form);
    let json = headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"application/json"));
    // Many may wait, few are served at once: writing a page takes memory and time.
    let waiting = shared.poll_turn()?;
    let (log, wanted) = (shared.state.log.clone(), topic.clone());
    let next = blocking(move || {
        let _held = waiting;
        wait_for_record(&*log, &wanted, partition, from, wait)
    })
    .await?;
    let turn = shared.pages.take().await?;
    let log = shared.state.log.clone();
    blocking(move || {
        let _held = turn;
        let page = read_page(&*log, &topic, partition, next, limit, form)?;
        Ok(if json { Json(page).into_response() } else { ndjson(&page) })
    })
    .await
}

fn ndjson(page: &RecordPage) -> Response {
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

/// Waits until there is a record; the offset to read from, either way.
fn wait_for_record(log: &dyn Log, topic: &TopicName, partition: i32, from: From, wait: Duration) -> Result<i64, Refusal> {
    check_partition(partition, &log.topic(topic)?)?;
    let (first, end) = log.offsets(topic, partition)?;
    let mut next = from.offset(first, end);
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

/// Takes the records that are there.
fn read_page(
    log: &dyn Log,
    topic: &TopicName,
    partition: i32,
    next: i64,
    limit: usize,
    form: Form,
) -> Result<RecordPage, Refusal> {
    let mut page = RecordPage { records: Vec::new(), next_offset: next, end_offset: next };
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

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Earliest,
    Latest,
    Offset(i64),
    /// So many before the end.
    Last(i64),
}

impl From {
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

fn check_partition(partition: i32, info: &TopicInfo) -> Result<(), Refusal> {
    if (0..info.partitions).contains(&partition) {
        return Ok(());
    }
    let message = format!("is {partition}, the topic has 0 to {}", info.partitions - 1);
    Err(Refusal::of_field(Code::Partition, "partition", message))
}

fn refuse_internal(topic: &TopicName) -> Result<(), Refusal> {
    if topic.is_internal() {
        return Err(Refusal::new(Code::TopicInternal, format!("{topic} is internal")));
    }
    Ok(())
}
