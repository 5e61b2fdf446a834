//! A transform's spec: what a team writes (`transform.yaml`, or the same fields as JSON), and its validated form.
//!
//! [`RawSpec`] is the wire type: unknown fields are refused. [`Spec::parse`] turns it into a [`Spec`] or says all that
//! is wrong at once. Every limit has its name, default and range here.

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::names::{Alias, Digest, TopicName, TransformId};
use super::units::{Bytes, Span};

pub use super::start::{Start, StartSpec};

/// A spec as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSpec {
    /// Owner. In a request it may be left out: the URL has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Name within the team. In a request it may be left out: the URL has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `sha256:...` of an uploaded module. With multipart it may be left out: the request has the module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// Topics that are read. They must exist.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// Alias (which the guest uses) to topic. They must exist. The first is the default of a record that names none.
    #[serde(default)]
    pub outputs: IndexMap<String, String>,
    /// Handed to the guest's `init`. Any JSON object.
    #[serde(default)]
    pub config: serde_json::Map<String, serde_json::Value>,
    /// `exactly-once` (the default) or `at-least-once`.
    #[serde(default)]
    pub delivery: Delivery,
    /// What becomes of a record that its guest refuses, traps on or runs out of time on.
    #[serde(default)]
    pub on_error: OnError,
    #[serde(default)]
    pub limits: Limits,
    /// Where a partition without a committed offset begins: `latest` is the default.
    #[serde(default)]
    pub start: StartSpec,
    /// Stores that the guest opens by name: keyed state, kept with its outputs in one transaction.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub state: IndexMap<String, StoreSpec>,
    /// Name (which the guest uses) to compacted topic: look-ups. They must exist.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub tables: IndexMap<String, String>,
    /// Calls the guest between batches once in each such interval, for each partition: 100ms to 1day. Without it, never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tick: Option<Span>,
    /// Permits that what this transform writes comes back to it through other transforms.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_cycle: bool,
    /// Time between commits: 10ms to 5s.
    #[serde(default = "default_commit_interval")]
    pub commit_interval: Span,
    /// Threads per host: 1 to 16. Each is a member of the transform's consumer group.
    #[serde(default = "default_workers")]
    pub workers: u32,
}

/// One store of a transform. There is one for each partition number of its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSpec {
    /// Where a host holds it: `disk` (the default, with a cache of hot entries) or `memory`.
    pub store: StoreKind,
    /// How long after its last write an entry is there: 1s to 10years. Without it, for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// Keys and values of one partition: 1KiB to 1TiB. A record that would need more fails.
    pub max_bytes: Bytes,
    /// Whether the API may look up entries.
    pub queryable: bool,
}

/// Where a host holds a store. Either way it is rebuilt from its changelog topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreKind {
    #[default]
    Disk,
    Memory,
}

impl Default for StoreSpec {
    fn default() -> Self {
        Self { store: StoreKind::Disk, ttl: None, max_bytes: Bytes::mib(1024), queryable: false }
    }
}

/// The guarantee of a transform's outputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Outputs, dead letters and input offsets are committed in one transaction.
    #[default]
    ExactlyOnce,
    /// Outputs are flushed, then offsets are committed: after a crash the last of them may be produced again.
    AtLeastOnce,
}

/// The error policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnError {
    #[serde(default)]
    pub retry: Retry,
    /// After the last attempt: `dead-letter` (the default), `skip` or `pause`.
    #[serde(default)]
    pub then: Then,
    /// Topic of the dead letters; by default `<team>.<name>.dead-letter`. It is created where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter_topic: Option<TopicName>,
}

/// How often a failed record is run again. Guests are deterministic, so the default is not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// 0 to 10.
    #[serde(default)]
    pub attempts: u32,
    /// 1ms to 10s. The record's partition waits, others go on.
    #[serde(default = "default_backoff")]
    pub backoff: Span,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 0, backoff: default_backoff() }
    }
}

/// The way of a record that failed for good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// It goes to the dead-letter topic, in the same transaction.
    #[default]
    DeadLetter,
    /// It is counted and dropped.
    Skip,
    /// Its partition stops before it until it is resumed.
    Pause,
}

