//! Calls that do not get their CPU time in time: no record is to blame, and fewer records in a call get it.

use std::sync::Arc;

use sandbar::model::batch::{Batch, Output};
use sandbar::model::codes::Code;
use sandbar::ports::{Call, Guest, GuestError, GuestFactory, LogRecord};
use sandbar::state::KeyedState;
use sandbar::telemetry::observer::Observers;
use serde_json::json;

use super::bench::{Bench, Setup};

const RECORDS: usize = 100;
/// A call with more rows than this stalls.
const ROWS_MAX: usize = 3;

/// Forwards keys and values.
struct Busy;

impl Guest for Busy {
    fn process(&mut self, batch: &Batch, call: Call, _: &mut KeyedState) -> Result<Output, GuestError> {
        assert!(call.ends_at.is_some(), "a call of a worker has an end on the clock");
        if batch.len() > ROWS_MAX {
            return Err(GuestError::Stalled("the host is busy".into()));
        }
        Ok(Output {
            targets: vec![0; batch.len()],
            sources: (0..batch.len() as u32).collect(),
            keys: batch.keys.clone(),
            values: batch.values.clone(),
            ..Output::default()
        })
    }

    fn tick(&mut self, _: Call, _: &mut KeyedState) -> Result<Output, GuestError> {
        Ok(Output::default())
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

struct Busies;

impl GuestFactory for Busies {
    fn instantiate(&self) -> Result<Box<dyn Guest>, GuestError> {
        Ok(Box::new(Busy))
    }
}

#[test]
fn a_stalled_call_is_made_again_with_fewer_records_and_fails_none() {
    let mut bench = Bench::new(Setup {
        spec: &json!({}),
        options: |options| options,
        compacted: [false, false],
        record_bytes_max: 1 << 20,
        guests: Arc::new(Busies),
        observers: Observers::default(),
    });
    let record = |number: usize| LogRecord {
        offset: 0,
        timestamp: 1,
        key: None,
        value: Some(number.to_string().into_bytes()),
        headers: Vec::new(),
    };
    bench.append(&(0..RECORDS).map(record).collect::<Vec<_>>());
    bench.run_until(|bench| bench.manager.status().error.is_some());
    assert_eq!(bench.manager.status().error.map(|error| error.code), Some(Code::CallStalled));
    bench.run_until(|bench| bench.committed() == Some(RECORDS as i64));
    let values: Vec<String> = bench
        .read(&bench.output)
        .into_iter()
        .map(|record| String::from_utf8(record.value.expect("a value")).expect("text"))
        .collect();
    assert_eq!(values, (0..RECORDS).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(bench.end(&bench.dead), 0);
}
