//! The first reading of a backup: to its digest, before anything is done.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;

use super::error::BackupError;
use super::file::{BackupReader, Line};
use super::header::{GroupLine, Header, Input};
use super::shift::Shift;
use super::topics::ControlTopic;
use crate::catalog::{CHUNKS, MANIFESTS};
use crate::model::format::Format;
use crate::model::json;
use crate::model::names::{ClusterName, TopicName, TransformId};
use crate::ports::LogRecord;
use crate::positions::{self, InputStart, StartEntry, StartRecord};

/// All that a restore knows of a backup, which is whole.
pub struct Survey {
    pub header: Header,
    pub digest: [u8; 32],
    /// Records by topic.
    pub records: BTreeMap<&'static str, u64>,
    /// The newest start record of each transform. One that nobody can read is written back as it is: no host begins its
    /// transform.
    pub starts: BTreeMap<TransformId, StartEntry>,
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
        let records = self.starts.values().filter_map(readable);
        let of_starts = records.flat_map(|record| record.inputs.keys().chain(record.changelogs.keys()));
        let of_groups =
            self.groups.values().flat_map(|line| line.inputs.keys().chain(line.changelogs.values()).chain(&line.outputs));
        of_starts.chain(of_groups).cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The inputs that a transform has begun: those of its start record, and those for which its group had offsets. A host of
    /// version 0.1 wrote no record, and groups are asked after the records were read: a transform may have begun in between.
    pub fn begun(&self, id: &TransformId) -> BTreeMap<TopicName, InputStart> {
        let mut begun = self.starts.get(id).and_then(readable).map(|record| record.inputs.clone()).unwrap_or_default();
        let Some(GroupLine { inputs, offsets, .. }) = self.groups.get(id) else { return begun };
        let with_offsets = inputs.iter().filter(|(topic, _)| offsets.iter().any(|offset| offset.topic == **topic));
        for (topic, Input { id, partitions }) in with_offsets {
            let input = || InputStart { id: id.clone(), partitions: *partitions };
            begun.entry(topic.clone()).or_insert_with(input);
        }
        begun
    }

    /// The start records of transforms that have begun inputs of which the file's own records do not know.
    pub fn completed_starts(&self) -> Vec<(TransformId, StartRecord)> {
        let completed = self.groups.keys().filter_map(|id| {
            let known = match self.starts.get(id) {
                Some(StartEntry::Readable(record)) => record.clone(),
                Some(StartEntry::Unreadable(_)) => return None,
                None => StartRecord::default(),
            };
            let inputs = self.begun(id);
            (inputs != known.inputs).then(|| (id.clone(), StartRecord { inputs, ..known }))
        });
        completed.collect()
    }

    fn take(&mut self, line: Line, cluster: &ClusterName) -> Result<(), BackupError> {
        let (topic, partition, record) = match line {
            Line::Group(line) => {
                let id = line.transform.parse::<TransformId>();
                let id = id.map_err(|error| BackupError::damaged(error.to_string()))?;
                if line.inputs.values().any(|input| input.partitions < 0) {
                    return Err(BackupError::damaged(format!("an input of {id} has less than no partition")));
                }
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

    /// A record that is of no transform has no effect on any.
    fn take_start(&mut self, record: &LogRecord) {
        match positions::read(record) {
            Ok((id, Some(entry))) => drop(self.starts.insert(id, entry)),
            Ok((id, None)) => drop(self.starts.remove(&id)),
            Err(_) => {}
        }
    }
}

fn readable(entry: &StartEntry) -> Option<&StartRecord> {
    match entry {
        StartEntry::Readable(record) => Some(record),
        StartEntry::Unreadable(_) => None,
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
