//! Compiled modules on disk, so that a host that starts again does not compile them again.
//!
//! A host loads its own artifacts only: each file begins with a MAC (HMAC-SHA256) over the module's digest and all that
//! follows, under a key that the host made for itself. A file that was cut off, changed, or brought from elsewhere does
//! not fit and is dropped; one of another wasmtime or other settings is refused by wasmtime itself. Either way the
//! module is compiled again. The disk is bounded: what was used longest ago goes first.

use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::check::Surface;
use crate::model::names::Digest;
use crate::model::units::Timestamp;

const KEY_BYTES: usize = 32;
const MAC_BYTES: usize = 32;
const SUFFIX: &str = "cwasm";

/// See the module.
pub struct Cache {
    folder: PathBuf,
    key: [u8; KEY_BYTES],
    bytes_max: u64,
}

/// A compiled module that this host made.
pub struct Cached {
    pub surface: Surface,
    pub artifact: Vec<u8>,
}

impl Cache {
    /// Keeps artifacts in `folder`, up to `bytes_max` in all, under the key that is kept there.
    pub fn open(folder: &Path, bytes_max: u64) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        std::fs::create_dir_all(folder).map_err(failed)?;
        let key = key(&folder.join("key")).map_err(failed)?;
        Ok(Self { folder: folder.to_owned(), key, bytes_max })
    }

    /// Most bytes of artifacts.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Where artifacts may be made, too.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The artifact of a module, if it is there and this host made it.
    pub fn get(&self, digest: &Digest) -> Option<Cached> {
        let path = self.path(digest);
        let bytes = std::fs::read(&path).ok()?;
        let found = self.parse(digest, &bytes);
        match found {
            // Used now: what was used longest ago is dropped first.
            Some(_) => drop(std::fs::File::open(&path).and_then(|file| file.set_modified(Timestamp::now().into()))),
            None => {
                tracing::warn!(%digest, "a compiled module in the cache is damaged or not this host's: it is compiled again");
                let _ = std::fs::remove_file(&path);
            }
        }
        found
    }

    /// Keeps an artifact. That it could not be kept costs another compilation and nothing else.
    pub fn put(&self, digest: &Digest, surface: &Surface, artifact: &[u8]) {
        let surface = serde_json::to_vec(surface).expect("names are plain data");
        let length = (surface.len() as u64).to_le_bytes();
        let parts: [&[u8]; 3] = [&length, &surface, artifact];
        let mac = self.mac(digest, &parts).finalize().into_bytes();
        let written = tempfile::NamedTempFile::new_in(&self.folder).and_then(|mut file| {
            file.write_all(&mac)?;
            parts.iter().try_for_each(|part| file.write_all(part))?;
            file.persist(self.path(digest)).map(drop).map_err(|error| error.error)
        });
        if let Err(error) = written.and_then(|()| self.prune()) {
            tracing::warn!(%digest, %error, "a compiled module was not kept");
        }
    }

    fn parse(&self, digest: &Digest, bytes: &[u8]) -> Option<Cached> {
        let (mac, rest) = bytes.split_at_checked(MAC_BYTES)?;
        self.mac(digest, &[rest]).verify_slice(mac).ok()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (surface, artifact) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        Some(Cached { surface: serde_json::from_slice(surface).ok()?, artifact: artifact.to_vec() })
    }

    fn mac(&self, digest: &Digest, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("any length is a key");
        mac.update(digest.to_string().as_bytes());
        parts.iter().for_each(|part| mac.update(part));
        mac
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.to_string().replace(':', "-")).with_extension(SUFFIX)
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
}

/// The key in `path`, which only its owner may read; made if there is none, or not a whole one.
fn key(path: &Path) -> std::io::Result<[u8; KEY_BYTES]> {
    if let Some(key) = std::fs::read(path).ok().and_then(|bytes| bytes.try_into().ok()) {
        return Ok(key);
    }
    let mut key = [0; KEY_BYTES];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
    let _ = std::fs::remove_file(path);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&key)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::structure::Footprint;

    fn surface() -> Surface {
        Surface { imports: vec!["log".into()], exports: vec!["transform".into()], footprint: Footprint::default() }
    }

    #[test]
    fn only_the_hosts_own_artifacts_are_given_out() {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = Cache::open(dir.path(), 1 << 20).expect("opens");
        let (digest, other) = (Digest::of(b"module"), Digest::of(b"another"));
        assert!(cache.get(&digest).is_none());
        cache.put(&digest, &surface(), b"artifact");
        let again = Cache::open(dir.path(), 1 << 20).expect("opens");
        let found = again.get(&digest).expect("the key outlives the process");
        assert_eq!((found.surface, found.artifact), (surface(), b"artifact".to_vec()));

        let good = std::fs::read(cache.path(&digest)).expect("there");
        let mut changed = good.clone();
        *changed.last_mut().expect("not empty") ^= 1;
        for (what, path, bytes) in [
            ("changed", cache.path(&digest), changed.as_slice()),
            ("cut off", cache.path(&digest), &good[..good.len() - 1]),
            ("too short", cache.path(&digest), &good[..10]),
            ("of another module", cache.path(&other), &good),
        ] {
            std::fs::write(&path, bytes).expect("written");
            let of = if path == cache.path(&other) { &other } else { &digest };
            assert!(cache.get(of).is_none(), "{what}");
            assert!(!path.exists(), "{what}: it is dropped");
        }
        let stranger = tempfile::tempdir().expect("a directory");
        std::fs::write(cache.path(&digest), good).expect("written");
        let stranger = Cache::open(stranger.path(), 1 << 20).expect("opens");
        std::fs::copy(cache.path(&digest), stranger.path(&digest)).expect("copied");
        assert!(stranger.get(&digest).is_none(), "another host's");
    }

    #[test]
    fn the_disk_is_bounded() {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = Cache::open(dir.path(), 2500).expect("opens");
        let digests: Vec<Digest> = (0..4u8).map(|n| Digest::of(&[n])).collect();
        for digest in &digests {
            cache.put(digest, &surface(), &[0; 1000]);
        }
        let left: Vec<bool> = digests.iter().map(|digest| cache.get(digest).is_some()).collect();
        assert_eq!(left, [false, false, true, true]);
    }
}
