//! The dry run of a candidate: it runs over given records, or over the newest of its real inputs, in an instance that is
//! thrown away. Nothing is produced, committed or kept.

mod limits;
mod report;
mod request;
mod samples;

use std::collections::BTreeSet;
use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::value::RawValue;

use crate::api_types::{DryRunForm, DryRunReport, DryRunRequest, LiveRecords};
use crate::deployment::CheckedCandidate;
use crate::model::codes::Code;
use crate::model::names::{TopicName, TransformId};
use crate::model::units::Timestamp;
use crate::state::{KeyedState as Stores, StoreSettings};
use crate::task::dry_run::DryRun;
use crate::task::{RecordFailure, Settings};

use self::limits::out_of_time;
use self::report::Report;
use self::request::{Request, Source};
use super::access::Caller;
use super::body::{FORM_BYTES, Media, RequestBody};
use super::deploy::{counted, deployer};
use super::problem::Refusal;
use super::redaction::{Sight, origins_of};
use super::request::Id;
use super::shared::{ApiState, AppState, blocking};

/// Run a candidate over records without any effect: shows outputs, failures, time and memory.
#[utoipa::path(post, path = "/v1/teams/{team}/transforms/{name}/test", operation_id = "test", tag = "transforms",
    params(Id),
    request_body(content((DryRunRequest = "application/json"), (DryRunForm = "multipart/form-data"))),
    responses((status = 200, description = "Outputs and failures", body = DryRunReport),
        (status = 400, description = "A record is refused (E027)"),
        (status = 403, description = "A topic is another team's (E064), or the module lacks a signature of the team (E087, E088)"),
        (status = 404, description = "No such transform, and no spec was sent (E023)"),
        (status = 422, description = "The spec or module is refused, an instance may have more memory than the team (E059), or the dry run went over its limits (E042)")))]
pub async fn dry_run(
    State(shared): AppState,
    Id(id): Id,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let media = Media::of(&headers);
    let limits = shared.state.limits;
    let text_bytes_max = limits.spec_bytes_max + limits.records_bytes_max;
    let bytes_max = match media {
        Media::Json => text_bytes_max,
        Media::Multipart => limits.module_bytes_max + text_bytes_max + FORM_BYTES,
        other => return Err(other.refuse("application/json or multipart/form-data")),
    };
    let RequestBody { bytes, share } = shared.receive(&caller.principal, body, bytes_max).await?;
    let permit = shared.dry_runs.take_for(&id.team).await?;
    let state = shared.state.clone();
    blocking(move || {
        let _held = (permit, share);
        let request = Request::read(&media, &headers, bytes, &limits)?;
        Ok(Json(run(&state, &id, request, &caller)?).into_response())
    })
    .await
}

fn run(
    state: &ApiState,
    id: &TransformId,
    request: Request,
    caller: &Caller,
) -> Result<DryRunReport<Box<RawValue>, Box<RawValue>>, Refusal> {
    let deadline = Instant::now() + state.limits.trial_time;
    let Request { spec, module, signature, source } = request;
    let is_own = spec.is_some() || module.is_some();
    let checked = deployer(state, &id.team).check_candidate(id, spec, module.as_deref(), signature);
    let checked = counted(state, checked)?;
    let CheckedCandidate { spec, module, record_bytes_max } = checked;
    let is_live = matches!(source, Source::Live(_));
    let shows_inputs = matches!(source, Source::Live(LiveRecords { inputs: true, .. }));
    // What it reads there may come back in its output.
    let sight_with = |origins: &BTreeSet<TopicName>| -> Result<Option<Sight>, Refusal> {
        if !is_live && spec.tables.is_empty() {
            return Ok(None);
        }
        let sight = Sight::of_dry_run(state, caller, &spec, is_live, origins);
        sight.require_records(caller, &id.team)?;
        sight.require_candidate(caller, &id.team, is_own)?;
        Ok(Some(sight))
    };
    let sight = sight_with(&BTreeSet::new())?;
    let samples = match source {
        Source::Given(given) => samples::given(&spec, given)?,
        Source::Live(live) => samples::newest(state, &spec, live, deadline)?,
    };
    // The records themselves tell where dead letters came from: the rules of those topics hold as well.
    let origins = if is_live { origins_of(samples.iter().map(|sample| &sample.record)) } else { BTreeSet::new() };
    let sight = if origins.is_empty() { sight } else { sight_with(&origins)? };
    let masked = |refusal: Refusal| sight.as_ref().map_or(refusal.clone(), |sight| sight.dry_run_refusal(refusal));
    let guests = state.modules.prepare(&spec, &module).map_err(|error| masked(error.into()))?;
    let settings = Settings::of(&spec, 0, Vec::new(), record_bytes_max);
    let stores = spec.state.iter().map(|(name, store)| (StoreSettings::of(name, store, &spec.limits), Vec::new())).collect();
    let empty = Stores::in_memory(stores).map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
    let mut dry_run = DryRun::new(&*guests, settings, empty);
    let mut report = Report::new(state.limits.trial_bytes_max, shows_inputs, sight.as_ref());
    let now = Timestamp::now();
    for (input, sample) in samples.iter().enumerate() {
        if Instant::now() >= deadline {
            return Err(out_of_time(state, &format!("{input} of {} records were done", samples.len())));
        }
        let outcome = dry_run.run(sample.partition, &sample.record, now).map_err(|error| {
            let failed = RecordFailure::of_guest(&error);
            masked(Refusal::new(failed.code, failed.message))
        })?;
        report.add(&spec, sample, outcome)?;
    }
    Ok(report.finish(dry_run.memory_bytes()))
}
