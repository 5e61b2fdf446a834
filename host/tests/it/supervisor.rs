//! The supervisor over the embedded log, with a real module.

mod forgotten;
mod full_disk;
mod places;
mod publisher;
mod quarantine;
mod signatures;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::cpu;
use crate::support::gated::Gated;
use crate::support::guests::{fixture, modules_of, modules_with, stateful};
use sandbar::catalog::{Catalog, Change, Precondition, Request};
use sandbar::cluster::Cluster;
use sandbar::crashes::Crashes;
use sandbar::embedded::{EmbeddedLog, Options};
use sandbar::guest::compile::Compiler;
use sandbar::guest::{ModuleOptions, Modules};
use sandbar::model::audit::Actor;
use sandbar::model::codes::Code;
use sandbar::model::names::TransformId;
use sandbar::model::revision::Progress;
use sandbar::model::signature::ModuleSignature;
use sandbar::model::status::{RolloutState, State, TransformStatus};
use sandbar::model::units::Timestamp;
use sandbar::ports::{Groups, Log, LogRecord, NewTopic};
use sandbar::positions::Positions;
use sandbar::secrets::{SecretOptions, Secrets, follow_for_ever as follow_secrets};
use sandbar::stores::tables::{TableLimits, Tables};
use sandbar::stores::{StoreLimits, Stores};
use sandbar::supervisor::{Parts, Spawn, Supervisor};
use sandbar::teams::{TeamLimits, Teams, TeamsOptions, follow_for_ever};
use sandbar::telemetry::metrics::Metrics;
use sandbar::telemetry::observer::Observers;
use sandbar::telemetry::rate::TEAM_LOG_RATE;
use sandbar::worker::Rests;
use serde_json::{Value, json};
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(120);
const TABLES: TableLimits = TableLimits { table: 1 << 16, team: 1 << 20, host: 1 << 20 };

/// A host without its API, with one transform.
struct Bench {
    id: TransformId,
    log: Gated,
    catalog: Arc<Catalog>,
    /// The cluster, where this host has places in one.
    cluster: Option<Arc<Cluster>>,
    supervisor: Supervisor,
    metrics: Metrics,
    secrets: Secrets,
    down: watch::Sender<bool>,
    ended: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Bench {
    /// `crashes`: the file of suspects that is in its data folder.
    async fn start(spawn: Spawn, crashes: Option<serde_json::Value>) -> Self {
        let bench = Self::idle(spawn, crashes).await;
        bench.deploy(fixture(), json!({"config": {"mode": "echo"}}));
        bench
    }

    /// Without a transform.
    async fn idle(spawn: Spawn, crashes: Option<serde_json::Value>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let limits = StoreLimits { cache_bytes_max: 1 << 20, hot_bytes_max: 1 << 20, ..StoreLimits::default() };
        let state = folder.path().join("state");
        Self::with_state(spawn, crashes, folder, &state, limits)
    }

    /// Without a transform, and with secrets in the folder `vault`.
    fn with_secrets(vault: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("state");
        let options = SecretOptions { folder: Some(vault.to_owned()), ..SecretOptions::default() };
        let secrets = Secrets::open(options).expect("it is there");
        let modules = modules_with(ModuleOptions { secrets: secrets.clone(), ..ModuleOptions::default() });
        let limits = StoreLimits::default();
        Self::with_modules(|thread, run| thread.spawn(run), None, folder, (&state, limits), (modules, secrets))
    }

    /// Without a transform, and with local stores in the folder `state`.
    fn with_state(
        spawn: Spawn,
        crashes: Option<serde_json::Value>,
        folder: tempfile::TempDir,
        state: &Path,
        limits: StoreLimits,
    ) -> Self {
        Self::with_modules(spawn, crashes, folder, (state, limits), (modules_of(Compiler::default()), Secrets::default()))
    }

    fn with_modules(
        spawn: Spawn,
        crashes: Option<serde_json::Value>,
        folder: tempfile::TempDir,
        stores: (&Path, StoreLimits),
        modules: (Modules, Secrets),
    ) -> Self {
        Self::build(spawn, crashes, folder, stores, modules, false)
    }

    /// Without a transform, as a host of a cluster.
    fn in_cluster() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("state");
        let modules = (modules_of(Compiler::default()), Secrets::default());
        Self::build(|thread, run| thread.spawn(run), None, folder, (&state, StoreLimits::default()), modules, true)
    }

