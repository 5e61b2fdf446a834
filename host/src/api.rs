//! The HTTP API: everything that a team or an operator does to a host, under `/v1`, and what watches the host.
//!
//! A request is parsed at the edge ([`request`], [`body`]), decided on a blocking thread (the catalog and the log
//! block), and answered by a view of it ([`views`]) or by problem details with a code ([`problem`]). The API holds no
//! state of its own: desired state is the catalog's, running state the [`Runtime`]'s.
//!
//! Every route is a row of [`routes`], and described in `/openapi.json`: a test compares the two.

pub(crate) mod body;
mod budget;
mod control;
mod deploy;
mod gate;
mod logs;
mod modules;
mod observe;
mod offsets;
mod openapi;
mod pages;
pub(crate) mod problem;
mod request;
mod revisions;
mod server;
mod state;
mod topics;
mod transforms;
mod trial;
mod turns;
mod views;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Method;
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::catalog::Catalog;
use crate::cluster::LogTopics;
use crate::model::codes::Code;
use crate::model::names::{ClusterName, TransformId};
use crate::model::status::{HostStatus, TransformStatus};
use crate::ports::Log;
use crate::positions::Positions;

use crate::telemetry::metrics::HttpMetrics;

use body::Received;
use budget::Budget;
use logs::Follows;
use problem::Refusal;
use turns::Turns;

pub use crate::deployment::ModuleChecker;
pub use gate::Gate;
pub use server::{Server, ServerLimits};

/// What runs: on this host, and as far as it was heard of, on the others.
pub trait Runtime: Send + Sync {
    /// One status per host that runs the transform or tried to, this host's first. Empty: none is known to.
    fn statuses(&self, id: &TransformId) -> Vec<TransformStatus>;

    /// The hosts of the cluster that are there.
    fn hosts(&self) -> Vec<HostStatus>;

    /// What is committed under a key of a store, where this host has the state of that partition number; None where it has
    /// not. Blocking.
    fn look_up(&self, id: &TransformId, number: i32, store: &str, key: &[u8]) -> Option<Option<Vec<u8>>>;

    /// Whether the host does its work; otherwise why not.
    fn ready(&self) -> Result<(), Vec<String>>;
}

/// What one answered request is reported as: method, route (`unmatched` for none), status, seconds.
pub type OnRequest = Arc<dyn Fn(&str, &str, u16, f64) + Send + Sync>;

/// What the API works on.
#[derive(Clone)]
pub struct ApiState {
    pub catalog: Arc<Catalog>,
    pub positions: Arc<Positions>,
    pub log: Arc<dyn Log>,
    pub modules: Arc<dyn ModuleChecker>,
    pub runtime: Arc<dyn Runtime>,
    /// What transforms say.
    pub feeds: LogTopics,
    /// Becomes true when the host stops: answers that go on end then.
    pub shutdown: watch::Receiver<bool>,
    /// This host's name.
    pub host: String,
    /// Consumer groups are named after it.
    pub cluster: ClusterName,
    /// Whether topics are served over HTTP: with the embedded log only.
    pub topics_api: bool,
    pub limits: ApiLimits,
    /// The metrics in Prometheus' text form.
    pub render_metrics: Arc<dyn Fn() -> String + Send + Sync>,
    pub on_request: OnRequest,
    pub metrics: HttpMetrics,
}

