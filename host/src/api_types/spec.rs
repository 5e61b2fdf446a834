//! The spec of a transform as the API shows and describes it.
//!
//! A spec is one document: a topic, the API and `transform.yaml` all hold it as its team wrote it, and `model::spec` reads
//! it. So the API has no fields of its own for it: [`SpecDocument`] carries the document, and the other types here only
//! describe its fields for OpenAPI. A test compares them with the fields that are read.
#![expect(dead_code, reason = "the fields of a spec are described here, and read by `model::spec`")]

use std::collections::HashMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

use crate::model::{json, numbers, spec};

/// The field of a spec whose numbers stay as they were written.
const CONFIG: &str = "config";

/// A whole spec, its fields in the order in which the host writes them. A client shows all fields, also those of a newer
/// host.
#[derive(Debug, Clone, PartialEq)]
pub struct SpecDocument {
    fields: serde_norway::Mapping,
    /// The config, whose numbers are rounded among the fields.
    config: spec::GuestConfig,
}

/// A spec as it is written.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSpec {
    /// Owner. A request may leave it out: the URL has it.
    #[schema(pattern = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    team: Option<String>,
    /// Name within the team. A request may leave it out: the URL has it.
    #[schema(pattern = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    name: Option<String>,
    /// `sha256:...` of an uploaded module. A multipart request may leave it out: it has the module.
    module: Option<String>,
    /// Short texts for people and tools, by name: up to 16, of 128 characters each. Names that begin with `sandbar.` are
    /// reserved: `sandbar.folder` is the folder that the transform is applied from.
    #[serde(default)]
    labels: HashMap<String, String>,
    /// Topics to read. They must exist.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 64)]
    inputs: Vec<String>,
    /// Alias (which the guest uses) to topic. The topics must exist. A record that names no alias goes to the first.
    #[serde(default)]
    outputs: HashMap<String, String>,
    /// Handed to the guest's `init`. Any JSON object. In any place of it, an object `{"secret": "file:NAME"}` or
    /// `{"secret": "env:NAME"}` stands for a secret of the team: the host puts its value there when it makes an instance.
    #[serde(default)]
    #[schema(value_type = Object)]
    config: HashMap<String, serde_json::Value>,
    /// `exactly-once` (the default) or `at-least-once`.
    #[serde(default)]
    delivery: Delivery,
    /// The policy for a record that its guest refuses, traps on or runs out of time on.
    #[serde(default)]
    on_error: OnError,
    #[serde(default)]
    limits: Limits,
    /// The first position of a partition without a committed offset: `latest` is the default.
    #[serde(default)]
    start: StartSpec,
    /// Stores that the guest opens by name: keyed state, kept with the outputs in one transaction.
    #[serde(default)]
    state: HashMap<String, StoreSpec>,
    /// Name (which the guest uses) to compacted topic: look-ups. The topics must exist.
    #[serde(default)]
    tables: HashMap<String, String>,
    /// Calls the guest between batches once in each such interval, for each partition: 100ms to 1day. Without it, never.
    #[schema(pattern = r"^([0-9]+ *[a-zA-Z]+ *)+$")]
    tick: Option<String>,
    /// Permits that records of this transform come back to it through other transforms.
    #[serde(default)]
    #[schema(default = false)]
    allow_cycle: bool,
    /// Time between commits: 10ms to 5s, or `min` and `max`.
    #[serde(default)]
    #[schema(default = "100ms")]
    commit_interval: CommitInterval,
    /// Threads per host: 1 to 16. Each is a member of the transform's consumer group.
    #[serde(default)]
    #[schema(default = 1, minimum = 1, maximum = 16)]
    workers: u32,
    /// Hosts that run it: 1 to 1000, or `all`. Without it, two or more, by its partitions and its load.
    #[schema(default = json!(null))]
    hosts: Option<Hosts>,
}

/// The hosts that run a transform: a number, or `all`.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
enum Hosts {
    Number(u32),
    All(AllHosts),
}

/// Every host of the cluster.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum AllHosts {
    All,
}

/// The time between two commits.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
enum CommitInterval {
    /// One time for any load.
    Fixed(String),
    /// `min` once a batch of work is open or pending (`limits.batch_records` or `limits.batch_bytes`), `max` below that.
    Range {
        #[schema(pattern = r"^([0-9]+ *[a-zA-Z]+ *)+$")]
        min: String,
        #[schema(pattern = r"^([0-9]+ *[a-zA-Z]+ *)+$")]
        max: String,
    },
}

