//! The errors of a backup and of a restore, each with its remedy.

use std::path::PathBuf;

use crate::catalog::CatalogError;
use crate::model::codes::Code;
use crate::ports::{ExclusiveError, LogError};

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Topic(#[from] CatalogError),
    /// The file cannot be opened, read or written.
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: std::io::Error },
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// The cluster has a record that no backup can have.
    #[error("{0}")]
    TooLarge(String),
    /// The file is not as `sandbar backup` wrote it.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    /// The file is whole, and not for this program or this cluster.
    #[error("{0}")]
    Unfit(String),
    #[error("{0}")]
    NotEmpty(String),
    #[error("{0}")]
    InUse(String),
    #[error("{0}")]
    Offsets(String),
    /// Another writer of the catalog took over. Nothing was written.
    #[error("a host changed the catalog meanwhile, and nothing was written: {0}")]
    Fenced(String),
    #[error("the end of the restore is not known: {0}")]
    Unknown(String),
}

impl BackupError {
    pub fn code(&self) -> Option<Code> {
        Some(match self {
            Self::Log(error) => error.code(),
            Self::Topic(error) => error.code(),
            Self::File { .. } | Self::Exists(_) | Self::TooLarge(_) => return None,
            Self::Damaged(_) => Code::BackupDamaged,
            Self::Unfit(_) => Code::BackupUnfit,
            Self::NotEmpty(_) => Code::RestoreNotEmpty,
            Self::InUse(_) | Self::Fenced(_) => Code::RestoreInUse,
            Self::Offsets(_) => Code::RestoreOffsets,
            Self::Unknown(_) => Code::ControlWrite,
        })
    }

    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::File { .. } => Some("check the path, the rights to its folder, and the free space"),
            Self::Log(LogError::Unavailable(_)) => {
                Some("look at the brokers, then run it again: what failed has left nothing")
            }
            Self::Topic(_) => Some("correct --cluster, or the topic as docs/errors/E210.md shows"),
            Self::Exists(_) => Some("choose another name, or replace it with --force"),
            Self::TooLarge(_) => Some("no host writes a record as large: look who did, and write a tombstone under its key"),
            Self::Unknown(_) => Some("look with `sandbar restore --dry-run`: E114 says that it is there, as a whole"),
            error => error.code().map(Code::hint),
        }
    }

    /// True for an error of the command line, or of a file that it names.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::File { .. } | Self::Exists(_))
    }

    pub(super) fn damaged(reason: impl Into<String>) -> Self {
        Self::Damaged(reason.into())
    }
}

impl From<ExclusiveError> for BackupError {
    fn from(error: ExclusiveError) -> Self {
        match error {
            ExclusiveError::Fenced(error) => Self::Fenced(error),
            ExclusiveError::Unknown(error) => Self::Unknown(error),
            ExclusiveError::Log(error) => Self::Log(error),
        }
    }
}
