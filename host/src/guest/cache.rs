//! Compiled modules on disk, so that a host that starts again does not compile them again.
//!
//! A host loads its own artifacts only: each file begins with a MAC (HMAC-SHA256) over the module's digest, the build of
//! the compiler, and all that follows, under a key that the host made for itself and that nobody else could read or
//! write (`private_file`). A file that was cut off, changed, or brought from elsewhere does not fit and is dropped; files of
//! another build (wasmtime's version, the engine's settings, the processor) have other names and are not looked at. Either
//! way the module is compiled again. The disk is bounded: files that were used longest ago go first.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::check::Surface;
use crate::bounded_input;
use crate::model::json;
use crate::model::names::Digest;
use crate::model::units::Timestamp;
use crate::private_file;

const KEY_BYTES: usize = 32;
const MAC_BYTES: usize = 32;
const SUFFIX: &str = "cwasm";
/// Prefix of the names of files that are being written. A host that was killed leaves them behind.
const UNFINISHED: &str = ".unfinished-";

/// The folder of a host's compiled modules.
pub struct Cache {
    folder: PathBuf,
    key: [u8; KEY_BYTES],
    bytes_max: u64,
    /// Artifacts of the same build can be loaded.
    build: String,
}

/// A compiled module that this host made.
pub struct CacheEntry {
    pub surface: Surface,
    /// Size of the module itself.
    pub bytes: u64,
    pub artifact: Vec<u8>,
}

/// The JSON before an artifact.
#[derive(serde::Serialize, serde::Deserialize)]
struct Head {
    surface: Surface,
    bytes: u64,
}

impl Cache {
    /// Keeps artifacts in `folder`, up to `bytes_max` in all, under the key that is kept there. The folder must be this
    /// user's own; a key that somebody else could have read or written is replaced, and no artifact made under it is used.
    pub fn open(folder: &Path, bytes_max: u64) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("the cache of compiled modules, {}: {error}", folder.display());
        private_file::make_folder(folder).map_err(failed)?;
        let key = key(&folder.join("key")).map_err(failed)?;
        let cache = Self { folder: folder.to_owned(), key, bytes_max, build: String::new() };
        cache.clean_up().map_err(failed)?;
        Ok(cache)
    }

    /// Narrows the cache to artifacts of one build of the compiler.
    pub fn of_build(self, build: &impl Hash) -> Self {
        // The name only has to differ where builds differ: wasmtime looks at all of the artifact.
        let mut hasher = DefaultHasher::new();
        build.hash(&mut hasher);
        Self { build: format!("{:016x}", hasher.finish()), ..self }
    }

    /// Most bytes of artifacts.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Returns the artifact of a module, if it is there and this host made it.
    pub fn get(&self, digest: &Digest) -> Option<CacheEntry> {
        let path = self.path(digest);
        let read = private_file::open(&path).and_then(|file| {
            // No artifact of this cache is larger than all of them may be; one may be left of a cache with more room.
            let bytes = bounded_input::read_opened(&file, self.bytes_max)?;
            // Used now: files that were used longest ago are dropped first.
            file.set_modified(Timestamp::now().into())?;
            Ok(bytes)
        });
        let found = match read {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Ok(bytes) => self.parse(digest, bytes).ok_or("it is damaged, or not this host's".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        found
            .inspect_err(|reason| {
                tracing::warn!(%digest, reason, "a compiled module in the cache is not used: it is compiled again");
                let _ = std::fs::remove_file(&path);
            })
            .ok()
    }

    /// Keeps an artifact of a module of `bytes`. Where it cannot be kept, that costs another compilation and nothing else.
    pub fn put(&self, digest: &Digest, surface: &Surface, bytes: u64, artifact: &[u8]) {
        let head = serde_json::to_vec(&Head { surface: surface.clone(), bytes }).expect("names are plain data");
        let length = (head.len() as u64).to_le_bytes();
        let parts: [&[u8]; 3] = [&length, &head, artifact];
        let mac = self.mac(digest, &parts).finalize().into_bytes();
        // It is created with mode 0600, under a name that was not there.
        let file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.folder);
        let written = file.and_then(|mut file| {
            file.write_all(&mac)?;
            parts.iter().try_for_each(|part| file.write_all(part))?;
            file.persist(self.path(digest)).map(drop).map_err(|error| error.error)
        });
        if let Err(error) = written.and_then(|()| self.prune()) {
            tracing::warn!(%digest, %error, "a compiled module was not kept");
        }
    }

    fn parse(&self, digest: &Digest, mut file: Vec<u8>) -> Option<CacheEntry> {
        let (mac, rest) = file.split_at_checked(MAC_BYTES)?;
        self.mac(digest, &[rest]).verify_slice(mac).ok()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (head, artifact) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        let Head { surface, bytes } = json::read(head).ok()?;
        let artifact_at = file.len() - artifact.len();
        Some(CacheEntry { surface, bytes, artifact: file.split_off(artifact_at) })
    }

    fn mac(&self, digest: &Digest, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("any length is a key");
        mac.update(digest.to_string().as_bytes());
        mac.update(self.build.as_bytes());
        parts.iter().for_each(|part| mac.update(part));
        mac
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{}.{}.{SUFFIX}", digest.to_string().replace(':', "-"), self.build))
    }

    fn prune(&self) -> std::io::Result<()> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|extension| extension == SUFFIX) {
                let metadata = entry.metadata()?;
                files.push((metadata.modified()?, metadata.len(), entry.path()));
            }
        }
        files.sort();
        let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, of_file, path) in files {
            if bytes <= self.bytes_max {
                break;
            }
            std::fs::remove_file(path)?;
            bytes -= of_file;
        }
        Ok(())
    }

    /// Removes files that a killed host left half-written, of older versions too. A data folder has one host.
    fn clean_up(&self) -> std::io::Result<()> {
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_left = [UNFINISHED, ".tmp"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix));
            if is_left && entry.file_type()?.is_dir() {
                std::fs::remove_dir_all(entry.path())?;
            } else if is_left {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// The key in `path`, if nobody but this user can have read or written it; else a new one.
fn key(path: &Path) -> std::io::Result<[u8; KEY_BYTES]> {
    let known = private_file::open(path).and_then(|file| {
        let bytes = bounded_input::read_opened(&file, KEY_BYTES as u64)?;
        bytes.try_into().map_err(|_| std::io::Error::other("it has not the length of a key"))
    });
    match known {
        Ok(key) => return Ok(key),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            let path = path.display();
            tracing::warn!(%path, %error, "the cache's key is not used: a new one is made, and modules are compiled again");
        }
    }
    let mut key = [0; KEY_BYTES];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
    private_file::replace(path, &key)?;
    Ok(key)
}

#[cfg(test)]
mod tests;
