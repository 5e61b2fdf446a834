//! The request for a dry run, taken apart.

use axum::body::Bytes;
use axum::http::HeaderMap;

use crate::api_types::{DryRunRequest, LiveRecords};
use crate::model::codes::Code;
use crate::model::signature::Envelope;
use crate::model::spec::RawSpec;
use crate::model::units::Timestamp;
use crate::record_json::{self, RecordInput};

use super::super::body::{self, Media};
use super::super::limits::ApiLimits;
use super::super::problem::Refusal;

/// The parts of a request.
pub struct Request {
    pub spec: Option<RawSpec>,
    pub module: Option<Bytes>,
    pub signature: Option<Envelope>,
    pub source: Source,
}

/// The origin of the records.
pub enum Source {
    Given(Vec<RecordInput>),
    Live(LiveRecords),
}

// === impl Request ===

impl Request {
    /// Takes a request apart. Blocks for as long as the parts take to be parsed.
    pub fn read(media: &Media, headers: &HeaderMap, bytes: Bytes, limits: &ApiLimits) -> Result<Self, Refusal> {
        let records_max = limits.trial_records_max;
        let spec_of = |media: &Media, bytes: &[u8]| body::spec_within(media, bytes, limits.spec_bytes_max);
        if *media == Media::Json {
            let DryRunRequest { spec, records, live } = body::json_of(&bytes, Code::Malformed)?;
            let spec = spec.map(|spec| spec_of(&Media::Json, spec.get().as_bytes())).transpose()?;
            let given = records.map(|records| parse(records.get().as_bytes(), false, records_max)).transpose()?;
            return Ok(Self { spec, module: None, signature: None, source: Source::of(given, live)? });
        }
        let mut parts = body::parts(headers, bytes, &["spec", "module", "signature", "records", "live"])?;
        let spec = parts.remove("spec").map(|spec| spec_of(&spec.media, &spec.bytes)).transpose()?;
        let given = parts.remove("records").map(|records| parse(&records.bytes, true, records_max)).transpose()?;
        let live = parts.remove("live").map(|live| body::json_of(&live.bytes, Code::Malformed)).transpose()?;
        let module = parts.remove("module").map(|module| module.bytes);
        let signature = parts.remove("signature").map(|part| body::signature_of(&part.bytes)).transpose()?;
        Ok(Self { spec, module, signature, source: Source::of(given, live)? })
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
