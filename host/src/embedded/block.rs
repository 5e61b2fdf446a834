//! Blocks: the form of records in the store. One block has the records of one transaction in one partition, cut at 256 KiB.
//!
//! Layout, little-endian: `span u32, count u32, written_at i64`, then per record
//! `size u32, delta u32, timestamp i64, key u32, value u32, headers u32` and the bytes of key, value and headers
//! (each `name u32, value u32` and their bytes). A length of `u32::MAX` stands for null. `size` counts the bytes after it.
//!
//! A block is stored under its last offset; the first is that minus `span`, and a record's is the first plus `delta`.
//! So compaction may drop records from a block, and nobody else's offset moves. Bytes that are not a block give
//! [`Corrupt`], never a panic.

use crate::model::batch::HeaderRef;

/// A block is closed once it holds this much.
pub const BLOCK_BYTES_MAX: usize = 256 * 1024;

const BLOCK_HEADER_BYTES: usize = 16;
const RECORD_HEADER_BYTES: usize = 28;
const NULL: u32 = u32::MAX;

/// The bytes are not a block, although the store's checksum fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a block of records is corrupt")]
pub struct Corrupt;

/// A record on its way into a block.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [HeaderRef<'a>],
}

/// A block that is being filled.
#[derive(Debug, Default)]
pub struct Builder {
    bytes: Vec<u8>,
    count: u32,
    span: u32,
}

impl Builder {
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn is_full(&self) -> bool {
        self.bytes.len() >= BLOCK_BYTES_MAX
    }

    /// The distance from the first record to the last.
    pub fn span(&self) -> u32 {
        self.span
    }

    /// The delta of a record that follows the last one without a gap.
    pub fn next_delta(&self) -> u32 {
        if self.is_empty() { 0 } else { self.span + 1 }
    }

    /// Appends a record and returns the bytes that it takes. `delta` ascends; the caller bounds the sizes far below 4 GiB.
    pub fn push(&mut self, delta: u32, entry: &Entry<'_>) -> usize {
        debug_assert!(self.is_empty() || delta > self.span, "offsets ascend");
        if self.bytes.is_empty() {
            self.bytes.resize(BLOCK_HEADER_BYTES, 0);
        }
        let start = self.bytes.len();
        self.put(0);
        self.put(delta);
        self.bytes.extend_from_slice(&entry.timestamp.to_le_bytes());
        self.put(length(entry.key));
        self.put(length(entry.value));
        self.put(entry.headers.len() as u32);
        self.bytes.extend_from_slice(entry.key.unwrap_or_default());
        self.bytes.extend_from_slice(entry.value.unwrap_or_default());
        for (name, value) in entry.headers {
            self.put(name.len() as u32);
            self.put(length(*value));
            self.bytes.extend_from_slice(name.as_bytes());
            self.bytes.extend_from_slice(value.unwrap_or_default());
        }
        let size = self.bytes.len() - start;
        self.bytes[start..start + 4].copy_from_slice(&(size as u32 - 4).to_le_bytes());
        self.count += 1;
        self.span = delta;
        size
    }

    /// The finished block; the builder is empty again.
    pub fn seal(&mut self, written_at: i64) -> Vec<u8> {
        debug_assert!(!self.is_empty(), "a block has a record");
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes[0..4].copy_from_slice(&self.span.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.count.to_le_bytes());
        bytes[8..16].copy_from_slice(&written_at.to_le_bytes());
        self.count = 0;
        self.span = 0;
        bytes
    }

    fn put(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }
}

fn length(bytes: Option<&[u8]>) -> u32 {
    bytes.map_or(NULL, |bytes| bytes.len() as u32)
}

/// The header of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub span: u32,
    pub count: u32,
    /// The time of the write, in ms since the Unix epoch: retention goes by it.
    pub written_at: i64,
}

/// Reads the head of a block.
pub fn head(block: &[u8]) -> Result<Head, Corrupt> {
    let mut bytes = Bytes(block);
    Ok(Head { span: bytes.u32()?, count: bytes.u32()?, written_at: bytes.i64()? })
}

/// A record in a block. Its headers were put into the caller's vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRecord<'a> {
    pub delta: u32,
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
}

/// Goes over the records of a block, from a position that [`Records::position`] gave.
#[derive(Debug)]
pub struct Records<'a> {
    block: &'a [u8],
    position: usize,
}

