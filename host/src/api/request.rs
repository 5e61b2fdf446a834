//! The parts of a request, parsed: names in the path, the expected revision, query parameters.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};

use crate::catalog::{self, Change, Precondition};
use crate::model::audit::Actor;
use crate::model::codes::Code;
use crate::model::names::{NameError, TransformId};
use crate::model::revision::{Progress, RequestKey};
use crate::model::units::Timestamp;

use super::access::Caller;
use super::openapi::{header_parameter, path_parameter};
use super::problem::Refusal;

/// The header by which the host recognises a request that is sent again.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// The transform of `/v1/teams/{team}/transforms/{name}`.
pub struct Id(pub TransformId);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path((team, name)) = path::<(String, String), S>(parts, state).await?;
        id(&team, &name).map(Self)
    }
}

impl IntoParams for Id {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        ["team", "name"].map(path_parameter).to_vec()
    }
}

/// The transform and the revision of `/v1/teams/{team}/transforms/{name}/revisions/{revision}`.
pub struct IdRevision(pub TransformId, pub u64);

impl<S: Send + Sync> FromRequestParts<S> for IdRevision {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path((team, name, revision)) = path::<(String, String, String), S>(parts, state).await?;
        let number = revision.parse();
        let number = number.map_err(|_| Refusal::new(Code::NoRevision, format!("{revision:?} is not a revision's number")));
        Ok(Self(id(&team, &name)?, number?))
    }
}

/// The transform, the store and the key of `/v1/teams/{team}/transforms/{name}/state/{store}/{key}`.
pub struct Entry {
    pub id: TransformId,
    pub store: String,
    pub key: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Entry {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path((team, name, store, key)) = path::<(String, String, String, String), S>(parts, state).await?;
        Ok(Self { id: id(&team, &name)?, store, key })
    }
}

impl IntoParams for Entry {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        ["team", "name", "store", "key"].map(path_parameter).to_vec()
    }
}

fn id(team: &str, name: &str) -> Result<TransformId, Refusal> {
    let refused = |field: &'static str| move |error: NameError| Refusal::of_field(Code::BadName, field, error.to_string());
    Ok(TransformId { team: team.parse().map_err(refused("team"))?, name: name.parse().map_err(refused("name"))? })
}

/// The only name in the path, of any kind.
pub struct Name<T>(pub T);

impl<S: Send + Sync, T: std::str::FromStr<Err = NameError>> FromRequestParts<S> for Name<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path(raw) = path::<String, S>(parts, state).await?;
        raw.parse().map(Self).map_err(|error: NameError| Refusal::new(Code::BadName, error.to_string()))
    }
}

/// The only variable part of the path of a page or a file. A part that is no text names none.
pub struct PageName(pub String);

impl<S: Send + Sync> FromRequestParts<S> for PageName {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let parsed = Path::<String>::from_request_parts(parts, state).await;
        parsed.map(|Path(name)| Self(name)).map_err(|rejection| Refusal::new(Code::NoRoute, rejection.body_text()))
    }
}

async fn path<T: DeserializeOwned + Send, S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<Path<T>, Refusal> {
    let parsed = Path::<T>::from_request_parts(parts, state).await;
    parsed.map_err(|rejection| Refusal::new(Code::BadName, rejection.body_text()))
}

/// The query parameters; their types refuse unknown ones.
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let parsed = Query::<T>::from_request_parts(parts, state).await;
        parsed.map(|Query(params)| Self(params)).map_err(|rejection| {
            let text = rejection.body_text();
            let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
            Refusal::new(Code::Query, text)
        })
    }
}

/// The precondition of a change (`If-Match`, `If-None-Match`), the name of the request (`Idempotency-Key`), and its author.
pub struct IfMatch {
    expected: Precondition,
    key: Option<RequestKey>,
    actor: Actor,
}