impl Default for CommitInterval {
    fn default() -> Self {
        Self::Fixed("100ms".to_owned())
    }
}

/// One store of a transform. There is one for each partition number of the inputs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct StoreSpec {
    /// The place of the store on a host: `disk` (the default, with a cache of hot entries) or `memory`.
    #[serde(default)]
    #[schema(default = "disk")]
    store: StoreKind,
    /// Time after its last write for which an entry is kept: 1s to 10years. Without it, for ever.
    #[serde(default)]
    #[schema(default = json!(null), pattern = r"^([0-9]+ *[a-zA-Z]+ *)+$")]
    ttl: Option<String>,
    /// Keys and values of one partition: 1KiB to 1TiB. A record that would need more fails.
    #[serde(default)]
    #[schema(default = "1GiB", pattern = r"^[0-9]+(\.[0-9]+)? *[a-zA-Z]*$")]
    max_bytes: String,
    /// True if the API may look up entries.
    #[serde(default)]
    #[schema(default = false)]
    queryable: bool,
}

/// The place of a store on a host. Either kind is rebuilt from its changelog topic.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum StoreKind {
    #[default]
    Disk,
    Memory,
}

/// The guarantee of a transform's outputs.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum Delivery {
    /// Outputs, dead letters and input offsets are committed in one transaction.
    #[default]
    ExactlyOnce,
    /// Outputs are flushed, then offsets are committed: after a crash the last of them may be produced again.
    AtLeastOnce,
}

/// The error policy.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OnError {
    #[serde(default)]
    retry: Retry,
    /// After the last attempt: `dead-letter` (the default), `skip` or `pause`.
    #[serde(default)]
    then: Then,
    /// Topic of the dead letters; by default `<team>.<name>.dead-letter`. It is created if it is missing.
    dead_letter_topic: Option<String>,
}

/// Further runs of a failed record. A guest that reads no table and no time fails in the same way again, so the default is
/// none.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Retry {
    /// Runs after the first: 0 to 10.
    #[serde(default)]
    #[schema(default = 0, minimum = 0, maximum = 10)]
    attempts: u32,
    /// 1ms to 10s. The record's partition waits, others go on.
    #[serde(default)]
    #[schema(default = "200ms", pattern = r"^([0-9]+ *[a-zA-Z]+ *)+$")]
    backoff: String,
}

/// The way of a record that failed for good.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum Then {
    /// The record goes to the dead-letter topic, in the same transaction.
    #[default]
    DeadLetter,
    /// The record is counted and dropped.
    Skip,
    /// The record's partition stops before the record until it is resumed.
    Pause,
}

/// The resources that one instance of a transform may use.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Limits {
    /// Memory of one instance (one per partition), with its tables and its own size in the host: 1MiB to 1GiB.
    #[serde(default)]
    #[schema(default = "64MiB", pattern = r"^[0-9]+(\.[0-9]+)? *[a-zA-Z]*$")]
    memory: String,
    /// CPU time of one call of the guest: 10ms to 5s. The call may take at most five times as long on the clock.
    #[serde(default)]
    #[schema(default = "2s", pattern = r"^([0-9]+ *[a-zA-Z]+ *)+$")]
    batch_time: String,
    /// Records that cross to the guest at once: 1 to 4096.
    #[serde(default)]
    #[schema(default = 400, minimum = 1, maximum = 4096)]
    batch_records: u32,
    /// Bytes that cross to the guest at once (one larger record crosses alone): 1KiB to 1MiB.
    #[serde(default)]
    #[schema(default = "256KiB", pattern = r"^[0-9]+(\.[0-9]+)? *[a-zA-Z]*$")]
    batch_bytes: String,
    /// Records that one input record may become: 1 to 100000.
    #[serde(default)]
    #[schema(default = 64, minimum = 1, maximum = 100000)]
    output_per_record: u32,
    /// Bytes that one input record may become: 1KiB to 64MiB. Keys, values and headers count, and 32 bytes for each record
    /// and each header.
    #[serde(default)]
    #[schema(default = "4MiB", pattern = r"^[0-9]+(\.[0-9]+)? *[a-zA-Z]*$")]
    output_bytes_per_record: String,
    /// Bytes (keys and values, and 64 for each entry) that one call may write to all its stores together: 1KiB to 256MiB.
    /// They wait in the host's memory.
    #[serde(default)]
    #[schema(default = "16MiB", pattern = r"^[0-9]+(\.[0-9]+)? *[a-zA-Z]*$")]
    state_bytes_per_call: String,
    /// Log lines a second of all instances on a host, the rest is counted and dropped: 0 to 10000. A host has a limit
    /// for all transforms of a team, too.
    #[serde(default)]
    #[schema(default = 100, minimum = 0, maximum = 10000)]
    log_lines_per_second: u32,
    /// Bytes of these lines a second: 1KiB to 1MiB.
    #[serde(default)]
    #[schema(default = "64KiB", pattern = r"^[0-9]+(\.[0-9]+)? *[a-zA-Z]*$")]
    log_bytes_per_second: String,
}

