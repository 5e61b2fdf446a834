//! A safe wrapper of librdkafka's C API: one [`Client`] is one `rd_kafka_t`, a consumer or a producer.
//!
//! A client is owned by one thread at a time. Everything `unsafe` of the host's Kafka code is in `raw/`. Callbacks run inside
//! `consume`, `poll` and the blocking calls, on the calling thread; they only write to the client's `Events`, which the
//! owner reads after the call. Only the one for tokens runs on a thread of librdkafka, and blocks there.
//!
//! | file | duty |
//! |---|---|
//! | `sys` | the C functions, with error codes as numbers |
//! | `error` | error codes and failed calls |
//! | `convert` | text, bytes and times, to C and from it |
//! | `list` | lists of partitions |
//! | `message` | fetched messages |
//! | `events`, `callbacks` | notes that the callbacks leave for the owner of a client |
//! | `assignment` | the answers to a rebalance |
//! | `client` | a client's life: configured, made, closed |
//! | `metered` | the threads of a client, which count for its worker |
//! | `timer_slack` | consumers without records, whose threads wake together |
//! | `condition` | the waits of librdkafka's threads, by the monotonic clock |
//! | `membership`, `consume`, `offsets` | the calls of a consumer |
//! | `produce`, `transaction` | the calls of a producer |
//! | `tokens` | tokens on their way to a client |
//! | `waker` | ends the wait of a consumer |
//! | `log_lines` | the log of a client of the rdkafka crate |
//! | `describe`, `acls` | ids and sizes of topics; the ACLs of a topic |
//! | `group_offsets`, `members` | committed offsets of a group; its members |

mod acls;
mod assignment;
mod callbacks;
mod client;
#[cfg(target_env = "gnu")]
mod condition;
mod consume;
mod convert;
mod describe;
mod error;
mod events;
mod group_offsets;
mod list;
mod log_lines;
mod members;
mod membership;
mod message;
mod metered;
mod offsets;
mod produce;
mod sys;
mod timer_slack;
mod tokens;
mod transaction;
mod waker;

pub(super) use acls::writers_of;
pub(super) use client::{CLIENT_THREADS, Client, ClientUse, check_properties};
pub(super) use consume::FetchBuffer;
pub(super) use convert::c_string;
pub use describe::Right;
pub(super) use describe::{TopicDescription, describe_topics};
pub(super) use error::{CodeName, ErrorCode, RawError, without_value};
pub(super) use events::{FailedDelivery, RebalanceKind};
pub(super) use group_offsets::CommittedOffset;
pub(super) use list::{END, FIRST, NO_OFFSET, PartitionList, Position};
pub(super) use log_lines::take_error_lines;
pub(super) use membership::GroupMetadata;
pub(super) use message::QueueMessage;
pub(super) use produce::{Admission, TopicHandle};
pub(super) use tokens::set_token;
