//! Apache Kafka: the only user of librdkafka.
//!
//! `raw` is a thin safe skin over the C functions that cost too much through a crate's per-record objects (ADR 2);
//! `session` is a worker's consumer and transactional producer; `exclusive` a writer of one transaction at a time; `log` is topics, and reading and writing outside a
//! session; `config` the properties that both start from.
//!
//! Invariant: the group's generation is captured once per transaction, in `begin`, and a commit is never retried
//! under another one (KIP-447).

mod config;
mod exclusive;
mod log;
mod raw;
mod session;

pub use config::KafkaConfig;
pub use log::KafkaLog;
