//! The composition root: the only file that names every real type and puts them together.
//!
//! Order of life: log -> catalog, cluster -> supervisor -> API; at the end the API's requests are let finish, then the workers
//! commit and leave their groups, then the process ends. While the log cannot be reached yet, the API answers that
//! the host is alive and not ready.

mod data_dir;
mod descriptors;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use tokio::sync::watch;

use self::data_dir::DataDir;
use crate::api::{self, ApiLimits, ApiState, Gate, ModuleChecker, Runtime, Server, ServerLimits};
use crate::catalog::{Catalog, CatalogError, collect_for_ever};
use crate::cluster::{Cluster, LogTopics, Publisher, Recorder};
use crate::config::{Config, KafkaOptions};
use crate::crashes::Crashes;
use crate::embedded::{EmbeddedLog, Options as EmbeddedOptions};
use crate::guest::compile::{self, Compiler, Jail};
use crate::guest::{ModuleOptions, Modules};
use crate::kafka::{KafkaConfig, KafkaLog};
use crate::model::codes::Code;
use crate::model::module::{ModuleError, ModuleInfo};
use crate::model::names::{ClusterName, TransformId};
use crate::model::spec::Spec;
use crate::model::status::{HostStatus, TransformStatus};
use crate::model::text::OneLine;
use crate::model::units::Timestamp;
use crate::ports::{GuestFactory, Log, LogError};
use crate::positions::{Positions, keep_groups_for_ever};
use crate::stores::Stores;
use crate::stores::tables::Tables;
use crate::supervisor::{Parts, Supervisor};
use crate::telemetry::logging;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::observer::Observers;
use crate::telemetry::transform_log::TransformLog;
use crate::threads;

/// How long workers may take to stop: a commit, and leaving the group.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// How long open requests may take after the signal.
const REQUESTS_TIMEOUT: Duration = Duration::from_secs(5);

/// Threads of the control plane; blocking calls have threads of their own.
const RUNTIME_THREADS: usize = 2;
/// How long a thread for blocking calls stays that has nothing to do. One is asked for four times a second.
const THREAD_KEPT: Duration = Duration::from_secs(600);

/// The log that a host works on.
pub enum Backend {
    Kafka { config: KafkaConfig, cluster: ClusterName },
    Embedded,
}

impl Backend {
    pub fn kafka(options: KafkaOptions) -> anyhow::Result<Self> {
        let brokers =
            options.brokers.context("--brokers HOST:PORT is needed (or SANDBAR_BROKERS, or `brokers` in the file)")?;
        let cluster = options.cluster.context("--cluster NAME is needed (or SANDBAR_CLUSTER, or `cluster` in the file)")?;
        Ok(Self::Kafka { config: KafkaConfig { brokers, properties: options.kafka_properties }, cluster })
    }
}

/// Runs a host until SIGTERM or Ctrl-C.
pub fn run(config: Config, backend: Backend) -> anyhow::Result<()> {
    logging::init(&config.log, config.log_format).map_err(anyhow::Error::msg)?;
    descriptors::raise(server_limits(&config)?.descriptors())?;
    let data = Arc::new(DataDir::open(&config.data_dir)?);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    // A thread for blocking calls stays, so that there is always one: without any, a refusal by the system would be a panic.
    runtime.worker_threads(RUNTIME_THREADS).thread_keep_alive(THREAD_KEPT).enable_all();
    let built = threads::with_room(RUNTIME_THREADS + 1, || runtime.build());
    let runtime = built.and_then(|built| built).with_context(|| Code::HostResources.to_string())?;
    let crashes = Crashes::open(&config.data_dir, Timestamp::now());
    let done = runtime.block_on(serve(config, backend, data.clone(), crashes.clone()));
    // Also for an error: whoever is in a call by now has no part in it.
    crashes.end_orderly();
    runtime.shutdown_timeout(Duration::from_secs(1));
    drop(data);
    done
}

