//! Answers that are made from several values: the status of a transform from those of its hosts, and a change with its
//! result.

use std::collections::{BTreeMap, BTreeSet};

use crate::api_types::{
    ChangeView, Desired, Line, OtherHost, Outcome, PlacementView, RolloutState as RolloutWord, State, StatusView,
    TransformStatus, TransformSummary, TransformView, labels,
};
use crate::catalog::{ChangeResult, Deployments};
use crate::cluster::Members;
use crate::model::names::{Digest, TransformId};
use crate::model::revision::{self, Deployment};
use crate::model::signature::Envelope;
use crate::model::signing_rules::SigningRule;
use crate::model::status::{self, LastError, Rollout, RolloutState};
use crate::model::text::cut;
use crate::model::units::Rfc3339;
use crate::placement::Placement;

/// Longest message of an error in a status.
const MESSAGE_BYTES_MAX: usize = 2048;
/// Bytes of an answer's messages together; after them, messages are cut shorter.
const MESSAGES_BYTES_MAX: usize = 256 * 1024;
/// Longest message after the others have used up their bytes.
const MESSAGE_BYTES_LEAST: usize = 80;

/// The answer to a change that creates no topics and has no warnings.
pub fn change(change: &ChangeResult) -> ChangeView {
    ChangeView {
        transform: TransformView::of(&change.deployment),
        outcome: Outcome::from(change.outcome).into(),
        dry_run: false,
        creates: Vec::new(),
        warnings: Vec::new(),
    }
}

/// The status of a transform. `hosts` are the statuses that hosts have reported, `members` the live hosts.
pub fn status(deployment: &Deployment, mut hosts: Vec<status::TransformStatus>, members: &Members) -> StatusView {
    cut_messages(&mut hosts);
    let placement = Placement::of(deployment, members);
    let rollout = rollout(deployment, &hosts, &placement);
    StatusView {
        team: Line::of(&deployment.id.team),
        name: Line::of(&deployment.id.name),
        revision: deployment.revision,
        desired: Desired::from(deployment.desired).into(),
        state: State::from(state(deployment, &hosts)).into(),
        lag: lag(&hosts),
        running_revisions: running(&hosts),
        rollout: rollout.into(),
        placement: Some(placement_view(&placement, &hosts, members)),
        hosts: hosts.into_iter().map(TransformStatus::from).collect(),
    }
}

/// The placed hosts, and for each other live host the reason why it is not placed.
fn placement_view(placement: &Placement, hosts: &[status::TransformStatus], members: &Members) -> PlacementView {
    let runs = |host: &str| hosts.iter().any(|status| status.host == host && !status.state.is_at_rest());
    let reason = |host: &str| match runs(host) {
        true => "it gave its place away, and goes on until the placed hosts work",
        false => "other hosts have the places",
    };
    let others = members.live.iter().map(|host| host.host.as_str()).filter(|host| !placement.has(host));
    let other = |host| OtherHost { host: Line::of(host), reason: Line::of(reason(host)) };
    PlacementView {
        count: Line::of(placement.count),
        hosts: placement.hosts.iter().map(Line::of).collect(),
        others: others.map(other).collect(),
    }
}

/// The number of transforms that are placed on each host.
pub fn placed(all: &Deployments, members: &Members) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for deployment in all.values().filter(|deployment| deployment.desired == revision::Desired::Running) {
        for host in Placement::of(deployment, members).hosts {
            *counts.entry(host).or_default() += 1;
        }
    }
    counts
}

/// The transform with the revisions that run.
pub fn transform(deployment: &Deployment, hosts: &[status::TransformStatus], members: &Members) -> TransformView {
    let rollout = RolloutWord::from(rollout(deployment, hosts, &Placement::of(deployment, members)).state);
    TransformView { running_revisions: Some(running(hosts)), rollout: Some(rollout.into()), ..TransformView::of(deployment) }
}

/// The id of the team's key that has signed the module.
pub fn signed_by(rule: &SigningRule, id: &TransformId, module: &Digest, signature: Option<&Envelope>) -> Option<Line> {
    signature?.verify(module, &id.team, &rule.keys).ok().map(Line::of)
}

/// The transform in a list.
pub fn summary(deployment: &Deployment, hosts: &[status::TransformStatus], members: &Members) -> TransformSummary {
    let rollout = rollout(deployment, hosts, &Placement::of(deployment, members));
    TransformSummary {
        team: Line::of(&deployment.id.team),
        name: Line::of(&deployment.id.name),
        revision: deployment.revision,
        running_revisions: running(hosts),
        rollout: RolloutWord::from(rollout.state).into(),
        module: Line::of(deployment.module),
        desired: Desired::from(deployment.desired).into(),
        state: State::from(state(deployment, hosts)).into(),
        lag: lag(hosts),
        changed_at: Line::of(Rfc3339(deployment.changed_at)),
        labels: labels(&deployment.spec.labels),
    }
}

