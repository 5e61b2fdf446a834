use std::time::Duration;

use serde_json::{Value, json};

use crate::catalog::change::{Change, Growth, Precondition, Request};
use crate::catalog::decide::decide;
use crate::catalog::deployments::Deployments;
use crate::catalog::error::CatalogError;
use crate::model::audit::Actor;
use crate::model::names::Digest;
use crate::model::revision::Progress;
use crate::model::team::TeamLimits;
use crate::model::units::Timestamp;

/// A catalog, and the limits of its teams.
struct Cluster {
    state: Deployments,
    limits: TeamLimits,
}

impl Cluster {
    fn new(limits: TeamLimits) -> Self {
        Self { state: Deployments::default(), limits }
    }

    /// Makes a change. `Err` has the fields of the spec and the keys of the ceilings that are against it.
    fn change(&mut self, id: &str, change: Change, partitions: u32) -> Result<(), Vec<String>> {
        let is_new_revision = matches!(change, Change::Put { .. } | Change::Rollback { .. });
        let growth = Growth { limits: self.limits, partitions, module_bytes: 10, hot_bytes_max: 0 };
        let request = Request {
            signature: None,
            assumes: None,
            expected: Precondition::Any,
            change,
            key: None,
            actor: Actor::anyone(),
            now: Timestamp(1),
            committed: Progress::default(),
            growth: is_new_revision.then_some(growth),
        };
        let decision = match decide(&self.state, &id.parse().expect("valid"), &request, &|_| Some(10)) {
            Ok(decision) => decision,
            Err(CatalogError::OverCeiling(problems)) => {
                let key = |message: &str| message.rsplit('(').next().unwrap_or_default().trim_end_matches(')').to_owned();
                return Err(problems.iter().map(|it| format!("{} {}", it.field, key(&it.message))).collect());
            }
            Err(error) => panic!("{id}: {error}"),
        };
        for record in &decision.records {
            self.state.take(record).expect("readable");
        }
        Ok(())
    }

    /// Deploys a spec with these fields and the module of this name, over this number of partitions.
    #[track_caller]
    fn check(&mut self, id: &str, module: &str, fields: Value, partitions: u32, refused: &[&str]) {
        let mut spec = json!({"inputs": ["a"], "outputs": {"o": "out"}});
        let spec_fields = spec.as_object_mut().expect("an object");
        spec_fields.extend(fields.as_object().expect("fields").clone());
        let spec = Box::new(serde_json::from_value(spec).expect("a spec"));
        let done = self.change(id, Change::Put { spec, module: Digest::of(module.as_bytes()) }, partitions);
        assert_eq!(done.err().unwrap_or_default(), refused, "{id} with {fields} over {partitions} partitions");
    }
}

#[test]
fn the_last_place_is_given_once_and_comes_back() {
    let mut cluster = Cluster::new(TeamLimits { transforms_max: 2, ..TeamLimits::default() });
    cluster.check("t/a", "m", json!({}), 1, &[]);
    cluster.check("t/b", "m", json!({}), 1, &[]);
    cluster.check("t/c", "m", json!({}), 1, &[" transforms_max"]);
    cluster.check("u/c", "m", json!({}), 1, &[]);
    cluster.check("t/a", "m", json!({"config": {"n": 1}}), 1, &[]);
    cluster.change("t/a", Change::Pause, 1).expect("a pause");
    cluster.check("t/c", "m", json!({}), 1, &[" transforms_max"]);
    cluster.change("t/a", Change::Delete, 1).expect("a deletion");
    cluster.check("t/c", "m", json!({}), 1, &[]);
    cluster.check("t/a", "m", json!({}), 1, &[" transforms_max"]);
}

#[test]
fn all_ceilings_that_are_against_a_deployment_are_named_at_once() {
    let limits = TeamLimits {
        transforms_max: 0,
        workers_max: 1,
        partition_workers_max: 5,
        memory_bytes_max: 100 << 20,
        stored_modules_max: 0,
        stored_module_bytes_max: 9,
        transaction_time_max: Duration::from_secs(1),
        allow_cycle: false,
        ..TeamLimits::default()
    };
    let mut cluster = Cluster::new(limits);
    let all = [
        " transforms_max",
        "workers workers_max",
        "workers partition_workers_max",
        "limits.memory memory_bytes_max",
        "module stored_modules_max",
        "module stored_module_bytes_max",
        "commit_interval transaction_time_max",
        "allow_cycle allow_cycle",
    ];
    cluster.check("t/a", "m", json!({"workers": 2, "allow_cycle": true}), 3, &all);
    let small = json!({"limits": {"batch_time": "500ms"}, "commit_interval": "500ms"});
    cluster.check("t/a", "m", small, 1, &[all[0], all[4], all[5]]);
}

