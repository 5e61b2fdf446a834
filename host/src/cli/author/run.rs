//! `sandbar run`: a module processes records (NDJSON) offline, without Kafka and without a host.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, bail};
use sandbar_table::Rows;
use serde::Serialize;

use super::super::error::{Error, Kind, Result};
use super::super::text::json_line;
use super::module::read_module;
use crate::bounded_input;
use crate::guest::{ModuleOptions, Modules};
use crate::model::codes::Code;
use crate::model::json;
use crate::model::names::{Digest, TeamName, TransformId};
use crate::model::spec::{GuestConfig, RawSpec, Spec, StoreSpec};
use crate::model::text;
use crate::model::units::Timestamp;
use crate::model::yaml;
use crate::ports::{LogRecord, Table, TopicPartition};
use crate::record_json::{self, Form, RecordContent};
use crate::secrets::{SecretOptions, Secrets};
use crate::state::local::Entry;
use crate::state::{KeyedState, StoreSettings};
use crate::task::dry_run::{DryRun, OutputRecord};
use crate::task::{RecordFailure, Settings};
use crate::telemetry::GUEST_ERROR;
use crate::telemetry::logging::{self, LogFormat, LogOptions};
use crate::telemetry::metrics::Metrics;

/// Longest line of input.
const LINE_BYTES_MAX: usize = 64 << 20;
/// Largest file of a store's or a table's entries: by default, a host takes no larger table.
const ENTRIES_BYTES_MAX: u64 = 256 << 20;
/// Largest file of a config: the reader of YAML takes no more.
const CONFIG_BYTES_MAX: u64 = yaml::BYTES_MAX as u64;
/// Text of a key in a warning.
const KEY_BYTES_MAX: usize = 200;

/// Run records (NDJSON on stdin) through a module, offline; failures go to stderr as NDJSON
///
/// A line is {"key": .., "value": .., "headers": [{"name": .., "value": ..}], "timestamp": MS}, with optional fields; a
/// value that is not a string is sent as its JSON text, key_base64 and value_base64 hold bytes. Output records have the same
/// form, with the output's alias as "target". Exits with 1 if a record failed. If no look-up in a table has found a row, a
/// line {"warning": ..} on stderr says so.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The component
    module: PathBuf,
    /// Its config, an object in a JSON or YAML file [default: empty]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder in which the config's {secret: "file:NAME"} are looked up, as FOLDER/TEAM/NAME; {secret: "env:NAME"} is the
    /// variable SANDBAR_SECRET_TEAM__NAME
    #[arg(long, env = "SANDBAR_SECRETS_DIR", value_name = "FOLDER")]
    secrets_dir: Option<PathBuf>,
    /// The team whose secrets the module gets
    #[arg(long, value_name = "TEAM", default_value = "local")]
    team: TeamName,
    /// A store that the module opens, with its first entries: a file of lines {"key": .., "value": ..}; without a file the
    /// store is empty; may be given several times
    #[arg(long = "state", value_name = "NAME[=FILE]")]
    stores: Vec<String>,
    /// A table that the module opens, and its records in the same form; may be given several times
    #[arg(long = "table", value_name = "NAME=FILE")]
    tables: Vec<String>,
    /// The name of the input topic
    #[arg(long, value_name = "NAME", default_value = "in")]
    input: String,
    /// An output's alias; may be given several times, a record that names no alias goes to the first
    #[arg(long = "output", value_name = "ALIAS", default_value = "out")]
    outputs: Vec<String>,
    /// The module's log lines to show on stderr, as JSON: error, info, debug, ...
    #[arg(long, value_name = "FILTER", default_value = "off")]
    log: String,
}

/// An output record on stdout; it can be the input of another run.
#[derive(Serialize)]
struct OutputLine<'a> {
    target: &'a str,
    timestamp: i64,
    #[serde(flatten)]
    content: RecordContent,
}

/// A record that failed, on stderr.
#[derive(Serialize)]
struct FailureLine {
    /// The line of the input, counted from 1.
    line: usize,
    code: Code,
    message: String,
}

