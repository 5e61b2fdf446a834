//! `sandbar test`: the dry run of a transform, or of a candidate for it. Nothing is produced or committed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::super::author::read_signature;
use super::super::error::{Error, Result};
use super::super::text::count;
use super::body::{Body, Part};
use super::manifest::{LocalModule, Manifest, ModuleSource};
use super::registry::RegistryArgs;
use super::session::{Session, Target, route};
use crate::api_types::{DryRunReport, JsonOrText};
use crate::bounded_input;

/// Most bytes of records that are sent: a host takes fewer by default (`records_bytes_max`).
const RECORDS_BYTES_MAX: u64 = 64 << 20;

#[derive(Debug, Args)]
pub struct DryRunArgs {
    #[command(flatten)]
    target: Target,
    /// Records, one JSON object a line: {"key": .., "value": .., "headers": ..}
    #[arg(long, short, value_name = "FILE | -", default_value = "-", conflicts_with = "live")]
    records: PathBuf,
    /// Take the newest N records of the real input topics instead [without N: 10]
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "10", value_parser = newest)]
    live: Option<u32>,
    /// The candidate's module, or oci://REGISTRY/REPOSITORY@sha256:.. [default: the module that --spec names, or the current
    /// one]
    #[arg(long, value_name = "FILE")]
    module: Option<ModuleSource>,
    /// The signature of that module [default: MODULE.sig beside it, if it is there]
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// The candidate's spec [default: the current revision's]
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryArgs,
}

fn newest(raw: &str) -> Result<u32, String> {
    // `--live TEAM/NAME` looks right, and is not.
    raw.parse().map_err(|_| "not a number of records; TEAM/NAME goes before --live".to_owned())
}

/// 0 if every record was processed, 1 if one failed.
pub fn dry_run(args: DryRunArgs, session: &Session) -> Result<ExitCode> {
    let id = args.target.id()?;
    let mut spec = None;
    let mut module = args.module;
    if let Some(path) = &args.spec {
        let Manifest { spec: mut raw, module: named, .. } = only(path)?;
        raw.module.take_if(|_| module.is_some());
        module = module.or(named);
        spec = Some(serde_json::to_vec(&raw).expect("a spec is plain data"));
    }
    let signature = args.signature.as_deref();
    let (module, signature) = match &module {
        Some(source) => {
            let LocalModule { bytes, signature } = source.read(signature, &id.team, &args.registry)?;
            (Some(bytes), signature)
        }
        None => (None, signature.map(read_signature).transpose()?),
    };
    let (source, content_type, records) = match args.live {
        Some(newest) => ("live", "application/json", json!({ "records": newest }).to_string().into_bytes()),
        None => ("records", "application/x-ndjson", read_records(&args.records)?),
    };
    let mut parts = vec![Part { name: source, content_type, content: &records }];
    parts.extend(spec.as_deref().map(|content| Part { name: "spec", content_type: "application/json", content }));
    parts.extend(module.as_deref().map(|content| Part { name: "module", content_type: "application/wasm", content }));
    let signed = signature.as_deref().map(|content| Part { name: "signature", content_type: "application/json", content });
    parts.extend(signed);
    let answer = session.client.send("POST", &route(&id, "/test"), &Body::form(&parts))?;
    let failed = !answer.parse::<DryRunReport>()?.failures.is_empty();
    session.show(&answer, text)?;
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// The spec of a candidate's file, which has only one.
fn only(path: &Path) -> Result<Manifest> {
    let mut manifests = Manifest::read(path)?;
    match (manifests.pop(), manifests.is_empty()) {
        (Some(manifest), true) => Ok(manifest),
        _ => Err(Error::file(path, "has several specs, a candidate is one")),
    }
}

fn read_records(path: &Path) -> Result<Vec<u8>> {
    if path != Path::new("-") {
        return bounded_input::read_file(path, RECORDS_BYTES_MAX).map_err(|error| Error::file(path, error));
    }
    let read = bounded_input::read(std::io::stdin().lock(), RECORDS_BYTES_MAX);
    read.map_err(|error| Error::usage(format_args!("standard input: {error}")))
}

/// Describes the report record by record: the outputs, or the failure.
fn text(report: DryRunReport) -> String {
    let mut text = String::new();
    if report.redacted {
        text.push_str("redacted: the owner of a topic keeps outputs and messages back\n");
    }
    for (input, record) in report.records.iter().enumerate() {
        let kib = record.memory_bytes.div_ceil(1024);
        text.push_str(&format!("record {input}: {} us, {kib} KiB\n", record.micros));
        for it in report.outputs.iter().filter(|it| it.input == input) {
            text.push_str(&format!(
                "  -> {} ({}): {} = {}\n",
                it.target,
                it.topic,
                shown(it.content.key.as_ref()),
                shown(it.content.value.as_ref())
            ));
        }
        for it in report.failures.iter().filter(|it| it.input == input) {
            text.push_str(&format!("  failed: {}: {}\n", it.code, it.message));
        }
    }
    let inputs = count(report.records.len() as u64, "record");
    let outputs = count(report.outputs.len() as u64, "output");
    let failures = report.failures.len();
    let kib = report.memory_bytes.div_ceil(1024);
    text + &format!("{inputs}, {outputs}, {failures} failed; {} us, {kib} KiB of memory\n", report.micros_total)
}

/// A key or value: text, or JSON. Bytes that are neither show as `null`.
fn shown(value: Option<&JsonOrText>) -> String {
    value.unwrap_or(&JsonOrText::Null).to_string()
}
