//! Takes a backup.
//!
//! All ends are asked for before the first record is read, those of deployments first. The file is written beside its place
//! and moved there when it is whole and on the disk, so a place has a whole backup or the one of before.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::error::BackupError;
use super::file::{BackupWriter, WriteError};
use super::header::{GroupLine, Header, Input, Offset};
use super::outcome::BackupSummary;
use super::pages::Part;
use super::topics::ControlTopic;
use crate::catalog::{CatalogError, Deployments};
use crate::model::names::{ClusterName, TopicName};
use crate::model::revision::Deployment;
use crate::model::spec::Spec;
use crate::model::units::{Rfc3339, Timestamp};
use crate::ports::{GroupOffset, Log, LogError};

/// A partition of a control topic, with its offsets at the begin of the backup.
struct Source {
    of: ControlTopic,
    topic: TopicName,
    partition: i32,
    first: i64,
    end: i64,
}

/// Writes a backup of the cluster to `path`. A file that is there is replaced only with `force`.
pub fn backup(log: &dyn Log, cluster: &ClusterName, path: &Path, force: bool) -> Result<BackupSummary, BackupError> {
    let failed = |error| BackupError::File { path: path.to_owned(), error };
    let unwritten = |error| match error {
        WriteError::Io(error) => failed(error),
        error @ WriteError::LongLine { .. } => BackupError::TooLarge(error.to_string()),
    };
    if !force && path.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(path.to_owned()));
    }
    let sources = sources(log, cluster)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Readable by its owner alone, from the beginning on: it has the hashes of tokens, and everybody's configurations.
    let file = tempfile::Builder::new().prefix(".sandbar-backup-").tempfile_in(dir).map_err(failed)?;
    let (file, beside) = file.into_parts();
    let mut writer = BackupWriter::new(BufWriter::new(file), &header(log, cluster)?).map_err(failed)?;
    let mut summary = BackupSummary::default();
    let mut deployments = Deployments::default();
    for Source { of, topic, partition, first, end } in &sources {
        let part = Part { topic, partition: *partition, first: *first, end: *end };
        part.each(log, |record| {
            if *of == ControlTopic::Deployments {
                // One that is nobody's is kept in the file, and is no deployment.
                let _ = deployments.take(&record);
            }
            *summary.records.entry(of.name()).or_default() += 1;
            writer.record(*of, *partition, record).map_err(unwritten).map(|()| true)
        })?;
    }
    for deployment in deployments.all_live() {
        match deployment.spec() {
            Ok(spec) if deployment.is_whole() => {
                let line = group(log, cluster, deployment, &spec)?;
                summary.offsets += line.offsets.len() as u64;
                summary.transforms += 1;
                writer.group(&line).map_err(unwritten)?;
            }
            _ => summary.unread.push(deployment.id.to_string()),
        }
    }
    let file = writer.finish().and_then(|buffered| buffered.into_inner().map_err(std::io::IntoInnerError::into_error));
    let mut file = file.map_err(failed)?;
    file.flush().and_then(|()| file.sync_all()).map_err(failed)?;
    summary.bytes = file.metadata().map_err(failed)?.len();
    let moved = if force { beside.persist(path) } else { beside.persist_noclobber(path) };
    moved.map_err(|error| match error.error.kind() {
        std::io::ErrorKind::AlreadyExists => BackupError::Exists(path.to_owned()),
        _ => failed(error.error),
    })?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
    Ok(summary)
}

/// All partitions with their ends. A topic that is missing is none that is empty: the first host of this version makes all of
/// them.
fn sources(log: &dyn Log, cluster: &ClusterName) -> Result<Vec<Source>, BackupError> {
    let mut sources = Vec::new();
    for of in ControlTopic::ALL {
        let topic = of.topic(cluster);
        let bounds = match log.bounds(&topic) {
            Err(LogError::NoTopic(_)) => {
                let problem = "does not exist: the first host of this version creates it, or somebody deleted it".to_owned();
                return Err(CatalogError::Topic { topic, problem }.into());
            }
            bounds => bounds?,
        };
        for (partition, (first, end)) in (0..).zip(bounds) {
            sources.push(Source { of, topic: topic.clone(), partition, first, end });
        }
    }
    Ok(sources)
}

fn header(log: &dyn Log, cluster: &ClusterName) -> Result<Header, BackupError> {
    let audit_retention = log.topic(&ControlTopic::Audit.topic(cluster))?.deleted_after;
    Ok(Header {
        backup: cluster.clone(),
        made_at: Rfc3339(Timestamp::now()),
        made_by: env!("CARGO_PKG_VERSION").to_owned(),
        audit_retention_ms: audit_retention.and_then(|time| u64::try_from(time.as_millis()).ok()),
    })
}

fn group(log: &dyn Log, cluster: &ClusterName, deployment: &Deployment, spec: &Spec) -> Result<GroupLine, BackupError> {
    let sizes = log.sizes(&spec.inputs)?;
    let group = spec.group(cluster);
    let topics: Vec<TopicName> = sizes.keys().cloned().collect();
    let offset = |it: GroupOffset| {
        let GroupOffset { topic, partition, next_offset: offset, metadata } = it;
        Offset { topic, partition, offset, metadata }
    };
    let offsets = if topics.is_empty() { Vec::new() } else { log.group_offsets(&group, &topics)? };
    let changelogs = spec.changelogs(cluster, deployment.asked.resets);
    let stores = spec.state.keys().map(ToString::to_string);
    Ok(GroupLine {
        group,
        transform: deployment.id.to_string(),
        revision: deployment.revision,
        resets: deployment.asked.resets,
        inputs: sizes.into_iter().map(|(topic, size)| (topic, Input { id: size.id, partitions: size.partitions })).collect(),
        changelogs: stores.zip(changelogs).collect::<BTreeMap<_, _>>(),
        outputs: spec.written_topics().cloned().collect(),
        offsets: offsets.into_iter().map(offset).collect(),
    })
}
