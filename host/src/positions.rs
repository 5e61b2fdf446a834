//! Begins transforms in their inputs, and remembers outside of their consumer groups what has begun.
//!
//! | topic | partitions | key | value |
//! |---|---|---|---|
//! | `_sandbar.<cluster>.positions` | 1, compacted | `team/name` | [`Known`] as JSON, with its version |
//!
//! A group's offsets are forgotten by the log after some days without members. What a transform has begun is therefore
//! remembered here: for each input the topic's id and how many of its partitions have had an offset. Whoever is about to
//! start workers calls [`Positions::begin`] first; `plan` says what that does. Sessions give no partition an offset.
//!
//! Invariants: the memory and the first offsets that go with it are written in one transaction, by the transform's one
//! writer (a newer one fences an older), so a crash leaves both or neither; an offset that is there is never replaced,
//! unless it is one of a topic that was made anew; a record that cannot be understood is kept as it is, and its transform
//! does not begin.

mod kept;
pub(crate) mod memory;
mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::catalog::{CatalogError, MaterializedTopic, ensure_topic};
use crate::model::codes::Code;
use crate::model::names::{ClusterName, TopicName, TransformId};
use crate::model::random;
use crate::model::spec::Start;
use crate::model::units::{Backoff, Timestamp};
use crate::ports::{ExclusiveError, ExclusiveWriter, GroupOffset, Log, LogError, NewTopic, TopicSize};

pub use kept::{KEEP_ALIVE_INTERVAL, keep_groups_for_ever};
use memory::{Entry, Memory};
pub use memory::{Known, KnownInput};
use plan::{Begin, Plan};

/// How long the memory may take to be read to its end.
const SEEN_TIMEOUT: Duration = Duration::from_secs(15);
/// Between two attempts, where another host began the same at the same time.
const CONTENDED: Backoff = Backoff { first: Duration::from_millis(250), longest: Duration::from_secs(4) };
const ATTEMPTS_MAX: u32 = 6;
/// How often "no offset" is asked about: brokers have been seen to answer so for a group that had one.
const ASKED_MAX: usize = 2;
/// Between two questions about a topic that was made anew.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A failed call of [`Positions`].
#[derive(Debug, thiserror::Error)]
pub enum PositionsError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("what {topic} remembers of {id} cannot be understood ({reason}); nothing is written over it")]
    Unreadable { topic: TopicName, id: TransformId, reason: String },
    #[error("other hosts began the same transform each time that this one tried ({0})")]
    Contended(String),
    #[error("changelog topic {0} was made anew: it is not the one that the store was built from")]
    ChangelogMadeAnew(TopicName),
    /// The caller does not want it any more.
    #[error("the transform is not to run any more")]
    Unwanted,
}

impl PositionsError {
    pub fn code(&self) -> Code {
        match self {
            Self::Log(LogError::NoTopic(topic)) if topic.starts_with("_sandbar.") => Code::ControlTopic,
            Self::Log(LogError::NoTopic(_)) => Code::TopicGone,
            Self::Log(LogError::Refused(_)) => Code::LogRefused,
            Self::Log(LogError::Unavailable(_)) | Self::Unwanted => Code::LogUnavailable,
            Self::Unreadable { .. } => Code::ControlTopic,
            Self::Contended(_) => Code::Contended,
            Self::ChangelogMadeAnew(_) => Code::StateLost,
        }
    }
}

/// A transform's inputs, and its place in them.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    pub id: &'a TransformId,
    pub group: &'a str,
    pub topics: &'a [TopicName],
    /// The changelog topics of its stores, where these are to be opened: each must be the one that is remembered.
    pub changelogs: &'a [TopicName],
    pub start: &'a Start,
}

/// See the module.
pub struct Positions {
    log: Arc<dyn Log>,
    cluster: ClusterName,
    topic: TopicName,
    memory: MaterializedTopic<Memory>,
}

/// The reason for which an attempt ended.
enum Failure {
    Failed(PositionsError),
    /// Another writer took over, or nobody knows how the commit ended: the next attempt finds out.
    Again(String),
}

impl<E: Into<PositionsError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl From<ExclusiveError> for Failure {
    fn from(error: ExclusiveError) -> Self {
        match error {
            ExclusiveError::Fenced(error) | ExclusiveError::Unknown(error) => Self::Again(error),
            ExclusiveError::Log(error) => Self::Failed(error.into()),
        }
    }
}

