//! Records as flat columns: the form in which they cross to a guest and come back.
//!
//! A [`Batch`] holds records of one topic-partition in offset order; an [`Output`] what they became. Both mirror the
//! WIT contract (`guest-sdk/wit/transform.wit`) field by field, so that the boundary is a block copy.
//!
//! Spans are validated once ([`Output::check`]) before anything reads through them.

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
/// A tick may put out as much as so many records.
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

    /// Whether `offset` can be a row: deltas are 32 bits wide.
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

/// What a guest made of a batch, as it came back. Nothing in it is trusted before [`Output::check`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    pub data: Vec<u8>,
    pub targets: Vec<u32>,
    pub sources: Vec<u32>,
    pub timestamps: Vec<i64>,
    pub keys: Vec<u32>,
    pub values: Vec<u32>,
    pub header_counts: Vec<u32>,
    pub headers: Vec<u32>,
    pub failures: Vec<Failure>,
}

/// A record that its guest refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub row: u32,
    pub message: String,
}

/// What a guest may put out for a batch.
#[derive(Debug, Clone, Copy)]
pub struct OutputLimits {
    /// Output records per input record.
    pub records_per_input: u32,
    /// Bytes of one input record's outputs: their keys, values and headers, and [`RECORD_BYTES`] and [`HEADER_BYTES`] for
    /// each.
    pub bytes_per_input: usize,
    /// How many outputs the spec has.
    pub targets: u32,
}

/// How a guest broke the contract with its output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    #[error("column {column} has {found} entries, {expected} expected")]
    Columns { column: &'static str, found: usize, expected: usize },
    #[error("output row {row}: span {start}..{end} in {column} is not within the input or the output data")]
    Span { row: usize, column: &'static str, start: u32, end: u32 },
    #[error("output row {row} names output {target}, the spec has {targets}")]
    Target { row: usize, target: u32, targets: u32 },
    #[error("output row {row} names source {source_row}, which is not an input row in ascending order")]
    Source { row: usize, source_row: u32 },
    #[error("failure {index} names input row {row}, which is not an input row in ascending order")]
    Failure { index: usize, row: u32 },
    #[error("output row {row} has a header whose name is null or not UTF-8")]
    HeaderName { row: usize },
    #[error("output row {row} has {headers} headers, the limit is {HEADERS_MAX}")]
    TooManyHeaders { row: usize, headers: u32 },
    #[error("input row {row} became {records} records, the limit is {limit} (limits.output_per_record)")]
    TooManyRecords { row: u32, records: u32, limit: u32 },
    #[error("input row {row} became {bytes} bytes, the limit is {limit} (limits.output_bytes_per_record)")]
    TooManyBytes { row: u32, bytes: usize, limit: usize },
}

impl OutputError {
    /// Over a limit, as against outside the contract.
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::TooManyHeaders { .. } | Self::TooManyRecords { .. } | Self::TooManyBytes { .. })
    }
}

/// The outputs of one input row, as they are counted.
#[derive(Default)]
struct Source {
    row: u32,
    records: u32,
    bytes: usize,
}

impl Source {
    fn add_record(&mut self, limits: &OutputLimits) -> Result<(), OutputError> {
        self.records += 1;
        let limit = limits.records_per_input;
        if self.records > limit {
            return Err(OutputError::TooManyRecords { row: self.row, records: self.records, limit });
        }
        self.add_bytes(RECORD_BYTES, limits)
    }

    fn add_bytes(&mut self, bytes: usize, limits: &OutputLimits) -> Result<(), OutputError> {
        self.bytes = self.bytes.saturating_add(bytes);
        let limit = limits.bytes_per_input;
        if self.bytes > limit {
            return Err(OutputError::TooManyBytes { row: self.row, bytes: self.bytes, limit });
        }
        Ok(())
    }
}

/// An output whose every index and span is proved to be good for its input.
#[derive(Debug)]
pub struct CheckedOutput<'a> {
    input: &'a Batch,
    output: &'a Output,
}

impl Output {
    /// Proves the output against its input and limits; nothing reads an output before this.
    pub fn check<'a>(&'a self, input: &'a Batch, limits: &OutputLimits) -> Result<CheckedOutput<'a>, OutputError> {
        let rows = self.targets.len();
        let expect = |column, found, expected| match found == expected {
            true => Ok(()),
            false => Err(OutputError::Columns { column, found, expected }),
        };
        expect("sources", self.sources.len(), rows)?;
        expect("keys", self.keys.len(), 2 * rows)?;
        expect("values", self.values.len(), 2 * rows)?;
        if !self.timestamps.is_empty() {
            expect("timestamps", self.timestamps.len(), rows)?;
        }
        if !self.header_counts.is_empty() {
            expect("header-counts", self.header_counts.len(), rows)?;
        }
        let headers = self.header_counts.iter().try_fold(0usize, |sum, &n| sum.checked_add(n as usize));
        expect("headers", self.headers.len(), headers.and_then(|n| n.checked_mul(4)).unwrap_or(usize::MAX))?;
        self.check_rows(input, limits)?;
        self.check_failures(input)?;
        Ok(CheckedOutput { input, output: self })
    }

