//! The log of a transform (`logs`) and samples of its records (`tail`), from any host of the cluster.
//!
//! Both are streams of lines: NDJSON, or server-sent events where `Accept` asks for them. The id of an event is its
//! offset in the log, so a client that comes back with `Last-Event-ID`, to whichever host, misses nothing.

mod older;
mod stream;

use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api_types::{Level, LogLine, Sample};
use crate::catalog::CatalogError;
use crate::cluster::{LogPosition, LogTopic, SampleValue};
use crate::deployment::check_inputs;
use crate::model::codes::Code;
use crate::model::json;
use crate::model::log_entry::LogEntry;
use crate::model::names::TransformId;
use crate::model::units::{Span, Timestamp};
use crate::ports::LogRecord;

use self::older::Search;
use self::stream::{End, Source, StreamLine};
use super::access::Caller;
use super::deployments::find;
use super::framing::Framing;
use super::openapi::{InputDenied, NoTransform};
use super::problem::Refusal;
use super::redaction::Viewer;
use super::request::{Id, Params, flag};
use super::shared::{AppState, blocking};

/// Default number of older lines: some screens full.
const LIMIT_DEFAULT: usize = 1000;
/// Default number of samples.
const SAMPLES_DEFAULT: usize = 10;
/// Default age of the oldest line.
const SINCE_DEFAULT: Duration = Duration::from_secs(3600);
const LAST_EVENT_ID: &str = "last-event-id";

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct LogParams {
    /// Go on with new lines until the client leaves. Without a value it means true.
    #[serde(default, deserialize_with = "flag")]
    #[param(value_type = Option<bool>)]
    follow: bool,
    /// The age of the oldest line, such as `10m`: by default `1h`.
    #[serde(default)]
    since: Option<String>,
    /// The number of older lines, the newest first to be kept: 0 to 10000, by default 1000. The host has a limit of bytes,
    /// too.
    #[serde(default)]
    limit: Option<usize>,
    /// The lowest level that is shown: `debug` (the default), `info`, `warn`, `error`.
    #[serde(default)]
    #[param(inline)]
    level: Option<Level>,
}

/// Show the log lines of a transform's guest, and the transform's events.
///
/// The answer does not end with `follow`; an empty line (with server-sent events, a comment) shows every 10 s that the
/// connection stands.
#[utoipa::path(get, path = "/v1/teams/{team}/transforms/{name}/logs", tag = "transforms",
    params(Id, LogParams,
        ("Last-Event-ID" = Option<i64>, Header, description = "Go on after this offset, instead of `since`")),
    responses((status = 200, description = "Oldest first", content((LogLine = "application/x-ndjson"), (String = "text/event-stream"))),
        NoTransform,
        (status = 502, description = "The topic of the logs is missing (E210)"),
        (status = 503, description = "Too many readers (E032), or too many lines to look through (E043)")))]
pub async fn logs(
    State(shared): AppState,
    Id(id): Id,
    Params(params): Params<LogParams>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    find(&shared, &id).await?;
    let viewer = Viewer::open(&shared, caller, &id).await?;
    let limits = shared.state.limits;
    let limit = params.limit.unwrap_or(LIMIT_DEFAULT);
    if limit > limits.log_lines_max {
        let message = format!("is {limit}, but must be at most {} (log_lines_max)", limits.log_lines_max);
        return Err(Refusal::of_field(Code::Query, "limit", message));
    }
    let since = since(params.since.as_deref())?;
    let after = last_event_id(&headers)?;
    let permit = shared.follow_permit(&id.team)?;
    let feed = shared.state.feeds.logs.clone();
    let level = params.level.unwrap_or(Level::Debug);
    let follow = params.follow;
    let line = move |record| log_line(record, level, &|entry| viewer.sight().log_entry(entry));
    let (source, end) = blocking(move || {
        let from = start(&feed, &id, since, after)?;
        let end = feed.end_offset(&from)?;
        let search = Search { feed: &feed, end, line: &line, deadline: Instant::now() + limits.logs_time };
        let position = match after {
            None => search.newest(from, limit, limits.log_bytes_max)?,
            // A line that cannot be found in time is refused before the answer begins.
            Some(_) if !follow => search.first(from)?,
            Some(_) => from,
        };
        Ok((Source { feed, position, line: Box::new(line), _permit: permit, _subscription: None }, end))
    })
    .await?;
    let end = if follow { End::Client } else { End::Offset { offset: end, search_time: limits.logs_time } };
    Ok(stream::respond(Framing::of(&headers), source, end, shared.state.shutdown.clone()))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct TailParams {
    /// Go on until the client leaves. Without a value it means true.
    #[serde(default, deserialize_with = "flag")]
    #[param(value_type = Option<bool>)]
    follow: bool,
    /// Without `follow`: the number of samples, by default 10.
    #[serde(default)]
    limit: Option<usize>,
    /// Without `follow`: the time to wait for samples, by default `10s`, at most `1m`.
    #[serde(default)]
    wait: Option<String>,
}

/// Show samples of the input records, each with its outputs or its failure.
///
/// Every host that runs the transform shows up to 20 records a second while there is a reader, after their transaction was
/// committed. A caller without the role `data` in the team that owns a redacted topic sees its records masked.
#[utoipa::path(get, path = "/v1/teams/{team}/transforms/{name}/tail", tag = "transforms",
    params(Id, TailParams),
    responses((status = 200, description = "In the order of their commits", content((Sample = "application/x-ndjson"), (String = "text/event-stream"))),
        InputDenied,
        NoTransform,
        (status = 503, description = "Too many readers (E032)")))]
