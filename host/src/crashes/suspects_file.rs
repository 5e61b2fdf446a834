//! The file of the suspects.

use std::io::{self, ErrorKind, Write};
use std::path::Path;

use super::suspects::Suspects;
use crate::bounded_input;

/// The file's name in the data folder.
pub const NAME: &str = "crashes.json";
/// Largest file that is read.
const BYTES_MAX: u64 = 64 << 20;

/// Reads the suspects of earlier runs. A missing file has none; any other failure is an error.
pub fn read(folder: &Path) -> Result<Suspects, String> {
    match bounded_input::read_file(&folder.join(NAME), BYTES_MAX) {
        Ok(json) => Suspects::parse(&json),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Suspects::default()),
        Err(error) => Err(error.to_string()),
    }
}

/// Writes the suspects, whole or not at all, for the host's user only; a power cut may not bring an older count back.
pub fn save(folder: &Path, suspects: &Suspects) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&suspects.to_json())?;
    file.as_file().sync_data()?;
    file.persist(folder.join(NAME)).map(drop).map_err(|error| error.error)
}
