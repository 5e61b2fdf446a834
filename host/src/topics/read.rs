//! Reads of records from a topic, over one partition or all.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use crate::api_types::{Form, PartitionPosition, RecordOut, RecordPage};
use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::model::random::random_u64;
use crate::ports::Log;

use super::checks::check_partition;
use super::error::TopicError;

/// Most records of one page.
pub const LIMIT_MAX: usize = 10_000;
/// Bytes of one page's records; a single record may be larger.
const READ_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Time between two looks at several partitions.
const WAIT_POLL: Duration = Duration::from_millis(50);

/// A page of records that are written already: the answer's size is known while it grows.
pub type Page = RecordPage<Box<RawValue>>;

/// The place at which each partition is read, in the order of the reads.
pub fn start_positions(
    log: &dyn Log,
    topic: &TopicName,
    partition: Option<i32>,
    start: &ReadStart,
) -> Result<Vec<PartitionPosition>, TopicError> {
    let info = log.topic(topic)?;
    if let Some(partition) = partition {
        check_partition(partition, &info)?;
        let (first, end_offset) = log.offsets(topic, partition)?;
        return Ok(vec![PartitionPosition {
            partition,
            next_offset: start.offset(partition, first, end_offset),
            end_offset,
        }]);
    }
    if let ReadStart::Each(offsets) = start {
        offsets.keys().try_for_each(|partition| check_partition(*partition, &info))?;
    }
    let position = |(partition, (first, end_offset))| PartitionPosition {
        partition,
        next_offset: start.offset(partition, first, end_offset),
        end_offset,
    };
    let mut positions: Vec<PartitionPosition> = (0..).zip(log.bounds(topic)?).map(position).collect();
    // A page may be full before the last partition: none is always the last.
    let first = random_u64() as usize % positions.len().max(1);
    positions.rotate_left(first);
    Ok(positions)
}

/// Waits until there is a record or the time is over; returns the offsets to read from.
pub fn wait_for_record(
    log: &dyn Log,
    topic: &TopicName,
    mut positions: Vec<PartitionPosition>,
    wait: Duration,
) -> Result<Vec<PartitionPosition>, TopicError> {
    let deadline = Instant::now() + wait;
    let left = || deadline.saturating_duration_since(Instant::now());
    // A log waits for one partition at a time.
    let turn = if positions.len() == 1 { wait } else { WAIT_POLL };
    while !left().is_zero() {
        let mut slept = false;
        for position in &mut positions {
            let time = if slept { Duration::ZERO } else { left().min(turn) };
            let read = log.read(topic, position.partition, position.next_offset, time, 1)?;
            if !read.records.is_empty() {
                return Ok(positions);
            }
            position.next_offset = read.next_offset;
            slept = true;
        }
    }
    Ok(positions)
}

/// Reads the records that are there, within the limits of a page.
pub fn read_page(
    log: &dyn Log,
    topic: &TopicName,
    mut positions: Vec<PartitionPosition>,
    limit: usize,
    form: Form,
) -> Result<Page, TopicError> {
    let mut filling = Filling { records: Vec::new(), bytes: 0, limit, form };
    for position in &mut positions {
        if filling.is_full() {
            break;
        }
        filling.read(log, topic, position)?;
    }
    positions.sort_by_key(|it| it.partition);
    let (next_offset, end_offset) = match positions[..] {
        [PartitionPosition { next_offset, end_offset, .. }] => (Some(next_offset), Some(end_offset)),
        _ => (None, None),
    };
    Ok(Page { records: filling.records, next_offset, end_offset, partitions: positions })
}

/// A page that is filled from one partition after the other.
struct Filling {
    records: Vec<Box<RawValue>>,
    bytes: usize,
    limit: usize,
    form: Form,
}

impl Filling {
    fn is_full(&self) -> bool {
        self.records.len() >= self.limit || self.bytes >= READ_BYTES_MAX
    }