/// Hosts keep the revisions of deleted transforms: a team that deploys and deletes in a loop ends somewhere.
#[test]
fn revisions_of_deleted_transforms_count() {
    let mut cluster = Cluster::new(TeamLimits { revision_bytes_max: 50 << 10, ..TeamLimits::default() });
    let large = |n: u64| json!({"config": {"n": n, "text": "x".repeat(10 << 10)}});
    for name in ["t/a", "t/b", "t/c", "t/d"] {
        cluster.check(name, "m", large(1), 1, &[]);
        cluster.change(name, Change::Delete, 1).expect("a deletion");
    }
    cluster.check("t/e", "m", large(1), 1, &["config revision_bytes_max"]);
    cluster.check("t/e", "m", json!({}), 1, &[]);
    cluster.check("u/a", "m", large(1), 1, &[]);
}

/// A transform with all its revisions goes on: each new one takes the place of the oldest.
#[test]
fn revisions_that_are_dropped_do_not_count() {
    let mut cluster = Cluster::new(TeamLimits { revision_bytes_max: 550 << 10, ..TeamLimits::default() });
    for n in 0..120 {
        cluster.check("t/a", "m", json!({"config": {"n": n, "text": "x".repeat(10 << 10)}}), 1, &[]);
    }
    cluster.check("t/a", "m", json!({"config": {"text": "x".repeat(60 << 10)}}), 1, &["config revision_bytes_max"]);
}

#[test]
fn a_lowered_ceiling_refuses_growth_alone() {
    let mut cluster = Cluster::new(TeamLimits::default());
    let with = |n: u64, workers: u32| json!({"config": {"n": n}, "workers": workers, "allow_cycle": true});
    cluster.check("t/a", "m", with(1, 3), 4, &[]);
    cluster.check("t/b", "m", with(1, 3), 4, &[]);
    cluster.limits = TeamLimits {
        transforms_max: 1,
        workers_max: 2,
        partition_workers_max: 2,
        memory_bytes_max: 1,
        stored_modules_max: 0,
        stored_module_bytes_max: 0,
        transaction_time_max: Duration::from_millis(20),
        allow_cycle: false,
        ..TeamLimits::default()
    };
    cluster.check("t/a", "m", with(2, 3), 4, &[]);
    cluster.check("t/a", "m", with(2, 4), 4, &["workers workers_max", "workers partition_workers_max"]);
    cluster.check("t/a", "m", with(2, 3), 4, &[]);
    cluster.check("t/a", "m", with(3, 3), 5, &["workers partition_workers_max", "limits.memory memory_bytes_max"]);
    cluster.check("t/a", "n", with(3, 3), 4, &["module stored_modules_max", "module stored_module_bytes_max"]);
    cluster.check("t/a", "m", json!({"commit_interval": "50ms"}), 4, &[]);
    cluster.check("t/a", "m", json!({"commit_interval": "51ms"}), 4, &["commit_interval transaction_time_max"]);
    cluster.check("t/a", "m", json!({"commit_interval": "50ms", "allow_cycle": true}), 4, &["allow_cycle allow_cycle"]);
    // The rollback grows, the others use nothing that is not counted already.
    let back = cluster.change("t/a", Change::Rollback { to: Some(1) }, 4).expect_err("it grows");
    assert_eq!(back.len(), 4, "{back:?}");
    for change in [Change::Pause, Change::Resume, Change::Restart, Change::Pause, Change::ResetState, Change::Resume] {
        cluster.change("t/a", change, 4).expect("no growth");
    }
}

#[test]
fn a_deployment_without_a_count_has_not_grown_by_being_counted() {
    let mut cluster = Cluster::new(TeamLimits::default());
    cluster.check("t/a", "m", json!({}), 8, &[]);
    let mut old = serde_json::to_value(&cluster.state[&"t/a".parse().expect("valid")]).expect("plain data");
    old.as_object_mut().expect("an object").remove("partitions").expect("it was counted");
    let value = serde_json::to_vec(&old).expect("plain data");
    let record = crate::catalog::encoding::record("t/a".to_owned(), value, Timestamp(1));
    cluster.state.take(&record).expect("readable");
    cluster.limits = TeamLimits { partition_workers_max: 4, ..cluster.limits };
    cluster.check("t/a", "m", json!({"config": {"n": 1}}), 8, &[]);
    cluster.check("t/a", "m", json!({"config": {"n": 2}}), 9, &["workers partition_workers_max"]);
}
