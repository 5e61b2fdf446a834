//! One look at the inputs of all transforms that run here, every few seconds: their ids and numbers of partitions, and the
//! ends of partitions that workers do not fetch.
//!
//! Owned by the supervisor; actors name their inputs to it, and read its last result. With one request a look, a host asks
//! as often with hundreds of transforms as with one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::model::names::{TopicName, TransformId};
use crate::ports::{Log, LogError, PartitionEnds, TopicSize};

/// A new partition is found after so long, and worked on within 10 s.
const LOOK_INTERVAL: Duration = Duration::from_secs(4);

/// Topics as they were at the last look.
pub type Sizes = Arc<BTreeMap<TopicName, TopicSize>>;

/// Partitions by topic and number.
pub type PartitionSet = BTreeSet<(TopicName, i32)>;

/// See the module. Cloning shares it.
#[derive(Clone, Default)]
pub struct InputWatch {
    read: Arc<Mutex<BTreeMap<TransformId, Vec<TopicName>>>>,
    sizes: Arc<Mutex<Sizes>>,
    /// The partitions of each transform that wait.
    waiting: Arc<Mutex<BTreeMap<TransformId, PartitionSet>>>,
    ends: Arc<Mutex<PartitionEnds>>,
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

    /// From now on the ends of these partitions of a transform are looked at, and of no others.
    pub fn set_waiting(&self, id: &TransformId, partitions: PartitionSet) {
        let mut waiting = self.waiting.lock();
        if partitions.is_empty() {
            waiting.remove(id);
        } else {
            waiting.insert(id.clone(), partitions);
        }
    }

    /// The ends of partitions that wait, as they were at the last look.
    pub fn ends(&self) -> PartitionEnds {
        self.ends.lock().clone()
    }

    /// These topics as they were last; one that was not found is left out.
    pub fn sizes(&self, topics: &[TopicName]) -> BTreeMap<TopicName, TopicSize> {
        let all = self.sizes.lock().clone();
        topics.iter().filter_map(|topic| Some((topic.clone(), all.get(topic)?.clone()))).collect()
    }

    /// Looks until `shutdown` becomes true.
    pub async fn look_for_ever(self, log: Arc<dyn Log>, mut shutdown: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                _ = shutdown.wait_for(|&down| down) => return,
            }
            let watch = self.clone();
            let log = log.clone();
            match spawn_blocking(move || watch.look(&*log)).await {
                Ok(Ok(())) => {}
                // The brokers are away; workers say so.
                Ok(Err(error)) => tracing::debug!(%error, "the inputs could not be looked at"),
                Err(error) => tracing::error!(%error, "looking at inputs failed: this is a bug"),
            }
        }
    }

    fn look(&self, log: &dyn Log) -> Result<(), LogError> {
        let topics: BTreeSet<TopicName> = self.read.lock().values().flatten().cloned().collect();
        let topics: Vec<TopicName> = topics.into_iter().collect();
        let sizes = Arc::new(log.sizes(&topics)?);
        *self.sizes.lock() = sizes;
        let waiting: PartitionSet = self.waiting.lock().values().flatten().cloned().collect();
        let waiting: Vec<(TopicName, i32)> = waiting.into_iter().collect();
        let ends = if waiting.is_empty() { PartitionEnds::default() } else { log.ends(&waiting)? };
        *self.ends.lock() = ends;
        Ok(())
    }
}
