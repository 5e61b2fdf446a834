//! Reads the bytes of the file of teams.

use std::io::Read;
use std::path::Path;

use super::table::FileError;

/// Largest file that is read: it has a few lines for each team.
const BYTES_MAX: u64 = 1 << 20;

/// Reads the file as a whole. Blocks.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |error: std::io::Error| FileError::Unreadable(error.to_string());
    // A pipe would keep the reader waiting.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(FileError::Unreadable("it is not a file".to_owned()));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(FileError::Unreadable(format!("it has more than {BYTES_MAX} bytes")));
    }
    Ok(bytes)
}
