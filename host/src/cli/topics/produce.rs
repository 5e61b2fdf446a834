//! Writes the records of a file, or of standard input, to a topic.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::model::units::Timestamp;
use crate::record_json::{self, RecordInput};

use super::super::error::{Error, Result};
use super::super::text::{self, Output, count};
use super::Topics;

/// Most records and bytes that are sent together.
const RECORDS_MAX: usize = 1000;
const BYTES_MAX: usize = 1 << 20;
/// Longest line that is read at all: a record is not larger.
const LINE_BYTES_MAX: u64 = 64 << 20;

#[derive(Debug, Args)]
pub struct ProduceArgs {
    /// The topic that the records are written to
    topic: TopicName,
    /// A file of records, one JSON object a line; - is standard input
    #[arg(default_value = "-")]
    file: PathBuf,
}

/// The rules for records, as far as they are known before the first one is sent.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Longest line that can be sent, with its line break.
    pub line_bytes_max: usize,
    /// True if the topic is known to refuse records without a key.
    pub needs_keys: bool,
    /// True if a request is written as a whole or not at all, where its records all name one partition or none does.
    pub is_all_or_nothing: bool,
}

/// Lines that are sent together. Each ends with a line break and has no other one.
struct Lines {
    bytes: Vec<u8>,
    lines: Vec<Line>,
}

/// The line of a record.
#[derive(Debug, Clone, Copy)]
struct Line {
    /// Its number in the input, from 1.
    number: u64,
    /// The partition that its record names.
    partition: Option<i32>,
}

pub fn produce(args: ProduceArgs, topics: &dyn Topics, output: Output) -> Result<()> {
    let ProduceArgs { topic, file } = args;
    let input: Box<dyn Read> = match file.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(&file).map_err(|error| Error::file(&file, error))?),
    };
    let mut input = BufReader::with_capacity(BYTES_MAX, input);
    let rules = topics.rules(&topic)?;
    let sender = Sender { topic: &topic, topics, rules, file: &file };
    let mut written = 0;
    let mut number = 0;
    loop {
        let read = next(&mut input, &mut number, &rules).map_err(|error| so_far(error.of(&file), written, &topic))?;
        let Some(lines) = read else { break };
        sender.send(lines, &mut written).map_err(|error| so_far(error, written, &topic))?;
    }
    match output {
        Output::Text => text::emit(&format!("produced {} to {topic}\n", count(written as u64, "record"))),
        Output::Json => text::emit_json(&format!(r#"{{"records":{written}}}"#)),
    }
}

/// An error says how many records were written before it.
fn so_far(error: Error, written: usize, topic: &TopicName) -> Error {
    match written {
        0 => error,
        written => error.in_place(format_args!("after {} to {topic}", count(written as u64, "record"))),
    }
}

/// Sends the lines of a file to a topic.
struct Sender<'a> {
    topic: &'a TopicName,
    topics: &'a dyn Topics,
    rules: Rules,
    file: &'a Path,
}

// === impl Sender ===

impl Sender<'_> {
    /// Sends lines, and counts the records that are written. Where a refusal left nothing written, the halves are sent, until
    /// the refused line is alone.
    fn send(&self, lines: Lines, written: &mut usize) -> Result<()> {
        match self.topics.produce(self.topic, &lines.bytes) {
            Ok(records) => {
                *written += records;
                Ok(())
            }
            Err(error) if lines.lines.len() > 1 && self.left_nothing(&lines, &error) => {
                lines.halves().into_iter().try_for_each(|half| self.send(half, written))
            }
            Err(error) => Err(lines.placed(error, self.file)),
        }
    }

    /// Returns true if none of the lines was written, because the topic refused one of them.
    fn left_nothing(&self, lines: &Lines, error: &Error) -> bool {
        error.has_code(Code::RecordRefused) && self.rules.is_all_or_nothing && lines.are_of_one_write()
    }
}

// === impl Lines ===

impl Lines {
    /// Returns true if the records all name one partition, or none does.
    fn are_of_one_write(&self) -> bool {
        self.lines.windows(2).all(|pair| pair[0].partition == pair[1].partition)
    }

    fn halves(self) -> [Self; 2] {
        let Self { mut bytes, mut lines } = self;
        let half = lines.len() / 2;
        let first_bytes: usize = bytes.split_inclusive(|byte| *byte == b'\n').take(half).map(<[u8]>::len).sum();
        let second = Self { bytes: bytes.split_off(first_bytes), lines: lines.split_off(half) };
        [Self { bytes, lines }, second]
    }

