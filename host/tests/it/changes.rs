//! Changes of the catalog that come at once: they share a turn of the host's writer, and each is decided on all before it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sandbar::catalog::{Catalog, CatalogError, Change, ChangeResult, Outcome, Precondition, Request};
use sandbar::embedded::{EmbeddedLog, Options};
use sandbar::model::audit::Actor;
use sandbar::model::names::{Digest, TransformId};
use sandbar::model::revision::Progress;
use sandbar::model::units::Timestamp;
use sandbar::ports::Log;
use sandbar::telemetry::metrics::Metrics;
use serde_json::json;

use crate::support::gated::Gated;

const PATIENCE: Duration = Duration::from_secs(60);

/// A catalog on a log whose writers can be held up.
struct Bench {
    catalog: Catalog,
    log: Gated,
    metrics: Metrics,
    module: Digest,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Gated::new(EmbeddedLog::open(Options::new(folder.path().join("log"))).expect("opens"));
        let shared: Arc<dyn Log> = Arc::new(log.clone());
        let metrics = Metrics::new();
        let cluster = "dev".parse().expect("valid");
        let catalog = Catalog::open(shared, &cluster, folder.path().join("modules"), metrics.clone()).expect("opens");
        let module = catalog.put_module(b"a module").expect("stored").digest;
        Self { catalog, log, metrics, module, _folder: folder }
    }

    fn change(&self, name: &str, expected: Precondition, tag: usize) -> Result<ChangeResult, CatalogError> {
        let id: TransformId = name.parse().expect("valid");
        let spec = json!({"inputs": ["in"], "outputs": {"out": "out"}, "config": {"tag": tag}});
        let spec = Box::new(serde_json::from_value(spec).expect("a spec"));
        self.catalog.change(
            &id,
            Request {
                expected,
                change: Change::Put { spec, module: self.module },
                key: None,
                actor: Actor::anyone(),
                now: Timestamp::now(),
                committed: Progress::default(),
                growth: None,
                signature: None,
                assumes: None,
            },
        )
    }

    /// Makes these changes at once, while the turn before them lasts. Returns their results in the order of their numbers,
    /// and the number of transactions that they took.
    fn together(&self, count: usize, change: impl Fn(usize) -> Result<ChangeResult, CatalogError> + Sync) -> Together {
        let before = self.log.writers.passed();
        self.log.writers.shut();
        let results = std::thread::scope(|scope| {
            // Also after a failure, which would wait for the others otherwise.
            let _opened_at_the_end = OpenedAtTheEnd(&self.log);
            let first = scope.spawn(|| self.change("shop/first", Precondition::Any, before));
            self.log.writers.wait_for_somebody(PATIENCE);
            let change = &change;
            let others: Vec<_> = (0..count).map(|number| scope.spawn(move || change(number))).collect();
            self.wait_until_waiting(count);
            self.log.writers.open();
            first.join().expect("it ends").expect("it is accepted");
            others.into_iter().map(|other| other.join().expect("it ends")).collect()
        });
        Together { results, turns: self.log.writers.passed() - before - 1 }
    }

    fn wait_until_waiting(&self, count: usize) {
        let line = format!("sandbar_catalog_changes_waiting {count}");
        let deadline = Instant::now() + PATIENCE;
        while !self.metrics.render().lines().any(|found| found == line) {
            assert!(Instant::now() < deadline, "{count} changes do not wait");
            std::thread::yield_now();
        }
    }
}

/// Opens the gate of the writers when it is dropped.
struct OpenedAtTheEnd<'a>(&'a Gated);

impl Drop for OpenedAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.writers.open();
    }
}

struct Together {
    results: Vec<Result<ChangeResult, CatalogError>>,
    turns: usize,
}

#[test]
fn changes_that_wait_are_committed_in_one_transaction() {
    let bench = Bench::new();
    let Together { results, turns } =
        bench.together(20, |number| bench.change(&format!("shop/t{number}"), Precondition::Absent, number));
    assert_eq!(turns, 1);
    for (number, result) in results.into_iter().enumerate() {
        let ChangeResult { deployment, outcome } = result.expect("it is accepted");
        assert_eq!((deployment.revision, outcome), (1, Outcome::Created));
        assert_eq!(deployment.id.name.as_str(), format!("t{number}"), "each gets its own answer");
        assert_eq!(bench.catalog.known(&deployment.id), Some(deployment));
    }
}

#[test]
fn each_change_of_a_turn_is_decided_on_those_before_it() {
    let bench = Bench::new();
    // One creates the transform; the others are told of it, or go on from it.
    let Together { results, turns } = bench.together(12, |number| {
        let expected = if number % 2 == 0 { Precondition::Absent } else { Precondition::Any };
        bench.change("shop/same", expected, number)
    });
    assert_eq!(turns, 1);
    let refused = results.iter().filter(|result| matches!(result, Err(CatalogError::Conflict { .. }))).count();
    let accepted: Vec<&ChangeResult> = results.iter().flatten().collect();
    assert_eq!(refused + accepted.len(), 12, "{results:?}");
    assert!(accepted.len() >= 6 && refused >= 5, "{results:?}");
    let mut revisions: Vec<u64> = accepted.iter().map(|result| result.deployment.revision).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=accepted.len() as u64).collect::<Vec<_>>(), "no two have one number");
    let created = accepted.iter().filter(|result| result.outcome == Outcome::Created).count();
    assert_eq!(created, 1);
    let kept = bench.catalog.revisions(&"shop/same".parse().expect("valid")).len();
    assert_eq!(kept, accepted.len(), "the history has each");
}
