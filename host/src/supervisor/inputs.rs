//! One look at the inputs of all transforms that run here, every few seconds: their ids and numbers of partitions, and the
//! ends of partitions that workers do not fetch.
//!
//! Owned by the supervisor; actors name their inputs to it, and read its last result. With one request a look, a host asks
//! as often with hundreds of transforms as with one. Teams with rights of their own are looked after one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::model::names::{TeamName, TopicName, TransformId};
use crate::ports::{Log, LogError, PartitionEnds, TopicSize};

use super::log_watch::{Owner, ask_for_ever, log_of_owner};

/// A new partition is found after so long, and worked on within 10 s.
const LOOK_INTERVAL: Duration = Duration::from_secs(4);

/// Topics as they were at the last look.
pub type Sizes = Arc<BTreeMap<TopicName, TopicSize>>;

/// Partitions by topic and number.
pub type PartitionSet = BTreeSet<(TopicName, i32)>;

/// A question of one owner.
#[derive(Debug, Default, PartialEq)]
struct Question {
    topics: BTreeSet<TopicName>,
    /// The partitions whose ends are asked for.
    waiting: PartitionSet,
}

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
    pub async fn look_for_ever(self, log: Arc<dyn Log>, shutdown: watch::Receiver<bool>) {
        let own = self.clone();
        let teams_log = log.clone();
        let next_questions = move || own.questions(|team| teams_log.of_team(team).is_some());
        let ask = move |owner: &Owner, question: Question| -> Result<(), LogError> {
            let looked = self.look(&*log_of_owner(&log, owner), owner, question);
            self.count.fetch_add(1, Ordering::Relaxed);
            looked
        };
        ask_for_ever(LOOK_INTERVAL, next_questions, ask, shutdown).await;
    }

    /// One question for each owner of inputs that are read now. Forgets the looks of other owners.
    fn questions(&self, has_own: impl Fn(&TeamName) -> bool) -> BTreeMap<Owner, Question> {
        let read = self.read.lock().clone();
        let teams: BTreeSet<TeamName> = read.keys().map(|id| id.team.clone()).collect();
        let owners: BTreeSet<TeamName> = teams.into_iter().filter(|team| has_own(team)).collect();
        let owner_of = |id: &TransformId| owners.get(&id.team).cloned();
        let mut questions: BTreeMap<Owner, Question> = BTreeMap::new();
        for (id, topics) in read {
            questions.entry(owner_of(&id)).or_default().topics.extend(topics);
        }
        for (id, waiting) in self.waiting.lock().iter() {
            if let Some(question) = questions.get_mut(&owner_of(id)) {
                question.waiting.extend(waiting.iter().cloned());
            }
        }
        self.looks.lock().retain(|owner, _| questions.contains_key(owner));
        questions
    }

    fn look(&self, log: &dyn Log, owner: &Owner, question: Question) -> Result<(), LogError> {
        let topics: Vec<TopicName> = question.topics.into_iter().collect();
        let sizes = Arc::new(log.sizes(&topics)?);
        self.looks.lock().entry(owner.clone()).or_default().sizes = sizes;
        let waiting: Vec<(TopicName, i32)> = question.waiting.into_iter().collect();
        let ends = if waiting.is_empty() { PartitionEnds::default() } else { log.ends(&waiting)? };
        self.looks.lock().entry(owner.clone()).or_default().ends = ends;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_owner_is_asked_about_its_own_inputs() {
        let watch = InputWatch::default();
        let id = |name: &str| -> TransformId { name.parse().expect("valid") };
        let topic = |name: &str| -> TopicName { name.parse().expect("valid") };
        for (name, inputs) in [("own/a", ["x", "y"]), ("shop/a", ["x", "z"]), ("web/a", ["z", "w"])] {
            watch.add(&id(name), &inputs.map(topic));
        }
        watch.set_waiting(&id("own/a"), BTreeSet::from([(topic("y"), 1)]));
        watch.set_waiting(&id("web/a"), BTreeSet::from([(topic("z"), 0)]));
        let own: Owner = Some("own".parse().expect("valid"));
        watch.looks.lock().extend([(own.clone(), Look::default()), (None, Look::default())]);
        let asked = |watch: &InputWatch| watch.questions(|team| team.as_str() == "own");
        let question = |topics: &[&str], waiting: (TopicName, i32)| Question {
            topics: topics.iter().map(|name| topic(name)).collect(),
            waiting: BTreeSet::from([waiting]),
        };
        let others = question(&["w", "x", "z"], (topic("z"), 0));
        let expected = BTreeMap::from([(own.clone(), question(&["x", "y"], (topic("y"), 1))), (None, others)]);
        assert_eq!(asked(&watch), expected);
        watch.forget(&id("own/a"));
        assert_eq!(asked(&watch).into_keys().collect::<Vec<_>>(), [Owner::None]);
        assert_eq!(watch.looks.lock().keys().cloned().collect::<Vec<_>>(), [Owner::None], "its look is forgotten as well");
    }
}
