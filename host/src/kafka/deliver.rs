//! Delivers records outside of a session: all of them, or the first failure.

use std::time::Duration;

use super::error::is_purged;
use super::raw::{Admission, Client, CodeName, RawError, TopicHandle};
use crate::ports::{LogRecord, refused_timestamp};

/// Sends the records and waits until each is delivered or has failed, for `message.timeout.ms` at most. None is sent if the
/// timestamp of one is refused.
pub(super) fn deliver(
    client: &Client,
    topic: &TopicHandle,
    partition: Option<i32>,
    records: &[LogRecord],
) -> Result<(), RawError> {
    if let Some(message) = records.iter().find_map(|record| refused_timestamp(record.timestamp)) {
        return Err(RawError { message, ..RawError::of("deliver", CodeName::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP) });
    }
    for record in records {
        let headers: Vec<_> = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        let key = record.key.as_deref();
        let value = record.value.as_deref();
        while let Admission::QueueFull = client.produce(0, topic, partition, key, value, &headers, record.timestamp)? {
            client.poll(Duration::from_millis(1));
        }
    }
    while client.in_flight() > 0 {
        client.poll(Duration::from_millis(1));
    }
    client.poll(Duration::ZERO);
    let Some(failed) = client.take_failures().into_iter().next() else { return Ok(()) };
    let error = RawError::of("deliver", failed.code);
    // Dropped with their transaction, which may have failed for a reason of its own: a missing right, say.
    Err(if is_purged(&error) { transaction_error(client).unwrap_or(error) } else { error })
}

/// The reason why the open transaction has failed. To begin another in it is never carried out, and answered with that.
pub(super) fn transaction_error(client: &Client) -> Option<RawError> {
    client.begin_transaction().err().filter(|error| error.fatal || error.requires_abort)
}