impl<'a> Records<'a> {
    /// `position` is 0 for the first record.
    pub fn new(block: &'a [u8], position: usize) -> Self {
        Self { block, position: position.max(BLOCK_HEADER_BYTES) }
    }

    /// The position of the next record.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The next record, or None at the end of the block. `headers` is overwritten.
    pub fn next(&mut self, headers: &mut Vec<HeaderRef<'a>>) -> Result<Option<BlockRecord<'a>>, Corrupt> {
        if self.position >= self.block.len() {
            return Ok(None);
        }
        let rest = &self.block[self.position..];
        let size = Bytes(rest).u32()? as usize;
        let mut bytes = Bytes(rest.get(4..4 + size).ok_or(Corrupt)?);
        let delta = bytes.u32()?;
        let timestamp = bytes.i64()?;
        let key_length = bytes.u32()?;
        let value_length = bytes.u32()?;
        let header_count = bytes.u32()?;
        let key = bytes.take(key_length)?;
        let value = bytes.take(value_length)?;
        headers.clear();
        for _ in 0..header_count {
            let name_length = bytes.u32()?;
            let value_length = bytes.u32()?;
            let name = std::str::from_utf8(bytes.take(name_length)?.ok_or(Corrupt)?).map_err(|_| Corrupt)?;
            headers.push((name, bytes.take(value_length)?));
        }
        self.position += 4 + size;
        Ok(Some(BlockRecord { delta, timestamp, key, value }))
    }
}

/// Bytes that an entry takes in a block.
pub fn entry_bytes(entry: &Entry<'_>) -> usize {
    RECORD_HEADER_BYTES + payload_bytes(entry) + 8 * entry.headers.len()
}

/// Bytes of key, value and headers, which a topic's limit for a record counts.
pub fn payload_bytes(entry: &Entry<'_>) -> usize {
    let headers: usize = entry.headers.iter().map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len)).sum();
    entry.key.map_or(0, <[u8]>::len) + entry.value.map_or(0, <[u8]>::len) + headers
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn u32(&mut self) -> Result<u32, Corrupt> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Corrupt)?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*bytes))
    }

    fn i64(&mut self) -> Result<i64, Corrupt> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Corrupt)?;
        self.0 = rest;
        Ok(i64::from_le_bytes(*bytes))
    }

    fn take(&mut self, length: u32) -> Result<Option<&'a [u8]>, Corrupt> {
        if length == NULL {
            return Ok(None);
        }
        let (bytes, rest) = self.0.split_at_checked(length as usize).ok_or(Corrupt)?;
        self.0 = rest;
        Ok(Some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry<'static>> {
        vec![
            Entry { timestamp: 1, key: Some(b"k"), value: Some(b"value"), headers: &[("h", Some(b"1")), ("n", None)] },
            Entry { timestamp: -1, key: None, value: Some(b""), headers: &[] },
            Entry { timestamp: i64::MAX, key: Some(b""), value: None, headers: &[("", Some(b""))] },
        ]
    }

    fn sealed() -> Vec<u8> {
        let mut builder = Builder::default();
        for (i, entry) in entries().iter().enumerate() {
            assert_eq!(builder.push(3 * i as u32, entry), entry_bytes(entry));
        }
        builder.seal(77)
    }

    #[test]
    fn a_block_reads_back() {
        let block = sealed();
        assert_eq!(head(&block), Ok(Head { span: 6, count: 3, written_at: 77 }));
        let mut records = Records::new(&block, 0);
        let mut headers = Vec::new();
        for (i, entry) in entries().iter().enumerate() {
            let record = records.next(&mut headers).expect("intact").expect("there");
            let expected =
                BlockRecord { delta: 3 * i as u32, timestamp: entry.timestamp, key: entry.key, value: entry.value };
            assert_eq!(record, expected);
            assert_eq!(headers, entry.headers);
        }
        assert_eq!(records.next(&mut headers), Ok(None));
    }

    #[test]
    fn a_damaged_block_is_an_error_and_never_a_panic() {
        let block = sealed();
        for cut in 0..block.len() {
            let _ = head(&block[..cut]);
            read_all(&block[..cut]);
        }
        for at in 0..block.len() {
            for bit in 0..8 {
                let mut damaged = block.clone();
                damaged[at] ^= 1 << bit;
                read_all(&damaged);
            }
        }
    }

    fn read_all(block: &[u8]) {
        let mut records = Records::new(block, 0);
        let mut headers = Vec::new();
        while let Ok(Some(_)) = records.next(&mut headers) {}
    }
}
