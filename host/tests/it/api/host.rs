//! The API on a free port, over a log in memory, with fakes of the compiler and of the guests.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode};
use sandbar::access::{Access, AdminTokens, ClientRoles, Tokens};
use sandbar::api::{ApiLimits, ApiState, FlowRecorder, Gate, Redirects, Runtime, Server, ServerLimits, router};
use sandbar::audit::{AuditLog, Refusals};
use sandbar::catalog::Catalog;
use sandbar::cluster::LogTopics;
use sandbar::deployment::ModuleChecker;
use sandbar::model::batch::{Batch, Output};
use sandbar::model::module::{ModuleError, ModuleInfo};
use sandbar::model::names::{Digest, TeamName, TransformId};
use sandbar::model::spec::Spec;
use sandbar::model::status::{HostStatus, LastError, PartitionStatus, Rollout, RolloutState, State, TransformStatus};
use sandbar::model::units::Timestamp;
use sandbar::ports::{Call, Guest, GuestError, GuestFactory, Log};
use sandbar::positions::Positions;
use sandbar::teams::{TeamLimits, Teams, TeamsOptions, follow_for_ever};
use sandbar::telemetry::metrics::Metrics;
use serde_json::Value;

use super::log::MemoryLog;

/// A module that passes every check.
pub const GOOD: &[u8] = b"\0asm good";

/// Reads the verdict from the bytes, and that of `init` from the config.
pub struct Checker;

impl ModuleChecker for Checker {
    fn check(&self, _: Option<&TeamName>, bytes: &[u8]) -> Result<ModuleInfo, ModuleError> {
        let text = String::from_utf8_lossy(bytes);
        let Some(text) = text.strip_prefix("\0asm") else {
            return Err(ModuleError::NotWasm);
        };
        match text.trim().split_once('=').unwrap_or((text.trim(), "")) {
            ("core", _) => Err(ModuleError::CoreModule),
            ("world", found) => {
                Err(ModuleError::WrongWorld { found: found.into(), expected: "sandbar:transform@0.1".into() })
            }
            ("import", name) => Err(ModuleError::ForbiddenImport { name: name.into() }),
            ("export", name) => Err(ModuleError::MissingExport { name: name.into() }),
            ("invalid", text) => Err(ModuleError::Invalid(text.into())),
            ("slow", _) => Err(ModuleError::CompileTimeout { seconds: 30 }),
            ("panic", _) => panic!("the checker panics"),
            _ => Ok(ModuleInfo {
                digest: Digest::of(bytes),
                bytes: bytes.len() as u64,
                imports: vec!["sandbar:transform/log".into()],
                exports: vec!["sandbar:transform/guest".into()],
            }),
        }
    }

    fn try_init(&self, spec: &Spec, _: &[u8]) -> Result<(), ModuleError> {
        let text = |name: &str| spec.config.get(name).and_then(Value::as_str).map(str::to_owned);
        text("refuse").map_or(Ok(()), |message| Err(ModuleError::Init(message)))?;
        text("trap").map_or(Ok(()), |message| Err(ModuleError::Trap(message)))
    }

    fn prepare(&self, _: &Spec, _: &[u8]) -> Result<Box<dyn GuestFactory>, ModuleError> {
        Ok(Box::new(Echoes))
    }
}

/// Makes guests that put every record out as it is, and fail those whose value is `bad`.
struct Echoes;

struct Echo;

impl GuestFactory for Echoes {
    fn instantiate(&self) -> Result<Box<dyn Guest>, GuestError> {
        Ok(Box::new(Echo))
    }
}

impl Guest for Echo {
    fn tick(&mut self, _: Call, _: &mut sandbar::state::KeyedState) -> Result<Output, GuestError> {
        Ok(Output::default())
    }

    fn process(&mut self, batch: &Batch, _: Call, _: &mut sandbar::state::KeyedState) -> Result<Output, GuestError> {
        if batch.value(0) == Some(b"bad") {
            return Err(GuestError::Returned("bad as can be".into()));
        }
        let keys = batch.keys.clone();
        let values = batch.values.clone();
        Ok(Output { targets: vec![0], sources: vec![0], keys, values, ..Output::default() })
    }

    fn memory_bytes(&self) -> usize {
        65536
    }
}

#[derive(Default)]
pub struct Running {
    pub not_ready: Mutex<Vec<String>>,
    /// The last error of the transform on host a.
    pub error: Mutex<Option<LastError>>,
    /// Entries of every store in partition 0, beside the one of the key `known`.
    pub entries: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    /// The URL of host b, which has partition 1 then.
    pub neighbour: Mutex<Option<String>>,
    /// True while look-ups of the key `held` have no answer.
    pub holds: Mutex<bool>,
    pub let_go: Condvar,
}

