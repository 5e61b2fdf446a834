//! The broken rules of a deployment, each with its code, its hint and the fields that break it.

use std::borrow::Cow;
use std::fmt;

use crate::model::codes::Code;
use crate::model::spec::Problem;

/// A rule that a deployment breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub code: Code,
    /// The remedy.
    pub hint: Cow<'static, str>,
    /// The fields of the spec that break the rule, at least one. An empty field stands for the transform itself.
    pub problems: Vec<Problem>,
}

/// Every rule that a deployment breaks, in the order in which an author would mend them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub first: Violation,
    pub others: Vec<Violation>,
}

// === impl Violation ===

impl Violation {
    /// A rule that these fields break; None if there are none.
    pub fn of_fields(code: Code, problems: Vec<Problem>) -> Option<Self> {
        (!problems.is_empty()).then(|| Self { code, hint: Cow::Borrowed(code.hint()), problems })
    }

    pub fn of_field(code: Code, field: impl Into<String>, message: impl Into<String>) -> Self {
        let problem = Problem { field: field.into(), message: message.into() };
        Self { code, hint: Cow::Borrowed(code.hint()), problems: vec![problem] }
    }

    /// A rule that the transform breaks, and none of its fields.
    pub fn of_transform(code: Code, message: impl Into<String>) -> Self {
        Self::of_field(code, "", message)
    }

    pub fn with_hint(self, hint: impl Into<Cow<'static, str>>) -> Self {
        Self { hint: hint.into(), ..self }
    }
}

// === impl Rejection ===

impl Rejection {
    /// The rejection for these violations; None if there are none.
    pub fn of(violations: Vec<Violation>) -> Option<Self> {
        let mut violations = violations.into_iter();
        violations.next().map(|first| Self { first, others: violations.collect() })
    }

    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl From<Violation> for Rejection {
    fn from(first: Violation) -> Self {
        Self { first, others: Vec::new() }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.violations().flat_map(|violation| &violation.problems).enumerate() {
            let separator = if number > 0 { "; " } else { "" };
            write!(f, "{separator}{}", problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Rejection {}
