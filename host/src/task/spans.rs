//! The spans of traced records: one for each record of a sampled trace, in a committed transaction.
//!
//! Nothing of this runs unless spans are exported. A record has the same span however often it is processed, so its outputs
//! have the same bytes. Spans wait in the stats for their transaction: an aborted one leaves none.

use std::sync::Arc;
use std::time::Instant;

use crate::model::batch::{Batch, RowTraceSpan};
use crate::model::units::Timestamp;
use crate::telemetry::record_span::{RecordOrigin, RecordSpan};

use super::failure::RecordFailure;
use super::{Task, TransactionStats};

/// The spans of a call's records, which begin with it.
pub(super) struct CallSpans {
    pub rows: Vec<RowTraceSpan>,
    /// None without rows: then no clock is read.
    begin: Option<(Timestamp, Instant)>,
}

impl Task {
    /// Begins the spans of a batch.
    pub(super) fn begin_spans(&self, batch: &Batch, now: Timestamp) -> CallSpans {
        let place = |row| {
            let transform = &self.revision.settings.id;
            format!("{transform} {} {} {}", self.topic(), self.id.partition, batch.offset(row))
        };
        let is_traced = self.revision.observer.spans.is_some();
        let rows = if is_traced { batch.trace_spans(place) } else { Vec::new() };
        let begin = (!rows.is_empty()).then(|| (now, Instant::now()));
        CallSpans { rows, begin }
    }

    /// Ends the spans of the first `done` rows.
    pub(super) fn end_spans(
        &self,
        spans: CallSpans,
        batch: &Batch,
        done: usize,
        failures: &[(u32, RecordFailure)],
        stats: &mut TransactionStats,
    ) {
        let (Some(queue), Some((started, clock))) = (&self.revision.observer.spans, spans.begin) else { return };
        let settings = &self.revision.settings;
        let origin = Arc::new(RecordOrigin {
            transform: settings.id.clone(),
            revision: settings.revision,
            topic: self.topic().clone(),
            partition: self.id.partition,
        });
        let time = clock.elapsed();
        for (row, ids) in spans.rows.into_iter().take_while(|(row, _)| (*row as usize) < done) {
            let failure = failures.binary_search_by_key(&row, |(failed, _)| *failed).ok();
            let span = RecordSpan {
                ids,
                origin: origin.clone(),
                offset: batch.offset(row as usize),
                started,
                time,
                failed: failure.map(|at| failures[at].1.code),
            };
            queue.hold(&mut stats.spans, span);
        }
    }
}
