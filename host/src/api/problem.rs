//! Answers that refuse: RFC 9457 problem details, each with a code, its hint and a page that this host serves.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::catalog::{CatalogError, Expected};
use crate::model::codes::Code;
use crate::model::module::ModuleError;
use crate::model::spec::Problem;
use crate::ports::LogError;

/// What every answer with a status of 400 and above holds (`application/problem+json`).
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemDetails<'a> {
    /// The code's page, on this host.
    #[serde(rename = "type")]
    #[schema(example = "/errors/E014")]
    kind: String,
    /// What the code means.
    title: &'static str,
    status: u16,
    /// What happened this time.
    detail: &'a str,
    #[schema(value_type = String, example = "E014")]
    code: Code,
    /// What to do.
    hint: &'a str,
    /// Everything that is wrong, field by field, where there are fields.
    #[serde(skip_serializing_if = "<[Problem]>::is_empty")]
    errors: &'a [Problem],
    /// Of E008: what the request expected (absent: no transform, or any).
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_revision: Option<u64>,
    /// Of E008: what the transform is at (absent: there is none).
    #[serde(skip_serializing_if = "Option::is_none")]
    current_revision: Option<u64>,
}

/// Why a request is refused, on its way to become [`ProblemDetails`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    code: Code,
    detail: String,
    hint: Cow<'static, str>,
    errors: Vec<Problem>,
    expected_revision: Option<u64>,
    current_revision: Option<u64>,
}

impl Refusal {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let hint = Cow::Borrowed(code.hint());
        Self { code, detail: detail.into(), hint, errors: Vec::new(), expected_revision: None, current_revision: None }
    }

    /// A problem of one field.
    pub fn of_field(code: Code, field: impl Into<String>, message: impl Into<String>) -> Self {
        let (field, message) = (field.into(), message.into());
        let detail = if field.is_empty() { message.clone() } else { format!("{field}: {message}") };
        Self { errors: vec![Problem { field, message }], ..Self::new(code, detail) }
    }

    /// A problem of several fields: all of them at once.
    pub fn of_fields(code: Code, errors: Vec<Problem>) -> Self {
        let all: Vec<String> = errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
        Self { errors, ..Self::new(code, all.join("; ")) }
    }

    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Cow::Owned(hint.into()), ..self }
    }

    pub fn code(&self) -> Code {
        self.code
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// As it goes over the wire.
    pub fn details(&self) -> ProblemDetails<'_> {
        ProblemDetails {
            kind: format!("/errors/{}", self.code),
            title: self.code.title(),
            status: self.code.entry().status,
            detail: &self.detail,
            code: self.code,
            hint: &self.hint,
            errors: &self.errors,
            expected_revision: self.expected_revision,
            current_revision: self.current_revision,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.entry().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.details()).expect("problem details are plain data");
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<CatalogError> for Refusal {
    fn from(error: CatalogError) -> Self {
        let mut problem = Self::new(error.code(), error.to_string());
        if let CatalogError::Conflict { expected, found } = error {
            problem.current_revision = found;
            if let Expected::Revision(revision) = expected {
                problem.expected_revision = Some(revision);
            }
        }
        problem
    }
}

impl From<LogError> for Refusal {
    fn from(error: LogError) -> Self {
        let code = match &error {
            LogError::NoTopic(_) => Code::NoTopic,
            LogError::Unavailable(_) => Code::LogUnavailable,
            LogError::Refused(_) => Code::LogRefused,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ModuleError> for Refusal {
    fn from(error: ModuleError) -> Self {
        Self::of_field(error.code(), "module", error.to_string())
    }
}
