//! The modules' bytes: chunks and manifests in the log, verified copies on the disk.
//!
//! Only the manifests are followed, so a host's start costs a few bytes per module. Copies are written beside their
//! place and renamed into it, and checked against their digest on every load: a bad one is replaced from the log.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{info, warn};

use crate::bounded_input;
use crate::model::codes::Code;
use crate::model::names::{Digest, TeamName, TopicName};
use crate::model::random::random_u64;
use crate::model::units::Timestamp;
use crate::ports::{Log, LogError, LogRecord};

use super::change::SEEN_TIMEOUT;
use super::encoding::record;
use super::error::CatalogError;
use super::manifests::{
    CHUNK_BYTES, MODULE_BYTES_MAX, Manifest, Manifests, chunk_key, chunk_number, drop_manifest, encode_manifest,
};
use super::materialized_topic::MaterializedTopic;
use super::recent_uploads::RecentUploads;

/// Manifests and chunks.
pub const PARTITIONS: i32 = 2;
pub const MANIFESTS: i32 = 0;
pub const CHUNKS: i32 = 1;
/// Chunks that are handed to the log at once.
const CHUNKS_PER_WRITE: usize = 8;
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;
const READ_WAIT: Duration = Duration::from_millis(500);
/// Most manifests that one upload writes: other hosts may get in the way.
const MANIFESTS_PER_UPLOAD: usize = 5;

/// The beginning of the names of unfinished copies.
const UNFINISHED: &str = ".unfinished-";

/// A module that was uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadResult {
    pub digest: Digest,
    /// True if the log did not hold the module before.
    pub new: bool,
}

pub struct Modules {
    log: Arc<dyn Log>,
    topic: TopicName,
    manifests: MaterializedTopic<Manifests>,
    cache_dir: PathBuf,
    /// One upload at a time, so that the same module is not written twice.
    upload: Mutex<()>,
    recent: RecentUploads,
    /// The number of left-behind uploads whose chunks are cleared, or that were forgotten before this host came to them.
    cleared: Mutex<usize>,
}

impl Modules {
    pub fn open(log: Arc<dyn Log>, topic: TopicName, cache_dir: PathBuf) -> Result<Self, CatalogError> {
        if let Err(error) = prepare(&cache_dir) {
            warn!(dir = %cache_dir.display(), code = %Code::LocalDisk, %error, "no place for copies of modules");
        }
        let manifests = MaterializedTopic::start(log.clone(), topic.clone(), MANIFESTS, Manifests::default())?;
        let recent = RecentUploads::default();
        Ok(Self { log, topic, manifests, cache_dir, upload: Mutex::new(()), recent, cleared: Mutex::new(0) })
    }

    pub fn list(&self) -> BTreeMap<Digest, u64> {
        self.manifests.current().stored.iter().map(|(digest, stored)| (*digest, stored.manifest.bytes)).collect()
    }

    pub fn has(&self, digest: &Digest) -> bool {
        self.bytes(digest).is_some()
    }

    /// The size of a module that is stored.
    pub fn bytes(&self, digest: &Digest) -> Option<u64> {
        self.manifests.current().stored.get(digest).map(|stored| stored.manifest.bytes)
    }

    /// The reason why the manifests cannot be read now, if there is one.
    pub fn trouble(&self) -> Option<String> {
        self.manifests.trouble()
    }

    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// The modules that are there.
    pub fn current(&self) -> Arc<Manifests> {
        self.manifests.current()
    }

    /// Waits until this host knows of every module that was stored or deleted before now.
    pub fn catch_up(&self) -> Result<(), CatalogError> {
        let (_, end_offset) = self.log.offsets(&self.topic, MANIFESTS)?;
        if self.manifests.wait_for(end_offset, SEEN_TIMEOUT) {
            return Ok(());
        }
        Err(LogError::Unavailable(format!("{} cannot be read to its end", self.topic)).into())
    }

    /// Returns true if the team may deploy the module by its digest, as far as this host has seen.
    pub fn is_for(&self, digest: &Digest, team: &TeamName) -> bool {
        self.manifests.current().stored.get(digest).is_some_and(|stored| stored.manifest.is_for(team))
    }

