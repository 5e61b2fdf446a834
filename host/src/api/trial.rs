//! Try before deploying: a candidate runs over given records, or the newest of its real inputs, in an instance that is
//! thrown away. Nothing is produced, committed or kept.

mod samples;

use std::time::Instant;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::deployment::CheckedCandidate;
use crate::model::codes::Code;
use crate::model::names::TransformId;
use crate::model::spec::{RawSpec, Spec};
use crate::model::text::cut;
use crate::model::units::Timestamp;
use crate::record_json::{self, Form, Incoming, RecordContent};
use crate::state::{KeyedState as Stores, StoreSettings};
use crate::task::trial::{Trial, Tried};
use crate::task::{Failed, Settings};

use self::samples::{Sample, bytes_of, out_of_time};
use super::body::{self, Media, Received};
use super::deploy::deployer;
use super::problem::{ProblemDetails, Refusal, json_bytes};
use super::request::Id;
use super::transforms::FORM_BYTES;
use super::{ApiState, AppState, blocking};

/// Longest message of a failure: a guest's own words.
const MESSAGE_BYTES_MAX: usize = 2048;

/// A trial that is sent as JSON: either `records` or `live`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrialRequest {
    /// By default that of the current revision.
    #[serde(default)]
    #[schema(value_type = Option<RawSpec>)]
    spec: Option<Box<RawValue>>,
    /// Each with `key`, `value`, `headers`, `timestamp`, `partition`, `offset`, all optional; `topic` names the input, by
    /// default the first.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    records: Option<Box<RawValue>>,
    #[serde(default)]
    live: Option<Live>,
}

/// Records of the real inputs.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Live {
    /// The newest, over all partitions: 1 to `trial_records_max`.
    records: usize,
}

/// The form of a trial with its module.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the form for OpenAPI; the form itself is read part by part")]
pub struct TrialForm {
    /// JSON or YAML; by default that of the current revision.
    spec: Option<String>,
    /// The component's bytes; by default the module that the spec names, or the current one.
    #[schema(value_type = Option<String>, format = Binary)]
    module: Option<Vec<u8>>,
    /// One JSON object a line.
    records: Option<String>,
    /// Instead of `records`, as JSON.
    live: Option<Live>,
}

/// What a candidate made of the records.
#[derive(Serialize, ToSchema)]
pub struct TrialView {
    /// As they are written: the answer's size is known while it grows.
    #[schema(value_type = Vec<OutputView>)]
    outputs: Vec<Box<RawValue>>,
    failures: Vec<FailureView>,
    /// One entry for each record, in order: `input` of outputs and failures counts them, from 0.
    records: Vec<TriedView>,
    /// Memory of the largest instance.
    memory_bytes: u64,
    /// Sum of the records' times.
    micros_total: u64,
}

#[derive(Serialize, ToSchema)]
pub struct OutputView {
    input: usize,
    /// Alias of the output.
    target: String,
    topic: String,
    /// In ms since the Unix epoch.
    timestamp: i64,
    #[serde(flatten)]
    content: RecordContent,
}

#[derive(Serialize, ToSchema)]
pub struct FailureView {
    input: usize,
    #[schema(value_type = String, example = "E102")]
    code: Code,
    message: String,
}

#[derive(Serialize, ToSchema)]
pub struct TriedView {
    topic: String,
    partition: i32,
    offset: i64,
    /// Time of the guest's call. Each record crosses alone; in batches it takes less.
    micros: u64,
    /// Memory of the instance after it: it only grows.
    memory_bytes: u64,
}

