//! The kind of an error that ended a call, and its text.

use wasmtime::Trap;

use super::context::Context;
use super::deadline::Limit;
use super::error::root_text;
use crate::ports::{GuestError, TrapKind};

/// wasmtime keeps the type of this error to itself, so it is known by its text; a test holds the two together.
const LIFT_LIMIT_TEXT: &str =
    "too much data is being copied between the host and the guest: fuel allocated for hostcalls has been exhausted";

/// Classes the error that ended a call, or the instantiation.
pub(super) fn guest_error(context: &Context, error: &wasmtime::Error) -> GuestError {
    if is_lift_limit(error) {
        let bytes_max = context.lifted_bytes_max;
        let message = format!("a call returned or logged more than {bytes_max} bytes at once");
        return GuestError::Output { limit: true, message };
    }
    if let Some(refusal) = &context.memory.refused_by_host {
        return no_memory(refusal);
    }
    if let Some(errno) = error.downcast_ref::<rustix::io::Errno>() {
        return no_memory(&errno.to_string());
    }
    if context.out_of_time == Some(Limit::Clock) {
        let time = context.settings.call_time_max;
        let message = format!("did not get its {time:?} of CPU time (limits.batch_time) in time: the host is too busy");
        return GuestError::Stalled(message);
    }
    let trap = error.downcast_ref::<Trap>().copied();
    // A Rust guest that gets no memory aborts: the refusal is the cause, the trap its effect.
    let kind = match trap {
        Some(Trap::Interrupt) => TrapKind::Timeout,
        _ if context.out_of_time.is_some() => TrapKind::Timeout,
        _ if context.memory.refused => TrapKind::Memory,
        _ if context.state_refused.is_some() => TrapKind::State,
        _ => TrapKind::Trap,
    };
    // A Rust guest logs its panic, then runs into `unreachable`.
    let panic = context.last_error.as_ref().filter(|_| trap == Some(Trap::UnreachableCodeReached));
    let message = match (kind, panic) {
        (TrapKind::Timeout, _) => format!("ran longer than {:?} (limits.batch_time)", context.settings.call_time_max),
        (TrapKind::Memory, _) => {
            format!("needs more than {} bytes of memory (limits.memory)", context.settings.memory_bytes_max)
        }
        (TrapKind::State, _) => context.state_refused.clone().unwrap_or_default(),
        (TrapKind::Trap, Some(panic)) => panic.clone(),
        (TrapKind::Trap, None) => trap.map_or_else(|| root_text(error), |trap| trap.to_string()),
    };
    GuestError::Trapped { kind, message: context.text(&message) }
}

/// The host, or its system, gave no memory to an instance.
pub(super) fn no_memory(reason: &str) -> GuestError {
    GuestError::Host(format!("the host gave no memory to an instance: {reason}"))
}

fn is_lift_limit(error: &wasmtime::Error) -> bool {
    root_text(error) == LIFT_LIMIT_TEXT
}
