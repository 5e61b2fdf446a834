//! The file of a backup: lines of JSON, one after the other, with a digest at the end.
//!
//! | line | begins with | content |
//! |---|---|---|
//! | first | `{"backup":` | the cluster, the time, the version of the format |
//! | others | `{"topic":` | a record of a control topic: partition, offset, timestamp, key, value, headers |
//! | | `{"group":` | a transform: its group's offsets, its inputs with their ids and numbers of partitions |
//! | last | `{"sha256":` | the SHA-256 of all bytes before, and the number of lines |
//!
//! Records have the form that `sandbar consume --form text` prints: text as text, other bytes in base64. Both sides hold one
//! line in memory.

use std::io::{BufRead, Read, Write};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::error::BackupError;
use super::header::{End, GroupLine, Header};
use super::topics::ControlTopic;
use crate::model::format::{self, Format, Unreadable};
use crate::model::json;
use crate::model::units::Timestamp;
use crate::ports::LogRecord;
use crate::record_json::{self, Form, RecordInput, RecordOut};

/// Longest line: six times the largest record that Sandbar sends, since a control character takes six.
const LINE_BYTES_MAX: u64 = 200 << 20;

const HEADER: &[u8] = br#"{"backup":"#;
const RECORD: &[u8] = br#"{"topic":"#;
const GROUP: &[u8] = br#"{"group":"#;
const END: &[u8] = br#"{"sha256":"#;

/// A line of a backup, but its header and its end.
#[derive(Debug, PartialEq)]
pub enum Line {
    Record { topic: ControlTopic, partition: i32, record: LogRecord },
    Group(GroupLine),
}

#[derive(Serialize)]
struct RecordLine {
    topic: ControlTopic,
    #[serde(flatten)]
    record: RecordOut,
}

/// A failed write of a backup.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A reader would refuse it.
    #[error("{place} takes a line of {bytes} bytes, and a backup has no line above {bytes_max}")]
    LongLine { place: String, bytes: u64, bytes_max: u64 },
}

/// Writes a backup.
pub struct BackupWriter<W: Write> {
    out: W,
    /// [`LINE_BYTES_MAX`], with the line break.
    line_bytes_max: u64,
    digest: Sha256,
    lines: u64,
}

/// Reads a backup, and checks it on the way: the last line was read only if all lines before it are as they were written.
pub struct BackupReader<R: BufRead> {
    input: R,
    digest: Sha256,
    lines: u64,
    buffer: Vec<u8>,
    end: Option<[u8; 32]>,
}

// === impl BackupWriter ===

impl<W: Write> BackupWriter<W> {
    pub fn new(out: W, header: &Header) -> std::io::Result<Self> {
        let mut writer = Self { out, line_bytes_max: LINE_BYTES_MAX, digest: Sha256::new(), lines: 0 };
        writer.line(&format::encode(Format::Backup, header))?;
        Ok(writer)
    }

    pub fn record(&mut self, topic: ControlTopic, partition: i32, record: LogRecord) -> Result<(), WriteError> {
        let offset = record.offset;
        let line = RecordLine { topic, record: RecordOut::of(partition, record, Form::Text) };
        let line = serde_json::to_vec(&line).expect("a record is plain data");
        self.check(&line, || format!("the record of {} in partition {partition} at offset {offset}", topic.name()))?;
        Ok(self.line(&line)?)
    }

    pub fn group(&mut self, group: &GroupLine) -> Result<(), WriteError> {
        let line = serde_json::to_vec(group).expect("offsets are plain data");
        self.check(&line, || format!("group {}", group.group))?;
        Ok(self.line(&line)?)
    }

