//! Topics over HTTP, for the embedded log only: Kafka's clients cannot connect to it.

mod checks;
pub mod read;
pub mod write;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::api_types::{Line, OffsetRange, TopicList, TopicSettings, TopicView};
use crate::audit::{Action, AuditEntry};
use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::ports::{Log, LogError, NewTopic, PARTITIONS_MAX, TopicInfo};

use self::checks::refuse_internal;
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
    let permit = shared.lookups.take().await?;
    let log = shared.state.log.clone();
    blocking(move || {
        let _held = permit;
        let mut topics = log.topics()?;
        topics.retain(|(name, _)| !name.is_internal());
        topics.sort_by(|a, b| a.0.cmp(&b.0));
        let topics = topics.iter().map(|(name, info)| view(&*log, name, info)).collect::<Result<_, _>>()?;
        Ok(Json(TopicList { topics }))
    })
    .await
}

/// Shows a topic with the offsets of its partitions.
fn view(log: &dyn Log, name: &TopicName, info: &TopicInfo) -> Result<TopicView, Refusal> {
    let bounds = (0..).zip(log.bounds(name)?);
    let offsets = bounds.map(|(partition, (first, end))| OffsetRange { partition, first, end }).collect();
    let record_bytes_max = info.record_bytes_max;
    Ok(TopicView { name: Line::of(name), partitions: info.partitions, record_bytes_max, offsets })
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
    refuse_internal(&topic)?;
    let bytes = shared.receive(body, SETTINGS_BYTES_MAX).await?.bytes;
    let settings = settings_of(&headers, &bytes)?;
    let permit = shared.changes.take().await?;
    blocking(move || {
        let _held = permit;
        let log = &shared.state.log;
        let before = match log.topic(&topic) {
            Ok(info) => Some(info),
            Err(LogError::NoTopic(_)) => None,
            Err(error) => return Err(error.into()),
        };
        if let Some(found) = before.as_ref().filter(|found| found.partitions != settings.partitions) {
            let message = format!("{topic} has {} partitions, not {}", found.partitions, settings.partitions);
            return Err(Refusal::of_field(Code::TopicDiffers, "partitions", message));
        }
        if before.is_none() {
            let TopicSettings { partitions, compacted } = settings;
            let target = Some(topic.to_string());
            audit::begin(&shared.state, AuditEntry { target, ..caller.entry(Action::CreateTopic) })?;
            log.create_topic(&NewTopic { name: topic.clone(), partitions, compacted, retention: None })?;
        }
        let status = if before.is_none() { StatusCode::CREATED } else { StatusCode::OK };
        let view = view(&**log, &topic, &log.topic(&topic)?)?;
        Ok((status, Json(view)).into_response())
    })
    .await
}

fn settings_of(headers: &HeaderMap, bytes: &[u8]) -> Result<TopicSettings, Refusal> {
    let settings = match Media::of(headers) {
        _ if bytes.is_empty() => TopicSettings { partitions: 1, compacted: false },
        Media::Json => body::json_of(bytes, Code::Malformed)?,
        other => return Err(other.refuse("application/json")),
    };
    if !(1..=PARTITIONS_MAX).contains(&settings.partitions) {
        let message = format!("is {}, but must be 1 to {PARTITIONS_MAX}", settings.partitions);
        return Err(Refusal::of_field(Code::Malformed, "partitions", message));
    }
    Ok(settings)
}
