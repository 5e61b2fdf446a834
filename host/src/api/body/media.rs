//! The content types of bodies and of the parts of a form.

use axum::http::{HeaderMap, header};

use super::super::problem::Refusal;
use crate::model::codes::Code;

/// The content types that some route takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Media {
    Json,
    Yaml,
    Ndjson,
    Wasm,
    Multipart,
    /// There is no Content-Type header.
    Absent,
    Other(String),
}

impl Media {
    pub fn of(headers: &HeaderMap) -> Self {
        let Some(raw) = headers.get(header::CONTENT_TYPE) else {
            return Self::Absent;
        };
        let raw = String::from_utf8_lossy(raw.as_bytes());
        let essence = raw.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" => Self::Json,
            "application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml" => Self::Yaml,
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Self::Ndjson,
            "application/wasm" | "application/octet-stream" => Self::Wasm,
            "multipart/form-data" => Self::Multipart,
            _ => Self::Other(essence.chars().take(80).collect()),
        }
    }

    /// The refusal of a route that does not take this type.
    pub fn refuse(&self, taken: &str) -> Refusal {
        let found = match self {
            Self::Absent => "the request has no Content-Type".to_owned(),
            Self::Other(other) => format!("the request's Content-Type is {other:?}"),
            known => format!("the request's Content-Type is that of {known:?}"),
        };
        let example = taken.split([',', ' ']).next().unwrap_or(taken);
        Refusal::new(Code::ContentType, format!("{found}, this route takes {taken}"))
            .with_hint(format!("set the header; with curl: -H 'content-type: {example}'"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_are_told_apart_by_their_essence() {
        for (raw, media) in [
            ("application/json; charset=utf-8", Media::Json),
            ("Text/YAML", Media::Yaml),
            ("application/x-www-form-urlencoded", Media::Other("application/x-www-form-urlencoded".into())),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, raw.parse().expect("valid"));
            assert_eq!(Media::of(&headers), media);
        }
        assert_eq!(Media::of(&HeaderMap::new()), Media::Absent);
    }
}
