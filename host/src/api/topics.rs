//! Topics over HTTP, for the embedded log only: Kafka's clients cannot connect to it.

pub mod read;
pub mod write;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::api_types::{TopicList, TopicSettings, TopicView};
use crate::audit::{Action, AuditEntry};
use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::topics;

use super::access::Caller;
use super::audit;
use super::body::{self, Media};
use super::problem::Refusal;
use super::request::Name;
use super::shared::{AppState, blocking};

/// Largest body of a topic's settings.
const SETTINGS_BYTES_MAX: usize = 4096;

/// List the topics.
#[utoipa::path(get, path = "/v1/topics", tag = "topics",
    responses((status = 200, description = "All topics but Sandbar's own", body = TopicList)))]
pub async fn list(State(shared): AppState) -> Result<Json<TopicList>, Refusal> {
    let permit = shared.lookups.take(None).await?;
    let log = shared.state.log.clone();
    blocking(move || {
        let _held = permit;
        let topics = topics::list(&*log)?;
        let topics = topics.iter().map(|(name, info)| topics::view(&*log, name, info)).collect::<Result<_, _>>()?;
        Ok(Json(TopicList { topics }))
    })
    .await
}

/// Create a topic.
#[utoipa::path(put, path = "/v1/topics/{topic}", tag = "topics", params(("topic" = String, Path)),
    request_body = TopicSettings,
    responses((status = 201, description = "Created", body = TopicView),
        (status = 200, description = "The topic was there, with the same number of partitions", body = TopicView),
        (status = 409, description = "The topic is there with other settings (E029)")))]
pub async fn create(
    State(shared): AppState,
    Name(topic): Name<TopicName>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    topics::refuse_internal(&topic)?;
    let bytes = shared.receive(&caller.principal, body, SETTINGS_BYTES_MAX).await?.bytes;
    let settings = settings_of(&headers, &bytes)?;
    let permit = shared.changes.take(None).await?;
    blocking(move || {
        let _held = permit;
        let log = &shared.state.log;
        let before = topics::find_before(&**log, &topic, &settings)?;
        if before.is_none() {
            let target = Some(topic.to_string());
            audit::begin(&shared.state, AuditEntry { target, ..caller.entry(Action::CreateTopic) })?;
            topics::create(&**log, &topic, &settings)?;
        }
        let status = if before.is_none() { StatusCode::CREATED } else { StatusCode::OK };
        let view = topics::view(&**log, &topic, &log.topic(&topic)?)?;
        Ok((status, Json(view)).into_response())
    })
    .await
}

fn settings_of(headers: &HeaderMap, bytes: &[u8]) -> Result<TopicSettings, Refusal> {
    match Media::of(headers) {
        _ if bytes.is_empty() => Ok(TopicSettings { partitions: 1, compacted: false }),
        Media::Json => Ok(body::json_of(bytes, Code::Malformed)?),
        other => Err(other.refuse("application/json")),
    }
}
