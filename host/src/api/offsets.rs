//! Committed offsets of a transform: show them, move them, forget them.
//!
//! They are moved only while the transform is paused and nobody is a member of its group; the log itself refuses a
//! change if a member has joined meanwhile. The meaning of a change is computed by `plan`, which is pure.

mod partitions;
mod plan;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api_types::{MoveList, MoveRequest, OffsetList, Target};
use crate::audit::Action;
use crate::catalog::CatalogError;
use crate::deployment::check_inputs;
use crate::model::codes::Code;
use crate::model::names::TransformId;
use crate::model::revision::{Deployment, Desired, Progress};
use crate::model::spec::{Spec, StartSpec};
use crate::model::units::Timestamp;
use crate::ports::GroupOffset;
use crate::positions::Inputs;

use self::plan::InputPartition;
use super::access::Caller;
use super::audit;
use super::body::{self, Media, RequestBody};
use super::deployments::find_understood;
use super::group::{refuse_members, wait_for_empty};
use super::openapi::{InputDenied, NoTransform, OffsetsInUse};
use super::problem::Refusal;
use super::request::{Id, Params};
use super::shared::{ApiState, AppState, blocking};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct MoveParams {
    /// Show the effect, change nothing.
    #[serde(default)]
    dry_run: bool,
}

/// Show the committed offsets of a transform, for every partition of its inputs.
#[utoipa::path(get, path = "/v1/teams/{team}/transforms/{name}/offsets", tag = "transforms",
    params(Id),
    responses((status = 200, description = "By input, topic and partition", body = OffsetList),
        InputDenied,
        NoTransform))]
pub async fn show(State(shared): AppState, Id(id): Id) -> Result<Json<OffsetList>, Refusal> {
    let deployment = find_understood(&shared, &id).await?;
    let permit = shared.lookups.take_for(&id.team).await?;
    let state = shared.state.clone();
    blocking(move || {
        let _held = permit;
        let spec = spec_of(&state, &deployment)?;
        let partitions = partitions::read(&*state.log_of(&id.team), &spec.group(&state.cluster), &spec)?;
        let forgotten = partitions::forgotten(&state, &spec, &partitions)?;
        // Workers of a paused transform pass no record, and the status that hosts reported before may be older than the
        // offsets.
        let runs = deployment.desired == Desired::Running;
        let statuses = if runs { state.runtime.statuses(&deployment.id) } else { Vec::new() };
        let view = |input: InputPartition| {
            let own = statuses.iter().flat_map(|status| &status.partitions);
            let own = own.filter(|own| (&own.topic, own.partition) == (&input.topic, input.partition));
            let passed = own.filter_map(|own| own.committed_offset).max();
            let forgotten = forgotten.contains(&(input.topic.clone(), input.partition));
            input.view(passed, forgotten)
        };
        Ok(Json(OffsetList { offsets: partitions.into_iter().map(view).collect() }))
    })
    .await
}

/// Move the committed offsets of a paused transform.
#[utoipa::path(patch, path = "/v1/teams/{team}/transforms/{name}/offsets", tag = "transforms",
    params(Id, MoveParams), request_body = MoveRequest,
    responses((status = 200, description = "Moved, or the effect of a move", body = MoveList),
        InputDenied,
        NoTransform,
        OffsetsInUse,
        (status = 422, description = "Not an input, or out of its range (E041)")))]
pub async fn alter(
    State(shared): AppState,
    Id(id): Id,
    Params(params): Params<MoveParams>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<MoveList>, Refusal> {
    let media = Media::of(&headers);
    if media != Media::Json {
        return Err(media.refuse("application/json"));
    }
    let RequestBody { bytes, share } = shared.receive(&caller.principal, body, shared.state.limits.spec_bytes_max).await?;
    let permit = shared.moves.take_for(&id.team).await?;
    let state = shared.state.clone();
    blocking(move || {
        let _held = (permit, share);
        let destination = Destination::of(body::json_of(&bytes, Code::Malformed)?)?;
        let PausedTransform { spec, revision, resets } = paused(&state, &id)?;
        let group = spec.group(&state.cluster);
        wait_for_empty(&state, &id, &group)?;
        let partitions = partitions::read(&*state.log_of(&id.team), &group, &spec)?;
        let moves = match &destination {
            Destination::Offsets(targets) => {
                plan::to_targets(&partitions, targets).map_err(|problems| Refusal::of_fields(Code::Offsets, problems))?
            }
            Destination::Start(start) => {
                partitions::to_start(&*state.log_of(&id.team), &spec, &partitions, &start.resolve(Timestamp::now()))?
            }
        };
        if !params.dry_run {
            audit::begin(&state, caller.entry_of(Action::SetOffsets, &id))?;
            // Partitions that the request does not name begin as they would when the transform is resumed. A partition with
            // an offset is not new any more.
            let start = spec.start.resolve(Timestamp::now());
            let inputs = Inputs { id: &id, group: &group, topics: &spec.inputs, changelogs: &[], start: &start };
            state.positions.begin(inputs, &|| Ok(true))?;
            // Metadata that would stop its partition is dropped (E227); all other metadata stays.
            let is_kept = |progress: &Progress| progress.is_of(revision, resets);
            let offsets: Vec<GroupOffset> = moves.iter().map(|step| step.offset(is_kept)).collect();
            let committed = state.log_of(&id.team).commit_for_group(&group, &offsets);
            committed.or_else(|error| refuse_members(&state, &id, &group).and(Err(error.into())))?;
            tracing::info!(transform = %id, records = plan::records(&moves), "offsets moved");
        }
        Ok(Json(plan::list(params.dry_run, &moves)))
    })
    .await
}

/// Forget the committed offsets of a paused transform: its spec's `start` decides again when it is resumed.
///
/// `to` is the position that `start` has at the time of the request.
#[utoipa::path(delete, path = "/v1/teams/{team}/transforms/{name}/offsets", tag = "transforms",
    params(Id, MoveParams),
    responses((status = 200, description = "Forgotten, or the effect of that", body = MoveList),
        InputDenied,
        NoTransform,
        OffsetsInUse))]
