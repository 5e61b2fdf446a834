//! Runs the transforms on this host that the catalog desires.
//!
//! One actor (a tokio task) per transform, so that a slow compile or a slow stop of one holds up no other. Each
//! compares desired with running through [`plan`], a pure function, and does the one action that it names.
//!
//! Invariants: at most one set of workers per transform runs on a host, since they share transactional ids; a
//! revision is prepared (fetched, compiled, instantiated) while the one before goes on, and the workers swap it in
//! themselves; they are stopped and started again only where their place in the group changes (other inputs, another
//! delivery, another number of them).

mod actor;
mod begin;
mod error;
mod inputs;
mod inspection;
mod log_watch;
mod membership;
mod newest;
mod parts;
mod places;
mod plan;
mod prepare;
mod presence;
mod report;
mod rest_watch;
mod run;
mod start;
mod upkeep;
mod workers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

pub use parts::{Parts, Spawn};

use crate::catalog::Deployments;
use crate::cluster::Cluster;
use crate::model::clock::Monotonic;
use crate::model::names::TransformId;
use crate::model::revision::Deployment;
use crate::model::status::{State, TransformStatus};
use crate::worker::{Command, LookUp};

use actor::Actor;
use inputs::InputWatch;
use places::Places;
use report::Report;

/// Time between two looks at the places of this host.
const PLACES_INTERVAL: Duration = Duration::from_secs(1);
/// Longest time of a look into a store: its worker may be in a call of its guest.
const LOOK_UP_WAIT: Duration = Duration::from_secs(6);

/// The handle: asks how the running transforms are doing. Cloning shares it.
#[derive(Clone)]
pub struct Supervisor {
    actors: Arc<Mutex<BTreeMap<TransformId, ActorHandle>>>,
    places: Arc<Mutex<Places>>,
    inputs: InputWatch,
}

struct ActorHandle {
    desired: watch::Sender<Option<Deployment>>,
    report: watch::Receiver<Report>,
    ended: tokio::task::JoinHandle<()>,
}

impl Supervisor {
    /// Follows the catalog, and the places of this host in the cluster, until `shutdown` becomes true; then stops every
    /// worker and returns. Without a cluster, this host runs all transforms.
    pub fn start(
        parts: Parts,
        cluster: Option<Arc<Cluster>>,
        mut shutdown: watch::Receiver<bool>,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let places = Arc::new(Mutex::new(Places::new(cluster, &parts.host)));
        let supervisor = Self { actors: Arc::default(), places, inputs: InputWatch::default() };
        tokio::spawn(supervisor.inputs.clone().look_for_ever(parts.log.clone(), shutdown.clone()));
        tokio::spawn(rest_watch::watch_for_ever(parts.rests.clone(), parts.log.clone(), shutdown.clone()));
        let own = supervisor.clone();
        let pass_changes_on = async move {
            let mut deployments = parts.catalog.watch();
            loop {
                let desired = deployments.borrow_and_update().clone();
                own.pass_on(&desired, &parts);
                tokio::select! {
                    changed = deployments.changed() => if changed.is_err() { break },
                    () = tokio::time::sleep(PLACES_INTERVAL) => {}
                    _ = shutdown.wait_for(|&down| down) => break,
                }
            }
            own.stop_all().await;
        };
        (supervisor, tokio::spawn(pass_changes_on))
    }

    /// Tells each actor the deployment that its host is to run, or that it runs none. A transform gets its actor when it
    /// first has its place here.
    fn pass_on(&self, desired: &Deployments, parts: &Parts) {
        let now = Monotonic::now();
        let mut places = self.places.lock();
        let mut actors = self.actors.lock();
        places.look(now);
        for (id, deployment) in desired.iter() {
            let work = actors.get(id).map_or_else(Default::default, |handle| handle.report.borrow().work());
            let is_here = places.is_here(deployment, work, now);
            if !is_here && actors.get(id).is_none_or(ActorHandle::is_over) {
                // Dropped, the actor ends.
                actors.remove(id);
                continue;
            }
            let handle = actors
                .entry(id.clone())
                .or_insert_with(|| ActorHandle::spawn(id.clone(), parts.clone(), self.inputs.clone()));
            let wanted = is_here.then_some(deployment);
            handle.desired.send_if_modified(|current| {
                let is_news = current.as_ref() != wanted;
                if is_news {
                    *current = wanted.cloned();
                }
                is_news
            });
        }
        parts.metrics.places.set(places.counts());
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

    /// Looks up the committed value of a key in a store, where a worker of this host has that partition number's state.
    /// Blocks for as long as the worker's turn takes.
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

    /// The status of a transform that this host runs, or knows why it does not; None also of one that it does not run any
    /// more.
    pub fn status(&self, id: &TransformId) -> Option<TransformStatus> {
        let hosts_wanted = self.places.lock().hosts_wanted(id);
        let status = self.actors.lock().get(id)?.report.borrow().status(id);
        (status.state != State::Stopped).then_some(TransformStatus { hosts_wanted, ..status })
    }

    /// Every transform that this host runs, or knows why it does not.
    pub fn statuses(&self) -> Vec<TransformStatus> {
        let places = self.places.lock();
        let actors = self.actors.lock();
        let of_actor = |(id, handle): (&TransformId, &ActorHandle)| {
            let status = handle.report.borrow().status(id);
            TransformStatus { hosts_wanted: places.hosts_wanted(id), ..status }
        };
        actors.iter().map(of_actor).filter(|status| status.state != State::Stopped).collect()
    }
}

impl ActorHandle {
    fn spawn(id: TransformId, parts: Parts, inputs: InputWatch) -> Self {
        let (desired, desired_seen) = watch::channel(None);
        let (report_sent, report) = watch::channel(Report::new(&parts.host));
        let actor = Actor::new(id, parts, inputs, desired_seen, report_sent);
        Self { desired, report, ended: tokio::spawn(actor.run()) }
    }

    /// Returns true if it has nothing to run, and knows that.
    fn is_over(&self) -> bool {
        let report = self.report.borrow();
        self.desired.borrow().is_none() && report.state == State::Stopped && report.workers.is_empty()
    }
}