/// Bounds on what requests may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiLimits {
    /// Largest module.
    pub module_bytes_max: usize,
    /// Largest spec.
    pub spec_bytes_max: usize,
    /// Largest body of records (embedded log, trials).
    pub records_bytes_max: usize,
    /// Time for a request's body to arrive.
    pub body_time: Duration,
    /// Bytes of bodies that arrive or are worked on, beyond the first 64 KiB of each.
    pub upload_bytes_in_flight_max: usize,
    /// Uploads and deployments that are checked and compiled at once; more of them wait.
    pub uploads_max: usize,
    /// Trials at once; more of them wait.
    pub trials_max: usize,
    /// Rollbacks at once; more of them wait.
    pub rollbacks_max: usize,
    /// Moves and resets of offsets at once, which wait for hosts to leave; more of them wait.
    pub moves_max: usize,
    /// Reads of topics that wait for records (embedded log).
    pub polls_max: usize,
    /// Pages of records that are written at once (embedded log); more of them wait.
    pub pages_max: usize,
    /// Records of one trial.
    pub trial_records_max: usize,
    /// Time for one trial, with reading its records.
    pub trial_time: Duration,
    /// Keys, values and headers that the outputs of one trial may have together.
    pub trial_bytes_max: usize,
    /// How long the hosts may take to leave the group of a transform that was just paused. A host that crashed is a
    /// member until its session is over.
    pub leave_time: Duration,
    /// Readers of logs and samples at once, and those of one team's transforms.
    pub follows_max: usize,
    pub follows_per_team_max: usize,
    /// Older log lines of one answer, and their bytes.
    pub log_lines_max: usize,
    pub log_bytes_max: usize,
    /// Time to look for them.
    pub logs_time: Duration,
    /// How long samples are waited for that are not followed, by default and at most.
    pub tail_wait: Duration,
    pub tail_wait_max: Duration,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self {
            module_bytes_max: 32 * 1024 * 1024,
            spec_bytes_max: 1024 * 1024,
            records_bytes_max: 8 * 1024 * 1024,
            body_time: Duration::from_secs(60),
            upload_bytes_in_flight_max: 256 * 1024 * 1024,
            uploads_max: 4,
            trials_max: 4,
            rollbacks_max: 4,
            moves_max: 8,
            polls_max: 64,
            pages_max: 4,
            trial_records_max: 1000,
            trial_time: Duration::from_secs(30),
            trial_bytes_max: 8 * 1024 * 1024,
            leave_time: Duration::from_secs(12),
            follows_max: 64,
            follows_per_team_max: 16,
            log_lines_max: 10_000,
            log_bytes_max: 8 * 1024 * 1024,
            logs_time: Duration::from_secs(20),
            tail_wait: Duration::from_secs(10),
            tail_wait_max: Duration::from_secs(60),
        }
    }
}

/// The state, and the bounds of everything that runs at once.
struct Shared {
    state: ApiState,
    intake: Budget,
    uploads: Turns,
    trials: Turns,
    rollbacks: Turns,
    moves: Turns,
    pages: Turns,
    polls: Arc<Semaphore>,
    follows: Arc<Follows>,
}

type AppState = axum::extract::State<Arc<Shared>>;

impl Shared {
    fn new(state: ApiState) -> Self {
        let limits = state.limits;
        Self {
            intake: Budget::new(limits.upload_bytes_in_flight_max, state.metrics.body_bytes.clone()),
            uploads: Turns::new("uploads_max", limits.uploads_max),
            trials: Turns::new("trials_max", limits.trials_max),
            rollbacks: Turns::new("rollbacks_max", limits.rollbacks_max),
            moves: Turns::new("moves_max", limits.moves_max),
            pages: Turns::new("pages_max", limits.pages_max),
            polls: Arc::new(Semaphore::new(limits.polls_max)),
            follows: Follows::new(limits.follows_max, limits.follows_per_team_max),
            state,
        }
    }

    /// Reads a request's body, before anything else is taken for the request.
    async fn receive(&self, body: Body, bytes_max: usize) -> Result<Received, Refusal> {
        body::read(&self.intake, body, bytes_max, self.state.limits.body_time).await
    }

    fn poll_turn(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let turn = self.polls.clone().try_acquire_owned();
        turn.map_err(|_| Refusal::new(Code::Busy, "too many reads are waiting for records (polls_max)"))
    }
}

/// Runs what blocks. A panic in it is answered like one in a handler.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(observe::panicked(&error.to_string())),
    }
}

/// The whole API, ready to be served.
pub fn router(state: ApiState) -> Router {
    let topics_api = state.topics_api;
    let shared = Arc::new(Shared::new(state));
    let served = routes().into_iter().filter(|(_, path, _)| topics_api || !openapi::is_topics(path));
    let router = served.fold(Router::new(), |router, (_, path, handler)| router.route(path, handler));
    let router = router.fallback(pages::no_route).method_not_allowed_fallback(pages::no_method);
    observe::layers(router, &shared).with_state(shared)
}

/// What is answered while the host is not there yet: it is alive, and it is not ready.
pub fn starting(path: &str) -> axum::response::Response {
    use axum::response::IntoResponse;
    match path {
        "/healthz" => "ok\n".into_response(),
        _ => Refusal::new(Code::LogUnavailable, "the host is starting: it has not read the catalog from the log yet")
            .into_response(),
    }
}

