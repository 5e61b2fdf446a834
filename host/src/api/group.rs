//! The members of a transform's consumer group: some changes need a group without any.

use std::time::{Duration, Instant};

use crate::model::codes::Code;
use crate::model::names::TransformId;

use super::problem::Refusal;
use super::shared::ApiState;

/// Time between two questions whether the group is empty.
const LEAVE_POLL: Duration = Duration::from_millis(100);

/// Waits until the group has no members: hosts need a moment to see that a transform was paused. Refuses after
/// `leave_time`.
pub fn wait_for_empty(state: &ApiState, id: &TransformId, group: &str) -> Result<(), Refusal> {
    let deadline = Instant::now() + state.limits.leave_time;
    loop {
        match refuse_members(state, id, group) {
            Err(refusal) if refusal.code() == Code::OffsetsInUse && Instant::now() < deadline => {
                std::thread::sleep(LEAVE_POLL);
            }
            done => return done,
        }
    }
}

/// Refuses while the group has members.
pub fn refuse_members(state: &ApiState, id: &TransformId, group: &str) -> Result<(), Refusal> {
    match state.log.group_members(group)? {
        0 => Ok(()),
        members => Err(Refusal::new(Code::OffsetsInUse, format!("{id} is paused, but group {group} has {members} members"))
            .with_hint("a host that is stopping, or has just crashed, leaves within seconds: repeat the request")),
    }
}
