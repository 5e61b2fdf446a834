//! The first reading of a backup: to its digest, before anything is done.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;

use super::error::BackupError;
use super::file::{BackupReader, Line};
use super::header::{GroupLine, Header};
use super::shift::Shift;
use super::topics::ControlTopic;
use crate::catalog::{CHUNKS, MANIFESTS};
use crate::model::format::Format;
use crate::model::json;
use crate::model::names::{ClusterName, TopicName, TransformId};
use crate::ports::LogRecord;
use crate::positions::{self, StartEntry, StartRecord};

/// All that a restore knows of a backup, which is whole.
pub struct Survey {
    pub header: Header,
    pub digest: [u8; 32],
    /// Records by topic.
    pub records: BTreeMap<&'static str, u64>,
    /// The newest start record of each transform.
    pub starts: BTreeMap<TransformId, StartRecord>,
    pub groups: BTreeMap<TransformId, GroupLine>,
    pub shift: Shift,
}

impl Survey {
    /// Reads all of a backup of this cluster.
    pub fn of(input: impl BufRead, cluster: &ClusterName) -> Result<Self, BackupError> {
        let (mut reader, header) = BackupReader::new(input)?;
        if header.backup != *cluster {
            let message = format!("the file is a backup of cluster {}, not of {cluster}", header.backup);
            return Err(BackupError::Unfit(message));
        }
        let mut survey = Self {
            header,
            digest: [0; 32],
            records: BTreeMap::new(),
            starts: BTreeMap::new(),
            groups: BTreeMap::new(),
            shift: Shift::default(),
        };
        while let Some(line) = reader.read()? {
            survey.take(line, cluster)?;
        }
        survey.digest = reader.digest().ok_or_else(|| BackupError::damaged("it has no end"))?;
        Ok(survey)
    }

    /// The topics whose ids decide.
    pub fn topics(&self) -> Vec<TopicName> {
        let of_starts = self.starts.values().flat_map(|record| record.inputs.keys().chain(record.changelogs.keys()));
        let of_groups =
            self.groups.values().flat_map(|line| line.inputs.keys().chain(line.changelogs.values()).chain(&line.outputs));
        of_starts.chain(of_groups).cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn take(&mut self, line: Line, cluster: &ClusterName) -> Result<(), BackupError> {
        let (topic, partition, record) = match line {
            Line::Group(line) => {
                let id = line.transform.parse::<TransformId>();
                let id = id.map_err(|error| BackupError::damaged(error.to_string()))?;
                self.groups.insert(id, line);
                return Ok(());
            }
            Line::Record { topic, partition, record } => (topic, partition, record),
        };
        if !(0..topic.partitions(cluster)).contains(&partition) {
            return Err(BackupError::damaged(format!("{} has no partition {partition}", topic.name())));
        }
        *self.records.entry(topic.name()).or_default() += 1;
        match (topic, partition) {
            (ControlTopic::Modules, CHUNKS) => self.shift.note(record.offset),
            (ControlTopic::Modules, MANIFESTS) => check_manifest(&record)?,
            (ControlTopic::Positions, _) => self.take_start(&record),
            _ => {}
        }
        Ok(())
    }

    /// One that nobody can read is written back as it is: no host begins its transform.
    fn take_start(&mut self, record: &LogRecord) {
        match positions::read(record) {
            Ok((id, Some(StartEntry::Readable(start)))) => drop(self.starts.insert(id, start)),
            Ok((id, Some(StartEntry::Unreadable(_)) | None)) => drop(self.starts.remove(&id)),
            Err(_) => {}
        }
    }
}

/// Refuses a manifest of a newer host, whose chunks only that host's program finds in another topic.
fn check_manifest(record: &LogRecord) -> Result<(), BackupError> {
    #[derive(serde::Deserialize)]
    struct VersionField {
        version: Option<u64>,
    }
    let value = record.value.as_deref().unwrap_or_default();
    let version = json::read::<VersionField>(value).ok().and_then(|found| found.version);
    match Format::Manifest.check(version) {
        Err(crate::model::format::Unreadable::Newer(newer)) => Err(BackupError::Unfit(format!("the file has {newer}"))),
        _ => Ok(()),
    }
}
