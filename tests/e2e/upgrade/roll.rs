//! Two hosts of 0.1 are replaced one by one by hosts of this version, go back, and forward again. Records keep coming: the
//! outputs are exact, and so is the state.

use std::time::Duration;

use sandbar_harness::Seed;

use crate::load::under_load;
use crate::pair::{HostPair, NAMES, Stop, Version, goes_on};
use crate::workload::{Echo, Sums, deploy_everywhere};

#[track_caller]
fn roll(cluster: &str, stop: Stop) {
    let mut seed = Seed::new(cluster);
    let echo = Echo::new(cluster);
    let sums = Sums::new(cluster);
    let mut pair = HostPair::start(cluster, [Version::Old; 2]);
    let jobs = [&echo.job, sums.job()];
    for job in jobs {
        deploy_everywhere(job, &pair.api(0));
    }
    let streams = vec![(&echo.job, echo.source()), (sums.job(), sums.source(&mut seed))];
    under_load(streams, |load| {
        jobs.into_iter().for_each(goes_on);
        for version in [Version::New, Version::Old, Version::New] {
            let first = seed.within(0..2) as usize;
            for number in [first, 1 - first] {
                // Anywhere within a commit interval.
                std::thread::sleep(seed.duration(Duration::from_millis(150)));
                load.take_longest_standstill();
                let step = pair.replace(number, version, stop, &jobs);
                println!(
                    "{cluster}: host {} becomes {version:?} by {stop:?}: ended after {:.1?}, ready after {:.1?}, \
                     settled after {:.1?}; a partition stood still for {:.1?} at most",
                    NAMES[number],
                    step.ended,
                    step.ready,
                    step.settled,
                    load.take_longest_standstill()
                );
            }
        }
    });
    echo.assert_exact();
    sums.assert_exact();
}

#[test]
fn hosts_are_stopped_and_replaced_one_by_one() {
    roll("upgrade-stopped", Stop::Sigterm);
}

#[test]
fn hosts_are_killed_and_replaced_one_by_one() {
    roll("upgrade-killed", Stop::Kill9);
}
