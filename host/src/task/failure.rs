//! A failed record: its code and message.

use crate::model::batch::{CheckedOutput, OutRecord, OutputError, header_bytes};
use crate::model::codes::Code;
use crate::model::text::cut;
use crate::ports::{Cause, GuestError, Outgoing, Session, TrapKind};

use super::Settings;

/// Longest error message that is kept, in bytes.
const MESSAGE_BYTES_MAX: usize = 2048;

/// Why a record failed for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    pub code: Code,
    pub message: String,
}

impl Failed {
    pub fn of_guest(error: &GuestError) -> Self {
        let code = match error {
            GuestError::Returned(_) => Code::GuestFailed,
            GuestError::Trapped { kind: TrapKind::Trap, .. } => Code::Trap,
            GuestError::Trapped { kind: TrapKind::Timeout, .. } => Code::Timeout,
            GuestError::Trapped { kind: TrapKind::Memory, .. } => Code::Memory,
            GuestError::Trapped { kind: TrapKind::State, .. } => Code::StateLimit,
            GuestError::Output { limit: true, .. } => Code::OutputLimit,
            GuestError::Output { limit: false, .. } => Code::Contract,
            GuestError::Init(_) => Code::Init,
            GuestError::Host(_) => Code::HostResources,
        };
        Self::new(code, error.to_string())
    }

    pub fn of_output(error: &OutputError) -> Self {
        Self::new(if error.is_limit() { Code::OutputLimit } else { Code::Contract }, error.to_string())
    }

    /// One record became more than the log takes at once.
    pub fn too_large(reason: &str) -> Self {
        Self::new(Code::OutputLimit, format!("what one record became is too large: {reason}"))
    }

    /// A topic does not take a record that this one became.
    pub fn refused(cause: Cause, reason: &str) -> Self {
        let code = if cause == Cause::Size { Code::RecordTooLarge } else { Code::RecordRefused };
        Self::new(code, format!("an output record was refused: {reason}"))
    }

    /// The record could be read only in part.
    pub fn damaged(reason: &str) -> Self {
        Self::new(Code::RecordRefused, format!("the record cannot be passed on whole: {reason}"))
    }

    /// The dead-letter topic does not take what this one became, mended or not.
    pub(super) fn dead_letter_refused(reason: &str) -> Self {
        Self::new(Code::DeadLetterRefused, format!("its dead letter was refused: {reason}"))
    }

    fn new(code: Code, message: String) -> Self {
        Self { code, message: cut(&message, MESSAGE_BYTES_MAX).to_owned() }
    }

    /// Not a refusal by the guest's own choice.
    pub fn is_trap(&self) -> bool {
        use Code::{DeadLetterRefused, GuestFailed, RecordRefused, RecordTooLarge};
        !matches!(self.code, GuestFailed | RecordTooLarge | RecordRefused | DeadLetterRefused)
    }

    /// A trap that the module has to answer for, and not the host.
    pub fn is_the_modules(&self) -> bool {
        self.is_trap() && self.code != Code::HostResources
    }

    /// The label that metrics count it under.
    pub fn reason(&self) -> &'static str {
        match self.code {
            Code::GuestFailed => "returned",
            Code::Timeout => "timeout",
            Code::Memory => "memory",
            Code::StateLimit => "state-limit",
            Code::OutputLimit => "output-limit",
            Code::Contract => "contract",
            Code::RecordTooLarge => "record-too-large",
            Code::RecordRefused | Code::DeadLetterRefused => "refused",
            Code::Init => "init",
            Code::HostResources => "host",
            _ => "trap",
        }
    }
}

/// The rows that failed, ascending. Of a call that failed whole it is the first that is blamed.
pub(super) fn of_outcome(outcome: &Result<CheckedOutput<'_>, Failed>, settings: &Settings) -> Vec<(u32, Failed)> {
    match outcome {
        Ok(checked) => of_rows(checked, settings),
        Err(failed) => vec![(0, failed.clone())],
    }
}

/// The rows that the guest names, and those with an output that is larger than any that is sent to its topic.
pub(super) fn of_rows(checked: &CheckedOutput<'_>, settings: &Settings) -> Vec<(u32, Failed)> {
    let named = checked.failures().iter();
    let mut failures: Vec<_> =
        named.map(|failure| (failure.row, Failed::new(Code::GuestFailed, failure.message.clone()))).collect();
    let all_fit = |bytes| settings.record_bytes_max.iter().all(|&limit| bytes <= limit);
    // Nearly always: no record is looked at, and failures ascend already.
    if checked.record_bytes_bound().is_some_and(all_fit) {
        return failures;
    }
    for record in checked.records() {
        let bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len) + header_bytes(&record.headers);
        let limit = settings.record_bytes_max[record.target as usize];
        if bytes > limit {
            let message =
                format!("an output record of {bytes} bytes is larger than its topic takes or a host sends ({limit})");
            failures.push((record.source, Failed::new(Code::RecordTooLarge, message)));
        }
    }
    failures.sort_by_key(|(row, _)| *row);
    failures.dedup_by_key(|(row, _)| *row);
    failures
}

/// Adds the rows with an output that is sure to be refused.
pub(super) fn foreseen(
    session: &dyn Session,
    outcome: &Result<CheckedOutput<'_>, Failed>,
    mut failures: Vec<(u32, Failed)>,
) -> Vec<(u32, Failed)> {
    let Some(checked) = outcome.as_ref().ok().filter(|_| session.is_wary()) else { return failures };
    for OutRecord { target, source, timestamp, key, value, headers } in checked.records() {
        let record = Outgoing { topic: target as usize, partition: None, key, value, headers: &headers, timestamp };
        if let Some((cause, reason)) = session.foresee(&record) {
            failures.push((source, Failed::refused(cause, &reason)));
        }
    }
    failures.sort_by_key(|(row, _)| *row);
    failures.dedup_by_key(|(row, _)| *row);
    failures
}
