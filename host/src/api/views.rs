//! What the API answers with: wire types, made from the model's values.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::catalog::{ChangeResult, Outcome};
use crate::model::module::ModuleInfo;
use crate::model::names::Digest;
use crate::model::revision::{Cause, Deployment, Desired, Revision};
use crate::model::spec::RawSpec;
use crate::model::status::{HostStatus, LastError, Rollout, RolloutState, State, TransformStatus};
use crate::model::text::cut;
use crate::model::units::{Rfc3339, Timestamp};

/// Longest message of an error in a status, and of an answer's messages together; those after them are cut shorter.
const MESSAGE_BYTES_MAX: usize = 2048;
const MESSAGES_BYTES_MAX: usize = 256 * 1024;
const MESSAGE_BYTES_LEAST: usize = 80;

/// A transform as it is meant to be.
#[derive(Debug, Serialize, ToSchema)]
pub struct TransformView {
    pub team: String,
    pub name: String,
    /// Counts changes of spec and module. It is also the ETag.
    pub revision: u64,
    #[schema(value_type = String)]
    pub module: Digest,
    pub desired: Desired,
    /// Complete: what can be sent back with PUT.
    pub spec: RawSpec,
    /// RFC 3339, in UTC.
    pub changed_at: String,
}

impl TransformView {
    pub fn of(deployment: &Deployment) -> Self {
        Self {
            team: deployment.id.team.to_string(),
            name: deployment.id.name.to_string(),
            revision: deployment.revision,
            module: deployment.module,
            desired: deployment.desired,
            spec: deployment.spec.clone(),
            changed_at: rfc3339(deployment.changed_at),
        }
    }

    /// The transform as it was at a revision; `desired` is what holds now.
    pub fn of_revision(revision: &Revision, desired: Desired) -> Self {
        Self {
            team: revision.id.team.to_string(),
            name: revision.id.name.to_string(),
            revision: revision.revision,
            module: revision.module,
            desired,
            spec: revision.spec.clone(),
            changed_at: rfc3339(revision.changed_at),
        }
    }
}

/// A revision in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct RevisionSummary {
    pub revision: u64,
    #[schema(value_type = String)]
    pub module: Digest,
    /// RFC 3339, in UTC.
    pub changed_at: String,
    pub cause: Cause,
    /// Of a rollback: the revision whose content this one has again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolled_back_to: Option<u64>,
    pub current: bool,
    /// Its module is still there: without, it cannot be rolled back to.
    pub module_stored: bool,
}

