//! The trace contexts of a batch's rows, for readers that go through the rows in order.

use super::{Batch, slice};
use crate::model::trace_context::{TraceContext, TraceSpan};

/// A row and its trace span.
pub type RowTraceSpan = (u32, TraceSpan);

/// Finds the trace contexts of rows in ascending order. Each header of the batch is passed once, however many rows are
/// asked for: a record may have a million headers.
pub(super) struct RowTraces<'a> {
    batch: &'a Batch,
    /// The first row that was not passed yet, and its first header.
    next_row: usize,
    next_header: usize,
    /// The context of the row before it.
    last: Option<TraceContext<'a>>,
}

impl Batch {
    /// The trace spans of the rows whose traces are sampled, in order. `place` names a row as [`TraceContext::span`] asks.
    pub fn trace_spans(&self, place: impl Fn(usize) -> String) -> Vec<RowTraceSpan> {
        if self.header_counts.is_empty() {
            return Vec::new();
        }
        let mut traces = RowTraces::new(self);
        let of_row = |row| Some((row as u32, traces.of_row(row)?.span(|| place(row))?));
        (0..self.len()).filter_map(of_row).collect()
    }
}

// === impl RowTraces ===

impl<'a> RowTraces<'a> {
    pub fn new(batch: &'a Batch) -> Self {
        Self { batch, next_row: 0, next_header: 0, last: None }
    }

    /// The trace context of a row that is not before the row of the call before.
    pub fn of_row(&mut self, row: usize) -> Option<TraceContext<'a>> {
        let batch = self.batch;
        if batch.header_counts.is_empty() {
            return None;
        }
        if row >= self.next_row {
            let skipped = &batch.header_counts[self.next_row..row];
            let first = self.next_header + skipped.iter().map(|&count| count as usize).sum::<usize>();
            let end = first + batch.header_counts[row] as usize;
            let spans = batch.headers[4 * first..4 * end].chunks_exact(4);
            self.last = TraceContext::of(spans.map(|span| {
                let name = slice(&batch.data, span[0], span[1]).expect("a header has a name");
                (name, slice(&batch.data, span[2], span[3]))
            }));
            self.next_row = row + 1;
            self.next_header = end;
        }
        self.last
    }
}
