//! The parts that every handler shares: the services of the host, and the bounds on the work that is done at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use crate::access::{Access, RequestRate};
use crate::audit::{AuditLog, Refusals};
use crate::catalog::Catalog;
use crate::cluster::{LogTopics, Members};
use crate::deployment::ModuleChecker;
use crate::model::access::{Principal, PrincipalKind, Role};
use crate::model::codes::Code;
use crate::model::names::{ClusterName, TeamName};
use crate::ports::{Log, log_of};
use crate::positions::Positions;
use crate::teams::Teams;
use crate::telemetry::metrics::{AccessMetrics, HttpMetrics, RedactionMetrics, SigningMetrics, TeamMetrics};

use super::body::{self, RequestBody};
use super::budget::Budget;
use super::flow::FlowRecorder;
use super::follow_permits::{FollowPermit, FollowPermits};
use super::limits::ApiLimits;
use super::metrics_page::MetricsPage;
use super::permits::Permits;
use super::problem::{self, Refusal};
use super::redirects::Redirects;
use super::runtime::Runtime;
use super::sign_in;
use super::views;

/// The requests of all principals of a team together, as a multiple of those of one: a team can make tokens without end.
const TEAM_RATE_FACTOR: u32 = 5;
/// The time for which the number of transforms on each host is not computed again.
const PLACED_FOR: Duration = Duration::from_secs(1);

/// Reports one answered request: method, route (`unmatched` for none), status, seconds.
pub type OnRequest = Arc<dyn Fn(&str, &str, u16, f64) + Send + Sync>;

/// Renders the series that the function picks by their `team` label.
pub type RenderMetrics = Arc<dyn Fn(&dyn Fn(Option<&str>) -> bool) -> String + Send + Sync>;

/// The services that the API works on.
#[derive(Clone)]
pub struct ApiState {
    pub catalog: Arc<Catalog>,
    pub positions: Arc<Positions>,
    pub log: Arc<dyn Log>,
    pub modules: Arc<dyn ModuleChecker>,
    pub runtime: Arc<dyn Runtime>,
    /// The topics of log lines and samples.
    pub feeds: LogTopics,
    /// Becomes true when the host stops: streams end then.
    pub shutdown: watch::Receiver<bool>,
    /// This host's name.
    pub host: String,
    /// Consumer groups are named after the cluster.
    pub cluster: ClusterName,
    /// True if topics are served over HTTP: with the embedded log only.
    pub topics_api: bool,
    pub limits: ApiLimits,
    /// The flow of records, as `/v1/flow` shows it.
    pub flow: FlowRecorder,
    /// The servers to which a client may be sent on.
    pub redirects: Redirects,
    /// The metrics in Prometheus' text form, of the series whose `team` label is as wanted.
    pub render_metrics: RenderMetrics,
    pub on_request: OnRequest,
    pub metrics: HttpMetrics,
    pub teams: Teams,
    pub team_metrics: TeamMetrics,
    pub signing_metrics: SigningMetrics,
    pub access: Arc<Access>,
    pub access_metrics: AccessMetrics,
    pub redaction_metrics: RedactionMetrics,
    pub audit: AuditLog,
    pub refusals: Refusals,
}

impl ApiState {
    /// The log with the rights of a team: see [`log_of`].
    pub fn log_of(&self, team: &TeamName) -> Arc<dyn Log> {
        log_of(&self.log, team)
    }

    /// The roles of callers to whom a transform's records may be shown: whole or, where an owner says so, masked.
    pub fn roles_of_records(&self) -> &'static [Role] {
        let state = self.teams.current();
        let has_viewers = state.table.topics.all_redactions().any(|(_, _, rule)| rule.viewers);
        if has_viewers { &[Role::Data, Role::View] } else { &[Role::Data] }
    }
}

/// The services, and the permits for each kind of work.
pub struct Shared {
    pub state: ApiState,
    /// The description of the API, as JSON.
    pub openapi: Bytes,
    pub uploads: Permits,
    pub dry_runs: Permits,
    pub rollbacks: Permits,
    pub moves: Permits,
    pub changes: Permits,
    pub lookups: Permits,
    pub pages: Permits,
    pub follows: Arc<FollowPermits>,
    pub metrics_page: MetricsPage,
    polls: Arc<Semaphore>,
    intake: Budget,
    request_rate: RequestRate,
    team_request_rate: RequestRate,
    placed: Mutex<Option<(Instant, BTreeMap<String, usize>)>>,
}

