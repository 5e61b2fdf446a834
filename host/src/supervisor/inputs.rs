//! One look at the inputs of all transforms that run here, every few seconds: their ids and numbers of partitions, and the
//! ends of partitions that workers do not fetch.
//!
//! Owned by the supervisor; actors name their inputs to it, and read its last result. With one request a look, a host asks
//! as often with hundreds of transforms as with one. Teams with rights of their own are looked after one by one, and side by
//! side: brokers that let one team wait hold up no other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::model::names::{TeamName, TopicName, TransformId};
use crate::ports::{Log, LogError, PartitionEnds, TopicSize};

/// A new partition is found after so long, and worked on within 10 s.
const LOOK_INTERVAL: Duration = Duration::from_secs(4);

/// Topics as they were at the last look.
pub type Sizes = Arc<BTreeMap<TopicName, TopicSize>>;

/// Partitions by topic and number.
pub type PartitionSet = BTreeSet<(TopicName, i32)>;

/// The team with whose rights inputs are looked at; None: the host, for all teams that have none.
type Owner = Option<TeamName>;

/// The last look of one owner.
#[derive(Clone, Default)]
struct Look {
    sizes: Sizes,
    ends: PartitionEnds,
}

/// The inputs of all transforms that run here, and the last look at them. Cloning shares it.
#[derive(Clone, Default)]
pub struct InputWatch {
    read: Arc<Mutex<BTreeMap<TransformId, Vec<TopicName>>>>,
    looks: Arc<Mutex<BTreeMap<Owner, Look>>>,
    /// The owners whose look has not ended.
    under_way: Arc<Mutex<BTreeSet<Owner>>>,
    /// The number of looks that have ended.
    count: Arc<AtomicU64>,
    /// The partitions of each transform that wait.
    waiting: Arc<Mutex<BTreeMap<TransformId, PartitionSet>>>,
}

impl InputWatch {
    /// From now on these topics are looked at.
    pub fn add(&self, id: &TransformId, topics: &[TopicName]) {
        self.read.lock().insert(id.clone(), topics.to_vec());
    }

    pub fn forget(&self, id: &TransformId) {
        self.read.lock().remove(id);
        self.waiting.lock().remove(id);
    }

    /// The number of looks so far.
    pub fn looks(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// From now on the ends of these partitions of a transform are looked at, and of no others.
    pub fn set_waiting(&self, id: &TransformId, partitions: PartitionSet) {
        let mut waiting = self.waiting.lock();
        if partitions.is_empty() {
            waiting.remove(id);
        } else {
            waiting.insert(id.clone(), partitions);
        }
    }

    /// The ends of a team's partitions that wait, as they were at the last look.
    pub fn ends(&self, team: &TeamName) -> PartitionEnds {
        self.look_of(team).ends
    }

    /// A team's topics as they were last; one that was not found is left out.
    pub fn sizes(&self, team: &TeamName, topics: &[TopicName]) -> BTreeMap<TopicName, TopicSize> {
        let all = self.look_of(team).sizes;
        topics.iter().filter_map(|topic| Some((topic.clone(), all.get(topic)?.clone()))).collect()
    }

    fn look_of(&self, team: &TeamName) -> Look {
        let looks = self.looks.lock();
        let of_team = looks.get(&Some(team.clone())).or_else(|| looks.get(&None));
        of_team.cloned().unwrap_or_default()
    }

    /// Looks until `shutdown` becomes true.
    pub async fn look_for_ever(self, log: Arc<dyn Log>, mut shutdown: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                _ = shutdown.wait_for(|&down| down) => return,
            }
            for owner in self.owners(&*log) {
                if self.under_way.lock().insert(owner.clone()) {
                    tokio::spawn(self.clone().look_once(log.clone(), owner));
                }
            }
        }
    }

    async fn look_once(self, log: Arc<dyn Log>, owner: Owner) {
        let watch = self.clone();
        let of = owner.clone();
        let looked = spawn_blocking(move || {
            let own = of.as_ref().and_then(|team| log.of_team(team));
            watch.look(own.as_deref().unwrap_or(&*log), &of)
        });
        match looked.await {
            Ok(Ok(())) => {}
            // The brokers are away, or refuse; workers say so.
            Ok(Err(error)) => tracing::debug!(?owner, %error, "the inputs could not be looked at"),
            Err(error) => tracing::error!(%error, "looking at inputs failed: this is a bug"),
        }
        self.under_way.lock().remove(&owner);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// The owners of the inputs that are read now. Forgets the looks of others.
    fn owners(&self, log: &dyn Log) -> BTreeSet<Owner> {
        let teams: BTreeSet<TeamName> = self.read.lock().keys().map(|id| id.team.clone()).collect();
        let owners: BTreeSet<Owner> = teams.into_iter().map(|team| log.of_team(&team).map(|_| team)).collect();
        self.looks.lock().retain(|owner, _| owners.contains(owner));
        owners
    }

    fn look(&self, log: &dyn Log, owner: &Owner) -> Result<(), LogError> {
        let is_own = |id: &TransformId| owner.as_ref().is_none_or(|team| *team == id.team);
        let own = |(id, topics)| is_own(id).then_some(topics);
        let topics: BTreeSet<TopicName> = self.read.lock().iter().filter_map(own).flatten().cloned().collect();
        let topics: Vec<TopicName> = topics.into_iter().collect();
        let sizes = Arc::new(log.sizes(&topics)?);
        self.looks.lock().entry(owner.clone()).or_default().sizes = sizes;
        let own = |(id, waiting)| is_own(id).then_some(waiting);
        let waiting: PartitionSet = self.waiting.lock().iter().filter_map(own).flatten().cloned().collect();
        let waiting: Vec<(TopicName, i32)> = waiting.into_iter().collect();
        let ends = if waiting.is_empty() { PartitionEnds::default() } else { log.ends(&waiting)? };
        self.looks.lock().entry(owner.clone()).or_default().ends = ends;
        Ok(())
    }
}
