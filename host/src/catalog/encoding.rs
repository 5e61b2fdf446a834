//! The control topics' records: how they are written, and what a follower makes of each one that it reads.
//!
//! Whatever else is found there is logged with its place and skipped: a topic is open to the world, and a host that
//! stops at a record it cannot read would stop for good.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::format::{Format, Unreadable, decode, encode};
use crate::model::names::{Digest, TransformId};
use crate::model::revision::{COUNT_MAX, Deployment, Desired, Generations, Revision};
use crate::model::units::Timestamp;
use crate::ports::LogRecord;

use super::materialized_topic::Fold;
use super::modules::{CHUNKS_MAX, MODULE_BYTES_MAX};
use super::unread::{Outline, Read, read_deployment, read_revision};

/// Longest name of an upload; those that this host makes have 16 bytes.
const UPLOAD_BYTES_MAX: usize = 64;

/// Makes the record, as written now: the moment of the change may be a forged one, which a broker would refuse.
pub fn encode_deployment(deployment: &Deployment, now: Timestamp) -> LogRecord {
    let value = encode(Format::Deployment, deployment);
    record(deployment.id.to_string(), value, now)
}

/// A record to be written.
pub fn record(key: String, value: Vec<u8>, timestamp: Timestamp) -> LogRecord {
    LogRecord { offset: 0, timestamp: timestamp.0, key: Some(key.into_bytes()), value: Some(value), headers: Vec::new() }
}

/// A revision, which stays beside the current state under a key of its own: `team/name@3`.
pub fn encode_revision(revision: &Revision, now: Timestamp) -> LogRecord {
    let value = encode(Format::Revision, revision);
    record(revision_key(&revision.id, revision.revision), value, now)
}

/// The end of a revision that is too old to be kept.
pub fn drop_revision(id: &TransformId, old: u64, by: &Revision) -> LogRecord {
    LogRecord { value: None, ..record(revision_key(id, old), Vec::new(), by.changed_at) }
}

fn revision_key(id: &TransformId, revision: u64) -> String {
    format!("{id}@{revision}")
}

/// What the deployments topic says: the fold of its records.
#[derive(Debug, Clone, Default)]
pub struct State {
    current: BTreeMap<TransformId, Deployment>,
    history: BTreeMap<TransformId, BTreeMap<u64, Arc<Revision>>>,
    /// Revisions that this host does not understand, and why not.
    unread: BTreeMap<(TransformId, u64), String>,
}

impl Deref for State {
    type Target = BTreeMap<TransformId, Deployment>;

    fn deref(&self) -> &Self::Target {
        &self.current
    }
}

impl State {
    /// A deployment that is not deleted.
    pub fn live(&self, id: &TransformId) -> Option<&Deployment> {
        self.current.get(id).filter(|deployment| deployment.desired != Desired::Deleted)
    }

    /// The revisions that were written as such, oldest first.
    pub fn kept(&self, id: &TransformId) -> &BTreeMap<u64, Arc<Revision>> {
        static NONE: BTreeMap<u64, Arc<Revision>> = BTreeMap::new();
        self.history.get(id).unwrap_or(&NONE)
    }

    /// Every revision that there still is, newest first.
    pub fn revisions(&self, id: &TransformId) -> Vec<Arc<Revision>> {
        let kept = self.kept(id);
        let unwritten = self.whole(id).filter(|current| !kept.contains_key(&current.revision));
        unwritten.map(|current| Arc::new(current.to_revision())).into_iter().chain(kept.values().rev().cloned()).collect()
    }

    pub fn revision(&self, id: &TransformId, revision: u64) -> Option<Arc<Revision>> {
        let current = || self.whole(id).filter(|current| current.revision == revision);
        self.kept(id).get(&revision).cloned().or_else(|| Some(Arc::new(current()?.to_revision())))
    }

    fn whole(&self, id: &TransformId) -> Option<&Deployment> {
        self.current
            .get(id)
            .filter(|current| current.is_whole() && !self.unread.contains_key(&(id.clone(), current.revision)))
    }

