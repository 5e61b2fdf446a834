//! Checks each field of a written spec, and collects the problems.

use std::time::Duration;

use indexmap::IndexMap;

use super::{CommitInterval, GuestConfig, Hosts, Problem, RawSpec, StartSpec, StoreSpec};
use crate::model::names::{Alias, Digest, TopicName, TransformId};
use crate::model::secret::References;
use crate::model::transaction_time::{BATCH_TIME_MAX, COMMIT_INTERVAL_MAX};
use crate::model::units::{Bytes, Span};

/// Most inputs or outputs of a transform.
pub(super) const TOPICS_MAX: usize = 64;
/// Longest name of a store: it is a part of its changelog topic's.
pub(super) const STORE_NAME_BYTES_MAX: usize = 32;
/// Most stores, or tables, of a transform.
pub(super) const STORES_MAX: usize = 16;
/// Longest time that an entry of a store may be kept after its last write; without `ttl` it is kept for ever.
pub(super) const TTL_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);
/// Most hosts that a spec asks for by a number.
pub(super) const HOSTS_MAX: u32 = 1000;
/// Largest `config`, in bytes of JSON.
pub(super) const CONFIG_BYTES_MAX: usize = 256 * 1024;
/// Objects and arrays of `config` within each other. It is a part of larger JSON (a deployment's record), and no reader of
/// that goes deeper than 128.
pub(super) const CONFIG_DEPTH_MAX: usize = 100;
/// Most objects of `config`, at every depth. Hosts keep the configs of all kept revisions as trees, and the tree of many small
/// objects takes a hundred times the memory of their text.
pub(super) const CONFIG_OBJECTS_MAX: usize = 10_000;

#[derive(Default)]
pub(super) struct Checker {
    pub problems: Vec<Problem>,
}