impl RunArgs {
    /// Exit code 1: a record failed, or the module could not be run. An option or a file that is of no use has 2.
    pub fn run(self) -> Result<ExitCode> {
        // Standard error is locked line by line: other threads log there while this one waits for them.
        let failures = self.stream(&mut io::stdin().lock(), &mut io::stdout().lock(), &mut io::stderr())?;
        Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Returns the number of failed records.
    fn stream(&self, input: &mut dyn BufRead, output: &mut dyn Write, errors: &mut dyn Write) -> Result<usize> {
        let filter = with_guest_errors(&self.log);
        logging::init(&LogOptions { filter, format: LogFormat::Json }, None).map_err(Error::usage)?;
        let module = read_module(&self.module).map_err(|error| Error::file(&self.module, error))?;
        let spec = self.spec(Digest::of(&module)).map_err(unusable)?;
        let scratch = tempfile::tempdir().map_err(|error| Error::new(Kind::Failed, error))?;
        let folder = self.secrets_dir.clone().filter(|path| !path.as_os_str().is_empty());
        let secrets = Secrets::open(SecretOptions { folder, ..SecretOptions::default() });
        let secrets = secrets.map_err(|error| Error::new(Kind::Failed, error))?;
        let options = ModuleOptions { secrets, ..ModuleOptions::default() };
        let modules = Modules::open(scratch.path(), options, Metrics::new().modules);
        let modules = modules.map_err(|error| Error::new(Kind::Failed, error))?;
        let files = self.read_tables()?;
        let tables = files.iter().map(|table| table.clone() as Arc<dyn Table>).collect();
        let prepared = modules.try_init(&spec, &module).and_then(|()| modules.prepare(&spec, 0, &module, tables, None));
        let guests = prepared.map_err(|error| {
            let code = error.code();
            // The file is no module at all; others are, and do not run.
            let kind = if code == Code::NotWasm { Kind::Usage } else { Kind::Failed };
            Error::new(kind, error).with(code)
        })?;
        let limits = vec![usize::MAX; spec.written_topics().count()];
        let state = self.read_state(&spec).map_err(unusable)?;
        let mut dry_run = DryRun::new(&guests, Settings::of(&spec, 0, Vec::new(), limits), state);
        let failures = process_all(&mut dry_run, &spec, input, output, errors).map_err(Error::failed)?;
        for warning in files.iter().filter_map(|table| table.warning()) {
            let written = write_while_read(errors, &serde_json::json!({ "warning": warning }));
            written.map_err(|error| Error::new(Kind::Failed, error))?;
        }
        Ok(failures)
    }

    fn spec(&self, module: Digest) -> anyhow::Result<Spec> {
        let config = self.config.as_deref().map(read_config).transpose()?.unwrap_or_default();
        let mut raw: RawSpec = json::of_value(&serde_json::json!({ "inputs": [self.input] }))?;
        raw.config = config;
        // No topic is used; only the names must differ.
        raw.outputs = self.outputs.iter().map(|alias| (alias.clone(), format!("output.{alias}"))).collect();
        let declared = |name: &String| name.split('=').next().unwrap_or_default().to_owned();
        raw.state = self.stores.iter().map(|store| (declared(store), StoreSpec::default())).collect();
        raw.tables = self.tables.iter().map(|table| (declared(table), format!("table.{}", declared(table)))).collect();
        let id: TransformId = format!("{}/run", self.team).parse()?;
        Spec::parse(&raw, &id, Some(module)).map_err(|problems| {
            let all: Vec<String> =
                problems.into_iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect();
            anyhow::anyhow!("{}", all.join("; "))
        })
    }
}

impl RunArgs {
    /// Makes the stores, each with the entries of its file.
    fn read_state(&self, spec: &Spec) -> anyhow::Result<KeyedState> {
        let mut stores = Vec::new();
        for ((name, store), written) in spec.state.iter().zip(&self.stores) {
            let mut entries = BTreeMap::new();
            if let Some((_, file)) = written.split_once('=') {
                for LogRecord { key, value, timestamp, .. } in read_records(Path::new(file))? {
                    let key = key.with_context(|| format!("{file}: an entry of a store has a key"))?;
                    entries.insert(key, value.map(|value| Entry { written_at: Timestamp(timestamp), value }));
                }
            }
            entries.retain(|_, entry| entry.is_some());
            stores.push((StoreSettings::of(name, store, &spec.limits), entries.into_iter().collect()));
        }
        Ok(KeyedState::in_memory(stores)?)
    }

