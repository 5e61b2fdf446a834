//! The reason why the options of a host cannot be used.

use std::fmt;

use crate::model::codes::Code;

/// The problem of an option, with its code if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionError {
    pub code: Option<Code>,
    pub message: String,
}

// === impl OptionError ===

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, message } = self;
        match code {
            Some(code) => write!(f, "{message} ({code})"),
            None => f.write_str(message),
        }
    }
}

impl std::error::Error for OptionError {}

impl From<String> for OptionError {
    fn from(message: String) -> Self {
        Self { code: None, message }
    }
}

impl From<&str> for OptionError {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

impl From<OptionError> for String {
    fn from(error: OptionError) -> Self {
        error.to_string()
    }
}
