//! The composition root: puts the real parts of a host together.
//!
//! Order of life: log -> catalog, cluster -> supervisor -> API. At the end the API's open requests finish, then the workers
//! commit and leave their groups, then the process ends. While the log cannot be reached yet, the API answers that the
//! host is alive and not ready.

mod access;
mod backend;
mod control_topics;
mod data_dir;
mod descriptors;
mod doctor;
mod foreign_writers;
mod modules;
mod runtime;
mod teams;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::access::Callers;
use self::backend::OpenLog;
pub use self::backend::{Backend, kafka_log};
use self::control_topics::ControlTopics;
use self::data_dir::DataDir;
pub use self::doctor::doctor;
use self::foreign_writers::warn_of_foreign_writers;
use self::modules::ModuleCandidates;
use self::runtime::HostRuntime;
use self::teams::TeamPublisher;
use crate::access::Access;
use crate::api::{self, ApiState, FlowRecorder, Gate, Runtime, Server, Tls, TlsOptions};
use crate::audit::Refusals;
use crate::catalog::collect_for_ever;
use crate::cluster::{LogTopicWriter, LogTopics, Publisher};
use crate::config::{Config, ServerOptions, exposure};
use crate::cpu::Processors;
use crate::crashes::Crashes;
use crate::guest::ModuleOptions;
use crate::model::codes::{Code, Coded};
use crate::model::names::TeamName;
use crate::model::units::Timestamp;
use crate::otlp::Otlp;
use crate::positions::keep_groups_for_ever;
use crate::secrets::{self, Secrets};
use crate::stores::Stores;
use crate::stores::tables::Tables;
use crate::supervisor::{Parts, Supervisor};
use crate::teams::Teams;
use crate::telemetry::export_queue::ExportQueue;
use crate::telemetry::logging::{self, ExportedLog};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::observer::Observers;
use crate::telemetry::record_span::RecordSpan;
use crate::telemetry::transform_log::TransformLog;
use crate::threads;

/// Time for workers to stop: to commit, and to leave the group.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for the last telemetry to reach its collector.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for open requests to end after the signal.
const REQUESTS_TIMEOUT: Duration = Duration::from_secs(5);

/// Threads of the control plane; blocking calls have threads of their own.
const RUNTIME_THREADS: usize = 2;
/// Time that an idle thread for blocking calls stays. One is asked for four times a second.
const THREAD_KEPT: Duration = Duration::from_secs(600);

/// Runs a host until SIGTERM or Ctrl-C.
pub fn run(config: Config, backend: Backend) -> anyhow::Result<()> {
    // The allocator asks for huge pages, each of which counts as a whole if a part of it is used: a fifth of the memory of a
    // host under load, for no time that could be measured. A kernel that does not know the call has none.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let metrics = Metrics::new();
    let otlp = config.otlp.clone().map(|options| Otlp::new(options, &metrics.otlp));
    let exported = otlp.as_ref().map(|otlp| Box::new(otlp.log_layer()) as ExportedLog);
    logging::init(&config.log, exported).map_err(anyhow::Error::msg)?;
    let ServerOptions { listen, tls, insecure, .. } = &config.server;
    let exposed = exposure::check(*listen, tls.is_some(), config.access.is_required, *insecure);
    exposed.map_err(|exposed| Coded { code: exposed.code, message: exposed.reason() })?;
    descriptors::raise(config.server.limits.descriptors())?;
    let teams = teams::open(&config.teams)?;
    let callers = access::open(&config.access, &metrics)?;
    let secrets = Secrets::open(config.secrets.clone()).map_err(anyhow::Error::msg)?;
    let data = DataDir::open(&config.data_dir)?;
    let host = config.host.clone().map_or_else(|| data.host_name(), Ok)?;
    let config = Config { modules: ModuleOptions { secrets, ..config.modules }, ..config };
    let spans = otlp.as_ref().map(Otlp::spans);
    let exporters = otlp.map(|otlp| otlp.start(&host)).transpose()?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    // A thread for blocking calls stays, so that there is always one: without any, a refusal by the system would be a panic.
    runtime.worker_threads(RUNTIME_THREADS).thread_keep_alive(THREAD_KEPT).enable_all();
    let built = threads::with_room(RUNTIME_THREADS + 1, || runtime.build());
    let runtime = built.and_then(|built| built).with_context(|| Code::HostResources.to_string())?;
    let crashes = Crashes::open(&config.data_dir, Timestamp::now());
    let opened = Opened { host, teams, callers, crashes: crashes.clone(), metrics, spans };
    let done = runtime.block_on(serve(config, backend, opened));
    // Also for an error: whoever is in a call by now has no part in it.
    crashes.end_orderly();
    runtime.shutdown_timeout(Duration::from_secs(1));
    drop(data);
    if let Some(exporters) = exporters {
        exporters.stop(EXPORT_TIMEOUT);
    }
    done
}

