//! The recovery policy: the remedy that an error calls for, by the call that met it.
//!
//! | the call | the answer | decided by |
//! |---|---|---|
//! | reads, appends, questions about topics | [`LogError`] | [`of_topic`], [`of_watermarks`], [`of_creation`], [`unavailable`] |
//! | changes of a group from outside | [`LogError`] | [`of_group`], [`of_group_deletion`] |
//! | the one transaction of an exclusive writer | [`ExclusiveError`] | [`before_commit`], [`at_commit`] |
//! | a session's polls and its commits outside of transactions | [`SessionError`] | [`of_poll`], [`is_rebalance`] |
//! | a session's transactions | [`SessionError`] | [`of_transaction`], [`abort`], [`restart`] |
//! | a session's deliveries | [`SessionError`] | `refusal`, by the faults of `fault` |
//!
//! A retriable error of a transaction's call comes here only after its time is over: see `retry`.

use rdkafka::admin::ResourceSpecifier;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use super::code::{code, of_crate_error};
use super::raw::{CodeName as E, ErrorCode, RawError, without_value};
use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::ports::{ExclusiveError, LogError, SessionError};

// === calls of the log ===

/// An error after which the call may be made again, unless a right is missing.
pub(super) fn unavailable(error: RawError) -> LogError {
    retried(error.code, error.to_string())
}

/// The error of a call of the crate's client, like [`unavailable`].
pub(super) fn crate_unavailable(error: &KafkaError) -> LogError {
    of_crate(error, error.to_string())
}

/// The refusal of the crate to make a client. Its own text has the value of the property, which may be a secret.
pub(super) fn of_new_client(error: &KafkaError) -> LogError {
    match error {
        KafkaError::ClientConfig(answer, _, name, _) => unavailable(RawError::of_property(name, *answer)),
        error => LogError::Properties { code: Code::KafkaCredentials, message: without_value(&error.to_string()) },
    }
}

fn of_crate(error: &KafkaError, message: String) -> LogError {
    match of_crate_error(error) {
        Some(error) => retried(error, message),
        None => LogError::Unavailable(message),
    }
}

fn retried(error: ErrorCode, message: String) -> LogError {
    match code(error) {
        Code::Unauthorized => LogError::Unauthorized(message),
        Code::KafkaToken => LogError::NoToken(message),
        code @ Code::KafkaCredentials => LogError::Properties { code, message },
        _ => LogError::Unavailable(message),
    }
}

/// An error of a read from a topic, or an append to it. A missing topic is told apart from a missing broker: to wait for it
/// does not help.
pub(super) fn of_topic(topic: &TopicName, error: RawError) -> LogError {
    match error.code.name() {
        Some(
            E::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
            | E::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
            | E::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION,
        ) => LogError::NoTopic(topic.to_string()),
        // Another attempt would be refused again.
        Some(
            E::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE
            | E::RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE
            | E::RD_KAFKA_RESP_ERR_INVALID_RECORD
            | E::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP
            | E::RD_KAFKA_RESP_ERR_POLICY_VIOLATION,
        ) => LogError::Refused(format!("topic {topic}: {error}")),
        _ => unavailable(error),
    }
}

