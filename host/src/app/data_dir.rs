//! The host's data folder: its rights, its lock and its identity. Its subfolders belong to other modules.
//!
//! The folder holds machine code that the host runs and records of every team: only the host's user may look into it.
//! Other users' folders are refused; rights of others to one's own are taken away.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::fs::Mode;

use crate::bounded_input;
use crate::model::random::random_u64;
use crate::private_file::{OTHERS, create_folder, open_with, own_user, take_rights_of_others};

/// Folders in the data folder.
const PARTS: [&str; 4] = ["compiled", "log", "modules", "state"];
/// Longest name of a host that the folder holds.
const NAME_BYTES_MAX: u64 = 1024;

/// The folder, locked for as long as this lives: one process per data folder.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the folder, or takes one that is this user's own, and locks it. From here on the process makes files that only
    /// its user may read.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        rustix::process::umask(Mode::from_raw_mode(OTHERS));
        make_private(path)?;
        let lock = lock(path)?;
        for part in PARTS {
            let folder = path.join(part);
            if folder.exists() {
                make_private(&folder)?;
            }
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Returns the machine's name with a suffix that is made once per data folder.
    pub fn host_name(&self) -> anyhow::Result<String> {
        let path = self.path.join("host");
        let here = || path.display().to_string();
        match open_with(OpenOptions::new().read(true), &path) {
            Ok(file) => {
                let name = bounded_input::read_text(file, NAME_BYTES_MAX).with_context(here)?;
                return Ok(name.trim().to_owned());
            }
            // A name that cannot be read is not replaced: it is part of transactional ids.
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).with_context(here),
            Err(_) => {}
        }
        let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "host".into());
        let name = format!("{}-{:08x}", machine.trim(), random_u64() as u32);
        let file = open_with(OpenOptions::new().write(true).create_new(true), &path);
        file.and_then(|mut file| file.write_all(name.as_bytes())).with_context(here)?;
        Ok(name)
    }
}

/// Makes a folder for this user alone.
fn make_private(path: &Path) -> anyhow::Result<()> {
    let here = || path.display().to_string();
    create_folder(path).with_context(here)?;
    let metadata = std::fs::metadata(path).with_context(here)?;
    let own = own_user();
    match metadata.uid() {
        owner if owner == own => take_rights_of_others(path, &metadata).with_context(here)?,
        // A mounted volume is often so. Its parts are this user's own, and each is looked at.
        0 => {
            let mode = format!("{:o}", metadata.mode() & 0o7777);
            tracing::warn!(path = %path.display(), mode, "this folder belongs to root: give the host a folder of its own in it");
        }
        owner => bail!(
            "{} belongs to user {owner}, and the host runs as user {own}: chown it, or give the host another --data-dir",
            path.display()
        ),
    }
    Ok(())
}

fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("lock");
    let file = open_with(OpenOptions::new().write(true).create(true), &path).with_context(|| path.display().to_string())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => bail!("{} is in use by another process; give each host a --data-dir of its own", folder.display()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Opens a data folder of this mode, with such a subfolder, and looks at both modes afterwards.
    #[track_caller]
    fn check(before: Option<u32>, part: &str) {
        let parent = tempfile::tempdir().expect("a folder");
        let path = parent.path().join("data");
        let part = path.join(part);
        if let Some(mode) = before {
            std::fs::create_dir_all(&part).expect("made");
            for folder in [&path, &part] {
                std::fs::set_permissions(folder, Permissions::from_mode(mode)).expect("our own");
            }
        }
        let data = DataDir::open(&path).expect("our own");
        let mode = |path: &Path| std::fs::metadata(path).expect("there").mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("lock")), 0o600);
        if before.is_some() {
            assert_eq!(mode(&part), 0o700);
        }
        let name = data.host_name().expect("a name");
        assert_eq!(data.host_name().expect("the same"), name);
        assert_eq!(mode(&path.join("host")), 0o600);
        assert!(DataDir::open(&path).expect_err("in use").to_string().contains("in use"));
    }

    #[test]
    fn a_data_folder_is_its_users_alone() {
        check(None, "compiled");
        check(Some(0o755), "compiled");
        check(Some(0o777), "state");
        check(Some(0o2775), "log");
        check(Some(0o700), "modules");
    }

    #[test]
    fn links_and_unreadable_names_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let elsewhere = tempfile::NamedTempFile::new().expect("a file");
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("host")).expect("linked");
        let data = DataDir::open(folder.path()).expect("our own");
        data.host_name().expect_err("a link");
        drop(data);
        std::fs::remove_file(folder.path().join("lock")).expect("there");
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("lock")).expect("linked");
        DataDir::open(folder.path()).expect_err("a link");
    }

    #[test]
    fn a_name_is_whole_or_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = DataDir::open(folder.path()).expect("our own");
        for (bytes, is_taken) in [(NAME_BYTES_MAX, true), (NAME_BYTES_MAX + 1, false)] {
            std::fs::write(folder.path().join("host"), vec![b'h'; bytes as usize]).expect("written");
            assert_eq!(data.host_name().is_ok(), is_taken, "{bytes} bytes");
        }
    }

    #[test]
    fn another_users_folder_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        // Only root can give a folder away.
        if std::os::unix::fs::chown(folder.path(), Some(4711), None).is_ok() {
            let error = DataDir::open(folder.path()).expect_err("not ours").to_string();
            assert!(error.contains("belongs to user 4711"), "{error}");
        }
    }
}
