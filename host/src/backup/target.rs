//! The cluster to restore into: it has no hosts, and nothing in its control topics.

use std::time::{Duration, Instant};

use super::error::BackupError;
use super::pages::Part;
use super::topics::ControlTopic;
use crate::model::names::{ClusterName, TopicName};
use crate::model::text::{OneLine, cut};
use crate::ports::{Log, LogError};

/// Between two looks for a sign of life.
const LOOK: Duration = Duration::from_millis(500);
const PAGE_BYTES_MAX: usize = 1 << 20;
/// Longest name of a host that is shown, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// Refuses a cluster in which a record is left. Records of aborted transactions are none.
pub fn check_empty(log: &dyn Log, cluster: &ClusterName) -> Result<(), BackupError> {
    for of in ControlTopic::ALL {
        let topic = of.topic(cluster);
        let bounds = match log.bounds(&topic) {
            Err(LogError::NoTopic(_)) => continue,
            bounds => bounds?,
        };
        for (partition, (first, end)) in (0..).zip(bounds) {
            let mut found = None;
            let part = Part { topic: &topic, partition, first, end };
            part.each(log, |record| {
                found = Some(record.offset);
                Ok(false)
            })?;
            if let Some(offset) = found {
                let message = format!("topic {topic} holds a record already (partition {partition}, offset {offset})");
                return Err(BackupError::NotEmpty(message));
            }
        }
    }
    Ok(())
}

/// Watches the status topic for longer than any host is silent, and refuses a cluster in which one is heard.
pub fn check_no_hosts(log: &dyn Log, cluster: &ClusterName, watch: Duration) -> Result<(), BackupError> {
    let topic = cluster.control_topic("status");
    let began = Instant::now();
    let mut position = end(log, &topic)?;
    loop {
        if let Some(host) = heard(log, &topic, &mut position)? {
            let host = OneLine(cut(&host, NAME_BYTES_MAX)).to_string();
            return Err(BackupError::InUse(format!("host {host} of cluster {cluster} is running")));
        }
        if began.elapsed() >= watch {
            return Ok(());
        }
        std::thread::sleep(LOOK.min(watch));
    }
}

/// The end of the status topic. One that is not there begins when a host makes it.
fn end(log: &dyn Log, topic: &TopicName) -> Result<i64, BackupError> {
    match log.offsets(topic, 0) {
        Err(LogError::NoTopic(_)) => Ok(0),
        found => Ok(found?.1),
    }
}

/// The host that a new record is of. A farewell is a record without a value, and records of transforms have an `@` in their
/// keys.
fn heard(log: &dyn Log, topic: &TopicName, position: &mut i64) -> Result<Option<String>, BackupError> {
    if end(log, topic)? <= *position {
        return Ok(None);
    }
    let page = log.read(topic, 0, *position, LOOK, PAGE_BYTES_MAX)?;
    *position = page.next_offset.max(*position);
    let host = page.records.into_iter().filter(|record| record.value.is_some()).find_map(|record| {
        let key = String::from_utf8_lossy(&record.key?).into_owned();
        (!key.contains('@')).then_some(key)
    });
    Ok(host)
}
