//! Delivers records outside of a session: all of them, or the first failure.

use std::time::Duration;

use super::raw::{Admission, Client, RawError, TopicHandle};
use crate::ports::LogRecord;

/// Sends the records and waits until each is delivered or has failed, for `message.timeout.ms` at most.
pub(super) fn deliver(
    client: &Client,
    topic: &TopicHandle,
    partition: Option<i32>,
    records: &[LogRecord],
) -> Result<(), RawError> {
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
    client.take_failures().first().map_or(Ok(()), |failed| Err(RawError::of("deliver", failed.code)))
}
