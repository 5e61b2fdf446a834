//! The settings of a revision's instances.

use std::time::Duration;

use crate::model::names::{TopicName, TransformId};
use crate::model::secret::{References, SecretRef};
use crate::model::spec::Spec;
use crate::telemetry::rate::Rate;

/// Bytes that `init` may return or log at once, and that any call may return beside its outputs. All of them are copied
/// into the host's own memory, and spans and strings may overlap: a guest's memory limit alone does not bound them.
const LIFTED_BYTES_BASE: usize = 8 << 20;
/// One call may return the outputs of this number of records, each as large as its limit allows; a batch that returns
/// more is run record by record.
pub(super) const LIFTED_RECORDS: usize = 8;
/// Most bytes that any call may return, whatever its limits.
const LIFTED_BYTES_MAX: usize = 128 << 20;

/// The part of a spec that every instance of a revision starts with.
#[derive(Debug, Clone)]
pub struct Settings {
    pub id: TransformId,
    pub revision: u64,
    /// The config as the spec has it: secrets are references.
    pub config: String,
    /// The secrets that the config refers to.
    pub secrets: Vec<SecretRef>,
    pub inputs: Vec<TopicName>,
    pub outputs: Vec<String>,
    /// The names of its stores and tables, in the order of the spec.
    pub stores: Vec<String>,
    pub tables: Vec<String>,
    pub has_tick: bool,
    pub memory_bytes_max: usize,
    pub call_time_max: Duration,
    pub output_bytes_per_record: usize,
    pub log_rate: Rate,
}

impl Settings {
    pub fn of(spec: &Spec, revision: u64) -> Self {
        Self {
            id: spec.id.clone(),
            revision,
            config: spec.config.to_json(),
            secrets: References::of(&spec.config).secrets,
            inputs: spec.inputs.clone(),
            outputs: spec.outputs.keys().map(ToString::to_string).collect(),
            stores: spec.state.keys().map(ToString::to_string).collect(),
            tables: spec.tables.keys().map(ToString::to_string).collect(),
            has_tick: spec.tick.is_some(),
            memory_bytes_max: spec.limits.memory.as_usize(),
            call_time_max: spec.limits.batch_time.0,
            output_bytes_per_record: spec.limits.output_bytes_per_record.as_usize(),
            log_rate: Rate { lines: spec.limits.log_lines_per_second, bytes: spec.limits.log_bytes_per_second.0 },
        }
    }

    /// Most bytes that a call may return with the outputs of `records` at their limit. They are in the guest's memory
    /// first, so an honest call never returns more than that holds.
    pub(super) fn lifted_bytes_max(&self, records: usize) -> usize {
        let outputs = records.saturating_mul(self.output_bytes_per_record);
        LIFTED_BYTES_BASE.saturating_add(outputs).min(self.memory_bytes_max).min(LIFTED_BYTES_MAX)
    }
}
