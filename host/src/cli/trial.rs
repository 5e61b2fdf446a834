//! `sandbar test`: what a transform, or a candidate for it, would make of records. Nothing is produced or committed.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::client::{Body, Part};
use super::error::{Error, Result};
use super::manifest::{Manifest, read_module};
use super::session::{Session, Target, route};
use super::text::count;
use super::wire::Trial;
use crate::model::text::one_line;

#[derive(Debug, Args)]
pub struct TestArgs {
    #[command(flatten)]
    target: Target,
    /// Records, one JSON object a line: {"key": .., "value": .., "headers": ..}
    #[arg(long, short, value_name = "FILE | -", default_value = "-", conflicts_with = "live")]
    records: PathBuf,
    /// Instead of given records, the newest N of the real input topics [without N: 10]
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "10", value_parser = newest)]
    live: Option<u32>,
    /// The candidate's module [default: the one that runs, or that --spec names]
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// The candidate's spec [default: the current revision's]
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
}

fn newest(raw: &str) -> Result<u32, String> {
    // `--live TEAM/NAME` looks right, and is not.
    raw.parse().map_err(|_| "not a number of records; TEAM/NAME goes before --live".to_owned())
}

/// 0 if every record was processed, 1 if one failed.
pub fn test(args: TestArgs, session: &Session) -> Result<ExitCode> {
    let (mut spec, mut module) = (None, args.module);
    if let Some(path) = &args.spec {
        let Manifest { spec: mut raw, module: named, .. } = only(path)?;
        raw.module.take_if(|_| module.is_some());
        module = module.or(named);
        spec = Some(serde_json::to_vec(&raw).expect("a spec is plain data"));
    }
    let module = module.as_deref().map(read_module).transpose()?;
    let (source, content_type, records) = match args.live {
        Some(newest) => ("live", "application/json", json!({ "records": newest }).to_string().into_bytes()),
        None => ("records", "application/x-ndjson", read_records(&args.records)?),
    };
    let mut parts = vec![Part { name: source, content_type, content: &records }];
    parts.extend(spec.as_deref().map(|content| Part { name: "spec", content_type: "application/json", content }));
    parts.extend(module.as_deref().map(|content| Part { name: "module", content_type: "application/wasm", content }));
    let id = args.target.id()?;
    let answer = session.client.send("POST", &route(&id, "/test"), &Body::form(&parts))?;
    let failed = !answer.parse::<Trial>()?.failures.is_empty();
    session.show(&answer, told)?;
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// The file's spec: a candidate is one.
fn only(path: &Path) -> Result<Manifest> {
    let mut manifests = Manifest::read(path)?;
    match (manifests.pop(), manifests.is_empty()) {
        (Some(manifest), true) => Ok(manifest),
        _ => Err(Error::file(path, "has several specs, a candidate is one")),
    }
}

fn read_records(path: &Path) -> Result<Vec<u8>> {
    if path != Path::new("-") {
        return std::fs::read(path).map_err(|error| Error::file(path, error));
    }
    let mut records = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut records);
    read.map_err(|error| Error::usage(format_args!("standard input cannot be read: {error}")))?;
    Ok(records)
}

/// Record by record: what came out of it, or why it failed.
fn told(trial: Trial) -> String {
    let mut text = String::new();
    for (input, record) in trial.records.iter().enumerate() {
        let kib = record.memory_bytes.div_ceil(1024);
        text.push_str(&format!("record {input}: {} us, {kib} KiB\n", record.micros));
        for it in trial.outputs.iter().filter(|it| it.input == input) {
            text.push_str(&format!("  -> {} ({}): {} = {}\n", it.target, it.topic, shown(&it.key), shown(&it.value)));
        }
        for it in trial.failures.iter().filter(|it| it.input == input) {
            text.push_str(&format!("  failed: {}: {}\n", it.code, it.message));
        }
    }
    let (inputs, outputs) = (trial.records.len() as u64, trial.outputs.len() as u64);
    let (failures, kib) = (trial.failures.len(), trial.memory_bytes.div_ceil(1024));
    let (inputs, outputs) = (count(inputs, "record"), count(outputs, "output"));
    text + &format!("{inputs}, {outputs}, {failures} failed; {} us, {kib} KiB of memory\n", trial.micros_total)
}

/// A key or value: text as it is, anything else as JSON.
fn shown(value: &Value) -> String {
    one_line(value.as_str().unwrap_or(&value.to_string())).into_owned()
}
