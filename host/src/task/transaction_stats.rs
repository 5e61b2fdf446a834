//! The work of one transaction. It is counted at the commit: an aborted one counts nothing.

use crate::model::batch::{Batch, held_bytes};
use crate::model::sample::Sample;
use crate::model::units::Timestamp;
use crate::ports::ProducerRecord;
use crate::telemetry::observer::TransformObserver;
use crate::telemetry::record_span::RecordSpan;

use super::ledger::{Ledger, Source};

/// The counts of one transaction.
#[derive(Debug, Default)]
pub struct TransactionStats {
    inputs: Vec<(u64, u64)>,
    outputs: Vec<(u64, u64)>,
    /// Bytes that the sent records take while they wait for the commit.
    held_bytes: u64,
    failed: Vec<&'static str>,
    /// Timestamp of the oldest record of each batch.
    oldest: Vec<i64>,
    pub dead_lettered: u64,
    pub skipped: u64,
    pub filtered: u64,
    /// Records for `tail`.
    pub(super) samples: Vec<Sample>,
    /// Spans of traced records.
    pub(super) spans: Vec<RecordSpan>,
    ledger: Ledger,
}

impl TransactionStats {
    /// Counts a record that was sent for `source`.
    pub(super) fn sent(&mut self, record: &ProducerRecord<'_>, source: Source) {
        self.ledger.sent(source);
        let of = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        count(&mut self.outputs, record.topic, 1, (of(record.key) + of(record.value)) as u64);
        self.held_bytes += held_bytes(record.key, record.value, record.headers) as u64;
    }

    /// The row that the transaction's `send`th record was sent for; None if it was a change of a store.
    pub fn source(&self, send: u64) -> Option<Source> {
        self.ledger.source(send)
    }

    pub(super) fn processed(&mut self, input: usize, batch: &Batch, rows: usize, filtered: u64) {
        let bytes: usize = (0..rows).map(|row| batch.row_bytes(row)).sum();
        count(&mut self.inputs, input, rows as u64, bytes as u64);
        self.filtered += filtered;
        self.oldest.extend(batch.timestamps[..rows].iter().copied().filter(|&at| at >= 0).min());
    }

    pub(super) fn failed(&mut self, reason: &'static str) {
        self.failed.push(reason);
    }

    /// Memory that the sent records take, in bytes: also of records without bytes of their own.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// Input records that were processed.
    pub fn records(&self) -> u64 {
        self.inputs.iter().map(|(records, _)| records).sum()
    }

    /// Reports everything to the observer, and becomes empty.
    pub fn count(&mut self, observer: &TransformObserver, now: Timestamp) {
        let metrics = &observer.metrics;
        for (counters, (records, bytes)) in observer.inputs.iter().zip(&self.inputs) {
            counters.records.inc_by(*records);
            counters.bytes.inc_by(*bytes);
        }
        for (counters, (records, bytes)) in observer.outputs.iter().zip(&self.outputs) {
            counters.records.inc_by(*records);
            counters.bytes.inc_by(*bytes);
        }
        self.failed.iter().for_each(|reason| metrics.failed(reason));
        for oldest in &self.oldest {
            metrics.latency.observe(now.millis_since(Timestamp(*oldest)) as f64 / 1000.0);
        }
        metrics.dead_lettered.inc_by(self.dead_lettered);
        metrics.skipped.inc_by(self.skipped);
        metrics.filtered.inc_by(self.filtered);
        self.samples.drain(..).for_each(|sample| observer.samples.show(sample));
        if let Some(queue) = &observer.spans {
            self.spans.drain(..).for_each(|span| queue.push(span));
        }
        self.clear();
    }

    /// Forgets the work of an aborted transaction.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

fn count(column: &mut Vec<(u64, u64)>, index: usize, records: u64, bytes: u64) {
    if column.len() <= index {
        column.resize(index + 1, (0, 0));
    }
    column[index].0 += records;
    column[index].1 += bytes;
}
