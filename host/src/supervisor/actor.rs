//! One transform on this host: prepares its revisions, starts and stops its workers, and swaps one revision for the next.

use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::inputs::InputWatch;
use super::newest::{committed_revision, is_overtaken, unread};
use super::prepare::{Prepared, Unprepared, compile, prepare, prepare_proven};
use super::report::{Report, WorkerSeen};
use super::{Action, Order, Parts, Running, Told, order, plan};
use crate::crashes::{ENDS_MAX, Permit, StartPhase};
use crate::model::codes::Code;
use crate::model::names::TransformId;
use crate::model::revision::{Deployment, Desired};
use crate::model::status::{LastError, State};
use crate::model::units::{Backoff, Timestamp};
use crate::ports::{OpenError, SessionOptions, StateOpener};
use crate::stores::TransformStores;
use crate::task::Settings;
use crate::telemetry::metrics::TransformMetrics;
use crate::worker::{Command, Revisions, Swap, Worker, WorkerStatus};

/// First and longest time until a failed preparation is tried again.
const RETRY: Backoff = Backoff { first: Duration::from_millis(500), longest: Duration::from_secs(30) };
/// How often gauges follow the workers' status.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// How often the partitions of inputs are counted, for transforms with stores; those that work count them before each
/// commit.
const PARTITIONS_INTERVAL: Duration = Duration::from_secs(5);
/// A guest's stack is on its worker's.
const STACK_BYTES: usize = 4 << 20;

pub(super) struct WorkerHandle {
    pub commands: std_mpsc::Sender<Command>,
    thread: std::thread::JoinHandle<()>,
}

pub(super) struct Actor {
    pub(super) id: TransformId,
    pub(super) parts: Parts,
    pub(super) inputs: InputWatch,
    desired: watch::Receiver<Option<Deployment>>,
    /// The deployment that was obeyed last; None before the first.
    told: Option<Told>,
    report: watch::Sender<Report>,
    running: Running,
    pub(super) workers: Vec<WorkerHandle>,
    /// What the workers' sessions were opened with.
    pub(super) options: Option<SessionOptions>,
    /// When beginning new partitions failed last.
    pub(super) begun_at: Option<Timestamp>,
    /// What its workers open their stores with.
    pub(super) stores: Option<TransformStores>,
    /// When the partitions of its inputs were last counted.
    looked_at: Option<Timestamp>,
    /// The error of partitions that wait for a revision which will not come.
    stranded: Option<LastError>,
    failures: u32,
    metrics: Arc<TransformMetrics>,
}

impl Actor {
    pub fn new(
        id: TransformId,
        parts: Parts,
        inputs: InputWatch,
        desired: watch::Receiver<Option<Deployment>>,
        report: watch::Sender<Report>,
    ) -> Self {
        let metrics = parts.metrics.transform(&id);
        let (running, workers) = (Running::Nothing, Vec::new());
        Self {
            id,
            parts,
            inputs,
            desired,
            told: None,
            report,
            running,
            workers,
            options: None,
            begun_at: None,
            stores: None,
            failures: 0,
            looked_at: None,
            stranded: None,
            metrics,
        }
    }

    /// Runs until nobody says any more what is desired; then stops the workers.
    pub async fn run(mut self) {
        loop {
            let desired = self.desired.borrow_and_update().clone();
            if let Some(deployment) = &desired {
                self.obey(deployment).await;
            }
            let permit = self.permit(desired.as_ref());
            match plan(desired.as_ref(), &self.running, permit, Timestamp::now()) {
                Action::Start(deployment) => {
                    if self.start(&deployment).await.is_err() {
                        break;
                    }
                }
                Action::Stop => self.stop(desired.as_ref()).await,
                Action::Wait(time) => {
                    self.settle(desired.as_ref(), permit);
                    let wait = time.unwrap_or(REPORT_INTERVAL).min(REPORT_INTERVAL);
                    tokio::select! {
                        changed = self.desired.changed() => if changed.is_err() { break },
                        () = tokio::time::sleep(wait) => self.sample(desired.as_ref()).await,
                    }
                }
            }
        }
        self.stop_workers().await;
        self.metrics.forget();
    }

    /// Does what was asked for since the last time.
    async fn obey(&mut self, deployment: &Deployment) {
        let now = Told::of(deployment);
        let Some(before) = self.told.replace(now) else { return };
        match order(before, now) {
            Order::GoOn => {}
            Order::Resume => self.resume(),
            // They are started again, as nothing runs.
            Order::Stop => self.stop_workers().await,
        }
    }

