//! A transform's state: look up a committed entry of a store, and reset the stores.
//!
//! Only the host that owns a partition has its state. Any other host redirects the client to it: hosts never call each
//! other.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::IntoParams;

use crate::api_types::{ChangeView, EntryView, KeyEncoding, Line};
use crate::catalog::{Assumption, CatalogError, Change, ChangeResult, Request};
use crate::deployment::{changelog_topic, check_inputs};
use crate::model::codes::Code;
use crate::model::json;
use crate::model::murmur2::partition_for;
use crate::model::names::TransformId;
use crate::model::revision::{Deployment, Desired, count_on};
use crate::model::text::OneLine;

use super::access::Caller;
use super::deployments::{accepted, find_understood};
use super::openapi::InputDenied;
use super::problem::Refusal;
use super::redaction::Sight;
use super::request::{Entry, Id, IfMatch, Params};
use super::shared::{ApiState, AppState, blocking};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct EntryParams {
    /// The encoding of the key in the path: `text` (the default) or `base64` (URL-encoded).
    #[serde(default)]
    #[param(inline)]
    encoding: KeyEncoding,
    /// The partition number that has the entry.
    partition: Option<i32>,
    /// A record's key, as text: Kafka's partitioner gives the record the partition that has the entry. By default the entry's
    /// own key.
    record_key: Option<String>,
}

/// Look up an entry of a store.
///
/// The host that owns the partition answers from committed state; any other host redirects to it (hosts are started with
/// `--advertise` for that). The store's `queryable` must be true.
#[utoipa::path(get, path = "/v1/teams/{team}/transforms/{name}/state/{store}/{key}", tag = "transforms",
    params(Entry, EntryParams),
    responses((status = 200, description = "The entry", body = EntryView),
        (status = 307, description = "Another host owns the entry: its address is in `Location`"),
        (status = 403, description = "The team may not read an input any more (E064), or the transform reads a redacted topic, and the caller lacks the role `data` in its owner's team (E086)"),
        (status = 404, description = "No such transform (E023), store (E053) or entry (E054)"),
        (status = 503, description = "No host has the entry now (E055)")))]
pub async fn show(
    State(shared): AppState,
    Entry { id, store, key }: Entry,
    Params(params): Params<EntryParams>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Refusal> {
    let deployment = find_understood(&shared, &id).await?;
    // The existence of an entry may tell a part of a record, so there is no masked form.
    Sight::find(&shared, &caller, &id).await?.require_derived(&id)?;
    if !deployment.spec.state.get(&store).is_some_and(|store| store.queryable) {
        return Err(Refusal::new(Code::NoStore, format!("{id} has no store {store:?} that may be asked")));
    }
    let key = match params.encoding {
        KeyEncoding::Text => key.into_bytes(),
        KeyEncoding::Base64 => {
            let decoded = BASE64_STANDARD.decode(&key);
            decoded.map_err(|error| Refusal::of_field(Code::Query, "key", format!("is not base64: {error}")))?
        }
    };
    let permit = shared.lookups.take_for(&id.team).await?;
    let state = shared.state.clone();
    blocking(move || {
        let _held = permit;
        let spec = deployment.spec().map_err(|problems| Refusal::of_fields(Code::SpecRefused, problems))?;
        // The number of partitions is an input's, and so is the content of a store.
        check_inputs(&spec, &state.teams.topic_rights())?;
        let log = state.log_of(&id.team);
        let partitions = log.partitions(&spec.inputs[0])?;
        let record_key = params.record_key.as_ref().map_or(key.as_slice(), |key| key.as_bytes());
        let number = params.partition.unwrap_or_else(|| partition_for(record_key, partitions));
        if !(0..partitions).contains(&number) {
            return Err(Refusal::new(Code::Partition, format!("the store has partitions 0 to {}", partitions - 1)));
        }
        match state.runtime.look_up(&id, number, &store, &key) {
            Some(Some(value)) => Ok(Json(entry(&store, number, &state.host, &value)).into_response()),
            Some(None) => {
                Err(Refusal::new(Code::NoEntry, format!("store {store:?} has no such entry in partition {number}")))
            }
            None => elsewhere(&state, &id, number, &uri),
        }
    })
    .await
}

/// Redirects to the host that owns a partition number, if one is known with its URL.
fn elsewhere(state: &ApiState, id: &TransformId, number: i32, uri: &Uri) -> Result<Response, Refusal> {
    let statuses = state.runtime.statuses(id);
    let owns = |status: &&crate::model::status::TransformStatus| {
        status.host != state.host && status.partitions.iter().any(|own| own.partition == number)
    };
    let Some(owner) = statuses.iter().find(owns).map(|status| status.host.clone()) else {
        return Err(Refusal::new(Code::StateElsewhere, format!("no host has the state of partition {number} now")));
    };
    let url = state.runtime.hosts().into_iter().find(|host| host.host == owner).and_then(|host| host.url);
    let Some(url) = url else {
        let message = format!("host {owner} has the state of partition {number}, and does not say where its API is");
        return Err(Refusal::new(Code::StateElsewhere, message).with_hint("start it with --advertise URL, or ask it"));
    };
    if let Err(why) = state.redirects.check(&url) {
        let message = format!("host {owner} has the state of partition {number}, and its URL {} {why}", OneLine(&url));
        let hint = "give the hosts --allowed-redirect NAME, or ask the host that has it";
        return Err(Refusal::new(Code::StateElsewhere, message).with_hint(hint));
    }
    let path = uri.path_and_query().map_or_else(|| uri.path(), |path| path.as_str());
    let location = format!("{}{path}", url.trim_end_matches('/'));
    Ok((StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]).into_response())
}

