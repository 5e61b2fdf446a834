//! The report of a dry run, while it grows within its limit of bytes.

use serde_json::value::RawValue;

use crate::api_types::{DryRunReport, FailureView, Form, Line, OutputView, RecordContent, RecordOut, RecordRun};
use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::model::redaction::MASK;
use crate::model::spec::Spec;
use crate::model::text::cut;
use crate::task::dry_run::RecordOutcome;

use super::super::newest::{InputRecord, bytes_of};
use super::super::problem::{Refusal, json_bytes};
use super::super::redaction::Sight;

/// Longest message of a failure: a guest's own words.
const MESSAGE_BYTES_MAX: usize = 2048;

/// The results so far.
pub struct Report<'a> {
    outputs: Vec<Box<RawValue>>,
    failures: Vec<FailureView>,
    records: Vec<RecordRun>,
    /// The input records; none where the report does not show them.
    inputs: Option<Vec<Box<RawValue>>>,
    micros_total: u64,
    /// Bytes of the outputs and failures so far, as JSON.
    bytes: usize,
    bytes_max: usize,
    /// The caller's sight on the records that the run reads; none where it reads given records alone.
    sight: Option<&'a Sight>,
    is_redacted: bool,
}

// === impl Report ===

impl<'a> Report<'a> {
    /// Begins a report, with the input records if `shows_inputs`.
    pub fn new(bytes_max: usize, shows_inputs: bool, sight: Option<&'a Sight>) -> Self {
        Self {
            inputs: shows_inputs.then(Vec::new),
            outputs: Vec::new(),
            failures: Vec::new(),
            records: Vec::new(),
            micros_total: 0,
            bytes: 0,
            bytes_max,
            sight,
            is_redacted: false,
        }
    }

    /// Adds the outcome of the next record. Refuses if the report gets too large.
    pub fn add(&mut self, spec: &Spec, sample: &InputRecord, outcome: RecordOutcome) -> Result<(), Refusal> {
        let input = self.records.len();
        let micros = u64::try_from(outcome.time.as_micros()).unwrap_or(u64::MAX);
        self.micros_total = self.micros_total.saturating_add(micros);
        self.records.push(RecordRun {
            topic: Line::of(&spec.inputs[sample.partition.input as usize]),
            partition: sample.partition.partition,
            offset: sample.record.offset,
            micros,
            memory_bytes: outcome.memory_bytes as u64,
        });
        self.add_input(&spec.inputs[sample.partition.input as usize], input, sample)?;
        match outcome.result {
            Err(failed) => {
                let shown = self.sight.map_or(Some(&*failed.message), |sight| sight.dry_run_failure(&failed.message));
                self.is_redacted |= shown.is_none();
                let message = cut(shown.unwrap_or(MASK), MESSAGE_BYTES_MAX);
                self.count(input, json_bytes(message))?;
                self.failures.push(FailureView { input, code: Line::of(failed.code), message: message.into() });
            }
            Ok(outputs) => {
                for output in outputs {
                    // An output that is too large by itself is not written first.
                    self.check_room(input, bytes_of(&output.record))?;
                    let (alias, topic) = spec.outputs.get_index(output.target).expect("a checked output names one of them");
                    let timestamp = output.record.timestamp;
                    let mut content = RecordContent::of(output.record, Form::Text);
                    if let Some(sight) = self.sight {
                        self.is_redacted |= sight.dry_run_output(topic.as_str(), &mut content);
                    }
                    let view = OutputView { input, target: Line::of(alias), topic: Line::of(topic), timestamp, content };
                    let written = serde_json::value::to_raw_value(&view).expect("an output is plain data");
                    self.count(input, written.get().len())?;
                    self.outputs.push(written);
                }
            }
        }
        Ok(())
    }

    fn add_input(&mut self, topic: &TopicName, input: usize, sample: &InputRecord) -> Result<(), Refusal> {
        if self.inputs.is_none() {
            return Ok(());
        }
        self.check_room(input, bytes_of(&sample.record))?;
        let mut shown = RecordOut::of(sample.partition.partition, sample.record.clone(), Form::Text);
        if let Some(sight) = self.sight {
            self.is_redacted |= sight.record(topic.as_str(), &mut shown.content, "test");
        }
        let written = serde_json::value::to_raw_value(&shown).expect("a record is plain data");
        self.count(input, written.get().len())?;
        self.inputs.get_or_insert_default().push(written);
        Ok(())
    }

    /// Ends the report. `memory_bytes` is the memory of the largest instance.
    pub fn finish(self, memory_bytes: usize) -> DryRunReport<Box<RawValue>, Box<RawValue>> {
        let Self { outputs, failures, records, inputs, micros_total, is_redacted: redacted, .. } = self;
        DryRunReport {
            outputs,
            failures,
            records,
            inputs: inputs.unwrap_or_default(),
            memory_bytes: memory_bytes as u64,
            micros_total,
            redacted,
        }
    }

    fn count(&mut self, input: usize, bytes: usize) -> Result<(), Refusal> {
        self.check_room(input, bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    fn check_room(&self, input: usize, bytes: usize) -> Result<(), Refusal> {
        if bytes <= self.bytes_max - self.bytes {
            return Ok(());
        }
        let detail = format!("with record {input} the outputs and failures have more than {} bytes", self.bytes_max);
        Err(Refusal::new(Code::TrialLimit, format!("{detail} (trial_bytes_max)")))
    }
}
