//! Answers that refuse a request: RFC 9457 problem details, each with a code, its hint and a page that this host serves.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api_types::{self, ProblemDetails};
use crate::catalog::{CatalogError, Precondition};
use crate::model::codes::Code;
use crate::model::module::ModuleError;
use crate::model::spec::Problem;
use crate::model::text::{cut, one_line};
use crate::ports::LogError;
use crate::positions::PositionsError;
use crate::topics::TopicError;

/// Largest body of a refusal. Each part has its own limit, counted as JSON: a guest may have written a message, and each
/// field of a spec may have a problem.
pub const BODY_BYTES_MAX: usize = 16 * 1024;
const DETAIL_BYTES_MAX: usize = 4 * 1024;
const HINT_BYTES_MAX: usize = 1024;
const ERRORS_BYTES_MAX: usize = 9 * 1024;
const FIELD_BYTES_MAX: usize = 512;
const MESSAGE_BYTES_MAX: usize = 2 * 1024;
/// Bytes of the fields that the host writes by itself.
const OWN_BYTES: usize = 1024;
/// Longest message of a panic that a line of the log repeats.
const LOGGED_BYTES_MAX: usize = 512;
const _: () = assert!(DETAIL_BYTES_MAX + HINT_BYTES_MAX + ERRORS_BYTES_MAX + OWN_BYTES < BODY_BYTES_MAX);

/// The refusal of a request. The answer shows it as [`ProblemDetails`].
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
        let detail = within(detail.into(), DETAIL_BYTES_MAX);
        let hint = Cow::Borrowed(code.hint());
        Self { code, detail, hint, errors: Vec::new(), expected_revision: None, current_revision: None }
    }

    /// A refusal with the problem of one field.
    pub fn of_field(code: Code, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::of_fields(code, vec![Problem { field: field.into(), message: message.into() }])
    }

    /// A refusal with the problems of several fields, as many as an answer holds.
    pub fn of_fields(code: Code, errors: Vec<Problem>) -> Self {
        let count = errors.len();
        Self::of_problems(code, errors, count)
    }

    /// A refusal with the problems of several rules. The first `own` problems are those of the code, and make up the
    /// detail.
    pub fn of_problems(code: Code, errors: Vec<Problem>, own: usize) -> Self {
        let count = errors.len();
        let mut left = ERRORS_BYTES_MAX;
        let mut kept = Vec::new();
        for Problem { field, message } in errors {
            let field = within(field, FIELD_BYTES_MAX);
            let message = within(message, MESSAGE_BYTES_MAX);
            let bytes = json_bytes(&field) + json_bytes(&message) + r#"{"field":"","message":""},"#.len();
            if bytes > left {
                break;
            }
            left -= bytes;
            kept.push(Problem { field, message });
        }
        let shown = |error: &Problem| match error.field.as_str() {
            "" => error.message.clone(),
            field => format!("{field}: {}", error.message),
        };
        let detail = kept.iter().take(own).map(shown).collect::<Vec<_>>().join("; ");
        if kept.len() < count {
            kept.push(Problem { field: String::new(), message: format!("and {} more", count - kept.len()) });
        }
        Self { errors: kept, ..Self::new(code, detail) }
    }

    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Cow::Owned(within(hint.into(), HINT_BYTES_MAX)), ..self }
    }

    pub fn code(&self) -> Code {
        self.code
    }

    pub fn errors(&self) -> &[Problem] {
        &self.errors
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The body of the answer.
    pub fn details(&self) -> ProblemDetails {
        ProblemDetails {
            kind: format!("/errors/{}", self.code).into(),
            title: self.code.title().into(),
            status: self.code.entry().status,
            detail: self.detail.as_str().into(),
            code: self.code.as_str().into(),
            hint: self.hint.as_ref().into(),
            errors: self.errors.iter().map(api_types::Problem::from).collect(),
            expected_revision: self.expected_revision,
            current_revision: self.current_revision,
        }
    }
}

