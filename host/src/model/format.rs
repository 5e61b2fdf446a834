//! Versions of the formats that hosts write to topics and disks: the one place that knows them. docs/formats.md is the
//! reference, and lists the changes that need no new version.
//!
//! A JSON format has its version in a field; without the field it is version 1, as hosts of 0.1 wrote it. A record
//! is [`Unreadable::Newer`] or [`Unreadable::Unknown`] where a newer host wrote it, and [`Unreadable::Foreign`] where no
//! host did: the first are kept and never written over, the last is skipped.

use std::collections::BTreeMap;

use super::json;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Something that hosts write, and that other hosts, or later versions, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// The current state of a transform, in the deployments topic.
    Deployment,
    /// A revision beside it.
    Revision,
    /// The spec within both.
    Spec,
    /// A module's entry in the modules topic.
    Manifest,
    /// The metadata of a committed offset.
    Offset,
    /// A record of a changelog topic.
    Changelog,
    /// A host, in the status topic.
    Host,
    /// A transform on a host, in the status topic.
    Status,
    /// A token, in the tokens topic.
    Token,
    /// An entry of the audit topic.
    Audit,
    /// A store on a host's disk.
    Store,
    /// A file of `sandbar backup`.
    Backup,
}

/// Larger versions are believed to be forged: no format has had that many.
const VERSION_MAX: u64 = 1000;

impl Format {
    /// Every format that hosts tell each other of: a store on a disk is its host's own, and a backup is read by no host.
    pub const SHARED: [Format; 10] = [
        Self::Deployment,
        Self::Revision,
        Self::Spec,
        Self::Manifest,
        Self::Offset,
        Self::Changelog,
        Self::Host,
        Self::Status,
        Self::Token,
        Self::Audit,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::Revision => "revision",
            Self::Spec => "spec",
            Self::Manifest => "manifest",
            Self::Offset => "offset",
            Self::Changelog => "changelog",
            Self::Host => "host",
            Self::Status => "status",
            Self::Token => "token",
            Self::Audit => "audit",
            Self::Store => "store",
            Self::Backup => "backup",
        }
    }

    /// The highest version that this host reads, which is also the one that it writes.
    pub const fn version(self) -> u32 {
        match self {
            Self::Spec => LABELS,
            _ => 1,
        }
    }

    /// The JSON field that holds the version. A host's record has the host's own version in `version` since 0.1.
    const fn field(self) -> &'static str {
        match self {
            Self::Host => "format",
            _ => "version",
        }
    }

    /// Refuses a version that this host does not read. `None`: it was written without.
    pub fn check(self, version: Option<u64>) -> Result<(), Unreadable> {
        match version.unwrap_or(1) {
            version if version == 0 || version > VERSION_MAX => {
                Err(Unreadable::Foreign(format!("{version} is no version of a {}", self.name())))
            }
            version if version > u64::from(self.version()) => Err(Unreadable::Newer(Newer { format: self, version })),
            _ => Ok(()),
        }
    }
}

/// A version of a format that is newer than those that this host reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {} of version {version}, which is newer than {}, the highest that this host reads", format.name(), format.version())]
pub struct Newer {
    pub format: Format,
    pub version: u64,
}

/// Something that this host does not understand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error(transparent)]
    Newer(#[from] Newer),
    /// A field that is not to be passed over, or a value among named ones, that a newer host may know.
    #[error("{0}")]
    Unknown(String),
    #[error("{0}")]
    Foreign(String),
}

/// JSON with the version of its format.
#[derive(Serialize)]
struct Versioned<'a, T> {
    #[serde(flatten)]
    value: &'a T,
    // Last, so that a record begins as it always has.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<u32>,
}

/// Writes a value, an object in JSON, with the version of its format.
pub fn encode<T: Serialize>(format: Format, value: &T) -> Vec<u8> {
    let version = Some(format.version());
    let versioned = match format.field() {
        "format" => Versioned { version: None, format: version, value },
        _ => Versioned { version, format: None, value },
    };
    serde_json::to_vec(&versioned).expect("a record is plain data")
}

/// Reads a value, once its version is known to be one that this host reads.
pub fn decode<T: DeserializeOwned>(format: Format, json_text: &[u8]) -> Result<T, Unreadable> {
    let foreign = |error: serde_json::Error| unreadable(format, &error);
    let fields: BTreeMap<String, &serde_json::value::RawValue> = json::read(json_text).map_err(foreign)?;
    if let Some(version) = fields.get(format.field()) {
        let version: u64 = json::read(version.get().as_bytes()).map_err(foreign)?;
        format.check(Some(version))?;
    }
    json::read(json_text).map_err(foreign)
}

/// No newer host changes the type of a field without a new version: only names may be new to this one.
fn unreadable(format: Format, error: &serde_json::Error) -> Unreadable {
    let reason = error.to_string();
    let is_unknown = reason.starts_with("unknown field") || reason.starts_with("unknown variant");
    let message = format!("not a {} that this host knows: {reason}", format.name());
    if is_unknown { Unreadable::Unknown(message) } else { Unreadable::Foreign(message) }
}

/// Fields of a record that this host does not understand as a whole: each is read for itself. docs/formats.md names the
/// fields that every version has.
#[derive(Debug, Default)]
pub struct Head(serde_json::Map<String, Value>);

impl Head {
    pub fn of(json_text: &[u8]) -> Self {
        Self(json::read(json_text).unwrap_or_default())
    }

    /// A field, if it is there and as this host knows it.
    pub fn get<T: DeserializeOwned>(&self, field: &str) -> Option<T> {
        json::of_value(self.0.get(field)?).ok()
    }
}

/// A field of specs that is younger than version 1 of their format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpecField {
    /// Its place: `limits.memory`, or `state.*.ttl` for one of every store.
    pub path: &'static str,
    /// The version that it came with.
    pub since: u32,
}

/// Fields that came after version 1. Each is left out of a record while nobody has set it.
pub const SPEC_FIELDS: &[SpecField] = &[
    SpecField { path: "limits.log_bytes_per_second", since: 2 },
    SpecField { path: "commit_interval.min", since: 3 },
    SpecField { path: "hosts", since: PLACEMENT },
    SpecField { path: "labels", since: LABELS },
];

/// The version of specs whose hosts place transforms: hosts that know no lower one run all of them.
pub const PLACEMENT: u32 = 3;

/// The version of specs that have labels: a host that knows no such version would lose the folder of a transform.
const LABELS: u32 = 4;

/// References to secrets in a config: a new meaning of an old field, for configs that have any.
pub const SECRETS: SpecField = SpecField { path: "config", since: 2 };

/// The fields among `table` that a spec has.
pub fn younger_fields<'a>(spec: &Value, table: &'a [SpecField]) -> Vec<&'a SpecField> {
    table.iter().filter(|field| has(spec, field.path)).collect()
}

fn has(value: &Value, path: &str) -> bool {
    let step = path.split('.').next().unwrap_or_default();
    let rest = path.strip_prefix(step).and_then(|rest| rest.strip_prefix('.'));
    let below = |value: &Value| rest.is_none_or(|rest| has(value, rest));
    match (value, step) {
        (Value::Object(fields), "*") => fields.values().any(below),
        (Value::Array(values), "*") => values.iter().any(below),
        (Value::Object(fields), step) => fields.get(step).is_some_and(below),
        _ => false,
    }
}

/// The formats that this host understands, by name, with the highest version of each.
pub fn understood() -> BTreeMap<String, u32> {
    Format::SHARED.iter().map(|format| (format.name().to_owned(), format.version())).collect()
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;
