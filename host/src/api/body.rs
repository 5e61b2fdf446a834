//! Request bodies: each is read as a whole, within a limit, a time and the budget of all bodies, and parsed by its content
//! type.
//!
//! A request takes nothing else before its body has arrived. Bodies are parsed on threads that may block.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::{HeaderMap, header};
use futures::StreamExt;
use tokio::sync::oneshot;

use crate::api_types::misfits;
use crate::model::by_name::ByName;
use crate::model::codes::Code;
use crate::model::json;
use crate::model::numbers::string_end;
use crate::model::signature::Envelope;
use crate::model::spec::{Problem, RawSpec};
use crate::model::yaml;

use super::budget::{Budget, Kind, NoRoom, Share};
use super::problem::Refusal;

/// Room for the own lines of a form around its parts.
pub const FORM_BYTES: usize = 64 * 1024;
/// Bytes of a body that is too large that are read and thrown away, so that its sender gets to read the answer.
const DRAIN_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Time for these bytes.
const DRAIN_TIME: Duration = Duration::from_secs(5);

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

/// A whole body, with its share of the bytes in flight.
pub struct RequestBody {
    pub bytes: Bytes,
    /// The share, which is kept for as long as any value that was made of the body.
    pub share: Share,
}

/// Reads a body to its end, within a time and within the budget of all bodies.
pub async fn read(intake: &Budget, body: Body, bytes_max: usize, time: Duration) -> Result<RequestBody, Refusal> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut stream = body.into_data_stream();
    let read = if announced > bytes_max {
        Ok(Err(too_large(bytes_max)))
    } else {
        tokio::time::timeout(time, read_within(intake, &mut stream, bytes_max)).await
    };
    match read {
        Ok(Err(refusal)) if matches!(refusal.code(), Code::BodyTooLarge | Code::Busy) => {
            // The share is given back by now: the rest is thrown away.
            drain(stream).await;
            Err(refusal)
        }
        Ok(done) => done,
        Err(_) => Err(Refusal::new(Code::BodyCutOff, format!("the body did not arrive within {} s", time.as_secs()))),
    }
}

fn too_large(bytes_max: usize) -> Refusal {
    Refusal::new(Code::BodyTooLarge, format!("the body has more than {bytes_max} bytes"))
}

async fn read_within(intake: &Budget, stream: &mut BodyDataStream, bytes_max: usize) -> Result<RequestBody, Refusal> {
    let (ask, mut asked) = oneshot::channel();
    let mut share = intake.share(Kind::Growing, move || {
        // There is no listener any more if the body has just arrived.
        let _ = ask.send(());
    });
    let mut bytes = Vec::new();
    let arriving = async {
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| {
                Refusal::new(Code::BodyCutOff, format!("the body ended after {} bytes: {error}", bytes.len()))
            })?;
            let arrived = bytes.len() + chunk.len();
            if arrived > bytes_max {
                return Err(too_large(bytes_max));
            }
            share.grow_to(arrived).await.map_err(|NoRoom| {
                Refusal::new(Code::Busy, "too many bytes of bodies are in flight (upload_bytes_in_flight_max)")
            })?;
            bytes.extend_from_slice(&chunk);
        }
        Ok(())
    };
    tokio::select! {
        arrived = arriving => arrived?,
        Ok(()) = &mut asked => {
            let detail = "the body came too slowly, and others needed its bytes (upload_bytes_in_flight_max)";
            return Err(Refusal::new(Code::Busy, detail));
        }
    }
    share.settle();
    Ok(RequestBody { bytes: bytes.into(), share })
}

async fn drain(mut stream: BodyDataStream) {
    let mut left = DRAIN_BYTES_MAX;
    let all = async {
        while let Some(Ok(chunk)) = stream.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                return;
            }
        }
    };
    // The answer goes out now, also if the body has not ended.
    let _ = tokio::time::timeout(DRAIN_TIME, all).await;
}

/// The parts of a deployment.
#[derive(Debug)]
pub struct Upload {
    pub spec: RawSpec,
    pub module: Option<Bytes>,
    pub signature: Option<Envelope>,
}

