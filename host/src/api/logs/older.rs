//! The search for the offset from which older lines are shown. It holds only the offsets of lines: the lines themselves are
//! read again, page by page, as the client takes them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::cluster::{LogTopic, Position};
use crate::model::codes::Code;
use crate::ports::LogRecord;

use super::super::problem::Refusal;
use super::stream::StreamLine;

/// Longest wait of one read.
const READ_WAIT: Duration = Duration::from_millis(250);

/// A search up to the end that the topic had when the search began.
pub struct Search<'a> {
    pub feed: &'a LogTopic,
    pub end: i64,
    /// Makes a line of a record, if the record is one.
    pub line: &'a dyn Fn(LogRecord) -> Option<StreamLine>,
    /// The time at which the search is given up.
    pub deadline: Instant,
}

// === impl Search ===

impl Search<'_> {
    /// Finds the newest lines after `from`, within a number of lines and of bytes.
    pub fn newest(&self, from: Position, lines_max: usize, bytes_max: usize) -> Result<Position, Refusal> {
        let mut kept = VecDeque::new();
        let mut bytes = 0;
        let position = self.each_page(from, |page| {
            for line in page {
                bytes += line.json.len();
                kept.push_back((line.offset, line.json.len()));
                while kept.len() > lines_max || bytes > bytes_max {
                    bytes -= kept.pop_front().map_or(0, |(_, bytes)| bytes);
                }
            }
            true
        })?;
        Ok(match kept.front() {
            Some((offset, _)) => position.at(*offset),
            None => position,
        })
    }

    /// Finds the first line after `from`.
    pub fn first(&self, from: Position) -> Result<Position, Refusal> {
        let mut found = None;
        let position = self.each_page(from, |page| {
            found = page.first().map(|line| line.offset);
            found.is_none()
        })?;
        Ok(found.map_or(position.clone(), |offset| position.at(offset)))
    }

    /// Reads up to the end, or until `see` returns false; returns the last position.
    fn each_page(&self, mut position: Position, mut see: impl FnMut(&[StreamLine]) -> bool) -> Result<Position, Refusal> {
        while position.offset() < self.end {
            if Instant::now() > self.deadline {
                let message = "there is more to look through than there was time for (logs_time)";
                return Err(Refusal::new(Code::LogsTime, message));
            }
            let before = position.offset();
            let records = self.feed.read(&mut position, READ_WAIT)?.records;
            let page: Vec<StreamLine> = records.into_iter().filter_map(self.line).collect();
            // A topic that was deleted and created again is not looked through twice.
            if !see(&page) || position.offset() < before {
                break;
            }
        }
        Ok(position)
    }
}
