//! Reads of records from a topic.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::IntoParams;

use crate::api_types::{Form, PartitionPosition, RecordOut, RecordPage};
use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::model::random::random_u64;
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
/// Time between two looks at several partitions.
const WAIT_POLL: Duration = Duration::from_millis(50);

/// A page of records that are written already: the answer's size is known while it grows.
type Page = RecordPage<Box<RawValue>>;

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
    if !(1..=READ_LIMIT_MAX).contains(&limit) {
        return Err(Refusal::of_field(Code::Query, "limit", format!("is {limit}, but must be 1 to {READ_LIMIT_MAX}")));
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
        wait_for_record(&*log, &awaited, positions, wait)
    })
    .await?;
    let permit = shared.pages.take().await?;
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
    let next: Vec<String> = page.partitions.iter().map(|it| format!("{}:{}", it.partition, it.next_offset)).collect();
    let content_type = [(header::CONTENT_TYPE, "application/x-ndjson")];
    let next_offsets = [("sandbar-next-offsets", next.join(","))];
    match page.partitions[..] {
        [PartitionPosition { next_offset, end_offset, .. }] => {
            let one = [("sandbar-next-offset", next_offset.to_string()), ("sandbar-end-offset", end_offset.to_string())];
            (content_type, next_offsets, one, lines).into_response()
        }
        _ => (content_type, next_offsets, lines).into_response(),
    }
}

/// The place at which each partition is read, in the order of the reads.
fn start_positions(
    log: &dyn Log,
    topic: &TopicName,
    partition: Option<i32>,
    start: &ReadStart,
) -> Result<Vec<PartitionPosition>, Refusal> {
    let info = log.topic(topic)?;
    if let Some(partition) = partition {
        check_partition(partition, &info)?;
        let (first, end_offset) = log.offsets(topic, partition)?;
        return Ok(vec![PartitionPosition {
            partition,
            next_offset: start.offset(partition, first, end_offset),
            end_offset,
        }]);
    }
    if let ReadStart::Each(offsets) = start {
        offsets.keys().try_for_each(|partition| check_partition(*partition, &info))?;
    }
    let position = |(partition, (first, end_offset))| PartitionPosition {
        partition,
        next_offset: start.offset(partition, first, end_offset),
        end_offset,
    };
    let mut positions: Vec<PartitionPosition> = (0..).zip(log.bounds(topic)?).map(position).collect();
    // A page may be full before the last partition: none is always the last.
    let first = random_u64() as usize % positions.len().max(1);
    positions.rotate_left(first);
    Ok(positions)
}

/// Waits until there is a record or the time is over; returns the offsets to read from.
fn wait_for_record(
    log: &dyn Log,
    topic: &TopicName,
    mut positions: Vec<PartitionPosition>,
    wait: Duration,
) -> Result<Vec<PartitionPosition>, Refusal> {
    let deadline = Instant::now() + wait;
    let left = || deadline.saturating_duration_since(Instant::now());
    // A log waits for one partition at a time.
    let turn = if positions.len() == 1 { wait } else { WAIT_POLL };
    while !left().is_zero() {
        let mut slept = false;
        for position in &mut positions {
            let time = if slept { Duration::ZERO } else { left().min(turn) };
            let read = log.read(topic, position.partition, position.next_offset, time, 1)?;
            if !read.records.is_empty() {
                return Ok(positions);
            }
            position.next_offset = read.next_offset;
            slept = true;
        }
    }
    Ok(positions)
}

/// Reads the records that are there, within the limits of a page.
fn read_page(
    log: &dyn Log,
    topic: &TopicName,
    mut positions: Vec<PartitionPosition>,
    limit: usize,
    form: Form,
) -> Result<Page, Refusal> {
    let mut filling = Filling { records: Vec::new(), bytes: 0, limit, form };
    for position in &mut positions {
        if filling.is_full() {
            break;
        }
        filling.read(log, topic, position)?;
    }
    positions.sort_by_key(|it| it.partition);
    let (next_offset, end_offset) = match positions[..] {
        [PartitionPosition { next_offset, end_offset, .. }] => (Some(next_offset), Some(end_offset)),
        _ => (None, None),
    };
    Ok(Page { records: filling.records, next_offset, end_offset, partitions: positions })
}

/// A page that is filled from one partition after the other.
struct Filling {
    records: Vec<Box<RawValue>>,
    bytes: usize,
    limit: usize,
    form: Form,
}

impl Filling {
    fn is_full(&self) -> bool {
        self.records.len() >= self.limit || self.bytes >= READ_BYTES_MAX
    }

    /// Reads a partition to its end, or until the page is full.
    fn read(&mut self, log: &dyn Log, topic: &TopicName, position: &mut PartitionPosition) -> Result<(), Refusal> {
        loop {
            let read = log.read(topic, position.partition, position.next_offset, Duration::ZERO, READ_BYTES_MAX)?;
            let nothing = read.records.is_empty();
            position.next_offset = read.next_offset;
            position.end_offset = read.end_offset;
            for record in read.records {
                let offset = record.offset;
                let written = serde_json::value::to_raw_value(&RecordOut::of(position.partition, record, self.form));
                let written = written.expect("a record is plain data");
                let bytes = self.bytes + written.get().len();
                let fits = self.records.len() < self.limit && (bytes <= READ_BYTES_MAX || self.records.is_empty());
                if !fits {
                    position.next_offset = offset;
                    self.bytes = self.bytes.max(bytes);
                    return Ok(());
                }
                self.bytes = bytes;
                self.records.push(written);
            }
            if nothing || self.is_full() {
                return Ok(());
            }
        }
    }
}

/// The first offset of a read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ReadStart {
    Earliest,
    Latest,
    Offset(i64),
    /// This number of offsets before the end.
    Last(i64),
    /// At an offset of its own in each partition.
    Each(BTreeMap<i32, i64>),
}

impl ReadStart {
    fn parse(raw: Option<&str>, each: Option<&str>) -> Result<Self, Refusal> {
        if let Some(each) = each {
            if raw.is_some() {
                return Err(Refusal::of_field(Code::Query, "offsets", "and offset exclude each other"));
            }
            return Self::parse_each(each);
        }
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

    fn parse_each(raw: &str) -> Result<Self, Refusal> {
        let one = |pair: &str| {
            let (partition, offset) = pair.split_once(':')?;
            Some((partition.parse::<i32>().ok()?, offset.parse::<i64>().ok().filter(|offset| *offset >= 0)?))
        };
        let pairs: Option<BTreeMap<i32, i64>> = raw.split(',').map(one).collect();
        let refused = || Refusal::of_field(Code::Query, "offsets", format!("{raw:?} has not the form 0:17,1:20"));
        pairs.map(Self::Each).ok_or_else(refused)
    }

    fn offset(&self, partition: i32, first: i64, end: i64) -> i64 {
        match self {
            Self::Earliest => first,
            Self::Latest => end,
            Self::Offset(offset) => (*offset).max(first),
            Self::Last(last) => end.saturating_sub(*last).max(first),
            Self::Each(offsets) => offsets.get(&partition).map_or(first, |offset| (*offset).max(first)),
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