/// Reads the form of a deployment: a part `spec`, a part `module` and a part `signature`. Blocks for as long as the parsing
/// takes.
pub fn form(headers: &HeaderMap, body: Bytes, spec_bytes_max: usize) -> Result<Upload, Refusal> {
    let mut parts = parts(headers, body, &["spec", "module", "signature"])?;
    let spec = parts.remove("spec").ok_or_else(|| Refusal::new(Code::Multipart, "the form has no part \"spec\""))?;
    let signature = parts.remove("signature").map(|part| signature_of(&part.bytes)).transpose()?;
    let module = parts.remove("module").map(|part| part.bytes);
    Ok(Upload { spec: spec_within(&spec.media, &spec.bytes, spec_bytes_max)?, module, signature })
}

/// Reads the signature of a module.
pub fn signature_of(text: &[u8]) -> Result<Envelope, Refusal> {
    Envelope::parse(text).map_err(|error| Refusal::of_field(Code::BadSignature, "module", error.to_string()))
}

/// One part of a form.
#[derive(Debug)]
pub struct Part {
    pub media: Media,
    pub bytes: Bytes,
}

/// Reads a form: each of the known parts at most once, and no others. Blocks for as long as the parsing takes.
pub fn parts(headers: &HeaderMap, body: Bytes, known: &[&str]) -> Result<BTreeMap<String, Part>, Refusal> {
    // The whole body is there: no read waits.
    futures::executor::block_on(read_parts(headers, body, known))
}

async fn read_parts(headers: &HeaderMap, body: Bytes, known: &[&str]) -> Result<BTreeMap<String, Part>, Refusal> {
    let refuse = |detail: String| Refusal::new(Code::Multipart, detail);
    let mut request = Request::new(Body::from(body));
    *request.headers_mut() = headers.clone();
    // The body was counted when it was read.
    DefaultBodyLimit::disable().apply(&mut request);
    let mut parts = Multipart::from_request(request, &()).await.map_err(|error| refuse(error.body_text()))?;
    let mut found = BTreeMap::new();
    while let Some(part) = parts.next_field().await.map_err(|error| refuse(error.body_text()))? {
        let name = part.name().unwrap_or_default().to_owned();
        let media = Media::of(part.headers());
        let bytes = part.bytes().await.map_err(|error| refuse(format!("part {name:?}: {}", error.body_text())))?;
        if !known.contains(&name.as_str()) {
            return Err(refuse(format!("the form has a part {name:?}, known are {known:?}")));
        }
        if found.insert(name.clone(), Part { media, bytes }).is_some() {
            return Err(refuse(format!("the form has two parts {name:?}")));
        }
    }
    Ok(found)
}

/// Reads a spec that is a part of a body, within the limit of a body that is a spec.
pub fn spec_within(media: &Media, bytes: &[u8], bytes_max: usize) -> Result<RawSpec, Refusal> {
    if bytes.len() > bytes_max {
        return Err(Refusal::new(Code::BodyTooLarge, format!("the spec has more than {bytes_max} bytes (spec_bytes_max)")));
    }
    spec_of(media, bytes)
}

/// Reads a spec: JSON or YAML. Without a content type, a spec that begins with `{` is JSON. Blocks: a spec of a megabyte
/// takes some time.
pub fn spec_of(media: &Media, bytes: &[u8]) -> Result<RawSpec, Refusal> {
    let json = match media {
        Media::Json => true,
        Media::Yaml => false,
        _ => bytes.trim_ascii_start().starts_with(b"{"),
    };
    if json {
        check_nodes(bytes)?;
        return json_of(bytes, Code::Spec).map_err(|refusal| completed(refusal, || json::read(bytes).ok()));
    }
    RawSpec::of_yaml(bytes).map_err(|error| match error {
        yaml::Error::Unfit { field, message } => completed(of_place(Code::Spec, &field, &message), || yaml::one(bytes).ok()),
        yaml::Error::Malformed(message) => Refusal::new(Code::Malformed, format!("not YAML that is taken: {message}")),
    })
}

/// Refuses a JSON text of more values than YAML may have: the tree of many small ones takes far more memory than their text.
fn check_nodes(json: &[u8]) -> Result<(), Refusal> {
    if nodes(json) <= yaml::NODES_MAX {
        return Ok(());
    }
    let message = format!("not JSON that is taken: there are more than {} values", yaml::NODES_MAX);
    Err(Refusal::new(Code::Malformed, message))
}

