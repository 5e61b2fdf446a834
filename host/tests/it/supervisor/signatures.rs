//! Teams that run signed modules alone: keys that come and go, and modules that were written past the API.

use std::time::Duration;

use ring::signature::{Ed25519KeyPair, KeyPair};
use sandbar::catalog::Change;
use sandbar::model::codes::Code;
use sandbar::model::names::{Digest, TransformId};
use sandbar::model::signature::{Envelope, ModuleSignature};
use sandbar::model::signing_key::PublicKey;
use sandbar::model::status::State;
use serde_json::json;

use super::{Bench, has_failed, runs};
use crate::support::guests::fixture;

impl Bench {
    /// Requires signatures by the keys of these seeds.
    fn require_keys(&self, seeds: &[u8]) {
        let keys: Vec<String> = seeds.iter().map(|seed| public(*seed).to_string()).collect();
        self.write_teams(&json!({"teams": {"shop": {"signing": {"required": true, "keys": keys}}}}).to_string());
    }

    fn deploy_signed(&self, module: &[u8], mode: &str, signature: Option<ModuleSignature>) {
        let module = self.catalog.put_module(module).expect("stored").digest;
        let spec = json!({"inputs": ["in"], "outputs": {"out": "out"}, "config": {"mode": mode}});
        let spec = Box::new(serde_json::from_value(spec).expect("a spec"));
        self.signed_change(&self.id, Change::Put { spec, module }, signature);
    }

    /// The number of refused signatures, at a start or while a revision runs.
    fn refused_signatures(&self, at: &str) -> u64 {
        let name = format!("sandbar_signatures_refused_total{{at=\"{at}\"}} ");
        let metrics = self.metrics.render();
        metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
    }
}

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a seed")
}

fn public(seed: u8) -> PublicKey {
    PublicKey::new(pair(seed).public_key().as_ref().try_into().expect("32 bytes")).expect("a key")
}

/// The signature of a module for team `shop`.
fn signature(seed: u8, module: &[u8]) -> Option<ModuleSignature> {
    let key = public(seed).id();
    let team = "shop".parse().expect("valid");
    let envelope = Envelope::seal(&Digest::of(module), &team, &key, |text| pair(seed).sign(text).as_ref().to_vec());
    Some(ModuleSignature { envelope, key: Some(key) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_runs_while_a_present_key_of_its_team_has_signed_it() {
    let bench = Bench::idle(|thread, run| thread.spawn(run), None).await;
    for name in ["stock.out", "stock.fixture.dead-letter"] {
        bench.topic(name, false);
    }
    let other: TransformId = "stock/fixture".parse().expect("valid");
    bench.deploy_as(&other, fixture(), json!({"config": {"mode": "echo"}, "outputs": {"out": "stock.out"}}));
    bench.require_keys(&[1]);
    bench.deploy_signed(fixture(), "echo", signature(1, fixture()));
    bench.wait_for("it runs", runs);
    bench.require_keys(&[2]);
    bench.wait_for("its key is gone", |status| has_failed(status, Code::BadSignature));
    bench.append("in", "k", &json!("goes on"));
    bench.values("stock.out", 1);
    assert_eq!(bench.supervisor.status(&other).map(|status| status.state), Some(State::Running));
    bench.require_keys(&[2, 1]);
    bench.wait_for("it runs again", runs);
    bench.outputs(1);

    // Another program may write the catalog's topics: its module is not run, and the revision before goes on.
    let foreign = [fixture(), &[0, 2, 1, b'x']].concat();
    let of_old = signature(1, fixture());
    for (revision, signature, code) in
        [(2, None, Code::Unsigned), (3, of_old, Code::BadSignature), (4, signature(3, &foreign), Code::BadSignature)]
    {
        bench.deploy_signed(&foreign, if revision % 2 == 0 { "count" } else { "echo" }, signature);
        bench.wait_for("it is refused", |status| {
            let refused = status.rollout.error.as_ref().map(|error| error.code);
            (status.rollout.revision, refused, status.revision) == (revision, Some(code), 1)
        });
    }
    bench.append("in", "k", &json!("goes on"));
    bench.outputs(2);
    for (at, count) in [("run", 1), ("start", 4)] {
        let found = bench.refused_signatures(at);
        assert!(found >= count, "{at}: {found}");
    }
    bench.stop().await;
}

/// The revision before is kept for as long as the one on trial has no records, and takes over if that one traps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_revision_without_a_present_key_takes_over_from_one_on_trial() {
    for traps_first in [false, true] {
        let bench = Bench::idle(|thread, run| thread.spawn(run), None).await;
        bench.require_keys(&[1, 2]);
        bench.deploy_signed(fixture(), "echo", signature(1, fixture()));
        bench.wait_for("the first runs", runs);
        bench.append("in", "k", &json!("first"));
        bench.outputs(1);
        bench.deploy_signed(fixture(), "panic", signature(2, fixture()));
        bench.wait_for("the second is on trial", |status| runs(status) && status.revision == 2);
        if traps_first {
            // The host looks at its workers meanwhile, and keeps what it has to know of the first.
            tokio::time::sleep(Duration::from_secs(2)).await;
            bench.append("in", "k", &json!("poison"));
            bench.outputs(2);
        }
        bench.require_keys(&[2]);
        bench.wait_for("the first is refused", |_| bench.refused_signatures("start") > 0);
        bench.append("in", "k", &json!("poison"));
        bench.values("shop.fixture.dead-letter", 1);
        assert!(bench.refused_signatures("run") > 0);
        assert_eq!(bench.outputs(1).len(), if traps_first { 2 } else { 1 });
        bench.wait_for("the second has no way back", |status| status.revision == 2);
        bench.stop().await;
    }
}
