//! The places of a host among others, which here are records in the status topic.

use std::time::{Duration, Instant};

use sandbar::cluster::Members;
use sandbar::model::format::{Format, encode};
use sandbar::model::names::TransformId;
use sandbar::model::status::{HostStatus, State};
use sandbar::model::units::Timestamp;
use sandbar::placement::Placement;
use serde_json::json;

use super::{Bench, PATIENCE};
use crate::support::guests::fixture;

const STATUS: &str = "_sandbar.dev.status";

impl Bench {
    /// A host says that it is there, or farewell.
    fn tell_host(&self, name: &str, is_live: bool) {
        let value = is_live.then(|| encode(Format::Host, &HostStatus::new(name, Timestamp::now())));
        self.tell(name, value);
    }

    fn tell(&self, key: &str, value: Option<Vec<u8>>) {
        use sandbar::ports::{Log, LogRecord};
        let key = Some(key.as_bytes().to_vec());
        let record = LogRecord { offset: 0, timestamp: Timestamp::now().0, key, value, headers: Vec::new() };
        self.log.append(&STATUS.parse().expect("valid"), Some(0), vec![record]).expect("appended");
    }

    /// Waits for a condition while these hosts give signs of life.
    #[track_caller]
    fn wait_beside(&self, hosts: &[&str], what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < deadline, "{what}");
            hosts.iter().for_each(|host| self.tell_host(host, true));
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn runs_here(&self, id: &TransformId) -> bool {
        self.supervisor.status(id).is_some_and(|status| status.state == State::Running)
    }
}

/// A transform whose first two places among `host`, `b` and `c` are these.
fn placed_on(wanted: [&str; 2]) -> TransformId {
    let live = ["b", "c", "host"].map(|name| HostStatus::new(name, Timestamp(0))).to_vec();
    let members = Members { live, ..Members::default() };
    let ids = (0..1000).map(|number| format!("shop/t{number}").parse::<TransformId>().expect("valid"));
    let is_placed = |id: &TransformId| Placement::ranks(id, &members)[..2] == wanted;
    ids.into_iter().find(is_placed).expect("one of a thousand")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transform_runs_where_it_is_placed_and_a_dead_hosts_place_is_taken() {
    let bench = Bench::in_cluster();
    let here = placed_on(["host", "b"]);
    let elsewhere = placed_on(["b", "c"]);
    ["b", "c"].iter().for_each(|host| bench.tell_host(host, true));
    let gauge = |presence: &str, count: usize| {
        let line = format!("sandbar_transforms_placed{{presence=\"{presence}\"}} {count}");
        bench.metrics.render().lines().any(|found| found == line)
    };
    bench.wait_beside(&["b", "c"], "the hosts are seen", || {
        let members = bench.cluster.as_ref().map(|cluster| cluster.members());
        members.is_some_and(|members| members.live.len() == 2)
    });
    for id in [&elsewhere, &here] {
        bench.deploy_as(id, fixture(), json!({"config": {"mode": "echo"}, "on_error": {"then": "skip"}}));
    }
    bench.wait_beside(&["b", "c"], "it runs here", || bench.runs_here(&here));
    assert_eq!(bench.supervisor.status(&elsewhere), None, "it was deployed first, and has its places elsewhere");
    assert!(gauge("here", 1) && gauge("away", 1));

    // Host b is silent, without a word: its place is taken.
    bench.wait_beside(&["c"], "the dead host's place is taken", || bench.runs_here(&elsewhere));
    // It is back: this host leaves late, and goes on meanwhile.
    bench.wait_beside(&["b", "c"], "the place is given away", || gauge("leaving", 1));
    assert!(bench.runs_here(&elsewhere));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_place_of_a_host_that_said_farewell_is_kept_while_another_works() {
    let bench = Bench::in_cluster();
    let kept = placed_on(["b", "c"]);
    let alone = placed_on(["c", "b"]);
    ["b", "c"].iter().for_each(|host| bench.tell_host(host, true));
    bench.wait_beside(&["b", "c"], "the hosts are seen", || {
        let members = bench.cluster.as_ref().map(|cluster| cluster.members());
        members.is_some_and(|members| members.live.len() == 2)
    });
    bench.deploy_as(&kept, fixture(), json!({"config": {"mode": "echo"}, "on_error": {"then": "skip"}}));
    bench.deploy_as(&alone, fixture(), json!({"config": {"mode": "echo"}, "on_error": {"then": "skip"}, "hosts": 1}));
    bench.tell_host("c", false);
    // The only host of one is gone, so the next takes it over; the other still has host b.
    bench.tell_host("b", true);
    let members = || bench.cluster.as_ref().map(|cluster| cluster.members()).unwrap_or_default();
    bench.wait_beside(&["b"], "the farewell is seen", || members().away == ["c"]);
    assert_eq!(bench.supervisor.status(&kept), None);
    bench.tell_host("b", false);
    bench.wait_beside(&[], "both are here when both hosts are gone", || bench.runs_here(&kept) && bench.runs_here(&alone));
    bench.stop().await;
}