    /// Names the line of an error that names a record of the request by its index, as `[2].partition: is 7` does; of one
    /// that names no record, the lines that were sent together.
    fn placed(&self, error: Error, file: &Path) -> Error {
        let is_of_record = error.has_code(Code::RecordRefused) || error.has_code(Code::BodyTooLarge);
        error.reworded(|message| {
            let file = file.display();
            if let Some((line, rest)) = self.line_of(message) {
                return Some(format!("{file}: line {line}: {rest}"));
            }
            let place = match self.lines[..] {
                [] => return None,
                [Line { number, .. }] => format!("line {number}"),
                [Line { number: first, .. }, .., Line { number: last, .. }] => format!("one of the lines {first} to {last}"),
            };
            is_of_record.then(|| format!("{file}: {place}: {message}"))
        })
    }

    /// Takes the index of a record from the beginning of a message. Returns its line, and the rest.
    fn line_of<'a>(&self, message: &'a str) -> Option<(u64, &'a str)> {
        let (index, rest) = message.strip_prefix('[')?.split_once(']')?;
        let line = self.lines.get(index.parse::<usize>().ok()?)?;
        Some((line.number, rest.trim_start_matches(['.', ':', ' '])))
    }
}

/// The failure of a line, by its number from 1.
struct LineError {
    number: u64,
    message: String,
    fault: Fault,
}

/// The reason why a line is not sent.
enum Fault {
    /// The input cannot be read.
    Input,
    /// The line holds no record.
    Record,
    /// The line is too long to be sent.
    Size,
    /// The record has no key, and the topic wants one.
    NoKey,
}

