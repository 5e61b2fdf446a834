//! Outputs of a guest: near the contract, and sometimes outside of the contract.

use std::collections::BTreeMap;

use sandbar::model::batch::{Batch, CheckedOutput, Failure, NULL, Output, OutputLimits, RecordRef};
use sandbar_fuzz::Entropy;

/// Room for a record with a trace, and not for two.
const LIMITS: OutputLimits = OutputLimits { records_per_input: 4, bytes_per_input: 200, targets: 2 };
const TRACEPARENT: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// An output that passed the check can be read without a panic, and stays within its limits; also where its records name a
/// span of the host.
#[test]
fn outputs() {
    sandbar_fuzz::run("outputs", |entropy| {
        let input = batch(entropy);
        let output = output(entropy, &input);
        if let Ok(checked) = output.check(&input, &LIMITS) {
            check_records(&input, &output, &checked);
            let trace_spans = input.trace_spans(|row| row.to_string());
            check_records(&input, &output, &checked.with_trace_spans(&trace_spans));
        }
    });
}

fn check_records(input: &Batch, output: &Output, checked: &CheckedOutput<'_>) {
    let mut records_of = BTreeMap::<u32, u32>::new();
    let mut bytes_of = BTreeMap::<u32, usize>::new();
    let bound = checked.record_bytes_bound();
    for record in checked.records() {
        assert!(record.target < LIMITS.targets && (record.source as usize) < input.len());
        assert!(!output.failures.iter().any(|failure| failure.row == record.source), "a failed row has an output");
        let of_headers = record.headers.iter().map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len));
        let bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len) + of_headers.sum::<usize>();
        assert!(bound.is_none_or(|bound| bytes <= bound));
        *records_of.entry(record.source).or_default() += 1;
        *bytes_of.entry(record.source).or_default() += bytes;
        // A header without a single byte is not free either.
        assert!(record.headers.len() <= LIMITS.bytes_per_input, "{} headers", record.headers.len());
    }
    assert!(records_of.values().all(|&records| records <= LIMITS.records_per_input), "{records_of:?}");
    assert!(bytes_of.values().all(|&bytes| bytes <= LIMITS.bytes_per_input), "{bytes_of:?}");
    assert!(checked.filtered() <= input.len());
    assert_eq!(checked.failures().len(), output.failures.len());
}

fn batch(entropy: &mut Entropy<'_>) -> Batch {
    let mut batch = Batch::default();
    for offset in 0..entropy.below(5) {
        let names = [entropy.text(4), entropy.text(4)];
        let mut headers: Vec<_> = names.iter().take(entropy.below(3)).map(|name| (name.as_str(), Some(&b"h"[..]))).collect();
        if entropy.once_in(3) {
            headers.push(("traceparent", Some(TRACEPARENT)));
        }
        let key = (!entropy.once_in(4)).then(|| entropy.bytes(8));
        let value = (!entropy.once_in(4)).then(|| entropy.bytes(40));
        batch.push(&RecordRef { offset: offset as i64, timestamp: 1, key, value, headers: &headers });
    }
    batch
}

/// Columns of the right lengths with spans that mostly fit; then, perhaps, one of them is spoiled.
fn output(entropy: &mut Entropy<'_>, input: &Batch) -> Output {
    let mut output = Output { data: entropy.bytes(64).to_vec(), ..Output::default() };
    let rows = entropy.below(9);
    let mut source = 0;
    let has_headers = entropy.once_in(2);
    for _ in 0..rows {
        source += entropy.below(2) as u32;
        output.targets.push(number(entropy, LIMITS.targets));
        output.sources.push(if entropy.once_in(40) { entropy.u32() } else { source });
        output.keys.extend(span(entropy, input, &output.data));
        output.values.extend(span(entropy, input, &output.data));
        if has_headers {
            let count = entropy.below(3);
            output.header_counts.push(count as u32);
            for _ in 0..2 * count {
                output.headers.extend(span(entropy, input, &output.data));
            }
        }
    }
    if entropy.once_in(3) {
        output.timestamps = (0..rows).map(|_| entropy.i64()).collect();
    }
    for row in 0..input.len() as u32 {
        if entropy.once_in(6) {
            output
                .failures
                .push(Failure { row: if entropy.once_in(20) { entropy.u32() } else { row }, message: entropy.text(8) });
        }
    }
    spoil(entropy, &mut output);
    output
}

fn number(entropy: &mut Entropy<'_>, end: u32) -> u32 {
    if entropy.once_in(40) { entropy.u32() } else { entropy.below(end as usize) as u32 }
}

fn span(entropy: &mut Entropy<'_>, input: &Batch, own: &[u8]) -> [u32; 2] {
    let first = input.data.len();
    match entropy.below(20) {
        0 => [NULL, NULL],
        1 => [NULL, entropy.u32()],
        2 => [entropy.u32(), entropy.u32()],
        // Across the border of the two spaces.
        3 => [first.saturating_sub(1) as u32, (first + own.len().min(1)) as u32],
        n => {
            let (from, space) = if n % 2 == 0 { (0, first) } else { (first, own.len()) };
            let start = entropy.below(space + 1);
            let length = entropy.below(space - start + 1).min(12);
            [(from + start) as u32, (from + start + length) as u32]
        }
    }
}

fn spoil(entropy: &mut Entropy<'_>, output: &mut Output) {
    let number = entropy.u32();
    let columns = [
        &mut output.targets,
        &mut output.sources,
        &mut output.keys,
        &mut output.values,
        &mut output.header_counts,
        &mut output.headers,
    ];
    let mut columns = columns;
    let column = &mut columns[entropy.below(6)];
    match entropy.below(12) {
        1 => drop(column.pop()),
        2 => column.push(number),
        3 => column.clear(),
        4 => {
            let at = entropy.below(column.len() + 1);
            if let Some(entry) = column.get_mut(at) {
                *entry = number;
            }
        }
        _ => {}
    }
}
