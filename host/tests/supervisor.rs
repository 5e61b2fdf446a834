//! The supervisor over the embedded log, with a real module: a system that gives no threads, and a host that remembers
//! how it died.

#[path = "support/guests.rs"]
#[expect(dead_code, reason = "shared with guests.rs, which uses what this file does not")]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sandbar::catalog::{Catalog, Change, Expected, Request};
use sandbar::crashes::Crashes;
use sandbar::embedded::{EmbeddedLog, Options};
use sandbar::guest::compile::Compiler;
use sandbar::model::codes::Code;
use sandbar::model::names::TransformId;
use sandbar::model::revision::Progress;
use sandbar::model::status::{RolloutState, State, TransformStatus};
use sandbar::model::units::Timestamp;
use sandbar::ports::{Log, NewTopic};
use sandbar::positions::Positions;
use sandbar::stores::tables::Tables;
use sandbar::stores::{StoreLimits, Stores};
use sandbar::supervisor::{Parts, Spawn, Supervisor};
use sandbar::telemetry::metrics::Metrics;
use serde_json::json;
use support::{fixture, modules_of};
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(120);

/// A host without its API, with one transform.
struct Bench {
    id: TransformId,
    catalog: Arc<Catalog>,
    supervisor: Supervisor,
    metrics: Metrics,
    down: watch::Sender<bool>,
    ended: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Bench {
    /// `crashes`: the file of suspects that is in its data folder.
    async fn start(spawn: Spawn, crashes: Option<serde_json::Value>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        if let Some(crashes) = crashes {
            std::fs::write(folder.path().join("crashes.json"), crashes.to_string()).expect("written");
        }
        let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(Options::new(folder.path().join("log"))).expect("opens"));
        for name in ["in", "out", "shop.fixture.dead-letter"] {
            let name = name.parse().expect("valid");
            log.create_topic(&NewTopic { name, partitions: 1, compacted: false, retention: None }).expect("made");
        }
        let metrics = Metrics::new();
        let catalog =
            Catalog::open(log.clone(), &"dev".parse().expect("valid"), folder.path().join("modules"), metrics.clone());
        let catalog = Arc::new(catalog.expect("opens"));
        let limits = StoreLimits { cache_bytes_max: 1 << 20, hot_bytes_max: 1 << 20, cleanup_delay: PATIENCE };
        let parts = Parts {
            log: log.clone(),
            catalog: catalog.clone(),
            positions: Arc::new(Positions::open(log.clone(), &"dev".parse().expect("valid")).expect("opens")),
            modules: Arc::new(modules_of(Compiler::default())),
            metrics: metrics.clone(),
            stores: Stores::new(log.clone(), &folder.path().join("state"), limits),
            tables: Tables::new(log, 1 << 20, metrics.clone()),
            crashes: Crashes::open(folder.path(), Timestamp::now()),
            cluster: "dev".parse().expect("valid"),
            spawn,
            host: "host".into(),
        };
        let id: TransformId = "shop/fixture".parse().expect("valid");
        let (down, shutdown) = watch::channel(false);
        let (supervisor, ended) = Supervisor::start(parts, shutdown);
        let bench = Self { id, catalog, supervisor, metrics, down, ended, _folder: folder };
        let module = bench.catalog.put_module(fixture()).expect("stored").digest;
        let spec = json!({"inputs": ["in"], "outputs": {"out": "out"}, "config": {"mode": "echo"}});
        bench.change(Change::Put { spec: Box::new(serde_json::from_value(spec).expect("a spec")), module });
        bench
    }

    fn change(&self, change: Change) {
        let request =
            Request { expected: Expected::Any, change, key: None, now: Timestamp::now(), committed: Progress::default() };
        self.catalog.change(&self.id, request).expect("accepted");
    }

    /// Waits until the transform's status is so.
    #[track_caller]
    fn wait_for(&self, what: &str, holds: impl Fn(&TransformStatus) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.supervisor.status(&self.id);
            if status.as_ref().is_some_and(&holds) {
                return;
            }
            assert!(Instant::now() < deadline, "{what}: {status:?}");
            std::thread::yield_now();
        }
    }

    async fn stop(self) {
        self.down.send(true).expect("it runs");
        self.ended.await.expect("it ends well");
    }
}

fn has_failed(status: &TransformStatus, code: Code) -> bool {
    let is_code =
        |error: &Option<_>| error.as_ref().is_some_and(|error: &sandbar::model::status::LastError| error.code == code);
    status.state == State::Failed && is_code(&status.error) && is_code(&status.rollout.error)
}

fn runs(status: &TransformStatus) -> bool {
    status.state == State::Running && status.rollout.state == RolloutState::Complete && status.error.is_none()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_the_system_refuses_is_an_error_and_is_asked_for_again() {
    static REFUSALS: AtomicUsize = AtomicUsize::new(2);
    let bench = Bench::start(
        |thread, run| {
            let left = REFUSALS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            if left.is_ok() { Err(std::io::ErrorKind::WouldBlock.into()) } else { thread.spawn(run) }
        },
        None,
    )
    .await;
    bench.wait_for("it has failed", |status| has_failed(status, Code::HostResources));
    bench.wait_for("it runs", runs);
    bench.stop().await;
}

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
