//! Restores a backup: the checks, then one transaction.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Seek};
use std::path::Path;
use std::time::Duration;

use super::error::BackupError;
use super::file::{BackupReader, Line};
use super::offsets::{Plan, Sizes, plan};
use super::outcome::RestoreSummary;
use super::starts::{Offsets, adapt};
use super::survey::Survey;
use super::target::{check_empty, check_no_hosts};
use super::topics::ControlTopic;
use crate::audit::AUDIT_RETENTION;
use crate::catalog::manifests::Manifest;
use crate::catalog::{self, CHUNKS, MANIFESTS, ensure_topic};
use crate::cluster::OLDER_SILENT_MAX;
use crate::model::format::{self, Format};
use crate::model::json;
use crate::model::names::{ClusterName, TopicName, TransformId};
use crate::model::units::Timestamp;
use crate::ports::{BulkWriter, GroupOffset, Log, LogError, LogRecord, PartitionWrite};
use crate::positions::{self, StartEntry};

/// Longest time of the transaction by default (`--time-max`): Kafka's default of `transaction.max.timeout.ms`.
const TIME_MAX: Duration = Duration::from_secs(15 * 60);
/// Records and bytes that are sent together.
const PART_RECORDS_MAX: usize = 1000;
const PART_BYTES_MAX: usize = 4 << 20;

#[derive(Debug, Clone)]
pub struct RestoreOptions {
    pub offsets: Offsets,
    /// Check everything, and change nothing.
    pub dry_run: bool,
    /// Leave the tokens out: one that was revoked after the backup would be valid again.
    pub without_tokens: bool,
    /// Longest time of the transaction.
    pub time_max: Duration,
    /// Time for which hosts are listened for: longer than a host of any version is silent.
    pub watch: Duration,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        let watch = OLDER_SILENT_MAX;
        Self { offsets: Offsets::Strict, dry_run: false, without_tokens: false, time_max: TIME_MAX, watch }
    }
}

/// Restores the backup at `path` into a cluster that has nothing.
pub fn restore(
    log: &dyn Log,
    cluster: &ClusterName,
    path: &Path,
    options: &RestoreOptions,
) -> Result<RestoreSummary, BackupError> {
    let failed = |error| BackupError::File { path: path.to_owned(), error };
    let mut file = File::open(path).map_err(failed)?;
    let mut survey = Survey::of(BufReader::new(&file), cluster)?;
    if options.without_tokens {
        survey.records.remove(ControlTopic::Tokens.name());
    }
    check_empty(log, cluster)?;
    check_no_hosts(log, cluster, options.watch)?;
    let sizes = log.sizes(&survey.topics())?;
    let Plan { fates, given } = plan(log, cluster, &survey, &sizes, options.offsets)?;
    let count = given.values().map(|offsets| offsets.len() as u64).sum();
    let completed = survey.completed_starts();
    if !completed.is_empty() {
        *survey.records.entry(ControlTopic::Positions.name()).or_default() += completed.len() as u64;
    }
    let outputs = survey.groups.values().flat_map(|line| &line.outputs);
    let summary = RestoreSummary {
        dry_run: options.dry_run,
        records: survey.records.clone(),
        offsets: count,
        inputs: fates,
        missing_outputs: outputs.filter(|topic| !sizes.contains_key(*topic)).cloned().collect(),
    };
    if options.dry_run {
        return Ok(summary);
    }
    create_topics(log, cluster, &survey)?;
    let mut writer = log.bulk(&catalog::writer_id(cluster), options.time_max)?;
    // Whoever changed the catalog until now is fenced, and has written what it could.
    check_empty(log, cluster)?;
    file.rewind().map_err(failed)?;
    let base = log.high_watermark(&ControlTopic::Modules.topic(cluster), CHUNKS)?;
    let mut copy =
        Copy { writer: &mut *writer, cluster, survey: &survey, sizes: &sizes, given: &given, options, base, part: None };
    copy.run(BackupReader::new(BufReader::new(&file))?.0)?;
    for (id, offsets) in &given {
        writer.write_offsets(&id.group(cluster), offsets)?;
    }
    writer.commit()?;
    Ok(summary)
}

/// Creates the topics that are missing, as a host would.
fn create_topics(log: &dyn Log, cluster: &ClusterName, survey: &Survey) -> Result<(), BackupError> {
    let audit_retention = survey.header.audit_retention_ms.map_or(AUDIT_RETENTION, Duration::from_millis);
    for of in ControlTopic::ALL {
        let wanted = of.new_topic(cluster, audit_retention);
        if wanted.compacted {
            ensure_topic(log, wanted)?;
            continue;
        }
        match log.topic(&wanted.name) {
            Err(LogError::NoTopic(_)) => log.create_topic(&wanted)?,
            found => drop(found?),
        }
    }
    Ok(())
}

