//! The result of a backup, and of a restore, as commands show them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::model::names::TopicName;

#[derive(Debug, Default, Serialize)]
pub struct BackupSummary {
    /// Records by topic.
    pub records: BTreeMap<&'static str, u64>,
    pub transforms: u64,
    pub offsets: u64,
    pub bytes: u64,
    /// Transforms of a newer host: their offsets are not in the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct RestoreSummary {
    pub dry_run: bool,
    /// Records by topic.
    pub records: BTreeMap<&'static str, u64>,
    /// Offsets of the file that groups are given.
    pub offsets: u64,
    pub inputs: Vec<InputFate>,
    /// Outputs and dead-letter topics that do not exist: no host makes them.
    pub missing_outputs: BTreeSet<TopicName>,
}

/// The way in which a transform goes on in one of its inputs.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct InputFate {
    pub transform: String,
    pub topic: TopicName,
    pub fate: TransformFate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransformFate {
    /// At the offsets that its group has.
    GoesOn,
    /// At the offsets of the backup.
    TakesOver,
    /// At the offsets that there are. Partitions that have begun and have none wait for one (E224).
    Partly,
    /// The input had not begun: at the `start` of the spec.
    Begins,
    /// The input has no offset, and waits for one (E224).
    Waits,
    /// The start record cannot be read by this program, and no host that cannot read it either begins the input (E210).
    Unreadable,
    /// The topic does not exist (E207).
    NoTopic,
}
