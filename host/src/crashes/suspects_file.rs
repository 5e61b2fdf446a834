//! The file of the suspects.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use super::suspects::Suspects;

/// The file's name in the data folder.
pub const NAME: &str = "crashes.json";
/// Largest file that is read.
const BYTES_MAX: u64 = 64 << 20;

/// Reads the suspects of earlier runs. A missing file has none; any other failure is an error.
pub fn read(folder: &Path) -> Result<Suspects, String> {
    let path = folder.join(NAME);
    match fs::metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Suspects::default()),
        Err(error) => return Err(error.to_string()),
        Ok(metadata) if metadata.len() > BYTES_MAX => return Err(format!("it has {} bytes", metadata.len())),
        Ok(_) => {}
    }
    let json = fs::read(&path).map_err(|error| error.to_string())?;
    Suspects::parse(&json)
}

/// Writes the suspects, whole or not at all, for the host's user only; a power cut may not bring an older count back.
pub fn save(folder: &Path, suspects: &Suspects) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&suspects.to_json())?;
    file.as_file().sync_data()?;
    file.persist(folder.join(NAME)).map(drop).map_err(|error| error.error)
}
