//! A host of 0.1 comes into a cluster that uses a younger field already: too late to go back that way. Nothing is lost, and
//! the documented way back works.

use std::collections::BTreeSet;

use sandbar_harness::{Api, Seed, wait};
use serde_json::{Value, json};

use crate::job::Job;
use crate::load::under_load;
use crate::pair::{HostPair, NAMES, Stop, Version, goes_on};
use crate::workload::{Echo, Sums, deploy, deploy_everywhere};

const PATH: &str = "/v1/teams/tests/transforms/echo";
/// Commits of each partition that goes on, during which the others are looked at.
const COMMITS: usize = 5;
/// The host that goes back to 0.1, and the one that stays.
const BACK: usize = 0;
const STAYS: usize = 1;

#[test]
fn a_host_that_goes_back_too_far_loses_nothing() {
    let cluster = "upgrade-too-far";
    let mut seed = Seed::new(cluster);
    let echo = Echo::new(cluster);
    let sums = Sums::new(cluster);
    let mut pair = HostPair::start(cluster, [Version::New; 2]);
    let api = pair.api(STAYS);
    deploy_everywhere(sums.job(), &api);
    let plain = deploy_everywhere(&echo.job, &api);
    let mut labelled = plain.clone();
    labelled["labels"] = json!({"tier": "gold"});
    let streams = vec![(&echo.job, echo.source()), (sums.job(), sums.source(&mut seed))];
    under_load(streams, |_| {
        deploy(&api, &echo.job, &labelled);
        wait::until("revision 2 runs everywhere", wait::PATIENCE, || {
            let status = api.status(&echo.job.transform);
            if status["rollout"]["state"] == "complete" && status["rollout"]["revision"] == 2 {
                Ok(())
            } else {
                Err(status.to_string())
            }
        });
        [&echo.job, sums.job()].into_iter().for_each(goes_on);

        pair.stop(BACK, Stop::Sigterm);
        pair.start_as(BACK, Version::Old);
        pair.wait_acquainted();
        // A transform without younger fields runs on both.
        sums.job().wait_for_hosts(&api, NAMES.len());
        goes_on(sums.job());
        assert!(pair.log(BACK).contains("unknown field `labels`"), "the old host says which record it skips");
        // It knows revision 1 alone. Partitions that revision 2 has committed wait on it, and the others go on.
        let [held, free] = shared(&echo.job, &api);
        println!("{} partitions go on, and {} wait on a host that cannot read the spec", free.len(), held.len());
        let before = echo.job.progress.committed();
        let mut last = before.clone();
        for _ in 0..COMMITS {
            last = wait::until("each partition of the newer host goes on", wait::PATIENCE, || {
                let now = echo.job.progress.committed();
                if free.iter().all(|&own| now[own] > last[own]) { Ok(now) } else { Err(format!("{now:?} after {last:?}")) }
            });
        }
        for own in &held {
            assert_eq!(last[*own], before[*own], "partition {own} of {held:?} waits");
        }
        assert_eq!(shared(&echo.job, &api), [held, free], "the partitions have stayed where they were");
        assert_eq!(
            pair.api(BACK).get(PATH).success().json()["revision"],
            1,
            "the old host shows the revision that it can read"
        );
        assert_eq!(api.get(PATH).success().json()["spec"]["labels"]["tier"], "gold", "the record of the newer host stays");

        // The way back for good: without the field, deployed through the newer host.
        deploy(&api, &echo.job, &plain);
        echo.job.wait_for_hosts(&api, NAMES.len());
        goes_on(&echo.job);
        let shown = pair.api(BACK).get(PATH).success().json();
        assert_eq!(shown["revision"], 3, "{shown}");
    });
    echo.assert_exact();
    sums.assert_exact();
}

/// Waits until each partition has a host, and both hosts have some. Returns the partitions of the host that went back, and
/// those of the other.
#[track_caller]
fn shared(job: &Job, api: &Api) -> [BTreeSet<usize>; 2] {
    let count = job.progress.committed().len();
    wait::until("two hosts share the partitions", wait::PATIENCE, || {
        let status = api.status(&job.transform);
        let of_host = |number: usize| partitions(&status, NAMES[number]);
        let [held, free] = [BACK, STAYS].map(of_host);
        let is_whole = held.is_disjoint(&free) && held.len() + free.len() == count;
        if is_whole && !held.is_empty() && !free.is_empty() { Ok([held, free]) } else { Err(status.to_string()) }
    })
}

/// The partitions that the status lists for a host.
fn partitions(status: &Value, host: &str) -> BTreeSet<usize> {
    let list = |of: &Value, name: &str| of[name].as_array().cloned().unwrap_or_default();
    let hosts = list(status, "hosts").into_iter().filter(|one| one["host"] == host);
    let numbers = hosts.flat_map(|one| list(&one, "partitions")).filter_map(|own| own["partition"].as_u64());
    numbers.map(|number| number as usize).collect()
}
