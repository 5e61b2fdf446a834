//! What a transform says (`logs`) and what goes through it (`tail`), from any host of the cluster.
//!
//! Both are streams of lines: NDJSON, or server-sent events where `Accept` asks for them. The id of an event is its
//! offset in the log, so a client that comes back with `Last-Event-ID`, to whichever host, misses nothing.

mod follows;
mod older;
mod stream;

use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::catalog::CatalogError;
use crate::cluster::{LogTopic, Position, Sampled};
use crate::model::codes::Code;
use crate::model::log_entry::{Level, LogEntry};
use crate::model::names::TransformId;
use crate::model::units::{Span, Timestamp};
use crate::ports::LogRecord;

use super::problem::{ProblemDetails, Refusal};
use super::request::{Id, Params};
use super::transforms::find;
use super::{AppState, blocking};
use older::Search;
use stream::{Form, Line, Source, Until};

pub use follows::Follows;

const LIMIT_DEFAULT: usize = 1000;
const SAMPLES_DEFAULT: usize = 10;
/// How far back logs are shown by default.
const SINCE_DEFAULT: Duration = Duration::from_secs(3600);
const LAST_EVENT_ID: &str = "last-event-id";

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct LogParams {
    /// Go on with what is logged from now on, until the client leaves. Without a value it means true.
    #[serde(default, deserialize_with = "flag")]
    #[param(value_type = Option<bool>)]
    follow: bool,
    /// How far back, such as `10m`: by default `1h`.
    #[serde(default)]
    since: Option<String>,
    /// Older lines at most, the newest of them: 0 to 10000, by default 1000. The host has a limit of bytes, too.
    #[serde(default)]
    limit: Option<usize>,
    /// Only lines that matter as much: `debug` (the default), `info`, `warn`, `error`.
    #[serde(default)]
    #[param(inline)]
    level: Option<Level>,
}

/// A line of a transform's log.
#[derive(Serialize, ToSchema)]
pub struct LogLine {
    /// Its place in the log: what `Last-Event-ID` takes.
    offset: i64,
    #[serde(flatten)]
    entry: LogEntry,
}

