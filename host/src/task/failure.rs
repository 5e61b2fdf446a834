//! The failure of a record: its code and its message.

use crate::model::batch::{CheckedOutput, OutputError, header_bytes};
use crate::model::codes::Code;
use crate::model::text::cut;
use crate::ports::{Cause, GuestError, ProducerRecord, Session, TrapKind, refused_timestamp};

use super::Settings;

/// Longest error message that is kept, in bytes: enough for a panic with its place.
const MESSAGE_BYTES_MAX: usize = 2048;

/// The reason for which a record failed for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordFailure {
    pub code: Code,
    pub message: String,
}

impl RecordFailure {
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
            GuestError::Secret(_) => Code::SecretUnavailable,
            GuestError::Host(_) => Code::HostResources,
            GuestError::Stalled(_) => Code::CallStalled,
        };
        Self::new(code, error.to_string())
    }

    pub fn of_output(error: &OutputError) -> Self {
        Self::new(if error.is_limit() { Code::OutputLimit } else { Code::Contract }, error.to_string())
    }

    /// The outputs of one record are more than the log takes at once.
    pub fn too_large(reason: &str) -> Self {
        Self::new(Code::OutputLimit, format!("what one record became is too large: {reason}"))
    }

    /// A topic refused an output of the record.
    pub fn refused(cause: Cause, reason: &str) -> Self {
        let code = if cause == Cause::Size { Code::RecordTooLarge } else { Code::RecordRefused };
        Self::new(code, format!("an output record was refused: {reason}"))
    }

    /// The record could be read only in part.
    pub fn damaged(reason: &str) -> Self {
        Self::new(Code::RecordRefused, format!("the record cannot be passed on whole: {reason}"))
    }

    /// The dead-letter topic refused the record's dead letter, mended or not.
    pub(super) fn dead_letter_refused(reason: &str) -> Self {
        Self::new(Code::DeadLetterRefused, format!("its dead letter was refused: {reason}"))
    }

    fn new(code: Code, message: String) -> Self {
        Self { code, message: cut(&message, MESSAGE_BYTES_MAX).to_owned() }
    }

    /// Returns true if neither the guest chose to fail the record, nor a topic refused it.
    pub fn is_trap(&self) -> bool {
        use Code::{DeadLetterRefused, GuestFailed, RecordRefused, RecordTooLarge};
        !matches!(self.code, GuestFailed | RecordTooLarge | RecordRefused | DeadLetterRefused)
    }

    /// Returns true for a trap that is the module's fault, and not the host's.
    pub fn is_the_modules(&self) -> bool {
        self.is_trap() && !matches!(self.code, Code::HostResources | Code::CallStalled | Code::SecretUnavailable)
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
            Code::HostResources | Code::SecretUnavailable => "host",
            _ => "trap",
        }
    }
}

/// The rows that failed, ascending. Of a call that failed whole, the first row is blamed. A row with an output that is
/// sure to be refused fails as well.
pub(super) fn all_of(
    outcome: &Result<CheckedOutput<'_>, RecordFailure>,
    settings: &Settings,
    session: &dyn Session,
) -> Vec<(u32, RecordFailure)> {
    let checked = match outcome {
        Ok(checked) => checked,
        Err(failure) => return vec![(0, failure.clone())],
    };
    let mut failures = of_rows(checked, settings);
    if session.is_wary() {
        for record in checked.records() {
            if let Some((cause, reason)) = session.foresee(&ProducerRecord::of(&record)) {
                failures.push((record.source, RecordFailure::refused(cause, &reason)));
            }
        }
        keep_first_of_each_row(&mut failures);
    }
    failures
}

/// The rows that the guest names, and those with an output that no topic takes, or that is larger than any that is sent to its
/// topic.
pub(super) fn of_rows(checked: &CheckedOutput<'_>, settings: &Settings) -> Vec<(u32, RecordFailure)> {
    let named = checked.failures().iter();
    let mut failures: Vec<_> =
        named.map(|failure| (failure.row, RecordFailure::new(Code::GuestFailed, failure.message.clone()))).collect();
    let all_fit = |bytes| settings.record_bytes_max.iter().all(|&limit| bytes <= limit);
    // Nearly always: no record is looked at, and failures ascend already.
    if checked.record_bytes_bound().is_some_and(all_fit) && checked.timestamps().all(|at| refused_timestamp(at).is_none()) {
        return failures;
    }
    for record in checked.records() {
        if let Some(reason) = refused_timestamp(record.timestamp) {
            failures.push((record.source, RecordFailure::refused(Cause::Timestamp, &reason)));
            continue;
        }
        let bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len) + header_bytes(&record.headers);
        let limit = settings.record_bytes_max[record.target as usize];
        if bytes > limit {
            let message =
                format!("an output record of {bytes} bytes is larger than its topic takes or a host sends ({limit})");
            failures.push((record.source, RecordFailure::new(Code::RecordTooLarge, message)));
        }
    }
    keep_first_of_each_row(&mut failures);
    failures
}

fn keep_first_of_each_row(failures: &mut Vec<(u32, RecordFailure)>) {
    failures.sort_by_key(|(row, _)| *row);
    failures.dedup_by_key(|(row, _)| *row);
}
