//! The host's side of the columns, for tests: encodes a batch, decodes and checks an output.

use super::data::{Failure, Input, Outcome, SentMessage};
use crate::bindings::sandbar::transform::types::{Batch, Output};
use crate::span::{self, NULL};

/// A batch of these records, at offsets from 0.
pub(super) fn encode(records: &[Input]) -> Batch {
    let mut batch = Batch {
        input: 0,
        partition: 0,
        now: 0,
        first_offset: 0,
        offset_deltas: Vec::new(),
        timestamps: Vec::new(),
        data: Vec::new(),
        keys: Vec::new(),
        values: Vec::new(),
        header_counts: Vec::new(),
        headers: Vec::new(),
    };
    for (row, record) in records.iter().enumerate() {
        batch.offset_deltas.push(row as u32);
        batch.timestamps.push(record.timestamp_ms.unwrap_or(-1));
        batch.keys.extend(append(&mut batch.data, record.key.as_deref()));
        batch.values.extend(append(&mut batch.data, record.value.as_deref()));
        batch.header_counts.push(record.headers.len() as u32);
        for (name, value) in &record.headers {
            batch.headers.extend(append(&mut batch.data, Some(name.as_bytes())));
            batch.headers.extend(append(&mut batch.data, value.as_deref()));
        }
    }
    if batch.headers.is_empty() {
        batch.header_counts.clear();
    }
    batch
}

/// The batch that a tick's output is written against: one row without data.
pub(super) fn tick(now_ms: i64) -> Batch {
    encode(&[Input { timestamp_ms: Some(now_ms), ..Input::default() }])
}

fn append(data: &mut Vec<u8>, bytes: Option<&[u8]>) -> [u32; 2] {
    let Some(bytes) = bytes else { return [NULL, NULL] };
    let start = data.len() as u32;
    data.extend_from_slice(bytes);
    [start, data.len() as u32]
}

/// Reads `output`, and drops the outputs of failed records like the host. Panics if the output contradicts the
/// contract.
pub(super) fn decode(batch: &Batch, output: &Output, aliases: &[String]) -> Outcome {
    check(batch, output, aliases);
    let mut space = batch.data.clone();
    space.extend_from_slice(&output.data);

    let failures: Vec<Failure> = output
        .failures
        .iter()
        .map(|failure| Failure { source: failure.row as usize, message: failure.message.clone() })
        .collect();
    let mut messages = Vec::new();
    let mut header = 0;
    for row in 0..output.targets.len() {
        let mut bytes_written = 0;
        let mut owned = |column: &[u32], index: usize| {
            let bytes = span::read(column, index, &space)?;
            if column[2 * index] as usize >= batch.data.len() {
                bytes_written += bytes.len();
            }
            Some(bytes.to_vec())
        };
        let source = output.sources[row] as usize;
        let timestamp_ms = output.timestamps.get(row).copied().unwrap_or(batch.timestamps[source]);
        let key = owned(&output.keys, row);
        let value = owned(&output.values, row);
        let mut headers = Vec::new();
        for _ in 0..output.header_counts.get(row).copied().unwrap_or(0) {
            let name = owned(&output.headers, 2 * header).expect("a header's name is not null");
            let name = String::from_utf8(name).expect("a header's name is UTF-8");
            headers.push((name, owned(&output.headers, 2 * header + 1)));
            header += 1;
        }
        messages.push(SentMessage {
            output: aliases[output.targets[row] as usize].clone(),
            source,
            key,
            value,
            headers,
            timestamp_ms: Some(timestamp_ms).filter(|&timestamp_ms| timestamp_ms != -1),
            bytes_written,
        });
    }
    messages.retain(|sent| failures.iter().all(|failed| failed.source != sent.source));
    Outcome { messages, failures }
}

fn check(batch: &Batch, output: &Output, aliases: &[String]) {
    let rows = output.targets.len();
    let records = batch.offset_deltas.len() as u32;
    let space_bytes = batch.data.len() + output.data.len();
    let headers = output.header_counts.iter().sum::<u32>() as usize;
    assert!(output.targets.iter().all(|&target| (target as usize) < aliases.len()), "a target is out of range");
    assert_eq!(output.sources.len(), rows, "sources");
    assert!(output.sources.is_sorted(), "sources ascend");
    assert!(output.sources.iter().all(|&source| source < records), "a source is out of range");
    assert!(output.timestamps.is_empty() || output.timestamps.len() == rows, "timestamps");
    assert_eq!((output.keys.len(), output.values.len()), (2 * rows, 2 * rows), "keys and values");
    assert!(output.header_counts.is_empty() || output.header_counts.len() == rows, "header counts");
    assert_eq!(output.headers.len(), 4 * headers, "headers");
    assert!(output.failures.is_sorted_by(|a, b| a.row < b.row), "failures ascend, each once");
    assert!(output.failures.iter().all(|failure| failure.row < records), "a failure is out of range");
    for column in [&output.keys, &output.values, &output.headers] {
        assert!(span::check(column, space_bytes), "a span is out of bounds");
        let crosses = |span: &[u32]| (span[0] as usize) < batch.data.len() && (span[1] as usize) > batch.data.len();
        assert!(!column.chunks_exact(2).any(|span| span[0] != NULL && crosses(span)), "a span lies in both halves");
    }
}
