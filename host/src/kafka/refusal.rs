//! Failed deliveries: which records are to blame, and the error that a session answers.
//!
//! A broker refuses whole batches. Since KIP-467 it names the records that it refuses for their content or their timestamp.
//! librdkafka 2.12 gives their neighbours a code of their own, but only where there are several culprits: with a single
//! one, it puts the culprit's code on all (`on_acknowledgement_queue` forces it). The neighbours can still be told: they
//! share one text, which is a constant of librdkafka, while each culprit has a text of its own, the broker's. These texts
//! are freed before the delivery is reported, so their addresses are compared, and nothing is read.
//!
//! For its size no record is named: one that was refused alone is known to be too large, and of several no one is.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::fault::{Fault, fault};
use super::raw::{CodeName as E, FailedDelivery, RawError};
use crate::ports::{Cause, Culprit, Rejection, SessionError};

/// The error of a record that the producer refused to take, as the `send`th of its transaction.
pub(super) fn of_send(send: u64, topic: &str, error: &RawError) -> SessionError {
    let reason = format!("topic {topic}: {}", error.message);
    match fault(error.code) {
        Fault::Record(cause) | Fault::Batch(cause) => rejected(send, cause, reason),
        Fault::Topic(code) => SessionError::Withheld { code, message: reason },
        Fault::Unclear => SessionError::Rejected(Rejection { culprits: Vec::new(), cause: None, reason }),
        Fault::Neighbour | Fault::Log => SessionError::Abort(reason),
    }
}

/// The error of one record that is known to be refused.
pub(super) fn rejected(send: u64, cause: Cause, reason: String) -> SessionError {
    let culprits = vec![Culprit { send, cause, reason: reason.clone() }];
    SessionError::Rejected(Rejection { culprits, cause: Some(cause), reason })
}

/// The error that failed deliveries come to, by the worst remedy that still helps. There is one at least.
pub(super) fn of_deliveries(failures: &[FailedDelivery], topic: impl Fn(usize) -> String) -> SessionError {
    let told = |failed: &FailedDelivery| {
        let why = RawError::of("deliver", failed.code).message;
        let key =
            if fault(failed.code) == Fault::Record(Cause::Content) && !failed.has_key { ", the key is null" } else { "" };
        // None was chosen yet where the topic is not known.
        let partition = if failed.partition < 0 { String::new() } else { format!(", partition {}", failed.partition) };
        format!("topic {}{partition}: {why}{key}", topic(failed.topic_id))
    };
    let culprits = culprits(failures, told);
    let found = |wanted: &dyn Fn(Fault) -> bool| failures.iter().find(|failed| wanted(fault(failed.code)));
    if let Some(failed) = found(&|fault| matches!(fault, Fault::Record(_) | Fault::Batch(_))) {
        let cause = match fault(failed.code) {
            Fault::Record(cause) | Fault::Batch(cause) => Some(cause),
            _ => None,
        };
        return SessionError::Rejected(Rejection { culprits, cause, reason: told(failed) });
    }
    if failures.iter().any(|failed| failed.code == E::RD_KAFKA_RESP_ERR__FATAL) {
        return SessionError::Restart(told(&failures[0]));
    }
    if let Some(failed) = found(&|fault| matches!(fault, Fault::Topic(_))) {
        let Fault::Topic(code) = fault(failed.code) else { unreachable!("found as such") };
        return SessionError::Withheld { code, message: told(failed) };
    }
    if let Some(failed) = found(&|fault| fault == Fault::Log) {
        return SessionError::Abort(told(failed));
    }
    match found(&|fault| fault == Fault::Unclear) {
        Some(failed) => SessionError::Rejected(Rejection { culprits: Vec::new(), cause: None, reason: told(failed) }),
        None => SessionError::Abort(told(&failures[0])),
    }
}

/// The address of the neighbours' text, once it was told from the culprits' texts; 0 before.
static NEIGHBOURS_TEXT: AtomicUsize = AtomicUsize::new(0);

