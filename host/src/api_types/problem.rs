//! The body of every answer that refuses.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Line;
use crate::model::spec;

/// The body of an answer with a status of 400 or above (RFC 9457, `application/problem+json`).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ProblemDetails {
    /// The page of the code, on this host.
    #[serde(rename = "type", default)]
    #[schema(value_type = String, required, example = "/errors/E014")]
    pub kind: Line,
    /// The meaning of the code.
    #[schema(value_type = String)]
    pub title: Line,
    #[serde(default)]
    #[schema(required)]
    pub status: u16,
    /// The cause in this case.
    #[schema(value_type = String)]
    pub detail: Line,
    /// A newer host may have codes that a client does not know.
    #[schema(value_type = String, example = "E014")]
    pub code: Line,
    /// The remedy.
    #[schema(value_type = String)]
    pub hint: Line,
    /// All problems, field by field, if the request has fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Problem>,
    /// The revision that the request expected, with E008 (absent: no transform, or any revision).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_revision: Option<u64>,
    /// The revision of the transform, with E008 (absent: there is no transform).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_revision: Option<u64>,
}

/// One problem of a request.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The field, as a path: `limits.memory`.
    #[schema(value_type = String)]
    pub field: Line,
    #[schema(value_type = String)]
    pub message: Line,
}

impl From<&spec::Problem> for Problem {
    fn from(problem: &spec::Problem) -> Self {
        Self { field: problem.field.as_str().into(), message: problem.message.as_str().into() }
    }
}
