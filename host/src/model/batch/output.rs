//! The output of a guest for a batch: it is proved against its input and its limits before anything reads it.
//!
//! An output record carries the trace context of its input record on, unless the guest gave it one. These headers are a part
//! of the record like the guest's own: they count against its limits, and all who read the output see them.

use super::row_traces::{RowTraceSpan, RowTraces};
use super::{Batch, HEADER_BYTES, HEADERS_MAX, HeaderRef, NULL, RECORD_BYTES};
use crate::model::trace_context::{CARRIED_BYTES_MAX, is_trace_header};

/// The output of a guest for a batch, as it came back. Nothing in it is trusted before [`Output::check`].
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

/// Limits of a guest's output for a batch.
#[derive(Debug, Clone, Copy)]
pub struct OutputLimits {
    /// Output records per input record.
    pub records_per_input: u32,
    /// Bytes of one input record's outputs: their keys, values and headers, and [`RECORD_BYTES`] and [`HEADER_BYTES`] for
    /// each.
    pub bytes_per_input: usize,
    /// Number of outputs of the spec.
    pub targets: u32,
}

/// A breach of the contract by a guest's output.
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
    trace_spans: &'a [RowTraceSpan],
}

impl Output {
    /// Proves the output against its input and limits; nothing reads an output before this.
    pub fn check<'a>(&'a self, input: &'a Batch, limits: &OutputLimits) -> Result<CheckedOutput<'a>, OutputError> {
        let rows = self.targets.len();
        let expect = |column, found, expected| {
            if found == expected { Ok(()) } else { Err(OutputError::Columns { column, found, expected }) }
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
        Ok(CheckedOutput { input, output: self, trace_spans: &[] })
    }

    /// Counts before it reads: spans may overlap, so a small output can stand for many bytes, and a header or a record may
    /// have none at all.
    fn check_rows(&self, input: &Batch, limits: &OutputLimits) -> Result<(), OutputError> {
        let mut at = Source::default();
        let mut header = 0;
        let mut traces = RowTraces::new(input);
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
            let mut trace = traces.of_row(source as usize);
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
                trace = trace.filter(|_| !name.is_some_and(is_trace_header));
            }
            if let Some(trace) = trace {
                at.add_bytes(trace.held_bytes(), limits)?;
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
        let first = input.data.len();
        let both = input.data.len() + self.data.len();
        let from = start as usize;
        let to = end as usize;
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
    /// The guest's, and after them those of the input record's trace.
    pub headers: Vec<HeaderRef<'a>>,
}

impl<'a> CheckedOutput<'a> {
    /// Lets the outputs of rows with a trace span name it as their parent. `trace_spans` are in the order of their rows. No
    /// record gets larger than it was when it was checked.
    pub fn with_trace_spans(self, trace_spans: &'a [RowTraceSpan]) -> Self {
        Self { trace_spans, ..self }
    }

    /// The timestamps of all records, with those of failed rows.
    pub fn timestamps(&self) -> impl Iterator<Item = i64> + '_ {
        let Self { input, output, .. } = *self;
        let inherited = |row: usize| input.timestamps[output.sources[row] as usize];
        (0..output.targets.len()).map(move |row| output.timestamps.get(row).copied().unwrap_or_else(|| inherited(row)))
    }

    /// Output records in order, without those of failed rows.
    pub fn records(&self) -> impl Iterator<Item = OutRecord<'a>> + '_ {
        let Self { input, output, trace_spans } = *self;
        let mut header = 0;
        let mut traces = RowTraces::new(input);
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
            let mut headers: Vec<HeaderRef<'_>> = spans
                .chunks_exact(4)
                .map(|h| {
                    let name = get(h[0], h[1]).expect("check() refuses null names");
                    (std::str::from_utf8(name).expect("check() refuses other names"), get(h[2], h[3]))
                })
                .collect();
            if let Some(trace) = traces.of_row(source as usize) {
                let span = trace_spans.binary_search_by_key(&source, |(row, _)| *row).ok();
                trace.carry_on(span.map(|at| &trace_spans[at].1), &mut headers);
            }
            Some(OutRecord {
                target: output.targets[row],
                source,
                timestamp: output.timestamps.get(row).copied().unwrap_or(input.timestamps[source as usize]),
                key: get(output.keys[2 * row], output.keys[2 * row + 1]),
                value: get(output.values[2 * row], output.values[2 * row + 1]),
                headers,
            })
        })
    }

    /// A bound on the bytes of every output record, where the guest gave none a header: a span lies whole in the input's
    /// data or in the output's, and a trace comes only of an input with headers. None: look at each record.
    pub fn record_bytes_bound(&self) -> Option<usize> {
        let trace = if self.input.header_counts.is_empty() { 0 } else { CARRIED_BYTES_MAX };
        self.output.headers.is_empty().then(|| 2 * self.input.data.len().max(self.output.data.len()) + trace)
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

/// A span of the joint space: the input's data, then the output's.
fn resolve<'a>(input: &'a [u8], output: &'a [u8], start: u32, end: u32) -> Option<&'a [u8]> {
    if start == NULL {
        return None;
    }
    let from = start as usize;
    let to = end as usize;
    if to <= input.len() {
        return Some(&input[from..to]);
    }
    Some(&output[from - input.len()..to - input.len()])
}
