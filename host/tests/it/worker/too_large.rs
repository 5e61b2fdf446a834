//! A worker on a log that takes little in one transaction: the same work is done in smaller transactions.

use std::sync::Arc;

use sandbar::model::batch::{Batch, Output};
use sandbar::ports::{Call, Guest, GuestError, GuestFactory, LogRecord};
use sandbar::state::KeyedState;
use sandbar::telemetry::observer::Observers;
use serde_json::{Value, json};

use super::bench::{Bench, Setup};

/// Largest transaction of the log, in bytes.
const TRANSACTION_BYTES: usize = 40_000;
const OUTPUT_BYTES: usize = 1000;

/// Puts out the number of records that each record's value says; for a tick, the number that it was made with.
struct Multiplier {
    for_a_tick: usize,
}

impl Guest for Multiplier {
    fn process(&mut self, batch: &Batch, _: Call, _: &mut KeyedState) -> Result<Output, GuestError> {
        let rows = (0..batch.len()).flat_map(|row| {
            let value = std::str::from_utf8(batch.value(row).expect("a value")).expect("text");
            std::iter::repeat_n(row as u32, value.parse::<usize>().expect("a number"))
        });
        Ok(outputs(rows.collect(), batch.data.len()))
    }

    fn tick(&mut self, _: Call, _: &mut KeyedState) -> Result<Output, GuestError> {
        Ok(outputs(vec![0; self.for_a_tick], 0))
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

/// One record for each source. Spans begin in the input's data and go on in the output's.
fn outputs(sources: Vec<u32>, input_bytes: usize) -> Output {
    let span = [input_bytes as u32, (input_bytes + OUTPUT_BYTES) as u32];
    Output {
        data: vec![b'x'; OUTPUT_BYTES],
        targets: vec![0; sources.len()],
        keys: vec![u32::MAX; 2 * sources.len()],
        values: span.repeat(sources.len()),
        sources,
        ..Output::default()
    }
}

struct Multipliers {
    for_a_tick: usize,
}

impl GuestFactory for Multipliers {
    fn instantiate(&self) -> Result<Box<dyn Guest>, GuestError> {
        Ok(Box::new(Multiplier { for_a_tick: self.for_a_tick }))
    }
}

/// The numbers of records that come of input records with these values: outputs, and dead letters with their code.
#[track_caller]
fn check(spec: Value, for_a_tick: usize, values: &[usize], outputs: usize, dead_letters: usize) {
    let mut bench = Bench::new(Setup {
        spec: &spec,
        options: |options| sandbar::embedded::Options { transaction_bytes_max: TRANSACTION_BYTES, ..options },
        compacted: [false, false],
        record_bytes_max: 1 << 20,
        guests: Arc::new(Multipliers { for_a_tick }),
        observers: Observers::default(),
    });
    let record = |value: &usize| LogRecord {
        offset: 0,
        timestamp: 1,
        key: None,
        value: Some(value.to_string().into_bytes()),
        headers: Vec::new(),
    };
    bench.append(&values.iter().map(record).collect::<Vec<_>>());
    bench.run_until(|bench| bench.committed() == Some(values.len() as i64) && bench.end(&bench.output) >= outputs);
    assert_eq!((bench.end(&bench.output), bench.end(&bench.dead)), (outputs, dead_letters));
    for letter in bench.read(&bench.dead) {
        let code = letter.headers.iter().find(|(name, _)| name == "sandbar.error.code").expect("a code");
        assert_eq!(code.1.as_deref(), Some(b"E105".as_slice()));
    }
}

#[test]
fn a_large_batch_is_done_in_smaller_ones() {
    check(json!({}), 0, &[1; 10], 10, 0);
    check(json!({}), 0, &[4; 300], 1200, 0);
    // Enough records that whole batches are tried again between.
    check(json!({"limits": {"batch_records": 60}}), 0, &[1; 2000], 2000, 0);
}

#[test]
fn a_record_that_is_too_much_alone_goes_the_way_of_the_policy() {
    let mut values = [4; 100];
    values[50] = 64;
    check(json!({}), 0, &values, 99 * 4, 1);
    check(json!({"on_error": {"retry": {"attempts": 2, "backoff": "1ms"}}}), 0, &values, 99 * 4, 1);
    check(json!({"on_error": {"then": "skip"}}), 0, &values, 99 * 4, 0);
    check(json!({}), 0, &[64, 64, 1, 64], 1, 3);
}

#[test]
fn a_tick_that_is_too_much_fails_and_the_records_go_on() {
    check(json!({"tick": "100ms"}), 64, &[1; 50], 50, 0);
}
