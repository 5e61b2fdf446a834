//! Limits that several steps of a dry run share.

use crate::model::codes::Code;
use crate::ports::LogRecord;

use super::super::problem::Refusal;
use super::super::shared::ApiState;

/// Bytes of key, value and headers.
pub fn bytes_of(record: &LogRecord) -> usize {
    let headers = record.headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len));
    record.key.as_ref().map_or(0, Vec::len) + record.value.as_ref().map_or(0, Vec::len) + headers.sum::<usize>()
}

/// The refusal of a dry run that took too long.
pub fn out_of_time(state: &ApiState, progress: &str) -> Refusal {
    let seconds = state.limits.trial_time.as_secs();
    Refusal::new(Code::TrialLimit, format!("{progress} when its {seconds} s were over (trial_time)"))
}
