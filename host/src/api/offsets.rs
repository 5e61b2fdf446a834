//! Committed offsets of a transform: show them, move them, forget them.
//!
//! They are moved only while the transform is paused and nobody is a member of its group; the log itself refuses a
//! change that a member's coming has overtaken. What a change would mean is [`plan`]'s, which is pure.

mod plan;

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::catalog::CatalogError;
use crate::deployment::wait_until_empty;
use crate::model::codes::Code;
use crate::model::names::{TopicName, TransformId};
use crate::model::revision::{Deployment, Desired, Progress};
use crate::model::spec::{Spec, Start, StartSpec};
use crate::model::status::PartitionStatus;
use crate::model::units::Timestamp;
use crate::ports::{GroupOffset, Log};
use crate::positions::Inputs;

use self::plan::{Move, Place};
use super::body::{self, Media, Received};
use super::problem::{ProblemDetails, Refusal};
use super::request::{Id, Params};
use super::transforms::find_understood;
use super::{ApiState, AppState, blocking};

#[derive(Serialize, ToSchema)]
pub struct OffsetList {
    offsets: Vec<OffsetView>,
}

/// An input partition, and how far the transform is with it.
#[derive(Serialize, ToSchema)]
pub struct OffsetView {
    topic: String,
    partition: i32,
    /// The next offset, as committed; none yet: `start` decides.
    offset: Option<i64>,
    /// The log has forgotten the offset that was committed: the partition stands still until one is set (E224).
    forgotten: bool,
    /// The first offset that the partition still holds.
    first_offset: i64,
    /// One past its last committed record.
    end_offset: i64,
    /// Offsets between the two; control records that a worker has passed and not committed yet do not count.
    lag: Option<u64>,
    /// What Sandbar committed along: the revision.
    metadata: String,
}

/// Where to: `offsets`, or `to` for all partitions.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveRequest {
    #[serde(default)]
    offsets: Option<Vec<Target>>,
    /// `earliest`, `latest`, `{"timestamp": ..}` or `{"ago": ..}`, counted back from now.
    #[serde(default)]
    to: Option<StartSpec>,
}

/// The offset that a partition shall go on from.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct MoveParams {
    /// Say what it means, change nothing.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Serialize, ToSchema)]
pub struct MoveList {
    /// Nothing was changed: the request asked what would be.
    dry_run: bool,
    /// Offsets that are processed again (above 0) or skipped (below 0), over all partitions. Where a topic is compacted
    /// or written in transactions, not every offset is a record.
    records: i64,
    offsets: Vec<MoveView>,
}

#[derive(Serialize, ToSchema)]
pub struct MoveView {
    topic: String,
    partition: i32,
    /// None: nothing was committed.
    from: Option<i64>,
    to: i64,
    records: i64,
}

