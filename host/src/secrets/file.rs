//! Reads a secret from a file of its team's folder.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::model::names::TeamName;
use crate::model::secret::SecretError;

/// Attempts to open a file. Kubernetes replaces a folder by another one and deletes the old one: a path that was resolved
/// before may be gone, and the next attempt finds the new file.
const ATTEMPTS_MAX: usize = 3;

/// The end of a look for a file.
enum Found {
    File(File),
    /// The path leads out of the team's folder.
    Outside,
    /// A folder, a pipe, or something else that is not a file.
    Other,
}

/// Reads the bytes of `FOLDER/TEAM/NAME`, and one more than `bytes_max` at most. Symbolic links are followed as long as
/// they stay in the team's folder: a mounted secret of Kubernetes consists of them.
pub(super) fn read(folder: &Path, team: &TeamName, name: &str, bytes_max: u64) -> Result<Vec<u8>, SecretError> {
    let unusable = |reason: &str| SecretError::Unusable(format!("file:{name} of team {team} {reason}"));
    let own = folder.join(team.as_str());
    let mut attempts = 1;
    loop {
        match find(&own, name).and_then(|found| read_found(found, bytes_max)) {
            Ok(Ok(bytes)) => return Ok(bytes),
            Ok(Err(reason)) => return Err(unusable(reason)),
            Err(error) if error.kind() == ErrorKind::NotFound && attempts < ATTEMPTS_MAX => attempts += 1,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let place = format!("the folder of secrets has no file {team}/{name} (--secrets-dir)");
                return Err(SecretError::Missing(format!("file:{name}: {place}")));
            }
            Err(error) => return Err(unusable(&format!("cannot be read: {}", error.kind()))),
        }
    }
}

/// Resolves all links, and opens the file if it is in the folder.
fn find(own: &Path, name: &str) -> io::Result<Found> {
    let own = own.canonicalize()?;
    let path = own.join(name).canonicalize()?;
    if !path.starts_with(&own) {
        return Ok(Found::Outside);
    }
    // A pipe would keep the reader waiting.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(nonblocking).open(path)?;
    Ok(if file.metadata()?.is_file() { Found::File(file) } else { Found::Other })
}

fn read_found(found: Found, bytes_max: u64) -> io::Result<Result<Vec<u8>, &'static str>> {
    let file = match found {
        Found::File(file) => file,
        Found::Outside => return Ok(Err("is a link that leaves the team's folder")),
        Found::Other => return Ok(Err("is not a file")),
    };
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    Ok(Ok(bytes))
}

/// The text of a secret: without the line break at its end, which editors and `echo` add.
pub(super) fn text(bytes: Vec<u8>, bytes_max: u64) -> Result<String, String> {
    if bytes.len() as u64 > bytes_max {
        return Err(format!("has more than {bytes_max} bytes (secret_bytes_max)"));
    }
    // The error has the bytes.
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())?;
    let text = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text)).unwrap_or(&text);
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    Ok(text.to_owned())
}
