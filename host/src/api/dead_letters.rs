//! The newest dead letters of a transform, for reading only.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::IntoParams;

use crate::api_types::{DeadLetterList, Form, JsonOrText, Line, RecordContent, RecordOut};
use crate::deployment::check_inputs;
use crate::model::codes::Code;
use crate::model::names::{TopicName, TransformId};
use crate::model::topic_rights::TopicUse;
use crate::ports::LogError;

use super::access::Caller;
use super::deployments::find_understood;
use super::newest::{InputRecord, NewestError, newest};
use super::openapi::{InputDenied, NoTransform};
use super::problem::Refusal;
use super::redaction::Sight;
use super::request::{Id, Params};
use super::shared::{AppState, Shared, blocking};

/// Default number of dead letters.
const LIMIT_DEFAULT: usize = 50;
/// The header in which a dead letter names its transform. Transforms may share a topic.
const TRANSFORM: &str = "sandbar.error.transform";

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterParams {
    /// The number of records that are looked at: 1 to 1000, by default 50.
    #[serde(default)]
    limit: Option<usize>,
}

/// Show the newest dead letters of a transform.
///
/// Each is the failed record as it was; its headers `sandbar.error.*` have the reason and the place. The answer has as many as
/// fit in 8 MiB (`records_bytes_max`). A caller without the role `data` in the team that owns a redacted topic sees the records
/// masked.
#[utoipa::path(get, path = "/v1/teams/{team}/transforms/{name}/dead-letters", tag = "transforms", params(Id, DeadLetterParams),
    responses((status = 200, description = "The newest last", body = DeadLetterList),
        NoTransform,
        InputDenied,
        (status = 503, description = "The topic could not be read in time (E043)")))]
pub async fn list(
    State(shared): AppState,
    Id(id): Id,
    Params(params): Params<DeadLetterParams>,
    caller: Caller,
) -> Result<Response, Refusal> {
    let deployment = find_understood(&shared, &id).await?;
    let sight = Sight::find(&shared, &caller, &id).await?;
    sight.require_records(&caller, &id.team)?;
    let limits = shared.state.limits;
    let limit = params.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=limits.trial_records_max).contains(&limit) {
        let message = format!("is {limit}, but must be 1 to {} (trial_records_max)", limits.trial_records_max);
        return Err(Refusal::of_field(Code::Query, "limit", message));
    }
    let spec = deployment.spec().map_err(|problems| Refusal::of_fields(Code::SpecRefused, problems))?;
    // They are records of its inputs.
    check_inputs(&spec, &shared.state.teams.topic_rights())?;
    let topic = spec.dead_letter_topic;
    // A spec whose failed records have another way may name a topic of others: nothing of that is told.
    let is_own = shared.state.teams.topic_rights().check(&id, TopicUse::Write, &topic).is_ok();
    let found = if is_own { newest_of(&shared, &id, &topic, limit).await? } else { Vec::new() };
    let permit = shared.pages.take_for(&id.team).await?;
    blocking(move || {
        let _held = permit;
        Ok(Json(page(&id, &topic, found, &sight, limits.records_bytes_max)).into_response())
    })
    .await
}

/// Reads the newest records of a transform's dead-letter topic.
async fn newest_of(shared: &Shared, id: &TransformId, topic: &TopicName, limit: usize) -> Result<Vec<InputRecord>, Refusal> {
    let limits = shared.state.limits;
    let permit = shared.lookups.take_for(&id.team).await?;
    let log = shared.state.log_of(&id.team);
    let topics = [topic.clone()];
    blocking(move || {
        let _held = permit;
        let deadline = Instant::now() + limits.logs_time;
        match newest(&*log, &topics, (limit, limits.records_bytes_max), deadline) {
            Ok(found) => Ok(found),
            // Where records are never dead-lettered, there may be no topic.
            Err(NewestError::Log(LogError::NoTopic(_))) => Ok(Vec::new()),
            Err(NewestError::Log(error)) => Err(error.into()),
            Err(NewestError::Time(progress)) => {
                let seconds = limits.logs_time.as_secs();
                Err(Refusal::new(Code::LogsTime, format!("{progress} when {seconds} s were over (logs_time)")))
            }
        }
    })
    .await
}

/// Writes the dead letters of the transform: as many of the newest as `bytes_max` holds, since a byte of a record may be
/// written as six.
fn page(
    id: &TransformId,
    topic: &TopicName,
    found: Vec<InputRecord>,
    sight: &Sight,
    bytes_max: usize,
) -> DeadLetterList<Box<RawValue>> {
    let mut redacted = false;
    let mut records: Vec<Box<RawValue>> = Vec::new();
    let mut bytes = 0;
    for found in found.into_iter().rev() {
        let mut shown = RecordOut::of(found.partition.partition, found.record, Form::Text);
        if !is_of(id, &shown.content) {
            continue;
        }
        redacted |= sight.dead_letter(topic.as_str(), &mut shown.content);
        let written = serde_json::value::to_raw_value(&shown).expect("a record is plain data");
        bytes += written.get().len();
        if bytes > bytes_max && !records.is_empty() {
            break;
        }
        records.push(written);
    }
    records.reverse();
    DeadLetterList { topic: Line::of(topic), records, redacted }
}

/// Returns true if the dead letter is of the transform.
fn is_of(id: &TransformId, content: &RecordContent) -> bool {
    let id = id.to_string();
    content.headers.iter().any(|header| {
        &*header.name == TRANSFORM && matches!(&header.value, Some(JsonOrText::Text(transform)) if *transform == id)
    })
}