/// The extractor of [`Shared`] in handlers.
pub type AppState = axum::extract::State<Arc<Shared>>;

// === impl Shared ===

impl Shared {
    pub fn new(state: ApiState, openapi: Bytes) -> Self {
        let limits = state.limits;
        Self {
            openapi,
            uploads: Permits::new(
                ("uploads_max", limits.uploads_max),
                ("uploads_per_team_max", limits.uploads_per_team_max),
            ),
            dry_runs: Permits::new(("trials_max", limits.trials_max), ("trials_per_team_max", limits.trials_per_team_max)),
            rollbacks: Permits::new(
                ("rollbacks_max", limits.rollbacks_max),
                ("rollbacks_per_team_max", limits.rollbacks_per_team_max),
            ),
            moves: Permits::new(("moves_max", limits.moves_max), ("moves_per_team_max", limits.moves_per_team_max)),
            changes: Permits::new(
                ("changes_max", limits.changes_max),
                ("changes_per_team_max", limits.changes_per_team_max),
            ),
            lookups: Permits::new(
                ("lookups_max", limits.lookups_max),
                ("lookups_per_team_max", limits.lookups_per_team_max),
            ),
            pages: Permits::new(("pages_max", limits.pages_max), ("pages_per_team_max", limits.pages_per_team_max)),
            follows: FollowPermits::new(limits.follows_max, state.team_metrics.clone()),
            metrics_page: MetricsPage::default(),
            placed: Mutex::default(),
            polls: Arc::new(Semaphore::new(limits.polls_max)),
            request_rate: RequestRate::new(limits.requests_per_principal_max),
            team_request_rate: RequestRate::new(limits.requests_per_principal_max.saturating_mul(TEAM_RATE_FACTOR)),
            intake: Budget::new(limits.upload_bytes_in_flight_max, state.metrics.body_bytes.clone()),
            state,
        }
    }

    /// Takes a request of the principal, and of its team if it has rights in one alone. Returns the time to wait if there are
    /// too many. Callers that are not recognised have nothing that they could use up.
    pub fn rate_excess(&self, principal: &Principal, now: Instant) -> Option<Duration> {
        if matches!(principal.kind, PrincipalKind::Anyone | PrincipalKind::Unknown) {
            return None;
        }
        let of_principal = self.request_rate.take(&principal.id, now);
        let of_team = || principal.only_team().map_or(Ok(()), |team| self.team_request_rate.take(team.as_str(), now));
        of_principal.and_then(|()| of_team()).err()
    }

    /// The number of transforms that are placed on each host. It is a second old at most: each placement of each transform
    /// goes into it.
    pub fn placed(&self, members: &Members) -> BTreeMap<String, usize> {
        let mut placed = self.placed.lock();
        if let Some((at, counts)) = &*placed
            && at.elapsed() < PLACED_FOR
        {
            return counts.clone();
        }
        let counts = views::placed(&self.state.catalog.current(), members);
        *placed = Some((Instant::now(), counts.clone()));
        counts
    }

    /// Reads a caller's body, before the request takes a permit.
    pub async fn receive(&self, caller: &Principal, body: Body, bytes_max: usize) -> Result<RequestBody, Refusal> {
        let party = caller.sharer();
        body::read(&self.intake, party, body, bytes_max, self.state.limits.body_time).await
    }

    /// Takes the permit of a reader of a team's logs or samples. It refuses at once where there is none.
    pub fn follow_permit(&self, team: &TeamName) -> Result<FollowPermit, Refusal> {
        self.follows.take(team, self.state.teams.limits(team).follows_per_team_max)
    }

    /// Takes the permit of a read that waits for records. It refuses at once where there is none.
    pub fn poll_permit(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let permit = self.polls.clone().try_acquire_owned();
        permit.map_err(|_| Refusal::new(Code::Busy, "too many reads are waiting for records (polls_max)"))
    }
}

/// Runs blocking work on a thread for it, unless the caller's sign-in has ended while the request waited for its body or its
/// permit. A panic there is answered like one in a handler.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Refusal> {
    let sign_in = sign_in::current();
    let work = move || {
        if let Some(sign_in) = sign_in {
            sign_in.check()?;
        }
        work()
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(problem::panicked(&error.to_string())),
    }
}
