//! The errors of the embedded log.

use std::path::PathBuf;

use super::block;
use crate::ports::LogError;

/// The reason why the embedded log failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("{} is in use by another process: an embedded log is for one process at a time", dir.display())]
    Locked { dir: PathBuf },
    #[error("{} was written by another version of Sandbar: move it away, or use that version", dir.display())]
    Format { dir: PathBuf },
    #[error("the embedded log failed: {0}")]
    Storage(String),
    /// After a failed write the state of the disk is unknown; opening the log again finds out.
    #[error("the embedded log takes no more writes after a failed one; restart the process ({0})")]
    Failed(String),
}

impl Error {
    pub fn corrupt(part: &str) -> Self {
        Self::Storage(format!("{part} is corrupt on disk"))
    }
}

impl From<fjall::Error> for Error {
    fn from(error: fjall::Error) -> Self {
        Self::Storage(error.to_string())
    }
}

impl From<block::Corrupt> for Error {
    fn from(error: block::Corrupt) -> Self {
        Self::Storage(error.to_string())
    }
}

pub fn unavailable(error: impl Into<Error>) -> LogError {
    LogError::Unavailable(error.into().to_string())
}
