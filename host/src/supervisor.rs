//! Makes what runs on this host what the catalog says should run.
//!
//! One actor (a tokio task) per transform, so that a slow compile or a slow stop of one holds up no other. Each
//! compares desired with running through [`plan`], a pure function, and does the one action that it names.
//!
//! Invariants: at most one set of workers per transform runs on a host, since they share transactional ids; a
//! revision is prepared (fetched, compiled, instantiated) while the one before goes on, and the workers swap it in
//! themselves; they are stopped and started anew only where their place in the group changes (other inputs, another
//! delivery, another number of them).

mod actor;
mod begin;
mod inputs;
mod newest;
mod plan;
mod prepare;
mod report;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

pub use plan::{Action, Order, Running, Told, order, plan};

use crate::catalog::Catalog;
use crate::crashes::Crashes;
use crate::guest::Modules;
use crate::model::names::{ClusterName, TransformId};
use crate::model::revision::Deployment;
use crate::model::status::{State, TransformStatus};
use crate::ports::Log;
use crate::positions::Positions;
use crate::stores::Stores;
use crate::stores::tables::Tables;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::observer::Observers;
use crate::worker::{Command, LookUp};

use actor::Actor;
use inputs::InputWatch;
use report::Report;

/// How long a look into a store may take: its worker may be in a call of its guest.
const LOOK_UP_WAIT: Duration = Duration::from_secs(6);

/// Starts a thread; the system may refuse.
pub type Spawn = fn(std::thread::Builder, Box<dyn FnOnce() + Send>) -> std::io::Result<std::thread::JoinHandle<()>>;

/// What the actors work with.
#[derive(Clone)]
pub struct Parts {
    pub log: Arc<dyn Log>,
    pub catalog: Arc<Catalog>,
    pub positions: Arc<Positions>,
    pub modules: Arc<Modules>,
    pub metrics: Metrics,
    pub observers: Observers,
    pub stores: Stores,
    pub tables: Tables,
    pub crashes: Crashes,
    pub cluster: ClusterName,
    /// Starts a worker's thread.
    pub spawn: Spawn,
    /// This host's name: part of transactional ids, so it is stable over restarts and its own within the cluster.
    pub host: String,
}

/// The handle: asks how the running transforms are doing. Cloning shares it.
#[derive(Clone)]
pub struct Supervisor {
    actors: Arc<Mutex<BTreeMap<TransformId, Handle>>>,
    inputs: InputWatch,
}

struct Handle {
    desired: watch::Sender<Option<Deployment>>,
    report: watch::Receiver<Report>,
    ended: tokio::task::JoinHandle<()>,
}

impl Supervisor {
    /// Follows the catalog until `shutdown` becomes true, then stops every worker and returns.
    pub fn start(parts: Parts, mut shutdown: watch::Receiver<bool>) -> (Self, tokio::task::JoinHandle<()>) {
        let supervisor = Self { actors: Arc::default(), inputs: InputWatch::default() };
        tokio::spawn(supervisor.inputs.clone().look_for_ever(parts.log.clone(), shutdown.clone()));
        let own = supervisor.clone();
        let follow = async move {
            let mut deployments = parts.catalog.watch();
            loop {
                let desired = deployments.borrow_and_update().clone();
                own.pass_on(&desired, &parts);
                tokio::select! {
                    changed = deployments.changed() => if changed.is_err() { break },
                    _ = shutdown.wait_for(|&down| down) => break,
                }
            }
            own.stop_all().await;
        };
        (supervisor, tokio::spawn(follow))
    }

    fn pass_on(&self, desired: &BTreeMap<TransformId, Deployment>, parts: &Parts) {
        let mut actors = self.actors.lock();
        for (id, deployment) in desired {
            let handle =
                actors.entry(id.clone()).or_insert_with(|| Handle::spawn(id.clone(), parts.clone(), self.inputs.clone()));
            handle.desired.send_if_modified(|current| {
                let changed = current.as_ref() != Some(deployment);
                *current = Some(deployment.clone());
                changed
            });
        }
    }

    async fn stop_all(&self) {
        let handles = std::mem::take(&mut *self.actors.lock());
        // An actor ends when nobody is left to tell it what is desired. All of them at the same time.
        let ended: Vec<_> = handles.into_iter().map(|(id, handle)| (id, handle.ended)).collect();
        for (id, ended) in ended {
            if let Err(error) = ended.await {
                tracing::error!(transform = %id, %error, "the transform's supervisor failed");
            }
        }
    }

    /// What is committed under a key of a store, where a worker of this host has that partition number's state. Blocks for
    /// as long as the worker's turn takes.
    pub fn look_up(&self, id: &TransformId, number: i32, store: &str, key: &[u8]) -> Option<Option<Vec<u8>>> {
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        let look = LookUp { partition: number, store: store.to_owned(), key: key.to_owned(), answer };
        let commands = {
            let actors = self.actors.lock();
            let report = actors.get(id)?.report.borrow();
            report.owner(number)?.commands.clone()
        };
        commands.send(Command::LookUp(look)).ok()?;
        answered.recv_timeout(LOOK_UP_WAIT).ok()
    }

    pub fn status(&self, id: &TransformId) -> Option<TransformStatus> {
        self.actors.lock().get(id).map(|handle| handle.report.borrow().status(id))
    }

    /// Every transform that this host runs, or did and knows why not.
    pub fn statuses(&self) -> Vec<TransformStatus> {
        let actors = self.actors.lock();
        let statuses = actors.iter().map(|(id, handle)| handle.report.borrow().status(id));
        statuses.filter(|status| status.state != State::Stopped).collect()
    }
}

impl Handle {
    fn spawn(id: TransformId, parts: Parts, inputs: InputWatch) -> Self {
        let (desired, desired_seen) = watch::channel(None);
        let (report_sent, report) = watch::channel(Report::new(&parts.host));
        let actor = Actor::new(id, parts, inputs, desired_seen, report_sent);
        Self { desired, report, ended: tokio::spawn(actor.run()) }
    }
}
