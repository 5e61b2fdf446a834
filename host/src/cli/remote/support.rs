//! `sandbar support-bundle`: an archive of everything that tells the state of a cluster, as far as the caller may see it.
//!
//! | file | content |
//! |---|---|
//! | `bundle.json` | the maker: version, time, host's URL, limits; parts that are missing, with the reason |
//! | `hosts.json`, `teams.json`, `transforms.json`, `flow.json`, `whoami.json` | the answers of the API |
//! | `metrics.txt` | `/metrics` of the host that was asked |
//! | `transforms/TEAM/NAME/spec.json`, `status.json`, `revisions.json`, `events.ndjson` | a transform |
//!
//! Invariants: each value of a spec's `config` is masked, since a team may have written a secret there; lines that guests
//! logged, records, samples, dead letters, entries of stores and the audit are not in it. The API itself shows no secret.

mod mask;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::super::error::{Error, Kind, Result};
use super::super::text::{self, Output};
use super::rate::at_rate;
use super::session::{Session, route};
use super::url_part::span;
use crate::api_types::{LogLine, TransformList, TransformSummary};
use crate::model::json;
use crate::model::names::{TeamName, TransformId};
use crate::model::units::{Rfc3339, Span, Timestamp};
use crate::private_file::open_with;

/// Most lines of a transform that are looked at, its guest's among them, and most bytes of its events.
const LINES_MAX: usize = 10_000;
const EVENTS_BYTES_MAX: usize = 16 << 20;
/// Most bytes of all parts together: later parts are missing, and `bundle.json` says so.
const BYTES_MAX: usize = 512 << 20;

#[derive(Debug, Args)]
pub struct SupportBundleArgs {
    /// The archive to write [default: sandbar-support-TIME.tar in this folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Only the transforms of this team
    #[arg(long, value_name = "TEAM")]
    team: Option<TeamName>,
    /// Age of the oldest event
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    since: Span,
}

/// An archive that is being written.
struct Bundle {
    archive: tar::Builder<File>,
    made_at: Timestamp,
    bytes: usize,
    /// Parts with the reason for which they are not there.
    missing: Vec<Value>,
}

