//! Records as flat columns: the form in which they cross to a guest and come back.
//!
//! A [`Batch`] holds records of one topic-partition in offset order; an [`Output`] holds the records that they became. Both
//! mirror the WIT contract (`guest-sdk/wit/transform.wit`) field by field, so that the boundary is a block copy.
//!
//! Spans are validated once ([`Output::check`]) before anything reads through them.

mod output;
mod row_traces;

pub use output::{CheckedOutput, Failure, OutRecord, Output, OutputError, OutputLimits};
pub use row_traces::RowTraceSpan;

/// Both ends of a null span. Null is not the same as empty.
pub const NULL: u32 = u32::MAX;

/// Counted for each record beside its bytes: the entries of its columns, and about as much as Kafka adds to it at most (21,
/// `DefaultRecord.MAX_RECORD_OVERHEAD`). A record without key and value is not free.
pub const RECORD_BYTES: usize = 32;
/// Counted for each header beside its name and value: their spans, which are as large where they are resolved. Kafka adds
/// two varints, of ten bytes at most.
pub const HEADER_BYTES: usize = 32;
/// Headers that one output record may have. Kafka knows no limit but the record's size; its clients hold each as an
/// object of its own.
pub const HEADERS_MAX: u32 = 4096;
/// A tick may return the outputs of this number of records.
pub const TICK_ROWS: u32 = 64;

/// One record by reference, as it comes from a log or goes to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRef<'a> {
    pub offset: i64,
    /// In ms since the Unix epoch; -1 where the record has none.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [HeaderRef<'a>],
}

/// A header: its name, and its value or null.
pub type HeaderRef<'a> = (&'a str, Option<&'a [u8]>);

/// Bytes that headers take on the wire at most: names and values, and the length of each.
pub fn header_bytes(headers: &[HeaderRef<'_>]) -> usize {
    const LENGTHS_BYTES: usize = 10;
    headers.iter().map(|(name, value)| LENGTHS_BYTES + name.len() + value.map_or(0, <[u8]>::len)).sum()
}

impl RecordRef<'_> {
    /// Bytes that the record takes in a [`Batch`]. Input is as hostile as output: a record may have a million headers.
    pub fn held_bytes(&self) -> usize {
        held_bytes(self.key, self.value, self.headers)
    }
}

/// Bytes that a record takes in memory while it waits.
pub fn held_bytes(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[HeaderRef<'_>]) -> usize {
    let of = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let headers: usize = headers.iter().map(|(name, value)| HEADER_BYTES + name.len() + of(*value)).sum();
    RECORD_BYTES + of(key) + of(value) + headers
}

/// Records of one partition, as columns. Row `i` of each column is record `i`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    pub first_offset: i64,
    pub offset_deltas: Vec<u32>,
    pub timestamps: Vec<i64>,
    pub data: Vec<u8>,
    pub keys: Vec<u32>,
    pub values: Vec<u32>,
    /// Empty while no row has a header.
    pub header_counts: Vec<u32>,
    pub headers: Vec<u32>,
}

impl Batch {
    pub fn len(&self) -> usize {
        self.offset_deltas.len()
    }

    pub fn is_empty(&self) -> bool {
        self.offset_deltas.is_empty()
    }

    /// Bytes that it takes in memory: those of its records ([`RecordRef::held_bytes`]) together.
    pub fn bytes(&self) -> usize {
        self.data.len() + self.len() * RECORD_BYTES + self.headers.len() / 4 * HEADER_BYTES
    }

    /// Returns true if `offset` can be a row: deltas are 32 bits wide.
    pub fn takes(&self, offset: i64) -> bool {
        let delta = || offset.checked_sub(self.first_offset).is_some_and(|delta| u32::try_from(delta).is_ok());
        self.is_empty() || (offset > self.last_offset() && delta())
    }

    /// Appends a record. The caller keeps batches far below 4 GiB and checks [`Batch::takes`].
    pub fn push(&mut self, record: &RecordRef<'_>) {
        if self.is_empty() {
            self.first_offset = record.offset;
        }
        let delta = u32::try_from(record.offset - self.first_offset).expect("the caller checked takes()");
        if !record.headers.is_empty() && self.header_counts.is_empty() {
            self.header_counts.resize(self.len(), 0);
        }
        if !record.headers.is_empty() || !self.header_counts.is_empty() {
            self.header_counts.push(record.headers.len() as u32);
        }
        self.offset_deltas.push(delta);
        self.timestamps.push(record.timestamp);
        append(&mut self.data, &mut self.keys, record.key);
        append(&mut self.data, &mut self.values, record.value);
        for (name, value) in record.headers {
            append(&mut self.data, &mut self.headers, Some(name.as_bytes()));
            append(&mut self.data, &mut self.headers, *value);
        }
    }

    pub fn offset(&self, row: usize) -> i64 {
        self.first_offset + i64::from(self.offset_deltas[row])
    }

    pub fn last_offset(&self) -> i64 {
        self.offset(self.len() - 1)
    }

    pub fn key(&self, row: usize) -> Option<&[u8]> {
        slice(&self.data, self.keys[2 * row], self.keys[2 * row + 1])
    }

    pub fn value(&self, row: usize) -> Option<&[u8]> {
        slice(&self.data, self.values[2 * row], self.values[2 * row + 1])
    }

    /// Bytes of key and value of a row.
    pub fn row_bytes(&self, row: usize) -> usize {
        self.key(row).map_or(0, <[u8]>::len) + self.value(row).map_or(0, <[u8]>::len)
    }

    /// The headers of a row, in order.
    pub fn headers(&self, row: usize) -> Vec<HeaderRef<'_>> {
        if self.header_counts.is_empty() {
            return Vec::new();
        }
        let first: usize = self.header_counts[..row].iter().map(|&n| n as usize).sum();
        let last = first + self.header_counts[row] as usize;
        self.headers[4 * first..4 * last]
            .chunks_exact(4)
            .map(|h| {
                let name = slice(&self.data, h[0], h[1]).expect("a header has a name");
                (std::str::from_utf8(name).expect("names entered as text"), slice(&self.data, h[2], h[3]))
            })
            .collect()
    }

    /// A row as a batch of its own: how a failing batch is run again to find its culprit.
    pub fn row(&self, row: usize) -> Batch {
        let headers = self.headers(row);
        let mut one = Batch::default();
        one.push(&RecordRef {
            offset: self.offset(row),
            timestamp: self.timestamps[row],
            key: self.key(row),
            value: self.value(row),
            headers: &headers,
        });
        one
    }

    /// Bytes that it would keep after [`Batch::clear`], as far as hostile records decide on them.
    pub fn capacity_bytes(&self) -> usize {
        self.data.capacity() + size_of::<u32>() * self.headers.capacity()
    }

    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.offset_deltas.clear();
        self.timestamps.clear();
        self.data.clear();
        self.keys.clear();
        self.values.clear();
        self.header_counts.clear();
        self.headers.clear();
    }
}

fn append(data: &mut Vec<u8>, column: &mut Vec<u32>, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else {
        column.extend([NULL, NULL]);
        return;
    };
    let start = data.len() as u32;
    data.extend_from_slice(bytes);
    column.extend([start, data.len() as u32]);
}

fn slice(data: &[u8], start: u32, end: u32) -> Option<&[u8]> {
    (start != NULL).then(|| &data[start as usize..end as usize])
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