    pub fn put(&self, bytes: &[u8], team: Option<&TeamName>) -> Result<UploadResult, CatalogError> {
        let digest = Digest::of(bytes);
        let _upload = self.upload.lock();
        // Another host may have stored it a moment ago, for other teams.
        self.catch_up()?;
        self.check_understood(&digest)?;
        if let Some(stored) = self.manifests.current().stored.get(&digest) {
            let is_recent = self.recent.has(&digest, &stored.manifest.upload, Instant::now());
            if is_recent && stored.manifest.notes(team) {
                return Ok(UploadResult { digest, new: false });
            }
            match self.read_log(&digest, &stored.manifest) {
                // Written again: a module that nobody uses is kept for a while from here on.
                Ok(_) => {
                    self.publish(&digest, stored.manifest.clone(), team)?;
                    // Collected between the two: its chunks may be cleared, and are written again.
                    if !self.manifests.current().has_left(&digest, &stored.manifest.upload) {
                        self.recent.note(&digest, &stored.manifest.upload, Instant::now());
                        return Ok(UploadResult { digest, new: false });
                    }
                }
                Err(CatalogError::Corrupt(_)) => warn!(%digest, "the log's copy is damaged, writing it again"),
                Err(error) => return Err(error),
            }
        }
        let manifest = self.write_chunks(&digest, bytes)?;
        // Read back first: a manifest is the promise that the module is there.
        self.read_log(&digest, &manifest)?;
        self.publish(&digest, manifest.clone(), team)?;
        self.cache(&digest, bytes);
        self.recent.note(&digest, &manifest.upload, Instant::now());
        info!(%digest, bytes = manifest.bytes, chunks = manifest.chunks, "module stored");
        Ok(UploadResult { digest, new: true })
    }

    pub fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, CatalogError> {
        self.check_understood(digest)?;
        let Some(manifest) = self.manifests.current().stored.get(digest).map(|stored| stored.manifest.clone()) else {
            return Ok(None);
        };
        if let Some(bytes) = self.cached(digest, manifest.bytes) {
            return Ok(Some(bytes));
        }
        let bytes = self.read_log(digest, &manifest)?;
        self.cache(digest, &bytes);
        Ok(Some(bytes))
    }

    fn check_understood(&self, digest: &Digest) -> Result<(), CatalogError> {
        match self.manifests.current().unread.get(digest) {
            Some(reason) => Err(CatalogError::Newer { what: digest.to_string(), reason: reason.clone() }),
            None => Ok(()),
        }
    }

    pub fn stop(&self) {
        self.manifests.stop();
    }

    /// Writes a manifest that notes the upload. Another host may write its own at the same time, without the note: then the
    /// newest manifest gets it, too.
    fn publish(&self, digest: &Digest, mut manifest: Manifest, team: Option<&TeamName>) -> Result<(), CatalogError> {
        for _ in 0..MANIFESTS_PER_UPLOAD {
            manifest.uploaded_for(team);
            self.log.append(&self.topic, Some(MANIFESTS), vec![encode_manifest(digest, &manifest, Timestamp::now())])?;
            let (_, end_offset) = self.log.offsets(&self.topic, MANIFESTS)?;
            if !self.manifests.wait_for(end_offset, SEEN_TIMEOUT) {
                return Err(CatalogError::Unseen);
            }
            let current = self.manifests.current();
            match current.stored.get(digest) {
                Some(newest) if !newest.manifest.notes(team) => manifest = newest.manifest.clone(),
                Some(_) | None => return Ok(()),
            }
        }
        Err(CatalogError::Contended(format!("others published {digest} at the same time")))
    }

    /// The records that end these modules; whoever writes them is the catalog's one writer.
    pub fn ends(&self, digests: &[Digest], now: Timestamp) -> Vec<LogRecord> {
        digests.iter().map(|digest| drop_manifest(digest, now)).collect()
    }

    /// Clears the chunks of uploads that were left behind, in the log, and the copies on the disk of modules that are
    /// no more. It may be done twice, and by several hosts.
    pub fn clear(&self) -> Result<(), CatalogError> {
        let current = self.manifests.current();
        let mut cleared = self.cleared.lock();
        *cleared = (*cleared).max(current.forgotten);
        for (digest, left) in current.left_behind.iter().skip(*cleared - current.forgotten) {
            let manifest = &left.manifest;
            let chunk = |number| LogRecord { value: None, ..chunk(digest, &manifest.upload, number, &[], Timestamp::now()) };
            // A module without an upload's name may have been written again under the same keys.
            if !manifest.upload.is_empty() && u64::from(manifest.chunks) <= manifest.bytes {
                let ends = (0..manifest.chunks as usize).map(chunk).collect();
                self.log.append(&self.topic, Some(CHUNKS), ends)?;
            }
            *cleared += 1;
        }
        drop(cleared);
        let Ok(entries) = std::fs::read_dir(&self.cache_dir) else { return Ok(()) };
        let kept: std::collections::BTreeSet<PathBuf> = current.stored.keys().map(|digest| self.path(digest)).collect();
        let copies = entries.flatten().map(|entry| entry.path()).filter(|path| path.extension() == Some("wasm".as_ref()));
        for path in copies.filter(|path| !kept.contains(path)) {
            if let Err(error) = std::fs::remove_file(&path) {
                warn!(path = %path.display(), code = %Code::LocalDisk, %error, "a copy that nobody needs stays");
            }
        }
        Ok(())
    }