    /// Reads a partition to its end, or until the page is full.
    fn read(&mut self, log: &dyn Log, topic: &TopicName, position: &mut PartitionPosition) -> Result<(), TopicError> {
        loop {
            let read = log.read(topic, position.partition, position.next_offset, Duration::ZERO, READ_BYTES_MAX)?;
            let nothing = read.records.is_empty();
            position.next_offset = read.next_offset;
            position.end_offset = read.end_offset;
            for record in read.records {
                let offset = record.offset;
                let written = serde_json::value::to_raw_value(&RecordOut::of(position.partition, record, self.form));
                let written = written.expect("a record is plain data");
                let bytes = self.bytes + written.get().len();
                let fits = self.records.len() < self.limit && (bytes <= READ_BYTES_MAX || self.records.is_empty());
                if !fits {
                    position.next_offset = offset;
                    self.bytes = self.bytes.max(bytes);
                    return Ok(());
                }
                self.bytes = bytes;
                self.records.push(written);
            }
            if nothing || self.is_full() {
                return Ok(());
            }
        }
    }
}

/// The first offset of a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadStart {
    Earliest,
    Latest,
    Offset(i64),
    /// This number of offsets before the end.
    Last(i64),
    /// At an offset of its own in each partition.
    Each(BTreeMap<i32, i64>),
}

impl fmt::Display for ReadStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => write!(f, "earliest"),
            Self::Latest => write!(f, "latest"),
            Self::Offset(offset) => write!(f, "{offset}"),
            Self::Last(last) => write!(f, "-{last}"),
            Self::Each(offsets) => {
                let pairs: Vec<String> = offsets.iter().map(|(partition, offset)| format!("{partition}:{offset}")).collect();
                write!(f, "{}", pairs.join(","))
            }
        }
    }
}

impl ReadStart {
    pub fn parse(raw: Option<&str>, each: Option<&str>) -> Result<Self, TopicError> {
        if let Some(each) = each {
            if raw.is_some() {
                return Err(TopicError::of_field(Code::Query, "offsets", "and offset exclude each other"));
            }
            return Self::parse_each(each);
        }
        let refused = |raw: &str| {
            TopicError::of_field(
                Code::Query,
                "offset",
                format!("{raw:?} is not earliest, latest, an offset, or -n for the last n"),
            )
        };
        match raw {
            None | Some("earliest") => Ok(Self::Earliest),
            Some("latest") => Ok(Self::Latest),
            Some(raw) => match raw.parse::<i64>() {
                Ok(offset) if offset >= 0 => Ok(Self::Offset(offset)),
                Ok(last) => Ok(Self::Last(last.saturating_neg())),
                Err(_) => Err(refused(raw)),
            },
        }
    }

    /// The start of the read after one that ended at these positions.
    pub fn next(positions: &[PartitionPosition]) -> Self {
        Self::Each(positions.iter().map(|it| (it.partition, it.next_offset)).collect())
    }

    fn parse_each(raw: &str) -> Result<Self, TopicError> {
        let one = |pair: &str| {
            let (partition, offset) = pair.split_once(':')?;
            Some((partition.parse::<i32>().ok()?, offset.parse::<i64>().ok().filter(|offset| *offset >= 0)?))
        };
        let pairs: Option<BTreeMap<i32, i64>> = raw.split(',').map(one).collect();
        let refused = || TopicError::of_field(Code::Query, "offsets", format!("{raw:?} has not the form 0:17,1:20"));
        pairs.map(Self::Each).ok_or_else(refused)
    }

    /// The first offset of a partition. An offset past its end is one that may come.
    fn offset(&self, partition: i32, first: i64, end: i64) -> i64 {
        match self {
            Self::Earliest => first,
            Self::Latest => end,
            Self::Offset(offset) => (*offset).max(first),
            Self::Last(last) => end.saturating_sub(*last).max(first),
            Self::Each(offsets) => offsets.get(&partition).map_or(first, |offset| (*offset).max(first)),
        }
    }
}
