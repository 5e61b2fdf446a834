//! The data folder, which need not be there yet: its file system, its room, its owner.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};

use crate::model::finding::Finding;
use crate::private_file::own_user;

/// Beside the room that a host keeps free, at least: an artifact, and the first stores.
const ROOM_BYTES_MIN: u64 = 1 << 30;

pub fn findings(path: &Path, free_bytes_min: u64) -> Vec<Finding> {
    let Some(present) = present(path) else {
        return vec![Finding::failure("data-dir", format!("{}: nothing of this path is there", path.display()), "make it")];
    };
    if !present.is_dir() {
        let found = format!("{} is no folder", present.display());
        return vec![Finding::failure("data-dir", found, "give the host another --data-dir")];
    }
    let is_there = std::path::absolute(path).is_ok_and(|path| path == present);
    vec![owner(&present, is_there), file_system(&present), room(&present, free_bytes_min)]
}

/// The folder itself, or the nearest one above it that is there.
fn present(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    absolute.ancestors().find(|path| path.exists()).map(Path::to_owned)
}

/// Judges the owner of the folder itself: whoever may write to the one above it makes a folder of their own.
fn owner(present: &Path, is_there: bool) -> Finding {
    let shown = present.display();
    let owner = std::fs::metadata(present).map(|found| found.uid());
    match (owner, access(present, Access::WRITE_OK | Access::EXEC_OK)) {
        (Ok(owner), Ok(())) if owner == own_user() || !is_there => {
            Finding::ok("data-dir", format!("{shown} can be written"))
        }
        (Ok(0), Ok(())) => Finding::warning(
            "data-dir",
            format!("{shown} belongs to root"),
            "give the host a folder of its own in it, which nobody else can read",
        ),
        (Ok(owner), Ok(())) => Finding::failure(
            "data-dir",
            format!("{shown} belongs to user {owner}, and the host runs as user {}", own_user()),
            "chown it, or give the host another --data-dir",
        ),
        (Err(error), _) => Finding::failure("data-dir", format!("{shown}: {error}"), "give the host another --data-dir"),
        (_, Err(error)) => Finding::failure("data-dir", format!("{shown}: {error}"), "let the host's user write there"),
    }
}

fn file_system(present: &Path) -> Finding {
    match statvfs(present) {
        Ok(found) if found.f_flag.contains(StatVfsMountFlags::NOEXEC) => Finding::failure(
            "data-dir-exec",
            format!(
                "{} is on a file system that is mounted noexec: compiled modules are mapped executable",
                present.display()
            ),
            "mount it without noexec, or give the host another --data-dir",
        ),
        Ok(found) if found.f_flag.contains(StatVfsMountFlags::RDONLY) => Finding::failure(
            "data-dir-exec",
            format!("{} is on a file system that is mounted read-only", present.display()),
            "give the host another --data-dir",
        ),
        Ok(_) => Finding::ok("data-dir-exec", "compiled modules can be mapped executable"),
        Err(error) => Finding::failure("data-dir-exec", error, "give the host another --data-dir"),
    }
}

fn room(present: &Path, free_bytes_min: u64) -> Finding {
    let found = match statvfs(present) {
        Ok(found) => found,
        Err(error) => return Finding::failure("disk", error, "give the host another --data-dir"),
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let shown = format!("{} free", ByteSize(free));
    let fix = "make room, give the host another --data-dir, or lower --state-disk-free-min";
    if free < free_bytes_min {
        let shown = format!("{shown}, and transforms with stores wait below {}", ByteSize(free_bytes_min));
        return Finding::failure("disk", shown, fix);
    }
    if free < free_bytes_min.saturating_add(ROOM_BYTES_MIN) {
        return Finding::warning("disk", shown, fix);
    }
    Finding::ok("disk", shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::finding::Outcome;

    #[track_caller]
    fn outcomes(path: &Path, free_bytes_min: u64) -> Vec<Outcome> {
        findings(path, free_bytes_min).into_iter().map(|finding| finding.outcome).collect()
    }

    #[test]
    fn the_folder_need_not_be_there_yet() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("not/there");
        assert_eq!(outcomes(&data, 0)[0], Outcome::Ok);
        assert!(!data.exists(), "it only looks");
        assert_eq!(outcomes(&data, u64::MAX)[2], Outcome::Failure);
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_told() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        for path in [file.path().to_owned(), file.path().join("below")] {
            let found = findings(&path, 0);
            assert!(found[0].outcome == Outcome::Failure && found[0].found.contains("is no folder"), "{found:?}");
        }
    }

    #[test]
    fn another_users_folder_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        // Only root can give a folder away.
        if std::os::unix::fs::chown(folder.path(), Some(4711), None).is_ok() {
            assert_eq!(outcomes(folder.path(), 0)[0], Outcome::Failure);
        }
    }

    #[test]
    fn a_file_system_without_the_right_to_execute_is_told() {
        let proc = Path::new("/proc");
        if statvfs(proc).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::NOEXEC)) {
            assert_eq!(outcomes(proc, 0)[1], Outcome::Failure);
        }
    }
}
