//! Modules.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Line;
use crate::model::module;
use crate::model::names::Digest;

/// A module that was compiled and fits the world.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ModuleInfo {
    #[schema(value_type = String, example = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    pub digest: Line,
    /// Size of the component.
    pub bytes: u64,
    /// The interfaces that the module imports, all of them the world's.
    #[schema(value_type = Vec<String>)]
    pub imports: Vec<Line>,
    /// The functions that the module exports.
    #[schema(value_type = Vec<String>)]
    pub exports: Vec<Line>,
}

/// A module and its users.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ModuleView {
    #[serde(flatten)]
    pub info: ModuleInfo,
    /// `team/name` of each transform whose current revision runs the module.
    #[schema(value_type = Vec<String>)]
    pub used_by: Vec<Line>,
}

/// A module in a list.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ModuleSummary {
    #[schema(value_type = String)]
    pub digest: Line,
    pub bytes: u64,
    #[schema(value_type = Vec<String>)]
    pub used_by: Vec<Line>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ModuleList {
    pub modules: Vec<ModuleSummary>,
}

impl ModuleView {
    pub fn of(info: module::ModuleInfo, used_by: Vec<Line>) -> Self {
        Self { info: info.into(), used_by }
    }
}

impl ModuleSummary {
    pub fn of(digest: Digest, bytes: u64, used_by: Vec<Line>) -> Self {
        Self { digest: Line::of(digest), bytes, used_by }
    }
}

impl From<module::ModuleInfo> for ModuleInfo {
    fn from(info: module::ModuleInfo) -> Self {
        let module::ModuleInfo { digest, bytes, imports, exports } = info;
        let lines = |names: Vec<String>| names.into_iter().map(Line::from).collect();
        Self { digest: Line::of(digest), bytes, imports: lines(imports), exports: lines(exports) }
    }
}