/// The second reading: into the transaction.
struct Copy<'a> {
    writer: &'a mut dyn BulkWriter,
    cluster: &'a ClusterName,
    survey: &'a Survey,
    sizes: &'a Sizes,
    given: &'a BTreeMap<TransformId, Vec<GroupOffset>>,
    options: &'a RestoreOptions,
    /// The offset of the first chunk that is written.
    base: i64,
    /// Records that are sent together, and their bytes.
    part: Option<(PartitionWrite, usize)>,
}

impl Copy<'_> {
    fn run(&mut self, mut reader: BackupReader<BufReader<&File>>) -> Result<(), BackupError> {
        let now = Timestamp::now();
        while let Some(line) = reader.read()? {
            if let Line::Record { topic, partition, record } = line
                && !(topic == ControlTopic::Tokens && self.options.without_tokens)
            {
                let record = self.restored(topic, partition, record, now);
                self.add(topic.topic(self.cluster), partition, record)?;
            }
        }
        // Behind the file's own, so each is the newest of its transform.
        for (id, start) in self.survey.completed_starts() {
            let adapted = adapt(&start, self.sizes, self.given.contains_key(&id));
            self.add(ControlTopic::Positions.topic(self.cluster), 0, positions::encode(&id, &adapted, now))?;
        }
        self.send()?;
        match reader.digest() {
            Some(digest) if digest == self.survey.digest => Ok(()),
            _ => Err(BackupError::damaged("it changed while it was read")),
        }
    }

    /// The record as it is written. A broker refuses a time that is far ahead, and a client takes 0 for none.
    fn restored(&self, topic: ControlTopic, partition: i32, record: LogRecord, now: Timestamp) -> LogRecord {
        let changed = match (topic, partition) {
            (ControlTopic::Modules, MANIFESTS) => self.manifest(&record),
            (ControlTopic::Positions, _) => self.start(&record),
            _ => None,
        };
        let timestamp = record.timestamp.clamp(1, now.0.max(1));
        LogRecord { value: changed.or(record.value), timestamp, ..record }
    }

    /// A manifest with the new place of its chunks. All of its other fields stay, unknown ones too.
    fn manifest(&self, record: &LogRecord) -> Option<Vec<u8>> {
        let value = record.value.as_deref()?;
        let Manifest { chunks_from, .. } = format::decode(Format::Manifest, value).ok()?;
        let mut fields: serde_json::Map<String, serde_json::Value> = json::read(value).ok()?;
        let place = self.survey.shift.place(chunks_from, self.base);
        fields.insert("chunks_from".to_owned(), place.into());
        Some(serde_json::to_vec(&fields).expect("it was read"))
    }

    fn start(&self, record: &LogRecord) -> Option<Vec<u8>> {
        match positions::read(record) {
            Ok((id, Some(StartEntry::Readable(start)))) => {
                let adapted = adapt(&start, self.sizes, self.given.contains_key(&id));
                (adapted != start).then(|| positions::value(&adapted))
            }
            _ => None,
        }
    }

    fn add(&mut self, topic: TopicName, partition: i32, record: LogRecord) -> Result<(), BackupError> {
        let is_same = |(part, _): &(PartitionWrite, usize)| (&part.topic, part.partition) == (&topic, partition);
        if !self.part.as_ref().is_some_and(is_same) {
            self.send()?;
        }
        let empty = || (PartitionWrite { topic, partition, records: Vec::new() }, 0);
        let (part, bytes) = self.part.get_or_insert_with(empty);
        *bytes += record_bytes(&record);
        part.records.push(record);
        let is_full = *bytes >= PART_BYTES_MAX || part.records.len() >= PART_RECORDS_MAX;
        if is_full { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<(), BackupError> {
        match self.part.take() {
            Some((part, _)) => Ok(self.writer.write(part)?),
            None => Ok(()),
        }
    }
}

fn record_bytes(record: &LogRecord) -> usize {
    let bytes = |field: &Option<Vec<u8>>| field.as_ref().map_or(0, Vec::len);
    let headers = record.headers.iter().map(|(name, value)| name.len() + bytes(value));
    bytes(&record.key) + bytes(&record.value) + headers.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_count_as_the_value_does() {
        let headers = vec![("four".to_owned(), Some(vec![0; 5])), (String::new(), None)];
        let record = LogRecord { offset: 0, timestamp: 0, key: Some(vec![0]), value: Some(vec![0; 2]), headers };
        assert_eq!(record_bytes(&record), 1 + 2 + 4 + 5);
    }
}
