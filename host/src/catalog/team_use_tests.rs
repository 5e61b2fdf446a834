use serde_json::{Value, json};

use super::*;
use crate::catalog::change::{Change, Growth, Precondition, Request};
use crate::catalog::decide::decide;
use crate::model::audit::Actor;
use crate::model::revision::{Progress, Revision};
use crate::model::team::TeamLimits;
use crate::model::units::Timestamp;

const MIB: u64 = 1 << 20;
const HOT_BYTES_MAX: u64 = 4 * MIB;

/// The catalog after these deployments of team `t`, each of a name, a module, partitions and a spec.
fn deployed(deployments: &[(&str, &str, u32, Value)]) -> Deployments {
    let mut state = Deployments::default();
    for (name, module, partitions, spec) in deployments {
        let spec = Box::new(serde_json::from_value(spec.clone()).expect("a spec"));
        let growth =
            Growth { limits: TeamLimits::default(), partitions: *partitions, module_bytes: 0, hot_bytes_max: HOT_BYTES_MAX };
        let request = Request {
            expected: Precondition::Any,
            change: Change::Put { spec, module: Digest::of(module.as_bytes()) },
            key: None,
            actor: Actor::anyone(),
            now: Timestamp(1),
            committed: Progress::default(),
            growth: Some(growth),
            signature: None,
            assumes: None,
        };
        let id = name.parse().expect("valid");
        for record in decide(&state, &id, &request, &|_| Some(1)).expect("accepted").records {
            state.take(&record).expect("readable");
        }
    }
    state
}

/// Every module has the same size.
fn module_bytes(_: &Digest) -> u64 {
    100
}

#[track_caller]
fn check(deployments: &[(&str, &str, u32, Value)], expected: TeamUse) {
    let measure = Measure { module_bytes: &module_bytes, hot_bytes_max: HOT_BYTES_MAX };
    let team = "t".parse().expect("valid");
    let used = TeamUse::of(&deployed(deployments), &team, &measure);
    // The bytes of revisions are those of records: ceilings_tests.rs has them.
    assert_eq!(used, TeamUse { revision_bytes: used.revision_bytes, ..expected }, "{deployments:?}");
}

#[test]
fn a_team_uses_the_sum_of_its_transforms() {
    let plain = || json!({"inputs": ["a"], "outputs": {"o": "out"}});
    let one = TeamUse {
        transforms: 1,
        workers: 1,
        partition_workers: 4,
        memory_bytes: 4 * 64 * MIB,
        stored_modules: 1,
        stored_module_bytes: 100,
        revision_bytes: 0,
        transaction_time: Duration::from_millis(2100),
    };
    check(&[], TeamUse::default());
    check(&[("t/a", "m", 4, plain())], one);
    let neighbours = ["s/z", "t-0/a", "t0/a", "u/a"].map(|name| (name, "n", 9, plain()));
    check(&[&neighbours[..], &[("t/0", "m", 4, plain())]].concat(), one);
    let large = json!({
        "inputs": ["b", "c"], "outputs": {"o": "out"}, "workers": 3, "commit_interval": "5s",
        "limits": {"memory": "1GiB", "batch_time": "1s"},
        "state": {
            "hot": {}, "small": {"max_bytes": "1MiB"}, "all": {"store": "memory", "max_bytes": "10MiB"},
        },
    });
    let both = TeamUse {
        transforms: 2,
        workers: 4,
        partition_workers: 4 + 6 * 3,
        // Six partitions of two inputs are three partition numbers of each store.
        memory_bytes: 4 * 64 * MIB + 6 * 1024 * MIB + 3 * (4 + 1 + 10) * MIB,
        transaction_time: Duration::from_secs(6),
        ..one
    };
    check(&[("t/a", "m", 4, plain()), ("t/b", "m", 6, large.clone())], both);
    let modules = TeamUse { stored_modules: 2, stored_module_bytes: 200, ..both };
    check(&[("t/a", "m", 4, plain()), ("t/b", "n", 6, large.clone())], modules);
    // The revision before is kept, with its module.
    check(&[("t/a", "n", 4, plain()), ("t/b", "m", 6, large), ("t/a", "m", 4, plain())], modules);
}

