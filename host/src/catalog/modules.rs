//! The modules' bytes: chunks and manifests in the log, verified copies on the disk.
//!
//! Only the manifests are followed, so a host's start costs a few bytes per module. Copies are written beside their
//! place and renamed into it, and checked against their digest on every load: a bad one is replaced from the log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{info, warn};

use crate::model::codes::Code;
use crate::model::names::{Digest, TopicName};
use crate::model::units::Timestamp;
use crate::ports::{Log, LogRecord};

use super::follower::Follower;
use super::records::{Manifest, Manifests, chunk_key, chunk_number, encode_manifest, record};
use super::{CatalogError, SEEN_TIMEOUT};

/// Manifests and chunks.
pub const PARTITIONS: i32 = 2;
const MANIFESTS: i32 = 0;
const CHUNKS: i32 = 1;
/// Half of what Kafka takes as a record by default.
const CHUNK_BYTES: usize = 512 * 1024;
/// Chunks that are handed to the log at once.
const CHUNKS_PER_WRITE: usize = 8;
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;
const READ_WAIT: Duration = Duration::from_millis(500);
/// Far above any limit on uploads: a manifest that says more is not ours.
const MODULE_BYTES_MAX: u64 = 1 << 30;

/// How names of copies begin that are being written.
const UNFINISHED: &str = ".unfinished-";

/// A module that the log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    pub digest: Digest,
    /// It was not there before.
    pub new: bool,
}

pub struct Modules {
    log: Arc<dyn Log>,
    topic: TopicName,
    manifests: Follower<Manifests>,
    cache_dir: PathBuf,
    /// One upload at a time, so that the same module is not written twice.
    upload: Mutex<()>,
}

impl Modules {
    pub fn open(log: Arc<dyn Log>, topic: TopicName, cache_dir: PathBuf) -> Result<Self, CatalogError> {
        if let Err(error) = prepare(&cache_dir) {
            warn!(dir = %cache_dir.display(), code = %Code::LocalDisk, %error, "no place for copies of modules");
        }
        let manifests = Follower::start(log.clone(), topic.clone(), MANIFESTS, Manifests::default())?;
        Ok(Self { log, topic, manifests, cache_dir, upload: Mutex::new(()) })
    }

    pub fn list(&self) -> BTreeMap<Digest, u64> {
        self.manifests.current().iter().map(|(digest, manifest)| (*digest, manifest.bytes)).collect()
    }

    pub fn put(&self, bytes: &[u8]) -> Result<Stored, CatalogError> {
        let digest = Digest::of(bytes);
        let _upload = self.upload.lock();
        if let Some(manifest) = self.manifests.current().get(&digest) {
            match self.read_log(&digest, manifest) {
                Ok(_) => return Ok(Stored { digest, new: false }),
                Err(CatalogError::Corrupt(_)) => warn!(%digest, "the log's copy is damaged, writing it again"),
                Err(error) => return Err(error),
            }
        }
        let manifest = self.write_chunks(&digest, bytes)?;
        // Read back first: a manifest is the promise that the module is there.
        self.read_log(&digest, &manifest)?;
        self.log.append(&self.topic, Some(MANIFESTS), vec![encode_manifest(&digest, manifest, Timestamp::now())])?;
        let (_, end_offset) = self.log.offsets(&self.topic, MANIFESTS)?;
        if !self.manifests.wait_for(end_offset, SEEN_TIMEOUT) {
            return Err(CatalogError::Unseen);
        }
        self.cache(&digest, bytes);
        info!(%digest, bytes = manifest.bytes, chunks = manifest.chunks, "module stored");
        Ok(Stored { digest, new: true })
    }

    pub fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, CatalogError> {
        let Some(manifest) = self.manifests.current().get(digest).copied() else {
            return Ok(None);
        };
        if let Some(bytes) = self.cached(digest) {
            return Ok(Some(bytes));
        }
        let bytes = self.read_log(digest, &manifest)?;
        self.cache(digest, &bytes);
        Ok(Some(bytes))
    }

    pub fn stop(&self) {
        self.manifests.stop();
    }

    fn write_chunks(&self, digest: &Digest, bytes: &[u8]) -> Result<Manifest, CatalogError> {
        let (_, chunks_from) = self.log.offsets(&self.topic, CHUNKS)?;
        let now = Timestamp::now();
        let mut chunks: Vec<LogRecord> = bytes
            .chunks(CHUNK_BYTES)
            .enumerate()
            .map(|(number, chunk)| record(chunk_key(digest, number), chunk.to_vec(), now))
            .collect();
        let manifest = Manifest { bytes: bytes.len() as u64, chunks: chunks.len() as u32, chunks_from };
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
                return Err(crate::ports::LogError::Unavailable(format!("{} gives no records", self.topic)).into());
            }
            for record in page.records {
                let number = chunk_number(digest, &record).filter(|&number| number < manifest.chunks as usize);
                if let (Some(number), Some(value)) = (number, record.value) {
                    chunks.insert(number, value);
                }
            }
        }
        let bytes: Vec<u8> = chunks.into_values().flatten().collect();
        if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(CatalogError::Corrupt(*digest)) }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.cache_dir.join(format!("{}.wasm", digest.hex()))
    }

    fn cached(&self, digest: &Digest) -> Option<Vec<u8>> {
        let path = self.path(digest);
        let bytes = std::fs::read(&path).ok()?;
        if Digest::of(&bytes) == *digest {
            return Some(bytes);
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

/// Makes the directory, and clears it of what a killed host had not finished.
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