pub async fn tail(
    State(shared): AppState,
    Id(id): Id,
    Params(params): Params<TailParams>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let deployment = find(&shared, &id).await?;
    let viewer = Viewer::open(&shared, caller, &id).await?;
    viewer.require_records()?;
    // Samples stay for a while after the right to read their topic was taken away.
    if let Ok(spec) = deployment.spec() {
        check_inputs(&spec, &shared.state.teams.topic_rights())?;
    }
    let limits = shared.state.limits;
    let wait = params.wait.as_deref().map_or(Ok(limits.tail_wait), |wait| span("wait", wait))?;
    if wait > limits.tail_wait_max {
        let message = format!("must be at most {} s (tail_wait_max)", limits.tail_wait_max.as_secs());
        return Err(Refusal::of_field(Code::Query, "wait", message));
    }
    let after = last_event_id(&headers)?;
    let permit = shared.follow_permit(&id.team)?;
    let feed = shared.state.feeds.samples.clone();
    let tails = shared.state.feeds.tails.clone();
    let source = blocking(move || {
        let position = start(&feed, &id, None, after)?;
        // Hosts sample the transform from here on, until the stream ends.
        let subscription = Some(tails.look(id));
        let line = Box::new(move |record| sample_line(record, &viewer));
        Ok(Source { feed, position, line, _permit: permit, _subscription: subscription })
    })
    .await?;
    let end = if params.follow {
        End::Client
    } else {
        End::Lines { left: params.limit.unwrap_or(SAMPLES_DEFAULT), deadline: Instant::now() + wait }
    };
    Ok(stream::respond(Framing::of(&headers), source, end, shared.state.shutdown.clone()))
}

fn start(feed: &LogTopic, id: &TransformId, since: Option<Timestamp>, after: Option<i64>) -> Result<LogPosition, Refusal> {
    // A control topic that is missing is not the fault of the request.
    let position = feed.position(id, since).map_err(CatalogError::from)?;
    Ok(match after {
        Some(after) => position.after(after),
        None => position,
    })
}

/// Makes a line of a log entry. A record that is not an entry is left out: anybody may have written it.
fn log_line(record: LogRecord, level: Level, mask: &dyn Fn(&mut LogEntry)) -> Option<StreamLine> {
    let mut entry: LogEntry = json::read(&record.value?).ok()?;
    let offset = record.offset;
    let kind = if entry.event.is_some() { "event" } else { "log" };
    if Level::from(entry.level) < level {
        return None;
    }
    mask(&mut entry);
    let json = serde_json::to_string(&LogLine { offset, entry: entry.into() }).expect("plain data");
    Some(StreamLine { offset, kind, json })
}

fn sample_line(record: LogRecord, viewer: &Viewer) -> Option<StreamLine> {
    let json = String::from_utf8(record.value?).ok().filter(|json| SampleValue::is_in(json))?;
    let json = viewer.sight().sample(json)?;
    Some(StreamLine { offset: record.offset, kind: "sample", json })
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(value: &serde_json::Value) -> LogRecord {
        LogRecord { offset: 7, timestamp: 0, key: None, value: Some(value.to_string().into()), headers: vec![] }
    }

    #[test]
    fn lines_have_their_kind_and_foreign_records_are_left_out() {
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
            let line = log_line(record(value), level, &|_| {});
            assert_eq!(line.as_ref().map(|line| line.kind), kind, "{value}");
            if let Some(line) = line {
                let shown: serde_json::Value = serde_json::from_str(&line.json).expect("JSON");
                assert_eq!((&shown["offset"], &shown["level"]), (&json!(7), &json!("warn")));
            }
        }
    }
}