    fn build(
        spawn: Spawn,
        crashes: Option<serde_json::Value>,
        folder: tempfile::TempDir,
        (state, limits): (&Path, StoreLimits),
        (modules, secrets): (Modules, Secrets),
        is_in_cluster: bool,
    ) -> Self {
        if let Some(crashes) = crashes {
            std::fs::write(folder.path().join("crashes.json"), crashes.to_string()).expect("written");
        }
        let gated = Gated::new(EmbeddedLog::open(Options::new(folder.path().join("log"))).expect("opens"));
        let log: Arc<dyn Log> = Arc::new(gated.clone());
        for name in ["in", "out", "shop.fixture.dead-letter"] {
            let name = name.parse().expect("valid");
            log.create_topic(&NewTopic { name, partitions: 1, compacted: false, retention: None }).expect("made");
        }
        let metrics = Metrics::new();
        let (down, shutdown) = watch::channel(false);
        let teams = Self::teams(folder.path(), shutdown.clone());
        let catalog =
            Catalog::open(log.clone(), &"dev".parse().expect("valid"), folder.path().join("modules"), metrics.clone());
        let catalog = Arc::new(catalog.expect("opens"));
        let parts = Parts {
            log: log.clone(),
            catalog: catalog.clone(),
            positions: Arc::new(Positions::open(log.clone(), &"dev".parse().expect("valid")).expect("opens")),
            modules: Arc::new(modules),
            metrics: metrics.clone(),
            observers: Observers::new(metrics.clone(), TEAM_LOG_RATE, None),
            stores: Stores::new(log.clone(), state, limits, &metrics),
            tables: Tables::new(log, TABLES, metrics.clone()).stale_after(Duration::from_secs(1)),
            processors: cpu::processors(),
            teams,
            crashes: Crashes::open(folder.path(), Timestamp::now()),
            cluster: "dev".parse().expect("valid"),
            rests: Rests::default(),
            spawn,
            host: "host".into(),
        };
        let id: TransformId = "shop/fixture".parse().expect("valid");
        let cluster = is_in_cluster.then(|| Arc::new(Cluster::open(&parts.log, &parts.cluster).expect("opens")));
        let (supervisor, ended) = Supervisor::start(parts, cluster.clone(), shutdown);
        Self { id, log: gated, catalog, cluster, supervisor, metrics, secrets, down, ended, _folder: folder }
    }

    /// The teams of a file in the folder, which is followed.
    fn teams(folder: &Path, shutdown: watch::Receiver<bool>) -> Teams {
        let file = folder.join("teams.yaml");
        std::fs::write(&file, "{}").expect("written");
        let options = TeamsOptions { file: Some(file), base: TeamLimits::default() };
        let teams = Teams::open(&options).expect("a valid file");
        tokio::spawn(follow_for_ever(teams.clone(), options, shutdown));
        teams
    }

    /// Puts another file of teams in the place of the file.
    fn write_teams(&self, text: &str) {
        let file = self._folder.path().join("teams.yaml");
        std::fs::write(file.with_extension("next"), text).expect("written");
        std::fs::rename(file.with_extension("next"), file).expect("renamed");
    }

    fn deploy(&self, module: &[u8], fields: Value) {
        self.deploy_as(&self.id, module, fields);
    }

    fn deploy_as(&self, id: &TransformId, module: &[u8], fields: Value) {
        let module = self.catalog.put_module(module).expect("stored").digest;
        let mut spec = json!({"inputs": ["in"], "outputs": {"out": "out"}});
        spec.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        self.change_of(id, Change::Put { spec: Box::new(serde_json::from_value(spec).expect("a spec")), module });
    }

    fn topic(&self, name: &str, compacted: bool) {
        let name = name.parse().expect("valid");
        self.log.create_topic(&NewTopic { name, partitions: 1, compacted, retention: None }).expect("made");
    }