    /// Writes the last line. Returns the file.
    pub fn finish(mut self) -> std::io::Result<W> {
        let end = End { sha256: hex::encode(self.digest.clone().finalize()), lines: self.lines };
        self.line(&serde_json::to_vec(&end).expect("plain data"))?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn check(&self, line: &[u8], place: impl FnOnce() -> String) -> Result<(), WriteError> {
        let bytes = line.len() as u64 + 1;
        if bytes <= self.line_bytes_max {
            return Ok(());
        }
        Err(WriteError::LongLine { place: place(), bytes, bytes_max: self.line_bytes_max })
    }

    fn line(&mut self, line: &[u8]) -> std::io::Result<()> {
        for part in [line, b"\n"] {
            self.digest.update(part);
            self.out.write_all(part)?;
        }
        self.lines += 1;
        Ok(())
    }
}

// === impl BackupReader ===

impl<R: BufRead> BackupReader<R> {
    /// Reads the header, which says whether this program reads the file.
    pub fn new(input: R) -> Result<(Self, Header), BackupError> {
        let mut reader = Self { input, digest: Sha256::new(), lines: 0, buffer: Vec::new(), end: None };
        reader.read_line()?;
        if !reader.buffer.starts_with(HEADER) {
            return Err(BackupError::damaged("it does not begin as a backup does"));
        }
        let header = format::decode(Format::Backup, &reader.buffer).map_err(|error| match error {
            Unreadable::Newer(newer) => BackupError::Unfit(format!("the file is {newer}")),
            Unreadable::Unknown(reason) | Unreadable::Foreign(reason) => BackupError::damaged(reason),
        })?;
        reader.note_line();
        Ok((reader, header))
    }

    /// The next line; none after the last one, which fitted.
    pub fn read(&mut self) -> Result<Option<Line>, BackupError> {
        if self.end.is_some() {
            return Ok(None);
        }
        self.read_line()?;
        let number = self.lines + 1;
        let refused = |reason: String| BackupError::damaged(format!("line {number}: {reason}"));
        let line = if self.buffer.starts_with(RECORD) {
            record(&self.buffer).map_err(refused)?
        } else if self.buffer.starts_with(GROUP) {
            Line::Group(json::read(&self.buffer).map_err(|error| refused(error.to_string()))?)
        } else if self.buffer.starts_with(END) {
            return self.check_end().map(|()| None);
        } else {
            return Err(refused("it is none of a backup's".into()));
        };
        self.note_line();
        Ok(Some(line))
    }

    /// The digest of a backup that was read to its end.
    pub fn digest(&self) -> Option<[u8; 32]> {
        self.end
    }

    fn check_end(&mut self) -> Result<(), BackupError> {
        let End { sha256, lines } = json::read(&self.buffer).map_err(|error| BackupError::damaged(error.to_string()))?;
        let digest: [u8; 32] = self.digest.clone().finalize().into();
        if lines != self.lines || sha256 != hex::encode(digest) {
            return Err(BackupError::damaged("its digest does not fit its content"));
        }
        let more = self.input.fill_buf().map_err(|error| BackupError::damaged(error.to_string()))?;
        if !more.is_empty() {
            return Err(BackupError::damaged("there is more behind its last line"));
        }
        self.end = Some(digest);
        Ok(())
    }

    fn read_line(&mut self) -> Result<(), BackupError> {
        self.buffer.clear();
        let read = self.input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut self.buffer);
        read.map_err(|error| BackupError::damaged(format!("it cannot be read: {error}")))?;
        if self.buffer.pop() == Some(b'\n') {
            return Ok(());
        }
        Err(BackupError::damaged(format!("it ends within line {}", self.lines + 1)))
    }

    fn note_line(&mut self) {
        self.digest.update(&self.buffer);
        self.digest.update(b"\n");
        self.lines += 1;
    }
}

fn record(line: &[u8]) -> Result<Line, String> {
    let read = record_json::one(0, line, Timestamp(0)).map_err(|error| error.message)?;
    let RecordInput { record, topic, partition } = read;
    let name = topic.unwrap_or_default();
    let topic = ControlTopic::find(&name).ok_or_else(|| format!("{name:?} is no topic of a backup"))?;
    let partition = partition.ok_or("it names no partition")?;
    Ok(Line::Record { topic, partition, record })
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