/// The records that are known to be to blame, partition by partition.
fn culprits(failures: &[FailedDelivery], told: impl Fn(&FailedDelivery) -> String) -> Vec<Culprit> {
    let mut partitions: BTreeMap<(usize, i32), Vec<&FailedDelivery>> = BTreeMap::new();
    for failed in failures {
        partitions.entry((failed.topic_id, failed.partition)).or_default().push(failed);
    }
    let named = partitions.values().flat_map(|refused| named(refused, &NEIGHBOURS_TEXT));
    let culprit = |(failed, cause): (&FailedDelivery, Cause)| Culprit { send: failed.number, cause, reason: told(failed) };
    named.map(culprit).collect()
}

/// The culprits among the records that were refused in one partition.
fn named<'a>(failures: &[&'a FailedDelivery], neighbours_text: &AtomicUsize) -> Vec<(&'a FailedDelivery, Cause)> {
    let mut records = Vec::new();
    let mut batches = Vec::new();
    for &failed in failures {
        match fault(failed.code) {
            Fault::Record(cause) => records.push((failed, cause)),
            Fault::Batch(cause) => batches.push((failed, cause)),
            _ => {}
        }
    }
    let neighbour = failures.iter().find(|failed| failed.code == E::RD_KAFKA_RESP_ERR__INVALID_DIFFERENT_RECORD);
    if let Some(neighbour) = neighbour {
        neighbours_text.store(neighbour.text_id, Ordering::Relaxed);
        return records;
    }
    if records.len() > 1 {
        return without_neighbours(&records, neighbours_text);
    }
    records.append(&mut batches);
    if records.len() == 1 { records } else { Vec::new() }
}

