//! A host that remembers how it died.

use sandbar::catalog::Change;
use sandbar::model::codes::Code;
use sandbar::model::status::{RolloutState, State};
use serde_json::json;

use super::{Bench, has_failed, runs};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantined_transform_stays_off_until_it_is_resumed() {
    for is_paused_first in [false, true] {
        let suspect = json!({"ends": {"any": 3, "0/0": 3}, "resumes": 0, "quarantined_at": 5});
        let crashes = json!({"version": 1, "run": 7, "suspects": {"shop/fixture": suspect}});
        let bench = Bench::start(|thread, run| thread.spawn(run), Some(crashes)).await;
        bench.wait_for("it is quarantined", |status| {
            has_failed(status, Code::Quarantined) && status.rollout.state == RolloutState::Failed && status.revision == 1
        });
        assert!(bench.metrics.render().contains("sandbar_quarantined{team=\"shop\",transform=\"fixture\"} 1"));
        if is_paused_first {
            bench.change(Change::Pause);
            bench.wait_for("it is paused", |status| status.state == State::Paused && status.error.is_none());
        }
        bench.change(Change::Resume);
        bench.wait_for("it runs", runs);
        assert!(!bench.metrics.render().contains("sandbar_quarantined{"));
        bench.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspect_is_started_when_it_is_its_turn() {
    let suspect = json!({"ends": {"any": 2}, "resumes": 0, "quarantined_at": null});
    let crashes = json!({"version": 1, "run": 7, "suspects": {"shop/fixture": suspect, "shop/gone": suspect}});
    let bench = Bench::start(|thread, run| thread.spawn(run), Some(crashes)).await;
    bench.wait_for("it waits", |status| status.state == State::Starting && status.rollout.revision == 1);
    bench.wait_for("it runs", runs);
    bench.stop().await;
}