impl IfMatch {
    /// Makes the request for this change, with the current time.
    pub fn of(self, change: Change) -> catalog::Request {
        catalog::Request {
            expected: self.expected,
            change,
            key: self.key,
            actor: self.actor,
            now: Timestamp::now(),
            committed: Progress::default(),
            growth: None,
            signature: None,
            assumes: None,
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let actor = Caller::from_request_parts(parts, state).await?.actor();
        Ok(Self { expected: expected(&parts.headers)?, key: key(&parts.headers)?, actor })
    }
}

impl IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![
            header_parameter("If-Match", "The ETag that the transform must have"),
            header_parameter(IDEMPOTENCY_KEY, "A name for this request: sent again, it is answered as the first time"),
        ]
    }
}

fn key(headers: &HeaderMap) -> Result<Option<RequestKey>, Refusal> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = String::from_utf8_lossy(value.as_bytes()).parse();
    key.map(Some).map_err(|rule: String| Refusal::of_field(Code::Query, IDEMPOTENCY_KEY, rule))
}

fn expected(headers: &HeaderMap) -> Result<Precondition, Refusal> {
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned());
    match (text(header::IF_MATCH).as_deref(), text(header::IF_NONE_MATCH).as_deref()) {
        (None, None) => Ok(Precondition::Any),
        (None, Some("*")) => Ok(Precondition::Absent),
        (Some("*"), None) => Ok(Precondition::Present),
        (Some(tag), None) => {
            // A proxy that compresses marks the tag as weak; the tag is still the revision.
            let quoted = tag.strip_prefix("W/").unwrap_or(tag);
            let revision = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(quoted);
            let revision = revision.parse().map_err(|_| {
                Refusal::of_field(Code::Query, "If-Match", format!("{tag:?} is no ETag of a transform, such as \"3\""))
            })?;
            Ok(Precondition::Revision(revision))
        }
        (None, Some(other)) => {
            let message = format!("{other:?} is not understood, only * is");
            Err(Refusal::of_field(Code::Query, "If-None-Match", message))
        }
        (Some(_), Some(_)) => {
            Err(Refusal::of_field(Code::Query, "If-Match", "it contradicts If-None-Match: send one of them"))
        }
    }
}

/// Reads a switch of a query: `?follow`, `?follow=true`, `?follow=false`.
pub fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "" | "true" => Ok(true),
        "false" => Ok(false),
        other => Err(serde::de::Error::custom(format!("{other:?} is neither true nor false"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preconditions_are_parsed() {
        for (if_match, if_none_match, parsed) in [
            (None, None, Some(Precondition::Any)),
            (Some("\"3\""), None, Some(Precondition::Revision(3))),
            (Some("W/\"3\""), None, Some(Precondition::Revision(3))),
            (Some("3"), None, Some(Precondition::Revision(3))),
            (Some("*"), None, Some(Precondition::Present)),
            (None, Some("*"), Some(Precondition::Absent)),
            (Some("\"x\""), None, None),
            (Some("\"1\", \"2\""), None, None),
            (None, Some("\"1\""), None),
            (Some("\"1\""), Some("*"), None),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(header::IF_MATCH, if_match), (header::IF_NONE_MATCH, if_none_match)] {
                if let Some(value) = value {
                    headers.insert(name, value.parse().expect("valid"));
                }
            }
            assert_eq!(expected(&headers).ok(), parsed, "{headers:?}");
        }
    }

    #[test]
    fn request_keys_are_visible_ascii() {
        let longest = "k".repeat(128);
        for (raw, fits) in [("5f0c-1", true), (&longest, true), (&format!("{longest}k"), false), ("a b", false), ("", false)]
        {
            let mut headers = HeaderMap::new();
            headers.insert("idempotency-key", raw.parse().expect("valid"));
            assert_eq!(key(&headers).is_ok(), fits, "{raw:?}");
        }
        assert_eq!(key(&HeaderMap::new()), Ok(None));
    }
}