/// The progress of the deployed revision over the hosts that run it, and over the placed ones; one that has not reported has
/// not begun.
fn rollout(deployment: &Deployment, hosts: &[status::TransformStatus], placement: &Placement) -> Rollout {
    let silent = placement.hosts.iter().filter(|host| !hosts.iter().any(|heard| heard.host == **host));
    let unheard = Rollout { revision: 0, state: RolloutState::InProgress, error: None };
    let rollouts = hosts.iter().map(|host| &host.rollout).chain(silent.map(|_| &unheard));
    Rollout::over(deployment.revision, rollouts)
}

/// The revisions that process partitions now, in ascending order.
pub fn running(hosts: &[status::TransformStatus]) -> Vec<u64> {
    let listed = hosts.iter().flat_map(|host| &host.partitions).map(|partition| partition.revision);
    let omitted = hosts.iter().filter(|host| host.omitted.is_some()).map(|host| host.revision);
    let revisions: BTreeSet<u64> = listed.chain(omitted).collect();
    revisions.into_iter().collect()
}

/// The state over all hosts; without a host that has reported, the state follows from the deployment.
fn state(deployment: &Deployment, hosts: &[status::TransformStatus]) -> status::State {
    status::State::over(hosts.iter().map(|host| host.state)).unwrap_or(match deployment.desired {
        revision::Desired::Running => status::State::Starting,
        revision::Desired::Paused => status::State::Paused,
        revision::Desired::Deleted => status::State::Stopped,
    })
}

/// The sum of the lags that are known; `None` while no partition's lag is known.
fn lag(hosts: &[status::TransformStatus]) -> Option<u64> {
    let listed = hosts.iter().flat_map(|host| &host.partitions).filter_map(|partition| partition.lag);
    let omitted = hosts.iter().filter_map(|host| host.omitted.as_ref()?.lag);
    listed.chain(omitted).reduce(u64::saturating_add)
}

/// Cuts messages, which may be guests': each to its limit, and to a few words after many bytes of messages.
fn cut_messages(hosts: &mut [status::TransformStatus]) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::codes::Code;
    use crate::model::status::PartitionStatus;
    use crate::model::units::Timestamp;

    fn host() -> status::TransformStatus {
        let error = LastError { code: Code::Trap, message: "é".repeat(100_000), offset: None, at: Timestamp(0) };
        let partition = PartitionStatus {
            topic: "a.b".parse().expect("valid"),
            partition: 0,
            committed_offset: None,
            end_offset: None,
            lag: None,
            state: status::State::Degraded,
            revision: 1,
            revision_since: 0,
            restoring: None,
            stores: Vec::new(),
            error: Some(error.clone()),
        };
        status::TransformStatus {
            id: "a/b".parse().expect("valid"),
            state: status::State::Degraded,
            revision: 1,
            rollout: Rollout { revision: 1, state: RolloutState::Failed, error: Some(error.clone()) },
            host: "a".into(),
            error: Some(error),
            partitions: vec![partition; 1000],
            truncated: true,
            omitted: Some(status::OmittedPartitions { partitions: 7, lag: Some(5), state: status::State::Paused }),
            hosts_wanted: Some(4),
            activity: Some(status::Activity {
                in_per_minute: 3,
                inputs: vec![status::TopicRate { topic: "a.b".parse().expect("valid"), per_minute: 3 }],
                ..status::Activity::default()
            }),
        }
    }

    #[test]
    fn messages_of_a_status_are_bounded() {
        let mut hosts = vec![host()];
        cut_messages(&mut hosts);
        let length = |error: &Option<LastError>| error.as_ref().map_or(0, |error| error.message.len());
        assert_eq!(length(&hosts[0].error), MESSAGE_BYTES_MAX + "...".len());
        let all: usize = hosts[0].partitions.iter().map(|partition| length(&partition.error)).sum();
        assert!(all < 2 * MESSAGES_BYTES_MAX, "{all}");
        assert_eq!(length(&hosts[0].partitions[999].error), MESSAGE_BYTES_LEAST + "...".len());
    }

    #[test]
    fn lag_counts_partitions_that_are_not_listed() {
        assert_eq!(lag(&[host(), host()]), Some(10));
    }

    #[test]
    fn a_status_is_shown_as_the_model_writes_it() {
        let status = status::TransformStatus { state: status::State::Unknown, ..host() };
        let model = serde_json::to_string(&status).expect("plain data");
        assert_eq!(serde_json::to_string(&TransformStatus::from(status)).expect("plain data"), model);
    }
}
