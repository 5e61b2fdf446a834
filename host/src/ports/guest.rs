//! A team's code, as the core calls it.

use std::time::Instant;

use super::session::TopicPartition;
use crate::model::batch::{Batch, Output};
use crate::model::secret::SecretError;
use crate::model::units::Timestamp;
use crate::state::KeyedState;

/// The reason for which a guest gave no output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuestError {
    /// The guest returned an error. The instance lives on, but its memory may be half changed.
    #[error("{0}")]
    Returned(String),
    /// The guest trapped; the instance is gone.
    #[error("{message}")]
    Trapped { kind: TrapKind, message: String },
    /// The output breaks the contract or a limit; the instance is not to be trusted.
    #[error("{message}")]
    Output { limit: bool, message: String },
    /// `init` refused the configuration.
    #[error("init refused the configuration: {0}")]
    Init(String),
    /// The host cannot give it a secret of its config.
    #[error("a secret of the config cannot be used: {0}")]
    Secret(SecretError),
    /// The host's own fault: no memory for an instance, for example.
    #[error("{0}")]
    Host(String),
    /// The call did not end in time on the clock, although it had CPU time left: the host is too busy. The instance is gone.
    #[error("{0}")]
    Stalled(String),
}

/// The end of a trapped guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrapKind {
    /// A panic, an index out of bounds, a stack overflow, ...
    Trap,
    /// Over `limits.batch_time`.
    Timeout,
    /// Over `limits.memory`.
    Memory,
    /// Over a limit of a store.
    State,
}

/// The place and the time of a call.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub partition: TopicPartition,
    pub now: Timestamp,
    /// The call is [`GuestError::Stalled`] at this time. None: after 20 s.
    pub ends_at: Option<Instant>,
}

/// One instance of a module, for one task. It is dropped after any error. Any thread may make it; then one uses it.
pub trait Guest: Send {
    /// Runs a batch. `limits.batch_time` bounds the call. Writes to `state` count once the caller ends the call: see
    /// [`KeyedState::end_call`].
    fn process(&mut self, batch: &Batch, call: Call, state: &mut KeyedState) -> Result<Output, GuestError>;

    /// Runs between batches, in the intervals of the spec, bounded like `process`. The output is shaped like that of one
    /// row without data.
    fn tick(&mut self, call: Call, state: &mut KeyedState) -> Result<Output, GuestError>;

    /// Memory in use, in bytes: everything that counts against `limits.memory`.
    fn memory_bytes(&self) -> usize;

    /// Returns true if a secret has changed with which it was made: another instance is to take its place.
    fn is_outdated(&self) -> bool {
        false
    }
}

/// Makes instances of one revision's module, with its config. The workers of a transform share it.
pub trait GuestFactory: Send + Sync {
    /// Makes an instance and runs its `init`, bounded by `limits.batch_time`.
    fn instantiate(&self) -> Result<Box<dyn Guest>, GuestError>;

    /// Notes that a transaction with work of its instances on these partitions was committed.
    fn committed(&self, _partitions: &[TopicPartition]) {}
}
