//! Parsers of this crate that read foreign bytes and that nobody outside calls, for the fuzz targets in `tests/fuzz/`.
//!
//! Nothing in the host uses this module.

use crate::api::body::{Media, spec_of};
use crate::model::codes::Code;
use crate::model::spec::RawSpec;

pub use crate::catalog::manifests::{Manifests, chunk_number};
pub use crate::cluster::cluster_status::ClusterStatus;
pub use crate::positions::record::{StartEntry, StartRecords, encode as encode_start};

/// See `embedded`: records as they lie in its store.
pub mod block {
    pub use crate::embedded::block::{Builder, Entry, Records, head};
}

/// Reads a spec as the API reads the body of a deployment.
pub fn spec(is_yaml: bool, bytes: &[u8]) -> Result<RawSpec, Code> {
    let media = if is_yaml { Media::Yaml } else { Media::Json };
    spec_of(&media, bytes).map_err(|refusal| refusal.code())
}