pub async fn reset(
    State(shared): AppState,
    Id(id): Id,
    Params(params): Params<MoveParams>,
    caller: Caller,
) -> Result<Json<MoveList>, Refusal> {
    let permit = shared.moves.take_for(&id.team).await?;
    let state = shared.state.clone();
    blocking(move || {
        let _held = permit;
        let PausedTransform { spec, .. } = paused(&state, &id)?;
        let group = spec.group(&state.cluster);
        wait_for_empty(&state, &id, &group)?;
        let partitions = partitions::read(&*state.log_of(&id.team), &group, &spec)?;
        let moves =
            partitions::to_start(&*state.log_of(&id.team), &spec, &partitions, &spec.start.resolve(Timestamp::now()))?;
        if !params.dry_run {
            audit::begin(&state, caller.entry_of(Action::ResetOffsets, &id))?;
            // The memory goes first: if the host ends between the two, nothing has changed, since offsets without a memory
            // are taken over.
            state.positions.forget(&id)?;
            let deleted = state.log_of(&id.team).delete_group(&group);
            deleted.or_else(|error| refuse_members(&state, &id, &group).and(Err(error.into())))?;
            tracing::info!(transform = %id, "offsets forgotten");
        }
        Ok(Json(plan::list(params.dry_run, &moves)))
    })
    .await
}

/// The destination of a move.
enum Destination {
    /// One offset for each of these partitions.
    Offsets(Vec<Target>),
    /// One position for all partitions.
    Start(StartSpec),
}

impl Destination {
    fn of(request: MoveRequest) -> Result<Self, Refusal> {
        match (request.offsets, request.to) {
            (None, Some(StartSpec::Offsets(_))) => {
                Err(Refusal::of_field(Code::Malformed, "to.offsets", "send them as `offsets`, beside no `to`"))
            }
            (Some(targets), None) => Ok(Self::Offsets(targets)),
            (None, Some(start)) => Ok(Self::Start(start)),
            (Some(_), Some(_)) | (None, None) => Err(Refusal::new(Code::Malformed, "send either `offsets` or `to`")),
        }
    }
}

/// The spec of a transform whose team may still read its inputs: their offsets tell how many records come, and when.
fn spec_of(state: &ApiState, deployment: &Deployment) -> Result<Spec, Refusal> {
    let spec = deployment.spec().map_err(|problems| Refusal::of_fields(Code::SpecRefused, problems))?;
    check_inputs(&spec, &state.teams.topic_rights())?;
    Ok(spec)
}

/// A paused transform.
struct PausedTransform {
    spec: Spec,
    revision: u64,
    resets: u64,
}

/// Returns the transform if it is paused. The log is read for that: another host may have been asked to pause it.
fn paused(state: &ApiState, id: &TransformId) -> Result<PausedTransform, Refusal> {
    state.catalog.refresh()?;
    let deployment = state.catalog.deployment(id);
    let deployment = deployment.ok_or_else(|| Refusal::new(Code::NoTransform, format!("there is no transform {id}")))?;
    CatalogError::unless_understood(&deployment)?;
    if deployment.desired != Desired::Paused {
        return Err(Refusal::new(Code::OffsetsInUse, format!("offsets of a running transform: {id} is not paused"))
            .with_hint(format!("pause it first: sandbar pause {id}")));
    }
    let spec = spec_of(state, &deployment)?;
    Ok(PausedTransform { spec, revision: deployment.revision, resets: deployment.asked.resets })
}
