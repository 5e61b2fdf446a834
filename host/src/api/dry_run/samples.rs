//! The records of a dry run: the records of the request, or the newest of the real inputs.

use std::time::Instant;

use crate::api_types::LiveRecords;
use crate::model::codes::Code;
use crate::model::spec::Spec;
use crate::ports::TopicPartition;
use crate::record_json::RecordInput;

use super::super::newest::{self, InputRecord, NewestError};
use super::super::problem::Refusal;
use super::super::shared::ApiState;
use super::limits::out_of_time;

/// The records of the request, each with its input.
pub fn given(spec: &Spec, given: Vec<RecordInput>) -> Result<Vec<InputRecord>, Refusal> {
    let sample = |(index, RecordInput { record, topic, partition }): (usize, RecordInput)| {
        let input = match &topic {
            None => 0,
            Some(topic) => spec.inputs.iter().position(|input| input.as_str() == topic).ok_or_else(|| {
                Refusal::of_field(Code::Record, format!("records[{index}].topic"), format!("{topic:?} is not an input"))
            })?,
        };
        Ok(InputRecord { partition: TopicPartition { input: input as u32, partition: partition.unwrap_or(0) }, record })
    };
    given.into_iter().enumerate().map(sample).collect()
}

/// The newest records of the inputs, within the limits.
pub fn newest(state: &ApiState, spec: &Spec, live: LiveRecords, deadline: Instant) -> Result<Vec<InputRecord>, Refusal> {
    let limits = &state.limits;
    if !(1..=limits.trial_records_max).contains(&live.records) {
        let message = format!("is {}, but must be 1 to {} (trial_records_max)", live.records, limits.trial_records_max);
        return Err(Refusal::of_field(Code::Malformed, "live.records", message));
    }
    let log = state.log_of(&spec.id.team);
    let limits = (live.records, limits.records_bytes_max);
    newest::newest(&*log, &spec.inputs, limits, deadline).map_err(|error| match error {
        NewestError::Log(error) => error.into(),
        NewestError::Time(progress) => out_of_time(state, &progress),
    })
}