    /// Appends a record, with `value` as JSON or as the text that it is.
    fn append(&self, topic: &str, key: &str, value: &Value) {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned).into_bytes();
        let key = Some(key.as_bytes().to_vec());
        let headers = Vec::new();
        let record = LogRecord { offset: 0, timestamp: Timestamp::now().0, key, value: Some(value), headers };
        self.log.append(&topic.parse().expect("valid"), Some(0), vec![record]).expect("appended");
    }

    /// Waits until the output topic has so many records; their values.
    #[track_caller]
    fn outputs(&self, count: usize) -> Vec<String> {
        self.values("out", count)
    }

    #[track_caller]
    fn values(&self, topic: &str, count: usize) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let topic = topic.parse().expect("valid");
        loop {
            let page = self.log.read(&topic, 0, 0, Duration::from_millis(50), 1 << 20).expect("readable");
            let text =
                |record: &LogRecord| String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
            let values: Vec<String> = page.records.iter().map(text).collect();
            if values.len() >= count {
                return values;
            }
            assert!(Instant::now() < deadline, "{values:?}");
        }
    }

    fn change(&self, change: Change) {
        self.change_of(&self.id, change);
    }

    fn change_of(&self, id: &TransformId, change: Change) {
        self.signed_change(id, change, None);
    }

    fn signed_change(&self, id: &TransformId, change: Change, signature: Option<ModuleSignature>) {
        let request = Request {
            expected: Precondition::Any,
            change,
            key: None,
            actor: Actor::anyone(),
            now: Timestamp::now(),
            committed: Progress::default(),
            growth: None,
            signature,
            assumes: None,
        };
        self.catalog.change(id, request).expect("accepted");
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
async fn a_worker_that_panicked_is_started_again() {
    static PANICS: AtomicUsize = AtomicUsize::new(2);
    let bench = Bench::start(
        |thread, run| {
            let left = PANICS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            if left.is_ok() { thread.spawn(|| panic!("as asked")) } else { thread.spawn(run) }
        },
        None,
    )
    .await;
    bench.wait_for("it has failed", |status| has_failed(status, Code::Internal));
    bench.wait_for("it runs", runs);
    bench.append("in", "a", &json!("1"));
    bench.outputs(1);
    bench.stop().await;
}

/// Without the one before, the records that it traps at would go to its policy for errors.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revision_on_trial_starts_beside_the_one_before_also_after_a_lost_answer() {
    let bench = Bench::start(|thread, run| thread.spawn(run), None).await;
    bench.wait_for("it runs", runs);
    bench.append("in", "a", &json!("1"));
    bench.outputs(1);
    bench.change(Change::Pause);
    bench.wait_for("it is paused", |status| status.state == State::Paused);
    bench.deploy(fixture(), json!({"config": {"mode": "panic-all"}}));
    bench.log.lost_offsets.lose(2);
    bench.change(Change::Resume);
    bench.append("in", "a", &json!("2"));
    bench.outputs(2);
    assert_eq!(bench.log.lost_offsets.asked(), 2);
    bench.wait_for("the revision is refused", |status| status.rollout.state == RolloutState::Failed);
    bench.stop().await;
}

/// It is the remedy: to wait for the table of the one before it would be for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revision_without_a_table_that_is_too_large_starts() {
    let bench = Bench::idle(|thread, run| thread.spawn(run), None).await;
    bench.topic("prices", true);
    bench.deploy(fixture(), json!({"config": {"mode": "echo"}, "tables": {"prices": "prices"}}));
    bench.wait_for("it runs", runs);
    bench.append("in", "a", &json!("1"));
    bench.outputs(1);
    bench.change(Change::Pause);
    bench.wait_for("it is paused", |status| status.state == State::Paused);
    bench.wait_for("nobody has the table", |_| !bench.metrics.render().contains("sandbar_table_entries{"));
    (0..3).for_each(|n| bench.append("prices", &n.to_string(), &json!("x".repeat(TABLES.table / 2))));
    bench.deploy(fixture(), json!({"config": {"mode": "echo"}}));
    bench.change(Change::Resume);
    bench.wait_for("the newer one runs", |status| runs(status) && status.revision == 2);
    bench.append("in", "a", &json!("2"));
    bench.outputs(2);
    bench.stop().await;
}