    /// Counts before it reads: spans may overlap, so a small output can stand for many bytes, and a header or a record may
    /// have none at all.
    fn check_rows(&self, input: &Batch, limits: &OutputLimits) -> Result<(), OutputError> {
        let mut at = Source::default();
        let mut header = 0;
        for (row, (&target, &source)) in self.targets.iter().zip(&self.sources).enumerate() {
            if target >= limits.targets {
                return Err(OutputError::Target { row, target, targets: limits.targets });
            }
            if source as usize >= input.len() || (row > 0 && source < at.row) {
                return Err(OutputError::Source { row, source_row: source });
            }
            if row == 0 || source != at.row {
                at = Source { row: source, ..Source::default() };
            }
            at.add_record(limits)?;
            at.add_bytes(self.check_span(input, row, "keys", self.keys[2 * row], self.keys[2 * row + 1])?, limits)?;
            at.add_bytes(self.check_span(input, row, "values", self.values[2 * row], self.values[2 * row + 1])?, limits)?;
            let headers = self.header_counts.get(row).copied().unwrap_or(0);
            if headers > HEADERS_MAX {
                return Err(OutputError::TooManyHeaders { row, headers });
            }
            for _ in 0..headers {
                let spans = &self.headers[4 * header..4 * header + 4];
                header += 1;
                at.add_bytes(HEADER_BYTES, limits)?;
                at.add_bytes(self.check_span(input, row, "headers", spans[0], spans[1])?, limits)?;
                at.add_bytes(self.check_span(input, row, "headers", spans[2], spans[3])?, limits)?;
                let name = resolve(&input.data, &self.data, spans[0], spans[1]);
                if name.is_none_or(|name| std::str::from_utf8(name).is_err()) {
                    return Err(OutputError::HeaderName { row });
                }
            }
        }
        Ok(())
    }

    fn check_failures(&self, input: &Batch) -> Result<(), OutputError> {
        let mut above = None;
        for (index, failure) in self.failures.iter().enumerate() {
            if failure.row as usize >= input.len() || above.is_some_and(|above| failure.row <= above) {
                return Err(OutputError::Failure { index, row: failure.row });
            }
            above = Some(failure.row);
        }
        Ok(())
    }

    fn check_span(
        &self,
        input: &Batch,
        row: usize,
        column: &'static str,
        start: u32,
        end: u32,
    ) -> Result<usize, OutputError> {
        let (first, both) = (input.data.len(), input.data.len() + self.data.len());
        let (from, to) = (start as usize, end as usize);
        if start == NULL && end == NULL {
            return Ok(0);
        }
        if from <= to && (to <= first || (from >= first && to <= both)) {
            return Ok(to - from);
        }
        Err(OutputError::Span { row, column, start, end })
    }
}

/// One output record, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutRecord<'a> {
    pub target: u32,
    pub source: u32,
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Vec<HeaderRef<'a>>,
}

impl<'a> CheckedOutput<'a> {
    /// Output records in order, without those of failed rows.
    pub fn records(&self) -> impl Iterator<Item = OutRecord<'a>> + '_ {
        let (input, output) = (self.input, self.output);
        let mut header = 0;
        let mut failures = output.failures.iter().map(|failure| failure.row).peekable();
        (0..output.targets.len()).filter_map(move |row| {
            let source = output.sources[row];
            let count = output.header_counts.get(row).map_or(0, |&n| n as usize);
            let spans = &output.headers[4 * header..4 * (header + count)];
            header += count;
            while failures.next_if(|&failed| failed < source).is_some() {}
            if failures.peek() == Some(&source) {
                return None;
            }
            let get = |start, end| resolve(&input.data, &output.data, start, end);
            Some(OutRecord {
                target: output.targets[row],
                source,
                timestamp: output.timestamps.get(row).copied().unwrap_or(input.timestamps[source as usize]),
                key: get(output.keys[2 * row], output.keys[2 * row + 1]),
                value: get(output.values[2 * row], output.values[2 * row + 1]),
                headers: spans
                    .chunks_exact(4)
                    .map(|h| {
                        let name = get(h[0], h[1]).expect("check() refuses null names");
                        (std::str::from_utf8(name).expect("check() refuses other names"), get(h[2], h[3]))
                    })
                    .collect(),
            })
        })
    }

    /// What no output record's key and value together exceed, where no record has headers: a span lies whole in the
    /// input's data or in the output's. None: look at each record.
    pub fn record_bytes_bound(&self) -> Option<usize> {
        self.output.headers.is_empty().then(|| 2 * self.input.data.len().max(self.output.data.len()))
    }

    pub fn failures(&self) -> &'a [Failure] {
        &self.output.failures
    }

    /// Input rows with neither an output nor a failure.
    pub fn filtered(&self) -> usize {
        let mut rows = self.output.sources.clone();
        rows.extend(self.output.failures.iter().map(|failure| failure.row));
        rows.sort_unstable();
        rows.dedup();
        self.input.len() - rows.len()
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

/// A span of the joint space: the input's data, then the output's.
fn resolve<'a>(input: &'a [u8], output: &'a [u8], start: u32, end: u32) -> Option<&'a [u8]> {
    if start == NULL {
        return None;
    }
    let (from, to) = (start as usize, end as usize);
    if to <= input.len() {
        return Some(&input[from..to]);
    }
    Some(&output[from - input.len()..to - input.len()])
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
