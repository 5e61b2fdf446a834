//! Input of unknown length, a file or a stream: read whole and within bounds, or refused.
//!
//! A reader names the most bytes that it takes. More of them are an error ([`ErrorKind::InvalidData`]) that says the limit;
//! nothing is cut off, since nobody would tell a part from the whole.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Reads a file of at most `bytes_max` bytes.
pub fn read_file(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    read_opened(&File::open(path)?, bytes_max)
}

/// Reads the rest of an open file, of at most `bytes_max` bytes.
pub fn read_opened(file: &File, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // A buffer that grows takes far more room than a large file has bytes.
    let expected = file.metadata()?.len().min(bytes_max);
    bytes.try_reserve_exact(usize::try_from(expected).unwrap_or(0))?;
    read_into(bytes, file, bytes_max)
}

/// Reads a stream of at most `bytes_max` bytes to its end.
pub fn read(stream: impl Read, bytes_max: u64) -> io::Result<Vec<u8>> {
    read_into(Vec::new(), stream, bytes_max)
}

/// Reads text. An error does not quote it: it may be a secret.
pub fn read_text(stream: impl Read, bytes_max: u64) -> io::Result<String> {
    let bytes = read(stream, bytes_max)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(ErrorKind::InvalidData, "is not UTF-8 text"))
}

fn read_into(mut bytes: Vec<u8>, stream: impl Read, bytes_max: u64) -> io::Result<Vec<u8>> {
    stream.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("has more than {bytes_max} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[track_caller]
    fn check(content: &[u8], bytes_max: u64, expected: Result<&str, &str>) {
        let refused = |error: io::Error| {
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
            error.to_string()
        };
        let found = read_text(content, bytes_max).map_err(refused);
        assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{content:?}");
    }

    #[test]
    fn input_is_whole_or_refused() {
        check(b"", 0, Ok(""));
        check(b"a", 0, Err("has more than 0 bytes"));
        check(b"abc", 3, Ok("abc"));
        check(b"abc", u64::MAX, Ok("abc"));
        check(b"abcd", 3, Err("has more than 3 bytes"));
        check(b"hunter2\xff", 8, Err("is not UTF-8 text"));
        assert_eq!(read(io::repeat(0), 3).expect_err("it has no end").to_string(), "has more than 3 bytes");
        assert_eq!(read_file(Path::new("/nowhere"), 3).expect_err("no file").kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        const BYTES_MAX: u64 = 100_000;
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(&[7; BYTES_MAX as usize]).expect("written");
        let whole = read_file(file.path(), BYTES_MAX).expect("at its limit");
        assert!(whole == [7_u8; BYTES_MAX as usize], "{} bytes", whole.len());
        file.write_all(&[7]).expect("written");
        let error = read_file(file.path(), BYTES_MAX).expect_err("one byte over");
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::InvalidData, "has more than 100000 bytes".to_owned()));
        // The system does not tell the length of such a file.
        let version = read_file(Path::new("/proc/version"), BYTES_MAX).expect("readable");
        assert!(version.len() > 3);
        assert_eq!(read_file(Path::new("/proc/version"), 3).expect_err("longer").kind(), ErrorKind::InvalidData);
    }
}
