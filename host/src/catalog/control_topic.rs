//! Sandbar's own topics: they are created with the settings that Sandbar relies on, and refused with others.

use tracing::info;

use crate::model::names::{ClusterName, TopicName};
use crate::ports::{Log, LogError, NewTopic};

use super::error::CatalogError;
use super::modules::PARTITIONS;

/// A compacted topic of the cluster.
pub fn compacted(cluster: &ClusterName, name: &str, partitions: i32) -> NewTopic {
    NewTopic { name: cluster.control_topic(name), partitions, compacted: true, retention: None }
}

/// The topics of deployments and of modules.
pub fn control_topics(cluster: &ClusterName) -> [NewTopic; 2] {
    [compacted(cluster, "deployments", 1), compacted(cluster, "modules", PARTITIONS)]
}

/// The transactional id of whoever changes the catalog.
pub fn writer_id(cluster: &ClusterName) -> String {
    format!("sandbar.{cluster}.ctl")
}

/// Creates a control topic where it is missing; one that is there must fit.
pub fn ensure_topic(log: &dyn Log, wanted: NewTopic) -> Result<TopicName, CatalogError> {
    if let Err(LogError::NoTopic(_)) = log.topic(&wanted.name) {
        info!(topic = %wanted.name, partitions = wanted.partitions, "creating control topic");
        log.create_topic(&wanted)?;
    }
    check_topic(log, &wanted.name, wanted.partitions, wanted.retention.is_none())?;
    Ok(wanted.name)
}

/// Checks that a control topic has the settings that Sandbar relies on. With `for_ever`, nothing in it is deleted by age.
pub fn check_topic(log: &dyn Log, topic: &TopicName, partitions: i32, for_ever: bool) -> Result<(), CatalogError> {
    let problem = match log.topic(topic) {
        Err(LogError::NoTopic(_)) => "does not exist any more".to_owned(),
        Err(error) => return Err(error.into()),
        Ok(info) if info.partitions != partitions => format!("has {} partitions, not {partitions}", info.partitions),
        Ok(info) if for_ever && info.compacted == Some(false) => "does not have cleanup.policy=compact".to_owned(),
        Ok(_) => return Ok(()),
    };
    Err(CatalogError::Topic { topic: topic.clone(), problem })
}
