//! The dry run of a candidate: it runs over given records, or over the newest of its real inputs, in an instance that is
//! thrown away. Nothing is produced, committed or kept.

mod limits;
mod report;
mod request;
mod samples;

use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::value::RawValue;

use crate::api_types::{DryRunForm, DryRunReport, DryRunRequest};
use crate::deployment::CheckedCandidate;
use crate::model::codes::Code;
use crate::model::names::TransformId;
use crate::model::units::Timestamp;
use crate::state::{KeyedState as Stores, StoreSettings};
use crate::task::dry_run::DryRun;
use crate::task::{RecordFailure, Settings};

use self::limits::out_of_time;
use self::report::Report;
use self::request::{Request, Source};
use super::body::{FORM_BYTES, Media, RequestBody};
use super::deploy::deployer;
use super::problem::Refusal;
use super::request::Id;
use super::shared::{ApiState, AppState, blocking};

/// Run a candidate over records without any effect: shows outputs, failures, time and memory.
#[utoipa::path(post, path = "/v1/teams/{team}/transforms/{name}/test", operation_id = "test", tag = "transforms",
    params(Id),
    request_body(content((DryRunRequest = "application/json"), (DryRunForm = "multipart/form-data"))),
    responses((status = 200, description = "Outputs and failures", body = DryRunReport),
        (status = 400, description = "A record is refused (E027)"),
        (status = 404, description = "No such transform, and no spec was sent (E023)"),
        (status = 422, description = "The spec or module is refused, or the dry run went over its limits (E042)")))]
pub async fn dry_run(State(shared): AppState, Id(id): Id, headers: HeaderMap, body: Body) -> Result<Response, Refusal> {
    let media = Media::of(&headers);
    let limits = shared.state.limits;
    let text_bytes_max = limits.spec_bytes_max + limits.records_bytes_max;
    let bytes_max = match media {
        Media::Json => text_bytes_max,
        Media::Multipart => limits.module_bytes_max + text_bytes_max + FORM_BYTES,
        other => return Err(other.refuse("application/json or multipart/form-data")),
    };
    let RequestBody { bytes, share } = shared.receive(body, bytes_max).await?;
    let permit = shared.dry_runs.take_for(&id.team).await?;
    let state = shared.state.clone();
    blocking(move || {
        let _held = (permit, share);
        let request = Request::read(&media, &headers, bytes, limits.trial_records_max)?;
        Ok(Json(run(&state, &id, request)?).into_response())
    })
    .await
}

fn run(state: &ApiState, id: &TransformId, request: Request) -> Result<DryRunReport<Box<RawValue>>, Refusal> {
    let deadline = Instant::now() + state.limits.trial_time;
    let Request { spec, module, source } = request;
    let checked = deployer(state).check_candidate(id, spec, module.as_deref())?;
    let CheckedCandidate { spec, module, record_bytes_max } = checked;
    let samples = match source {
        Source::Given(given) => samples::given(&spec, given)?,
        Source::Live(live) => samples::newest(state, &spec, live, deadline)?,
    };
    let guests = state.modules.prepare(&spec, &module)?;
    let settings = Settings::of(&spec, 0, Vec::new(), record_bytes_max);
    let stores = spec.state.iter().map(|(name, store)| (StoreSettings::of(name, store, &spec.limits), Vec::new())).collect();
    let empty = Stores::in_memory(stores).map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
    let mut dry_run = DryRun::new(&*guests, settings, empty);
    let mut report = Report::new(state.limits.trial_bytes_max);
    let now = Timestamp::now();
    for (input, sample) in samples.iter().enumerate() {
        if Instant::now() >= deadline {
            return Err(out_of_time(state, &format!("{input} of {} records were done", samples.len())));
        }
        let outcome = dry_run.run(sample.partition, &sample.record, now).map_err(|error| {
            let failed = RecordFailure::of_guest(&error);
            Refusal::new(failed.code, failed.message)
        })?;
        report.add(&spec, sample, outcome)?;
    }
    Ok(report.finish(dry_run.memory_bytes()))
}
