//! Topics of the cluster: listed, described and created, through the administration client of the rdkafka crate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::admin::{AdminOptions, NewTopic as RdNewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;
use rdkafka::types::RDKafkaErrorCode;

use super::admin::{self, Admin};
use super::code::code;
use super::config::{CALL_TIMEOUT, OPEN_LOOK, RECORD_BYTES_MAX};
use super::credentials::Connection;
use super::error::{crate_unavailable, none_refused, of_configs, of_creation, of_metadata, of_watermarks, unavailable};
use super::raw::{TopicDescription, describe_topics, writers_of};
use super::retry::{asked_again, led_after};
use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::ports::{LogError, NewTopic, TopicInfo, TopicSize};

/// Largest record that a topic takes by the default of Kafka (`message.max.bytes`), less the batch's own header.
const RECORD_BYTES_DEFAULT: usize = 1_048_588 - BATCH_HEADER_BYTES;
/// More than the header of a batch, and of a record in it, may take.
const BATCH_HEADER_BYTES: usize = 1024;
/// Replicas of a topic that Sandbar creates, where there are as many brokers; fewer brokers have one each.
const REPLICAS_MAX: usize = 3;
/// `min.insync.replicas` of a topic with [`REPLICAS_MAX`] replicas: one broker may be down, and an acknowledged record is on
/// two.
const IN_SYNC_MIN: &str = "2";
/// `segment.bytes` of a compacted topic of Sandbar's own. Kafka compacts no segment that is written to, and its default of
/// 1 GiB would keep every change of a small store. Kafka Streams' changelogs have 50 MiB, too.
const SEGMENT_BYTES: &str = "52428800";
/// The principal of an ACL for all.
const EVERYBODY: &str = "User:*";
/// Between two looks at whether a created topic is known.
const CREATED_LOOK: Duration = Duration::from_millis(20);

pub(super) struct Topics {
    admin: Admin,
}

impl Topics {
    pub fn new(connection: Connection) -> Self {
        Self { admin: Admin::new(connection) }
    }

    pub fn admin(&self) -> Result<Arc<admin::Client>, LogError> {
        self.admin.client()
    }

    pub fn options(timeout: Duration) -> AdminOptions {
        AdminOptions::new().request_timeout(Some(timeout)).operation_timeout(Some(timeout))
    }

    /// The topic with its settings, or [`LogError::NoTopic`].
    pub fn info(&self, name: &TopicName) -> Result<TopicInfo, LogError> {
        let partitions = self.partitions(name)?;
        let settings = self.settings(name)?;
        let size = self.sizes(std::slice::from_ref(name))?.remove(name);
        let id = size.map(|size| size.id).filter(|id| !id.is_empty());
        Ok(TopicInfo { id, ..settings.info(partitions) })
    }

    /// All topics except Kafka's own. Their settings are not asked for.
    pub fn list(&self) -> Result<Vec<(TopicName, TopicInfo)>, LogError> {
        let metadata = self.metadata(None)?;
        let topics = metadata.topics().iter().filter_map(|topic| {
            let name: TopicName = topic.name().parse().ok()?;
            let info = Settings::default().info(topic.partitions().len() as i32);
            (!name.as_str().starts_with("__")).then_some((name, info))
        });
        Ok(topics.collect())
    }