impl RevisionSummary {
    pub fn of(revision: &Revision, current: u64, module_stored: bool) -> Self {
        Self {
            module_stored,
            revision: revision.revision,
            module: revision.module,
            changed_at: rfc3339(revision.changed_at),
            cause: revision.cause,
            rolled_back_to: revision.rolled_back_to,
            current: revision.revision == current,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RevisionList {
    pub revisions: Vec<RevisionSummary>,
}

/// The answer to a change of a transform.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangeView {
    #[serde(flatten)]
    pub transform: TransformView,
    pub outcome: Outcome,
    /// Nothing was changed: the request asked what would be.
    pub dry_run: bool,
    /// Topics that were created for it, or would be.
    pub creates: Vec<String>,
    /// Reasons why it may behave otherwise than its author means.
    pub warnings: Vec<String>,
}

impl ChangeView {
    pub fn of(applied: &ChangeResult) -> Self {
        let transform = TransformView::of(&applied.deployment);
        Self { transform, outcome: applied.outcome, dry_run: false, creates: Vec::new(), warnings: Vec::new() }
    }
}

/// A transform in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct TransformSummary {
    pub team: String,
    pub name: String,
    pub revision: u64,
    #[schema(value_type = String)]
    pub module: Digest,
    pub desired: Desired,
    pub state: State,
    /// Records behind, over all partitions that are known.
    pub lag: Option<u64>,
    pub changed_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct TransformList {
    pub transforms: Vec<TransformSummary>,
}

/// How a transform is doing.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatusView {
    pub team: String,
    pub name: String,
    /// The revision that is meant to run; each host says which one it runs.
    pub revision: u64,
    pub desired: Desired,
    pub state: State,
    /// Records behind, over all partitions that are known.
    pub lag: Option<u64>,
    /// How far `revision` has come, over all hosts.
    pub rollout: Rollout,
    /// One entry per host that runs it.
    pub hosts: Vec<TransformStatus>,
}

impl StatusView {
    /// `hosts` are those that have said something of it, `all` those that are there.
    pub fn of(deployment: &Deployment, mut hosts: Vec<TransformStatus>, all: &[HostStatus]) -> Self {
        cut_messages(&mut hosts);
        let silent = all.iter().filter(|host| !hosts.iter().any(|heard| heard.host == host.host));
        let unheard = Rollout { revision: 0, state: RolloutState::InProgress, error: None };
        let rollouts = hosts.iter().map(|host| &host.rollout).chain(silent.map(|_| &unheard));
        let rollout = Rollout::over(deployment.revision, rollouts);
        Self {
            team: deployment.id.team.to_string(),
            name: deployment.id.name.to_string(),
            revision: deployment.revision,
            desired: deployment.desired,
            state: State::over(hosts.iter().map(|host| host.state)).unwrap_or_else(|| idle_state(deployment)),
            lag: lag_of(&hosts),
            rollout,
            hosts,
        }
    }
}

/// Cuts messages, which may be guests': each to its limit, and all to a few words where there are very many.
fn cut_messages(hosts: &mut [TransformStatus]) {
    let mut left = MESSAGES_BYTES_MAX;
    let mut shorten = |error: &mut Option<LastError>| {
        if let Some(LastError { message, .. }) = error {
            let kept = cut(message, if left > 0 { MESSAGE_BYTES_MAX } else { MESSAGE_BYTES_LEAST });
            left = left.saturating_sub(kept.len());
            if kept.len() < message.len() {
                *message = format!("{kept}...");
            }
        }
    };
    for host in hosts {
        shorten(&mut host.rollout.error);
        shorten(&mut host.error);
        for partition in &mut host.partitions {
            shorten(&mut partition.error);
        }
    }
}

impl TransformSummary {
    pub fn of(deployment: &Deployment, hosts: Vec<TransformStatus>) -> Self {
        let status = StatusView::of(deployment, hosts, &[]);
        Self {
            team: status.team,
            name: status.name,
            revision: status.revision,
            module: deployment.module,
            desired: status.desired,
            state: status.state,
            lag: status.lag,
            changed_at: rfc3339(deployment.changed_at),
        }
    }
}

/// The state of a transform that no worker speaks for.
fn idle_state(deployment: &Deployment) -> State {
    match deployment.desired {
        Desired::Running => State::Starting,
        Desired::Paused => State::Paused,
        Desired::Deleted => State::Stopped,
    }
}

/// The sum of what is known; nothing is known while no partition is.
fn lag_of(hosts: &[TransformStatus]) -> Option<u64> {
    hosts.iter().flat_map(|host| &host.partitions).filter_map(|partition| partition.lag).reduce(u64::saturating_add)
}

/// A host of the cluster.
#[derive(Debug, Serialize, ToSchema)]
pub struct HostView {
    pub host: String,
    /// Where its API is, if it says so (`--advertise`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    pub version: String,
    /// RFC 3339, in UTC.
    pub started_at: String,
    /// When it said so, by its own clock.
    pub seen_at: String,
    /// Transforms that it runs.
    pub transforms: usize,
    /// Input partitions that it owns.
    pub partitions: usize,
    /// The formats that it understands, by name, with the highest version of each. A host of 0.1 says none.
    pub formats: BTreeMap<String, u32>,
}

impl HostView {
    pub fn of(host: HostStatus) -> Self {
        let HostStatus { host, url, version, started_at, seen_at, transforms, partitions, formats } = host;
        let (started_at, seen_at) = (rfc3339(started_at), rfc3339(seen_at));
        Self { host, url, version, started_at, seen_at, transforms, partitions, formats }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct HostList {
    pub hosts: Vec<HostView>,
}

/// A module, and who uses it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModuleView {
    #[serde(flatten)]
    pub info: ModuleInfo,
    /// `team/name` of each transform whose current revision runs it.
    pub used_by: Vec<String>,
}

/// A module in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModuleSummary {
    #[schema(value_type = String)]
    pub digest: Digest,
    pub bytes: u64,
    pub used_by: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ModuleList {
    pub modules: Vec<ModuleSummary>,
}

fn rfc3339(at: Timestamp) -> String {
    Rfc3339(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::codes::Code;
    use crate::model::status::PartitionStatus;

    #[test]
    fn messages_of_a_status_are_bounded() {
        let error = LastError { code: Code::Trap, message: "é".repeat(100_000), offset: None, at: Timestamp(0) };
        let partition = PartitionStatus {
            topic: "a.b".parse().expect("valid"),
            partition: 0,
            committed_offset: None,
            end_offset: None,
            lag: None,
            state: State::Degraded,
            revision: 1,
            revision_since: 0,
            restoring: None,
            stores: Vec::new(),
            error: Some(error.clone()),
        };
        let rollout = Rollout { revision: 1, state: RolloutState::Failed, error: Some(error.clone()) };
        let mut hosts = vec![TransformStatus {
            id: "a/b".parse().expect("valid"),
            state: State::Degraded,
            revision: 1,
            rollout,
            host: "a".into(),
            error: Some(error),
            partitions: vec![partition; 1000],
        }];
        cut_messages(&mut hosts);
        let length = |error: &Option<LastError>| error.as_ref().map_or(0, |error| error.message.len());
        assert_eq!(length(&hosts[0].error), MESSAGE_BYTES_MAX + "...".len());
        let all: usize = hosts[0].partitions.iter().map(|partition| length(&partition.error)).sum();
        assert!(all < 2 * MESSAGES_BYTES_MAX, "{all}");
        assert_eq!(length(&hosts[0].partitions[999].error), MESSAGE_BYTES_LEAST + "...".len());
    }
}