/// Shows a value: if it is JSON, as this JSON text, else its bytes.
fn entry(store: &str, partition: i32, host: &str, value: &[u8]) -> EntryView {
    let json: Option<Box<RawValue>> = json::read(value).ok();
    let value_base64 = json.is_none().then(|| BASE64_STANDARD.encode(value).into());
    EntryView { store: Line::from(store), partition, host: Line::from(host), value: json, value_base64 }
}

/// Reset a transform's state: its stores are empty after that.
///
/// The transform must be paused. It gets new changelog topics; the old ones stay, and may be deleted by hand. Its offsets
/// stay too: move them (`DELETE .../offsets`, say) to build the state again from the inputs.
#[utoipa::path(delete, path = "/v1/teams/{team}/transforms/{name}/state", tag = "transforms",
    params(Id, IfMatch),
    responses((status = 202, description = "Accepted", body = ChangeView),
        InputDenied,
        (status = 404, description = "No such transform (E023), or it has no stores (E053)"),
        (status = 409, description = "It is not paused (E033), at another revision, or another request changed it meanwhile (E008)")))]
pub async fn reset(State(shared): AppState, Id(id): Id, precondition: IfMatch) -> Result<Response, Refusal> {
    let permit = shared.changes.take_for(&id.team).await?;
    let state = shared.state.clone();
    let change = blocking(move || {
        let _held = permit;
        reset_stores(&state, &id, precondition.of(Change::ResetState))
    })
    .await?;
    Ok(accepted(&change))
}

/// Creates the changelog topics that the stores go on with, then makes the change. Whoever changes the transform between the
/// two makes the catalog refuse the reset: it would lead to other topics, or empty the stores of running workers.
fn reset_stores(state: &ApiState, id: &TransformId, request: Request) -> Result<ChangeResult, Refusal> {
    if let Some(earlier) = state.catalog.earlier_result(id, &request)? {
        return Ok(earlier);
    }
    let deployment = newest(state, id)?;
    if deployment.spec.state.is_empty() {
        return Err(Refusal::new(Code::NoStore, format!("{id} has no stores")));
    }
    if deployment.desired != Desired::Paused {
        return Err(not_paused(id));
    }
    let spec = deployment.spec().map_err(|problems| Refusal::of_fields(Code::SpecRefused, problems))?;
    // The new changelogs get the partitions of the inputs.
    check_inputs(&spec, &state.teams.topic_rights())?;
    let log = state.log_of(&id.team);
    let partitions = log.partitions(&spec.inputs[0])?;
    let resets = deployment.asked.resets;
    for name in spec.changelogs(&state.cluster, count_on(resets)) {
        log.create_topic(&changelog_topic(name, partitions))?;
    }
    let assumes = Some(Assumption::Stores { revision: deployment.revision, resets });
    state.catalog.change(id, Request { assumes, ..request }).map_err(|error| match error {
        CatalogError::NotPaused(id) => not_paused(&id),
        error => error.into(),
    })
}

/// Returns the transform with all changes before now: another host may have been asked to pause it.
fn newest(state: &ApiState, id: &TransformId) -> Result<Deployment, Refusal> {
    state.catalog.see_changes()?;
    let deployment = state.catalog.deployment(id).ok_or_else(|| CatalogError::NoTransform(id.clone()))?;
    CatalogError::unless_understood(&deployment)?;
    Ok(deployment)
}

fn not_paused(id: &TransformId) -> Refusal {
    let refusal = Refusal::from(CatalogError::NotPaused(id.clone()));
    refusal.with_hint(format!("pause it first: sandbar pause {id}"))
}