/// What one instance of a transform may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory of one instance (one per partition), its tables and own size in the host too: 1MiB to 1GiB.
    pub memory: Bytes,
    /// Time of the processor for one call of the guest: 10ms to 5s. On the clock it is five times as much at most.
    pub batch_time: Span,
    /// Records that cross to the guest at once: 1 to 4096.
    pub batch_records: u32,
    /// Bytes that cross to the guest at once (one larger record crosses alone): 1KiB to 1MiB.
    pub batch_bytes: Bytes,
    /// Records that one input record may become: 1 to 100000.
    pub output_per_record: u32,
    /// Bytes that one input record may become: 1KiB to 64MiB. Keys, values and headers count, and 32 bytes for each record
    /// and each header.
    pub output_bytes_per_record: Bytes,
    /// Bytes (keys and values, and 64 for each entry) that one call may write to a store: 1KiB to 256MiB. They wait in the
    /// host's memory.
    pub state_bytes_per_call: Bytes,
    /// Log lines a second of all instances on a host, the rest is counted and dropped: 0 to 10000. A host has a limit
    /// for all transforms of a team, too.
    pub log_lines_per_second: u32,
    /// Bytes of these lines a second: 1KiB to 1MiB.
    pub log_bytes_per_second: Bytes,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: Bytes::mib(64),
            batch_time: Span::ms(2000),
            batch_records: 400,
            batch_bytes: Bytes::kib(256),
            output_per_record: 64,
            output_bytes_per_record: Bytes::mib(4),
            state_bytes_per_call: Bytes::mib(16),
            log_lines_per_second: 100,
            log_bytes_per_second: Bytes::kib(64),
        }
    }
}

fn default_commit_interval() -> Span {
    Span::ms(100)
}

fn default_backoff() -> Span {
    Span::ms(200)
}

fn default_workers() -> u32 {
    1
}

/// A valid spec.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    pub id: TransformId,
    pub module: Digest,
    pub inputs: Vec<TopicName>,
    pub outputs: IndexMap<Alias, TopicName>,
    pub config: serde_json::Map<String, serde_json::Value>,
    pub delivery: Delivery,
    pub retry: Retry,
    pub then: Then,
    pub dead_letter_topic: TopicName,
    pub limits: Limits,
    pub start: StartSpec,
    pub state: IndexMap<Alias, StoreSpec>,
    pub tables: IndexMap<Alias, TopicName>,
    pub tick: Option<Duration>,
    pub allow_cycle: bool,
    pub commit_interval: Duration,
    pub workers: u32,
}

/// One thing that is wrong with a spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The field, as a path: `limits.memory`.
    pub field: String,
    pub message: String,
}

/// Most inputs or outputs of a transform.
pub const TOPICS_MAX: usize = 64;
/// Longest name of a store: it is a part of its changelog topic's.
pub const STORE_NAME_BYTES_MAX: usize = 32;
/// Most stores, or tables, of a transform.
pub const STORES_MAX: usize = 16;
/// Longest time that an entry of a store may be kept after its last write; without `ttl` it is kept for ever.
pub const TTL_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);
/// Largest `config`, in bytes of JSON.
pub const CONFIG_BYTES_MAX: usize = 256 * 1024;
/// Objects and arrays of `config` within each other. It is a part of larger JSON (a deployment's record), and no reader of
/// that goes deeper than 128.
pub const CONFIG_DEPTH_MAX: usize = 100;

impl Spec {
    /// Validates `raw` for the transform `id`, with the digest of a module that came along with it, if one did.
    pub fn parse(raw: &RawSpec, id: &TransformId, uploaded: Option<Digest>) -> Result<Spec, Vec<Problem>> {
        let mut check = Checker::default();
        check.same("team", raw.team.as_deref(), id.team.as_str());
        check.same("name", raw.name.as_deref(), id.name.as_str());
        let module = check.module(raw.module.as_deref(), uploaded);
        let inputs = check.inputs(&raw.inputs);
        let outputs = check.outputs(&raw.outputs, &inputs);
        let state = check.state(&raw.state);
        let tables = check.tables(&raw.tables);
        check.limits(raw);
        if !state.is_empty() && raw.delivery == Delivery::AtLeastOnce {
            // What is processed again would be counted again.
            check.problem("delivery", "must be exactly-once where there is state");
        }
        check.start(&raw.start, &inputs);
        let dead_letter_topic = check.dead_letter(raw, id, &inputs);
        if serde_json::to_vec(&raw.config).map_or(0, |json| json.len()) > CONFIG_BYTES_MAX {
            check.problem("config", format!("must be at most {CONFIG_BYTES_MAX} bytes of JSON"));
        }
        if raw.config.values().map(depth).max().unwrap_or(0) > CONFIG_DEPTH_MAX {
            check.problem("config", format!("must be at most {CONFIG_DEPTH_MAX} objects and arrays deep"));
        }
        let (Some(module), Some(dead_letter_topic), true) = (module, dead_letter_topic, check.problems.is_empty()) else {
            return Err(check.problems);
        };
        Ok(Spec {
            id: id.clone(),
            module,
            inputs,
            outputs,
            config: raw.config.clone(),
            delivery: raw.delivery,
            retry: raw.on_error.retry,
            then: raw.on_error.then,
            dead_letter_topic,
            limits: raw.limits,
            start: raw.start.clone(),
            state,
            tables,
            tick: raw.tick.map(|tick| tick.0),
            allow_cycle: raw.allow_cycle,
            commit_interval: raw.commit_interval.0,
            workers: raw.workers,
        })
    }

