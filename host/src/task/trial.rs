//! Records through a guest, outside of any log: what a candidate makes of them before it is deployed.
//!
//! Each record crosses alone, so that its time and its failure are its own. Nothing is retried, sent or committed; an
//! instance that failed is replaced, as in a task.

use std::time::{Duration, Instant};

use super::{Failed, Settings, failure};
use crate::model::batch::{Batch, CheckedOutput, RecordRef};
use crate::model::units::Timestamp;
use crate::ports::{Call, Guest, GuestError, GuestFactory, LogRecord, TopicPartition};
use crate::state::KeyedState;

/// A candidate under trial.
pub struct Trial<'a> {
    guests: &'a dyn GuestFactory,
    settings: Settings,
    guest: Option<Box<dyn Guest>>,
    state: KeyedState,
    memory_bytes: usize,
}

/// What one record came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Tried {
    pub result: Result<Vec<Put>, Failed>,
    /// Time of the guest's call.
    pub time: Duration,
    /// Memory of the instance after it.
    pub memory_bytes: usize,
}

/// A record that the guest put out.
#[derive(Debug, PartialEq, Eq)]
pub struct Put {
    /// Index into the spec's outputs.
    pub target: usize,
    /// Its offset is that of the record that it was made from.
    pub record: LogRecord,
}

impl<'a> Trial<'a> {
    /// `state`: what its stores hold at the beginning. What a record writes there stays for the next.
    pub fn new(guests: &'a dyn GuestFactory, settings: Settings, state: KeyedState) -> Self {
        Self { guests, settings, guest: None, state, memory_bytes: 0 }
    }

    /// Runs one record. An error is nobody's output: there is no instance to run it.
    pub fn run(&mut self, partition: TopicPartition, record: &LogRecord, now: Timestamp) -> Result<Tried, GuestError> {
        let headers: Vec<_> = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let mut batch = Batch::default();
        batch.push(&RecordRef { offset: record.offset, timestamp: record.timestamp, key, value, headers: &headers });
        let mut guest = self.guest.take().map_or_else(|| self.guests.instantiate(), Ok)?;
        let started = Instant::now();
        let result = guest.process(&batch, Call { partition, now }, &mut self.state);
        let time = started.elapsed();
        let memory_bytes = guest.memory_bytes();
        self.memory_bytes = self.memory_bytes.max(memory_bytes);
        let result = match &result {
            Ok(output) => output.check(&batch, &self.settings.output).map_err(|error| Failed::of_output(&error)),
            Err(error) => Err(Failed::of_guest(error)),
        };
        // Only an instance whose output is right meets the next record.
        if result.is_ok() {
            self.guest = Some(guest);
        }
        let result = result.and_then(|checked| self.puts(&checked, record.offset));
        self.state.end_call(result.is_ok());
        Ok(Tried { result, time, memory_bytes })
    }

    fn puts(&self, checked: &CheckedOutput<'_>, offset: i64) -> Result<Vec<Put>, Failed> {
        if let Some((_, failed)) = failure::of_rows(checked, &self.settings).pop() {
            return Err(failed);
        }
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let puts = checked.records().map(|put| Put {
            target: put.target as usize,
            record: LogRecord {
                offset,
                timestamp: put.timestamp,
                key: owned(put.key),
                value: owned(put.value),
                headers: put.headers.iter().map(|(name, value)| ((*name).to_owned(), owned(*value))).collect(),
            },
        });
        Ok(puts.collect())
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

    /// Puts each record out to both outputs; does what its value says instead, where it says something.
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
            let (keys, values) = (batch.keys.repeat(2), batch.values.repeat(2));
            let mut output = Output { targets: vec![0, 1], sources: vec![0, 0], keys, values, ..Output::default() };
            match batch.value(0) {
                Some(b"fail") => output.failures.push(Failure { row: 0, message: "as asked".into() }),
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
        let mut trial = Trial::new(&guests, Settings::of(&spec, 0, Vec::new(), vec![10; 3]), KeyedState::default());
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
            let tried = trial.run(TopicPartition { input: 0, partition: 0 }, &record, Timestamp(9)).expect("an instance");
            let found = tried.result.as_ref().map(|puts| puts.iter().map(|put| put.target).collect::<Vec<_>>());
            assert_eq!(found.map_err(|failed| failed.code), expected.map(|targets| targets.to_vec()), "{value}");
            for put in tried.result.iter().flatten() {
                assert_eq!(put.record, LogRecord { headers: vec![], ..record.clone() });
            }
            assert_eq!(guests.made.load(Ordering::Relaxed), made, "{value}");
        }
        assert_eq!(trial.memory_bytes(), 1000);
    }
}