/// Leaves the neighbours out, which share a text, where several records have the code of a culprit. Empty where they
/// cannot be told.
fn without_neighbours<'a>(
    refused: &[(&'a FailedDelivery, Cause)],
    neighbours_text: &AtomicUsize,
) -> Vec<(&'a FailedDelivery, Cause)> {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for (failed, _) in refused {
        *counts.entry(failed.text_id).or_default() += 1;
    }
    let known = neighbours_text.load(Ordering::Relaxed);
    let shared: Vec<usize> =
        counts.iter().filter(|(text, count)| **text != 0 && **count > 1).map(|(text, _)| *text).collect();
    let text = match shared[..] {
        _ if counts.contains_key(&known) && known != 0 => known,
        // One text for all: the broker refuses the batch, and names none.
        [_] if counts.len() == 1 => return Vec::new(),
        [text] => {
            neighbours_text.store(text, Ordering::Relaxed);
            text
        }
        // Each has a text of its own. Of two, one may be a neighbour.
        [] if counts.len() == refused.len() && (refused.len() > 2 || known != 0) => return refused.to_vec(),
        _ => return Vec::new(),
    };
    refused.iter().filter(|(failed, _)| failed.text_id != text).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::codes::Code;

    const INVALID: E = E::RD_KAFKA_RESP_ERR_INVALID_RECORD;
    const OTHER: E = E::RD_KAFKA_RESP_ERR__INVALID_DIFFERENT_RECORD;
    const LARGE: E = E::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    const PURGED: E = E::RD_KAFKA_RESP_ERR__PURGE_QUEUE;
    const GONE: E = E::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    const DENIED: E = E::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    const LATE: E = E::RD_KAFKA_RESP_ERR__MSG_TIMED_OUT;
    const UNKNOWN: E = E::RD_KAFKA_RESP_ERR_UNKNOWN;

    /// Failures as (partition, code), numbered in this order; then the kind of error, and the culprits' numbers.
    #[track_caller]
    fn check(failures: &[(i32, E)], kind: &str, culprits: &[u64]) {
        let failed = |(number, &(partition, code)): (usize, &(i32, E))| FailedDelivery {
            number: number as u64,
            topic_id: 7,
            partition,
            code: code.into(),
            has_key: false,
            size: None,
            text_id: 0,
        };
        let failures: Vec<FailedDelivery> = failures.iter().enumerate().map(failed).collect();
        let (found, named) = match of_deliveries(&failures, |id| format!("t{id}")) {
            SessionError::Rejected(Rejection { culprits, cause, reason }) => {
                assert!(reason.starts_with("topic t7, partition "), "{reason}");
                (format!("{cause:?}"), culprits.iter().map(|culprit| culprit.send).collect())
            }
            SessionError::Withheld { code, .. } => (code.to_string(), Vec::new()),
            SessionError::Abort(_) => ("abort".into(), Vec::new()),
            SessionError::Restart(_) | SessionError::Ended { .. } => ("restart".into(), Vec::new()),
            SessionError::TooLarge(_) => ("too large".into(), Vec::new()),
        };
        assert_eq!((found.as_str(), named.as_slice()), (kind, culprits));
    }

    #[test]
    fn a_record_is_blamed_only_where_it_is_known() {
        check(&[(0, OTHER), (0, INVALID), (0, OTHER)], "Some(Content)", &[1]);
        check(&[(0, OTHER), (0, INVALID), (1, OTHER), (1, INVALID), (1, INVALID)], "Some(Content)", &[1, 3, 4]);
        check(&[(0, E::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP), (0, PURGED)], "Some(Timestamp)", &[0]);
        check(&[(0, LARGE), (0, LARGE)], "Some(Size)", &[]);
        check(&[(0, LARGE), (0, PURGED), (1, LARGE), (1, LARGE)], "Some(Size)", &[0]);
        check(&[(3, PURGED), (0, INVALID)], "Some(Content)", &[1]);
    }

    /// Texts of records of one partition that all have a culprit's code; then the text that is known to be the neighbours',
    /// before and after, and the culprits' numbers.
    #[track_caller]
    fn check_texts(texts: &[usize], before: usize, after: usize, culprits: &[u64]) {
        let failed = |(number, &text_id): (usize, &usize)| FailedDelivery {
            number: number as u64,
            topic_id: 7,
            partition: 0,
            code: INVALID.into(),
            has_key: true,
            size: None,
            text_id,
        };
        let failures: Vec<FailedDelivery> = texts.iter().enumerate().map(failed).collect();
        let known = AtomicUsize::new(before);
        let found = named(&failures.iter().collect::<Vec<_>>(), &known);
        let numbers: Vec<u64> = found.iter().map(|(failed, _)| failed.number).collect();
        assert_eq!((numbers.as_slice(), known.into_inner()), (culprits, after), "{texts:?}");
    }

    #[test]
    fn neighbours_with_a_culprits_code_are_told_by_their_text() {
        check_texts(&[5, 5, 9, 5], 0, 5, &[2]);
        check_texts(&[5, 9], 5, 5, &[1]);
        check_texts(&[8, 9], 5, 5, &[0, 1]);
        check_texts(&[6, 8, 9], 0, 0, &[0, 1, 2]);
        check_texts(&[9], 0, 0, &[0]);
        // Not known.
        check_texts(&[5, 9], 0, 0, &[]);
        check_texts(&[5, 5, 5], 0, 0, &[]);
        check_texts(&[0, 0, 0], 0, 0, &[]);
        check_texts(&[5, 5, 9, 9], 0, 0, &[]);
    }

    #[test]
    fn an_outage_or_a_topic_blames_none() {
        check(&[(0, LATE)], "abort", &[]);
        check(&[(0, PURGED)], "abort", &[]);
        check(&[(0, LATE), (1, GONE)], "E207", &[]);
        check(&[(0, PURGED), (1, DENIED)], "E204", &[]);
        check(&[(0, UNKNOWN)], "None", &[]);
        check(&[(0, UNKNOWN), (1, LATE)], "abort", &[]);
        check(&[(0, E::RD_KAFKA_RESP_ERR__FATAL), (0, LATE)], "restart", &[]);
        check(&[(0, E::RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT)], "E202", &[]);
    }

    #[test]
    fn a_refused_send_is_one_records() {
        let of = |code| of_send(5, "t", &RawError::of("produce", code));
        assert!(matches!(of(LARGE), SessionError::Rejected(Rejection { culprits, .. }) if culprits[0].send == 5));
        assert!(matches!(of(E::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC), SessionError::Withheld { code: Code::TopicGone, .. }));
        assert!(matches!(of(E::RD_KAFKA_RESP_ERR__STATE), SessionError::Abort(_)));
    }
}
