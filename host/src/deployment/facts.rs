//! The facts that a deployment is decided on, as one value: the rules do no I/O.

use std::collections::BTreeMap;

use crate::model::module::ModuleError;
use crate::model::names::TopicName;
use crate::model::revision::{Deployment, Desired, Progress};
use crate::model::spec::Spec;
use crate::model::status::HostStatus;
use crate::model::topic_rights::TopicRights;

use super::topic_facts::TopicFacts;

/// First and end offset, by topic and partition.
pub type OffsetRanges = BTreeMap<(TopicName, i32), (i64, i64)>;

/// The cluster and the log, as far as one candidate is concerned.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The hosts that are alive: each of them may have to run the transform.
    pub hosts: Vec<HostStatus>,
    pub module: ModuleFacts,
    pub rights: TopicRights,
    pub topics: TopicFacts,
    /// First and end offset of each existing partition that the spec's `start` names. Empty for a deployed transform.
    pub start_ranges: OffsetRanges,
    /// The transform as the catalog knows it, deleted or not.
    pub known: Option<Deployment>,
    /// The transform's consumer group.
    pub group: String,
    /// The number of its members. Asked only if [`changes_store_inputs`].
    pub group_members: usize,
    /// The newest progress that the group committed. Asked only if the catalog has no revision to count on from.
    pub committed: Progress,
}

/// A candidate's module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModuleFacts {
    /// The module was neither sent along nor stored.
    Missing,
    /// The module does not compile, or does not fit a world or a limit.
    Refused(ModuleError),
    /// The module compiles. No instance was made of it: alone, one may need more memory than the team may have.
    Untried,
    /// The module can run; `init` ran with the spec's config.
    Sound { init: Result<(), ModuleError> },
}

impl Facts {
    /// The deployment that is there, if it is not deleted.
    pub fn live(&self) -> Option<&Deployment> {
        self.known.as_ref().filter(|known| known.desired != Desired::Deleted)
    }

    /// True if the stores get other inputs while members of the group may have them open, and nobody runs the transform
    /// by order: then the members leave within seconds.
    pub fn waits_for_group(&self, spec: &Spec) -> bool {
        let is_running = self.known.as_ref().is_some_and(|known| known.desired == Desired::Running);
        changes_store_inputs(spec, self.known.as_ref()) && !is_running && self.group_members > 0
    }
}

/// True if stores get other inputs than they had. A transform that the catalog does not know may be known to a host that
/// reads another catalog: its stores count as changed.
pub fn changes_store_inputs(spec: &Spec, known: Option<&Deployment>) -> bool {
    let has_stores = !spec.state.is_empty();
    let inputs = spec.inputs.iter().map(TopicName::as_str);
    known.map_or(has_stores, |known| known.gives_stores_other_inputs(inputs, has_stores))
}
