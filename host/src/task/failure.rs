//! A failed record: its code and message, and the dead letter that it becomes.

use crate::model::batch::{Batch, CheckedOutput, OutputError, header_bytes};
use crate::model::codes::Code;
use crate::model::text::cut;
use crate::ports::{GuestError, Partition, TrapKind};

use super::Settings;

/// Longest error message that is kept, in bytes.
const MESSAGE_BYTES_MAX: usize = 2048;
/// Room for the headers that a dead letter gains, without the message.
const HEADER_BYTES: usize = 1024;

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

    fn new(code: Code, message: String) -> Self {
        Self { code, message: cut(&message, MESSAGE_BYTES_MAX).to_owned() }
    }

    /// Not a refusal by the guest's own choice.
    pub fn is_trap(&self) -> bool {
        !matches!(self.code, Code::GuestFailed | Code::RecordTooLarge)
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

/// Those that the guest names, and those with an output that its topic would refuse.
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
            let message = format!("an output record of {bytes} bytes is larger than its topic takes ({limit})");
            failures.push((record.source, Failed::new(Code::RecordTooLarge, message)));
        }
    }
    failures.sort_by_key(|(row, _)| *row);
    failures.dedup_by_key(|(row, _)| *row);
    failures
}

/// What a dead letter says of its failure, beside the record's own key, value and headers.
pub fn dead_letter_headers(
    settings: &Settings,
    partition: Partition,
    offset: i64,
    failed: &Failed,
) -> [(&'static str, String); 8] {
    [
        ("sandbar.error.transform", settings.id.to_string()),
        ("sandbar.error.revision", settings.revision.to_string()),
        ("sandbar.error.module", settings.module.to_string()),
        ("sandbar.error.topic", settings.inputs[partition.input as usize].to_string()),
        ("sandbar.error.partition", partition.number.to_string()),
        ("sandbar.error.offset", offset.to_string()),
        ("sandbar.error.code", failed.code.to_string()),
        ("sandbar.error.message", failed.message.clone()),
    ]
}

/// About how large the dead letter of a row would be; never less than it is.
pub(super) fn dead_letter_bytes(batch: &Batch, row: usize, failed: &Failed) -> usize {
    batch.row_bytes(row) + header_bytes(&batch.headers(row)) + failed.message.len() + HEADER_BYTES
}