    fn write_chunks(&self, digest: &Digest, bytes: &[u8]) -> Result<Manifest, CatalogError> {
        let (_, chunks_from) = self.log.offsets(&self.topic, CHUNKS)?;
        let now = Timestamp::now();
        // No other upload has this name.
        let upload = format!("{:016x}", random_u64());
        let parts = bytes.chunks(CHUNK_BYTES).enumerate();
        let mut chunks: Vec<_> = parts.map(|(number, part)| chunk(digest, &upload, number, part, now)).collect();
        let manifest =
            Manifest { bytes: bytes.len() as u64, chunks: chunks.len() as u32, chunks_from, upload, ..Manifest::default() };
        while !chunks.is_empty() {
            let rest = chunks.split_off(chunks.len().min(CHUNKS_PER_WRITE));
            self.log.append(&self.topic, Some(CHUNKS), std::mem::replace(&mut chunks, rest))?;
        }
        Ok(manifest)
    }

    /// Collects a module's chunks from the log and verifies them.
    fn read_log(&self, digest: &Digest, manifest: &Manifest) -> Result<Vec<u8>, CatalogError> {
        if manifest.bytes > MODULE_BYTES_MAX || u64::from(manifest.chunks) > manifest.bytes {
            return Err(CatalogError::Corrupt(*digest));
        }
        let (_, end_offset) = self.log.offsets(&self.topic, CHUNKS)?;
        let mut chunks: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        let mut offset = manifest.chunks_from.max(0);
        let deadline = Instant::now() + SEEN_TIMEOUT;
        while offset < end_offset && chunks.len() < manifest.chunks as usize {
            let page = self.log.read(&self.topic, CHUNKS, offset, READ_WAIT, READ_BYTES_MAX)?;
            offset = page.next_offset;
            if page.records.is_empty() && Instant::now() > deadline {
                return Err(LogError::Unavailable(format!("{} gives no records", self.topic)).into());
            }
            for record in page.records {
                let number =
                    chunk_number(digest, &manifest.upload, &record).filter(|&number| number < manifest.chunks as usize);
                if let (Some(number), Some(value)) = (number, record.value) {
                    chunks.insert(number, value);
                }
            }
        }
        let bytes: Vec<u8> = chunks.into_values().flatten().collect();
        if Digest::of(&bytes) == *digest {
            return Ok(bytes);
        }
        self.recent.forget(digest);
        Err(CatalogError::Corrupt(*digest))
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.cache_dir.join(format!("{}.wasm", digest.hex()))
    }

    /// Reads the copy on the disk. A longer one than the module is damaged.
    fn cached(&self, digest: &Digest, bytes_max: u64) -> Option<Vec<u8>> {
        let path = self.path(digest);
        match bounded_input::read_file(&path, bytes_max) {
            Ok(bytes) if Digest::of(&bytes) == *digest => return Some(bytes),
            Err(error) if error.kind() != ErrorKind::InvalidData => return None,
            Ok(_) | Err(_) => {}
        }
        warn!(%digest, path = %path.display(), code = %Code::ModuleCorrupt, "the disk's copy is damaged, reading the log's");
        None
    }

    /// Keeps a copy. A host without a disk for it works too, and reads the log instead.
    fn cache(&self, digest: &Digest, bytes: &[u8]) {
        let path = self.path(digest);
        if let Err(error) = write_whole(&self.cache_dir, &path, bytes) {
            warn!(%digest, path = %path.display(), code = %Code::LocalDisk, %error, "keeping no copy of the module");
        }
    }
}

fn chunk(digest: &Digest, upload: &str, number: usize, part: &[u8], now: Timestamp) -> LogRecord {
    record(chunk_key(digest, upload, number), part.to_vec(), now)
}

/// Makes the directory, and removes the unfinished copies of a killed host.
fn prepare(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The file is there whole, or not at all.
fn write_whole(dir: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(dir)?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.persist(path)?;
    Ok(())
}