    /// The revisions that this host does not understand, newest first, and why not.
    pub fn unread(&self, id: &TransformId) -> impl Iterator<Item = (u64, &str)> {
        let all = self.unread.range((id.clone(), 0)..=(id.clone(), u64::MAX)).rev();
        all.map(|((_, revision), reason)| (*revision, reason.as_str()))
    }

    /// Tells whether this host understands everything that there is.
    pub fn is_understood(&self) -> bool {
        self.unread.is_empty() && self.current.values().all(|current| current.unread.is_none())
    }

    /// Takes one record; an error says why it was skipped.
    pub fn take(&mut self, record: &LogRecord) -> Result<(), String> {
        let key = key(record)?;
        let (name, revision) = match key.split_once('@') {
            None => (key, None),
            Some((name, revision)) => {
                (name, Some(revision.parse().map_err(|_| format!("{key:?} is not a revision's key"))?))
            }
        };
        let id: TransformId = name.parse().map_err(|error| format!("{error}"))?;
        match revision {
            None => self.take_current(id, record.value.as_deref()),
            Some(revision) => self.take_revision(id, revision, record.value.as_deref()),
        }
    }

    fn take_current(&mut self, id: TransformId, value: Option<&[u8]>) -> Result<(), String> {
        let Some(value) = value else {
            // Sandbar writes no tombstones here: somebody cleared the key by hand. The revision outlives that.
            if let Some(deployment) = self.current.get_mut(&id) {
                deployment.desired = Desired::Deleted;
                deployment.unread = None;
            }
            return Ok(());
        };
        let deployment = match read_deployment(&id, value)? {
            Read::Whole(deployment) => deployment,
            Read::Outline(outline) => self.unread_deployment(&id, outline),
        };
        self.current.insert(id, deployment);
        Ok(())
    }

    /// Keeps what was known before, under what is known of the new record.
    fn unread_deployment(&self, id: &TransformId, outline: Outline) -> Deployment {
        let before = self.current.get(id).cloned();
        let asked = before.as_ref().map(|before| before.asked).unwrap_or_default();
        let Outline { revision, module, desired, resets, changed_at, changes, reason } = outline;
        let before = before.unwrap_or_else(|| Deployment {
            id: id.clone(),
            revision: 0,
            module: Digest::of(&[]),
            spec: serde_json::from_str("{}").expect("every field of a spec has a default"),
            desired: Desired::Running,
            asked,
            changed_at: Timestamp(0),
            changes: 0,
            requests: Vec::new(),
            rest: serde_json::Map::new(),
            unread: None,
        });
        Deployment {
            revision: revision.unwrap_or(0).max(before.revision),
            module: module.unwrap_or(before.module),
            desired: desired.unwrap_or(before.desired),
            // Stores that were reset are no longer written to. All else that is asked for is the newer host's.
            asked: Generations { resets: resets.unwrap_or(asked.resets), ..asked },
            changed_at: changed_at.unwrap_or(before.changed_at),
            changes: changes.unwrap_or(before.changes),
            unread: Some(reason),
            ..before
        }
    }

    fn take_revision(&mut self, id: TransformId, number: u64, value: Option<&[u8]>) -> Result<(), String> {
        let Some(value) = value else {
            if let Some(history) = self.history.get_mut(&id) {
                history.remove(&number);
            }
            self.unread.remove(&(id, number));
            return Ok(());
        };
        if number > COUNT_MAX {
            return Err(format!("its number is above {COUNT_MAX}, so far nobody has counted"));
        }
        match read_revision(&id, number, value)? {
            Read::Whole(revision) => {
                self.unread.remove(&(id.clone(), number));
                self.history.entry(id).or_default().insert(number, Arc::new(revision));
            }
            Read::Outline(reason) => {
                self.history.get_mut(&id).and_then(|history| history.remove(&number));
                self.unread.insert((id, number), reason);
            }
        }
        Ok(())
    }
}

impl Fold for State {
    type Snapshot = Arc<State>;

    fn apply(&mut self, record: &LogRecord) -> Result<(), String> {
        self.take(record)
    }

    fn snapshot(&self) -> Self::Snapshot {
        Arc::new(self.clone())
    }
}

