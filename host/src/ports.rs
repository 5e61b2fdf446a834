//! The seams between the core and the world. Each has a real implementation and one that needs no broker.
//!
//! | seam | file | real | without a broker |
//! |---|---|---|---|
//! | [`Log`], [`Groups`], [`ExclusiveWriter`], [`BulkWriter`], [`TopicReader`] | `log`, `groups`, `exclusive`, `bulk`, `topic` | `kafka` | `embedded` (durable), the simulation's broker (tests) |
//! | [`Session`] | `session`, `rejection` | `kafka` | `embedded`, the simulation's sessions (tests) |
//! | [`GuestFactory`], [`Guest`] | `guest` | `guest` (wasmtime) | the simulation's guests (tests) |
//! | [`StateOpener`], [`Restore`] | `state` | `stores` (fjall, or memory; threads) | the simulation's (tests) |
//! | [`Table`] | `table` | `stores::tables` | `cli::run` (from files) |
//!
//! The data plane is synchronous: every call here may block, and none is made from a thread of tokio.

mod bulk;
mod exclusive;
mod groups;
mod guest;
mod log;
mod rejection;
mod session;
mod state;
mod table;
mod topic;

pub use bulk::BulkWriter;
pub use exclusive::{ExclusiveError, ExclusiveWriter, PartitionWrite};
pub use groups::{GroupOffset, Groups};
pub use guest::{Call, Guest, GuestError, GuestFactory, TrapKind};
pub use log::{Log, PartitionEnds, TopicReader, log_of};
pub use rejection::{Cause, Culprit, Rejection, refused_timestamp};
pub use session::{
    CommitOffset, Damage, NoPlace, ProducerRecord, Rebalance, Session, SessionError, SessionOptions, TopicPartition,
    UnplacedPartition, Waker,
};
pub use state::{OpenError, Positions, Restore, StateOpener};
pub use table::Table;
pub use topic::{LogError, LogRecord, NewTopic, PARTITIONS_MAX, Page, TopicInfo, TopicSize};