async fn serve(config: Config, backend: Backend, data: Arc<DataDir>, crashes: Crashes) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(config.listen).await;
    let listener = listener.with_context(|| format!("listening on {}", config.listen))?;
    let address = listener.local_addr()?;
    let (down, shutdown) = watch::channel(false);
    let routes: Arc<OnceLock<Router>> = Arc::default();
    let metrics = Metrics::new();
    let server = Server {
        gate: Gate::new(config.advertise.as_deref(), &config.allowed_hosts),
        limits: server_limits(&config)?,
        metrics: metrics.http.clone(),
        routes: routes.clone(),
    };
    let server = tokio::spawn(server.serve(listener, shutdown.clone()));
    tokio::spawn(signals(down.clone()));
    announce(&backend, address, &config);

    let started = tokio::select! {
        started = start(config, backend, data, crashes.clone(), metrics, shutdown.clone()) => Some(started),
        _ = gone_down(shutdown.clone()) => None,
    };
    let workers = match started {
        Some(Ok((router, workers))) => {
            let _ = routes.set(router);
            tracing::info!(%address, "ready");
            Some(workers)
        }
        Some(Err(error)) => {
            let _ = down.send(true);
            let _ = server.await;
            return Err(error);
        }
        None => None,
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

type Started = (Router, tokio::task::JoinHandle<()>);

/// Builds the parts in order. Waits for as long as Kafka cannot be reached.
async fn start(
    config: Config,
    backend: Backend,
    data: Arc<DataDir>,
    crashes: Crashes,
    metrics: Metrics,
    shutdown: watch::Receiver<bool>,
) -> anyhow::Result<Started> {
    let host = config.host.clone().map_or_else(|| data.host_name(), Ok)?;
    let journal_bytes_max = usize::try_from(config.journal_bytes_max)?;
    let (journal, entries) = TransformLog::new(&host, journal_bytes_max, |kind| metrics.transform_log.dropped(kind));
    let observers = Observers::new(metrics.clone(), config.team_log_rate, Some(journal.clone()));
    let embedded = matches!(backend, Backend::Embedded);
    let (log, cluster): (Arc<dyn Log>, ClusterName) = match backend {
        Backend::Kafka { config, cluster } => (Arc::new(KafkaLog::new(config)?), cluster),
        Backend::Embedded => {
            let log = EmbeddedLog::open(EmbeddedOptions::new(config.data_dir.join("log")))?;
            (Arc::new(log), "dev".parse()?)
        }
    };
    let compiler = Compiler {
        program: Some(own_program()?),
        time_max: config.compile_time_max,
        memory_bytes_max: config.compile_memory_bytes_max,
        artifact_bytes_max: config.compiled_module_bytes_max,
        at_once_max: config.compilers_max.map_or_else(compile::at_once_max, std::num::NonZero::get),
    };
    let options = ModuleOptions {
        compiler,
        cache_bytes_max: config.compiled_cache_bytes_max,
        address_space_bytes_max: config.guest_address_space_bytes_max,
        dry_run_log_rate: config.team_log_rate,
    };
    let modules = Modules::open(&config.data_dir.join("compiled"), options, metrics.modules.clone());
    let modules = Arc::new(modules.map_err(anyhow::Error::msg)?);
    tokio::spawn(announce_jail(modules.clone()));
    let (cache, cluster_name, counted) = (config.data_dir.join("modules"), cluster.clone(), metrics.clone());
    let feeds = LogTopics::new(&log, &cluster, config.logs_retention);
    let made = feeds.clone();
    let (catalog, positions, known) = when_reachable(&log, move |log| {
        made.ensure()?;
        Ok((
            Arc::new(Catalog::open(log.clone(), &cluster_name, cache.clone(), counted.clone())?),
            Arc::new(Positions::open(log.clone(), &cluster_name)?),
            Arc::new(Cluster::open(log, &cluster_name)?),
        ))
    })
    .await?;
    let table_bytes_max = usize::try_from(config.table_bytes_max)?;
    let tables = Tables::new(log.clone(), table_bytes_max, metrics.clone());
    let stores = Stores::new(log.clone(), &config.data_dir.join("state"), config.stores);
    tokio::spawn(stores.clone().clean_up_for_ever(metrics.clone(), shutdown.clone()));
    let parts = Parts {
        log: log.clone(),
        catalog: catalog.clone(),
        positions: positions.clone(),
        modules: modules.clone(),
        metrics: metrics.clone(),
        observers,
        stores,
        tables: tables.clone(),
        crashes,
        cluster: cluster.clone(),
        spawn: |thread, run| thread.spawn(run),
        host: host.clone(),
    };
    let (supervisor, workers) = Supervisor::start(parts, shutdown.clone());
    let running = supervisor.clone();
    let statuses = Box::new(move || running.statuses());
    let told = (journal, metrics.clone());
    let publisher =
        Publisher::new(log.clone(), known.clone(), (&host, config.advertise.clone()), statuses, feeds.tails.clone(), told);
    let publishing = tokio::spawn(publisher.run(shutdown.clone()));
    tokio::spawn(collect_for_ever(catalog.clone(), config.module_retention, metrics.clone(), shutdown.clone()));
    let keep = keep_groups_for_ever(
        log.clone(),
        catalog.clone(),
        cluster.clone(),
        config.group_keep_alive_interval,
        shutdown.clone(),
    );
    tokio::spawn(keep);
    let (all_told, nothing_more) = watch::channel(false);
    let recorders = entries.map(|entries| Recorder::new(feeds.clone(), entries, metrics.clone()));
    let recording = recorders.map(|recorder| tokio::spawn(recorder.run(nothing_more.clone())));
    let ended = tokio::spawn(async move {
        let _ = tokio::join!(workers, publishing);
        let _ = all_told.send(true);
        for ended in recording {
            let _ = ended.await;
        }
    });
    let http = metrics.clone();
    let running =
        Running { host: host.clone(), supervisor, cluster: known, catalog: catalog.clone(), positions: positions.clone() };
    let state = ApiState {
        catalog,
        positions,
        log,
        modules: Arc::new(Checker { modules: modules.for_requests(), tables }),
        runtime: Arc::new(running),
        feeds,
        shutdown,
        host,
        cluster,
        topics_api: embedded,
        limits: ApiLimits {
            module_bytes_max: usize::try_from(config.module_bytes_max)?,
            upload_bytes_in_flight_max: usize::try_from(config.upload_bytes_in_flight_max)?,
            ..ApiLimits::default()
        },
        metrics: metrics.http.clone(),
        render_metrics: Arc::new(move || metrics.render()),
        on_request: Arc::new(move |method, route, status, seconds| http.http.answered(method, route, status, seconds)),
    };
    Ok((api::router(state), ended))
}

/// Opens what lives in the log; waits for as long as the log cannot be reached.
async fn when_reachable<T: Send + 'static>(
    log: &Arc<dyn Log>,
    open: impl Fn(&Arc<dyn Log>) -> Result<T, CatalogError> + Clone + Send + 'static,
) -> anyhow::Result<T> {
    let mut pause = Duration::from_millis(200);
    loop {
        let (log, open) = (log.clone(), open.clone());
        match tokio::task::spawn_blocking(move || open(&log)).await? {
            Ok(opened) => return Ok(opened),
            Err(error) if matches!(error, CatalogError::Log(LogError::Unavailable(_)) | CatalogError::Unseen) => {
                tracing::warn!(%error, ?pause, "the log cannot be reached yet");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            Err(error) => {
                let code = error.code();
                return Err(anyhow::anyhow!("{error} ({code}): {}", code.hint()));
            }
        }
    }
}

fn server_limits(config: &Config) -> anyhow::Result<ServerLimits> {
    Ok(ServerLimits {
        connections_max: config.connections_max,
        connections_per_address_max: config.connections_per_address_max,
        answer_bytes_in_flight_max: usize::try_from(config.answer_bytes_in_flight_max)?,
        ..ServerLimits::default()
    })
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

fn announce(backend: &Backend, address: std::net::SocketAddr, config: &Config) {
    match backend {
        Backend::Kafka { config: kafka, cluster } => {
            tracing::info!(brokers = kafka.brokers, %cluster, %address, version = env!("CARGO_PKG_VERSION"), "sandbar starts");
        }
        Backend::Embedded => {
            let log = config.data_dir.join("log");
            eprintln!("Sandbar on an embedded log in {} - for one process, for development.", OneLine(log.display()));
            eprintln!("Production means Kafka: sandbar serve --brokers HOST:PORT --cluster NAME");
            eprintln!("API: http://{address}/");
        }
    }
}

/// This very program, also when its file was replaced by a newer one meanwhile.
fn own_program() -> anyhow::Result<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() { Ok(running) } else { Ok(std::env::current_exe()?) }
}

/// Says how far compilers are shut in on this machine.
async fn announce_jail(modules: Arc<Modules>) {
    match tokio::task::spawn_blocking(move || modules.jail()).await {
        Ok(Ok(jail)) if jail.is_full() => {
            let Jail { landlock, seccomp } = jail;
            tracing::info!(%landlock, %seccomp, "compilers have no files, no network and few system calls");
        }
        Ok(Ok(Jail { landlock, seccomp })) => tracing::warn!(
            %landlock,
            %seccomp,
            "compilers are shut in only in part: this kernel, or the container, lacks the rest"
        ),
        Ok(Err(error)) => tracing::error!(%error, "no module can be compiled"),
        Err(error) => tracing::error!(%error, "no module can be compiled"),
    }
}

/// Looks at modules, and runs candidates on the tables that there are.
struct Checker {
    modules: Modules,
    tables: Tables,
}

impl ModuleChecker for Checker {
    fn check(&self, bytes: &[u8]) -> Result<ModuleInfo, ModuleError> {
        self.modules.check(bytes)
    }

    fn try_init(&self, spec: &Spec, bytes: &[u8]) -> Result<(), ModuleError> {
        self.modules.try_init(spec, bytes)
    }

    fn prepare(&self, spec: &Spec, bytes: &[u8]) -> Result<Box<dyn GuestFactory>, ModuleError> {
        let tables = self.tables.of(spec.tables.values().cloned()).map_err(|(_, message)| ModuleError::Host(message))?;
        // Revision 0: none that was ever deployed.
        Ok(Box::new(self.modules.prepare(spec, 0, bytes, tables, None)?))
    }
}

/// What runs here, and what is known of the other hosts.
struct Running {
    host: String,
    supervisor: Supervisor,
    cluster: Arc<Cluster>,
    catalog: Arc<Catalog>,
    positions: Arc<Positions>,
}

impl Runtime for Running {
    fn statuses(&self, id: &TransformId) -> Vec<TransformStatus> {
        let here = self.supervisor.status(id).into_iter();
        here.chain(self.cluster.elsewhere(id, &self.host)).collect()
    }

    fn hosts(&self) -> Vec<HostStatus> {
        self.cluster.hosts()
    }

    fn look_up(&self, id: &TransformId, number: i32, store: &str, key: &[u8]) -> Option<Option<Vec<u8>>> {
        self.supervisor.look_up(id, number, store, key)
    }

    fn ready(&self) -> Result<(), Vec<String>> {
        let reasons: Vec<String> =
            self.catalog.trouble().into_iter().chain(self.positions.trouble()).chain(self.cluster.trouble()).collect();
        if reasons.is_empty() { Ok(()) } else { Err(reasons) }
    }
}