/// Show what a transform's guest logged, and what happened to it.
///
/// With `follow` the answer does not end; an empty line (of SSE, a comment) says now and then that it still stands.
#[utoipa::path(get, path = "/v1/teams/{team}/transforms/{name}/logs", tag = "transforms",
    params(("team" = String, Path), ("name" = String, Path), LogParams,
        ("Last-Event-ID" = Option<i64>, Header, description = "Go on after this offset, instead of `since`")),
    responses((status = 200, description = "Oldest first", content((LogLine = "application/x-ndjson"), (String = "text/event-stream"))),
        (status = 404, description = "No such transform (E023)", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 502, description = "The topic of the logs is missing (E210)", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Too many follow (E032), or there is too much to look through (E043)", body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn logs(
    State(shared): AppState,
    Id(id): Id,
    Params(params): Params<LogParams>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    find(&shared, &id).await?;
    let limits = shared.state.limits;
    let limit = params.limit.unwrap_or(LIMIT_DEFAULT);
    if limit > limits.log_lines_max {
        let message = format!("is {limit}, but must be at most {} (log_lines_max)", limits.log_lines_max);
        return Err(Refusal::of_field(Code::Query, "limit", message));
    }
    let since = since(params.since.as_deref())?;
    let after = last_event_id(&headers)?;
    let turn = shared.follows.take(&id.team)?;
    let feed = shared.state.feeds.logs.clone();
    let level = params.level.unwrap_or(Level::Debug);
    let follow = params.follow;
    let line = move |record| log_line(record, level);
    let (source, end) = blocking(move || {
        let from = start(&feed, &id, since, after)?;
        let end = feed.end_offset(&from)?;
        let search = Search { feed: &feed, end, line: &line, deadline: Instant::now() + limits.logs_time };
        let position = match after {
            None => search.newest(from, limit, limits.log_bytes_max)?,
            // What cannot be found in time is refused before the answer begins.
            Some(_) if !follow => search.first(from)?,
            Some(_) => from,
        };
        Ok((Source { feed, position, line: Box::new(line), _turn: turn, _looking: None }, end))
    })
    .await?;
    let until = if follow { Until::Gone } else { Until::End { offset: end, search_time: limits.logs_time } };
    Ok(stream::respond(Form::of(&headers), source, until, shared.state.shutdown.clone()))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct TailParams {
    /// Go on until the client leaves. Without a value it means true.
    #[serde(default, deserialize_with = "flag")]
    #[param(value_type = Option<bool>)]
    follow: bool,
    /// Without `follow`: samples at most, by default 10.
    #[serde(default)]
    limit: Option<usize>,
    /// Without `follow`: how long to wait for them, by default `10s`, at most `1m`.
    #[serde(default)]
    wait: Option<String>,
}

/// Show samples of the records that go in, with what came of each.
///
/// Every host that runs the transform shows up to 20 records a second for as long as somebody looks, after their
/// transaction was committed.
#[utoipa::path(get, path = "/v1/teams/{team}/transforms/{name}/tail", tag = "transforms",
    params(("team" = String, Path), ("name" = String, Path), TailParams),
    responses((status = 200, description = "As they come", content((Sampled = "application/x-ndjson"), (String = "text/event-stream"))),
        (status = 404, description = "No such transform (E023)", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Too many follow (E032)", body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn tail(
    State(shared): AppState,
    Id(id): Id,
    Params(params): Params<TailParams>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    find(&shared, &id).await?;
    let limits = shared.state.limits;
    let wait = params.wait.as_deref().map_or(Ok(limits.tail_wait), |wait| span("wait", wait))?;
    if wait > limits.tail_wait_max {
        let message = format!("must be at most {} s (tail_wait_max)", limits.tail_wait_max.as_secs());
        return Err(Refusal::of_field(Code::Query, "wait", message));
    }
    let after = last_event_id(&headers)?;
    let turn = shared.follows.take(&id.team)?;
    let feed = shared.state.feeds.samples.clone();
    let tails = shared.state.feeds.tails.clone();
    let source = blocking(move || {
        let position = start(&feed, &id, None, after)?;
        // From here on it is asked for, until the stream ends.
        let looking = Some(tails.look(id));
        Ok(Source { feed, position, line: Box::new(sample_line), _turn: turn, _looking: looking })
    })
    .await?;
    let until = match params.follow {
        true => Until::Gone,
        false => Until::Had { lines: params.limit.unwrap_or(SAMPLES_DEFAULT), deadline: Instant::now() + wait },
    };
    Ok(stream::respond(Form::of(&headers), source, until, shared.state.shutdown.clone()))
}

fn start(feed: &LogTopic, id: &TransformId, since: Option<Timestamp>, after: Option<i64>) -> Result<Position, Refusal> {
    // A control topic that is not there is no fault of the request.
    let position = feed.position(id, since).map_err(CatalogError::from)?;
    Ok(match after {
        Some(after) => position.after(after),
        None => position,
    })
}

/// What is no entry of ours is left out: anybody may have written it.
fn log_line(record: LogRecord, level: Level) -> Option<Line> {
    let entry: LogEntry = serde_json::from_slice(&record.value?).ok()?;
    let kind = if entry.event.is_some() { "event" } else { "log" };
    let (offset, fits) = (record.offset, entry.level >= level);
    let json = serde_json::to_string(&LogLine { offset, entry }).expect("plain data");
    fits.then_some(Line { offset, kind, json })
}

fn sample_line(record: LogRecord) -> Option<Line> {
    let json = String::from_utf8(record.value?).ok().filter(|json| Sampled::is_in(json))?;
    Some(Line { offset: record.offset, kind: "sample", json })
}

fn since(raw: Option<&str>) -> Result<Option<Timestamp>, Refusal> {
    let ago = raw.map_or(Ok(SINCE_DEFAULT), |raw| span("since", raw))?;
    Ok(Some(Timestamp::now().before(ago)))
}

fn span(name: &str, raw: &str) -> Result<Duration, Refusal> {
    let parsed: Result<Span, String> = raw.parse();
    parsed.map(|Span(span)| span).map_err(|message| Refusal::of_field(Code::Query, name, message))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<i64>, Refusal> {
    let Some(raw) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let id = raw.to_str().ok().and_then(|id| id.parse().ok()).filter(|&id| id >= 0);
    id.map(Some).ok_or_else(|| Refusal::of_field(Code::Query, "Last-Event-ID", "is not an offset"))
}

/// `?follow`, `?follow=true`, `?follow=false`.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "" | "true" => Ok(true),
        "false" => Ok(false),
        other => Err(serde::de::Error::custom(format!("{other:?} is neither true nor false"))),
    }
}

impl Form {
    fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        if accept.contains("text/event-stream") { Self::Events } else { Self::Lines }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(value: &serde_json::Value) -> LogRecord {
        LogRecord { offset: 7, timestamp: 0, key: None, value: Some(value.to_string().into()), headers: vec![] }
    }

    #[test]
    fn lines_are_told_apart_and_what_is_foreign_left_out() {
        let entry = json!({"at": 5, "host": "a", "revision": 2, "level": "warn", "message": "x"});
        let mut event = entry.clone();
        event["event"] = json!("paused");
        for (value, level, kind) in [
            (&entry, Level::Debug, Some("log")),
            (&entry, Level::Error, None),
            (&event, Level::Warn, Some("event")),
            (&json!({"hello": 1}), Level::Debug, None),
            (&json!("text"), Level::Debug, None),
        ] {
            let line = log_line(record(value), level);
            assert_eq!(line.as_ref().map(|line| line.kind), kind, "{value}");
            if let Some(line) = line {
                let shown: serde_json::Value = serde_json::from_str(&line.json).expect("JSON");
                assert_eq!((&shown["offset"], &shown["level"]), (&json!(7), &json!("warn")));
            }
        }
    }
}