/// Tries again where another host was faster: it gets done meanwhile, and this host sees it.
fn until_won<T>(mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, PositionsError> {
    let mut failures = 0;
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(Failure::Failed(error)) => return Err(error),
            Err(Failure::Again(error)) if failures >= ATTEMPTS_MAX => return Err(PositionsError::Contended(error)),
            Err(Failure::Again(_)) => std::thread::sleep(CONTENDED.spread(failures, random::number())),
        }
        failures += 1;
    }
}

// === impl Positions ===

impl Positions {
    /// Creates the topic where it is missing, reads it and follows it from there on.
    pub fn open(log: Arc<dyn Log>, cluster: &ClusterName) -> Result<Self, CatalogError> {
        let name = format!("_sandbar.{cluster}.positions").parse().expect("a cluster's name fits into a topic's");
        let topic = ensure_topic(&*log, NewTopic { name, partitions: 1, compacted: true, retention: None })?;
        let memory = MaterializedTopic::start(log.clone(), topic.clone(), 0, Memory::default())?;
        Ok(Self { log, cluster: cluster.clone(), topic, memory })
    }

    /// The reason for which the memory cannot be read now, if so.
    pub fn trouble(&self) -> Option<String> {
        self.memory.trouble()
    }

    /// The memory of a transform, as far as this host has seen it.
    pub fn known(&self, id: &TransformId) -> Result<Option<Known>, PositionsError> {
        match self.memory.current().get(id) {
            None => Ok(None),
            Some(Entry::Known(known)) => Ok(Some(known.clone())),
            Some(Entry::Unreadable(reason)) => {
                Err(PositionsError::Unreadable { topic: self.topic.clone(), id: id.clone(), reason: reason.clone() })
            }
        }
    }

    /// Begins what has not begun: afterwards every partition of the inputs has an offset, but those that lost theirs.
    /// Returns how many partitions of each input have had one. `is_wanted` is asked when nobody else can begin any more.
    pub fn begin(
        &self,
        inputs: Inputs<'_>,
        is_wanted: &dyn Fn() -> Result<bool, LogError>,
    ) -> Result<BTreeMap<TopicName, KnownInput>, PositionsError> {
        let (_, end_offset) = self.log.offsets(&self.topic, 0)?;
        self.see(end_offset)?;
        until_won(|| {
            let sizes = self.sizes(inputs.topics)?;
            let changelogs = self.changelog_ids(inputs.changelogs)?;
            let known = self.known(inputs.id)?;
            if let Some(known) = known.filter(|known| known.covers(&sizes) && known.has_changelogs(&changelogs)) {
                return Ok(known.inputs);
            }
            self.begin_once(inputs, &sizes, changelogs, is_wanted).map(|known| known.inputs)
        })
    }

    /// Forgets what is remembered of a transform: its spec's `start` decides again, once its group has no offsets either.
    pub fn forget(&self, id: &TransformId) -> Result<(), PositionsError> {
        until_won(|| self.forget_once(id))
    }

    fn begin_once(
        &self,
        inputs: Inputs<'_>,
        sizes: &BTreeMap<TopicName, TopicSize>,
        changelogs: BTreeMap<TopicName, String>,
        is_wanted: &dyn Fn() -> Result<bool, LogError>,
    ) -> Result<Known, Failure> {
        let Inputs { id, group, topics, start, .. } = inputs;
        let writer = self.acquire(id)?;
        if !is_wanted()? {
            return Err(PositionsError::Unwanted.into());
        }
        let known = self.known(id)?;
        if let Some(topic) = known.as_ref().and_then(|known| known.changelog_made_anew(&changelogs)) {
            return Err(PositionsError::ChangelogMadeAnew(topic.clone()).into());
        }
        self.confirm_new_topics(known.as_ref(), sizes)?;
        let committed = self.committed(group, topics, sizes)?;
        let Plan { begins, known } = plan::plan(known.as_ref(), sizes, &committed);
        let known = if changelogs.is_empty() { known } else { Known { changelogs, ..known } };
        let offsets = self.first_offsets(&begins, start)?;
        let record = memory::encode(id, &known, Timestamp::now());
        writer.commit_with_offsets(&self.topic, 0, record, group, &offsets)?;
        // It is there: if this host does not see it in time, it will soon.
        let _ = self.memory.wait_until(SEEN_TIMEOUT, |all| all.get(id) == Some(&Entry::Known(known.clone())));
        for (topic, partition, from) in &begins {
            tracing::info!(transform = %id, %topic, partition, ?from, "partition begun");
        }
        Ok(known)
    }

