//! The hosts of a cluster, and the readiness of one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Line;
use super::transform::rfc3339;
use crate::model::status::HostStatus;

/// A host of the cluster.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct HostView {
    #[schema(value_type = String)]
    pub host: Line,
    /// The URL of the host's API, if the host says it (`--advertise`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub url: Option<Line>,
    #[schema(value_type = String)]
    pub version: Line,
    /// RFC 3339, in UTC.
    #[schema(value_type = String)]
    pub started_at: Line,
    /// The time of the host's last sign of life, by its own clock.
    #[schema(value_type = String)]
    pub seen_at: Line,
    /// Transforms that the host runs.
    pub transforms: usize,
    /// Transforms that are placed on the host, as the answering host sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placed: Option<usize>,
    /// Input partitions that the host owns.
    pub partitions: usize,
    /// The formats that the host understands, by name, with the highest version of each. A host of 0.1 says none.
    #[serde(default)]
    #[schema(required)]
    pub formats: BTreeMap<String, u32>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct HostList {
    pub hosts: Vec<HostView>,
}

/// The readiness of a host.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    #[schema(value_type = String)]
    pub host: Line,
    pub ready: bool,
    /// The reasons why the host is not ready.
    #[schema(value_type = Vec<String>)]
    pub reasons: Vec<Line>,
}

impl From<HostStatus> for HostView {
    fn from(host: HostStatus) -> Self {
        let HostStatus { host, url, version, started_at, seen_at, transforms, partitions, formats } = host;
        Self {
            host: host.into(),
            url: url.map(Line::from),
            version: version.into(),
            started_at: rfc3339(started_at),
            seen_at: rfc3339(seen_at),
            transforms,
            placed: None,
            partitions,
            formats,
        }
    }
}