/// An error of the question where a partition begins and ends.
pub(super) fn of_watermarks(topic: &TopicName, error: &KafkaError) -> LogError {
    use RDKafkaErrorCode::{UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
    match error.rdkafka_error_code() {
        Some(UnknownTopicOrPartition | UnknownTopic | UnknownPartition) => LogError::NoTopic(topic.to_string()),
        _ => crate_unavailable(error),
    }
}

/// The error of a topic in an answer to a question about it. One that is being made has no leader yet, and is not there.
pub(super) fn of_metadata(topic: &TopicName, error: RDKafkaErrorCode) -> LogError {
    match code(ErrorCode::of_crate(error)) {
        Code::Unauthorized => LogError::Unauthorized(format!("topic {topic}: {error}")),
        _ => LogError::NoTopic(topic.to_string()),
    }
}

/// The first refusal among the answers about several things, as an error of the call: it may be one to be repeated.
pub(super) fn none_refused<T>(answers: Vec<Result<T, (String, RDKafkaErrorCode)>>) -> Result<(), KafkaError> {
    answers.into_iter().try_for_each(|answer| answer.map(drop).map_err(|(_, code)| KafkaError::AdminOp(code)))
}

/// The refusal to tell the settings of a broker or a topic. A principal without the right knows none.
pub(super) fn of_configs<T>(of: &ResourceSpecifier<'_>, refused: RDKafkaErrorCode) -> Result<Option<T>, LogError> {
    match (code(ErrorCode::of_crate(refused)), of) {
        (Code::Unauthorized, _) => Ok(None),
        (Code::TopicGone, ResourceSpecifier::Topic(topic)) => Err(LogError::NoTopic((*topic).to_owned())),
        (of, _) => Err(refusal(of, format!("asking for settings: {refused}"))),
    }
}

/// The answer to the creation of a topic.
pub(super) fn of_creation(topic: &TopicName, answer: RDKafkaErrorCode) -> Result<(), LogError> {
    if answer == RDKafkaErrorCode::TopicAlreadyExists {
        return Ok(());
    }
    Err(refusal(code(ErrorCode::of_crate(answer)), format!("creating topic {topic}: {answer}")))
}

/// The error of an answer with this code. Only some of them pass.
fn refusal(code: Code, message: String) -> LogError {
    match code {
        Code::Unauthorized => LogError::Unauthorized(message),
        Code::LogUnavailable => LogError::Unavailable(message),
        _ => LogError::Refused(message),
    }
}

// === changes of a group from outside ===

/// An error of an outsider's commit for a group. A broker answers an outsider as a member of another generation while the
/// group has members.
pub(super) fn of_group(group: &str, error: RawError) -> LogError {
    if is_rebalance(&error) { has_members(group) } else { unavailable(error) }
}

/// The answer to the deletion of a group.
pub(super) fn of_group_deletion(group: &str, error: &KafkaError) -> Result<(), LogError> {
    match of_crate_error(error).and_then(ErrorCode::name) {
        Some(E::RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND) => Ok(()),
        Some(E::RD_KAFKA_RESP_ERR_NON_EMPTY_GROUP) => Err(has_members(group)),
        _ => Err(of_crate(error, format!("deleting group {group}: {error}"))),
    }
}

fn has_members(group: &str) -> LogError {
    LogError::Refused(format!("group {group} has members"))
}

// === the one transaction of an exclusive writer ===

/// An error before the commit: nothing of the transaction will ever show.
pub(super) fn before_commit(error: RawError) -> ExclusiveError {
    if is_fenced(&error) { ExclusiveError::Fenced(error.to_string()) } else { ExclusiveError::Log(unavailable(error)) }
}

/// An error of the commit: the transaction may be in the log.
pub(super) fn at_commit(error: &RawError) -> ExclusiveError {
    if is_fenced(error) { ExclusiveError::Fenced(error.to_string()) } else { ExclusiveError::Unknown(error.to_string()) }
}

/// Returns true if a newer writer took over. This may show only in that queued records are purged, without another reason:
/// see [`super::deliver`].
pub(super) fn is_fenced(error: &RawError) -> bool {
    is_purged(error)
        || matches!(
            error.code.name(),
            Some(
                E::RD_KAFKA_RESP_ERR__FENCED
                    | E::RD_KAFKA_RESP_ERR_PRODUCER_FENCED
                    | E::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH
            )
        )
}

/// Returns true if a record was dropped with its transaction.
pub(super) fn is_purged(error: &RawError) -> bool {
    matches!(error.code.name(), Some(E::RD_KAFKA_RESP_ERR__PURGE_QUEUE | E::RD_KAFKA_RESP_ERR__PURGE_INFLIGHT))
}

// === a session's polls, and its commits outside of transactions ===

/// The remedy of an error that a poll has met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PollRemedy {
    /// A partition does not have the offset at which it was to be read. The session goes on with the others, and the next
    /// session finds out more.
    Interrupt,
    /// Another poll will not mend it, or a record was skipped.
    Restart,
    /// librdkafka mends it by itself.
    GoOn,
}

/// `of_partition`: see [`super::raw::QueueMessage::Error`].
pub(super) fn of_poll(error: &RawError, of_partition: bool) -> PollRemedy {
    match code(error.code) {
        Code::OffsetOutside => PollRemedy::Interrupt,
        _ if error.fatal || of_partition => PollRemedy::Restart,
        Code::Unauthorized | Code::TopicGone | Code::JoinRefused => PollRemedy::Restart,
        _ if error.code == E::RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED => PollRemedy::Restart,
        _ => PollRemedy::GoOn,
    }
}

/// Returns true for the errors of a commit that a rebalance is the reason of.
pub(super) fn is_rebalance(error: &RawError) -> bool {
    matches!(
        error.code.name(),
        Some(
            E::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS
                | E::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION
                | E::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID
        )
    )
}

// === a session's transactions ===

/// An error that ends the session: it is fatal, or nobody knows how the call ended.
pub(super) fn restart(error: RawError) -> SessionError {
    match code(error.code) {
        Code::LogUnavailable => SessionError::Restart(error.to_string()),
        code => SessionError::Ended { code, message: error.to_string() },
    }
}

