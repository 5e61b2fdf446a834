//! The manifests of the modules topic, the fold of them, and the keys of the chunks that they name.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::format::{Format, Unreadable, decode, encode};
use crate::model::names::{Digest, TeamName};
use crate::model::units::Timestamp;
use crate::ports::LogRecord;

use super::encoding::{key, record};
use super::materialized_topic::Fold;

/// Half of the record that Kafka takes by default.
pub const CHUNK_BYTES: usize = 512 * 1024;
/// Far above any limit on uploads: a manifest that says more is forged.
pub const MODULE_BYTES_MAX: u64 = 1 << 30;
/// Most chunks of a module.
pub const CHUNKS_MAX: u64 = MODULE_BYTES_MAX / CHUNK_BYTES as u64 + 1;
/// Most teams that a manifest names: with one more, it names that one alone, and the others upload the module again.
pub const TEAMS_MAX: usize = 1000;
/// Longest name of an upload; those that this host makes have 16 bytes.
const UPLOAD_BYTES_MAX: usize = 64;
/// Most uploads that are known to be left behind. A host clears those of its own turn as the catalog's writer at once, which
/// are far fewer.
pub const LEFT_BEHIND_MAX: usize = 10_000;

/// Written after a module's chunks: only now does the module exist.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub bytes: u64,
    pub chunks: u32,
    /// Offset (in the chunks' partition) from which on all chunks are found.
    pub chunks_from: i64,
    /// Part of the chunks' keys: those of another upload of the same module are others.
    #[serde(default)]
    pub upload: String,
    /// The teams that have uploaded the module: each knows its bytes. A digest alone is no right to it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub teams: BTreeSet<TeamName>,
    /// True if the module was uploaded for no team, and so for every one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub for_all: bool,
}

impl Manifest {
    /// Refuses numbers that no module has: they are added up, and chunks are made for them.
    fn check(&self) -> Result<(), String> {
        let Self { bytes, chunks, chunks_from, upload, teams, .. } = self;
        if teams.len() > TEAMS_MAX {
            return Err(format!("{} teams have uploaded it", teams.len()));
        }
        if *bytes > MODULE_BYTES_MAX || u64::from(*chunks) > CHUNKS_MAX || *chunks_from < 0 {
            return Err(format!("a module of {bytes} bytes in {chunks} chunks from {chunks_from} on is none"));
        }
        let fits = upload.len() <= UPLOAD_BYTES_MAX;
        if fits { Ok(()) } else { Err("its upload's name is too long".to_owned()) }
    }

    /// Returns true if the team may deploy the module by its digest.
    pub fn is_for(&self, team: &TeamName) -> bool {
        self.for_all || self.teams.contains(team)
    }

    /// Returns true if an upload for the team, or for all of them, is noted.
    pub fn notes(&self, team: Option<&TeamName>) -> bool {
        team.map_or(self.for_all, |team| self.is_for(team))
    }

    /// Notes an upload for a team, or for all of them.
    pub fn uploaded_for(&mut self, team: Option<&TeamName>) {
        match team {
            None => self.for_all = true,
            Some(team) => {
                if self.teams.len() >= TEAMS_MAX && !self.teams.contains(team) {
                    self.teams.clear();
                }
                self.teams.insert(team.clone());
            }
        }
    }
}

pub fn encode_manifest(digest: &Digest, manifest: &Manifest, now: Timestamp) -> LogRecord {
    record(digest.to_string(), encode(Format::Manifest, manifest), now)
}

/// The end of a module.
pub fn drop_manifest(digest: &Digest, now: Timestamp) -> LogRecord {
    LogRecord { value: None, ..record(digest.to_string(), Vec::new(), now) }
}

/// A module that the log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredModule {
    pub manifest: Manifest,
    /// The time of its last upload.
    pub at: Timestamp,
}

/// The fold of the manifests: the modules that the log holds.
#[derive(Debug, Clone, Default)]
pub struct Manifests {
    pub stored: BTreeMap<Digest, Arc<StoredModule>>,
    /// The newest uploads whose manifest was deleted or replaced: their chunks are left, until a host clears them. They stay
    /// known after that: cleared chunks can be read until the log is compacted, and whoever has just written their manifest
    /// once more finds out here that they end.
    pub left_behind: VecDeque<(Digest, Arc<StoredModule>)>,
    /// The number of uploads that were left behind before these.
    pub forgotten: usize,
    /// Modules of which this host does not understand where they are, and why not.
    pub unread: BTreeMap<Digest, String>,
}

impl Manifests {
    /// Returns true if this upload of the module was left behind, as far as that is known.
    pub fn has_left(&self, digest: &Digest, upload: &str) -> bool {
        self.left_behind.iter().any(|(of, left)| of == digest && left.manifest.upload == upload)
    }

    /// Notes an upload that is left behind, if there is one.
    fn leave(&mut self, digest: Digest, upload: Option<Arc<StoredModule>>) {
        self.left_behind.extend(upload.map(|upload| (digest, upload)));
        if self.left_behind.len() > LEFT_BEHIND_MAX {
            self.left_behind.pop_front();
            self.forgotten += 1;
        }
    }
}

impl Fold for Manifests {
    type Snapshot = Arc<Manifests>;

    fn apply(&mut self, record: &LogRecord) -> Result<(), String> {
        let digest: Digest = key(record)?.parse().map_err(|error| format!("{error}"))?;
        let Some(value) = &record.value else {
            let stored = self.stored.remove(&digest);
            self.leave(digest, stored);
            self.unread.remove(&digest);
            return Ok(());
        };
        let manifest: Manifest = match decode(Format::Manifest, value) {
            Ok(manifest) => manifest,
            Err(Unreadable::Newer(newer)) => {
                // Its chunks may be there still, and be used: they are not taken for left behind.
                self.stored.remove(&digest);
                self.unread.insert(digest, newer.to_string());
                return Ok(());
            }
            Err(Unreadable::Unknown(reason) | Unreadable::Foreign(reason)) => return Err(reason),
        };
        manifest.check()?;
        self.unread.remove(&digest);
        let upload = manifest.upload.clone();
        let stored = StoredModule { manifest, at: Timestamp(record.timestamp) };
        let before = self.stored.insert(digest, Arc::new(stored));
        self.leave(digest, before.filter(|before| before.manifest.upload != upload));
        Ok(())
    }

    fn snapshot(&self) -> Self::Snapshot {
        Arc::new(self.clone())
    }
}

/// `digest/upload/number`.
pub fn chunk_key(digest: &Digest, upload: &str, number: usize) -> String {
    match upload {
        // As it was before uploads had names.
        "" => format!("{digest}/{number}"),
        upload => format!("{digest}/{upload}/{number}"),
    }
}

/// The chunk's number, if the record is a chunk of this upload of the module.
pub fn chunk_number(digest: &Digest, upload: &str, record: &LogRecord) -> Option<usize> {
    let key = std::str::from_utf8(record.key.as_deref()?).ok()?;
    let number = key.rsplit_once('/')?.1.parse().ok()?;
    (key == chunk_key(digest, upload, number)).then_some(number)
}

#[cfg(test)]
#[path = "manifests_tests.rs"]
mod tests;