/// Try a candidate: outputs, failures, time and memory, and no effect.
#[utoipa::path(post, path = "/v1/teams/{team}/transforms/{name}/test", tag = "transforms",
    params(("team" = String, Path), ("name" = String, Path)),
    request_body(content((TrialRequest = "application/json"), (TrialForm = "multipart/form-data"))),
    responses((status = 200, description = "What came out; failed records too", body = TrialView),
        (status = 400, description = "A record is refused (E027)", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 404, description = "No such transform, and no spec was sent (E023)", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 422, description = "The spec or module is refused, or the trial went over its limits (E042)", body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn test(State(shared): AppState, Id(id): Id, headers: HeaderMap, body: Body) -> Result<Response, Refusal> {
    let media = Media::of(&headers);
    let limits = shared.state.limits;
    let text_bytes_max = limits.spec_bytes_max + limits.records_bytes_max;
    let bytes_max = match media {
        Media::Json => text_bytes_max,
        Media::Multipart => limits.module_bytes_max + text_bytes_max + FORM_BYTES,
        other => return Err(other.refuse("application/json or multipart/form-data")),
    };
    let Received { bytes, share } = shared.receive(body, bytes_max).await?;
    let turn = shared.trials.take().await?;
    let state = shared.state.clone();
    blocking(move || {
        let _held = (turn, share);
        let wanted = wanted_of(&media, &headers, bytes, limits.trial_records_max)?;
        Ok(Json(run(&state, &id, wanted)?).into_response())
    })
    .await
}

/// What a request brings.
struct Wanted {
    spec: Option<RawSpec>,
    module: Option<Bytes>,
    source: Source,
}

enum Source {
    Given(Vec<Incoming>),
    Live(Live),
}

fn wanted_of(media: &Media, headers: &HeaderMap, bytes: Bytes, records_max: usize) -> Result<Wanted, Refusal> {
    if *media == Media::Json {
        let TrialRequest { spec, records, live } = body::json_of(&bytes, Code::Malformed)?;
        let spec = spec.map(|spec| body::spec_of(&Media::Json, spec.get().as_bytes())).transpose()?;
        let given = records.map(|records| parse(records.get().as_bytes(), false, records_max)).transpose()?;
        return Ok(Wanted { spec, module: None, source: Source::of(given, live)? });
    }
    let mut parts = body::parts(headers, bytes, &["spec", "module", "records", "live"])?;
    let spec = parts.remove("spec").map(|spec| body::spec_of(&spec.media, &spec.bytes)).transpose()?;
    let given = parts.remove("records").map(|records| parse(&records.bytes, true, records_max)).transpose()?;
    let live = parts.remove("live").map(|live| body::json_of(&live.bytes, Code::Malformed)).transpose()?;
    let module = parts.remove("module").map(|module| module.bytes);
    Ok(Wanted { spec, module, source: Source::of(given, live)? })
}

fn parse(bytes: &[u8], lines: bool, records_max: usize) -> Result<Vec<Incoming>, Refusal> {
    record_json::parse(bytes, lines, records_max, Timestamp::now()).map_err(|refused| match refused.is_beyond {
        true => Refusal::new(Code::BodyTooLarge, format!("{} (trial_records_max)", refused.message)),
        false => Refusal::of_field(Code::Record, format!("records[{}]", refused.index), refused.message),
    })
}

impl Source {
    fn of(given: Option<Vec<Incoming>>, live: Option<Live>) -> Result<Self, Refusal> {
        match (given, live) {
            (Some(given), None) => Ok(Self::Given(given)),
            (None, Some(live)) => Ok(Self::Live(live)),
            _ => Err(Refusal::new(Code::Malformed, "send either `records` or `live`")),
        }
    }
}

fn run(state: &ApiState, id: &TransformId, wanted: Wanted) -> Result<TrialView, Refusal> {
    let deadline = Instant::now() + state.limits.trial_time;
    let candidate = deployer(state).check_candidate(id, wanted.spec, wanted.module.as_deref())?;
    let CheckedCandidate { spec, module, record_bytes_max } = candidate;
    let samples = match wanted.source {
        Source::Given(given) => samples::given(&spec, given)?,
        Source::Live(live) => samples::newest(state, &spec, live, deadline)?,
    };
    let guests = state.modules.prepare(&spec, &module)?;
    let settings = Settings::of(&spec, 0, Vec::new(), record_bytes_max);
    let stores = spec.state.iter().map(|(name, store)| (StoreSettings::of(name, store, &spec.limits), Vec::new())).collect();
    let empty = Stores::in_memory(stores).map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
    let mut trial = Trial::new(&*guests, settings, empty);
    let mut answer = Answer::new(state.limits.trial_bytes_max);
    let now = Timestamp::now();
    for (input, sample) in samples.iter().enumerate() {
        if Instant::now() >= deadline {
            return Err(out_of_time(state, &format!("{input} of {} records were done", samples.len())));
        }
        let tried = trial.run(sample.partition, &sample.record, now).map_err(|error| {
            let failed = Failed::of_guest(&error);
            Refusal::new(failed.code, failed.message)
        })?;
        answer.add(&spec, sample, tried)?;
    }
    answer.view.memory_bytes = trial.memory_bytes() as u64;
    Ok(answer.view)
}

/// The answer as it grows.
struct Answer {
    view: TrialView,
    /// Bytes of the outputs and failures so far, as they are written.
    bytes: usize,
    bytes_max: usize,
}

impl Answer {
    fn new(bytes_max: usize) -> Self {
        let (outputs, failures, records) = (Vec::new(), Vec::new(), Vec::new());
        let view = TrialView { outputs, failures, records, memory_bytes: 0, micros_total: 0 };
        Self { view, bytes: 0, bytes_max }
    }

    fn add(&mut self, spec: &Spec, sample: &Sample, tried: Tried) -> Result<(), Refusal> {
        let input = self.view.records.len();
        let micros = u64::try_from(tried.time.as_micros()).unwrap_or(u64::MAX);
        self.view.micros_total = self.view.micros_total.saturating_add(micros);
        self.view.records.push(TriedView {
            topic: spec.inputs[sample.partition.input as usize].to_string(),
            partition: sample.partition.partition,
            offset: sample.record.offset,
            micros,
            memory_bytes: tried.memory_bytes as u64,
        });
        match tried.result {
            Err(failed) => {
                let message = cut(&failed.message, MESSAGE_BYTES_MAX).to_owned();
                self.count(input, json_bytes(&message))?;
                self.view.failures.push(FailureView { input, code: failed.code, message });
            }
            Ok(puts) => {
                for put in puts {
                    // What would be too large as it is, is not written first.
                    self.room_for(input, bytes_of(&put.record))?;
                    let (alias, topic) = spec.outputs.get_index(put.target).expect("a checked output names one of them");
                    let output = OutputView {
                        input,
                        target: alias.to_string(),
                        topic: topic.to_string(),
                        timestamp: put.record.timestamp,
                        content: RecordContent::of(put.record, Form::Text),
                    };
                    let written = serde_json::value::to_raw_value(&output).expect("an output is plain data");
                    self.count(input, written.get().len())?;
                    self.view.outputs.push(written);
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, input: usize, bytes: usize) -> Result<(), Refusal> {
        self.room_for(input, bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    fn room_for(&self, input: usize, bytes: usize) -> Result<(), Refusal> {
        if bytes <= self.bytes_max - self.bytes {
            return Ok(());
        }
        let detail = format!("with record {input} the outputs and failures have more than {} bytes", self.bytes_max);
        Err(Refusal::new(Code::TrialLimit, format!("{detail} (trial_bytes_max)")))
    }
}
