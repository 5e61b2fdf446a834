//! The result of a check of `sandbar doctor`.

use std::fmt;

use serde::Serialize;

use super::text::OneLine;

/// The answer of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Ok,
    /// A host works, and less well or less safely than it could; or the check could not be made.
    Warning,
    /// A host does not start, or loses its work.
    Failure,
}

/// A check with its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The name of the check: docs/doctor.md has a row for it.
    pub check: &'static str,
    pub outcome: Outcome,
    /// The facts, on one line.
    pub found: String,
    /// The remedy; none is needed for [`Outcome::Ok`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

// === impl Outcome ===

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "FAILURE",
        })
    }
}

// === impl Finding ===

impl Finding {
    pub fn ok(check: &'static str, found: impl fmt::Display) -> Self {
        Self { check, outcome: Outcome::Ok, found: OneLine(found).to_string(), fix: None }
    }

    pub fn warning(check: &'static str, found: impl fmt::Display, fix: impl fmt::Display) -> Self {
        Self { outcome: Outcome::Warning, fix: Some(fix.to_string()), ..Self::ok(check, found) }
    }

    pub fn failure(check: &'static str, found: impl fmt::Display, fix: impl fmt::Display) -> Self {
        Self { outcome: Outcome::Failure, ..Self::warning(check, found, fix) }
    }
}