/// `latest`, `earliest`, or an object with the one field `timestamp`, `ago` or `offsets`.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StartSpec {
    /// After the last record.
    #[default]
    Latest,
    /// At the first record that is left.
    Earliest,
    /// At the first record that is not older than this moment (RFC 3339); after the last record if all are older.
    #[schema(example = json!({"timestamp": "2026-01-01T00:00:00Z"}))]
    Timestamp(String),
    /// At the first record that is not older than this time before the transform was last deployed, paused or resumed:
    /// `1h`.
    #[schema(example = json!({"ago": "1h"}))]
    Ago(String),
    /// At these offsets, by topic and partition; a partition that is not named begins at its first record.
    Offsets(HashMap<String, HashMap<String, i64>>),
}

// === impl SpecDocument ===

impl SpecDocument {
    pub fn of(spec: &spec::RawSpec) -> Self {
        let rounded = spec::RawSpec { config: spec.config.rounded(), ..spec.clone() };
        let fields = serde_norway::to_value(rounded).expect("a spec is plain data");
        let serde_norway::Value::Mapping(fields) = fields else { unreachable!("a spec has fields") };
        Self { fields, config: spec.config.clone() }
    }

    /// Reads the document as this version knows specs; an error if a newer host has other fields.
    pub fn to_spec(&self) -> Result<spec::RawSpec, String> {
        let text = serde_json::to_string(self).map_err(|error| error.to_string())?;
        json::read(text.as_bytes()).map_err(|error| error.to_string())
    }

    /// The document as YAML. Strings in it may have several lines.
    pub fn to_yaml(&self) -> String {
        let yaml = |fields| serde_norway::to_string(fields).expect("the document is plain data");
        let rounded = yaml(&self.fields);
        let Some(exact) = self.config.exact() else { return rounded };
        // The writer has no numbers but doubles: texts that the document has nowhere else stand for the others.
        let stand_in = (0..).map(|n| format!("number{n}n")).find(|text| !rounded.contains(text)).expect("texts are endless");
        let mut texts = Vec::new();
        let config = numbers::replaced(&self.config, exact, |number| {
            texts.push(number.to_owned());
            format!("{stand_in}{}n", texts.len() - 1)
        });
        let mut fields = self.fields.clone();
        fields.insert(CONFIG.into(), serde_norway::to_value(config).expect("a config is plain data"));
        let parts = yaml(&fields);
        let mut parts = parts.split(&stand_in);
        let first = parts.next().unwrap_or_default().to_owned();
        // Each stand-in is followed by the number's index and an `n`.
        parts.fold(first, |shown, part| {
            let (index, rest) = part.split_once('n').unwrap_or((part, ""));
            let number = index.parse().ok().and_then(|index: usize| texts.get(index));
            shown + number.map_or("", String::as_str) + rest
        })
    }
}

impl Serialize for SpecDocument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_map(Some(self.fields.len()))?;
        for (name, value) in &self.fields {
            match name.as_str() {
                Some(CONFIG) => fields.serialize_entry(name, &self.config)?,
                _ => fields.serialize_entry(name, value)?,
            }
        }
        fields.end()
    }
}