impl Checker {
    pub fn problem(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem { field: field.into(), message: message.into() });
    }

    pub fn same(&mut self, field: &str, written: Option<&str>, url: &str) {
        if let Some(written) = written.filter(|&written| written != url) {
            self.problem(field, format!("is {written:?}, but the URL says {url:?}"));
        }
    }

    pub fn module(&mut self, written: Option<&str>, uploaded: Option<Digest>) -> Option<Digest> {
        match (written.map(str::parse::<Digest>), uploaded) {
            (Some(Ok(written)), None) => Some(written),
            (Some(Ok(written)), Some(uploaded)) if written == uploaded => Some(written),
            (Some(Ok(_)), Some(uploaded)) => {
                self.problem("module", format!("is not the module of this request, which is {uploaded}"));
                None
            }
            // The file's path, as the CLI has it: the module itself came along.
            (Some(Err(_)) | None, Some(uploaded)) => Some(uploaded),
            (Some(Err(error)), None) => {
                self.problem("module", format!("{error}; upload the file first: POST /v1/modules"));
                None
            }
            (None, None) => {
                self.problem("module", "is missing: sha256:... of a module uploaded with POST /v1/modules");
                None
            }
        }
    }

    pub fn topic(&mut self, field: &str, raw: &str) -> Option<TopicName> {
        match raw.parse::<TopicName>() {
            Ok(topic) if topic.is_internal() => {
                self.problem(field, format!("topic {raw:?} is internal: a transform may not use it"));
                None
            }
            Ok(topic) => Some(topic),
            Err(error) => {
                self.problem(field, error.to_string());
                None
            }
        }
    }

    pub fn inputs(&mut self, raw: &[String]) -> Vec<TopicName> {
        if raw.is_empty() || raw.len() > TOPICS_MAX {
            self.problem("inputs", format!("must name 1 to {TOPICS_MAX} topics"));
        }
        let mut inputs = Vec::new();
        for (i, raw) in raw.iter().take(TOPICS_MAX).enumerate() {
            if let Some(topic) = self.topic(&format!("inputs[{i}]"), raw) {
                if inputs.contains(&topic) {
                    self.problem(format!("inputs[{i}]"), format!("topic {raw:?} is named twice"));
                }
                inputs.push(topic);
            }
        }
        inputs
    }

    pub fn outputs(&mut self, raw: &IndexMap<String, String>, inputs: &[TopicName]) -> IndexMap<Alias, TopicName> {
        if raw.is_empty() || raw.len() > TOPICS_MAX {
            self.problem("outputs", format!("must name 1 to {TOPICS_MAX} topics"));
        }
        let mut outputs = IndexMap::new();
        for (alias, raw) in raw.iter().take(TOPICS_MAX) {
            let field = format!("outputs.{alias}");
            let topic = self.topic(&field, raw);
            if topic.as_ref().is_some_and(|topic| inputs.contains(topic)) {
                self.problem(&field, format!("topic {raw:?} is also an input: the transform would feed itself"));
            }
            match (alias.parse::<Alias>(), topic) {
                (Ok(alias), Some(topic)) => drop(outputs.insert(alias, topic)),
                (Err(error), _) => self.problem(&field, error.to_string()),
                (Ok(_), None) => {}
            }
        }
        outputs
    }

    pub fn state(&mut self, raw: &IndexMap<String, StoreSpec>) -> IndexMap<Alias, StoreSpec> {
        let mut stores = IndexMap::new();
        for (name, store) in self.named("state", raw) {
            let field = format!("state.{name}");
            if name.as_str().len() > STORE_NAME_BYTES_MAX {
                self.problem(&field, format!("its name must have at most {STORE_NAME_BYTES_MAX} characters"));
            }
            if let Some(ttl) = store.ttl {
                self.within(&format!("{field}.ttl"), ttl, Span::ms(1000), Span(TTL_MAX));
            }
            self.within(&format!("{field}.max_bytes"), store.max_bytes, Bytes::kib(1), Bytes::mib(1 << 20));
            stores.insert(name, *store);
        }
        stores
    }

    pub fn tables(&mut self, raw: &IndexMap<String, String>) -> IndexMap<Alias, TopicName> {
        let mut tables = IndexMap::new();
        for (name, topic) in self.named("tables", raw) {
            if let Some(topic) = self.topic(&format!("tables.{name}"), topic) {
                tables.insert(name, topic);
            }
        }
        tables
    }

    /// Returns the values that are declared under valid names.
    pub fn named<'a, T>(&mut self, field: &str, raw: &'a IndexMap<String, T>) -> Vec<(Alias, &'a T)> {
        if raw.len() > STORES_MAX {
            self.problem(field, format!("must name at most {STORES_MAX}"));
        }
        let mut named = Vec::new();
        for (name, value) in raw.iter().take(STORES_MAX) {
            match name.parse::<Alias>() {
                Ok(name) => named.push((name, value)),
                Err(error) => self.problem(format!("{field}.{name}"), error.to_string()),
            }
        }
        named
    }

    pub fn dead_letter(&mut self, raw: &RawSpec, id: &TransformId, inputs: &[TopicName]) -> Option<TopicName> {
        let field = "on_error.dead_letter_topic";
        let default = format!("{}.{}.dead-letter", id.team, id.name);
        let topic = self.topic(field, raw.on_error.dead_letter_topic.as_ref().map_or(&default, |topic| topic.as_str()))?;
        if inputs.contains(&topic) {
            self.problem(field, format!("topic {:?} is also an input: the transform would feed itself", topic.as_str()));
            return None;
        }
        Some(topic)
    }

    pub fn limits(&mut self, raw: &RawSpec) {
        let limits = &raw.limits;
        self.within("limits.memory", limits.memory, Bytes::mib(1), Bytes::mib(1024));
        self.within("limits.batch_time", limits.batch_time, Span::ms(10), Span(BATCH_TIME_MAX));
        self.within("limits.batch_records", limits.batch_records, 1, 4096);
        self.within("limits.batch_bytes", limits.batch_bytes, Bytes::kib(1), Bytes::mib(1));
        self.within("limits.output_per_record", limits.output_per_record, 1, 100_000);
        self.within("limits.output_bytes_per_record", limits.output_bytes_per_record, Bytes::kib(1), Bytes::mib(64));
        self.within("limits.state_bytes_per_call", limits.state_bytes_per_call, Bytes::kib(1), Bytes::mib(256));
        self.within("limits.log_lines_per_second", limits.log_lines_per_second, 0, 10_000);
        self.within("limits.log_bytes_per_second", limits.log_bytes_per_second, Bytes::kib(1), Bytes::mib(1));
        if let Some(tick) = raw.tick {
            self.within("tick", tick, Span::ms(100), Span(Duration::from_secs(24 * 60 * 60)));
        }
        self.commit_interval(raw.commit_interval);
        self.within("workers", raw.workers, 1, 16);
        if let Some(Hosts::Number(number)) = raw.hosts {
            self.within("hosts", number, 1, HOSTS_MAX);
        }
        self.within("on_error.retry.attempts", raw.on_error.retry.attempts, 0, 10);
        self.within("on_error.retry.backoff", raw.on_error.retry.backoff, Span::ms(1), Span::ms(10_000));
    }

    fn commit_interval(&mut self, CommitInterval { min, max }: CommitInterval) {
        let field = if min == max { "commit_interval" } else { "commit_interval.max" };
        self.within(field, max, Span::ms(10), Span(COMMIT_INTERVAL_MAX));
        if min != max {
            self.within("commit_interval.min", min, Span::ms(10), max);
        }
    }

    pub fn start(&mut self, start: &StartSpec, inputs: &[TopicName]) {
        let StartSpec::Offsets(offsets) = start else { return };
        for (topic, of_topic) in offsets {
            let field = format!("start.offsets.{topic}");
            if !inputs.iter().any(|input| input.as_str() == topic) {
                self.problem(field, format!("topic {topic:?} is not an input"));
                continue;
            }
            for (partition, offset) in of_topic.iter().filter(|(partition, offset)| **partition < 0 || **offset < 0) {
                self.problem(format!("{field}.{partition}"), format!("{partition}: {offset} is below 0"));
            }
        }
    }

    pub fn config(&mut self, config: &GuestConfig) {
        if serde_json::to_vec(config).map_or(0, |json| json.len()) > CONFIG_BYTES_MAX {
            self.problem("config", format!("must be at most {CONFIG_BYTES_MAX} bytes of JSON"));
        }
        let count: usize = config.values().map(objects).sum();
        if count > CONFIG_OBJECTS_MAX {
            self.problem("config", format!("has {count} objects, but must have at most {CONFIG_OBJECTS_MAX}"));
        }
        if !config.is_readable() {
            self.problem("config", "has a field whose name begins with $serde_json::private, which hosts cannot read");
        }
        if config.values().map(depth).max().unwrap_or(0) > CONFIG_DEPTH_MAX {
            self.problem("config", format!("must be at most {CONFIG_DEPTH_MAX} objects and arrays deep"));
        } else {
            let problems = References::of(config).problems;
            problems.into_iter().for_each(|(field, message)| self.problem(field, message));
        }
    }

    pub fn within<T: PartialOrd + std::fmt::Display>(&mut self, field: &str, value: T, least: T, most: T) {
        if value < least || value > most {
            self.problem(field, format!("is {value}, but must be {least} to {most}"));
        }
    }
}

/// Objects and arrays within each other. No parser makes a value of more than 128.
fn depth(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        serde_json::Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Counts the objects in a value, itself included.
fn objects(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(elements) => elements.iter().map(objects).sum(),
        serde_json::Value::Object(fields) => 1 + fields.values().map(objects).sum::<usize>(),
        _ => 0,
    }
}
