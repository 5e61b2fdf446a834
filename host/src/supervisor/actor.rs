//! One transform on this host: prepares, starts and stops its workers.

use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;

use super::{Action, Parts, Running, plan};
use crate::model::codes::Code;
use crate::model::names::TransformId;
use crate::model::revision::{Deployment, Desired};
use crate::model::spec::Spec;
use crate::model::status::{LastError, State, TransformStatus};
use crate::model::units::{Backoff, Timestamp};
use crate::ports::{LogError, SessionOptions};
use crate::task::{Program, Settings};
use crate::worker::{Command, Worker, WorkerStatus};

/// First and longest time until a failed preparation is tried again.
const RETRY: Backoff = Backoff { first: Duration::from_millis(500), longest: Duration::from_secs(30) };
/// How often gauges follow the workers' status.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// A guest's stack is on its worker's.
const STACK_BYTES: usize = 4 << 20;

pub(super) enum Request {
    Restart,
    ResumePartitions,
    Shutdown,
}

/// What an actor shows: enough to make up a [`TransformStatus`] at any time.
#[derive(Clone)]
pub(super) struct Report {
    host: String,
    state: State,
    revision: u64,
    error: Option<LastError>,
    workers: Vec<watch::Receiver<WorkerStatus>>,
}

impl Report {
    pub fn new(host: &str) -> Self {
        Self { host: host.to_owned(), state: State::Starting, revision: 0, error: None, workers: Vec::new() }
    }

    pub fn status(&self, id: &TransformId) -> TransformStatus {
        let workers: Vec<WorkerStatus> = self.workers.iter().map(|worker| worker.borrow().clone()).collect();
        let mut partitions: Vec<_> = workers.iter().flat_map(|worker| worker.partitions.clone()).collect();
        partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        let worker_error = workers.iter().filter_map(|worker| worker.error.clone()).max_by_key(|error| error.at);
        TransformStatus {
            id: id.clone(),
            state: if workers.is_empty() { self.state } else { overall(&workers) },
            revision: self.revision,
            host: self.host.clone(),
            error: self.error.clone().or(worker_error),
            partitions,
        }
    }
}

/// The state of a transform from those of its workers: the worst that needs attention.
fn overall(workers: &[WorkerStatus]) -> State {
    let all = |state| workers.iter().all(|worker| worker.state == state);
    let any = |state| workers.iter().any(|worker| worker.state == state);
    match () {
        () if all(State::Paused) => State::Paused,
        () if all(State::Failed) => State::Failed,
        () if any(State::Failed) || any(State::Degraded) || any(State::Paused) => State::Degraded,
        () if all(State::Starting) => State::Starting,
        () => State::Running,
    }
}

struct WorkerHandle {
    commands: std_mpsc::Sender<Command>,
    thread: std::thread::JoinHandle<()>,
}

pub(super) struct Actor {
    id: TransformId,
    parts: Parts,
    desired: watch::Receiver<Option<Deployment>>,
    requests: mpsc::UnboundedReceiver<Request>,
    report: watch::Sender<Report>,
    running: Running,
    workers: Vec<WorkerHandle>,
    failures: u32,
}

impl Actor {
    pub fn new(
        id: TransformId,
        parts: Parts,
        desired: watch::Receiver<Option<Deployment>>,
        requests: mpsc::UnboundedReceiver<Request>,
        report: watch::Sender<Report>,
    ) -> Self {
        Self { id, parts, desired, requests, report, running: Running::Nothing, workers: Vec::new(), failures: 0 }
    }

    pub async fn run(mut self) {
        loop {
            let desired = self.desired.borrow_and_update().clone();
            match plan(desired.as_ref(), &self.running, Timestamp::now()) {
                Action::Start(deployment) => self.start(&deployment).await,
                Action::Stop => self.stop(desired.as_ref()).await,
                Action::Wait(time) => {
                    self.settle(desired.as_ref());
                    let wait = time.unwrap_or(REPORT_INTERVAL).min(REPORT_INTERVAL);
                    tokio::select! {
                        changed = self.desired.changed() => if changed.is_err() { break },
                        request = self.requests.recv() => match request {
                            Some(Request::Restart) => self.stop_workers().await,
                            Some(Request::ResumePartitions) => self.resume(),
                            Some(Request::Shutdown) | None => break,
                        },
                        () = tokio::time::sleep(wait) => self.sample(),
                    }
                }
            }
        }
        self.stop_workers().await;
        self.parts.metrics.forget(&self.id);
    }

    async fn start(&mut self, deployment: &Deployment) {
        let (parts, wanted) = (self.parts.clone(), deployment.clone());
        let prepared = spawn_blocking(move || prepare(&parts, &wanted)).await;
        let prepared = prepared.unwrap_or_else(|error| Err((Code::Internal, error.to_string())));
        match prepared {
            Ok((spec, program, options)) => {
                self.stop_workers().await;
                self.failures = 0;
                let mut statuses = Vec::new();
                for number in 0..spec.workers {
                    statuses.push(self.spawn_worker(number, &program, &options));
                }
                self.running = Running::Revision(deployment.revision);
                tracing::info!(transform = %self.id, revision = deployment.revision, workers = spec.workers, "started");
                self.report.send_modify(|report| {
                    report.state = State::Starting;
                    report.revision = deployment.revision;
                    report.error = None;
                    report.workers = statuses;
                });
            }
            Err((code, message)) => self.prepare_failed(deployment.revision, code, message),
        }
    }

