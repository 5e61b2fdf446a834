//! Requests of one team leave room for those of others, and one kind of request for the other kinds.

use std::sync::PoisonError;

use sandbar::api::{ApiLimits, ServerLimits};
use serde_json::json;

use super::host::{Answer, GOOD, Host, Running, shop_log};

/// Look-ups that are sent at once: one is in work, eight wait, the others are refused.
const LOOKUPS: usize = 30;
const KEPT: usize = 9;

/// Holds look-ups until it is dropped, also where the test fails: the runtime waits for them.
struct HeldUp<'a>(&'a Running);

// === impl HeldUp ===

impl<'a> HeldUp<'a> {
    fn new(running: &'a Running) -> Self {
        *running.holds.lock().expect("unpoisoned") = true;
        Self(running)
    }
}

impl Drop for HeldUp<'_> {
    fn drop(&mut self) {
        *self.0.holds.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.let_go.notify_all();
    }
}

fn held(team: &str) -> String {
    format!("/v1/teams/{team}/transforms/strip/state/levels/held?partition=0")
}

#[tokio::test(flavor = "multi_thread")]
async fn look_ups_of_one_team_hold_up_nobody_else() {
    let limits = |limits| ApiLimits { lookups_max: 2, lookups_per_team_max: 1, ..limits };
    let host = Host::start_within(shop_log(), ServerLimits::default(), limits).await;
    let digest = host.upload(GOOD).await.expect(201)["digest"].clone();
    for team in ["greedy", "modest"] {
        let spec = json!({"inputs": ["shop.orders"], "outputs": {"o": "orders.out"}, "module": digest,
            "state": {"levels": {"queryable": true}}});
        host.put(&format!("/v1/teams/{team}/transforms/strip"), &spec).await.expect(202);
    }
    let held_up = HeldUp::new(&host.running);
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..LOOKUPS {
        asked.spawn(Answer::of(host.request("GET", &held("greedy"))));
    }
    for _ in 0..LOOKUPS - KEPT {
        let refused = asked.join_next().await.expect("one of them").expect("no panic").refused(503, "E032");
        assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("lookups_per_team_max")), "{refused}");
    }
    // Lists go over much of the catalog: they are look-ups as well.
    for path in ["/v1/teams/greedy", "/v1/teams/greedy/transforms"] {
        let refused = host.get(path).await.refused(503, "E032");
        assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("lookups_per_team_max")), "{refused}");
    }
    for path in ["/v1/teams/modest", "/v1/teams/modest/transforms", "/v1/teams", "/v1/transforms", "/v1/modules"] {
        host.get(path).await.expect(200);
    }
    let known = held("modest").replace("held", "known");
    host.get(&known).await.expect(200);
    host.post("/v1/teams/greedy/transforms/strip/pause").await.expect(202);
    host.get("/v1/teams/greedy/transforms/strip/status").await.expect(200);

    drop(held_up);
    for _ in 0..KEPT {
        // The key is of no entry.
        asked.join_next().await.expect("one of them").expect("no panic").refused(404, "E054");
    }
}