/// An error of a call within a transaction.
pub(super) fn of_transaction(error: RawError) -> SessionError {
    if error.fatal || !error.requires_abort { restart(error) } else { abort(&error) }
}

/// An error after which the transaction is aborted.
pub(super) fn abort(error: &RawError) -> SessionError {
    match code(error.code) {
        Code::LogUnavailable => SessionError::Abort(error.to_string()),
        code => SessionError::Withheld { code, message: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(name: E) -> RawError {
        RawError::of("call", name)
    }

    #[track_caller]
    fn check_poll(name: E, of_partition: bool, expected: PollRemedy) {
        assert_eq!(of_poll(&error(name), of_partition), expected, "{name:?}, of a partition: {of_partition}");
    }

    #[test]
    fn a_client_that_is_not_made_shows_no_value() {
        let error = KafkaError::ClientCreation("Unsupported SASL mechanism: hunter2".into());
        let said = of_new_client(&error).to_string();
        assert!(said.contains("sasl.mechanism") && !said.contains("hunter2"), "{said}");
    }

    #[test]
    fn a_record_that_is_refused_is_told_from_an_outage() {
        let topic: TopicName = "t".parse().expect("valid");
        for (name, is_refused) in [
            (E::RD_KAFKA_RESP_ERR_INVALID_RECORD, true),
            (E::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, true),
            (E::RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, false),
        ] {
            assert_eq!(matches!(of_topic(&topic, error(name)), LogError::Refused(_)), is_refused, "{name:?}");
        }
    }

    #[test]
    fn a_poll_goes_on_only_where_no_record_is_missing() {
        check_poll(E::RD_KAFKA_RESP_ERR__TRANSPORT, false, PollRemedy::GoOn);
        check_poll(E::RD_KAFKA_RESP_ERR__TRANSPORT, true, PollRemedy::Restart);
        check_poll(E::RD_KAFKA_RESP_ERR__BAD_MSG, true, PollRemedy::Restart);
        check_poll(E::RD_KAFKA_RESP_ERR__FATAL, false, PollRemedy::Restart);
        check_poll(E::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, false, PollRemedy::Restart);
        check_poll(E::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, true, PollRemedy::Interrupt);
        for refused in [
            E::RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL,
            E::RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT,
            E::RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED,
        ] {
            check_poll(refused, false, PollRemedy::Restart);
        }
        check_poll(E::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, false, PollRemedy::GoOn);
        check_poll(E::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, false, PollRemedy::GoOn);
    }

    /// `flags`: whether the error requires an abort, and whether it is fatal.
    #[track_caller]
    fn check_transaction(name: E, flags: (bool, bool), expected: &str) {
        let (requires_abort, fatal) = flags;
        let found = match of_transaction(RawError { requires_abort, fatal, ..error(name) }) {
            SessionError::Withheld { code, .. } => code.to_string(),
            SessionError::Abort(_) => "abort".to_owned(),
            SessionError::Restart(_) => "restart".to_owned(),
            SessionError::Ended { code, .. } => format!("restart {code}"),
            other => format!("{other:?}"),
        };
        assert_eq!(found, expected, "{name:?} {flags:?}");
    }

    #[test]
    fn a_transaction_is_aborted_only_where_librdkafka_says_so() {
        check_transaction(E::RD_KAFKA_RESP_ERR__TIMED_OUT, (false, false), "restart");
        check_transaction(E::RD_KAFKA_RESP_ERR__FENCED, (false, true), "restart E203");
        check_transaction(E::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, (true, false), "E203");
        check_transaction(E::RD_KAFKA_RESP_ERR__TIMED_OUT, (true, false), "abort");
        check_transaction(E::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, (false, true), "restart E204");
        check_transaction(E::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, (true, false), "E204");
    }

    #[test]
    fn a_fenced_writer_is_told_from_one_that_knows_nothing() {
        for name in [E::RD_KAFKA_RESP_ERR__PURGE_QUEUE, E::RD_KAFKA_RESP_ERR_PRODUCER_FENCED] {
            assert!(matches!(before_commit(error(name)), ExclusiveError::Fenced(_)), "{name:?}");
            assert!(matches!(at_commit(&error(name)), ExclusiveError::Fenced(_)), "{name:?}");
        }
        assert!(matches!(before_commit(error(E::RD_KAFKA_RESP_ERR__TIMED_OUT)), ExclusiveError::Log(_)));
        assert!(matches!(at_commit(&error(E::RD_KAFKA_RESP_ERR__TIMED_OUT)), ExclusiveError::Unknown(_)));
    }
}
