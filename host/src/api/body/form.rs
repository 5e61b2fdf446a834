//! Forms: their parts, and the form of a deployment.

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::HeaderMap;

use super::super::problem::Refusal;
use super::media::Media;
use super::spec::spec_within;
use crate::model::codes::Code;
use crate::model::signature::Envelope;
use crate::model::spec::RawSpec;

/// Room for the own lines of a form around its parts.
pub const FORM_BYTES: usize = 64 * 1024;

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
