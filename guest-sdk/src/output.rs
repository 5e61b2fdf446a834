//! Writes messages into the output's columns. Pure.
//!
//! Bytes that are slices of the input's data become spans into it, all others are appended to the output's own data. A
//! record writes between `begin` and `end`; if it fails, its writes are taken back.

use crate::bindings::sandbar::transform::types::{Batch, Failure, Output as Columns, Setup};
use crate::span::NULL;
use crate::{Error, Message, Result};
use serde::Serialize;

/// The messages of a transform that does not just return them.
///
/// A transform that returns an error after it has sent messages takes them back: the record fails as a whole.
pub struct Output<'b> {
    batch: &'b Batch,
    setup: &'b Setup,
    columns: Columns,
    /// Rows whose message has a timestamp of its own, ascending.
    timestamps_ms: Vec<(usize, i64)>,
    source: u32,
}

/// The lengths of the columns before a record or a message, so that its writes can be taken back.
#[derive(Clone, Copy)]
struct Mark {
    data: usize,
    rows: usize,
    headers: usize,
}

// === impl Output ===

impl<'b> Output<'b> {
    pub(crate) fn new(batch: &'b Batch, setup: &'b Setup, data_bytes_expected: usize) -> Self {
        let rows = batch.offset_deltas.len();
        let columns = Columns {
            data: Vec::with_capacity(data_bytes_expected),
            targets: Vec::with_capacity(rows),
            sources: Vec::with_capacity(rows),
            timestamps: Vec::new(),
            keys: Vec::with_capacity(2 * rows),
            values: Vec::with_capacity(2 * rows),
            header_counts: Vec::new(),
            headers: Vec::new(),
            failures: Vec::new(),
        };
        Output { batch, setup, columns, timestamps_ms: Vec::new(), source: 0 }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// Fails if the spec has no output of the message's alias, or if the batch's bytes would exceed 4 GiB.
    pub fn send(&mut self, message: Message<'_>) -> Result<()> {
        self.whole(|out| {
            let value = out.bytes(message.value.as_deref())?;
            out.row(&message, value)
        })
    }

    /// Sends a message with `value` in JSON as its value, in place of the value that it has. This is the fast path:
    /// the JSON is written where the host reads it, and nothing is allocated for it. A float that is NaN or infinite is
    /// null in JSON.
    ///
    /// # Errors
    /// Fails like [`Output::send`], and if `T` refuses to be serialised.
    pub fn send_json<T: Serialize + ?Sized>(&mut self, message: Message<'_>, value: &T) -> Result<()> {
        self.whole(|out| {
            let start = out.columns.data.len();
            serde_json::to_writer(&mut out.columns.data, value)?;
            let value = out.own_span(start)?;
            out.row(&message, value)
        })
    }

    /// Runs `record`, whose messages come from row `source`; if it fails, they are taken back and the row has failed.
    pub(crate) fn record(&mut self, source: usize, record: impl FnOnce(&mut Self) -> Result<()>) {
        self.source = source as u32;
        if let Err(error) = self.whole(record) {
            self.columns.failures.push(Failure { row: self.source, message: error.to_string() });
        }
    }

    pub(crate) fn finish(mut self) -> Columns {
        if !self.timestamps_ms.is_empty() {
            let inherited = self.columns.sources.iter().map(|&source| self.batch.timestamps[source as usize]);
            self.columns.timestamps = inherited.collect();
            for (row, timestamp_ms) in self.timestamps_ms {
                self.columns.timestamps[row] = timestamp_ms;
            }
        }
        self.columns
    }

    /// Runs `write`, and takes back its writes if it fails.
    fn whole(&mut self, write: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let mark = self.mark();
        write(self).inspect_err(|_| self.take_back(mark))
    }

    fn row(&mut self, message: &Message<'_>, value: [u32; 2]) -> Result<()> {
        let target = self.target(message.output.as_deref())?;
        let key = self.bytes(message.key.as_deref())?;
        self.columns.keys.extend(key);
        self.columns.values.extend(value);
        self.headers(message)?;
        let row = self.columns.targets.len();
        self.timestamps_ms.extend(message.timestamp_ms.map(|timestamp_ms| (row, timestamp_ms)));
        self.columns.targets.push(target);
        self.columns.sources.push(self.source);
        Ok(())
    }

    fn headers(&mut self, message: &Message<'_>) -> Result<()> {
        let mut count = 0;
        for header in message.all_headers() {
            let name = self.bytes(Some(header.name.as_bytes()))?;
            let value = self.bytes(header.value)?;
            self.columns.headers.extend([name, value].as_flattened());
            count += 1;
        }
        // The column stays empty until the first row that has a header.
        if count > 0 || !self.columns.header_counts.is_empty() {
            self.columns.header_counts.resize(self.columns.targets.len(), 0);
            self.columns.header_counts.push(count);
        }
        Ok(())
    }

    fn target(&self, alias: Option<&str>) -> Result<u32> {
        let outputs = &self.setup.outputs;
        let found = match alias {
            None => (!outputs.is_empty()).then_some(0),
            Some(alias) => outputs.iter().position(|output| output == alias),
        };
        found.map(|index| index as u32).ok_or_else(|| match alias {
            None => Error::new("the transform has no output"),
            Some(alias) => Error::new(format_args!("no output is called {alias:?}; there are {outputs:?}")),
        })
    }

    /// The span of `bytes`, which are copied unless they are a slice of the input.
    fn bytes(&mut self, bytes: Option<&[u8]>) -> Result<[u32; 2]> {
        let Some(bytes) = bytes else { return Ok([NULL, NULL]) };
        let input = self.batch.data.as_ptr_range();
        let slice = bytes.as_ptr_range();
        if input.start <= slice.start && slice.end <= input.end {
            let start = slice.start.addr() - input.start.addr();
            return Ok([start as u32, (start + bytes.len()) as u32]);
        }
        let start = self.columns.data.len();
        self.columns.data.extend_from_slice(bytes);
        self.own_span(start)
    }

    /// The span from `start` of the output's own data to its end. It addresses input and output as one space.
    fn own_span(&self, start: usize) -> Result<[u32; 2]> {
        let base = self.batch.data.len();
        match u32::try_from(base + self.columns.data.len()) {
            Ok(end) if end < NULL => Ok([(base + start) as u32, end]),
            _ => Err(Error::new("the messages of one batch exceed 4 GiB")),
        }
    }

    fn mark(&self) -> Mark {
        Mark { data: self.columns.data.len(), rows: self.columns.targets.len(), headers: self.columns.headers.len() }
    }

    fn take_back(&mut self, Mark { data, rows, headers }: Mark) {
        self.columns.data.truncate(data);
        self.columns.targets.truncate(rows);
        self.columns.sources.truncate(rows);
        self.columns.keys.truncate(2 * rows);
        self.columns.values.truncate(2 * rows);
        self.columns.header_counts.truncate(rows);
        self.columns.headers.truncate(headers);
        self.timestamps_ms.retain(|&(row, _)| row < rows);
    }
}
