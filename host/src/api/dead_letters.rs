//! The newest dead letters of a transform, for reading only.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::IntoParams;

use crate::api_types::{DeadLetterList, Form, JsonOrText, Line, RecordContent, RecordOut};
use crate::model::codes::Code;
use crate::model::names::TransformId;

use super::access::Caller;
use super::deployments::find_understood;
use super::newest::{NewestError, newest};
use super::openapi::NoTransform;
use super::problem::Refusal;
use super::redaction::Sight;
use super::request::{Id, Params};
use super::shared::{AppState, blocking};

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
/// Each is the failed record as it was; its headers `sandbar.error.*` have the reason and the place. A caller without the role
/// `data` in the team that owns a redacted topic sees the records masked.
#[utoipa::path(get, path = "/v1/teams/{team}/transforms/{name}/dead-letters", tag = "transforms", params(Id, DeadLetterParams),
    responses((status = 200, description = "The newest last", body = DeadLetterList),
        NoTransform,
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
    let permit = shared.lookups.take_for(&id.team).await?;
    let log = shared.state.log_of(&id.team);
    blocking(move || {
        let _held = permit;
        let spec = deployment.spec().map_err(|problems| Refusal::of_fields(Code::SpecRefused, problems))?;
        let topic = spec.dead_letter_topic;
        let deadline = Instant::now() + limits.logs_time;
        let topics = [topic.clone()];
        let found = match newest(&*log, &topics, (limit, limits.records_bytes_max), deadline) {
            Ok(found) => found,
            // Where records are never dead-lettered, there may be no topic.
            Err(NewestError::Log(crate::ports::LogError::NoTopic(_))) => Vec::new(),
            Err(NewestError::Log(error)) => return Err(error.into()),
            Err(NewestError::Time(progress)) => {
                let seconds = limits.logs_time.as_secs();
                return Err(Refusal::new(Code::LogsTime, format!("{progress} when {seconds} s were over (logs_time)")));
            }
        };
        let mut is_redacted = false;
        let mut records: Vec<Box<RawValue>> = Vec::new();
        for found in found {
            let mut shown = RecordOut::of(found.partition.partition, found.record, Form::Text);
            if is_of(&id, &shown.content) {
                is_redacted |= sight.dead_letter(topic.as_str(), &mut shown.content);
                records.push(serde_json::value::to_raw_value(&shown).expect("a record is plain data"));
            }
        }
        Ok(Json(DeadLetterList { topic: Line::of(&topic), records, redacted: is_redacted }).into_response())
    })
    .await
}

/// Returns true if the dead letter is of the transform.
fn is_of(id: &TransformId, content: &RecordContent) -> bool {
    let id = id.to_string();
    content.headers.iter().any(|header| {
        &*header.name == TRANSFORM && matches!(&header.value, Some(JsonOrText::Text(transform)) if *transform == id)
    })
}
