//! The view of one transform in the flow, made of its deployment and of its statuses.

use std::collections::BTreeMap;

use crate::api_types::{Activity, FlowTransform, Line, TopicRate, TransformSummary};
use crate::cluster::Members;
use crate::model::codes::Code;
use crate::model::revision::Deployment;
use crate::model::spec::Then;
use crate::model::status::{self, State, TransformStatus};

use super::super::views;

/// The topics of one revision.
#[derive(Debug, Clone, Default)]
pub struct Topics {
    inputs: Vec<Line>,
    outputs: Vec<Line>,
    tables: Vec<Line>,
    dead_letters: Option<Line>,
}

// === impl Topics ===

impl Topics {
    /// The topics of the deployed revision: none if this host does not understand its spec.
    pub fn of(deployment: &Deployment) -> Self {
        let Ok(spec) = deployment.spec() else { return Self::default() };
        Self {
            inputs: spec.inputs.iter().map(Line::of).collect(),
            outputs: spec.outputs.values().map(Line::of).collect(),
            tables: spec.tables.values().map(Line::of).collect(),
            dead_letters: (spec.then == Then::DeadLetter).then(|| Line::of(&spec.dead_letter_topic)),
        }
    }
}

/// The transform with all that its hosts tell of it.
pub fn transform(deployment: &Deployment, topics: Topics, hosts: &[TransformStatus], members: &Members) -> FlowTransform {
    let summary = views::summary(deployment, hosts, members);
    let TransformSummary { team, name, revision, running_revisions, rollout, desired, state, lag, changed_at, .. } = summary;
    let Topics { inputs, outputs, tables, dead_letters } = topics;
    let running_on = running_on(hosts);
    FlowTransform {
        team,
        name,
        revision,
        running_revisions,
        rollout,
        desired,
        state,
        error: newest_error(hosts),
        changed_at,
        inputs,
        outputs,
        tables,
        dead_letters,
        hosts: running_on.len(),
        running_on,
        partitions: partitions(hosts),
        lag,
        activity: activity(hosts),
    }
}

/// The code of the newest error on any host. Its message may quote a record, so it is in the status alone.
fn newest_error(hosts: &[TransformStatus]) -> Option<Line> {
    let of_rollout = hosts.iter().filter_map(|host| host.rollout.error.as_ref());
    let of_host = hosts.iter().filter_map(|host| host.error.as_ref());
    let of_partition = hosts.iter().flat_map(|host| &host.partitions).filter_map(|partition| partition.error.as_ref());
    let newest = of_rollout.chain(of_host).chain(of_partition).max_by_key(|error| error.at);
    newest.map(|error| Line::of(error.code))
}

/// The hosts that run it, and the number of partitions of each.
fn running_on(hosts: &[TransformStatus]) -> BTreeMap<Line, usize> {
    let owned =
        |host: &TransformStatus| host.partitions.len() + host.omitted.as_ref().map_or(0, |omitted| omitted.partitions);
    let is_quarantined = |host: &TransformStatus| host.error.as_ref().is_some_and(|error| error.code == Code::Quarantined);
    let running = hosts.iter().filter(|host| !host.state.is_at_rest() && !is_quarantined(host));
    running.map(|host| (Line::of(&host.host), owned(host))).collect()
}

fn partitions(hosts: &[TransformStatus]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    let mut count = |state: State, partitions| *counts.entry(state.as_str()).or_insert(0_usize) += partitions;
    for host in hosts {
        host.partitions.iter().for_each(|partition| count(partition.state, 1));
        host.omitted.iter().for_each(|omitted| count(omitted.state, omitted.partitions));
    }
    counts
}

/// The activity over all hosts: rates are sums, all else is that of the host where it is highest.
fn activity(hosts: &[TransformStatus]) -> Option<Activity> {
    let told: Vec<_> = hosts.iter().filter_map(|host| host.activity.as_ref()).collect();
    let sum =
        |value: fn(&status::Activity) -> u64| told.iter().map(|activity| value(activity)).fold(0_u64, u64::saturating_add);
    if told.is_empty() {
        return None;
    }
    Some(Activity {
        in_per_minute: sum(|activity| activity.in_per_minute),
        out_per_minute: sum(|activity| activity.out_per_minute),
        failed_per_minute: sum(|activity| activity.failed_per_minute),
        inputs: rates(told.iter().flat_map(|activity| &activity.inputs)),
        outputs: rates(told.iter().flat_map(|activity| &activity.outputs)),
        latency_p50_ms: told.iter().filter_map(|activity| activity.latency_p50_ms).max(),
        latency_p99_ms: told.iter().filter_map(|activity| activity.latency_p99_ms).max(),
        guest_nanos_per_record: told.iter().filter_map(|activity| activity.guest_nanos_per_record).max(),
        cpu_millicores: sum(|activity| activity.cpu_millicores),
        memory_bytes: told.iter().map(|activity| activity.memory_bytes).max().unwrap_or(0),
    })
}

fn rates<'a>(of_hosts: impl Iterator<Item = &'a status::TopicRate>) -> Vec<TopicRate> {
    let mut sums = BTreeMap::new();
    for rate in of_hosts {
        let sum = sums.entry(&rate.topic).or_insert(0_u64);
        *sum = sum.saturating_add(rate.per_minute);
    }
    sums.into_iter().map(|(topic, per_minute)| TopicRate { topic: Line::of(topic), per_minute }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::status::{LastError, Rollout, RolloutState};
    use crate::model::units::Timestamp;

    fn host(name: &str, in_per_minute: u64, p99: u64) -> TransformStatus {
        let rate = |topic: &str| status::TopicRate { topic: topic.parse().expect("valid"), per_minute: in_per_minute };
        TransformStatus {
            id: "a/b".parse().expect("valid"),
            state: State::Running,
            revision: 1,
            rollout: Rollout { revision: 1, state: RolloutState::Complete, error: None },
            host: name.into(),
            error: None,
            partitions: Vec::new(),
            truncated: true,
            omitted: Some(status::OmittedPartitions { partitions: 5, lag: None, state: State::Running }),
            hosts_wanted: None,
            activity: Some(status::Activity {
                in_per_minute,
                inputs: vec![rate("in")],
                latency_p99_ms: Some(p99),
                cpu_millicores: p99,
                memory_bytes: 10 * p99,
                ..status::Activity::default()
            }),
        }
    }

    #[test]
    fn rates_are_added_up_and_the_slowest_host_counts() {
        let hosts = [host("a", 60, 7), host("b", u64::MAX, 3), TransformStatus { activity: None, ..host("c", 1, 1) }];
        let all = activity(&hosts).expect("two hosts tell it");
        assert_eq!((all.in_per_minute, all.latency_p99_ms, all.memory_bytes), (u64::MAX, Some(7), 70));
        assert_eq!(all.cpu_millicores, 10);
        let stopped = TransformStatus { state: State::Stopped, ..host("d", 1, 1) };
        let error = Some(LastError { code: Code::Quarantined, message: String::new(), offset: None, at: Timestamp(1) });
        let quarantined = TransformStatus { state: State::Failed, error, ..host("e", 1, 1) };
        assert_eq!(running_on(&[host("b", 1, 1), stopped, quarantined]), BTreeMap::from([(Line::of("b"), 5)]));
        assert_eq!((all.inputs.len(), all.inputs[0].per_minute, all.latency_p50_ms), (1, u64::MAX, None));
        assert_eq!(partitions(&hosts), BTreeMap::from([("running", 15)]));
        assert!(activity(&hosts[2..]).is_none());
    }
}