/// Counts the values of a JSON text, and the names of fields, without a tree of them. No depth ends the count, and a text that
/// is no JSON is counted as its reader sees it up to the place where it ends.
fn nodes(json: &[u8]) -> usize {
    let is_between = |byte: &u8| byte.is_ascii_whitespace() || b",:]}".contains(byte);
    let mut count = 0;
    let mut rest = json;
    while let Some(start) = rest.iter().position(|byte| !is_between(byte)) {
        let node = &rest[start..];
        let end = match node[0] {
            b'[' | b'{' => 1,
            b'"' => string_end(node),
            _ => node.iter().position(|byte| is_between(byte) || b"[{\"".contains(byte)).unwrap_or(node.len()),
        };
        count += 1;
        rest = &node[end..];
    }
    count
}

/// Adds the other places where a document is no spec: the typed reader ends at the first.
fn completed(first: Refusal, document: impl FnOnce() -> Option<serde_json::Value>) -> Refusal {
    if first.code() != Code::Spec {
        return first;
    }
    let found = document().map(|document| misfits(&document)).unwrap_or_default();
    let is_new = |problem: &Problem| first.errors().iter().all(|known| known.field != problem.field);
    let others: Vec<Problem> = found.into_iter().filter(is_new).collect();
    Refusal::of_fields(Code::Spec, first.errors().iter().cloned().chain(others).collect())
}

/// Reads JSON. `code` is the code for JSON that does not fit the type.
pub fn json_of<T: serde::de::DeserializeOwned>(bytes: &[u8], code: Code) -> Result<T, Refusal> {
    let axum::Json(ByName(value)) = axum::Json::from_bytes(bytes).map_err(|rejection| {
        // "Failed to ...: " comes first, then the place.
        let text = rejection.body_text();
        let text = text.split_once(": ").map_or(text.as_str(), |(_, rest)| rest);
        match rejection {
            axum::extract::rejection::JsonRejection::JsonDataError(_) => {
                let (place, message) = placed(text);
                // The field is a better place than line and column, and the rest of the text may repeat the body.
                of_place(code, place, message.split(" at line ").next().unwrap_or(message))
            }
            _ => Refusal::new(Code::Malformed, format!("not JSON: {text}")),
        }
    })?;
    Ok(value)
}

/// Parts an error of serde, `a.b[0]: message`, into field and message.
fn placed(text: &str) -> (&str, &str) {
    match text.split_once(": ") {
        Some((place, message)) if !place.is_empty() && !place.contains([' ', '`', '"']) => (place, message),
        _ => ("", text),
    }
}

