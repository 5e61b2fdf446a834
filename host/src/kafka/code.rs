//! The one table that gives each of librdkafka's errors the code that users see, by the remedy that it calls for.
//!
//! E201 is only for errors that pass without anybody's help. The match has no `_`: a librdkafka with another error asks
//! for its row here.

use rdkafka::error::KafkaError;

use super::raw::{CodeName as E, ErrorCode};
use crate::model::codes::Code;

/// The code of an error. One without a name, of a newer broker, is a refusal: nobody knows that it passes.
pub(super) fn code(error: ErrorCode) -> Code {
    if error == ErrorCode::NO_TOKEN {
        return Code::KafkaToken;
    }
    if error == ErrorCode::PROPERTIES {
        return Code::KafkaCredentials;
    }
    error.name().map_or(Code::LogRefused, of_name)
}

/// The code of an error of the rdkafka crate, which leaves out those of its administration client.
pub(super) fn of_crate_error(error: &KafkaError) -> Option<ErrorCode> {
    let name = match error {
        KafkaError::AdminOp(name) => Some(*name),
        error => error.rdkafka_error_code(),
    };
    name.map(ErrorCode::of_crate)
}

fn of_name(name: E) -> Code {
    match name {
        // A newer member, generation or producer took over.
        E::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION
        | E::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID
        | E::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS
        | E::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH
        | E::RD_KAFKA_RESP_ERR_PRODUCER_FENCED
        | E::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID
        | E::RD_KAFKA_RESP_ERR_FENCED_MEMBER_EPOCH
        | E::RD_KAFKA_RESP_ERR_STALE_MEMBER_EPOCH
        | E::RD_KAFKA_RESP_ERR__FENCED
        | E::RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST
        | E::RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED => Code::Fenced,

        E::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED
        | E::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED
        | E::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED
        | E::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        | E::RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM
        | E::RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE
        | E::RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED
        | E::RD_KAFKA_RESP_ERR_SECURITY_DISABLED
        | E::RD_KAFKA_RESP_ERR_DELEGATION_TOKEN_AUTH_DISABLED
        | E::RD_KAFKA_RESP_ERR_DELEGATION_TOKEN_NOT_FOUND
        | E::RD_KAFKA_RESP_ERR_DELEGATION_TOKEN_OWNER_MISMATCH
        | E::RD_KAFKA_RESP_ERR_DELEGATION_TOKEN_REQUEST_NOT_ALLOWED
        | E::RD_KAFKA_RESP_ERR_DELEGATION_TOKEN_AUTHORIZATION_FAILED
        | E::RD_KAFKA_RESP_ERR_DELEGATION_TOKEN_EXPIRED
        | E::RD_KAFKA_RESP_ERR_INVALID_PRINCIPAL_TYPE
        | E::RD_KAFKA_RESP_ERR_PRINCIPAL_DESERIALIZATION_FAILURE
        | E::RD_KAFKA_RESP_ERR_UNACCEPTABLE_CREDENTIAL
        | E::RD_KAFKA_RESP_ERR__AUTHENTICATION => Code::Unauthorized,

        E::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
        | E::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_ID
        | E::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
        | E::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION => Code::TopicGone,

        E::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE
        | E::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET
        | E::RD_KAFKA_RESP_ERR__LOG_TRUNCATION => Code::OffsetOutside,

        E::RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL
        | E::RD_KAFKA_RESP_ERR_INVALID_GROUP_ID
        | E::RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT
        | E::RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED
        | E::RD_KAFKA_RESP_ERR_UNRELEASED_INSTANCE_ID
        | E::RD_KAFKA_RESP_ERR_UNSUPPORTED_ASSIGNOR
        | E::RD_KAFKA_RESP_ERR__UNKNOWN_PROTOCOL => Code::JoinRefused,

        // Bytes that are read are not those that were written.
        E::RD_KAFKA_RESP_ERR_INVALID_MSG
        | E::RD_KAFKA_RESP_ERR__BAD_MSG
        | E::RD_KAFKA_RESP_ERR__BAD_COMPRESSION
        | E::RD_KAFKA_RESP_ERR__PARTIAL
        | E::RD_KAFKA_RESP_ERR__UNDERFLOW => Code::RecordsDamaged,

        E::RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE | E::RD_KAFKA_RESP_ERR__FS => Code::HostResources,

        // A repeated call fails alike.
        E::RD_KAFKA_RESP_ERR_UNKNOWN
        | E::RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE
        | E::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE
        | E::RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE
        | E::RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION
        | E::RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE
        | E::RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS
        | E::RD_KAFKA_RESP_ERR_INVALID_COMMIT_OFFSET_SIZE
        | E::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP
        | E::RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION
        | E::RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS
        | E::RD_KAFKA_RESP_ERR_INVALID_PARTITIONS
        | E::RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR
        | E::RD_KAFKA_RESP_ERR_INVALID_REPLICA_ASSIGNMENT
        | E::RD_KAFKA_RESP_ERR_INVALID_CONFIG
        | E::RD_KAFKA_RESP_ERR_INVALID_REQUEST
        | E::RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT
        | E::RD_KAFKA_RESP_ERR_POLICY_VIOLATION
        | E::RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT
        | E::RD_KAFKA_RESP_ERR_NON_EMPTY_GROUP
        | E::RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND
        | E::RD_KAFKA_RESP_ERR_TOPIC_DELETION_DISABLED
        | E::RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE
        | E::RD_KAFKA_RESP_ERR_ELECTION_NOT_NEEDED
        | E::RD_KAFKA_RESP_ERR_NO_REASSIGNMENT_IN_PROGRESS
        | E::RD_KAFKA_RESP_ERR_GROUP_SUBSCRIBED_TO_TOPIC
        | E::RD_KAFKA_RESP_ERR_INVALID_RECORD
        | E::RD_KAFKA_RESP_ERR_RESOURCE_NOT_FOUND
        | E::RD_KAFKA_RESP_ERR_DUPLICATE_RESOURCE
        | E::RD_KAFKA_RESP_ERR_INCONSISTENT_VOTER_SET
        | E::RD_KAFKA_RESP_ERR_INVALID_UPDATE_VERSION
        | E::RD_KAFKA_RESP_ERR_FEATURE_UPDATE_FAILED
        | E::RD_KAFKA_RESP_ERR_UNKNOWN_SUBSCRIPTION_ID
        | E::RD_KAFKA_RESP_ERR_TELEMETRY_TOO_LARGE
        | E::RD_KAFKA_RESP_ERR__INVALID_ARG
        | E::RD_KAFKA_RESP_ERR__UNKNOWN_GROUP
        | E::RD_KAFKA_RESP_ERR__EXISTING_SUBSCRIPTION
        | E::RD_KAFKA_RESP_ERR__CONFLICT
        | E::RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED
        | E::RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE
        | E::RD_KAFKA_RESP_ERR__KEY_SERIALIZATION
        | E::RD_KAFKA_RESP_ERR__VALUE_SERIALIZATION
        | E::RD_KAFKA_RESP_ERR__KEY_DESERIALIZATION
        | E::RD_KAFKA_RESP_ERR__VALUE_DESERIALIZATION
        | E::RD_KAFKA_RESP_ERR__READ_ONLY
        | E::RD_KAFKA_RESP_ERR__INVALID_TYPE
        | E::RD_KAFKA_RESP_ERR__NOT_CONFIGURED
        | E::RD_KAFKA_RESP_ERR__APPLICATION
        | E::RD_KAFKA_RESP_ERR__INVALID_DIFFERENT_RECORD => Code::LogRefused,

        // Brokers, networks, coordinators and leaders come back; a new session mends the state of a client.
        E::RD_KAFKA_RESP_ERR_NO_ERROR
        | E::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE
        | E::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION
        | E::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT
        | E::RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE
        | E::RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE
        | E::RD_KAFKA_RESP_ERR_STALE_CTRL_EPOCH
        | E::RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION
        | E::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS
        | E::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE
        | E::RD_KAFKA_RESP_ERR_NOT_COORDINATOR
        | E::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS
        | E::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND
        | E::RD_KAFKA_RESP_ERR_NOT_CONTROLLER
        | E::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER
        | E::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER
        | E::RD_KAFKA_RESP_ERR_INVALID_TXN_STATE
        | E::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING
        | E::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS
        | E::RD_KAFKA_RESP_ERR_TRANSACTION_COORDINATOR_FENCED
        | E::RD_KAFKA_RESP_ERR_OPERATION_NOT_ATTEMPTED
        | E::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR
        | E::RD_KAFKA_RESP_ERR_LOG_DIR_NOT_FOUND
        | E::RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID
        | E::RD_KAFKA_RESP_ERR_REASSIGNMENT_IN_PROGRESS
        | E::RD_KAFKA_RESP_ERR_FETCH_SESSION_ID_NOT_FOUND
        | E::RD_KAFKA_RESP_ERR_INVALID_FETCH_SESSION_EPOCH
        | E::RD_KAFKA_RESP_ERR_LISTENER_NOT_FOUND
        | E::RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH
        | E::RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH
        | E::RD_KAFKA_RESP_ERR_STALE_BROKER_EPOCH
        | E::RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE
        | E::RD_KAFKA_RESP_ERR_MEMBER_ID_REQUIRED
        | E::RD_KAFKA_RESP_ERR_PREFERRED_LEADER_NOT_AVAILABLE
        | E::RD_KAFKA_RESP_ERR_ELIGIBLE_LEADERS_NOT_AVAILABLE
        | E::RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT
        | E::RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED
        | E::RD_KAFKA_RESP_ERR_REBOOTSTRAP_REQUIRED
        | E::RD_KAFKA_RESP_ERR__BEGIN
        | E::RD_KAFKA_RESP_ERR__DESTROY
        | E::RD_KAFKA_RESP_ERR__FAIL
        | E::RD_KAFKA_RESP_ERR__TRANSPORT
        | E::RD_KAFKA_RESP_ERR__RESOLVE
        | E::RD_KAFKA_RESP_ERR__MSG_TIMED_OUT
        | E::RD_KAFKA_RESP_ERR__PARTITION_EOF
        | E::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN
        | E::RD_KAFKA_RESP_ERR__TIMED_OUT
        | E::RD_KAFKA_RESP_ERR__QUEUE_FULL
        | E::RD_KAFKA_RESP_ERR__ISR_INSUFF
        | E::RD_KAFKA_RESP_ERR__NODE_UPDATE
        | E::RD_KAFKA_RESP_ERR__SSL
        | E::RD_KAFKA_RESP_ERR__WAIT_COORD
        | E::RD_KAFKA_RESP_ERR__IN_PROGRESS
        | E::RD_KAFKA_RESP_ERR__PREV_IN_PROGRESS
        | E::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS
        | E::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS
        | E::RD_KAFKA_RESP_ERR__STATE
        | E::RD_KAFKA_RESP_ERR__NO_OFFSET
        | E::RD_KAFKA_RESP_ERR__OUTDATED
        | E::RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE
        | E::RD_KAFKA_RESP_ERR__WAIT_CACHE
        | E::RD_KAFKA_RESP_ERR__INTR
        | E::RD_KAFKA_RESP_ERR__NOENT
        | E::RD_KAFKA_RESP_ERR__RETRY
        | E::RD_KAFKA_RESP_ERR__PURGE_QUEUE
        | E::RD_KAFKA_RESP_ERR__PURGE_INFLIGHT
        | E::RD_KAFKA_RESP_ERR__FATAL
        | E::RD_KAFKA_RESP_ERR__INCONSISTENT
        | E::RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE
        | E::RD_KAFKA_RESP_ERR__UNKNOWN_BROKER
        | E::RD_KAFKA_RESP_ERR__NOOP
        | E::RD_KAFKA_RESP_ERR__DESTROY_BROKER
        | E::RD_KAFKA_RESP_ERR__END
        | E::RD_KAFKA_RESP_ERR_END_ALL => Code::LogUnavailable,
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::types::RDKafkaErrorCode;

    use super::super::fault::{Fault, fault};
    use super::*;

    /// Every number that has a name in this librdkafka.
    fn all() -> impl Iterator<Item = E> {
        (-200..=1000).filter_map(|number| E::try_from(number).ok())
    }

    #[track_caller]
    fn check(name: E, expected: Code) {
        assert_eq!(code(name.into()), expected, "{name:?}");
    }

    #[test]
    fn each_error_has_the_code_of_its_remedy() {
        check(E::RD_KAFKA_RESP_ERR__TRANSPORT, Code::LogUnavailable);
        check(E::RD_KAFKA_RESP_ERR__TIMED_OUT, Code::LogUnavailable);
        check(E::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, Code::LogUnavailable);
        check(E::RD_KAFKA_RESP_ERR__FENCED, Code::Fenced);
        check(E::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, Code::Fenced);
        check(E::RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED, Code::Fenced);
        check(E::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, Code::Unauthorized);
        check(E::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, Code::Unauthorized);
        check(E::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, Code::TopicGone);
        check(E::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, Code::OffsetOutside);
        check(E::RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL, Code::JoinRefused);
        check(E::RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT, Code::JoinRefused);
        check(E::RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED, Code::JoinRefused);
        check(E::RD_KAFKA_RESP_ERR__BAD_MSG, Code::RecordsDamaged);
        check(E::RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT, Code::LogRefused);
    }

    #[test]
    fn a_missing_token_has_a_code_of_its_own() {
        assert_eq!(code(ErrorCode::NO_TOKEN), Code::KafkaToken);
        assert_eq!(ErrorCode::NO_TOKEN.name(), None);
        assert_eq!(code(ErrorCode::PROPERTIES), Code::KafkaCredentials);
        assert_eq!(ErrorCode::PROPERTIES.name(), None);
    }

    #[test]
    fn an_error_of_the_administration_has_a_code() {
        let code = |error| of_crate_error(&error).and_then(ErrorCode::name);
        let lost = RDKafkaErrorCode::BrokerTransportFailure;
        assert_eq!(code(KafkaError::AdminOp(lost)), Some(E::RD_KAFKA_RESP_ERR__TRANSPORT));
        assert_eq!(code(KafkaError::GroupListFetch(lost)), Some(E::RD_KAFKA_RESP_ERR__TRANSPORT));
        assert_eq!(code(KafkaError::Canceled), None);
    }

    #[test]
    fn an_error_of_a_newer_broker_is_not_said_to_pass() {
        assert_eq!(code(ErrorCode::of_number(30_000)), Code::LogRefused);
    }

    /// A delivery and a call that meet the same error show the same code.
    #[test]
    fn both_tables_agree() {
        assert!(all().count() > 150, "the names are read");
        for name in all() {
            if let Fault::Topic(of_delivery) = fault(name.into()) {
                check(name, of_delivery);
            }
        }
    }
}