impl Runtime for Running {
    fn statuses(&self, id: &TransformId) -> Vec<TransformStatus> {
        let partition = |number, lag: i64| PartitionStatus {
            restoring: None,
            stores: Vec::new(),
            topic: "shop.orders".parse().expect("valid"),
            partition: number,
            committed_offset: Some(10),
            end_offset: Some(10 + lag),
            lag: PartitionStatus::lag(Some(10), Some(10 + lag)),
            state: State::Running,
            revision: 1,
            revision_since: 0,
            error: None,
        };
        let status = (id.name.as_str() == "strip").then(|| TransformStatus {
            id: id.clone(),
            state: State::Running,
            revision: 1,
            rollout: Rollout { revision: 1, state: RolloutState::Complete, error: None },
            host: "a".into(),
            error: self.error.lock().expect("unpoisoned").clone(),
            partitions: vec![partition(0, 5), partition(1, 2)],
            truncated: false,
            omitted: None,
            hosts_wanted: None,
            activity: None,
        });
        let mut statuses: Vec<TransformStatus> = status.into_iter().collect();
        if self.neighbour.lock().expect("unpoisoned").is_some()
            && let Some(own) = statuses.first_mut()
        {
            let moved = own.partitions.split_off(1);
            let neighbour = TransformStatus { host: "b".into(), partitions: moved, ..own.clone() };
            statuses.push(neighbour);
        }
        statuses
    }

    fn hosts(&self) -> Vec<HostStatus> {
        let host = |name| HostStatus { transforms: 1, partitions: 2, ..HostStatus::new(name, Timestamp(1_700_000_000_000)) };
        let url = self.neighbour.lock().expect("unpoisoned").clone();
        let neighbour = url.map(|url| HostStatus { url: Some(url), ..host("b") });
        [host("a")].into_iter().chain(neighbour).collect()
    }

    fn look_up(&self, _: &TransformId, number: i32, store: &str, key: &[u8]) -> Option<Option<Vec<u8>>> {
        if key == b"held" {
            let holds = self.holds.lock().expect("unpoisoned");
            drop(self.let_go.wait_while(holds, |holds| *holds).expect("unpoisoned"));
        }
        let known = || format!("{{\"store\":\"{store}\"}}").into_bytes();
        let entry = || self.entries.lock().expect("unpoisoned").get(key).cloned();
        // Partition 0 is here, 1 on a host that says where it is, the others nowhere.
        (number == 0).then(|| if key == b"known" { Some(known()) } else { entry() })
    }

    fn ready(&self) -> Result<(), Vec<String>> {
        let reasons = self.not_ready.lock().expect("unpoisoned").clone();
        if reasons.is_empty() { Ok(()) } else { Err(reasons) }
    }
}

/// A host under test.
pub struct Host<L = MemoryLog> {
    pub base: String,
    pub log: Arc<L>,
    pub running: Arc<Running>,
    pub requests: Arc<Mutex<Vec<String>>>,
    pub state: ApiState,
    pub metrics: Metrics,
    client: reqwest::Client,
    _down: tokio::sync::watch::Sender<bool>,
    _dir: tempfile::TempDir,
}

/// Small limits, so that tests reach them.
pub const MODULE_BYTES_MAX: usize = 4096;
pub const LOG_BYTES_MAX: usize = 64 * 1024;

/// The limits of a team without a file.
fn team_limits() -> TeamLimits {
    TeamLimits { follows_per_team_max: 4, ..TeamLimits::default() }
}

pub fn shop_log() -> Arc<MemoryLog> {
    Arc::new(MemoryLog::with_topics(&[("shop.orders", 4), ("shop.restocks", 2), ("orders.out", 4)]))
}

pub fn open<L: Log>(log: &Arc<L>, dir: &std::path::Path) -> Catalog {
    let log: Arc<dyn Log> = log.clone();
    Catalog::open(log, &"test".parse().expect("valid"), dir.join("modules"), Metrics::new()).expect("opens")
}

/// A client may be sent to `b` only.
fn redirects() -> Redirects {
    Redirects::new(None, &[], &["b".to_owned()], false).expect("valid")
}

/// The memory of transforms' positions.
fn positions<L: Log>(log: &Arc<L>) -> Positions {
    let log: Arc<dyn Log> = log.clone();
    Positions::open(log, &"test".parse().expect("valid")).expect("opens")
}

/// The topics of log lines and samples.
fn feeds<L: Log>(log: &Arc<L>) -> LogTopics {
    let log: Arc<dyn Log> = log.clone();
    let feeds = LogTopics::new(&log, &"test".parse().expect("valid"), Duration::from_secs(3600));
    feeds.ensure().expect("created");
    feeds
}

fn audit<L: Log>(log: &Arc<L>) -> AuditLog {
    let log: Arc<dyn Log> = log.clone();
    AuditLog::new(log, &"test".parse().expect("valid"))
}

/// The callers that a host on this log recognises.
pub fn access<L: Log>(log: &Arc<L>, is_required: bool, admin_tokens: AdminTokens) -> Access {
    let audit = audit(log);
    let log: Arc<dyn Log> = log.clone();
    let tokens = Tokens::open(log, &"test".parse().expect("valid"), audit).expect("opens");
    Access { is_required, admin_tokens, tokens: Arc::new(tokens), client_roles: ClientRoles::default(), oidc: None }
}

