//! The refusal of a request about a topic.

use crate::model::codes::Code;
use crate::ports::LogError;

#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// A value of the request cannot be used.
    #[error("{field}: {message}")]
    Field { code: Code, field: String, message: String },
    #[error("{message}")]
    Refused { code: Code, message: String },
    #[error(transparent)]
    Log(#[from] LogError),
}

// === impl TopicError ===

impl TopicError {
    pub fn of_field(code: Code, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Field { code, field: field.into(), message: message.into() }
    }

    /// Names the record that the field is of.
    pub fn of_record(self, index: usize) -> Self {
        match self {
            Self::Field { code, field, message } => Self::Field { code, field: format!("[{index}].{field}"), message },
            error => error,
        }
    }

    pub fn code(&self) -> Code {
        match self {
            Self::Field { code, .. } | Self::Refused { code, .. } => *code,
            Self::Log(error) => error.code(),
        }
    }
}