impl<'de> Deserialize<'de> for SpecDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = SpecDocument;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a spec")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<SpecDocument, A::Error> {
        let mut document = SpecDocument { fields: serde_norway::Mapping::new(), config: spec::GuestConfig::default() };
        while let Some(name) = access.next_key::<String>()? {
            let value = if name == CONFIG {
                document.config = access.next_value()?;
                serde_norway::to_value(document.config.rounded()).map_err(A::Error::custom)?
            } else {
                access.next_value()?
            };
            document.fields.insert(name.into(), value);
        }
        Ok(document)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use utoipa::PartialSchema;

    use super::*;

    /// A spec that has every field.
    fn full() -> spec::RawSpec {
        serde_json::from_value(json!({
            "team": "a", "name": "b", "module": "sha256:0", "labels": {"owner": "c"}, "inputs": ["t"], "outputs": {"z": "u", "y": "v"},
            "config": {"n": 1.0, "large": u64::MAX, "list": [null, true, "x"]},
            "on_error": {"retry": {"attempts": 1}, "dead_letter_topic": "d"},
            "start": {"ago": "1h"}, "state": {"s": {"ttl": "1h"}}, "tables": {"t": "t"}, "tick": "1s", "allow_cycle": true,
            "hosts": 3, "limits": {"log_bytes_per_second": "32KiB"},
        }))
        .expect("a spec")
    }

    #[track_caller]
    fn check<T: PartialSchema>(written: &Value) {
        let schema = serde_json::to_value(T::schema()).expect("plain data");
        let described = schema["properties"].as_object().expect("properties");
        let written = written.as_object().expect("fields");
        assert_eq!(described.keys().collect::<Vec<_>>(), written.keys().collect::<Vec<_>>());
    }

    #[test]
    fn every_field_is_described() {
        let written = serde_json::to_value(full()).expect("plain data");
        check::<RawSpec>(&written);
        check::<StoreSpec>(&written["state"]["s"]);
        check::<OnError>(&written["on_error"]);
        check::<Retry>(&written["on_error"]["retry"]);
        check::<Limits>(&written["limits"]);
    }

    #[track_caller]
    fn check_defaults<T: PartialSchema>(defaults: &impl Serialize) {
        let schema = serde_json::to_value(T::schema()).expect("plain data");
        let described = schema["properties"].as_object().expect("properties");
        let described = described.iter().filter_map(|(name, field)| Some((name, field.get("default")?)));
        let defaults = serde_json::to_value(defaults).expect("plain data");
        for (name, default) in described {
            assert_eq!(defaults.get(name).unwrap_or(&Value::Null), default, "{name}");
        }
    }

    #[test]
    fn defaults_are_described() {
        let least: spec::RawSpec = serde_json::from_value(json!({"allow_cycle": false})).expect("a spec");
        let mut least = serde_json::to_value(least).expect("plain data");
        least["allow_cycle"] = json!(false);
        check_defaults::<RawSpec>(&least);
        check_defaults::<StoreSpec>(&spec::StoreSpec::default());
        check_defaults::<Retry>(&spec::Retry::default());
        // Left out of records while it has its default.
        let limits = spec::Limits::default();
        let mut written = serde_json::to_value(limits).expect("plain data");
        written["log_bytes_per_second"] = json!(limits.log_bytes_per_second);
        check_defaults::<Limits>(&written);
    }

    #[test]
    fn the_document_is_written_as_the_spec_is() {
        let spec = full();
        let written = serde_json::to_string(&SpecDocument::of(&spec)).expect("plain data");
        assert_eq!(written, serde_json::to_string(&spec).expect("plain data"));
        let exact = r#"{"config":{"a":[1.10,{"b":-0}],"c":0.12345678901234567890,"d":2.5},"replicas":3}"#;
        let document: SpecDocument = serde_json::from_str(exact).expect("a spec");
        assert_eq!(serde_json::to_string(&document).expect("plain data"), exact);
        let yaml = "config:\n  a:\n  - 1.10\n  - b: -0\n  c: 0.12345678901234567890\n  d: 2.5\nreplicas: 3\n";
        assert_eq!(document.to_yaml(), yaml);
        let newer: SpecDocument = serde_json::from_str(r#"{"inputs":["t"],"replicas":3}"#).expect("a newer host's");
        assert_eq!(newer.to_yaml(), "inputs:\n- t\nreplicas: 3\n");
    }
}
