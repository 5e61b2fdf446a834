//! The flow of records: every transform that a caller may see, with its topics and its work of the last seconds (`/v1/flow`),
//! and the last minutes of one (`/history`).
//!
//! One task makes the view for all readers, once a second while there are any: each transform is written as JSON once. A
//! reader is sent those of its own teams, and after the first view only those that have changed. It is what the lists of
//! transforms show, and no records: who may see those may see this.

mod history;
mod recorder;
mod stream;
mod view;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::IntoParams;

use crate::api_types::{FlowView, HistoryView, Line, TransformRef};
use crate::model::codes::Code;
use crate::model::names::TransformId;

use super::access::Caller;
use super::deployments::find;
use super::framing::Framing;
use super::openapi::NoTransform;
use super::problem::Refusal;
use super::request::{Id, Params, flag};
use super::shared::{AppState, blocking};

use self::recorder::FlowFull;

pub use self::recorder::FlowRecorder;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct FlowParams {
    /// Go on with views of all that changes until the client leaves. Without a value it means true.
    #[serde(default, deserialize_with = "flag")]
    #[param(value_type = Option<bool>)]
    follow: bool,
}

/// Show the flow of records through all transforms that the caller may see.
///
/// The answer is a stream with `follow`: a first view, and then at most one a second with the transforms that have changed.
#[utoipa::path(get, path = "/v1/flow", tag = "transforms", params(FlowParams),
    responses((status = 200, description = "By team and name; with `follow` as NDJSON, or as server-sent events", content((FlowView = "application/json"), (String = "application/x-ndjson"), (String = "text/event-stream"))),
        (status = 503, description = "Too many readers (E032)")))]
pub async fn flow(
    State(shared): AppState,
    Params(params): Params<FlowParams>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let flow = shared.state.flow.clone();
    let limits = shared.state.limits;
    let reader = flow.reader(caller.principal.party(), limits.flow_readers_max, limits.flow_readers_per_caller_max);
    let reader = reader.map_err(|full| {
        let message = match full {
            FlowFull::OfHost => "too many read the flow already (flow_readers_max)",
            FlowFull::OfCaller => "this caller, or its team, reads the flow too often already (flow_readers_per_caller_max)",
        };
        Refusal::new(Code::Busy, message).with_hint("close a page of the console, or try again later")
    })?;
    let state = shared.state.clone();
    let recorder = flow.clone();
    blocking(move || {
        recorder.refresh(&state.catalog, &*state.runtime);
        Ok(())
    })
    .await?;
    if params.follow {
        return Ok(stream::respond(Framing::of(&headers), reader, caller, shared.state.shutdown.clone()));
    }
    let snapshot = flow.current();
    let seen = snapshot.transforms.iter().filter(|(id, _)| caller.sees(id));
    let (ids, transforms): (Vec<&TransformId>, Vec<&RawValue>) = seen.map(|(id, entry)| (id, &*entry.json)).unzip();
    let recent = ids.iter().filter_map(|id| flow.recent(id)).collect();
    let view = FlowView { at: snapshot.at.0, transforms, gone: Vec::new(), recent };
    let json = serde_json::to_vec(&view).map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

/// Show the last minutes of a transform: rates, lag, latency and memory over all hosts.
#[utoipa::path(get, path = "/v1/teams/{team}/transforms/{name}/history", tag = "transforms", params(Id),
    responses((status = 200, description = "Ten minutes at most, as the answering host has seen them", body = HistoryView),
        NoTransform))]
pub async fn history(State(shared): AppState, Id(id): Id) -> Result<Json<HistoryView>, Refusal> {
    find(&shared, &id).await?;
    Ok(Json(shared.state.flow.history(&id)))
}

fn reference(id: &TransformId) -> TransformRef {
    TransformRef { team: Line::of(&id.team), name: Line::of(&id.name) }
}