#[test]
fn revisions_that_are_no_longer_kept_use_nothing() {
    let spec = |n: u64| json!({"inputs": ["a"], "outputs": {"o": "out"}, "config": {"n": n}});
    let modules: Vec<String> = (0..=REVISIONS_MAX).map(|n| format!("m{n}")).collect();
    let all: Vec<_> = (0..).zip(&modules).map(|(n, module)| ("t/a", module.as_str(), 1, spec(n))).collect();
    let state = deployed(&all);
    let measure = Measure { module_bytes: &module_bytes, hot_bytes_max: HOT_BYTES_MAX };
    let team = "t".parse().expect("valid");
    assert_eq!(TeamUse::of(&state, &team, &measure).stored_modules, REVISIONS_MAX);
    let current = state.live(&"t/a".parse().expect("valid")).expect("live");
    let next = Deployment { revision: current.revision + 1, module: Digest::of(b"next"), ..current.clone() };
    let history = HistoryChange::of(&state, &next.id, Some(current), &next.to_revision());
    let [now, then] = TeamUse::now_and_with(&state, &next, &history, &measure);
    assert_eq!([now, then].map(|it| it.stored_modules), [REVISIONS_MAX; 2]);
    assert_eq!(now, TeamUse::of(&state, &team, &measure));
}

/// The sum before a deployment foretells the one after it.
#[test]
fn the_use_with_a_deployment_is_the_use_after_it() {
    let measure = Measure { module_bytes: &module_bytes, hot_bytes_max: HOT_BYTES_MAX };
    let team: TeamName = "t".parse().expect("valid");
    let spec = |n: u64| json!({"inputs": ["a"], "outputs": {"o": "out"}, "workers": n, "config": {"n": n}});
    let steps = [("t/a", "m", 3, spec(1)), ("t/b", "n", 4, spec(2)), ("t/a", "n", 5, spec(3)), ("u/a", "m", 9, spec(4))];
    let mut before = TeamUse::default();
    for count in 1..=steps.len() {
        let after = deployed(&steps[..count]);
        let (name, ..) = steps[count - 1];
        let next = &after[&name.parse().expect("valid")];
        let earlier = deployed(&steps[..count - 1]);
        let author = Some(Actor::anyone().name);
        let revision = Revision { author, ..next.to_revision() };
        let history = HistoryChange::of(&earlier, &next.id, earlier.get(&next.id), &revision);
        let [now, then] = TeamUse::now_and_with(&earlier, next, &history, &measure);
        if next.id.team == team {
            assert_eq!((now, then), (before, TeamUse::of(&after, &team, &measure)), "{name}");
            before = then;
        }
        assert_eq!(TeamUse::of(&after, &team, &measure), before, "another team's is no use of this one");
    }
}

#[test]
fn forged_numbers_wrap_nowhere() {
    let mut state = deployed(&[("t/a", "m", 1, json!({"inputs": ["a"], "outputs": {"o": "out"}}))]);
    let mut forged = serde_json::to_value(&state[&"t/a".parse().expect("valid")]).expect("plain data");
    forged["partitions"] = u32::MAX.into();
    forged["spec"]["workers"] = u32::MAX.into();
    forged["spec"]["limits"]["memory"] = u64::MAX.into();
    for name in ["t/a", "t/b"] {
        forged["id"] = json!({"team": "t", "name": name.trim_start_matches("t/")});
        let value = serde_json::to_vec(&forged).expect("plain data");
        let record = crate::catalog::encoding::record(name.to_owned(), value, Timestamp(1));
        state.take(&record).expect("readable");
    }
    let measure = Measure { module_bytes: &|_| u64::MAX, hot_bytes_max: u64::MAX };
    let found = TeamUse::of(&state, &"t".parse().expect("valid"), &measure);
    assert_eq!((found.transforms, found.workers), (2, 2 * u64::from(u32::MAX)));
    assert_eq!((found.partition_workers, found.memory_bytes), (u64::MAX, u64::MAX));
}