/// The header `tag` of the newest output.
fn newest_tag(bench: &Bench) -> Option<String> {
    let out = "out".parse().expect("valid");
    let page = bench.log.read(&out, 0, 0, Duration::from_millis(50), 1 << 20).expect("readable");
    let tag = page.records.last()?.headers.iter().find(|(name, _)| name == "tag")?.1.clone();
    Some(String::from_utf8_lossy(&tag.expect("a value")).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_without_a_secret_stays_out_of_the_group_until_it_has_it_and_follows_its_changes() {
    let vault = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(vault.path().join("shop")).expect("made");
    let put = |value: &str| std::fs::write(vault.path().join("shop/token"), value).expect("written");
    let bench = Bench::with_secrets(vault.path());
    let (_down, shutdown) = watch::channel(false);
    tokio::spawn(follow_secrets(bench.secrets.clone(), shutdown));
    bench.append("in", "a", &json!("1"));
    let config = json!({"mode": "echo", "tag": {"secret": "file:token"}});
    bench.deploy(fixture(), json!({ "config": config, "start": "earliest" }));
    bench.wait_for("it has failed", |status| has_failed(status, Code::SecretUnavailable));
    assert_eq!(bench.log.sessions_opened(), 0);
    put("first");
    bench.wait_for("it runs", runs);
    bench.outputs(1);
    assert_eq!(newest_tag(&bench).as_deref(), Some("first"));
    put("second");
    let deadline = Instant::now() + PATIENCE;
    let mut count = 1;
    while newest_tag(&bench).as_deref() != Some("second") {
        assert!(Instant::now() < deadline, "the worker has the old secret");
        bench.append("in", "a", &json!("1"));
        count += 1;
        bench.outputs(count);
    }
    // Nothing stopped for it.
    assert_eq!(bench.log.sessions_opened(), 1);
    bench.stop().await;
}

const GROUP: &str = "sandbar.dev.shop.fixture";

/// A worker that joined its group all the same would commit where to start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transform_that_is_paused_or_deleted_while_it_is_prepared_starts_no_worker() {
    for end in [Change::Pause, Change::Delete] {
        let bench = Bench::idle(|thread, run| thread.spawn(run), None).await;
        bench.log.shut();
        bench.deploy(fixture(), json!({"config": {"mode": "echo"}}));
        bench.log.wait_for_somebody(PATIENCE);
        bench.change(end.clone());
        bench.log.open_gate();
        // One that is deleted is not this host's any more.
        let is_at_rest = |status: Option<TransformStatus>| match end {
            Change::Pause => status.is_some_and(|status| status.state == State::Paused),
            _ => status.is_none(),
        };
        let deadline = Instant::now() + PATIENCE;
        while !is_at_rest(bench.supervisor.status(&bench.id)) {
            assert!(Instant::now() < deadline, "it is not at rest: {end:?}");
            std::thread::yield_now();
        }
        assert_eq!(bench.log.sessions_opened(), 0, "{end:?}");
        let offsets = bench.log.group_offsets(GROUP, &["in".parse().expect("valid")]).expect("known");
        assert!(offsets.is_empty(), "{offsets:?}");
        bench.change(Change::Put {
            spec: Box::new(
                serde_json::from_value(json!({"inputs": ["in"], "outputs": {"out": "out"}, "config": {"mode": "echo"}}))
                    .expect("a spec"),
            ),
            module: bench.catalog.put_module(fixture()).expect("stored").digest,
        });
        if end == Change::Pause {
            bench.change(Change::Resume);
        }
        bench.wait_for("it runs", runs);
        bench.stop().await;
    }
}

/// The host sees the last of them only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_a_reset_and_a_resume_that_come_as_one_lead_to_the_new_changelogs() {
    let bench = Bench::idle(|thread, run| thread.spawn(run), None).await;
    bench.topic("_sandbar.dev.state.shop.fixture.sums", true);
    let fields = json!({"config": {"mode": "fold"}, "state": {"sums": {}}, "start": "earliest"});
    bench.deploy(stateful(), fields);
    bench.append("in", "a", &json!("5"));
    assert_eq!(bench.outputs(1), ["1 5"]);
    bench.wait_for("it runs", runs);
    // The supervisor looks at the partitions of its inputs now and then, and stands still there.
    bench.log.shut();
    bench.log.wait_for_somebody(PATIENCE);
    bench.topic("_sandbar.dev.state.shop.fixture.sums.1", true);
    bench.topic("_sandbar.dev.state.shop.fixture.sums.2", true);
    for change in [Change::Pause, Change::ResetState, Change::ResetState, Change::Resume] {
        bench.change(change);
    }
    bench.log.open_gate();
    let changelog = "_sandbar.dev.state.shop.fixture.sums.2".parse().expect("valid");
    let mut count = 1;
    let deadline = Instant::now() + PATIENCE;
    // Records that come before it has seen the reset are counted as before.
    while bench.log.offsets(&changelog, 0).expect("there").1 == 0 {
        assert!(Instant::now() < deadline, "the state goes on as it was: {:?}", bench.outputs(count));
        bench.append("in", "a", &json!("1"));
        count += 1;
        bench.outputs(count);
    }
    assert_eq!(bench.outputs(count).last().map(String::as_str), Some("1 1"));
    bench.stop().await;
}

