//! A transform's spec, as a team writes it (`transform.yaml`, or the same fields as JSON) and in its valid form.
//!
//! [`RawSpec`] is the written form: unknown fields are refused. [`Spec::parse`] turns it into a [`Spec`], or returns all
//! problems at once. Every limit has its name and default here, and its range in `checker`.

mod checker;
mod commit_interval;
mod guest_config;
mod hosts;
pub mod labels;
mod valid;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::names::TopicName;
use super::numbers::Written;
use super::units::{Bytes, Span};
use super::yaml;

pub use super::start::{Start, StartSpec};
pub use commit_interval::CommitInterval;
pub use guest_config::GuestConfig;
pub use hosts::Hosts;
pub use labels::Labels;
pub use valid::Spec;

/// A spec as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping with the fields of a spec")]
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
    /// Short texts for people and tools: up to 16.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Topics that are read. They must exist.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// Alias (which the guest uses) to topic. They must exist. The first is the default of a record that names none.
    #[serde(default)]
    pub outputs: IndexMap<String, String>,
    /// Handed to the guest's `init`. Any JSON object, its numbers as they are written. Secrets are references: see
    /// [`super::secret`].
    #[serde(default)]
    pub config: GuestConfig,
    /// `exactly-once` (the default) or `at-least-once`.
    #[serde(default)]
    pub delivery: Delivery,
    /// The policy for a record that its guest refuses, traps on or runs out of time on.
    #[serde(default)]
    pub on_error: OnError,
    #[serde(default)]
    pub limits: Limits,
    /// The first record of a partition without a committed offset: `latest` is the default.
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
    /// Permits that records of this transform come back to it through other transforms.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_cycle: bool,
    /// Time between commits: 10ms to 5s, or `{min, max}`: the longest time while little is open, the shortest while much is.
    #[serde(default = "default_commit_interval")]
    pub commit_interval: CommitInterval,
    /// Threads per host: 1 to 16. Each is a member of the transform's consumer group.
    #[serde(default = "default_workers")]
    pub workers: u32,
    /// Hosts that run it: 1 to 1000, or `all`. Without it, two or more, by its partitions and its load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Hosts>,
}

impl RawSpec {
    /// Reads a YAML text of one document.
    pub fn of_yaml(text: &[u8]) -> Result<Self, yaml::Error> {
        yaml::one(text).map(|mut spec: Self| {
            spec.keep_numbers(Written::of_yaml(text).first());
            spec
        })
    }

    /// Reads a YAML text of any number of documents; empty ones are left out.
    pub fn all_of_yaml(text: &[u8]) -> Result<Vec<Self>, yaml::Error> {
        let mut specs: Vec<Self> = yaml::all(text)?;
        let written = Written::of_yaml(text);
        specs.iter_mut().enumerate().for_each(|(index, spec)| spec.keep_numbers(written.get(index)));
        Ok(specs)
    }

    fn keep_numbers(&mut self, document: Option<&Written>) {
        if let Some(config) = document.and_then(|document| document.field("config")) {
            self.config.keep(config);
        }
    }

    /// Returns true if another spec has the same content, so that it makes no revision. The first output is the default of a
    /// message that names none: their order is content, which equality leaves out.
    pub fn is_same(&self, other: &Self) -> bool {
        self == other && self.outputs.keys().eq(other.outputs.keys())
    }
}

/// One store of a transform. There is one for each partition number of its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a mapping, such as {ttl: 30days}")]
pub struct StoreSpec {
    /// The place of the store on a host: `disk` (the default, with a cache of hot entries) or `memory`.
    pub store: StoreKind,
    /// Time that an entry stays after its last write: 1s to 10years. Without it, for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// Keys and values of one partition: 1KiB to 1TiB. A record that would need more fails.
    pub max_bytes: Bytes,
    /// True if the API may look up entries.
    pub queryable: bool,
}

/// The place of a store on a host. In both places it is rebuilt from its changelog topic.
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
#[serde(deny_unknown_fields, expecting = "a mapping, such as {then: dead-letter}")]
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

/// The repetitions of a failed record. A guest that reads no table and no time fails in the same way again, so the default is
/// none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping, such as {attempts: 3, backoff: 200ms}")]
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
    /// The record goes to the dead-letter topic, in the same transaction.
    #[default]
    DeadLetter,
    /// The record is counted and dropped.
    Skip,
    /// The partition stops before the record until it is resumed.
    Pause,
}

/// The resources that one instance of a transform may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a mapping, such as {memory: 64MiB}")]
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
    /// Bytes (keys and values, and 64 for each entry) that one call may write to all its stores together: 1KiB to 256MiB.
    /// They wait in the host's memory.
    pub state_bytes_per_call: Bytes,
    /// Log lines a second of all instances on a host, the rest is counted and dropped: 0 to 10000. A host has a limit
    /// for all transforms of a team, too.
    pub log_lines_per_second: u32,
    /// Bytes of these lines a second: 1KiB to 1MiB. Hosts of 0.1 read no record that has it, so the default is left out.
    #[serde(skip_serializing_if = "is_default_log_bytes")]
    pub log_bytes_per_second: Bytes,
}

/// The default of a limit that 0.1 does not know.
const LOG_BYTES_PER_SECOND: Bytes = Bytes::kib(64);

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_default_log_bytes(bytes: &Bytes) -> bool {
    *bytes == LOG_BYTES_PER_SECOND
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
            log_bytes_per_second: LOG_BYTES_PER_SECOND,
        }
    }
}

fn default_commit_interval() -> CommitInterval {
    CommitInterval::fixed(Span::ms(100))
}

fn default_backoff() -> Span {
    Span::ms(200)
}

fn default_workers() -> u32 {
    1
}

/// One thing that is wrong with a spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The field, as a path: `limits.memory`.
    pub field: String,
    pub message: String,
}

#[cfg(test)]
mod tests;
