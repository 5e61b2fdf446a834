//! Reads the bytes of the file of teams.

use std::path::Path;

use super::table::FileError;
use crate::followed_file;

/// Largest file that is read: it has a few lines for each team.
const BYTES_MAX: u64 = 1 << 20;

/// Reads the file as a whole. Blocks.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    followed_file::read(path, BYTES_MAX).map_err(FileError::Unreadable)
}