fn of_place(code: Code, place: &str, message: &str) -> Refusal {
    let unknown = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
    let field = match unknown {
        Some(name) if place.is_empty() || place == "." => name.to_owned(),
        Some(name) if place != name && !place.ends_with(&format!(".{name}")) => format!("{place}.{name}"),
        _ => place.to_owned(),
    };
    Refusal::of_field(code, field, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_field() {
        for (media, spec, code, field) in [
            (Media::Json, r#"{"inputz": ["a"]}"#, Code::Spec, "inputz"),
            (Media::Json, r#"{"limits": {"memroy": "1MiB"}}"#, Code::Spec, "limits.memroy"),
            (Media::Json, r#"{"limits": {"memory": "lots"}}"#, Code::Spec, "limits.memory"),
            (Media::Json, r#"{"inputs": ["a""#, Code::Malformed, ""),
            (Media::Json, "", Code::Malformed, ""),
            (Media::Yaml, "inputz: [a]", Code::Spec, "inputz"),
            (Media::Yaml, "limits: {memroy: 1MiB}", Code::Spec, "limits.memroy"),
            (Media::Yaml, "limits: {memory: lots}", Code::Spec, "limits.memory"),
            (Media::Yaml, "a: [", Code::Malformed, ""),
            (Media::Yaml, "inputs: &all [a]", Code::Malformed, ""),
            (Media::Yaml, "inputs: [a]\n---\ninputs: [b]", Code::Malformed, ""),
            (Media::Yaml, "outputs: {a: b, a: c}", Code::Spec, "outputs"),
            (Media::Absent, r#" {"inputz": []}"#, Code::Spec, "inputz"),
            (Media::Absent, "inputz: []", Code::Spec, "inputz"),
        ] {
            let problem = spec_of(&media, spec.as_bytes()).expect_err(spec);
            let json = serde_json::to_value(problem.details()).expect("plain data");
            assert_eq!(problem.code(), code, "{spec}: {problem:?}");
            assert_eq!(json["errors"][0]["field"].as_str().unwrap_or_default(), field, "{spec}: {problem:?}");
        }
    }

    #[test]
    fn every_place_that_is_no_spec_is_told_at_once() {
        let yaml = "inputz: [a]\nlimits: {memroy: 1MiB, batch_records: many}\nworkers: two\n";
        let json = r#"{"inputz": ["a"], "limits": {"memroy": "1MiB", "batch_records": "many"}, "workers": "two"}"#;
        for (media, spec) in [(Media::Yaml, yaml), (Media::Json, json)] {
            let refusal = spec_of(&media, spec.as_bytes()).expect_err(spec);
            let fields: Vec<&str> = refusal.errors().iter().map(|problem| problem.field.as_str()).collect();
            assert_eq!(fields, ["inputz", "limits.batch_records", "limits.memroy", "workers"], "{refusal:?}");
        }
    }

    #[test]
    fn values_and_names_are_counted() {
        for (json, count) in [
            ("", 0),
            (" \n", 0),
            ("7", 1),
            ("[]", 1),
            ("{}", 1),
            (r#"{"": 0}"#, 3),
            (r#" [ {"":0}, {"a" : [1, -2.5e3, true,null] } ] "#, 11),
            (r#"["a,b", "\"[{", "\\", "c"]"#, 5),
            // No JSON: the count goes up to its end all the same.
            (r#"[1, "a\"#, 3),
            (r#"[1"a"2]"#, 4),
            ("]:,}", 0),
        ] {
            assert_eq!(nodes(json.as_bytes()), count, "{json}");
        }
        assert_eq!(nodes("[".repeat(1000).as_bytes()), 1000);
    }

    #[test]
    fn json_and_yaml_of_too_many_values_are_refused_alike() {
        let spec = |zeros: usize| format!(r#"{{"config": {{"a": [{}]}}}}"#, vec!["0"; zeros].join(","));
        // Two objects, two names and a list stand around the zeros.
        let fitting = spec(yaml::NODES_MAX - 5);
        assert!(spec_of(&Media::Json, fitting.as_bytes()).is_ok());
        assert!(spec_of(&Media::Json, spec(yaml::NODES_MAX - 4).as_bytes()).is_err());
        for media in [Media::Json, Media::Yaml, Media::Absent] {
            let refusal = spec_of(&media, spec(yaml::NODES_MAX).as_bytes()).expect_err("too many");
            assert_eq!(refusal.code(), Code::Malformed, "{media:?}");
            assert!(refusal.detail().contains("there are more than 100000 values"), "{media:?}: {refusal:?}");
        }
        // A config is as deep as its reader goes, and a count that read the whole would have ended in it.
        let deep = format!("{}{}", "[".repeat(126), "]".repeat(126));
        let zeros = vec!["0"; yaml::NODES_MAX].join(",");
        let hidden = format!(r#"{{"config": {{"a": {deep}, "b": [{zeros}]}}}}"#);
        let refusal = spec_of(&Media::Json, hidden.as_bytes()).expect_err("too many");
        assert!(refusal.detail().contains("more than 100000 values"), "{refusal:?}");
    }

    #[test]
    fn a_spec_within_a_body_has_the_limit_of_one_alone() {
        let spec = r#"{"inputs": ["a"]}"#;
        for media in [Media::Json, Media::Yaml, Media::Absent] {
            assert!(spec_within(&media, spec.as_bytes(), spec.len()).is_ok(), "{media:?}");
            let refusal = spec_within(&media, spec.as_bytes(), spec.len() - 1).expect_err("too long");
            assert_eq!(refusal.code(), Code::BodyTooLarge, "{media:?}");
        }
    }

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