/// Serves the API from the beginning on, and the host's work as soon as the log can be reached.
async fn serve(config: Config, backend: Backend, opened: Opened) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(config.server.listen).await;
    let listener = listener.with_context(|| format!("listening on {}", config.server.listen))?;
    let address = listener.local_addr()?;
    let (down, shutdown) = watch::channel(false);
    let routes: Arc<OnceLock<Router>> = Arc::default();
    let metrics = &opened.metrics;
    let tls = config.server.tls.as_ref().map(|options| open_tls(options, metrics)).transpose()?;
    if let Some(tls) = &tls {
        tokio::spawn(tls.clone().follow_for_ever(shutdown.clone()));
    }
    let scheme = if tls.is_some() { "https" } else { "http" };
    let server = tokio::spawn(server(&config.server, metrics, tls, routes.clone()).serve(listener, shutdown.clone()));
    tokio::spawn(signals(down.clone()));
    backend.announce(scheme, address, &config.data_dir);

    let crashes = opened.crashes.clone();
    let start = Start { config, opened, shutdown: shutdown.clone() };
    let started = tokio::select! {
        started = start.start(backend) => Some(started),
        _ = gone_down(shutdown.clone()) => None,
    };
    let workers = match started.transpose() {
        Ok(Some(Started { router, ended })) => {
            let _ = routes.set(router);
            tracing::info!(%address, "ready");
            Some(ended)
        }
        Ok(None) => None,
        Err(error) => {
            let _ = down.send(true);
            let _ = server.await;
            return Err(error);
        }
    };
    gone_down(shutdown).await;
    crashes.end_orderly();
    tracing::info!("shutting down");
    let _ = tokio::time::timeout(REQUESTS_TIMEOUT, server).await;
    if let Some(workers) = workers {
        tokio::time::timeout(STOP_TIMEOUT, workers).await.context("the workers did not stop in time")??;
    }
    tracing::info!("stopped");
    Ok(())
}

fn open_tls(options: &TlsOptions, metrics: &Metrics) -> anyhow::Result<Tls> {
    let opened = Tls::open(options, metrics.tls.clone());
    opened.map_err(|error| Coded { code: Code::TlsFiles, message: error.to_string() }.into())
}

fn server(options: &ServerOptions, metrics: &Metrics, tls: Option<Tls>, routes: Arc<OnceLock<Router>>) -> Server {
    Server {
        gate: Gate::new(options.advertise.as_deref(), &options.allowed_hosts),
        limits: options.limits,
        metrics: metrics.http.clone(),
        tls,
        routes,
    }
}

/// The parts of a host that need no log and no runtime.
struct Opened {
    host: String,
    teams: Teams,
    callers: Callers,
    crashes: Crashes,
    metrics: Metrics,
    spans: Option<ExportQueue<RecordSpan>>,
}

/// A host before it has reached its log.
struct Start {
    config: Config,
    opened: Opened,
    shutdown: watch::Receiver<bool>,
}

/// A host that works.
struct Started {
    router: Router,
    /// Ends when the workers have stopped and their last log lines are written.
    ended: JoinHandle<()>,
}