    fn read_tables(&self) -> Result<Vec<Arc<FileTable>>> {
        let mut tables = Vec::new();
        for written in &self.tables {
            let named = written.split_once('=');
            let (name, file) = named.ok_or_else(|| Error::usage(format_args!("--table {written}: NAME=FILE is needed")))?;
            let mut rows = Rows::default();
            for LogRecord { key, value, timestamp, .. } in read_records(Path::new(file)).map_err(unusable)? {
                let key = key.ok_or_else(|| Error::usage(format_args!("{file}: an entry of a table has a key")))?;
                rows.put(&key, value.as_deref(), timestamp);
            }
            let settled = rows.settle().map_err(|error| format!("table {name}: {error}"));
            settled.map_err(|message| Error::new(Kind::Failed, message).with(Code::TableKeys))?;
            tables.push(Arc::new(FileTable { name: name.to_owned(), rows, ..FileTable::default() }));
        }
        Ok(tables)
    }
}

/// The error of a word of the command line, or of a file that one names.
fn unusable(error: anyhow::Error) -> Error {
    Error::usage(format_args!("{error:#}"))
}

/// Runs the lines of `input` one by one. Returns the number of failed records.
fn process_all(
    dry_run: &mut DryRun<'_>,
    spec: &Spec,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
    errors: &mut dyn Write,
) -> anyhow::Result<usize> {
    let mut failures = 0;
    let mut line = Vec::new();
    let mut number = 0;
    while read_line(input, &mut line, number + 1)? {
        number += 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        match process(dry_run, number, &line)? {
            Ok(outputs) => {
                if !write_outputs(spec, outputs, output)? {
                    return Ok(failures);
                }
            }
            Err(failed) => {
                failures += 1;
                write_while_read(errors, &FailureLine { line: number, code: failed.code, message: failed.message })?;
            }
        }
    }
    Ok(failures)
}

/// A guest's errors are warnings to a host. Whoever runs a module asks for them as errors.
fn with_guest_errors(filter: &str) -> String {
    let asks_for_errors = |part: &str| matches!(part.trim().to_ascii_lowercase().as_str(), "error" | "guest=error");
    let is_added = filter.split(',').any(asks_for_errors);
    if is_added { format!("{filter},{GUEST_ERROR}=warn") } else { filter.to_owned() }
}

/// A table with the entries of a file. It counts its look-ups.
#[derive(Default)]
struct FileTable {
    name: String,
    rows: Rows,
    hits: AtomicU64,
    misses: AtomicU64,
    /// The key of the first look-up that missed.
    missed: OnceLock<String>,
}

impl FileTable {
    /// A transform whose look-ups all miss may put nothing out, and nothing else tells why.
    fn warning(&self) -> Option<String> {
        let misses = self.misses.load(Ordering::Relaxed);
        let missed = self.missed.get().filter(|_| self.hits.load(Ordering::Relaxed) == 0)?;
        let missed = text::brief(missed, KEY_BYTES_MAX);
        let has = self.rows.example().map_or_else(|| "it is empty".to_owned(), |key| format!("it has the key {key}"));
        Some(format!("table {}: none of {misses} look-ups found a row: the first was of {missed}, {has}", self.name))
    }
}

impl Table for FileTable {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let found = self.rows.get(key).map(<[u8]>::to_vec);
        if found.is_some() {
            self.hits.fetch_add(1, Ordering::Relaxed);
        } else {
            self.misses.fetch_add(1, Ordering::Relaxed);
            self.missed.get_or_init(|| String::from_utf8_lossy(key).into_owned());
        }
        found
    }
}

fn read_records(path: &Path) -> anyhow::Result<Vec<LogRecord>> {
    let text = bounded_input::read_file(path, ENTRIES_BYTES_MAX).with_context(|| path.display().to_string())?;
    let incoming = record_json::parse(&text, true, usize::MAX, Timestamp::now())
        .map_err(|refused| anyhow::anyhow!("{}: record {}: {}", path.display(), refused.index + 1, refused.message))?;
    Ok(incoming.into_iter().map(|incoming| incoming.record).collect())
}

fn read_config(path: &Path) -> anyhow::Result<GuestConfig> {
    let text = bounded_input::read_file(path, CONFIG_BYTES_MAX).with_context(|| path.display().to_string())?;
    // JSON is YAML.
    GuestConfig::of_yaml(&text).with_context(|| format!("{} is no JSON or YAML object", path.display()))
}

/// Reads the next line; false at the end.
fn read_line(input: &mut dyn BufRead, line: &mut Vec<u8>, number: usize) -> anyhow::Result<bool> {
    line.clear();
    let read = input.take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', line).with_context(|| format!("line {number}"))?;
    if line.len() > LINE_BYTES_MAX {
        bail!("line {number} has more than {LINE_BYTES_MAX} bytes");
    }
    Ok(read > 0)
}

fn process(
    dry_run: &mut DryRun<'_>,
    number: usize,
    line: &[u8],
) -> anyhow::Result<Result<Vec<OutputRecord>, RecordFailure>> {
    let now = Timestamp::now();
    let incoming = match record_json::one(number - 1, line, now) {
        Ok(incoming) => incoming,
        Err(refused) => return Ok(Err(RecordFailure { code: Code::Record, message: refused.message })),
    };
    let partition = TopicPartition { input: 0, partition: incoming.partition.unwrap_or(0) };
    let outcome = dry_run.run(partition, &incoming.record, now).with_context(|| format!("line {number}"))?;
    Ok(outcome.result)
}

/// Writes output records. Returns false if nobody reads them any more, which is not an error.
fn write_outputs(spec: &Spec, outputs: Vec<OutputRecord>, output: &mut dyn Write) -> anyhow::Result<bool> {
    for output_record in outputs {
        let (alias, _) = spec.outputs.get_index(output_record.target).expect("a checked output names one of them");
        let target = alias.as_str();
        let timestamp = output_record.record.timestamp;
        let content = RecordContent::of(output_record.record, Form::Json);
        if !write_while_read(output, &OutputLine { target, timestamp, content })? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes a line. Returns false if nobody reads any more: of failures, the exit code tells then.
fn write_while_read(output: &mut dyn Write, line: &impl Serialize) -> io::Result<bool> {
    let line = json_line(&serde_json::to_string(line)?);
    match output.write_all(line.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        done => done.map(|()| true),
    }
}
