//! The records of a dry run: the records of the request, or the newest of the real inputs.

use std::time::{Duration, Instant};

use crate::api_types::LiveRecords;
use crate::model::codes::Code;
use crate::model::spec::Spec;
use crate::ports::{LogRecord, TopicPartition};
use crate::record_json::RecordInput;

use super::super::problem::Refusal;
use super::super::shared::ApiState;
use super::limits::{bytes_of, out_of_time};

/// Longest wait of one read of a topic: a partition may end with nothing but control records.
const READ_WAIT: Duration = Duration::from_millis(250);
/// Bytes of one read of a topic, about.
const READ_BYTES: usize = 1 << 20;

/// A record with its input partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputRecord {
    pub partition: TopicPartition,
    pub record: LogRecord,
}

/// The records of the request, each with its input.
pub fn given(spec: &Spec, given: Vec<RecordInput>) -> Result<Vec<InputRecord>, Refusal> {
    let sample = |(index, RecordInput { record, topic, partition }): (usize, RecordInput)| {
        let input = match &topic {
            None => 0,
            Some(topic) => spec.inputs.iter().position(|input| input.as_str() == topic).ok_or_else(|| {
                Refusal::of_field(Code::Record, format!("records[{index}].topic"), format!("{topic:?} is not an input"))
            })?,
        };
        Ok(InputRecord { partition: TopicPartition { input: input as u32, partition: partition.unwrap_or(0) }, record })
    };
    given.into_iter().enumerate().map(sample).collect()
}

/// The newest records of the inputs, within the limits.
pub fn newest(state: &ApiState, spec: &Spec, live: LiveRecords, deadline: Instant) -> Result<Vec<InputRecord>, Refusal> {
    let limits = &state.limits;
    if !(1..=limits.trial_records_max).contains(&live.records) {
        let message = format!("is {}, but must be 1 to {} (trial_records_max)", live.records, limits.trial_records_max);
        return Err(Refusal::of_field(Code::Malformed, "live.records", message));
    }
    let log = state.log_of(&spec.id.team);
    let mut samples = Vec::new();
    for (input, topic) in spec.inputs.iter().enumerate() {
        for (number, (first, end)) in (0..).zip(log.bounds(topic)?) {
            let mut next = end.saturating_sub(live.records as i64).max(first);
            while next < end {
                if Instant::now() >= deadline {
                    return Err(out_of_time(state, &format!("{topic}/{number} was being read")));
                }
                let page = log.read(topic, number, next, READ_WAIT, READ_BYTES)?;
                next = page.next_offset;
                let partition = TopicPartition { input: input as u32, partition: number };
                samples.extend(page.records.into_iter().map(|record| InputRecord { partition, record }));
                keep_newest(&mut samples, live.records, limits.records_bytes_max);
            }
        }
    }
    Ok(samples)
}

/// Sorts by time, and drops the oldest until the limits hold.
fn keep_newest(samples: &mut Vec<InputRecord>, records_max: usize, bytes_max: usize) {
    samples.sort_by_key(|sample| (sample.record.timestamp, sample.partition, sample.record.offset));
    let mut kept = 0;
    let mut bytes = 0;
    for sample in samples.iter().rev() {
        bytes += bytes_of(&sample.record);
        if kept == records_max || bytes > bytes_max {
            break;
        }
        kept += 1;
    }
    samples.drain(..samples.len() - kept);
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
