//! Records that `tail` shows: an input and its outputs, side by side.
//!
//! Nothing of this runs unless somebody looks at the transform. Samples wait in the stats for their transaction: an
//! aborted one is never shown.

use std::time::Instant;

use crate::model::batch::{Batch, CheckedOutput};
use crate::model::sample::{Content, Sample, SampledOutput};
use crate::model::units::Timestamp;

use super::Task;
use super::failure::RecordFailure;
use super::step::StepContext;

impl Task {
    /// Keeps the first of the `done` rows, as many as may be shown now.
    pub(super) fn sample(
        &self,
        batch: &Batch,
        done: usize,
        checked: Option<&CheckedOutput<'_>>,
        failures: &[(u32, RecordFailure)],
        context: &mut StepContext<'_>,
    ) {
        let settings = &self.revision.settings;
        let rows = self.revision.observer.samples.take(done, Instant::now());
        let mut samples: Vec<Sample> = (0..rows).map(|row| self.input(batch, row, context.now.wall)).collect();
        // Sources ascend.
        let outputs = checked.iter().flat_map(|checked| checked.records());
        for record in outputs.take_while(|record| (record.source as usize) < rows) {
            let sample = &mut samples[record.source as usize];
            if sample.outputs.len() == Sample::OUTPUTS_MAX {
                sample.outputs_more += 1;
                continue;
            }
            let topic = settings.outputs[record.target as usize].clone();
            let content = Content::of(record.timestamp, record.key, record.value, &record.headers);
            sample.outputs.push(SampledOutput { topic, content });
        }
        for (row, failure) in failures {
            if let Some(sample) = samples.get_mut(*row as usize) {
                // Its outputs were not sent.
                sample.outputs.clear();
                sample.outputs_more = 0;
                sample.failed = Some((failure.code, failure.message.clone()));
            }
        }
        context.stats.samples.extend(samples);
    }

    fn input(&self, batch: &Batch, row: usize, now: Timestamp) -> Sample {
        Sample {
            at: now,
            revision: self.revision.settings.revision,
            topic: self.topic().clone(),
            partition: self.id.partition,
            offset: batch.offset(row),
            input: Content::of(batch.timestamps[row], batch.key(row), batch.value(row), &batch.headers(row)),
            outputs: Vec::new(),
            outputs_more: 0,
            failed: None,
        }
    }
}
