//! Files and folders of this user alone.
//!
//! A file is used only if it is a regular one, reached without a symlink, owned by this process's user, with one name and
//! no rights for anybody else. Another user can make no such file; all of it is checked on the descriptor that is read.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Rights of group and others.
const OTHERS: u32 = 0o077;

/// Opens a file of this user alone. [`io::ErrorKind::NotFound`]: there is none; any other error: it may not be used.
pub fn open(path: &Path) -> io::Result<File> {
    // A pipe that somebody put there must not hold up the host.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let file = file.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => io::Error::other("it is a symbolic link"),
        _ => error,
    })?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.nlink() != 1 {
        return Err(io::Error::other("it is not a regular file with one name"));
    }
    check_owner(&metadata)?;
    if metadata.mode() & OTHERS != 0 {
        return Err(io::Error::other(format!("its mode is {:o}: others have rights to it", metadata.mode() & 0o7777)));
    }
    Ok(file)
}

/// Puts a new file of this user alone in the place of whatever is there.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // `create_new` follows no link and takes no file of another's.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

/// Makes a folder of this user alone, or takes the rights of others from one of this user's.
pub fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let metadata = path.symlink_metadata()?;
    if !metadata.is_dir() {
        return Err(io::Error::other("it is a symbolic link"));
    }
    check_owner(&metadata)?;
    if metadata.mode() & OTHERS != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{:o}", metadata.mode() & 0o7777), "others had rights to this folder: they are taken away");
        std::fs::set_permissions(path, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn check_owner(metadata: &Metadata) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    match metadata.uid() {
        owner if owner == own => Ok(()),
        owner => Err(io::Error::other(format!("it belongs to user {owner}, this process is user {own}"))),
    }
}
