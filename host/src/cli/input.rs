//! The input of a verb, a file or a stream, read whole and within bounds.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads a file of at most `bytes_max` bytes.
pub fn read_file(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    read(File::open(path)?, bytes_max)
}

/// Reads a stream of at most `bytes_max` bytes to its end.
pub fn read(stream: impl Read, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("has more than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// Reads text. An error does not quote it: it may be a secret.
pub fn read_text(stream: impl Read, bytes_max: u64) -> io::Result<String> {
    String::from_utf8(read(stream, bytes_max)?).map_err(|_| io::Error::other("is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(content: &[u8], bytes_max: u64, expected: Result<&str, &str>) {
        let found = read_text(content, bytes_max).map_err(|error| error.to_string());
        assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{content:?}");
    }

    #[test]
    fn input_is_whole_or_refused() {
        check(b"", 0, Ok(""));
        check(b"a", 0, Err("has more than 0 bytes"));
        check(b"abc", 3, Ok("abc"));
        check(b"abcd", 3, Err("has more than 3 bytes"));
        check(b"hunter2\xff", 8, Err("is not UTF-8 text"));
        assert_eq!(read(io::repeat(0), 3).expect_err("it has no end").to_string(), "has more than 3 bytes");
        assert_eq!(read_file(Path::new("/nowhere"), 3).expect_err("no file").kind(), io::ErrorKind::NotFound);
    }
}