    pub fn partitions(&self, name: &TopicName) -> Result<i32, LogError> {
        let metadata = self.metadata(Some(name))?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == name.as_str());
        if let Some(error) = topic.and_then(|topic| topic.error()) {
            return Err(of_metadata(name, error.into()));
        }
        match topic.map_or(0, |topic| topic.partitions().len()) {
            0 => Err(LogError::NoTopic(name.to_string())),
            partitions => Ok(partitions as i32),
        }
    }

    pub fn sizes(&self, names: &[TopicName]) -> Result<BTreeMap<TopicName, TopicSize>, LogError> {
        let topics: Vec<&str> = names.iter().map(TopicName::as_str).collect();
        let admin = self.admin()?;
        let described = asked_again(|left| describe_topics(admin.inner(), &topics, false, left)).map_err(unavailable)?;
        let size = |topic: TopicDescription| {
            let name = topic.topic.parse().ok()?;
            // A topic that is being made has none yet.
            (topic.partitions > 0).then_some((name, TopicSize { id: topic.id, partitions: topic.partitions }))
        };
        Ok(described.into_iter().filter_map(size).collect())
    }

    /// See [`crate::ports::Log::foreign_writers`]. A host that shows a certificate does not know the name that brokers give
    /// it: with one writer, it is that one.
    pub fn foreign_writers(&self, topic: &TopicName, user: Option<&str>) -> Result<Option<BTreeSet<String>>, LogError> {
        let admin = self.admin()?;
        let mut writers = match asked_again(|left| writers_of(admin.inner(), topic.as_str(), left)) {
            Ok(writers) => writers,
            Err(error) if code(error.code) == Code::Unauthorized => return Ok(None),
            Err(error) => return Err(unavailable(error)),
        };
        let is_everybody = writers.contains(EVERYBODY);
        match user {
            Some(user) => drop(writers.remove(&format!("User:{user}"))),
            None if writers.len() == 1 && !is_everybody => writers.clear(),
            None => {}
        }
        Ok(Some(writers))
    }

    /// Waits until a broker answers, for the time of one call at most. It gives up soon after `is_stopped` returns true.
    pub fn wait_reachable(&self, topic: Option<&TopicName>, is_stopped: &mut dyn FnMut() -> bool) -> Result<(), LogError> {
        let deadline = Instant::now() + CALL_TIMEOUT;
        let admin = self.admin()?;
        loop {
            let asked = admin.inner().fetch_metadata(topic.map(TopicName::as_str), OPEN_LOOK);
            match self.admin.answered(&admin, asked) {
                // To wait does not help.
                Err(error @ (LogError::Unauthorized(_) | LogError::NoToken(_))) => return Err(error),
                Err(error) if Instant::now() > deadline || is_stopped() => return Err(error),
                Err(_) => {}
                Ok(_) => return Ok(()),
            }
        }
    }

    /// The smallest limit of these topics, as far as it is known: a topic that is gone keeps nobody from writing the others.
    pub fn least_record_bytes_max(&self, topics: &[TopicName]) -> usize {
        let mut least = usize::MAX;
        for topic in topics {
            match self.info(topic) {
                Ok(info) => least = least.min(info.record_bytes_max),
                Err(LogError::NoTopic(_) | LogError::Full(_) | LogError::Refused(_) | LogError::Unauthorized(_)) => {}
                // Each of the others would take a time-out, too, or fail alike.
                Err(LogError::Unavailable(_) | LogError::NoToken(_) | LogError::Properties { .. }) => break,
            }
        }
        least
    }

    /// First offset and end of a partition, as a read_committed client sees it: the last stable offset.
    pub fn offsets(&self, topic: &TopicName, partition: i32) -> Result<(i64, i64), LogError> {
        let admin = self.admin()?;
        let ask = || {
            let fetch = || admin.inner().fetch_watermarks(topic.as_str(), partition, CALL_TIMEOUT);
            let ends = led_after(fetch, || drop(self.metadata(Some(topic))));
            ends.map_err(|error| of_watermarks(topic, &error))
        };
        match ask() {
            // The client believes that for long, also where the topic was made meanwhile, unless it is asked about it.
            Err(LogError::NoTopic(_)) => self.partitions(topic).and_then(|_| ask()),
            answer => answer,
        }
    }

    /// Creates a topic, unless it is there, and waits until brokers know it.
    pub fn create(&self, topic: &NewTopic) -> Result<(), LogError> {
        if let Some(code) = self.ask_for(topic, false)? {
            of_creation(&topic.name, code)?;
        }
        // A topic that was just created is not at once known to every broker, nor to every question about it.
        let deadline = Instant::now() + CALL_TIMEOUT;
        loop {
            match self.info(&topic.name) {
                Err(LogError::NoTopic(_)) if Instant::now() < deadline => std::thread::sleep(CREATED_LOOK),
                found => return found.map(drop),
            }
        }
    }

    /// Asks if a topic that cannot be seen could be created, and does not create it.
    pub fn check_creation(&self, topic: &NewTopic) -> Result<(), LogError> {
        match self.ask_for(topic, true)? {
            None => Ok(()),
            Some(RDKafkaErrorCode::TopicAlreadyExists) => {
                Err(LogError::Unauthorized(format!("topic {} is there, and must not be seen", topic.name)))
            }
            Some(code) => of_creation(&topic.name, code),
        }
    }

    /// The broker's refusal, if it refused. With `only_checked` brokers create nothing.
    fn ask_for(&self, topic: &NewTopic, only_checked: bool) -> Result<Option<RDKafkaErrorCode>, LogError> {
        // The answer about one topic names all brokers too, and is small among thousands of topics.
        let brokers = self.metadata(Some(&topic.name))?.brokers().len();
        let retention = topic.retention.map(|time| [time, time / 6].map(|time| time.as_millis().to_string()));
        let new = creation(topic, brokers, retention.as_ref());
        let admin = self.admin()?;
        let options = |left| Self::options(left).validate_only(only_checked);
        let create = |left| none_refused(block_on(admin.create_topics([&new], &options(left)))?);
        match asked_again(create) {
            Ok(()) => Ok(None),
            Err(KafkaError::AdminOp(code)) => Ok(Some(code)),
            Err(error) => Err(crate_unavailable(&error)),
        }
    }

    pub fn metadata(&self, topic: Option<&TopicName>) -> Result<Metadata, LogError> {
        let admin = self.admin()?;
        let asked = admin.inner().fetch_metadata(topic.map(TopicName::as_str), CALL_TIMEOUT);
        self.admin.answered(&admin, asked)
    }

    /// The settings of a broker or a topic by their names. None: the principal may not ask.
    pub fn configs(&self, of: &ResourceSpecifier<'_>) -> Result<Option<BTreeMap<String, String>>, LogError> {
        let admin = self.admin()?;
        let asked = asked_again(|left| block_on(admin.describe_configs([of], &Self::options(left))));
        match asked.map_err(|error| crate_unavailable(&error))?.into_iter().next() {
            Some(Ok(resource)) => {
                Ok(Some(resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect()))
            }
            Some(Err(refused)) => of_configs(of, refused),
            None => Ok(None),
        }
    }

    /// Without the right to describe a topic's settings, none are known.
    fn settings(&self, name: &TopicName) -> Result<Settings, LogError> {
        let settings = self.configs(&ResourceSpecifier::Topic(name.as_str()))?.unwrap_or_default();
        let setting = |name: &str| settings.get(name).cloned();
        // -1, for ever, is no number of milliseconds.
        let time = |name| setting(name).and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
        Ok(Settings {
            message_bytes_max: setting("max.message.bytes").and_then(|value| value.parse().ok()),
            cleanup_policy: setting("cleanup.policy"),
            retention: time("retention.ms"),
            tombstone_retention: time("delete.retention.ms"),
        })
    }
}