/// Written after a module's chunks: only now does the module exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub bytes: u64,
    pub chunks: u32,
    /// Offset (in the chunks' partition) from which on all chunks are found.
    pub chunks_from: i64,
    /// Part of the chunks' keys: those of another upload of the same module are others.
    #[serde(default)]
    pub upload: String,
}

impl Manifest {
    /// Refuses numbers that no module has: they are added up, and chunks are made for them.
    fn check(&self) -> Result<(), String> {
        let Self { bytes, chunks, chunks_from, upload } = self;
        if *bytes > MODULE_BYTES_MAX || u64::from(*chunks) > CHUNKS_MAX || *chunks_from < 0 {
            return Err(format!("a module of {bytes} bytes in {chunks} chunks from {chunks_from} on is none"));
        }
        let fits = upload.len() <= UPLOAD_BYTES_MAX;
        if fits { Ok(()) } else { Err("its upload's name is too long".to_owned()) }
    }
}

pub fn encode_manifest(digest: &Digest, manifest: &Manifest, now: Timestamp) -> LogRecord {
    record(digest.to_string(), encode(Format::Manifest, manifest), now)
}

/// The end of a module.
pub fn drop_manifest(digest: &Digest, now: Timestamp) -> LogRecord {
    LogRecord { value: None, ..record(digest.to_string(), Vec::new(), now) }
}

/// A module that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub manifest: Manifest,
    /// When it was uploaded last.
    pub at: Timestamp,
}

/// The fold of the manifests: which modules there are.
#[derive(Debug, Clone, Default)]
pub struct Manifests {
    pub held: BTreeMap<Digest, Held>,
    /// Uploads whose manifest was deleted or replaced: what is left of them are chunks.
    pub left_behind: Vec<(Digest, Manifest)>,
    /// Modules of which this host does not understand where they are, and why not.
    pub unread: BTreeMap<Digest, String>,
}

impl Fold for Manifests {
    type Snapshot = Arc<Manifests>;

