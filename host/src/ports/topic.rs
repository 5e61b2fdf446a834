//! Topics and their records as plain values, and the error of a failed call.

use std::time::Duration;

use crate::model::batch::RecordRef;
use crate::model::codes::Code;
use crate::model::names::TopicName;

/// The properties of a topic that the host needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    pub partitions: i32,
    /// Largest record (key + value + headers) that the topic takes, in bytes; a larger one only if it is compressed.
    pub record_bytes_max: usize,
    /// Largest record that is sent to it at all, in bytes: the topic may refuse it.
    pub sent_bytes_max: usize,
    /// True if it keeps the last value of each key, and deletes nothing by age. `None`: not asked, or not permitted.
    pub compacted: Option<bool>,
    /// True if it refuses records without a key, since it is compacted (and deleted by age, or not). `None`: not known.
    pub needs_keys: Option<bool>,
    /// The least time for which a compacted topic shows that a key was deleted. `None`: not known.
    pub tombstones_kept: Option<Duration>,
    /// The age at which records are deleted. `None`: they are not, or it is not known.
    pub deleted_after: Option<Duration>,
    /// Tells the topic from one of the same name that was created before or after it. `None`: not asked.
    pub id: Option<String>,
}

/// A topic by its identity and its size: cheap to ask for many at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSize {
    /// See [`TopicInfo::id`]. Empty if the log knows no ids.
    pub id: String,
    pub partitions: i32,
}

/// Most partitions of a topic that is created over the API, and of any topic of the embedded log.
pub const PARTITIONS_MAX: i32 = 256;

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    pub name: TopicName,
    pub partitions: i32,
    /// Keep the last value of each key (`cleanup.policy=compact`) instead of deleting by age.
    pub compacted: bool,
    /// The time for which records are kept; of a compacted topic, also the last value of a key. None: the log's default,
    /// or for ever if compacted.
    pub retention: Option<Duration>,
}

/// A record outside a session, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl From<&RecordRef<'_>> for LogRecord {
    fn from(record: &RecordRef<'_>) -> Self {
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        Self {
            offset: record.offset,
            timestamp: record.timestamp,
            key: owned(record.key),
            value: owned(record.value),
            headers: record.headers.iter().map(|(name, value)| ((*name).to_owned(), owned(*value))).collect(),
        }
    }
}

/// A part of a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    pub records: Vec<LogRecord>,
    /// The offset at which the next page begins.
    pub next_offset: i64,
    /// One past the last committed record at the time of the read.
    pub end_offset: i64,
}

/// A failed call of [`Log`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    #[error("there is no topic {0}")]
    NoTopic(String),
    /// Not reachable or not willing now: ask again.
    #[error("{0}")]
    Unavailable(String),
    /// The host lacks a right: the call fails until somebody grants it.
    #[error("{0}")]
    Unauthorized(String),
    /// The host has no token to log in with: the call fails until the source of tokens gives one.
    #[error("{0}")]
    NoToken(String),
    /// The log has as many topics as it may have, or the topic would have too many partitions.
    #[error("{0}")]
    Full(String),
    /// The log does not carry the call out: a repeated call fails alike.
    #[error("{0}")]
    Refused(String),
    /// No client can be made of the operator's properties: the call fails until somebody corrects them. No value of a
    /// property is in the message.
    #[error("{} ({code}): {message}", .code.title())]
    Properties { code: Code, message: String },
}

impl LogError {
    /// The code that a user sees, unless the caller knows more of a missing topic.
    pub fn code(&self) -> Code {
        match self {
            Self::NoTopic(_) => Code::NoTopic,
            Self::Unavailable(_) => Code::LogUnavailable,
            Self::Unauthorized(_) => Code::Unauthorized,
            Self::NoToken(_) => Code::KafkaToken,
            Self::Full(_) => Code::LogFull,
            Self::Refused(_) => Code::LogRefused,
            Self::Properties { code, .. } => *code,
        }
    }
}
