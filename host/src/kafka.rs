//! Apache Kafka: the only user of librdkafka.
//!
//! `raw` is a thin safe skin over the C functions that cost too much through a crate's per-record objects (ADR 2);
//! `producer` is what writes, transactional or not; `refusal` the table of whose fault a failed delivery is; `session` a
//! worker's consumer and its producer; `places` where its partitions begin; `exclusive` a writer
//! of one transaction, the only one of its id; `log` is topics, and reading and writing outside a session; `groups`
//! committed offsets from outside of their group; `oversize` the sizes that topics have refused of late; `config` the properties that all start from.
//!
//! Invariant: the group's generation is captured once per transaction, in `begin`, and a commit is never retried
//! under another one (KIP-447).

mod config;
mod exclusive;
mod follow;
mod groups;
mod log;
mod oversize;
mod places;
mod producer;
#[expect(unsafe_code, reason = "librdkafka is C")]
mod raw;
mod refusal;
mod session;

pub use config::KafkaConfig;
pub use log::KafkaLog;