/// The settings of a topic, as far as they are known.
#[derive(Debug, Default)]
struct Settings {
    message_bytes_max: Option<usize>,
    cleanup_policy: Option<String>,
    retention: Option<Duration>,
    tombstone_retention: Option<Duration>,
}

impl Settings {
    fn info(self, partitions: i32) -> TopicInfo {
        let policy = self.cleanup_policy.as_deref();
        TopicInfo {
            partitions,
            record_bytes_max: self
                .message_bytes_max
                .map_or(RECORD_BYTES_DEFAULT, |bytes| bytes.saturating_sub(BATCH_HEADER_BYTES)),
            sent_bytes_max: RECORD_BYTES_MAX,
            deleted_after: policy.filter(|policy| policy.contains("delete")).and(self.retention),
            needs_keys: policy.map(|policy| policy.contains("compact")),
            compacted: policy.map(|policy| policy == "compact"),
            tombstones_kept: self.tombstone_retention,
            id: None,
        }
    }
}

/// The request for a topic. `retention`: `retention.ms` and `segment.ms`.
fn creation<'a>(topic: &'a NewTopic, brokers: usize, retention: Option<&'a [String; 2]>) -> RdNewTopic<'a> {
    let replicas = brokers.clamp(1, REPLICAS_MAX);
    let mut new = RdNewTopic::new(topic.name.as_str(), topic.partitions, TopicReplication::Fixed(replicas as i32));
    if topic.compacted {
        new = new.set("cleanup.policy", if retention.is_some() { "compact,delete" } else { "compact" });
    }
    if let Some([retention, segment]) = retention {
        // Only whole segments are dropped, and never the one that is written.
        new = new.set("retention.ms", retention).set("segment.ms", segment);
    }
    if replicas == REPLICAS_MAX {
        new = new.set("min.insync.replicas", IN_SYNC_MIN);
    }
    if topic.name.is_internal() {
        // A `ttl` counts from the timestamp that a host gives: a broker's default must not replace it.
        new = new.set("message.timestamp.type", "CreateTime");
        if topic.compacted {
            new = new.set("segment.bytes", SEGMENT_BYTES);
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_of_the_host_keeps_its_timestamps() {
        for (name, expected) in [("_sandbar.prod.state.shop.echo.s", true), ("shop.orders", false)] {
            let topic = NewTopic { name: name.parse().expect("valid"), partitions: 1, compacted: true, retention: None };
            let has = creation(&topic, 1, None).config.contains(&("message.timestamp.type", "CreateTime"));
            assert_eq!(has, expected, "{name}");
        }
    }
}
