//! The error codes of a host, as the console lists them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Line, Lines};
use crate::model::codes::Entry;

/// All error codes of the host's version, in ascending order.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorCodeList {
    pub errors: Vec<ErrorCodeView>,
}

/// An error code, in short. Its page has all of it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorCodeView {
    #[schema(value_type = String, example = "E014")]
    pub code: Line,
    /// The HTTP status of an answer with this code.
    pub status: u16,
    #[schema(value_type = String)]
    pub title: Line,
    /// The first section of the page (Markdown).
    #[schema(value_type = String)]
    pub meaning: Lines,
    /// The remedy.
    #[schema(value_type = String)]
    pub hint: Line,
}

impl From<&Entry> for ErrorCodeView {
    fn from(entry: &Entry) -> Self {
        Self {
            code: entry.text.into(),
            status: entry.status,
            title: entry.title.into(),
            meaning: entry.meaning().to_owned().into(),
            hint: entry.hint.into(),
        }
    }
}
