//! The one table that says whose fault a failed delivery is: the record's, the topic's, or the log's.
//!
//! Only a code of the record kind blames a record, or one of the batch kind if the batch has no other record. An outage, a
//! missing right or a missing topic blames none.

use super::raw::{CodeName as E, ErrorCode};
use crate::model::codes::Code;
use crate::ports::Cause;

/// The fault that a code stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The record with this code is refused for its content or its timestamp.
    Record(Cause),
    /// The batch is refused; each of its records has this code.
    Batch(Cause),
    /// Refused or dropped with others, without a fault of its own.
    Neighbour,
    /// The topic takes nothing now.
    Topic(Code),
    /// The log could not carry it out: an outage, a fence, a time-out.
    Log,
    /// The broker does not say why.
    Unclear,
}

/// Names every code that a produce request, or the producer itself, can give a record.
pub(super) fn fault(code: ErrorCode) -> Fault {
    let Some(name) = code.name() else { return Fault::Unclear };
    match name {
        E::RD_KAFKA_RESP_ERR_INVALID_RECORD => Fault::Record(Cause::Content),
        E::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP => Fault::Record(Cause::Timestamp),

        E::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE
        | E::RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE
        | E::RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE => Fault::Batch(Cause::Size),
        // Brokers with policies of their own on records.
        E::RD_KAFKA_RESP_ERR_POLICY_VIOLATION => Fault::Batch(Cause::Content),

        E::RD_KAFKA_RESP_ERR__INVALID_DIFFERENT_RECORD
        | E::RD_KAFKA_RESP_ERR__PURGE_QUEUE
        | E::RD_KAFKA_RESP_ERR__PURGE_INFLIGHT => Fault::Neighbour,

        E::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
        | E::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_ID
        | E::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
        | E::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION => Fault::Topic(Code::TopicGone),
        E::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED
        | E::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED
        | E::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        | E::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED
        | E::RD_KAFKA_RESP_ERR_DELEGATION_TOKEN_AUTHORIZATION_FAILED
        | E::RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED
        | E::RD_KAFKA_RESP_ERR_SECURITY_DISABLED
        | E::RD_KAFKA_RESP_ERR__AUTHENTICATION => Fault::Topic(Code::Unauthorized),
        // Settings of the topic or the broker that no record fits.
        E::RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION
        | E::RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS
        | E::RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION
        | E::RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT
        | E::RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE
        | E::RD_KAFKA_RESP_ERR_INVALID_CONFIG
        | E::RD_KAFKA_RESP_ERR_INVALID_REQUEST
        | E::RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE
        | E::RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED => Fault::Topic(Code::LogRefused),

        E::RD_KAFKA_RESP_ERR_INVALID_MSG
        | E::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE
        | E::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION
        | E::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT
        | E::RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE
        | E::RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE
        | E::RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION
        | E::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS
        | E::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE
        | E::RD_KAFKA_RESP_ERR_NOT_COORDINATOR
        | E::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS
        | E::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND
        | E::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR
        | E::RD_KAFKA_RESP_ERR_LOG_DIR_NOT_FOUND
        | E::RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH
        | E::RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH
        | E::RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED
        | E::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER
        | E::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER
        | E::RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID
        | E::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH
        | E::RD_KAFKA_RESP_ERR_PRODUCER_FENCED
        | E::RD_KAFKA_RESP_ERR_INVALID_TXN_STATE
        | E::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING
        | E::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS
        | E::RD_KAFKA_RESP_ERR_TRANSACTION_COORDINATOR_FENCED
        | E::RD_KAFKA_RESP_ERR_REBOOTSTRAP_REQUIRED
        | E::RD_KAFKA_RESP_ERR__TRANSPORT
        | E::RD_KAFKA_RESP_ERR__RESOLVE
        | E::RD_KAFKA_RESP_ERR__SSL
        | E::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN
        | E::RD_KAFKA_RESP_ERR__MSG_TIMED_OUT
        | E::RD_KAFKA_RESP_ERR__TIMED_OUT
        | E::RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE
        | E::RD_KAFKA_RESP_ERR__ISR_INSUFF
        | E::RD_KAFKA_RESP_ERR__WAIT_COORD
        | E::RD_KAFKA_RESP_ERR__RETRY
        | E::RD_KAFKA_RESP_ERR__STATE
        | E::RD_KAFKA_RESP_ERR__FENCED
        | E::RD_KAFKA_RESP_ERR__FATAL
        | E::RD_KAFKA_RESP_ERR__INCONSISTENT
        | E::RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE
        | E::RD_KAFKA_RESP_ERR__QUEUE_FULL
        | E::RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE
        | E::RD_KAFKA_RESP_ERR__DESTROY
        | E::RD_KAFKA_RESP_ERR__DESTROY_BROKER => Fault::Log,

        _ => Fault::Unclear,
    }
}