    fn apply(&mut self, record: &LogRecord) -> Result<(), String> {
        let digest: Digest = key(record)?.parse().map_err(|error| format!("{error}"))?;
        let Some(value) = &record.value else {
            self.left_behind.extend(self.held.remove(&digest).map(|held| (digest, held.manifest)));
            self.unread.remove(&digest);
            return Ok(());
        };
        let manifest: Manifest = match decode(Format::Manifest, value) {
            Ok(manifest) => manifest,
            Err(Unreadable::Newer(newer)) => {
                // Its chunks may be there still, and be used: they are not taken for left behind.
                self.held.remove(&digest);
                self.unread.insert(digest, newer.to_string());
                return Ok(());
            }
            Err(Unreadable::Unknown(reason) | Unreadable::Foreign(reason)) => return Err(reason),
        };
        manifest.check()?;
        self.unread.remove(&digest);
        let upload = manifest.upload.clone();
        let before = self.held.insert(digest, Held { manifest, at: Timestamp(record.timestamp) });
        self.left_behind.extend(before.filter(|before| before.manifest.upload != upload).map(|it| (digest, it.manifest)));
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

fn key(record: &LogRecord) -> Result<&str, String> {
    let key = record.key.as_deref().ok_or("it has no key")?;
    std::str::from_utf8(key).map_err(|_| "its key is not text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment() -> Deployment {
        let spec = serde_json::json!({"inputs": ["a"], "outputs": {"o": "b"}});
        Deployment {
            id: "t/n".parse().expect("valid"),
            revision: 7,
            module: Digest::of(b""),
            spec: serde_json::from_value(spec).expect("valid"),
            desired: Desired::Running,
            asked: Generations::default(),
            changed_at: Timestamp(5),
            changes: 9,
            requests: Vec::new(),
            rest: serde_json::Map::new(),
            unread: None,
        }
    }

    #[test]
    fn a_deployment_reads_back() {
        let mut fold = State::default();
        fold.apply(&encode_deployment(&deployment(), Timestamp(5))).expect("readable");
        assert_eq!(fold.snapshot()[&deployment().id], deployment());
    }

    #[test]
    fn foreign_records_are_refused_and_change_nothing() {
        let good = encode_deployment(&deployment(), Timestamp(5));
        let mut fold = State::default();
        fold.apply(&good).expect("readable");
        for (key, value) in [
            (None, good.value.clone()),
            (Some(vec![0xff]), good.value.clone()),
            (Some(b"no-slash".to_vec()), good.value.clone()),
            (Some(b"t/other".to_vec()), good.value.clone()),
            (Some(b"t/n".to_vec()), Some(b"hello".to_vec())),
            (Some(b"t/n".to_vec()), Some(b"{}".to_vec())),
            (Some(b"t/n@".to_vec()), Some(b"{}".to_vec())),
            (Some(b"t/n@x".to_vec()), None),
            (Some(b"t/n@8".to_vec()), encode_revision(&deployment().to_revision(), Timestamp(5)).value),
        ] {
            let record = LogRecord { key, value, ..good.clone() };
            fold.apply(&record).expect_err(&format!("{record:?}"));
        }
        assert_eq!(fold.snapshot()[&deployment().id], deployment());
    }

    #[test]
    fn a_cleared_key_keeps_its_revision() {
        let mut fold = State::default();
        fold.apply(&encode_deployment(&deployment(), Timestamp(5))).expect("readable");
        fold.apply(&LogRecord { value: None, ..encode_deployment(&deployment(), Timestamp(5)) }).expect("readable");
        let deployment = fold.snapshot()[&deployment().id].clone();
        assert_eq!((deployment.revision, deployment.desired), (7, Desired::Deleted));
    }

    #[test]
    fn chunks_are_told_apart() {
        let (ours, other) = (Digest::of(b"a"), Digest::of(b"b"));
        for (upload, digest, asked, number) in [
            ("u1", ours, "u1", Some(12)),
            ("u1", other, "u1", None),
            ("u1", ours, "u2", None),
            ("u1", ours, "", None),
            ("", ours, "", Some(12)),
            ("", ours, "u1", None),
        ] {
            let record = record(chunk_key(&ours, upload, 12), vec![], Timestamp(0));
            assert_eq!(chunk_number(&digest, asked, &record), number, "{upload:?} asked for {asked:?}");
        }
    }

    #[test]
    fn a_forged_manifest_is_refused() {
        let digest = Digest::of(b"a");
        let good = Manifest { bytes: 1, chunks: 1, chunks_from: 0, upload: "u".into() };
        for (forged, accepted) in [
            (good.clone(), true),
            (Manifest { bytes: MODULE_BYTES_MAX, ..good.clone() }, true),
            (Manifest { bytes: u64::MAX, ..good.clone() }, false),
            // As many chunks would be cleared, once another manifest takes its place.
            (Manifest { bytes: MODULE_BYTES_MAX, chunks: u32::MAX, ..good.clone() }, false),
            (Manifest { chunks_from: i64::MAX, ..good.clone() }, true),
            (Manifest { chunks_from: i64::MIN, ..good.clone() }, false),
            (Manifest { upload: "u".repeat(10_000), ..good }, false),
        ] {
            let taken = Manifests::default().apply(&encode_manifest(&digest, &forged, Timestamp(0)));
            assert_eq!(taken.is_ok(), accepted, "{forged:?}");
        }
    }

    #[test]
    fn what_an_upload_leaves_behind_is_known() {
        let digest = Digest::of(b"a");
        let manifest = |upload: &str| Manifest { bytes: 1, chunks: 1, chunks_from: 0, upload: upload.into() };
        let mut fold = Manifests::default();
        let left = |fold: &Manifests| fold.left_behind.iter().map(|(_, it)| it.upload.clone()).collect::<Vec<_>>().join(" ");
        for (written, at, left_behind) in
            [(Some("u1"), 1, ""), (Some("u1"), 2, ""), (Some("u2"), 3, "u1"), (None, 4, "u1 u2"), (None, 5, "u1 u2")]
        {
            let record = match written {
                Some(upload) => encode_manifest(&digest, &manifest(upload), Timestamp(at)),
                None => drop_manifest(&digest, Timestamp(at)),
            };
            fold.apply(&record).expect("readable");
            assert_eq!(left(&fold), left_behind, "after {at}");
            assert_eq!(fold.held.get(&digest).map(|held| held.at), written.map(|_| Timestamp(at)));
        }
    }
}
