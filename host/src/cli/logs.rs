//! Verbs that watch: logs and tail. Each shows lines as the host sends them, and with `--follow` comes back when its
//! connection breaks or falls silent, or its host starts: lines have places in the log, so none is missed or shown twice.

use clap::Args;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::model::log_entry::Level;
use crate::model::text::one_line;
use crate::model::units::{Backoff, Rfc3339, Span, Timestamp};

use super::client::Stream;
use super::error::{Kind, Result};
use super::session::{Output, Session, Target, route};
use super::text;
use super::wire;

const RECONNECT: Backoff =
    Backoff { first: std::time::Duration::from_millis(250), longest: std::time::Duration::from_secs(5) };
/// Longest key or value that `tail` shows of a record, in characters.
const SHOWN_MAX: usize = 400;

#[derive(Debug, Args)]
pub struct LogsArgs {
    #[command(flatten)]
    target: Target,
    /// Go on with what is logged from now on
    #[arg(long, short)]
    follow: bool,
    /// How far back
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    since: Span,
    /// Older lines at most
    #[arg(long, value_name = "LINES", default_value_t = 1000)]
    limit: usize,
    /// Only lines that matter as much: debug, info, warn, error
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
    /// Without --follow: samples at most
    #[arg(long, value_name = "SAMPLES", default_value_t = 10)]
    limit: usize,
    /// Without --follow: how long to wait for them
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    wait: Span,
}

fn level(raw: &str) -> Result<Level, String> {
    serde_json::from_value(raw.into()).map_err(|_| "debug, info, warn or error".to_owned())
}

pub fn logs(args: LogsArgs, session: &Session) -> Result<()> {
    let id = args.target.id()?;
    let LogsArgs { follow, since, limit, level, .. } = args;
    // A span is written with spaces: 1h 30m.
    let since = since.to_string().replace(' ', "");
    let query = format!("/logs?follow={follow}&since={since}&limit={limit}&level={}", level.as_str());
    watch(session, &route(&id, &query), follow, log_text)
}

pub fn tail(args: TailArgs, session: &Session) -> Result<()> {
    let id = args.target.id()?;
    let TailArgs { follow, limit, wait, .. } = args;
    let query = match follow {
        true => "/tail?follow=true".to_owned(),
        false => format!("/tail?limit={limit}&wait={}", wait.to_string().replace(' ', "")),
    };
    watch(session, &route(&id, &query), follow, sample_text)
}

/// Shows lines until there are no more. What is followed is asked for again where its connection breaks.
fn watch<T: DeserializeOwned>(session: &Session, path: &str, follow: bool, show: fn(T) -> String) -> Result<()> {
    let (mut last, mut failures) = (None, 0);
    loop {
        let ended = session.client.stream(path, last).and_then(|stream| {
            failures = 0;
            lines(session, stream, &mut last, show)
        });
        match ended {
            Ok(read) if !follow || !read => return Ok(()),
            // The host stopped.
            Ok(_) => {}
            // One that never answered is named; one that did may be back soon.
            Err(error) if !follow || last.is_none() && failures == 0 && error.kind == Kind::Unreachable => {
                return Err(error);
            }
            Err(error) if !error.may_pass() => return Err(error),
            // The first answer: without a word it would look like a transform that says nothing.
            Err(error) if failures == 0 && error.kind == Kind::Unavailable => eprintln!("it is tried again: {error}"),
            Err(_) => {}
        }
        std::thread::sleep(RECONNECT.after(failures));
        failures += 1;
    }
}

/// Shows what a stream brings; whether anybody still reads it.
fn lines<T: DeserializeOwned>(
    session: &Session,
    mut stream: Stream,
    last: &mut Option<i64>,
    show: fn(T) -> String,
) -> Result<bool> {
    while let Some((offset, line)) = stream.next()? {
        let shown = match session.output {
            Output::Json => {
                stream.parse::<IgnoredAny>(&line)?;
                text::json_line(&line)
            }
            Output::Text => show(stream.parse(&line)?),
        };
        if !text::emit_while_read(&shown)? {
            return Ok(false);
        }
        *last = offset.or(*last);
    }
    Ok(true)
}

fn log_text(line: wire::LogLine) -> String {
    let what = line.event.map_or_else(|| line.level.to_uppercase(), |event| event.to_uppercase());
    let message = line.message.trim_end().replace('\n', "\n    ");
    format!("{}  {}  r{}  {what:<13} {message}\n", moment(line.at), line.host, line.revision)
}

fn sample_text(sample: wire::Sample) -> String {
    let mut all = format!(
        "{}  {}/{}@{}  r{}  {}\n",
        moment(sample.at),
        sample.topic,
        sample.partition,
        sample.offset,
        sample.revision,
        sample.host
    );
    all += &record_text("in ", &sample.input);
    all.extend(sample.outputs.iter().map(|output| record_text("out", output)));
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

fn record_text(side: &str, record: &wire::SampledRecord) -> String {
    let part = |json: &Option<Box<serde_json::value::RawValue>>, base64: &Option<text::Line>| match (json, base64) {
        (Some(json), _) => shortened(&one_line(json.get().trim_matches('"'))),
        (None, Some(base64)) => format!("base64:{}", shortened(base64)),
        (None, None) => "null".to_owned(),
    };
    let (key, value) = (part(&record.key, &record.key_base64), part(&record.value, &record.value_base64));
    let topic = record.topic.as_ref().map_or(String::new(), |topic| format!("{topic}  "));
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
        let shown = "1970-01-01T00:00:00.000Z  in/1@9  r2  a\n  in   k  {\"n\":1.0}\n  out  out  null  base64:/w== (cut)\n";
        assert_eq!(sample_text(serde_json::from_str(sample).expect("a sample")), shown);
    }
}
