//! Records that are shown to whoever looks (`tail`): what went in and what came of it, side by side.
//!
//! Nothing of this runs unless somebody looks at the transform. Samples wait in the stats for their transaction: what
//! was aborted is never shown.

use std::time::Instant;

use crate::model::batch::{Batch, CheckedOutput};
use crate::model::sample::{Content, Sample, SampledOutput};
use crate::model::units::Timestamp;

use super::failure::Failed;
use super::{Task, TransactionStats};

impl Task {
    /// Keeps the first of the rows that are `done`, as many as may be shown now.
    pub(super) fn sample(
        &self,
        batch: &Batch,
        done: usize,
        checked: Option<&CheckedOutput<'_>>,
        failed: &[(u32, Failed)],
        now: Timestamp,
        stats: &mut TransactionStats,
    ) {
        let settings = &self.program.settings;
        let rows = self.program.observer.samples.take(done, Instant::now());
        let mut samples: Vec<Sample> = (0..rows).map(|row| self.input(batch, row, now)).collect();
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
        for (row, failed) in failed {
            if let Some(sample) = samples.get_mut(*row as usize) {
                // What it put out before it failed was not sent.
                (sample.outputs, sample.outputs_more) = (Vec::new(), 0);
                sample.failed = Some((failed.code, failed.message.clone()));
            }
        }
        stats.samples.extend(samples);
    }

    fn input(&self, batch: &Batch, row: usize, now: Timestamp) -> Sample {
        Sample {
            at: now,
            revision: self.program.settings.revision,
            topic: self.topic().clone(),
            partition: self.partition.partition,
            offset: batch.offset(row),
            input: Content::of(batch.timestamps[row], batch.key(row), batch.value(row), &batch.headers(row)),
            outputs: Vec::new(),
            outputs_more: 0,
            failed: None,
        }
    }
}