pub fn support_bundle(args: SupportBundleArgs, session: &Session) -> Result<ExitCode> {
    let made_at = Timestamp::now();
    let time = Rfc3339(made_at).to_string().replace(':', "").chars().take(17).collect::<String>();
    let path = args.out.clone().unwrap_or_else(|| format!("sandbar-support-{time}.tar").into());
    // A host that does not answer leaves no file.
    let hosts = session.client.get("/v1/hosts")?;
    let mut bundle = Bundle::create(&path, made_at)?;
    bundle.add("hosts.json", Ok(hosts.text))?;
    for (file, route) in
        [("whoami.json", "/v1/whoami"), ("teams.json", "/v1/teams"), ("flow.json", "/v1/flow"), ("metrics.txt", "/metrics")]
    {
        bundle.add(file, session.client.get(route).map(|answer| answer.text))?;
    }
    let listed = args.team.as_ref().map_or("/v1/transforms".into(), |team| format!("/v1/teams/{team}/transforms"));
    match session.client.get(&listed).and_then(|answer| Ok((answer.parse()?, answer.text))) {
        Ok((TransformList { transforms }, text)) => {
            bundle.add("transforms.json", Ok(text))?;
            for TransformSummary { team, name, .. } in transforms {
                // Another program at that URL may send names that are none: they name no file.
                match format!("{team}/{name}").parse() {
                    Ok(id) => bundle.transform(session, &id, args.since)?,
                    Err(error) => bundle.add("transforms", Err(Error::usage(error)))?,
                }
            }
        }
        Err(error) => bundle.add("transforms.json", Err(error))?,
    }
    let missing = bundle.finish(&path, session, &args)?;
    for part in &missing {
        text::tell(format_args!("not in the bundle: {}", text::json_line(&part.to_string()).trim_end()));
    }
    match session.output {
        Output::Text => text::emit(&format!("{}\n", path.display())),
        Output::Json => text::emit_value(&json!({ "file": path.display().to_string(), "missing": missing })),
    }?;
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Bundle {
    fn create(path: &Path, made_at: Timestamp) -> Result<Self> {
        let file = open_with(OpenOptions::new().write(true).create_new(true), path);
        let file =
            file.map_err(|error| Error::file(path, error).with_hint("name a file that is not there yet: --out FILE"))?;
        Ok(Self { archive: tar::Builder::new(file), made_at, bytes: 0, missing: Vec::new() })
    }

    fn transform(&mut self, session: &Session, id: &TransformId, since: Span) -> Result<()> {
        let TransformId { team, name } = id;
        let get = |rest: &str| at_rate(|| session.client.get(&route(id, rest))).map(|answer| answer.text);
        self.add(&format!("transforms/{team}/{name}/spec.json"), get("").and_then(|text| masked(&text)))?;
        self.add(&format!("transforms/{team}/{name}/status.json"), get("/status"))?;
        self.add(&format!("transforms/{team}/{name}/revisions.json"), get("/revisions"))?;
        let file = format!("transforms/{team}/{name}/events.ndjson");
        let events = at_rate(|| events(session, id, since));
        if let Ok((_, true)) = events {
            let reason = format!("the newest {LINES_MAX} lines of log were looked at");
            self.missing.push(json!({ "part": format!("{file}: older events"), "reason": reason }));
        }
        self.add(&file, events.map(|(events, _)| events))
    }

    /// Adds a part, or the reason for which it is missing.
    fn add(&mut self, name: &str, content: Result<String>) -> Result<()> {
        let content = content.and_then(|content| {
            let has_room = self.bytes.saturating_add(content.len()) <= BYTES_MAX;
            let full = || Error::new(Kind::Failed, format_args!("the bundle has {BYTES_MAX} bytes without it"));
            if has_room { Ok(content) } else { Err(full()) }
        });
        match content {
            Ok(content) => {
                self.bytes += content.len();
                self.write(name, content.as_bytes())
            }
            Err(error) => {
                self.missing.push(json!({ "part": name, "reason": error.as_part() }));
                Ok(())
            }
        }
    }

    fn write(&mut self, name: &str, content: &[u8]) -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(self.made_at.0 / 1000).unwrap_or(0));
        let written = self.archive.append_data(&mut header, format!("sandbar-support/{name}"), content);
        written.map_err(|error| Error::new(Kind::Failed, format_args!("{name}: {error}")))
    }

    /// Writes the table of contents, and returns the missing parts.
    fn finish(mut self, path: &Path, session: &Session, args: &SupportBundleArgs) -> Result<Vec<Value>> {
        let about = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "made_at": Rfc3339(self.made_at).to_string(),
            "url": session.client.url(""),
            "team": args.team,
            "since": args.since.to_string(),
            "masked": "each value of the configs of specs",
            "missing": self.missing,
        });
        self.write("bundle.json", format!("{about:#}\n").as_bytes())?;
        let done = self.archive.into_inner().and_then(|mut file| file.flush().and_then(|()| file.sync_all()));
        done.map_err(|error| Error::file(path, error))?;
        Ok(self.missing)
    }
}

/// The view of a transform with a masked config.
fn masked(view: &str) -> Result<String> {
    let failed = |error| Error::new(Kind::Failed, format_args!("the view of a transform is no JSON: {error}"));
    let mut view: Value = json::read(view.as_bytes()).map_err(failed)?;
    mask::mask_config(&mut view);
    Ok(format!("{view:#}\n"))
}

/// The events of a transform, as lines; not the lines of its guest. True: there may be older ones, before so many lines.
fn events(session: &Session, id: &TransformId, since: Span) -> Result<(String, bool)> {
    let since = span(since);
    let path = route(id, &format!("/logs?follow=false&since={since}&limit={LINES_MAX}&level=info"));
    let mut stream = session.client.stream(&path, None)?;
    let mut events = String::new();
    let mut lines = 0;
    // A host ends the answer at the limit; another program may not.
    while lines < LINES_MAX
        && events.len() < EVENTS_BYTES_MAX
        && let Some((_, line)) = stream.next()?
    {
        lines += 1;
        let LogLine { entry, .. } = stream.parse(&line)?;
        if entry.event.is_some() {
            events.push_str(&text::json_line(&line));
        }
    }
    Ok((events, lines == LINES_MAX))
}
