//! The embedded log: an in-process, durable [`Log`] for `sandbar dev`, the demo and tests without a broker.
//!
//! One transaction's outputs and offsets are one atomic write of fjall, so there is no open transaction that a crash
//! could leave behind. It survives `kill -9` of the process. A power cut may lose the last moments, always as whole
//! transactions: nothing is synced to the disk. It is for one process: Kafka clients cannot connect, and a second
//! process that opens the directory is refused.
//!
//! | file | duty |
//! |---|---|
//! | `log` | the log as a `Log`: opens all that follows, and appends outside of sessions |
//! | `session` | a worker's session: the three that follow together |
//! | `membership` | its place in its group |
//! | `reader` | its reading ahead, fair over partitions |
//! | `transaction` | its open transaction |
//! | `exclusive` | the one writer of an id |
//! | `bulk` | one transaction, in parts |
//! | `page`, `topic_reader` | readers outside of any group: of a page, of a whole topic |
//! | `groups` | committed offsets, from outside of their group |
//! | `commit` | the one way to write: outputs and offsets as one |
//! | `cleanup` | retention and compaction |
//! | `broker`, `metadata` | the parts that all share, behind two locks |
//! | `group` | membership and assignment, a plain value |
//! | `outputs`, `block` | a transaction in memory, and its form on disk |
//! | `store` | keys and values in fjall |
//!
//! Rules that users see:
//! * A partition without a committed offset is not read: whoever opens sessions commits its first offset before.
//! * Retention may delete records that a group has not read, as with Kafka: that partition is not read on.
//! * A worker does less in a transaction where one gets too large; a record whose own outputs are too large fails with
//!   E105.
//! * `at-least-once` gives exactly-once here: the path is the same.

pub(crate) mod block;
mod broker;
mod bulk;
mod cleanup;
mod commit;
mod error;
mod exclusive;
mod group;
mod groups;
mod log;
mod membership;
mod metadata;
mod options;
mod outputs;
mod page;
mod reader;
mod session;
mod store;
#[cfg(test)]
mod tests;
mod topic_reader;
mod transaction;

pub use error::Error;
pub use log::{EmbeddedLog, TOPICS_MAX};
pub use options::Options;