    /// The present ids of these topics, where they are known.
    fn changelog_ids(&self, topics: &[TopicName]) -> Result<BTreeMap<TopicName, String>, LogError> {
        if topics.is_empty() {
            return Ok(BTreeMap::new());
        }
        let sizes = self.log.sizes(topics)?;
        Ok(sizes.into_iter().filter(|(_, size)| !size.id.is_empty()).map(|(topic, size)| (topic, size.id)).collect())
    }

    /// A topic that was made anew is believed when it is seen twice: a broker that lags behind may name the old one, and
    /// then everything would be processed again.
    fn confirm_new_topics(&self, known: Option<&Known>, sizes: &BTreeMap<TopicName, TopicSize>) -> Result<(), LogError> {
        let is_other = |(topic, size): (&TopicName, &TopicSize)| {
            known.and_then(|known| known.inputs.get(topic)).is_some_and(|input| !input.is_of(&size.id))
        };
        if !sizes.iter().any(is_other) {
            return Ok(());
        }
        std::thread::sleep(ASKED_AGAIN_AFTER);
        let topics: Vec<TopicName> = sizes.keys().cloned().collect();
        let again = self.log.sizes(&topics)?;
        match sizes.iter().find(|(topic, size)| again.get(*topic).is_none_or(|again| again.id != size.id)) {
            Some((topic, _)) => Err(LogError::Unavailable(format!("brokers differ in which topic {topic} is"))),
            None => Ok(()),
        }
    }

    fn forget_once(&self, id: &TransformId) -> Result<(), Failure> {
        let writer = self.acquire(id)?;
        if self.known(id)?.is_none() {
            return Ok(());
        }
        writer.commit(&self.topic, 0, vec![memory::tombstone(id, Timestamp::now())])?;
        let _ = self.memory.wait_until(SEEN_TIMEOUT, |all| !all.contains_key(id));
        Ok(())
    }

    /// From here on nobody else writes what is remembered of this transform, or this host's commit fails; all that was
    /// written before is seen.
    fn acquire(&self, id: &TransformId) -> Result<Box<dyn ExclusiveWriter>, Failure> {
        let transactional_id = format!("sandbar.{}.{}.{}.positions", self.cluster, id.team, id.name);
        let writer = self.log.exclusive(&transactional_id)?;
        let end_offset = writer.end_offset(&self.topic, 0)?;
        self.see(end_offset)?;
        Ok(writer)
    }

    fn see(&self, end_offset: i64) -> Result<(), LogError> {
        if self.memory.wait_for(end_offset, SEEN_TIMEOUT) {
            return Ok(());
        }
        Err(LogError::Unavailable(format!("{} cannot be read to its end", self.topic)))
    }

    /// Every topic's size; all of them have to exist.
    fn sizes(&self, topics: &[TopicName]) -> Result<BTreeMap<TopicName, TopicSize>, LogError> {
        let sizes = self.log.sizes(topics)?;
        match topics.iter().find(|topic| !sizes.contains_key(*topic)) {
            Some(missing) => Err(LogError::NoTopic(missing.to_string())),
            None => Ok(sizes),
        }
    }

    fn committed(
        &self,
        group: &str,
        topics: &[TopicName],
        sizes: &BTreeMap<TopicName, TopicSize>,
    ) -> Result<BTreeSet<(TopicName, i32)>, LogError> {
        let all: i32 = sizes.values().map(|size| size.partitions).sum();
        let mut committed = BTreeSet::new();
        for _ in 0..ASKED_MAX {
            let offsets = self.log.group_offsets(group, topics)?;
            committed.extend(offsets.into_iter().map(|offset| (offset.topic, offset.partition)));
            if committed.len() as i32 >= all {
                break;
            }
        }
        Ok(committed)
    }

    fn first_offsets(&self, begins: &[(TopicName, i32, Begin)], start: &Start) -> Result<Vec<GroupOffset>, LogError> {
        let mut offsets = Vec::new();
        let places: BTreeSet<(&TopicName, Begin)> = begins.iter().map(|(topic, _, from)| (topic, *from)).collect();
        for (topic, from) in places {
            let start = if from == Begin::Start { start } else { &Start::Earliest };
            let is_wanted = |offset: &GroupOffset| begins.contains(&(topic.clone(), offset.partition, from));
            offsets.extend(self.log.start_offsets(topic, start)?.into_iter().filter(is_wanted));
        }
        if offsets.len() == begins.len() {
            return Ok(offsets);
        }
        Err(LogError::Unavailable("a broker does not know every partition of the inputs yet".into()))
    }
}
