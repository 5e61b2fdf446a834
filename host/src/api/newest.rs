//! The newest records of some topics, within limits of number, bytes and time.

use std::time::{Duration, Instant};

use crate::model::names::TopicName;
use crate::ports::{Log, LogError, LogRecord, TopicPartition};

/// Longest wait of one read of a topic: a partition may end with nothing but control records.
const READ_WAIT: Duration = Duration::from_millis(250);
/// Bytes of one read of a topic, about.
const READ_BYTES: usize = 1 << 20;

/// A record with its partition: `input` counts the topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputRecord {
    pub partition: TopicPartition,
    pub record: LogRecord,
}

/// The reason why there are no records.
#[derive(Debug)]
pub enum NewestError {
    Log(LogError),
    /// The time was over; the text names the partition that was being read.
    Time(String),
}

impl From<LogError> for NewestError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

/// Reads the newest records over all partitions of the topics, oldest first.
pub fn newest(
    log: &dyn Log,
    topics: &[TopicName],
    (records_max, bytes_max): (usize, usize),
    deadline: Instant,
) -> Result<Vec<InputRecord>, NewestError> {
    let mut found = Vec::new();
    for (input, topic) in topics.iter().enumerate() {
        for (number, (first, end)) in (0..).zip(log.bounds(topic)?) {
            let mut next = end.saturating_sub(i64::try_from(records_max).unwrap_or(i64::MAX)).max(first);
            while next < end {
                if Instant::now() >= deadline {
                    return Err(NewestError::Time(format!("{topic}/{number} was being read")));
                }
                let page = log.read(topic, number, next, READ_WAIT, READ_BYTES)?;
                next = page.next_offset;
                let partition = TopicPartition { input: input as u32, partition: number };
                found.extend(page.records.into_iter().map(|record| InputRecord { partition, record }));
                keep_newest(&mut found, records_max, bytes_max);
            }
        }
    }
    Ok(found)
}

/// Sorts by time, and drops the oldest until the limits hold.
fn keep_newest(found: &mut Vec<InputRecord>, records_max: usize, bytes_max: usize) {
    found.sort_by_key(|found| (found.record.timestamp, found.partition, found.record.offset));
    let mut kept = 0;
    let mut bytes = 0;
    for found in found.iter().rev() {
        bytes += bytes_of(&found.record);
        if kept == records_max || bytes > bytes_max {
            break;
        }
        kept += 1;
    }
    found.drain(..found.len() - kept);
}

/// Bytes of key, value and headers.
pub fn bytes_of(record: &LogRecord) -> usize {
    let headers = record.headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len));
    record.key.as_ref().map_or(0, Vec::len) + record.value.as_ref().map_or(0, Vec::len) + headers.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_within_both_limits() {
        let sample = |number, offset, timestamp| InputRecord {
            partition: TopicPartition { input: 0, partition: number },
            record: LogRecord { offset, timestamp, key: None, value: Some(vec![0; 10]), headers: vec![] },
        };
        let all = vec![sample(1, 0, 5), sample(0, 1, 3), sample(0, 0, 9), sample(1, 1, 5)];
        for (records_max, bytes_max, kept) in
            [(9, 1000, vec![3, 5, 5, 9]), (2, 1000, vec![5, 9]), (9, 35, vec![5, 5, 9]), (9, 5, vec![]), (1, 10, vec![9])]
        {
            let mut samples = all.clone();
            keep_newest(&mut samples, records_max, bytes_max);
            let times: Vec<i64> = samples.iter().map(|sample| sample.record.timestamp).collect();
            assert_eq!(times, kept, "{records_max} records, {bytes_max} bytes");
        }
    }
}
