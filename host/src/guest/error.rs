//! The texts of errors that leave the sandbox.
//!
//! A guest chooses the names of its functions and the text of its messages, so no error of wasmtime is formatted whole:
//! only its root cause is, up to a length and with its control characters escaped.

use std::fmt;

use crate::model::text::brief;

/// Longest text that leaves the sandbox at once: a message, a name, an error of the validator.
pub(super) const TEXT_BYTES_MAX: usize = 4096;

/// Returns the root cause of an error: the only part of an error that is ever formatted.
pub(super) fn root_text(error: &wasmtime::Error) -> String {
    text(error.root_cause())
}

/// Cuts and escapes a text that a guest or its module has chosen.
pub(super) fn text(value: impl fmt::Display) -> String {
    brief(value, TEXT_BYTES_MAX)
}
