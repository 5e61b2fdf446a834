//! Files and folders of this user alone: the one place that knows the rule.
//!
//! The data folder holds machine code that the host runs, and records of every team. A file that the host trusts is used
//! only if it is a regular one, reached without a symlink, owned by this process's user, with one name and no rights for
//! anybody else. Another user can make no such file; every check is made on the descriptor that is read.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Rights of group and others.
pub const OTHERS: u32 = 0o077;

/// Opens a file, and makes it for this user alone where it is made. A symbolic link is refused, and a pipe that somebody put
/// there does not hold up the host.
pub fn open_with(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    options.mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

/// Opens a file of this user alone. [`io::ErrorKind::NotFound`]: there is none; any other error: it may not be used.
pub fn open(path: &Path) -> io::Result<File> {
    let file = open_with(OpenOptions::new().read(true), path).map_err(|error| match error.raw_os_error() {
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

/// Puts a new file of this user alone in the place of the one that is there.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // `create_new` follows no link and takes no file of another's.
    let mut file = open_with(OpenOptions::new().write(true).create_new(true), path)?;
    file.write_all(bytes)
}

/// Makes a folder of this user alone, or takes the rights of others from one of this user's. A link to one is refused.
pub fn make_folder(path: &Path) -> io::Result<()> {
    create_folder(path)?;
    let metadata = path.symlink_metadata()?;
    if !metadata.is_dir() {
        return Err(io::Error::other("it is a symbolic link"));
    }
    check_owner(&metadata)?;
    take_rights_of_others(path, &metadata)
}

/// Makes a folder for this user alone, unless it is there.
pub fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Leaves a folder of this user's to this user alone.
pub fn take_rights_of_others(path: &Path, metadata: &Metadata) -> io::Result<()> {
    if metadata.mode() & OTHERS != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{:o}", metadata.mode() & 0o7777), "others had rights to this folder: they are taken away");
        std::fs::set_permissions(path, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// The user that this process runs as.
pub fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn check_owner(metadata: &Metadata) -> io::Result<()> {
    let own = own_user();
    match metadata.uid() {
        owner if owner == own => Ok(()),
        owner => Err(io::Error::other(format!("it belongs to user {owner}, this process is user {own}"))),
    }
}
