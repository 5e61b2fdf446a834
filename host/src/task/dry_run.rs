//! The dry run of a candidate: it processes records outside of any log, before it is deployed.
//!
//! Each record crosses alone, so that its time and its failure are its own. Nothing is retried, sent or committed; an
//! instance that failed is replaced, as in a task.

use std::time::{Duration, Instant};

use super::{RecordFailure, Settings, failure};
use crate::model::batch::{Batch, CheckedOutput, RecordRef};
use crate::model::units::Timestamp;
use crate::ports::{Call, Guest, GuestError, GuestFactory, LogRecord, TopicPartition};
use crate::state::KeyedState;

/// A candidate with its instance and its stores.
pub struct DryRun<'a> {
    guests: &'a dyn GuestFactory,
    settings: Settings,
    guest: Option<Box<dyn Guest>>,
    state: KeyedState,
    memory_bytes: usize,
}

/// The outcome of one record.
#[derive(Debug, PartialEq, Eq)]
pub struct RecordOutcome {
    pub result: Result<Vec<OutputRecord>, RecordFailure>,
    /// Time of the guest's call.
    pub time: Duration,
    /// Memory of the instance after the record.
    pub memory_bytes: usize,
}

/// A record that the guest returned.
#[derive(Debug, PartialEq, Eq)]
pub struct OutputRecord {
    /// Index into the spec's outputs.
    pub target: usize,
    /// The record. Its offset is that of the input record.
    pub record: LogRecord,
}

impl<'a> DryRun<'a> {
    /// Begins a dry run. `state` has the content of the stores at the beginning; entries that a record writes stay for the
    /// next record.
    pub fn new(guests: &'a dyn GuestFactory, settings: Settings, state: KeyedState) -> Self {
        Self { guests, settings, guest: None, state, memory_bytes: 0 }
    }

    /// Runs one record. An error is not the fault of the record: there is no instance to run it.
    pub fn run(
        &mut self,
        partition: TopicPartition,
        record: &LogRecord,
        now: Timestamp,
    ) -> Result<RecordOutcome, GuestError> {
        let headers: Vec<_> = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        let key = record.key.as_deref();
        let value = record.value.as_deref();
        let mut batch = Batch::default();
        batch.push(&RecordRef { offset: record.offset, timestamp: record.timestamp, key, value, headers: &headers });
        let mut guest = self.guest.take().map_or_else(|| self.guests.instantiate(), Ok)?;
        let started = Instant::now();
        let result = match guest.process(&batch, Call { partition, now, ends_at: None }, &mut self.state) {
            Err(error @ GuestError::Stalled(_)) => return Err(error),
            result => result,
        };
        let time = started.elapsed();
        let memory_bytes = guest.memory_bytes();
        self.memory_bytes = self.memory_bytes.max(memory_bytes);
        let result = match &result {
            Ok(output) => output.check(&batch, &self.settings.output).map_err(|error| RecordFailure::of_output(&error)),
            Err(error) => Err(RecordFailure::of_guest(error)),
        };
        // Only an instance whose output is valid gets the next record.
        if result.is_ok() {
            self.guest = Some(guest);
        }
        let result = result.and_then(|checked| self.outputs(&checked, record.offset));
        self.state.end_call(result.is_ok());
        Ok(RecordOutcome { result, time, memory_bytes })
    }

    fn outputs(&self, checked: &CheckedOutput<'_>, offset: i64) -> Result<Vec<OutputRecord>, RecordFailure> {
        if let Some((_, failed)) = failure::of_rows(checked, &self.settings).pop() {
            return Err(failed);
        }
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let outputs = checked.records().map(|put| OutputRecord {
            target: put.target as usize,
            record: LogRecord {
                offset,
                timestamp: put.timestamp,
                key: owned(put.key),
                value: owned(put.value),
                headers: put.headers.iter().map(|(name, value)| ((*name).to_owned(), owned(*value))).collect(),
            },
        });
        Ok(outputs.collect())
    }

    /// Memory of the largest instance so far.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::model::batch::{Failure, Output};
    use crate::model::codes::Code;
    use crate::model::names::Digest;
    use crate::model::spec::Spec;
    use crate::ports::TrapKind;

    /// Returns each record to both outputs. A value that names a fault makes the guest have that fault instead.
    struct Echo;

    #[derive(Default)]
    struct Echoes {
        made: AtomicUsize,
    }

    impl Guest for Echo {
        fn tick(&mut self, _: Call, _: &mut KeyedState) -> Result<Output, GuestError> {
            Ok(Output::default())
        }

        fn process(&mut self, batch: &Batch, _: Call, _: &mut KeyedState) -> Result<Output, GuestError> {
            let keys = batch.keys.repeat(2);
            let values = batch.values.repeat(2);
            let mut output = Output { targets: vec![0, 1], sources: vec![0, 0], keys, values, ..Output::default() };
            match batch.value(0) {
                Some(b"fail") => output.failures.push(Failure { row: 0, message: "by request".into() }),
                Some(b"trap") => {
                    return Err(GuestError::Trapped { kind: TrapKind::Memory, message: "too much".into() });
                }
                Some(b"lie") => output.targets[1] = 7,
                _ => {}
            }
            Ok(output)
        }

        fn memory_bytes(&self) -> usize {
            1000
        }
    }

    impl GuestFactory for Echoes {
        fn instantiate(&self) -> Result<Box<dyn Guest>, GuestError> {
            self.made.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(Echo))
        }
    }

    #[test]
    fn each_record_has_its_own_outcome_and_a_failed_instance_is_replaced() {
        let raw = serde_json::json!({"inputs": ["a"], "outputs": {"x": "b", "y": "c"}});
        let raw = serde_json::from_value(raw).expect("a spec");
        let spec = Spec::parse(&raw, &"t/n".parse().expect("valid"), Some(Digest::of(b""))).expect("valid");
        let guests = Echoes::default();
        let mut dry_run = DryRun::new(&guests, Settings::of(&spec, 0, Vec::new(), vec![10; 3]), KeyedState::default());
        for (value, expected, made) in [
            ("fine", Ok([0, 1]), 1),
            ("fail", Err(Code::GuestFailed), 1),
            ("larger than 10 bytes", Err(Code::RecordTooLarge), 1),
            ("trap", Err(Code::Memory), 1),
            ("fine", Ok([0, 1]), 2),
            ("lie", Err(Code::Contract), 2),
            ("fine", Ok([0, 1]), 3),
        ] {
            let headers = vec![("h".to_owned(), None)];
            let record = LogRecord { offset: 5, timestamp: 7, key: None, value: Some(value.into()), headers };
            let outcome =
                dry_run.run(TopicPartition { input: 0, partition: 0 }, &record, Timestamp(9)).expect("an instance");
            let found =
                outcome.result.as_ref().map(|outputs| outputs.iter().map(|output| output.target).collect::<Vec<_>>());
            assert_eq!(found.map_err(|failed| failed.code), expected.map(|targets| targets.to_vec()), "{value}");
            for output in outcome.result.iter().flatten() {
                assert_eq!(output.record, LogRecord { headers: vec![], ..record.clone() });
            }
            assert_eq!(guests.made.load(Ordering::Relaxed), made, "{value}");
        }
        assert_eq!(dry_run.memory_bytes(), 1000);
    }
}