impl Start {
    /// Builds the parts in order. Waits for as long as the log cannot be reached.
    async fn start(self, backend: Backend) -> anyhow::Result<Started> {
        let Self { config, opened, shutdown } = self;
        let Opened { host, teams, callers, crashes, metrics, spans } = opened;
        let dropped = |kind| metrics.transform_log.dropped(kind);
        let (transform_log, readers) = TransformLog::new(&host, config.transform_log.bytes_max, dropped);
        let observers = Observers::new(metrics.clone(), config.transform_log.team_rate, Some(transform_log.clone()));
        let observers = observers.tracing_to(spans);
        let OpenLog { log, cluster, is_embedded } = backend.open(&config.data_dir, &metrics)?;
        tokio::spawn(secrets::follow_for_ever(config.modules.secrets.clone(), shutdown.clone()));
        let modules = modules::open(&config.data_dir, config.modules, &metrics)?;
        let log_topics = LogTopics::new(&log, &cluster, config.transform_log.retention);
        let topics =
            ControlTopics::open(&log, &cluster, (&log_topics, config.access.audit_retention), &config.data_dir, &metrics)
                .await?;
        tokio::spawn(warn_of_foreign_writers(log.clone(), cluster.clone()));
        let access = Arc::new(Access {
            is_required: config.access.is_required,
            admin_tokens: callers.admin_tokens.clone(),
            tokens: topics.tokens.clone(),
            client_roles: callers.client_roles.clone(),
            oidc: callers.oidc.clone(),
        });
        callers.follow_for_ever(&shutdown);
        let audit = topics.audit.clone();
        let refusals = Refusals::new(audit.clone());
        tokio::spawn(refusals.clone().write_for_ever(shutdown.clone()));
        let team_metrics = metrics.teams.clone();
        let publisher = TeamPublisher::new(teams.clone(), topics.catalog.clone(), observers.clone(), team_metrics.clone());
        publisher.start(config.teams.clone(), config.stores.hot_bytes_max, &shutdown);
        let tables = Tables::new(log.clone(), config.tables, metrics.clone()).stale_after(config.table_stale_after);
        let stores = Stores::new(log.clone(), &config.data_dir.join("state"), config.stores, &metrics);
        tokio::spawn(stores.clone().keep_up_for_ever(metrics.clone(), shutdown.clone()));
        let weights = {
            let teams = teams.clone();
            Arc::new(move |team: &TeamName| teams.cpu_weight(team))
        };
        let processors = Processors::new(config.guest_calls_max, weights, metrics.cpu.clone());
        let parts = Parts {
            log: log.clone(),
            catalog: topics.catalog.clone(),
            positions: topics.positions.clone(),
            modules: modules.clone(),
            metrics: metrics.clone(),
            observers,
            stores,
            tables: tables.clone(),
            crashes,
            processors: processors.clone(),
            teams: teams.clone(),
            cluster: cluster.clone(),
            rests: Default::default(),
            spawn: |thread, run| thread.spawn(run),
            host: host.clone(),
        };
        let (supervisor, workers) = Supervisor::start(parts, Some(topics.cluster.clone()), shutdown.clone());
        let running = supervisor.clone();
        let publisher = Publisher::new(
            log.clone(),
            topics.cluster.clone(),
            (&host, config.server.advertise.clone()),
            Box::new(move || running.statuses()),
            log_topics.tails.clone(),
            (transform_log, metrics.clone()),
        )
        .forgetting_hosts_after(config.host_retention);
        let publishing = tokio::spawn(publisher.run(shutdown.clone()));
        tokio::spawn(collect_for_ever(topics.catalog.clone(), config.module_retention, metrics.clone(), shutdown.clone()));
        let interval = config.group_keep_alive_interval;
        tokio::spawn(keep_groups_for_ever(log.clone(), topics.catalog.clone(), cluster.clone(), interval, shutdown.clone()));
        let recorders = readers.map(|reader| LogTopicWriter::new(log_topics.clone(), reader, metrics.clone()));
        let ended = tokio::spawn(end([workers, publishing], recorders));
        let http = metrics.http.clone();
        let catalog = topics.catalog.clone();
        let positions = topics.positions.clone();
        let runtime = Arc::new(HostRuntime { host: host.clone(), supervisor, topics });
        let flow = FlowRecorder::new(http.clone());
        tokio::spawn(flow.clone().record_for_ever(catalog.clone(), runtime.clone(), shutdown.clone()));
        let readiness = runtime.clone();
        let state = ApiState {
            catalog,
            positions,
            log,
            modules: Arc::new(ModuleCandidates { modules: modules.for_requests(), tables, processors }),
            runtime,
            flow,
            feeds: log_topics,
            shutdown,
            host,
            cluster,
            topics_api: is_embedded,
            limits: config.api,
            redirects: config.server.redirects,
            metrics: http.clone(),
            team_metrics,
            signing_metrics: metrics.signing.clone(),
            teams,
            access_metrics: metrics.access.clone(),
            redaction_metrics: metrics.redaction.clone(),
            access: access.clone(),
            audit,
            refusals,
            render_metrics: Arc::new(move |sees| {
                metrics.ready(readiness.ready().is_ok());
                metrics.access.tokens(&access.tokens.current().by_team());
                metrics.access.client_roles(access.client_roles.count(), access.client_roles.is_refused());
                if let Some(oidc) = &access.oidc {
                    oidc.measure(tokio::time::Instant::now());
                }
                metrics.render_for(sees)
            }),
            on_request: Arc::new(move |method, route, status, seconds| http.answered(method, route, status, seconds)),
        };
        Ok(Started { router: api::router(state), ended })
    }
}

/// Records log lines and samples until the host's work has ended, and the rest of them after it.
async fn end(work: [JoinHandle<()>; 2], recorders: [LogTopicWriter; 2]) {
    let (work_ended, nothing_more) = watch::channel(false);
    let recording = recorders.map(|recorder| tokio::spawn(recorder.run(nothing_more.clone())));
    for ended in work {
        let _ = ended.await;
    }
    let _ = work_ended.send(true);
    for ended in recording {
        let _ = ended.await;
    }
}

async fn gone_down(mut shutdown: watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|&down| down).await;
}

async fn signals(down: watch::Sender<bool>) {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("a signal handler can be set");
    let mut interrupt = signal(SignalKind::interrupt()).expect("a signal handler can be set");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let _ = down.send(true);
}
