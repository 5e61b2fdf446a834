//! Verbs that watch: logs and tail. Each shows lines as the host sends them. With `--follow` it connects again when the
//! connection breaks or falls silent, or the host starts: lines have offsets in the log, so none is missed or shown twice.

use clap::Args;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::api_types::{JsonOrText, Level, Line, LogLine, Sample, SampleRecord, Word};
use crate::model::json;
use crate::model::random::random_u64;
use crate::model::units::{Backoff, Rfc3339, Span, Timestamp};

use super::super::error::{Kind, Result};
use super::super::text::{self, Output};
use super::event_stream::EventStream;
use super::session::{Session, Target, route};
use super::url_part::span;

const RECONNECT: Backoff =
    Backoff { first: std::time::Duration::from_millis(250), longest: std::time::Duration::from_secs(5) };
/// Longest key or value that `tail` shows of a record, in characters: some lines of a terminal.
const SHOWN_MAX: usize = 400;

#[derive(Debug, Args)]
pub struct LogsArgs {
    #[command(flatten)]
    target: Target,
    /// Go on with new lines
    #[arg(long, short)]
    follow: bool,
    /// Age of the oldest line
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    since: Span,
    /// Number of older lines, the newest of them
    #[arg(long, value_name = "LINES", default_value_t = 1000)]
    limit: usize,
    /// Lowest level that is shown: debug, info, warn, error
    #[arg(long, value_name = "LEVEL", default_value = "debug", value_parser = level)]
    level: Level,
}

#[derive(Debug, Args)]
pub struct TailArgs {
    #[command(flatten)]
    target: Target,
    /// Go on until it is interrupted
    #[arg(long, short)]
    follow: bool,
    /// Without --follow: number of samples
    #[arg(long, value_name = "SAMPLES", default_value_t = 10)]
    limit: usize,
    /// Without --follow: time to wait for samples
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    wait: Span,
}

fn level(raw: &str) -> Result<Level, String> {
    json::of_value(&raw.into()).map_err(|_| "debug, info, warn or error".to_owned())
}

pub fn logs(args: LogsArgs, session: &Session) -> Result<()> {
    let id = args.target.id()?;
    let LogsArgs { follow, since, limit, level, .. } = args;
    let since = span(since);
    let query = format!("/logs?follow={follow}&since={since}&limit={limit}&level={}", Word::from(level));
    watch(session, &route(&id, &query), follow, log_text)
}

pub fn tail(args: TailArgs, session: &Session) -> Result<()> {
    let id = args.target.id()?;
    let TailArgs { follow, limit, wait, .. } = args;
    let query = if follow { "/tail?follow=true".to_owned() } else { format!("/tail?limit={limit}&wait={}", span(wait)) };
    watch(session, &route(&id, &query), follow, sample_text)
}

/// Shows lines until the end. With `follow`, connects again when the connection breaks.
fn watch<T: DeserializeOwned>(session: &Session, path: &str, follow: bool, show: fn(T) -> String) -> Result<()> {
    let mut last = None;
    let mut failures = 0;
    loop {
        let ended = session.client.stream(path, last).and_then(|stream| {
            failures = 0;
            lines(session, stream, &mut last, show)
        });
        match ended {
            Ok(read) if !follow || !read => return Ok(()),
            // The host stopped.
            Ok(_) => {}
            // A host that never answered is an error; a host that did may be back soon.
            Err(error) if !follow || last.is_none() && failures == 0 && error.kind == Kind::Unreachable => {
                return Err(error);
            }
            Err(error) if !error.may_pass() => return Err(error),
            // The first answer: in silence it would look like a transform without any lines.
            Err(error) if failures == 0 && error.kind == Kind::Unavailable => {
                text::tell(format_args!("trying again: {error}"));
            }
            Err(_) => {}
        }
        std::thread::sleep(RECONNECT.spread(failures, random_u64()));
        failures += 1;
    }
}