    fn prepare_failed(&mut self, revision: u64, code: Code, message: String) {
        let now = Timestamp::now();
        let pause = RETRY.after(self.failures);
        self.failures = self.failures.saturating_add(1);
        let kept = match self.running {
            Running::Revision(kept) => Some(kept),
            Running::Failed { kept, .. } => kept,
            Running::Nothing => None,
        };
        self.running = Running::Failed { revision, retry_at: now.after(pause), kept };
        tracing::warn!(transform = %self.id, revision, %code, error = message, ?pause, "could not be started, tried again");
        self.report.send_modify(|report| {
            report.state = State::Failed;
            report.error = Some(LastError { code, message, offset: None, at: now });
        });
    }

    fn spawn_worker(
        &mut self,
        number: u32,
        program: &Arc<Program>,
        options: &SessionOptions,
    ) -> watch::Receiver<WorkerStatus> {
        let (commands, commands_seen) = std_mpsc::channel();
        let (status, status_seen) = watch::channel(WorkerStatus::default());
        let mut options = options.clone();
        // Stable over restarts: opening the same id again ends what a crashed host left open.
        options.transactional_id = format!("{}.{}.{number}", options.group, self.parts.host);
        let worker = Worker {
            log: self.parts.log.clone(),
            options,
            program: program.clone(),
            commands: commands_seen,
            status,
            clock: Timestamp::now,
        };
        let name = format!("{}-{number}", self.id.name);
        let thread = std::thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(move || worker.run());
        let thread = thread.expect("the system has a thread left");
        self.workers.push(WorkerHandle { commands, thread });
        status_seen
    }

    async fn stop(&mut self, desired: Option<&Deployment>) {
        self.stop_workers().await;
        self.settle(desired);
        tracing::info!(transform = %self.id, "stopped");
    }

    async fn stop_workers(&mut self) {
        let workers = std::mem::take(&mut self.workers);
        for worker in &workers {
            let _ = worker.commands.send(Command::Stop);
        }
        let joined = spawn_blocking(move || workers.into_iter().map(|worker| worker.thread.join()).collect::<Vec<_>>());
        for ended in joined.await.unwrap_or_default() {
            if ended.is_err() {
                tracing::error!(transform = %self.id, "a worker panicked: this is a bug");
            }
        }
        self.running = Running::Nothing;
        self.report.send_modify(|report| {
            report.workers.clear();
            report.state = State::Stopped;
        });
    }

    /// What is shown while nothing runs.
    fn settle(&mut self, desired: Option<&Deployment>) {
        if self.running != Running::Nothing {
            return;
        }
        let state = match desired.map(|deployment| deployment.desired) {
            Some(Desired::Paused) => State::Paused,
            Some(Desired::Running) => State::Starting,
            Some(Desired::Deleted) | None => State::Stopped,
        };
        self.report.send_modify(|report| {
            report.state = state;
            report.revision = desired.map_or(0, |deployment| deployment.revision);
            report.error = None;
        });
        self.sample();
    }

    fn resume(&self) {
        for worker in &self.workers {
            let _ = worker.commands.send(Command::Resume);
        }
    }

    fn sample(&mut self) {
        // A worker ends only when it is told to, or by a panic: then it is started again.
        if self.workers.iter().any(|worker| worker.thread.is_finished()) {
            let revision = self.report.borrow().revision;
            self.prepare_failed(revision, Code::Internal, "a worker ended unexpectedly".into());
            return;
        }
        let report = self.report.borrow();
        let status = report.status(&self.id);
        let memory = report.workers.iter().map(|worker| worker.borrow().memory_bytes).max().unwrap_or(0);
        let metrics = self.parts.metrics.transform(&self.id, &[], &[]);
        metrics.state(status.state);
        metrics.guest_memory.set(i64::try_from(memory).unwrap_or(i64::MAX));
    }
}

type Prepared = (Spec, Arc<Program>, SessionOptions);

/// Fetches, compiles, instantiates once, and looks at the topics. Blocks.
fn prepare(parts: &Parts, deployment: &Deployment) -> Result<Prepared, (Code, String)> {
    let spec = deployment.spec().map_err(|problems| {
        let listed: Vec<String> = problems.iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect();
        (Code::SpecRefused, listed.join("; "))
    })?;
    let bytes = parts.catalog.module(&spec.module).map_err(|error| (error.code(), error.to_string()))?;
    let bytes = bytes.ok_or_else(|| (Code::ModuleMissing, format!("module {} is not in the catalog", spec.module)))?;
    let log_error = |error: LogError| match error {
        LogError::NoTopic(_) => (Code::TopicGone, error.to_string()),
        LogError::Refused(_) => (Code::LogRefused, error.to_string()),
        LogError::Unavailable(_) => (Code::LogUnavailable, error.to_string()),
    };
    let mut record_bytes_max = Vec::new();
    for topic in spec.written_topics() {
        record_bytes_max.push(parts.log.topic(topic).map_err(log_error)?.record_bytes_max);
    }
    let outputs: Vec<_> = spec.written_topics().cloned().collect();
    let metrics = parts.metrics.transform(&spec.id, &spec.inputs, &outputs);
    let guests = parts.modules.prepare(&spec, deployment.revision, &bytes, Some(metrics.clone()));
    let guests = guests.map_err(|error| (error.code(), error.to_string()))?;
    let settings = Settings::of(&spec, deployment.revision, record_bytes_max);
    let program = Arc::new(Program { settings, guests: Arc::new(guests), metrics });
    let group = spec.group(&parts.cluster);
    let options = SessionOptions {
        group,
        transactional_id: String::new(),
        inputs: spec.inputs.clone(),
        outputs,
        delivery: spec.delivery,
        start: spec.start.resolve(deployment.changed_at),
        commit_interval: spec.commit_interval,
    };
    Ok((spec, program, options))
}
