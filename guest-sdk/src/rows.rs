//! Reads a batch's columns as rows. The module is pure, and its rows borrow from the batch.
//!
//! [`check`] is called once for each batch; after it every span lies within the data.

use crate::bindings::sandbar::transform::types::{Batch, Setup};
use crate::span;
use std::ops::Range;

/// Refuses a batch whose columns contradict each other: it is the host's mistake, and fails the batch.
pub(crate) fn check(batch: &Batch, setup: &Setup) -> Result<(), String> {
    let rows = batch.offset_deltas.len();
    let data_bytes = batch.data.len();
    let headers: usize = batch.header_counts.iter().map(|&count| count as usize).sum();
    let sound = (batch.input as usize) < setup.inputs.len()
        && batch.timestamps.len() == rows
        && batch.keys.len() == 2 * rows
        && batch.values.len() == 2 * rows
        && (batch.header_counts.is_empty() || batch.header_counts.len() == rows)
        && batch.headers.len() == 4 * headers
        && span::check(&batch.keys, data_bytes)
        && span::check(&batch.values, data_bytes)
        && span::check(&batch.headers, data_bytes)
        && (0..headers).all(|index| {
            span::read(&batch.headers, 2 * index, &batch.data).is_some_and(|name| str::from_utf8(name).is_ok())
        });
    if sound { Ok(()) } else { Err("the host's batch does not follow the contract of sandbar:transform".to_owned()) }
}

/// The rows of a checked batch, in order.
pub(crate) fn rows<'a>(batch: &'a Batch, setup: &'a Setup) -> impl Iterator<Item = Row<'a>> {
    let mut headers_end = 0;
    (0..batch.offset_deltas.len()).map(move |index| {
        let headers_start = headers_end;
        headers_end += batch.header_counts.get(index).map_or(0, |&count| count as usize);
        Row { batch, setup, index, headers_start, headers_end }
    })
}

/// One row of a checked batch.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    batch: &'a Batch,
    setup: &'a Setup,
    index: usize,
    headers_start: usize,
    headers_end: usize,
}

// === impl Row ===

impl<'a> Row<'a> {
    pub(crate) fn key(self) -> Option<&'a [u8]> {
        span::read(&self.batch.keys, self.index, &self.batch.data)
    }

    pub(crate) fn value(self) -> Option<&'a [u8]> {
        span::read(&self.batch.values, self.index, &self.batch.data)
    }

    pub(crate) fn headers(self) -> Headers<'a> {
        Headers { batch: Some(self.batch), range: self.headers_start..self.headers_end }
    }

    pub(crate) fn timestamp_ms(self) -> Option<i64> {
        Some(self.batch.timestamps[self.index]).filter(|&timestamp_ms| timestamp_ms != -1)
    }

    pub(crate) fn offset(self) -> i64 {
        self.batch.first_offset + i64::from(self.batch.offset_deltas[self.index])
    }

    pub(crate) fn topic(self) -> &'a str {
        &self.setup.inputs[self.input()]
    }

    pub(crate) fn input(self) -> usize {
        self.batch.input as usize
    }

    pub(crate) fn partition(self) -> u32 {
        self.batch.partition
    }

    pub(crate) fn now_ms(self) -> i64 {
        self.batch.now
    }
}

/// A record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name. A record may have several headers of one name.
    pub name: &'a str,
    /// Its value; `None` for null, which is not the same as empty.
    pub value: Option<&'a [u8]>,
}

/// The headers of a record, in its order: an iterator of [`Header`]s. The default has none.
#[derive(Clone, Default)]
pub struct Headers<'a> {
    batch: Option<&'a Batch>,
    range: Range<usize>,
}

// === impl Headers ===

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        let batch = self.batch?;
        let index = self.range.next()?;
        let name = span::read(&batch.headers, 2 * index, &batch.data).and_then(|name| str::from_utf8(name).ok());
        Some(Header {
            name: name.expect("`check` has seen the name of every header"),
            value: span::read(&batch.headers, 2 * index + 1, &batch.data),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.range.size_hint()
    }
}

impl ExactSizeIterator for Headers<'_> {}

impl std::fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}
