//! Writes the records of a file, or of standard input, to a topic.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::model::units::Timestamp;
use crate::record_json;

use super::super::error::{Error, Result};
use super::super::text::{self, Output, count};
use super::Topics;

/// Most records and bytes that are sent together.
const RECORDS_MAX: usize = 1000;
const BYTES_MAX: usize = 1 << 20;
/// Longest line: a record is not larger.
const LINE_BYTES_MAX: u64 = 64 << 20;

#[derive(Debug, Args)]
pub struct ProduceArgs {
    /// The topic that the records are written to
    topic: TopicName,
    /// A file of records, one JSON object a line; - is standard input
    #[arg(default_value = "-")]
    file: PathBuf,
}

/// Lines that are sent together.
struct Lines {
    bytes: Vec<u8>,
    /// The line of each record in the input, counted from 1.
    numbers: Vec<u64>,
}

pub fn produce(args: ProduceArgs, topics: &dyn Topics, output: Output) -> Result<()> {
    let ProduceArgs { topic, file } = args;
    let input: Box<dyn Read> = match file.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(&file).map_err(|error| Error::file(&file, error))?),
    };
    let mut input = BufReader::with_capacity(BYTES_MAX, input);
    let mut written = 0;
    let mut number = 0;
    while let Some(lines) = next(&mut input, &mut number).map_err(|error| so_far(error.of(&file), written, &topic))? {
        let sent = topics.produce(&topic, &lines.bytes);
        written += sent.map_err(|error| so_far(lines.placed(error, &file), written, &topic))?;
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

// === impl Lines ===

impl Lines {
    /// Names the line of an error that names a record of the request by its index, as `[2].partition: is 7` does; of one
    /// that names no record, the lines that were sent together.
    fn placed(&self, error: Error, file: &Path) -> Error {
        let is_of_all = error.has_code(Code::RecordRefused);
        error.reworded(|message| {
            let file = file.display();
            if let Some((line, rest)) = self.line_of(message) {
                return Some(format!("{file}: line {line}: {rest}"));
            }
            let first = self.numbers.first()?;
            let last = self.numbers.last()?;
            is_of_all.then(|| format!("{file}: one of the lines {first} to {last}: {message}"))
        })
    }

    /// Takes the index of a record from the beginning of a message. Returns its line, and the rest.
    fn line_of<'a>(&self, message: &'a str) -> Option<(u64, &'a str)> {
        let (index, rest) = message.strip_prefix('[')?.split_once(']')?;
        let line = self.numbers.get(index.parse::<usize>().ok()?)?;
        Some((*line, rest.trim_start_matches(['.', ':', ' '])))
    }
}

/// The failure of a line, by its number from 1.
struct LineError {
    number: u64,
    message: String,
    is_record: bool,
}

impl LineError {
    fn of(self, file: &Path) -> Error {
        let Self { number, message, is_record } = self;
        let error = Error::file(file, format_args!("line {number}: {message}"));
        if is_record {
            error.with_code(Code::Record.as_str()).with_hint(r#"one a line, such as {"key": "1", "value": {"id": 1}}"#)
        } else {
            error
        }
    }
}

/// The next lines: as many as are there already, within the limits. Each holds a record. None is there at the end.
fn next(input: &mut BufReader<impl Read>, number: &mut u64) -> Result<Option<Lines>, LineError> {
    let mut lines = Lines { bytes: Vec::new(), numbers: Vec::new() };
    loop {
        let begin = lines.bytes.len();
        let failed = |number: u64, message: String, is_record: bool| LineError { number, message, is_record };
        let read = input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut lines.bytes);
        let read = read.map_err(|error| failed(*number + 1, error.to_string(), false))?;
        if read == 0 {
            return Ok(Some(lines).filter(|lines| !lines.numbers.is_empty()));
        }
        *number += 1;
        let line = &lines.bytes[begin..];
        if read as u64 == LINE_BYTES_MAX && !line.ends_with(b"\n") {
            return Err(failed(*number, format!("has more than {LINE_BYTES_MAX} bytes"), true));
        }
        if line.trim_ascii().is_empty() {
            lines.bytes.truncate(begin);
        } else {
            record_json::one(0, line, Timestamp::now()).map_err(|error| failed(*number, error.message, true))?;
            if !lines.bytes.ends_with(b"\n") {
                lines.bytes.push(b'\n');
            }
            lines.numbers.push(*number);
        }
        // Whoever writes line by line sees each one written.
        let is_more_there = input.buffer().contains(&b'\n');
        let is_full = lines.numbers.len() >= RECORDS_MAX || lines.bytes.len() >= BYTES_MAX;
        if !lines.numbers.is_empty() && (is_full || !is_more_there) {
            return Ok(Some(lines));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[usize], error: Option<(u64, &str)>) {
        let mut input = BufReader::with_capacity(BYTES_MAX, text.as_bytes());
        let mut number = 0;
        let mut found = Vec::new();
        let failed = loop {
            match next(&mut input, &mut number) {
                Ok(Some(lines)) => found.push(lines.numbers.len()),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        assert_eq!(found, expected, "{text}");
        let failed = failed.map(|error| (error.number, error.message));
        assert_eq!(failed.is_some(), error.is_some(), "{text}: {failed:?}");
        if let (Some((number, message)), Some((at, part))) = (failed, error) {
            assert!(number == at && message.contains(part), "{text}: {number}: {message}");
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
    fn an_error_of_the_host_names_the_line() {
        let lines = Lines { bytes: Vec::new(), numbers: vec![4, 7] };
        for (code, message, shown) in [
            (Code::Partition, "[1].partition: is 9", "error[E030]: f: line 7: partition: is 9"),
            (Code::Record, "[0]: has 9 bytes", "error[E027]: f: line 4: has 9 bytes"),
            (Code::Record, "[2]: of no line", "error[E027]: [2]: of no line"),
            (Code::NoTopic, "there is no topic t", "error[E025]: there is no topic t"),
        ] {
            let error = Error::usage(message).with_code(code.as_str());
            assert_eq!(lines.placed(error, Path::new("f")).to_string(), shown);
        }
    }
}
