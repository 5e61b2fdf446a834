//! The candidate of a dry run: its parts as a request has them, completed from the current revision.

use axum::body::Bytes;
use axum::http::HeaderMap;

use crate::api_types::{DryRunRequest, LiveRecords};
use crate::catalog::CatalogError;
use crate::model::codes::Code;
use crate::model::names::{Digest, TransformId};
use crate::model::spec::{RawSpec, Spec};
use crate::model::units::Timestamp;
use crate::record_json::{self, RecordInput};

use super::super::body::{self, Media};
use super::super::deploy::module_of;
use super::super::problem::Refusal;
use super::super::shared::ApiState;

/// The parts of a request.
pub struct Candidate {
    pub spec: Option<RawSpec>,
    pub module: Option<Bytes>,
    pub source: Source,
}

/// The origin of the records.
pub enum Source {
    Given(Vec<RecordInput>),
    Live(LiveRecords),
}

// === impl Candidate ===

impl Candidate {
    /// Takes a request apart. Blocks for as long as the parts take to be parsed.
    pub fn read(media: &Media, headers: &HeaderMap, bytes: Bytes, records_max: usize) -> Result<Self, Refusal> {
        if *media == Media::Json {
            let DryRunRequest { spec, records, live } = body::json_of(&bytes, Code::Malformed)?;
            let spec = spec.map(|spec| body::spec_of(&Media::Json, spec.get().as_bytes())).transpose()?;
            let given = records.map(|records| parse(records.get().as_bytes(), false, records_max)).transpose()?;
            return Ok(Self { spec, module: None, source: Source::of(given, live)? });
        }
        let mut parts = body::parts(headers, bytes, &["spec", "module", "records", "live"])?;
        let spec = parts.remove("spec").map(|spec| body::spec_of(&spec.media, &spec.bytes)).transpose()?;
        let given = parts.remove("records").map(|records| parse(&records.bytes, true, records_max)).transpose()?;
        let live = parts.remove("live").map(|live| body::json_of(&live.bytes, Code::Malformed)).transpose()?;
        let module = parts.remove("module").map(|module| module.bytes);
        Ok(Self { spec, module, source: Source::of(given, live)? })
    }
}

fn parse(bytes: &[u8], lines: bool, records_max: usize) -> Result<Vec<RecordInput>, Refusal> {
    record_json::parse(bytes, lines, records_max, Timestamp::now()).map_err(|refused| {
        if refused.is_beyond {
            Refusal::new(Code::BodyTooLarge, format!("{} (trial_records_max)", refused.message))
        } else {
            Refusal::of_field(Code::Record, format!("records[{}]", refused.index), refused.message)
        }
    })
}

// === impl Source ===

impl Source {
    fn of(given: Option<Vec<RecordInput>>, live: Option<LiveRecords>) -> Result<Self, Refusal> {
        match (given, live) {
            (Some(given), None) => Ok(Self::Given(given)),
            (None, Some(live)) => Ok(Self::Live(live)),
            _ => Err(Refusal::new(Code::Malformed, "send either `records` or `live`")),
        }
    }
}

/// Validates the spec and finds the module. A part that the request does not have is that of the current revision.
pub fn complete(
    state: &ApiState,
    id: &TransformId,
    spec: Option<RawSpec>,
    module: Option<Bytes>,
) -> Result<(Spec, Bytes), Refusal> {
    let current = state.catalog.deployment(id);
    if let Some(current) = current.as_ref().filter(|_| spec.is_none() || module.is_none()) {
        CatalogError::unless_understood(current)?;
    }
    let raw = match (spec, &current) {
        (Some(spec), _) => spec,
        (None, Some(current)) => RawSpec { module: None, ..current.spec.clone() },
        (None, None) => {
            let refusal = Refusal::new(Code::NoTransform, format!("there is no transform {id}, and no spec was sent"));
            return Err(refusal.with_hint("send `spec` and `module` along: nothing needs to be deployed"));
        }
    };
    let current = current.filter(|_| raw.module.is_none()).map(|current| current.module);
    let digest = module.as_deref().map(Digest::of).or(current);
    let spec = Spec::parse(&raw, id, digest).map_err(|problems| Refusal::of_fields(Code::Spec, problems))?;
    let module = module_of(state, &spec, module)?;
    Ok((spec, module))
}
