//! The control topics' records: how they are written, and what a follower makes of each one that it reads.
//!
//! Whatever else is found there is logged with its place and skipped: a topic is open to the world, and a host that
//! stops at a record it cannot read would stop for good.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::names::{Digest, TransformId};
use crate::model::revision::{COUNT_MAX, Deployment, Desired, Revision};
use crate::model::units::Timestamp;
use crate::ports::LogRecord;

use super::follower::Fold;
use super::modules::{CHUNKS_MAX, MODULE_BYTES_MAX};

/// Longest name of an upload; those that this host makes have 16 bytes.
const UPLOAD_BYTES_MAX: usize = 64;

/// Makes the record, as written now: the moment of the change may be a forged one, which a broker would refuse.
pub fn encode_deployment(deployment: &Deployment, now: Timestamp) -> LogRecord {
    let value = serde_json::to_vec(deployment).expect("a deployment is plain data");
    record(deployment.id.to_string(), value, now)
}

/// A record to be written.
pub fn record(key: String, value: Vec<u8>, timestamp: Timestamp) -> LogRecord {
    LogRecord { offset: 0, timestamp: timestamp.0, key: Some(key.into_bytes()), value: Some(value), headers: Vec::new() }
}

/// A revision, which stays beside the current state under a key of its own: `team/name@3`.
pub fn encode_revision(revision: &Revision, now: Timestamp) -> LogRecord {
    let value = serde_json::to_vec(revision).expect("a revision is plain data");
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
        let unwritten = self.current.get(id).filter(|current| !kept.contains_key(&current.revision));
        unwritten.map(|current| Arc::new(current.to_revision())).into_iter().chain(kept.values().rev().cloned()).collect()
    }

    pub fn revision(&self, id: &TransformId, revision: u64) -> Option<Arc<Revision>> {
        let current = || self.current.get(id).filter(|current| current.revision == revision);
        self.kept(id).get(&revision).cloned().or_else(|| Some(Arc::new(current()?.to_revision())))
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
            }
            return Ok(());
        };
        let deployment: Deployment = serde_json::from_slice(value).map_err(|error| format!("not a deployment: {error}"))?;
        if deployment.id != id {
            return Err(format!("its key says {id}, its value {}", deployment.id));
        }
        if !deployment.is_plausible() {
            return Err(format!("a number in it is above {COUNT_MAX}, so far nobody has counted"));
        }
        self.current.insert(id, deployment);
        Ok(())
    }

    fn take_revision(&mut self, id: TransformId, number: u64, value: Option<&[u8]>) -> Result<(), String> {
        let Some(value) = value else {
            if let Some(history) = self.history.get_mut(&id) {
                history.remove(&number);
            }
            return Ok(());
        };
        let revision: Revision = serde_json::from_slice(value).map_err(|error| format!("not a revision: {error}"))?;
        if (&revision.id, revision.revision) != (&id, number) {
            return Err(format!("its key says {id}@{number}, its value {}@{}", revision.id, revision.revision));
        }
        if number > COUNT_MAX {
            return Err(format!("its number is above {COUNT_MAX}, so far nobody has counted"));
        }
        self.history.entry(id).or_default().insert(number, Arc::new(revision));
        Ok(())
    }
}

impl Fold for State {
    type View = Arc<State>;

    fn apply(&mut self, record: &LogRecord) -> Result<(), String> {
        self.take(record)
    }

    fn view(&self) -> Self::View {
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
    record(digest.to_string(), serde_json::to_vec(manifest).expect("a manifest is plain data"), now)
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
}

impl Fold for Manifests {
    type View = Arc<Manifests>;

    fn apply(&mut self, record: &LogRecord) -> Result<(), String> {
        let digest: Digest = key(record)?.parse().map_err(|error| format!("{error}"))?;
        let Some(value) = &record.value else {
            self.left_behind.extend(self.held.remove(&digest).map(|held| (digest, held.manifest)));
            return Ok(());
        };
        let manifest: Manifest =
            serde_json::from_slice(value).map_err(|error| format!("not a module's manifest: {error}"))?;
        manifest.check()?;
        let upload = manifest.upload.clone();
        let before = self.held.insert(digest, Held { manifest, at: Timestamp(record.timestamp) });
        self.left_behind.extend(before.filter(|before| before.manifest.upload != upload).map(|it| (digest, it.manifest)));
        Ok(())
    }

    fn view(&self) -> Self::View {
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
    use crate::model::revision::Asked;

    fn deployment() -> Deployment {
        let spec = serde_json::json!({"inputs": ["a"], "outputs": {"o": "b"}});
        Deployment {
            id: "t/n".parse().expect("valid"),
            revision: 7,
            module: Digest::of(b""),
            spec: serde_json::from_value(spec).expect("valid"),
            desired: Desired::Running,
            asked: Asked::default(),
            changed_at: Timestamp(5),
            changes: 9,
            requests: Vec::new(),
        }
    }

    #[test]
    fn a_deployment_reads_back() {
        let mut fold = State::default();
        fold.apply(&encode_deployment(&deployment(), Timestamp(5))).expect("readable");
        assert_eq!(fold.view()[&deployment().id], deployment());
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
        assert_eq!(fold.view()[&deployment().id], deployment());
    }

    #[test]
    fn a_cleared_key_keeps_its_revision() {
        let mut fold = State::default();
        fold.apply(&encode_deployment(&deployment(), Timestamp(5))).expect("readable");
        fold.apply(&LogRecord { value: None, ..encode_deployment(&deployment(), Timestamp(5)) }).expect("readable");
        let deployment = fold.view()[&deployment().id].clone();
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
