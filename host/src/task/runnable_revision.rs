//! One revision, ready to run.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::model::batch::OutputLimits;
use crate::model::names::{Digest, TopicName, TransformId};
use crate::model::spec::{Delivery, Retry, Spec, Then};
use crate::model::transaction_time;
use crate::ports::{GuestFactory, TopicPartition};
use crate::telemetry::observer::TransformObserver;

/// One revision, ready to run: shared by the workers and tasks of a transform.
pub struct RunnableRevision {
    pub settings: Settings,
    pub guests: Arc<dyn GuestFactory>,
    pub observer: Arc<TransformObserver>,
}

/// The settings of a task: the parts of a spec that it needs.
#[derive(Debug, Clone)]
pub struct Settings {
    pub id: TransformId,
    pub revision: u64,
    pub module: Digest,
    pub inputs: Vec<TopicName>,
    /// Every topic that is written: those of the spec, dead letters, changelogs. `ProducerRecord::topic` is an index into them.
    pub outputs: Vec<TopicName>,
    pub delivery: Delivery,
    /// The time for which work is open at most.
    pub commit_interval: Duration,
    /// The time for which work is open at least, while there is much of it.
    pub commit_interval_min: Duration,
    /// The timeout that its transactions need.
    pub transaction_timeout: Duration,
    pub batch_records: usize,
    pub batch_bytes: usize,
    pub output: OutputLimits,
    /// Largest record of each of `outputs`.
    pub record_bytes_max: Vec<usize>,
    pub retry: Retry,
    pub then: Then,
    /// Index of the dead-letter topic among `outputs`.
    pub dead_letters: Option<usize>,
    /// Indexes of the stores' changelog topics among `outputs`.
    pub changelogs: Range<usize>,
    /// The number of resets of the state. Each has changelogs of its own.
    pub resets: u64,
    /// The time between two ticks.
    pub tick: Option<Duration>,
}

impl Settings {
    /// `record_bytes_max` is in the order of `Spec::written_topics`.
    pub fn of(spec: &Spec, revision: u64, changelogs: Vec<TopicName>, record_bytes_max: Vec<usize>) -> Self {
        let written = spec.written_topics().count();
        Self {
            id: spec.id.clone(),
            revision,
            module: spec.module,
            inputs: spec.inputs.clone(),
            changelogs: written..written + changelogs.len(),
            outputs: spec.written_topics().cloned().chain(changelogs).collect(),
            delivery: spec.delivery,
            commit_interval: spec.commit_interval.max.0,
            commit_interval_min: spec.commit_interval.min.0,
            transaction_timeout: transaction_time::timeout(spec.commit_interval.max.0, spec.limits.batch_time.0),
            batch_records: spec.limits.batch_records as usize,
            batch_bytes: spec.limits.batch_bytes.as_usize(),
            output: OutputLimits {
                records_per_input: spec.limits.output_per_record,
                bytes_per_input: spec.limits.output_bytes_per_record.as_usize(),
                targets: spec.outputs.len() as u32,
            },
            record_bytes_max,
            retry: spec.retry,
            then: spec.then,
            dead_letters: (spec.then == Then::DeadLetter).then_some(spec.outputs.len()),
            resets: 0,
            tick: spec.tick,
        }
    }

    /// The time between two ticks of the partition's task, if it has any. With stores, one task for each state has them.
    pub fn ticks(&self, partition: TopicPartition) -> Option<Duration> {
        self.tick.filter(|_| self.changelogs.is_empty() || partition.input == 0)
    }
}
