//! The lines of a backup that are no records: its header, its groups, its end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::names::{ClusterName, TopicName};
use crate::model::units::Rfc3339;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The cluster, which names its groups and topics.
    pub backup: ClusterName,
    pub made_at: Rfc3339,
    /// The version of the program that made it.
    pub made_by: String,
    /// The time for which the audit's entries were kept, if it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_retention_ms: Option<u64>,
}

/// The place of a transform: its group's offsets, and the topics that they are about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupLine {
    pub group: String,
    /// `team/name`.
    pub transform: String,
    pub revision: u64,
    /// Resets of its state: `changelogs` is about the stores since the last of them.
    #[serde(default)]
    pub resets: u64,
    pub inputs: BTreeMap<TopicName, Input>,
    /// The changelog topic of each store.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub changelogs: BTreeMap<String, TopicName>,
    /// Its outputs, and the topic of its dead letters.
    #[serde(default)]
    pub outputs: Vec<TopicName>,
    pub offsets: Vec<Offset>,
}

/// An input topic at the time of the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    pub id: String,
    pub partitions: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offset {
    pub topic: TopicName,
    pub partition: i32,
    pub offset: i64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub metadata: String,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
pub struct End {
    /// The digest of all lines before, in hex.
    pub sha256: String,
    pub lines: u64,
}