/// Answers to a panic. The message of the panic goes to the log only.
pub fn panicked(message: &str) -> Refusal {
    let message = one_line(cut(message, LOGGED_BYTES_MAX));
    tracing::error!(%message, code = %Code::Internal, "a request's handler panicked");
    Refusal::new(Code::Internal, "the request could not be completed")
}

/// Cuts the text to `bytes_max` bytes of JSON.
fn within(text: String, bytes_max: usize) -> String {
    if text.len() <= bytes_max && json_bytes(&text) <= bytes_max {
        return text;
    }
    let mut bytes = "...".len();
    let fits = |(_, c): &(usize, char)| {
        bytes += json_char_bytes(*c);
        bytes <= bytes_max
    };
    let end = text.char_indices().take_while(fits).last().map_or(0, |(at, c)| at + c.len_utf8());
    // A copy, so that the memory of the rest is given back.
    format!("{}...", cut(&text, end))
}

/// The number of bytes of a text within a JSON string.
pub fn json_bytes(text: &str) -> usize {
    text.chars().map(json_char_bytes).sum()
}

fn json_char_bytes(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        c if c < ' ' => r"\u0000".len(),
        c => c.len_utf8(),
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
        if let CatalogError::OverCeiling(problems) = error {
            return Self::of_fields(Code::OverCeiling, problems);
        }
        let mut problem = Self::new(error.code(), error.to_string());
        if let CatalogError::Conflict { expected, found } = error {
            problem.current_revision = found;
            if let Precondition::Revision(revision) = expected {
                problem.expected_revision = Some(revision);
            }
        }
        problem
    }
}

impl From<PositionsError> for Refusal {
    fn from(error: PositionsError) -> Self {
        match error {
            PositionsError::Log(error) => error.into(),
            error => Self::new(error.code(), error.to_string()),
        }
    }
}

impl From<LogError> for Refusal {
    fn from(error: LogError) -> Self {
        TopicError::Log(error).into()
    }
}

impl From<TopicError> for Refusal {
    fn from(error: TopicError) -> Self {
        match error {
            TopicError::Field { code, field, message } => Self::of_field(code, field, message),
            error => Self::new(error.code(), error.to_string()),
        }
    }
}

impl From<ModuleError> for Refusal {
    fn from(error: ModuleError) -> Self {
        Self::of_field(error.code(), "module", error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(refusal: &Refusal) -> serde_json::Value {
        let json = serde_json::to_string(&refusal.details()).expect("plain data");
        assert!(json.len() <= BODY_BYTES_MAX, "{} bytes: {}", json.len(), cut(&json, 200));
        serde_json::from_str(&json).expect("JSON")
    }

    #[test]
    fn no_refusal_is_larger_than_its_limit() {
        for text in ["x", "\0", "é", "\"", "\u{1f4a9}", "\n"] {
            let long = text.repeat(2_000_000);
            check(&Refusal::new(Code::Init, long.clone()).with_hint(long.clone()));
            check(&Refusal::of_field(Code::Init, long.clone(), long.clone()));
            let problem = Problem { field: text.repeat(300), message: text.repeat(900) };
            let shown = check(&Refusal::of_fields(Code::Spec, vec![problem; 500]).with_hint(long));
            let last = shown["errors"].as_array().and_then(|errors| errors.last()).expect("errors").clone();
            assert!(last["message"].as_str().is_some_and(|message| message.starts_with("and ")), "{last}");
        }
    }

    #[test]
    fn a_short_refusal_is_kept_whole() {
        let problems = vec![
            Problem { field: "inputs[0]".into(), message: "\"a b\" is no topic".into() },
            Problem { field: String::new(), message: "too large".into() },
        ];
        let refusal = Refusal::of_fields(Code::Spec, problems.clone());
        assert_eq!(refusal.detail(), "inputs[0]: \"a b\" is no topic; too large");
        assert_eq!(refusal.errors, problems);
        assert_eq!(within("ab\0".into(), 8), "ab\0");
        assert_eq!(within("ab\0c".into(), 8), "ab...");
    }
}