/// Show the committed offsets of a transform, for every partition of its inputs.
#[utoipa::path(get, path = "/v1/teams/{team}/transforms/{name}/offsets", tag = "transforms",
    params(("team" = String, Path), ("name" = String, Path)),
    responses((status = 200, description = "By input, topic and partition", body = OffsetList),
        (status = 404, description = "No such transform (E023)", body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn show(State(shared): AppState, Id(id): Id) -> Result<Json<OffsetList>, Refusal> {
    let deployment = find_understood(&shared, &id).await?;
    let state = shared.state.clone();
    blocking(move || {
        let spec = spec_of(&deployment)?;
        let places = places(&*state.log, &spec.group(&state.cluster), &spec)?;
        let forgotten = forgotten(&state, &spec, &places)?;
        // While it is paused nobody passes anything, and what hosts said before may be older than the offsets.
        let runs = deployment.desired == Desired::Running;
        let statuses = if runs { state.runtime.statuses(&deployment.id) } else { Vec::new() };
        let view = |place: Place| {
            let own = statuses.iter().flat_map(|status| &status.partitions);
            let own = own.filter(|own| (&own.topic, own.partition) == (&place.topic, place.partition));
            let passed = own.filter_map(|own| own.committed_offset).max();
            let forgotten = forgotten.contains(&(place.topic.clone(), place.partition));
            OffsetView::of(place, passed, forgotten)
        };
        Ok(Json(OffsetList { offsets: places.into_iter().map(view).collect() }))
    })
    .await
}

/// Move the committed offsets of a paused transform.
#[utoipa::path(patch, path = "/v1/teams/{team}/transforms/{name}/offsets", tag = "transforms",
    params(("team" = String, Path), ("name" = String, Path), MoveParams), request_body = MoveRequest,
    responses((status = 200, description = "Moved, or what a move would mean", body = MoveList),
        (status = 404, description = "No such transform (E023)", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 409, description = "It is not paused, or a host is still in its group (E040)", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 422, description = "Not an input, or out of its range (E041)", body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn alter(
    State(shared): AppState,
    Id(id): Id,
    Params(params): Params<MoveParams>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<MoveList>, Refusal> {
    let media = Media::of(&headers);
    if media != Media::Json {
        return Err(media.refuse("application/json"));
    }
    let Received { bytes, share } = shared.receive(body, shared.state.limits.spec_bytes_max).await?;
    let turn = shared.moves.take().await?;
    let state = shared.state.clone();
    blocking(move || {
        let _held = (turn, share);
        let wanted = Wanted::of(body::json_of(&bytes, Code::Malformed)?)?;
        let Paused { spec, revision, resets } = paused(&state, &id)?;
        let group = spec.group(&state.cluster);
        wait_for_empty(&state, &id, &group)?;
        let places = places(&*state.log, &group, &spec)?;
        let moves = match &wanted {
            Wanted::Offsets(targets) => {
                plan::to_targets(&places, targets).map_err(|problems| Refusal::of_fields(Code::Offsets, problems))?
            }
            Wanted::All(start) => to_start(&*state.log, &spec, &places, &start.resolve(Timestamp::now()))?,
        };
        if !params.dry_run {
            // Partitions that are not named begin as they would when it is resumed, and what is set is not new any more.
            let start = spec.start.resolve(Timestamp::now());
            let inputs = Inputs { id: &id, group: &group, topics: &spec.inputs, changelogs: &[], start: &start };
            state.positions.begin(inputs, &|| Ok(true))?;
            // Metadata that stops its partition goes (E227); all other stays.
            let is_kept = |progress: &Progress| progress.is_of(revision, resets);
            let offsets: Vec<GroupOffset> = moves.iter().map(|step| step.offset(is_kept)).collect();
            let committed = state.log.commit_for_group(&group, &offsets);
            committed.or_else(|error| in_use(&state, &id, &group).and(Err(error.into())))?;
            tracing::info!(transform = %id, records = plan::records(&moves), "offsets moved");
        }
        Ok(Json(MoveList::of(params.dry_run, &moves)))
    })
    .await
}

/// Forget the committed offsets of a paused transform: its spec's `start` decides again when it is resumed.
///
/// `to` is what `start` means at the time of the request.
#[utoipa::path(delete, path = "/v1/teams/{team}/transforms/{name}/offsets", tag = "transforms",
    params(("team" = String, Path), ("name" = String, Path), MoveParams),
    responses((status = 200, description = "Forgotten, or what that would mean", body = MoveList),
        (status = 404, description = "No such transform (E023)", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 409, description = "It is not paused, or a host is still in its group (E040)", body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn reset(
    State(shared): AppState,
    Id(id): Id,
    Params(params): Params<MoveParams>,
) -> Result<Json<MoveList>, Refusal> {
    let turn = shared.moves.take().await?;
    let state = shared.state.clone();
    blocking(move || {
        let _held = turn;
        let Paused { spec, .. } = paused(&state, &id)?;
        let group = spec.group(&state.cluster);
        wait_for_empty(&state, &id, &group)?;
        let places = places(&*state.log, &group, &spec)?;
        let moves = to_start(&*state.log, &spec, &places, &spec.start.resolve(Timestamp::now()))?;
        if !params.dry_run {
            // In this order: if it ends between the two, nothing has happened, since offsets without a memory are taken over.
            state.positions.forget(&id)?;
            let deleted = state.log.delete_group(&group);
            deleted.or_else(|error| in_use(&state, &id, &group).and(Err(error.into())))?;
            tracing::info!(transform = %id, "offsets forgotten");
        }
        Ok(Json(MoveList::of(params.dry_run, &moves)))
    })
    .await
}

/// What a request wants.
enum Wanted {
    Offsets(Vec<Target>),
    All(StartSpec),
}

impl Wanted {
    fn of(request: MoveRequest) -> Result<Self, Refusal> {
        match (request.offsets, request.to) {
            (None, Some(StartSpec::Offsets(_))) => {
                Err(Refusal::of_field(Code::Malformed, "to.offsets", "send them as `offsets`, beside no `to`"))
            }
            (Some(targets), None) => Ok(Self::Offsets(targets)),
            (None, Some(start)) => Ok(Self::All(start)),
            (Some(_), Some(_)) | (None, None) => Err(Refusal::new(Code::Malformed, "send either `offsets` or `to`")),
        }
    }
}

fn spec_of(deployment: &Deployment) -> Result<Spec, Refusal> {
    deployment.spec().map_err(|problems| Refusal::of_fields(Code::SpecRefused, problems))
}

/// A paused transform.
struct Paused {
    spec: Spec,
    revision: u64,
    resets: u64,
}

/// The transform, if it is paused: as the log has it now, whichever host was asked to pause it.
fn paused(state: &ApiState, id: &TransformId) -> Result<Paused, Refusal> {
    state.catalog.refresh()?;
    let deployment = state.catalog.deployment(id);
    let deployment = deployment.ok_or_else(|| Refusal::new(Code::NoTransform, format!("there is no transform {id}")))?;
    CatalogError::unless_understood(&deployment)?;
    if deployment.desired != Desired::Paused {
        return Err(Refusal::new(Code::OffsetsInUse, format!("offsets of a running transform: {id} is not paused"))
            .with_hint(format!("pause it first: sandbar pause {id}")));
    }
    let spec = spec_of(&deployment)?;
    Ok(Paused { spec, revision: deployment.revision, resets: deployment.asked.resets })
}

/// Refuses while the group has members. Hosts need a moment to see that a transform was paused: they get it.
fn wait_for_empty(state: &ApiState, id: &TransformId, group: &str) -> Result<(), Refusal> {
    refuse_members(id, group, wait_until_empty(&*state.log, group, state.limits.leave_time)?)
}

/// Refuses if the group has members now.
fn in_use(state: &ApiState, id: &TransformId, group: &str) -> Result<(), Refusal> {
    refuse_members(id, group, state.log.group_members(group)?)
}

fn refuse_members(id: &TransformId, group: &str, members: usize) -> Result<(), Refusal> {
    if members == 0 {
        return Ok(());
    }
    Err(Refusal::new(Code::OffsetsInUse, format!("{id} is paused, but group {group} has {members} members"))
        .with_hint("a host that is stopping, or has just crashed, leaves within seconds: repeat the request"))
}

/// Every input partition as it is.
fn places(log: &dyn Log, group: &str, spec: &Spec) -> Result<Vec<Place>, Refusal> {
    let mut committed = log.group_offsets(group, &spec.inputs)?;
    let mut places = Vec::new();
    for topic in &spec.inputs {
        for partition in 0..log.partitions(topic)? {
            let (first, end) = log.offsets(topic, partition)?;
            let found = committed.iter().position(|offset| (&offset.topic, offset.partition) == (topic, partition));
            let committed = found.map(|found| committed.swap_remove(found)).map(|at| (at.next_offset, at.metadata));
            places.push(Place { topic: topic.clone(), partition, committed, first, end });
        }
    }
    Ok(places)
}

/// Partitions that have no offset and had one.
fn forgotten(state: &ApiState, spec: &Spec, places: &[Place]) -> Result<BTreeSet<(TopicName, i32)>, Refusal> {
    let without = || places.iter().filter(|place| place.committed.is_none());
    if without().next().is_none() {
        return Ok(BTreeSet::new());
    }
    let Some(known) = state.positions.known(&spec.id)? else { return Ok(BTreeSet::new()) };
    let sizes = state.log.sizes(&spec.inputs)?;
    let had_one = |place: &&Place| {
        let input = known.inputs.get(&place.topic);
        let size = sizes.get(&place.topic);
        input.zip(size).is_some_and(|(input, size)| input.is_of(&size.id) && place.partition < input.partitions)
    };
    Ok(without().filter(had_one).map(|place| (place.topic.clone(), place.partition)).collect())
}

/// Every partition to where `start` says.
fn to_start(log: &dyn Log, spec: &Spec, places: &[Place], start: &Start) -> Result<Vec<Move>, Refusal> {
    let mut times = BTreeMap::new();
    if let Some(moment) = start.moment() {
        for topic in &spec.inputs {
            times.insert(topic, log.offsets_at(topic, moment)?);
        }
    }
    let to = |place: &Place| {
        let at = times.get(&place.topic).and_then(|of_topic| *of_topic.get(place.partition as usize)?);
        Move::of(place, start.offset(&place.topic, place.partition, (place.first, place.end), at))
    };
    Ok(places.iter().map(to).collect())
}

impl OffsetView {
    /// `passed`: how far a worker is, as it says itself.
    fn of(place: Place, passed: Option<i64>, forgotten: bool) -> Self {
        let (offset, metadata) = place.committed.unzip();
        let reached = offset.map(|offset| passed.unwrap_or(offset).max(offset));
        Self {
            topic: place.topic.to_string(),
            partition: place.partition,
            offset,
            forgotten,
            first_offset: place.first,
            end_offset: place.end,
            lag: PartitionStatus::lag(reached, Some(place.end)),
            metadata: metadata.unwrap_or_default(),
        }
    }
}

impl MoveList {
    fn of(dry_run: bool, moves: &[Move]) -> Self {
        let view = |step: &Move| MoveView {
            topic: step.topic.to_string(),
            partition: step.partition,
            from: step.from,
            to: step.to,
            records: step.records,
        };
        Self { dry_run, records: plan::records(moves), offsets: moves.iter().map(view).collect() }
    }
}