    /// The consumer group, named after the transform and never after its revision.
    pub fn group(&self, cluster: &super::names::ClusterName) -> String {
        format!("sandbar.{cluster}.{}.{}", self.id.team, self.id.name)
    }

    /// Whether partitions of several inputs meet in the same stores: those of one number must be in the same hands.
    pub fn shares_state(&self) -> bool {
        !self.state.is_empty() && self.inputs.len() > 1
    }

    /// The changelog topics of its stores, in their order. They belong to the transform's name: a revision finds what
    /// the one before it kept. `resets`: how often its state was reset; each time it gets new topics.
    pub fn changelogs(&self, cluster: &super::names::ClusterName, resets: u64) -> Vec<TopicName> {
        let again = if resets == 0 { String::new() } else { format!(".{resets}") };
        let topic = |store: &Alias| format!("_sandbar.{cluster}.state.{}.{}.{store}{again}", self.id.team, self.id.name);
        let parse = |topic: String| topic.parse().expect("names are DNS labels, and a store's is short");
        self.state.keys().map(|store| parse(topic(store))).collect()
    }

    /// Every topic that this transform writes to.
    pub fn written_topics(&self) -> impl Iterator<Item = &TopicName> {
        let dead_letters = (self.then == Then::DeadLetter).then_some(&self.dead_letter_topic);
        self.outputs.values().chain(dead_letters)
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

#[derive(Default)]
struct Checker {
    problems: Vec<Problem>,
}

impl Checker {
    fn problem(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem { field: field.into(), message: message.into() });
    }

    fn same(&mut self, field: &str, written: Option<&str>, url: &str) {
        if let Some(written) = written.filter(|&written| written != url) {
            self.problem(field, format!("is {written:?}, but the URL says {url:?}"));
        }
    }

    fn module(&mut self, written: Option<&str>, uploaded: Option<Digest>) -> Option<Digest> {
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

    fn topic(&mut self, field: &str, raw: &str) -> Option<TopicName> {
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

    fn inputs(&mut self, raw: &[String]) -> Vec<TopicName> {
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

    fn outputs(&mut self, raw: &IndexMap<String, String>, inputs: &[TopicName]) -> IndexMap<Alias, TopicName> {
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

    fn state(&mut self, raw: &IndexMap<String, StoreSpec>) -> IndexMap<Alias, StoreSpec> {
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

    fn tables(&mut self, raw: &IndexMap<String, String>) -> IndexMap<Alias, TopicName> {
        let mut tables = IndexMap::new();
        for (name, topic) in self.named("tables", raw) {
            if let Some(topic) = self.topic(&format!("tables.{name}"), topic) {
                tables.insert(name, topic);
            }
        }
        tables
    }

    /// What is declared under valid names.
    fn named<'a, T>(&mut self, field: &str, raw: &'a IndexMap<String, T>) -> Vec<(Alias, &'a T)> {
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

    fn dead_letter(&mut self, raw: &RawSpec, id: &TransformId, inputs: &[TopicName]) -> Option<TopicName> {
        let field = "on_error.dead_letter_topic";
        let default = format!("{}.{}.dead-letter", id.team, id.name);
        let topic = self.topic(field, raw.on_error.dead_letter_topic.as_ref().map_or(&default, |topic| topic.as_str()))?;
        if inputs.contains(&topic) {
            self.problem(field, format!("topic {:?} is also an input: the transform would feed itself", topic.as_str()));
            return None;
        }
        Some(topic)
    }

    fn limits(&mut self, raw: &RawSpec) {
        let limits = &raw.limits;
        self.within("limits.memory", limits.memory, Bytes::mib(1), Bytes::mib(1024));
        self.within("limits.batch_time", limits.batch_time, Span::ms(10), Span::ms(5000));
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
        self.within("commit_interval", raw.commit_interval, Span::ms(10), Span::ms(5000));
        self.within("workers", raw.workers, 1, 16);
        self.within("on_error.retry.attempts", raw.on_error.retry.attempts, 0, 10);
        self.within("on_error.retry.backoff", raw.on_error.retry.backoff, Span::ms(1), Span::ms(10_000));
    }

    fn start(&mut self, start: &StartSpec, inputs: &[TopicName]) {
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

    fn within<T: PartialOrd + std::fmt::Display>(&mut self, field: &str, value: T, least: T, most: T) {
        if value < least || value > most {
            self.problem(field, format!("is {value}, but must be {least} to {most}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> TransformId {
        "orders/field-strip".parse().expect("valid")
    }

    fn parse(yaml: &str) -> Result<Spec, Vec<Problem>> {
        let raw: RawSpec = crate::model::yaml::one(yaml.as_bytes()).expect("well-formed");
        Spec::parse(&raw, &id(), Some(Digest::of(b"")))
    }

    #[test]
    fn a_small_spec_takes_the_defaults() {
        let spec = parse("inputs: [a]\noutputs: {o: b}").expect("valid");
        assert_eq!(spec.limits, Limits::default());
        assert_eq!(spec.dead_letter_topic.as_str(), "orders.field-strip.dead-letter");
        assert_eq!(spec.group(&"shop".parse().expect("valid")), "sandbar.shop.orders.field-strip");
        assert_eq!(spec.commit_interval, Duration::from_millis(100));
    }

    #[test]
    fn each_problem_names_its_field() {
        for (yaml, field) in [
            ("outputs: {o: b}", "inputs"),
            ("inputs: [a]", "outputs"),
            ("inputs: [a, a]\noutputs: {o: b}", "inputs[1]"),
            ("inputs: ['a b']\noutputs: {o: b}", "inputs[0]"),
            ("inputs: [a]\noutputs: {o: a}", "outputs.o"),
            ("inputs: [_sandbar.x.deployments]\noutputs: {o: b}", "inputs[0]"),
            ("inputs: [a]\noutputs: {'O o': b}", "outputs.O o"),
            ("inputs: [a]\noutputs: {o: b}\nlimits: {memory: 1KiB}", "limits.memory"),
            ("inputs: [a]\noutputs: {o: b}\nlimits: {batch_time: 1m}", "limits.batch_time"),
            ("inputs: [a]\noutputs: {o: b}\nworkers: 0", "workers"),
            ("inputs: [a]\noutputs: {o: b}\nteam: stock", "team"),
            ("inputs: [a]\noutputs: {o: b}\nstate: {'A b': {}}", "state.A b"),
            ("inputs: [a]\noutputs: {o: b}\nstate: {s: {ttl: 1ms}}", "state.s.ttl"),
            ("inputs: [a]\noutputs: {o: b}\nstate: {s: {max_bytes: 1}}", "state.s.max_bytes"),
            ("inputs: [a]\noutputs: {o: b}\nstate: {s: {}}\ndelivery: at-least-once", "delivery"),
            ("inputs: [a]\noutputs: {o: b}\ntables: {t: __consumer_offsets}", "tables.t"),
            ("inputs: [a]\noutputs: {o: b}\ntick: 1ms", "tick"),
            ("inputs: [a]\noutputs: {o: b}\non_error: {dead_letter_topic: a}", "on_error.dead_letter_topic"),
            ("inputs: [a]\noutputs: {o: b}\nstart: {offsets: {c: {0: 1}}}", "start.offsets.c"),
            ("inputs: [a]\noutputs: {o: b}\nstart: {offsets: {a: {-1: 1}}}", "start.offsets.a.-1"),
            ("inputs: [a]\noutputs: {o: b}\nstart: {offsets: {a: {0: -1}}}", "start.offsets.a.0"),
        ] {
            let problems = parse(yaml).expect_err(yaml);
            assert_eq!(problems[0].field, field, "{yaml}: {problems:?}");
        }
    }

    #[test]
    fn a_config_is_as_deep_as_its_records_can_hold() {
        for (depth, fits) in [(CONFIG_DEPTH_MAX, true), (CONFIG_DEPTH_MAX + 1, false)] {
            let json = format!(
                r#"{{"inputs": ["a"], "outputs": {{"o": "b"}}, "config": {{"x": {}{}}}}}"#,
                "[".repeat(depth),
                "]".repeat(depth)
            );
            let raw: RawSpec = serde_json::from_str(&json).expect("well-formed");
            let problems = Spec::parse(&raw, &id(), Some(Digest::of(b""))).err().unwrap_or_default();
            assert_eq!(problems.is_empty(), fits, "{depth}: {problems:?}");
        }
    }

    #[test]
    fn unknown_fields_are_refused() {
        for yaml in
            ["input: [a]", "limits: {memroy: 1MiB}", "on_error: {then: explode}", "state: {s: {tll: 1s}}", "delivery: twice"]
        {
            assert!(crate::model::yaml::one::<RawSpec>(yaml.as_bytes()).is_err(), "{yaml}");
        }
    }
}
