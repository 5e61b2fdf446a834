//! Apache Kafka: the only user of librdkafka.
//!
//! | file | duty |
//! |---|---|
//! | `log` | a cluster as a `Log`: opens all that follows, and appends outside of sessions |
//! | `session` | a worker's session: `consumer` and `producer` together |
//! | `consumer`, `start_offsets` | its member of the group, and where the partitions of that begin |
//! | `producer`, `outputs` | its producer, transactional or not, and the topics that it writes |
//! | `code` | the code that users see of each error |
//! | `refusal`, `fault` | whose fault a failed delivery is |
//! | `oversize` | the sizes that topics have refused of late |
//! | `departed` | ends the transactions that workers of dead hosts left open |
//! | `exclusive` | a writer of one transaction, the only one of its id |
//! | `bulk` | one transaction of any size, in parts |
//! | `reader`, `topic_reader` | readers outside of any group: of a page, of a whole topic |
//! | `deliver`, `retry` | loops that wait for librdkafka: until records are delivered, and while a call is retriable |
//! | `groups` | committed offsets, from outside of their group |
//! | `topics` | topics listed, described and created |
//! | `survey` | a look at the cluster for `sandbar doctor` |
//! | `error` | the recovery policy: the remedy of each error, by the call that met it |
//! | `options`, `sources`, `properties`, `credentials` | the options of an operator; the files that they name; checked properties with their secrets; those of the host and of each team, followed |
//! | `token`, `tokens` | tokens to log in with; those of one owner, had from its source and renewed |
//! | `team_logs` | the logs of teams, each with the team's rights |
//! | `config` | the clients of a connection, and the properties that they start from |
//! | `admin` | the client that asks about topics and groups |
//! | `raw` | a safe wrapper of librdkafka's C API, for the calls that cost too much through a crate's per-record objects (ADR 2) |
//!
//! Invariant: the group's generation is captured once per transaction, in `begin`, and a commit is never retried
//! under another one (KIP-447).

mod admin;
mod bulk;
mod client_pool;
mod code;
mod config;
mod consumer;
mod credentials;
mod deliver;
mod departed;
mod error;
mod exclusive;
mod fault;
mod groups;
mod log;
mod options;
mod outputs;
mod oversize;
mod producer;
mod properties;
#[expect(unsafe_code, reason = "librdkafka is C")]
mod raw;
mod reader;
mod refusal;
mod retry;
mod session;
mod sources;
mod start_offsets;
mod survey;
mod team_logs;
mod token;
mod tokens;
mod topic_reader;
mod topics;

pub use log::KafkaLog;
pub use options::KafkaConfig;
pub use raw::Right;
pub use survey::{BrokerSurvey, PresentTopic, Survey, TopicSurvey};
