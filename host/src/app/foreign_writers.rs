//! Warns of principals that may write to control topics, as far as the log tells: they can deploy without the API.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::model::codes::Code;
use crate::model::names::{ClusterName, TopicName};
use crate::model::text::OneLine;
use crate::model::units::Backoff;
use crate::ports::{Log, LogError};

/// The control topics, after `_sandbar.<cluster>.`.
const TOPICS: [&str; 8] = ["deployments", "modules", "positions", "status", "logs", "samples", "tokens", "audit"];
/// Principals that one warning names.
const SHOWN_MAX: usize = 10;
const ASK_AGAIN: Backoff = Backoff { first: Duration::from_secs(5), longest: Duration::from_secs(300) };

/// Asks when the topics are there, until there is an answer.
pub(super) async fn warn_of_foreign_writers(log: Arc<dyn Log>, cluster: ClusterName) {
    for attempt in 0.. {
        let log = log.clone();
        let cluster = cluster.clone();
        // A panic in there was reported where it happened.
        let looked = spawn_blocking(move || look(&*log, &cluster)).await;
        if !matches!(looked, Ok(Err(LogError::Unavailable(_) | LogError::NoToken(_)))) {
            return;
        }
        tokio::time::sleep(ASK_AGAIN.after(attempt)).await;
    }
}

fn look(log: &dyn Log, cluster: &ClusterName) -> Result<(), LogError> {
    let found = match foreign_writers(log, cluster) {
        Ok(Some(found)) => found,
        Ok(None) => {
            tracing::info!("the ACLs of control topics are not known: there are none, or the host may not ask for them");
            return Ok(());
        }
        Err(error) => {
            tracing::info!(%error, "the ACLs of control topics are not known");
            return Err(error);
        }
    };
    let code = Code::ControlTopicOpen;
    for (topic, principals) in &found {
        let hint = code.hint();
        tracing::warn!(%topic, %code, %principals, hint, "others than this host may write to a control topic");
    }
    if found.is_empty() {
        tracing::info!("no other principal may write to a control topic");
    }
    Ok(())
}

/// The control topics to which others may write, each with their names, of which some are shown. `None`: nobody may ask, or
/// there are no rules.
pub(super) fn foreign_writers(log: &dyn Log, cluster: &ClusterName) -> Result<Option<Vec<(TopicName, String)>>, LogError> {
    let mut found = Vec::new();
    for name in TOPICS {
        let topic = cluster.control_topic(name);
        let Some(writers) = log.foreign_writers(&topic)? else { return Ok(None) };
        if !writers.is_empty() {
            found.push((topic, shown(&writers)));
        }
    }
    Ok(Some(found))
}

fn shown(principals: &BTreeSet<String>) -> String {
    let names: Vec<&str> = principals.iter().map(String::as_str).take(SHOWN_MAX).collect();
    let more = principals.len() - names.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    OneLine(names.join(", ")).to_string() + &more
}
