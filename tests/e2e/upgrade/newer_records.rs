//! A host of 0.1 comes into a cluster that uses a younger field already: too late to go back that way. Nothing is lost, and
//! the documented way back works.

use std::time::Duration;

use sandbar_harness::{Seed, wait};
use serde_json::json;

use crate::load::under_load;
use crate::pair::{HostPair, NAMES, Stop, Version, goes_on};
use crate::workload::{Echo, Sums, deploy, deploy_everywhere};

const PATH: &str = "/v1/teams/tests/transforms/echo";
/// Time in which each partition that is not held up commits many times.
const LOOK: Duration = Duration::from_secs(8);
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
        echo.job.wait_for_hosts(&api, NAMES.len());
        let before = echo.job.progress.committed();
        std::thread::sleep(LOOK);
        let now = echo.job.progress.committed();
        let moved = now.iter().zip(&before).filter(|(now, before)| now > before).count();
        println!("{moved} of {} partitions go on beside a host that cannot read the spec", now.len());
        assert!((1..now.len()).contains(&moved), "{now:?} after {before:?}");
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