/// Writes the newest deployment again, running or paused, with this field in its place.
fn write_with(bench: &Bench, desired: &str, place: &str, value: Value) {
    let known = bench.catalog.known(&bench.id).expect("deployed");
    let mut record = serde_json::to_value(known).expect("plain data");
    record["revision"] = json!(2);
    record["desired"] = json!(desired);
    let parent = place.rsplit_once('/').expect("a path").0;
    record.pointer_mut(parent).expect(place)[place.rsplit('/').next().expect("a field")] = value;
    bench.append("_sandbar.dev.deployments", "shop/fixture", &record);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_hosts_deployment_is_shown_and_the_one_before_goes_on() {
    let is_newer = |status: &TransformStatus| {
        let code = status.rollout.error.as_ref().map(|error| error.code);
        code == Some(Code::NewerFormat) && status.rollout.state == RolloutState::Failed
    };
    for place in ["/spec/more", "/spec/limits/more"] {
        let bench = Bench::start(|thread, run| thread.spawn(run), None).await;
        bench.wait_for("it runs", runs);
        write_with(&bench, "running", place, json!(1));
        bench.wait_for("it runs and says so", |status| {
            is_newer(status) && status.state == State::Running && status.revision == 1
        });
        bench.append("in", "a", &json!("x"));
        bench.outputs(1);
        write_with(&bench, "paused", place, json!(1));
        bench.wait_for("that much is understood", |status| is_newer(status) && status.state == State::Paused);
        write_with(&bench, "running", place, json!(1));
        bench.wait_for("nothing is started", |status| is_newer(status) && status.state == State::Failed);
        assert!(!bench.metrics.render().contains("sandbar_quarantined{"), "it did not end its host");
        write_with(&bench, "running", "/asked/resumes", json!(9));
        bench.wait_for("it is understood again, and runs", |status| runs(status) && status.revision == 2);
        bench.stop().await;
    }
}

/// The file of a host may change while its transforms run, and may be another one than that of the host that was asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_taken_stops_its_teams_transforms_alone() {
    let bench = Bench::idle(|thread, run| thread.spawn(run), None).await;
    for name in ["stock.out", "stock.fixture.dead-letter"] {
        bench.topic(name, false);
    }
    bench.topic("prices", true);
    let other: TransformId = "stock/fixture".parse().expect("valid");
    bench.deploy_as(&other, fixture(), json!({"config": {"mode": "echo"}, "outputs": {"out": "stock.out"}}));
    bench.deploy(fixture(), json!({"config": {"mode": "echo"}, "tables": {"prices": "prices"}}));
    bench.wait_for("it runs", runs);
    let mut seen = 0;
    for (taken, code) in [
        ("{topics: {read: [prices], write: [out]}}", Code::TopicDenied),
        ("{topics: {read: [in], write: [out]}}", Code::TopicDenied),
        ("{topics: {read: [in, prices], write: [other]}}", Code::TopicDenied),
        ("{}, owner: {topics: {owns: ['*'], accepts_from: [stock]}}", Code::TopicOwned),
    ] {
        bench.write_teams(&format!("teams: {{shop: {taken}}}"));
        bench.wait_for(taken, |status| has_failed(status, code));
        bench.append("in", "k", &json!("goes on"));
        seen += 1;
        bench.values("stock.out", seen);
        assert_eq!(bench.supervisor.status(&other).map(|status| status.state), Some(State::Running), "{taken}");
        bench.write_teams("teams: {shop: {topics: {read: ['*'], write: ['o*']}}}");
        bench.wait_for("it runs again", runs);
        bench.outputs(seen);
    }
    // A revision that may not use its topic is not started, and the one before goes on.
    bench.deploy(fixture(), json!({"config": {"mode": "echo"}, "outputs": {"out": "stock.out"}}));
    bench.wait_for("the new revision is refused", |status| {
        let code = status.rollout.error.as_ref().map(|error| error.code);
        code == Some(Code::TopicDenied) && status.revision == 1 && !status.partitions.is_empty()
    });
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transform_whose_table_is_stale_is_degraded_until_it_follows_again() {
    let bench = Bench::idle(|thread, run| thread.spawn(run), None).await;
    bench.topic("prices", true);
    bench.append("prices", "a", &json!("1"));
    bench.deploy(fixture(), json!({"config": {"mode": "echo"}, "tables": {"prices": "prices"}}));
    bench.wait_for("it runs", runs);
    // More than a table may have.
    for key in ["b", "c", "d"] {
        bench.append("prices", key, &json!("x".repeat(30_000)));
    }
    bench.wait_for("its table is stale", |status| {
        let error = status.error.as_ref();
        let is_named = error.is_some_and(|error| error.message.contains("prices") && error.message.contains("the limit is"));
        status.state == State::Degraded && is_named && error.is_some_and(|error| error.code == Code::TableUnavailable)
    });
    bench.wait_for("the metric says since when", |_| {
        let metrics = bench.metrics.render();
        let mut lines =
            metrics.lines().filter(|line| line.starts_with("sandbar_table_stale_seconds{team=\"-\",topic=\"prices\"}"));
        lines.any(|line| !line.ends_with(" 0"))
    });
    bench.append("in", "k", &json!("goes on"));
    bench.outputs(1);
    for key in ["b", "c", "d"] {
        bench.append("prices", key, &json!("1"));
    }
    bench.wait_for("it runs again", runs);
    bench.stop().await;
}

/// Offsets that somebody else has committed: their partition stops, or goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_that_are_not_believed_stop_their_partition() {
    for (metadata, is_believed) in [
        ("", true),
        (r#"{"revision":1,"since":0}"#, true),
        ("by hand", false),
        (r#"{"version":2,"revision":1}"#, false),
        // A revision that the transform has never had.
        (r#"{"revision":41,"since":0}"#, false),
        // A state that was reset more often than this one.
        (r#"{"revision":1,"since":0,"resets":0}"#, true),
        (r#"{"revision":1,"since":0,"resets":1}"#, false),
    ] {
        let bench = Bench::idle(|thread, run| thread.spawn(run), None).await;
        let topic = "in".parse().expect("valid");
        bench.append("in", "a", &json!("7"));
        let offset = sandbar::ports::GroupOffset { topic, partition: 0, next_offset: 0, metadata: metadata.into() };
        bench.log.commit_for_group(GROUP, &[offset]).expect("nobody is in it");
        if metadata.contains("resets") {
            bench.topic("_sandbar.dev.state.shop.fixture.sums", true);
            bench.deploy(stateful(), json!({"config": {"mode": "fold"}, "state": {"sums": {}}}));
        } else {
            bench.deploy(fixture(), json!({"config": {"mode": "echo"}}));
        }
        if is_believed {
            bench.outputs(1);
        } else {
            bench.wait_for("its partition says so", |status| {
                let error = status.partitions.first().and_then(|own| own.error.as_ref());
                status.partitions.first().is_some_and(|own| own.state == State::Failed)
                    && error.is_some_and(|error| error.code == Code::OffsetUnreadable)
            });
            let written = bench.log.group_offsets(GROUP, &["in".parse().expect("valid")]).expect("known");
            assert_eq!((written[0].next_offset, written[0].metadata.as_str()), (0, metadata));
        }
        bench.stop().await;
    }
}