/// Shows the lines of a stream; returns false if nobody reads the output any more.
fn lines<T: DeserializeOwned>(
    session: &Session,
    mut events: EventStream,
    last: &mut Option<i64>,
    show: fn(T) -> String,
) -> Result<bool> {
    while let Some((offset, line)) = events.next()? {
        let shown = match session.output {
            Output::Json => {
                events.parse::<IgnoredAny>(&line)?;
                text::json_line(&line)
            }
            Output::Text => show(events.parse(&line)?),
        };
        if !text::emit_while_read(&shown)? {
            return Ok(false);
        }
        *last = offset.or(*last);
    }
    Ok(true)
}

fn log_text(line: LogLine) -> String {
    let entry = line.entry;
    let kind = entry.event.map_or_else(|| entry.level.to_string(), |event| event.to_string()).to_uppercase();
    let message = entry.message.trim_end().replace('\n', "\n    ");
    format!("{}  {}  r{}  {kind:<13} {message}\n", moment(entry.at), entry.host, entry.revision)
}

fn sample_text(sample: Sample) -> String {
    let mut all = format!(
        "{}  {}/{}@{}  r{}  {}\n",
        moment(sample.at),
        sample.topic,
        sample.partition,
        sample.offset,
        sample.revision,
        sample.host
    );
    if sample.redacted {
        all += "  redacted: the owner of a topic keeps parts of this back\n";
    }
    all += &record_text("in ", None, &sample.input);
    all.extend(sample.outputs.iter().map(|output| record_text("out", Some(&output.topic), &output.record)));
    if sample.outputs_more > 0 {
        all += &format!("  out  and {} more\n", sample.outputs_more);
    }
    match &sample.failed {
        Some(failed) => all += &format!("  failed  {}: {}\n", failed.code, failed.message),
        None if sample.outputs.is_empty() => all += "  out  nothing\n",
        None => {}
    }
    all
}

fn record_text(side: &str, topic: Option<&Line>, record: &SampleRecord) -> String {
    let content = &record.content;
    let part = |value: &Option<JsonOrText>, base64: &Option<Line>| match (value, base64) {
        (Some(value), _) => shortened(&value.to_string()),
        (None, Some(base64)) => format!("base64:{}", shortened(base64)),
        (None, None) => "null".to_owned(),
    };
    let key = part(&content.key, &content.key_base64);
    let value = part(&content.value, &content.value_base64);
    let topic = topic.map_or(String::new(), |topic| format!("{topic}  "));
    format!("  {side}  {topic}{key}  {value}{}\n", if record.cut { " (cut)" } else { "" })
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn moment(at: i64) -> String {
    Rfc3339(Timestamp(at)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_readable() {
        for (json, shown) in [
            (
                r#"{"offset":1,"at":0,"host":"a","revision":2,"level":"warn","message":"two\nlines"}"#,
                "1970-01-01T00:00:00.000Z  a  r2  WARN          two\n    lines\n",
            ),
            (
                r#"{"offset":1,"at":0,"host":"a","revision":2,"level":"info","event":"swapped","message":"m"}"#,
                "1970-01-01T00:00:00.000Z  a  r2  SWAPPED       m\n",
            ),
        ] {
            assert_eq!(log_text(serde_json::from_str(json).expect("a line")), shown);
        }
        let sample = r#"{"at":0,"host":"a","revision":2,"topic":"in","partition":1,"offset":9,
            "input":{"timestamp":0,"key":"k","value":{"n":1.0}},
            "outputs":[{"topic":"out","timestamp":0,"key":null,"value_base64":"/w==","cut":true}]}"#;
        let masked = sample.replace("\"host\"", "\"redacted\":true,\"host\"");
        let shown = sample_text(serde_json::from_str(&masked).expect("a sample"));
        assert!(shown.contains("a\n  redacted: the owner of a topic keeps parts of this back\n  in   k"), "{shown}");
        let shown = "1970-01-01T00:00:00.000Z  in/1@9  r2  a\n  in   k  {\"n\":1.0}\n  out  out  null  base64:/w== (cut)\n";
        assert_eq!(sample_text(serde_json::from_str(sample).expect("a sample")), shown);
    }
}
