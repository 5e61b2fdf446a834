//! Reads a partition of a control topic up to an end, page by page.

use std::time::{Duration, Instant};

use super::error::BackupError;
use crate::model::names::TopicName;
use crate::ports::{Log, LogError, LogRecord};

/// Bytes of a page; a single record may be larger.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// Longest wait for a page.
const WAIT: Duration = Duration::from_millis(500);
/// Longest time without a record or a move of the position, beside the time for the records that a reader passes over.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Time for a record of an aborted transaction: a client reads it, and shows neither it nor that it is past it. A chunk of a
/// module at 10 MB/s.
const PASSED_OVER: Duration = Duration::from_millis(50);
/// Most of these times together.
const PASSED_OVER_MAX: Duration = Duration::from_secs(15 * 60);

/// A partition up to an end.
pub struct Part<'a> {
    pub topic: &'a TopicName,
    pub partition: i32,
    pub first: i64,
    pub end: i64,
}

impl Part<'_> {
    /// Hands over each committed record before the end, until `take` returns false.
    pub fn each(
        &self,
        log: &dyn Log,
        mut take: impl FnMut(LogRecord) -> Result<bool, BackupError>,
    ) -> Result<(), BackupError> {
        let Self { topic, partition, first, end } = *self;
        let mut position = first;
        let mut moved = Instant::now();
        while position < end {
            let page = log.read(topic, partition, position, WAIT, PAGE_BYTES_MAX)?;
            for record in page.records {
                if record.offset < end && !take(record)? {
                    return Ok(());
                }
            }
            if page.next_offset > position {
                position = page.next_offset;
                moved = Instant::now();
            } else if moved.elapsed() > silence_max(end - position) {
                return Err(LogError::Unavailable(format!("{topic}/{partition} gives no records from {position} on")).into());
            }
        }
        Ok(())
    }
}

/// Longest silence before the end, which is this number of offsets away: each may be a record that is passed over.
fn silence_max(offsets_left: i64) -> Duration {
    let records = u32::try_from(offsets_left).unwrap_or(u32::MAX);
    SILENCE_MAX + PASSED_OVER.saturating_mul(records).min(PASSED_OVER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_may_last_as_long_as_aborted_records_take() {
        let seconds = |offsets_left| silence_max(offsets_left).as_secs();
        assert_eq!([1, 20, 8_000].map(seconds), [30, 31, 430]);
        assert_eq!([18_000, i64::from(u32::MAX), i64::MAX].map(seconds), [930; 3]);
    }
}
