//! The limit of time that several steps of a dry run share.

use crate::model::codes::Code;

use super::super::problem::Refusal;
use super::super::shared::ApiState;

/// The refusal of a dry run that took too long.
pub fn out_of_time(state: &ApiState, progress: &str) -> Refusal {
    let seconds = state.limits.trial_time.as_secs();
    Refusal::new(Code::TrialLimit, format!("{progress} when its {seconds} s were over (trial_time)"))
}
