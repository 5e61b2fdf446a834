//! The members of a transform's consumer group: offsets change only while there are none.

use crate::deployment::wait_until_empty;
use crate::model::codes::Code;
use crate::model::names::TransformId;

use super::problem::Refusal;
use super::shared::ApiState;

/// Waits until the group has no members: hosts need a moment to see that a transform was paused. Refuses after
/// `leave_time`.
pub fn wait_for_empty(state: &ApiState, id: &TransformId, group: &str) -> Result<(), Refusal> {
    refuse(id, group, wait_until_empty(&*state.log_of(&id.team), group, state.limits.leave_time)?)
}

/// Refuses if the group has members now.
pub fn refuse_members(state: &ApiState, id: &TransformId, group: &str) -> Result<(), Refusal> {
    refuse(id, group, state.log_of(&id.team).group_members(group)?)
}

fn refuse(id: &TransformId, group: &str, members: usize) -> Result<(), Refusal> {
    if members == 0 {
        return Ok(());
    }
    Err(Refusal::new(Code::OffsetsInUse, format!("{id} is paused, but group {group} has {members} members"))
        .with_hint("a host that is stopping, or has just crashed, leaves within seconds: repeat the request"))
}