    /// Tells whether its workers may be started, where none run and some should.
    fn permit(&self, desired: Option<&Deployment>) -> Permit {
        let to_start = |deployment: &&Deployment| deployment.desired == Desired::Running && deployment.unread.is_none();
        match desired.filter(to_start) {
            Some(deployment) if self.workers.is_empty() => self.parts.crashes.permit(&self.id, deployment.asked.resumes),
            Some(_) => Permit::Granted,
            None => {
                self.parts.crashes.set_back(&self.id);
                Permit::Granted
            }
        }
    }

    /// An error means, as in [`Actor::run`], that the desired state has no source any more.
    async fn start(&mut self, deployment: &Deployment) -> Result<(), watch::error::RecvError> {
        let revision = deployment.revision;
        self.metrics.quarantined(false);
        self.report.send_modify(|report| {
            report.target = revision;
            report.prepared = false;
            if report.error.take_if(|error| error.code == Code::Quarantined).is_some() {
                report.state = State::Starting;
            }
        });
        // Its turn may be long in coming; meanwhile something else may be desired.
        let compiled = tokio::select! {
            compiled = compile(&self.parts, deployment) => compiled,
            changed = self.desired.changed() => {
                self.parts.crashes.settle(&self.id);
                return changed;
            }
        };
        let prepared = match compiled {
            Ok(()) => self.prepare(deployment).await,
            Err(unprepared) => Err(unprepared),
        };
        let started = match prepared {
            Ok(_) if !self.is_desired(deployment) => Ok(false),
            Ok(prepared) if self.can_swap(&prepared) => {
                self.swap(prepared);
                Ok(true)
            }
            Ok(prepared) => self.restart(prepared, deployment).await,
            Err(unprepared) => Err(unprepared),
        };
        self.parts.crashes.settle(&self.id);
        match started {
            Ok(false) => return self.wait_for_change().await,
            Ok(true) => {
                self.failures = 0;
                self.running = Running::Revision(revision);
                self.report.send_modify(|report| {
                    report.prepared = true;
                    report.error = None;
                });
            }
            Err((code, message)) => self.prepare_failed(revision, code, message),
        }
        Ok(())
    }

    /// Prepares a revision while what runs goes on, with an instance for each partition that is owned now; or where
    /// nothing runs, with the revision that ran last.
    async fn prepare(&self, deployment: &Deployment) -> Result<Prepared, Unprepared> {
        let (parts, wanted) = (self.parts.clone(), deployment.clone());
        let instances = self.report.borrow().workers().iter().map(|worker| worker.partitions.len()).sum();
        let is_first = self.workers.is_empty();
        let prepared = spawn_blocking(move || {
            let prepared = prepare(&parts, &wanted, instances)?;
            let kept = if is_first { prepare_proven(&parts, &prepared, wanted.asked)? } else { None };
            Ok(Prepared { kept, ..prepared })
        })
        .await;
        prepared.unwrap_or_else(|error| Err((Code::Internal, error.to_string())))
    }

    /// Whether the workers can go on with it; otherwise their place in the group changes, and they start anew.
    fn can_swap(&self, prepared: &Prepared) -> bool {
        let alive = self.workers.iter().all(|worker| !worker.thread.is_finished());
        let options = self.options.as_ref().filter(|_| alive && !self.workers.is_empty());
        let alike = prepared.has_same_stores(self.stores.as_ref());
        alike && options.is_some_and(|options| prepared.can_follow(options, self.workers.len()))
    }

    fn swap(&mut self, prepared: Prepared) {
        let Prepared { program, mut guests, .. } = prepared;
        for (worker, status) in self.workers.iter().zip(self.report.borrow().workers()) {
            let own = guests.split_off(guests.len().saturating_sub(status.partitions.len()));
            let _ = worker.commands.send(Command::Swap(Swap { revision: program.clone(), guests: own }));
        }
        tracing::info!(transform = %self.id, revision = program.settings.revision, "prepared, to be swapped in");
    }

    /// Starts workers in place of those that there are; false if by then something else is desired.
    async fn restart(&mut self, prepared: Prepared, deployment: &Deployment) -> Result<bool, Unprepared> {
        self.stop_workers().await;
        if self.is_overtaken(deployment).await {
            return Ok(false);
        }
        let Prepared { program, kept, options, workers, stores, .. } = prepared;
        let Settings { outputs, changelogs, .. } = &program.settings;
        let options = self.begin(options, outputs[changelogs.clone()].to_vec()).await?;
        self.inputs.follow(&self.id, &options.inputs);
        self.stores = stores;
        let revisions = Revisions { current: program, previous: kept, rejected: None };
        let mut statuses = Vec::new();
        for number in 0..workers {
            match self.spawn_worker(number, &revisions, &options) {
                Ok(seen) => statuses.push(seen),
                Err(error) => {
                    self.stop_workers().await;
                    let message = format!("the system gives no thread for worker {number} of {workers}: {error}");
                    return Err((Code::HostResources, message));
                }
            }
        }
        tracing::info!(transform = %self.id, revision = revisions.current.settings.revision, workers, "started");
        self.options = Some(options);
        self.report.send_modify(|report| {
            report.state = State::Starting;
            report.workers = statuses;
        });
        Ok(true)
    }

