//! Opening the keyed state of a partition.

use std::collections::BTreeMap;

use crate::model::codes::Code;
use crate::state::KeyedState;

/// Positions in changelogs by the store's name, as they were committed with the offsets of a partition.
pub type Positions = BTreeMap<String, i64>;

/// Opens the state of one transform's partitions on this host.
pub trait StateOpener: Send + Sync {
    /// Begins to bring the state of a partition up to date with its changelogs. Returns at once.
    ///
    /// A changelog that ends before its position in `committed` has lost records. With `wipe`, the copies that this host
    /// has of the stores are not to be trusted. Call it once every transaction of earlier owners is over (their offsets
    /// are read).
    fn open(&self, partition: i32, committed: Positions, wipe: bool) -> Box<dyn Restore>;

    /// Checks that every input has as many partitions as the changelogs, as the log says now. With another number, keys
    /// may be apart from their state ([`OpenError::Partitions`]).
    fn check_inputs(&self) -> Result<(), OpenError>;

    /// Checks that this host has room for `bytes` more in one of the transform's stores, by its index.
    fn check_growth(&self, _store: usize, _bytes: u64) -> Result<(), OpenError> {
        Ok(())
    }
}

/// A state that is being brought up to date. Dropping it gives the restore up.
pub trait Restore: Send {
    /// The state, once it is up to date, or the reason for which it cannot be. Returns at once. After it has returned a
    /// result there is nothing more.
    fn poll(&mut self) -> Option<Result<KeyedState, OpenError>>;

    /// The number of changelog records that were read so far, and about the number of all.
    fn progress(&self) -> (u64, u64);
}

/// The reason for which a state could not be opened. The worker tries it again after a while.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A changelog topic ends before a committed position: it was deleted, or created again.
    #[error("{0}")]
    Lost(String),
    /// An input has another number of partitions than the changelog topics.
    #[error("{0}")]
    Partitions(String),
    /// Kafka or the local disk failed.
    #[error("{0}")]
    Unavailable(String),
    /// A changelog topic has entries of a newer host's format.
    #[error("{0}")]
    Newer(String),
    /// The local disk has no room for stores that grow.
    #[error("{0}")]
    DiskFull(String),
    /// The local stores of the team are over their budget.
    #[error("{0}")]
    OverTeamDisk(String),
    /// The memory stores of the host are over their budget.
    #[error("{0}")]
    NoMemory(String),
}

impl OpenError {
    pub fn code(&self) -> Code {
        match self {
            Self::Lost(_) => Code::StateLost,
            Self::Partitions(_) => Code::PartitionsChanged,
            Self::Unavailable(_) => Code::StateUnavailable,
            Self::Newer(_) => Code::NewerFormat,
            Self::DiskFull(_) => Code::LocalDisk,
            Self::OverTeamDisk(_) => Code::TeamDisk,
            Self::NoMemory(_) => Code::StateMemory,
        }
    }
}