/// The table of routes, the same paths that `/openapi.json` describes.
fn routes() -> Vec<(Method, &'static str, MethodRouter<Arc<Shared>>)> {
    const TRANSFORM: &str = "/v1/teams/{team}/transforms/{name}";
    vec![
        (Method::POST, "/v1/modules", post(modules::upload)),
        (Method::GET, "/v1/modules", get(modules::list)),
        (Method::GET, "/v1/modules/{digest}", get(modules::show)),
        (Method::GET, "/v1/transforms", get(transforms::list_all)),
        (Method::GET, "/v1/teams/{team}/transforms", get(transforms::list_team)),
        (Method::PUT, TRANSFORM, put(transforms::put)),
        (Method::GET, TRANSFORM, get(transforms::show)),
        (Method::DELETE, TRANSFORM, delete(transforms::remove)),
        (Method::POST, "/v1/teams/{team}/transforms/{name}/pause", post(control::pause)),
        (Method::POST, "/v1/teams/{team}/transforms/{name}/resume", post(control::resume)),
        (Method::POST, "/v1/teams/{team}/transforms/{name}/restart", post(control::restart)),
        (Method::GET, "/v1/teams/{team}/transforms/{name}/status", get(control::status)),
        (Method::GET, "/v1/teams/{team}/transforms/{name}/logs", get(logs::logs)),
        (Method::GET, "/v1/teams/{team}/transforms/{name}/tail", get(logs::tail)),
        (Method::GET, "/v1/hosts", get(control::hosts)),
        (Method::GET, "/v1/teams/{team}/transforms/{name}/offsets", get(offsets::show)),
        (Method::PATCH, "/v1/teams/{team}/transforms/{name}/offsets", patch(offsets::alter)),
        (Method::DELETE, "/v1/teams/{team}/transforms/{name}/offsets", delete(offsets::reset)),
        (Method::POST, "/v1/teams/{team}/transforms/{name}/test", post(trial::test)),
        (Method::GET, "/v1/teams/{team}/transforms/{name}/revisions", get(revisions::list)),
        (Method::GET, "/v1/teams/{team}/transforms/{name}/revisions/{revision}", get(revisions::show)),
        (Method::POST, "/v1/teams/{team}/transforms/{name}/rollback", post(revisions::rollback)),
        (Method::GET, "/v1/teams/{team}/transforms/{name}/state/{store}/{key}", get(state::show)),
        (Method::DELETE, "/v1/teams/{team}/transforms/{name}/state", delete(state::reset)),
        (Method::GET, "/v1/topics", get(topics::list)),
        (Method::PUT, "/v1/topics/{topic}", put(topics::create)),
        (Method::GET, "/v1/topics/{topic}/records", get(topics::read)),
        (Method::POST, "/v1/topics/{topic}/records", post(topics::write)),
        (Method::GET, "/", get(pages::index)),
        (Method::GET, "/healthz", get(pages::healthz)),
        (Method::GET, "/readyz", get(pages::readyz)),
        (Method::GET, "/metrics", get(pages::metrics)),
        (Method::GET, "/openapi.json", get(pages::openapi)),
        (Method::GET, "/errors/{code}", get(pages::error_page)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_has_every_route_and_no_other() {
        let mut served: Vec<(String, String)> =
            routes().into_iter().map(|(method, path, _)| (path.to_owned(), method.as_str().to_lowercase())).collect();
        let document = serde_json::to_value(openapi::document(true)).expect("plain data");
        let mut described = Vec::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("operations") {
                described.push((path.clone(), method.clone()));
                assert!(operation["responses"].as_object().is_some_and(|all| !all.is_empty()), "{method} {path}");
            }
        }
        served.sort();
        described.sort();
        assert_eq!(served, described);
    }

    #[test]
    fn parameters_are_described_where_they_are() {
        let document = serde_json::to_value(openapi::document(true)).expect("plain data");
        let mut in_query = Vec::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("operations") {
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    let (name, place) = (parameter["name"].as_str().expect("a name"), &parameter["in"]);
                    let in_path = path.contains(&format!("{{{name}}}"));
                    assert_eq!(in_path, place == "path", "{method} {path}: {parameter}");
                    if place == "query" {
                        in_query.push(format!("{method} {} {name}", path.rsplit('/').next().unwrap_or_default()));
                    }
                }
            }
        }
        for expected in [
            "put {name} dry_run",
            "patch offsets dry_run",
            "delete offsets dry_run",
            "get logs since",
            "get tail follow",
            "get {key} record_key",
            "get records wait",
        ] {
            assert!(in_query.iter().any(|found| found == expected), "{expected}: {in_query:?}");
        }
    }
}
