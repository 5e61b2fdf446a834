use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::model::names::Digest;
use crate::model::revision::{Desired, Generations};
use crate::model::spec::RawSpec;
use crate::model::status::{HostStatus, LastError, Rollout};
use crate::model::units::Timestamp;

fn id(number: usize) -> TransformId {
    format!("team-{}/transform-{number}", number % 7).parse().expect("valid")
}

fn deployment(number: usize, spec: &str, partitions: u32) -> Deployment {
    let spec: RawSpec = serde_json::from_str(spec).expect("a spec");
    Deployment {
        id: id(number),
        revision: 1,
        module: Digest::of(b""),
        spec,
        desired: Desired::Running,
        asked: Generations::default(),
        changed_at: Timestamp(0),
        changes: 1,
        requests: Vec::new(),
        partitions: Some(partitions),
        signature: None,
        rest: serde_json::Map::new(),
        unread: None,
    }
}

fn hosts(count: usize) -> Members {
    let host = |number| HostStatus::new(&format!("host-{number}"), Timestamp(0));
    Members { live: (0..count).map(host).collect(), ..Members::default() }
}

fn without(members: &Members, host: &str) -> Members {
    let live = members.live.iter().filter(|live| live.host != host).cloned().collect();
    Members { live, ..members.clone() }
}

fn placed(transforms: usize, spec: &str, members: &Members) -> Vec<BTreeSet<String>> {
    let all = (0..transforms).map(|number| Placement::of(&deployment(number, spec, 12), members));
    all.map(|placement| placement.hosts.into_iter().collect()).collect()
}

#[test]
fn each_host_has_about_as_many_transforms() {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for host in placed(1000, "{}", &hosts(20)).into_iter().flatten() {
        *counts.entry(host).or_default() += 1;
    }
    let most = *counts.values().max().expect("some");
    let least = *counts.values().min().expect("some");
    assert_eq!((counts.len(), counts.values().sum::<usize>()), (20, 2000));
    assert!(most <= 130 && least >= 70, "100 on average, {least} to {most}");
}

#[test]
fn a_host_that_goes_moves_its_own_transforms_alone_and_they_come_back_with_it() {
    let all = hosts(20);
    let before = placed(1000, "{}", &all);
    let after = placed(1000, "{}", &without(&all, "host-7"));
    for (before, after) in before.iter().zip(&after) {
        let came: Vec<_> = after.difference(before).collect();
        let went: Vec<_> = before.difference(after).map(String::as_str).collect();
        match before.contains("host-7") {
            true => assert_eq!((came.len(), went.as_slice()), (1, ["host-7"].as_slice())),
            false => assert!(came.is_empty() && went.is_empty()),
        }
    }
    assert_eq!(placed(1000, "{}", &all), before);
}

#[test]
fn hosts_agree_whatever_the_order_in_which_they_know_each_other() {
    let members = hosts(9);
    let mut reversed = members.clone();
    reversed.live.reverse();
    assert_eq!(placed(100, "{}", &members), placed(100, "{}", &reversed));
}

/// The number of hosts among `live` ones, and its reason.
#[track_caller]
fn check(spec: &str, partitions: u32, live: usize, expected: (usize, &str)) {
    let Placement { count, hosts } = Placement::of(&deployment(1, spec, partitions), &hosts(live));
    assert_eq!((hosts.len(), count.to_string().as_str()), expected, "{spec} {partitions} {live}");
}

#[test]
fn the_spec_or_the_partitions_say_how_many() {
    check("{}", 1, 1, (1, "2, by its partitions"));
    check("{}", 1, 2, (2, "2, by its partitions"));
    check("{}", 12, 20, (2, "2, by its partitions"));
    check("{}", 48, 20, (3, "3, by its partitions"));
    check(r#"{"hosts": 1}"#, 12, 20, (1, "1 (hosts: 1)"));
    check(r#"{"hosts": 5}"#, 12, 20, (5, "5 (hosts: 5)"));
    check(r#"{"hosts": 50}"#, 12, 20, (20, "50 (hosts: 50)"));
    check(r#"{"hosts": "all"}"#, 12, 20, (20, "every host (hosts: all)"));
}

#[test]
fn beside_a_host_of_an_older_version_all_run_everything() {
    let mut members = hosts(3);
    members.live[1].formats.insert("spec".into(), 2);
    let placement = Placement::of(&deployment(1, r#"{"hosts": 1}"#, 12), &members);
    assert_eq!((placement.count, placement.hosts.len()), (Count::OlderHosts, 3));
}

/// Sets the status of the first transform on a host.
fn tell(members: &mut Members, host: &str, change: impl FnOnce(&mut TransformStatus)) {
    let mut status = TransformStatus {
        id: id(1),
        state: State::Running,
        revision: 1,
        rollout: Rollout { revision: 1, state: RolloutState::Complete, error: None },
        host: host.into(),
        error: None,
        partitions: Vec::new(),
        truncated: false,
        omitted: None,
        hosts_wanted: None,
        activity: None,
    };
    change(&mut status);
    let of_transform = Arc::make_mut(&mut members.statuses).entry(id(1)).or_default();
    Arc::make_mut(of_transform).insert(host.to_owned(), Arc::new(status));
}

fn fail(code: Code) -> impl FnOnce(&mut TransformStatus) {
    move |status| {
        let error = Some(LastError { code, message: String::new(), offset: None, at: Timestamp(0) });
        status.state = State::Failed;
        status.rollout = Rollout { revision: 1, state: RolloutState::Failed, error: error.clone() };
        status.error = error;
    }
}

#[test]
fn a_host_that_cannot_run_a_transform_is_helped_and_a_quarantine_is_carried_nowhere() {
    let members = hosts(5);
    let transform = deployment(1, "{}", 12);
    let ranks = Placement::of(&deployment(1, r#"{"hosts": 5}"#, 12), &members).hosts;
    let of = |members: &Members| Placement::of(&transform, members).hosts;
    let mut failing = members.clone();
    tell(&mut failing, &ranks[0], fail(Code::SecretMissing));
    assert_eq!(of(&failing), ranks[..3]);
    let mut quarantined = members.clone();
    tell(&mut quarantined, &ranks[0], fail(Code::Quarantined));
    assert_eq!(of(&quarantined), ranks[..2]);
}

#[test]
fn busy_hosts_ask_for_more_but_not_for_more_than_partitions() {
    let mut members = hosts(20);
    tell(&mut members, "host-3", |status| status.hosts_wanted = Some(8));
    for (partitions, expected) in [(12, Count::Load(8)), (6, Count::Load(6)), (1, Count::Partitions(2))] {
        let placement = Placement::of(&deployment(1, "{}", partitions), &members);
        assert_eq!((placement.count, placement.hosts.len()), (expected, expected.number()), "{partitions}");
    }
    let fixed = Placement::of(&deployment(1, r#"{"hosts": 3}"#, 12), &members);
    assert_eq!(fixed.count, Count::Spec(3));
}

#[test]
fn a_transform_is_taken_up_when_each_placed_host_works_or_cannot() {
    let mut members = hosts(5);
    let transform = deployment(1, "{}", 12);
    let is_taken_up = |members: &Members| Placement::of(&transform, members).is_taken_up(&id(1), members);
    let placed = Placement::of(&transform, &members).hosts;
    assert!(!is_taken_up(&members));
    tell(&mut members, &placed[0], |_| {});
    tell(&mut members, &placed[1], |status| status.state = State::Starting);
    assert!(!is_taken_up(&members));
    tell(&mut members, &placed[1], |status| status.state = State::Degraded);
    assert!(is_taken_up(&members));
}