impl LineError {
    fn of(self, file: &Path) -> Error {
        let Self { number, message, fault } = self;
        let error = Error::file(file, format_args!("line {number}: {message}"));
        let remedy = match fault {
            Fault::Input => return error,
            Fault::Record => (Code::Record, r#"one a line, such as {"key": "1", "value": {"id": 1}}"#),
            Fault::Size => (Code::Record, "`sandbar topics describe` shows the largest record that the topic takes"),
            Fault::NoKey => (Code::RecordRefused, "give the record a key: the topic keeps the last value of each"),
        };
        error.with_code(remedy.0.as_str()).with_hint(remedy.1)
    }
}

/// The next lines: as many as are there already, within the limits. Each holds a record. None is there at the end.
fn next(input: &mut BufReader<impl Read>, number: &mut u64, rules: &Rules) -> Result<Option<Lines>, LineError> {
    let mut lines = Lines { bytes: Vec::new(), lines: Vec::new() };
    loop {
        let begin = lines.bytes.len();
        let failed = |number: u64, message: String, fault: Fault| LineError { number, message, fault };
        let read = input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut lines.bytes);
        let read = read.map_err(|error| failed(*number + 1, error.to_string(), Fault::Input))?;
        if read == 0 {
            return Ok(Some(lines).filter(|lines| !lines.lines.is_empty()));
        }
        *number += 1;
        let is_whole = lines.bytes.ends_with(b"\n") || (read as u64) < LINE_BYTES_MAX;
        if !lines.bytes.ends_with(b"\n") {
            lines.bytes.push(b'\n');
        }
        let line = &lines.bytes[begin..];
        let bytes_max = rules.line_bytes_max;
        if !is_whole || line.len() > bytes_max {
            let size = if is_whole { line.len().to_string() } else { format!("more than {LINE_BYTES_MAX}") };
            let message = format!("has {size} bytes, and a line may have {bytes_max}");
            return Err(failed(*number, message, Fault::Size));
        }
        if line.trim_ascii().is_empty() {
            lines.bytes.truncate(begin);
        } else {
            let read = record_json::one(0, line, Timestamp::now());
            let RecordInput { record, partition, .. } =
                read.map_err(|error| failed(*number, error.message, Fault::Record))?;
            if rules.needs_keys && record.key.is_none() {
                let message = "has no key, and the topic is compacted: its records need a key";
                return Err(failed(*number, message.to_owned(), Fault::NoKey));
            }
            lines.lines.push(Line { number: *number, partition });
        }
        // Whoever writes line by line sees each one written.
        let is_more_there = input.buffer().contains(&b'\n');
        let is_full = lines.lines.len() >= RECORDS_MAX || lines.bytes.len() >= BYTES_MAX;
        if !lines.lines.is_empty() && (is_full || !is_more_there) {
            return Ok(Some(lines));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { line_bytes_max: 2 << 20, needs_keys: false, is_all_or_nothing: true };

    #[track_caller]
    fn check(text: &str, expected: &[usize], error: Option<(u64, &str)>) {
        check_with(&RULES, text, expected, error);
    }

    #[track_caller]
    fn check_with(rules: &Rules, text: &str, expected: &[usize], error: Option<(u64, &str)>) {
        let shown = &text[..text.len().min(200)];
        let mut input = BufReader::with_capacity(BYTES_MAX, text.as_bytes());
        let mut number = 0;
        let mut found = Vec::new();
        let failed = loop {
            match next(&mut input, &mut number, rules) {
                Ok(Some(lines)) => found.push(lines.lines.len()),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        assert_eq!(found, expected, "{shown}");
        let failed = failed.map(|error| (error.number, error.message));
        assert_eq!(failed.is_some(), error.is_some(), "{shown}: {failed:?}");
        if let (Some((number, message)), Some((at, part))) = (failed, error) {
            assert!(number == at && message.contains(part), "{shown}: {number}: {message}");
        }
    }

    #[test]
    fn lines_are_taken_together_as_far_as_they_are_there() {
        let record = r#"{"key":"1","value":null}"#;
        check("", &[], None);
        check("\n \n", &[], None);
        check(record, &[1], None);
        check(&format!("{record}\n\n{record}"), &[1, 1], None);
        check(&format!("{record}\n").repeat(3), &[3], None);
        check(&format!("{record}\n").repeat(2 * RECORDS_MAX), &[RECORDS_MAX, RECORDS_MAX], None);
        check(&format!("{record}\n[1]\n{record}\n"), &[], Some((2, "")));
        check("\n{\"kye\":\"1\"}\n", &[], Some((2, "kye")));
    }

    #[test]
    fn a_line_that_the_topic_would_refuse_is_named() {
        let large = format!("\n{{\"value\":\"{}\"}}\n", "x".repeat(2 << 20));
        check(&large, &[], Some((2, "has 2097165 bytes, and a line may have 2097152")));
        let needs_keys = Rules { needs_keys: true, ..RULES };
        let lines = "{\"key\":\"1\"}\n{\"value\":1}\n";
        check(lines, &[2], None);
        check_with(&needs_keys, lines, &[], Some((2, "has no key")));
    }

    fn lines_of(records: &[(u64, Option<i32>)]) -> Lines {
        let bytes = records.iter().flat_map(|(number, _)| format!("{number}\n").into_bytes()).collect();
        let lines = records.iter().map(|&(number, partition)| Line { number, partition }).collect();
        Lines { bytes, lines }
    }

    #[test]
    fn halves_have_all_lines_in_order() {
        let [first, second] = lines_of(&[(4, None), (70, None), (800, None)]).halves();
        assert_eq!((first.bytes.as_slice(), first.lines[0].number, first.lines.len()), (&b"4\n"[..], 4, 1));
        assert_eq!((second.bytes.as_slice(), second.lines[0].number, second.lines.len()), (&b"70\n800\n"[..], 70, 2));
        assert!(second.are_of_one_write());
        assert!(lines_of(&[(1, Some(3)), (2, Some(3))]).are_of_one_write());
        assert!(!lines_of(&[(1, Some(3)), (2, None)]).are_of_one_write());
    }

    #[test]
    fn an_error_of_the_host_names_the_line() {
        let two = lines_of(&[(4, None), (7, None)]);
        let one = lines_of(&[(9, None)]);
        for (lines, code, message, shown) in [
            (&two, Code::Partition, "[1].partition: is 9", "error[E030]: f: line 7: partition: is 9"),
            (&two, Code::Record, "[0]: has 9 bytes", "error[E027]: f: line 4: has 9 bytes"),
            (&two, Code::Record, "[2]: of no line", "error[E027]: [2]: of no line"),
            (&two, Code::NoTopic, "there is no topic t", "error[E025]: there is no topic t"),
            (&two, Code::RecordRefused, "no key", "error[E109]: f: one of the lines 4 to 7: no key"),
            (&one, Code::RecordRefused, "no key", "error[E109]: f: line 9: no key"),
            (&one, Code::BodyTooLarge, "the body", "error[E004]: f: line 9: the body"),
        ] {
            let error = Error::usage(message).with_code(code.as_str());
            assert_eq!(lines.placed(error, Path::new("f")).to_string(), shown);
        }
    }
}