/// Serves the API on a free port. Returns its URL.
pub async fn serve(state: &ApiState, limits: ServerLimits) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("bound"));
    let routes = Arc::new(OnceLock::from(router(state.clone())));
    let gate = Gate::new(None, &["sandbar.example".parse().expect("valid")]);
    let server = Server { gate, limits, metrics: state.metrics.clone(), tls: None, routes };
    tokio::spawn(server.serve(listener, state.shutdown.clone()));
    base
}

impl Host {
    pub async fn start() -> Self {
        Self::start_on(shop_log()).await
    }
}

impl<L: Log> Host<L> {
    pub async fn start_on(log: Arc<L>) -> Self {
        Self::start_within(log, ServerLimits::default(), |limits| limits).await
    }

    /// Starts a host with this file of teams.
    pub async fn start_with_teams(log: Arc<L>, file: &std::path::Path) -> Self {
        let options = TeamsOptions { file: Some(file.to_owned()), base: team_limits() };
        Self::start_with_options(log, ServerLimits::default(), |limits| limits, options).await
    }

    /// Starts a host with other limits.
    pub async fn start_within(log: Arc<L>, limits: ServerLimits, api_limits: impl FnOnce(ApiLimits) -> ApiLimits) -> Self {
        Self::start_with_options(log, limits, api_limits, TeamsOptions { file: None, base: team_limits() }).await
    }

    pub async fn start_with_options(
        log: Arc<L>,
        limits: ServerLimits,
        api_limits: impl FnOnce(ApiLimits) -> ApiLimits,
        options: TeamsOptions,
    ) -> Self {
        let teams = Teams::open(&options).expect("a valid file");
        let dir = tempfile::tempdir().expect("a directory");
        let running = Arc::new(Running::default());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let reported = requests.clone();
        let metrics = Metrics::new();
        let (down, shutdown) = tokio::sync::watch::channel(false);
        tokio::spawn(follow_for_ever(teams.clone(), options, shutdown.clone()));
        let state = ApiState {
            catalog: Arc::new(open(&log, dir.path())),
            positions: Arc::new(positions(&log)),
            log: log.clone(),
            modules: Arc::new(Checker),
            runtime: running.clone(),
            feeds: feeds(&log),
            shutdown,
            host: "a".into(),
            cluster: "test".parse().expect("valid"),
            topics_api: true,
            redirects: redirects(),
            flow: FlowRecorder::new(metrics.http.clone()),
            limits: api_limits(ApiLimits {
                module_bytes_max: MODULE_BYTES_MAX,
                body_time: Duration::from_millis(1500),
                leave_time: Duration::from_millis(300),
                trial_bytes_max: 64 * 1024,
                follows_max: 6,
                log_bytes_max: LOG_BYTES_MAX,
                ..ApiLimits::default()
            }),
            metrics: metrics.http.clone(),
            team_metrics: metrics.teams.clone(),
            signing_metrics: metrics.signing.clone(),
            teams,
            access: Arc::new(access(&log, false, AdminTokens::default())),
            access_metrics: metrics.access.clone(),
            redaction_metrics: metrics.redaction.clone(),
            audit: audit(&log),
            refusals: Refusals::new(audit(&log)),
            render_metrics: Arc::new(|_| "sandbar_up 1\n".into()),
            on_request: Arc::new(move |method, route, status, seconds| {
                assert!(seconds >= 0.0);
                reported.lock().expect("unpoisoned").push(format!("{method} {route} {status}"));
            }),
        };
        let base = serve(&state, limits).await;
        Self { base, log, running, requests, state, metrics, client: reqwest::Client::new(), _down: down, _dir: dir }
    }

    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method: Method = method.parse().expect("a method");
        let request = self.client.request(method, format!("{}{path}", self.base));
        request.header("sandbar-request", "1").timeout(Duration::from_secs(20))
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request("GET", path)).await
    }

    pub async fn post(&self, path: &str) -> Answer {
        Answer::of(self.request("POST", path)).await
    }

    pub async fn upload(&self, module: &'static [u8]) -> Answer {
        Answer::of(self.request("POST", "/v1/modules").header("content-type", "application/wasm").body(module)).await
    }

    pub async fn put(&self, path: &str, spec: &Value) -> Answer {
        Answer::of(self.request("PUT", path).json(spec)).await
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        let status = response.status();
        let headers = response.headers().clone();
        Self { status, headers, text: response.text().await.expect("a body") }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}")).to_str().expect("text")
    }

    /// The answer has this status; returns its JSON.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// The answer is a complete problem with this status and code; returns it.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{self:?}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("/errors/{code}"));
        for field in ["title", "detail", "hint"] {
            assert!(!problem[field].as_str().unwrap_or_default().is_empty(), "{field}: {self:?}");
        }
        problem
    }
}