    /// Tells whether a deployment is still the one that is desired, as far as this actor was told.
    fn is_desired(&self, deployment: &Deployment) -> bool {
        self.desired.borrow().as_ref().is_some_and(|now| now.wants_same(deployment))
    }

    /// Tells whether another deployment is desired, of whichever host.
    async fn is_overtaken(&self, deployment: &Deployment) -> bool {
        let catalog = self.parts.catalog.clone();
        let wanted = deployment.clone();
        spawn_blocking(move || is_overtaken(&catalog, &wanted)).await.unwrap_or(true)
    }

    /// The catalog is ahead of what this actor was told, for a moment.
    async fn wait_for_change(&mut self) -> Result<(), watch::error::RecvError> {
        tokio::select! {
            changed = self.desired.changed() => changed,
            () = tokio::time::sleep(REPORT_INTERVAL) => Ok(()),
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
        self.parts.crashes.set_back(&self.id);
        tracing::warn!(transform = %self.id, revision, %code, error = message, ?pause, "could not be started, tried again");
        self.report.send_modify(|report| {
            report.state = State::Failed;
            report.error = Some(LastError { code, message, offset: None, at: now });
        });
    }

    fn spawn_worker(&mut self, number: u32, revisions: &Revisions, options: &SessionOptions) -> std::io::Result<WorkerSeen> {
        let (commands, commands_seen) = std_mpsc::channel();
        let (status, status_seen) = watch::channel(WorkerStatus::default());
        let mut options = options.clone();
        // Stable over restarts: opening the same id again ends what a crashed host left open.
        options.transactional_id = format!("{}.{}.{number}", options.group, self.parts.host);
        let worker = Worker {
            log: self.parts.log.clone(),
            options,
            revisions: revisions.clone(),
            stores: self.stores.clone().map(|stores| Arc::new(stores) as Arc<dyn StateOpener>),
            commands: commands_seen,
            status,
            clock: Timestamp::now,
        };
        let thread = std::thread::Builder::new().name(format!("{}-{number}", self.id.name)).stack_size(STACK_BYTES);
        let thread = (self.parts.spawn)(thread, Box::new(move || worker.run()))?;
        self.workers.push(WorkerHandle { commands: commands.clone(), thread });
        Ok(WorkerSeen { status: status_seen, commands })
    }

    async fn stop(&mut self, desired: Option<&Deployment>) {
        self.stop_workers().await;
        self.settle(desired, Permit::Granted);
        tracing::info!(transform = %self.id, "stopped");
    }

    pub(super) async fn stop_workers(&mut self) {
        self.inputs.forget(&self.id);
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
            report.prepared = false;
        });
    }

    /// Shows whether what runs is not the newest, as this host does not understand that.
    fn settle_running(&self, desired: Option<&Deployment>) {
        let unread = desired.and_then(unread);
        let says_so = |report: &Report| report.error.as_ref().is_some_and(|error| error.code == Code::NewerFormat);
        self.report.send_if_modified(|report| {
            if report.error == unread || (unread.is_none() && !says_so(report)) {
                return false;
            }
            report.target = desired.map_or(report.target, |deployment| deployment.revision);
            report.error = unread;
            true
        });
    }

    /// What is shown while nothing runs.
    fn settle(&mut self, desired: Option<&Deployment>, permit: Permit) {
        if self.running != Running::Nothing {
            return self.settle_running(desired);
        }
        let live = desired.filter(|deployment| deployment.desired != Desired::Deleted);
        let quarantined = match permit {
            Permit::Quarantined { since } => Some(quarantined(since)),
            Permit::Granted | Permit::Waits => None,
        };
        let error = live.and_then(unread).or(quarantined);
        let state = match desired.map(|deployment| deployment.desired) {
            Some(Desired::Paused) => State::Paused,
            Some(Desired::Running) if error.is_some() => State::Failed,
            Some(Desired::Running) => State::Starting,
            Some(Desired::Deleted) | None => State::Stopped,
        };
        self.metrics.quarantined(error.is_some());
        self.report.send_modify(|report| {
            report.state = state;
            report.target = desired.map_or(0, |deployment| deployment.revision);
            report.error = error;
        });
        match state {
            // Deleted: its gauges would stand still for ever.
            State::Stopped => self.metrics.forget(),
            _ => self.gauge(),
        }
    }

    fn resume(&self) {
        for worker in &self.workers {
            let _ = worker.commands.send(Command::Resume);
        }
    }

    async fn sample(&mut self, desired: Option<&Deployment>) {
        // A worker ends only when it is told to, or by a panic: then it is started again.
        if self.workers.iter().any(|worker| worker.thread.is_finished()) {
            let revision = self.report.borrow().target;
            self.prepare_failed(revision, Code::Internal, "a worker ended unexpectedly".into());
            return;
        }
        if let Some((code, message)) = self.partitions_changed().await {
            self.stop_workers().await;
            let revision = self.report.borrow().target;
            self.prepare_failed(revision, code, message);
            return;
        }
        self.follow_inputs().await;
        self.catch_up(desired).await;
        self.look();
        if self.running != Running::Nothing {
            self.gauge();
        }
    }

    /// Whether an input of a transform with stores has other partitions than it had: then no key is where its state is.
    async fn partitions_changed(&mut self) -> Option<Unprepared> {
        let stores = self.stores.clone()?;
        let now = Timestamp::now();
        if self.workers.is_empty() || self.looked_at.is_some_and(|at| now < at.after(PARTITIONS_INTERVAL)) {
            return None;
        }
        self.looked_at = Some(now);
        match spawn_blocking(move || stores.check_inputs()).await {
            Ok(Err(error @ OpenError::Partitions(_))) => Some((error.code(), error.to_string())),
            _ => None,
        }
    }

    /// Gives workers the revision that another host has committed with on partitions that are theirs now: it was
    /// refused here, perhaps, but nothing lower may go on from there.
    async fn catch_up(&mut self, desired: Option<&Deployment>) {
        let newest = self.report.borrow().workers().iter().filter_map(|worker| worker.outrun_by).max();
        let (Some(newest), Some(desired)) = (newest, desired) else { return };
        let deployment = match newest == desired.revision && desired.unread.is_none() {
            true => desired.clone(),
            false => {
                let catalog = self.parts.catalog.clone();
                let id = self.id.clone();
                match spawn_blocking(move || committed_revision(&catalog, &id, newest)).await {
                    Ok(Ok(Some(revision))) => revision.to_deployment(desired.asked),
                    Ok(Err(stranded)) => return self.strand(stranded),
                    // Not read from the catalog yet: looked for again.
                    Ok(Ok(None)) | Err(_) => return,
                }
            }
        };
        match self.prepare(&deployment).await {
            Ok(prepared) if self.can_swap(&prepared) => self.swap(prepared),
            Ok(_) => {}
            Err((code, message)) => self.prepare_failed(deployment.revision, code, message),
        }
    }

    /// Tells workers why partitions wait that a revision of no known content has committed.
    fn strand(&mut self, (code, message): Unprepared) {
        let told = self.stranded.take().filter(|told| (told.code, &told.message) == (code, &message));
        let error = told.unwrap_or_else(|| LastError { code, message, offset: None, at: Timestamp::now() });
        for worker in &self.workers {
            let _ = worker.commands.send(Command::Strand(error.clone()));
        }
        self.stranded = Some(error);
    }

    /// Shows the host's order of starts how far it is.
    fn look(&self) {
        let workers = self.report.borrow().workers();
        let mut partitions = workers.iter().flat_map(|worker| &worker.partitions).peekable();
        let phase = match () {
            () if workers.is_empty() => return,
            () if partitions.peek().is_none() => StartPhase::WithoutPartitions,
            () if partitions.any(|partition| partition.state == State::Starting) => StartPhase::Starting,
            () => StartPhase::Running,
        };
        self.parts.crashes.look(&self.id, phase);
    }

    fn gauge(&self) {
        let report = self.report.borrow();
        let memory = report.workers().iter().map(|worker| worker.memory_bytes).max().unwrap_or(0);
        self.metrics.state(report.status(&self.id).state);
        self.metrics.guest.memory(memory as u64);
    }
}

/// The error of a transform that stays off. It does not change while it does.
fn quarantined(since: Timestamp) -> LastError {
    let message =
        format!("it was in a call at {ENDS_MAX} abnormal ends of this host in a row, and had not committed between");
    LastError { code: Code::Quarantined, message, offset: None, at: since }
}
