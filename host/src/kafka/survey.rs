//! A look at a cluster with the rights of one principal, for `sandbar doctor`: its brokers with their settings, and Sandbar's
//! own topics with their settings and the rights over them. It changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::admin::ResourceSpecifier;
use rdkafka::metadata::{Metadata, MetadataTopic};

use super::config::SESSION_TIMEOUT;
use super::error::unavailable;
use super::log::KafkaLog;
use super::raw::{Right, describe_topics};
use super::retry::asked_again;
use crate::model::names::{TeamName, TopicName};
use crate::ports::{LogError, NewTopic};

/// Names and values. `None`: the principal may not ask.
type Settings = Option<BTreeMap<String, String>>;

/// The brokers and topics of a cluster, as one principal sees them.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    pub brokers: Vec<BrokerSurvey>,
    pub topics: BTreeMap<TopicName, TopicSurvey>,
    /// Kafka's own topics that can be seen: the replicas of the partition that has the fewest.
    pub kafka_topics: BTreeMap<String, usize>,
}

#[derive(Debug, Clone)]
pub struct BrokerSurvey {
    pub id: i32,
    pub settings: Settings,
}

#[derive(Debug, Clone)]
pub enum TopicSurvey {
    /// There is no such topic. The result is that of a request to create it, which brokers only check.
    Missing(Result<(), LogError>),
    Present(PresentTopic),
}

#[derive(Debug, Clone, Default)]
pub struct PresentTopic {
    pub partitions: usize,
    /// Replicas of the partition that has the fewest.
    pub replicas: usize,
    /// Partitions without a leader: nobody can read or write them.
    pub leaderless: usize,
    /// Partitions with replicas that are not in sync.
    pub under_replicated: usize,
    pub settings: Settings,
    pub rights: BTreeSet<Right>,
}

impl KafkaLog {
    /// Looks at the brokers, and at these topics. Blocks for some exchanges with the cluster.
    pub fn survey(&self, topics: &[NewTopic]) -> Result<Survey, LogError> {
        self.reach()?;
        let metadata = self.topics.metadata(None)?;
        let brokers = metadata.brokers().iter().map(|broker| self.broker(broker.id())).collect::<Result<_, _>>()?;
        let topics = topics.iter().map(|topic| Ok((topic.name.clone(), self.survey_topic(&metadata, topic)?)));
        let topics = topics.collect::<Result<_, LogError>>()?;
        let of_kafka = metadata.topics().iter().filter(|topic| is_seen(topic) && topic.name().starts_with("__"));
        let kafka_topics = of_kafka.map(|topic| (topic.name().to_owned(), PresentTopic::of(topic).replicas)).collect();
        Ok(Survey { brokers, topics, kafka_topics })
    }

    /// Waits until a broker answers and lets the principal in, for the time of one call at most.
    pub fn reach(&self) -> Result<(), LogError> {
        self.topics.wait_reachable(None, &mut || false)
    }

    /// Does the same with the credentials of a team.
    pub fn reach_as(&self, team: &TeamName) -> Result<(), LogError> {
        match self.connection.of_team(team) {
            Some(connection) => Self::on(connection).reach(),
            None => self.reach(),
        }
    }

    /// The session timeout of workers.
    pub fn session_timeout(&self) -> Duration {
        self.connection.session_timeout().unwrap_or(SESSION_TIMEOUT)
    }

    fn broker(&self, id: i32) -> Result<BrokerSurvey, LogError> {
        Ok(BrokerSurvey { id, settings: self.topics.configs(&ResourceSpecifier::Broker(id))? })
    }

    fn survey_topic(&self, metadata: &Metadata, wanted: &NewTopic) -> Result<TopicSurvey, LogError> {
        let name = wanted.name.as_str();
        let found = metadata.topics().iter().find(|topic| topic.name() == name);
        let Some(found) = found.filter(|topic| is_seen(topic)) else {
            return Ok(TopicSurvey::Missing(self.topics.check_creation(wanted)));
        };
        let admin = self.topics.admin()?;
        let described = asked_again(|left| describe_topics(admin.inner(), &[name], true, left)).map_err(unavailable)?;
        let rights = described.into_iter().next().map(|topic| topic.rights).unwrap_or_default();
        let settings = self.topics.configs(&ResourceSpecifier::Topic(name))?;
        Ok(TopicSurvey::Present(PresentTopic { settings, rights, ..PresentTopic::of(found) }))
    }
}

fn is_seen(topic: &MetadataTopic) -> bool {
    topic.error().is_none() && !topic.partitions().is_empty()
}

impl PresentTopic {
    fn of(topic: &MetadataTopic) -> Self {
        let partitions = topic.partitions();
        Self {
            partitions: partitions.len(),
            replicas: partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or(0),
            leaderless: partitions.iter().filter(|partition| partition.leader() < 0).count(),
            under_replicated: partitions.iter().filter(|found| found.isr().len() < found.replicas().len()).count(),
            ..Self::default()
        }
    }
}
