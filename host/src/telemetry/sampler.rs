//! The sampler of a transform: takes samples while somebody tails it, and puts them into the transform log.

use std::sync::Arc;
use std::time::Instant;

use super::sample_switch::SampleSwitch;
use super::transform_log::TransformLog;
use crate::model::names::TransformId;
use crate::model::sample::Sample;

/// Takes the samples of one transform.
pub struct Sampler {
    id: TransformId,
    switch: Arc<SampleSwitch>,
    queue: Option<TransformLog>,
}

impl Sampler {
    pub(super) fn new(id: TransformId, queue: Option<TransformLog>) -> Self {
        let switch = queue.as_ref().map_or_else(Arc::default, |queue| queue.switches().of(&id));
        Self { id, switch, queue }
    }

    /// Returns true while somebody tails the transform.
    pub fn is_on(&self) -> bool {
        self.switch.is_on()
    }

    /// Takes up to `wanted` samples, and returns how many the rate permits now.
    pub fn take(&self, wanted: usize, now: Instant) -> usize {
        self.switch.take(wanted, now)
    }

    /// Shows a sample of a committed record.
    pub fn show(&self, sample: Sample) {
        if let Some(queue) = &self.queue {
            queue.sample(&self.id, sample);
        }
    }
}
