//! Warns of principals that may write to control topics, as far as the log tells: they can deploy without the API.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use crate::model::codes::Code;
use crate::model::names::{ClusterName, TopicName};
use crate::model::text::OneLine;
use crate::ports::Log;

/// The control topics, after `_sandbar.<cluster>.`.
const TOPICS: [&str; 8] = ["deployments", "modules", "positions", "status", "logs", "samples", "tokens", "audit"];
/// Principals that one warning names.
const SHOWN_MAX: usize = 10;

/// Asks once, when the topics are there.
pub(super) async fn warn_of_foreign_writers(log: Arc<dyn Log>, cluster: ClusterName) {
    // A panic in there was reported where it happened.
    let _ = spawn_blocking(move || look(&*log, &cluster)).await;
}

fn look(log: &dyn Log, cluster: &ClusterName) {
    let mut is_open = false;
    for name in TOPICS {
        let topic: TopicName = format!("_sandbar.{cluster}.{name}").parse().expect("a cluster's name fits into a topic's");
        match log.foreign_writers(&topic) {
            Ok(Some(writers)) if writers.is_empty() => {}
            Ok(Some(writers)) => {
                is_open = true;
                let shown: Vec<&str> = writers.iter().map(String::as_str).take(SHOWN_MAX).collect();
                let principals = shown.join(", ");
                let code = Code::ControlTopicOpen;
                tracing::warn!(
                    %topic, %code, principals = %OneLine(principals), count = writers.len(), hint = code.hint(),
                    "others than this host may write to a control topic"
                );
            }
            Ok(None) => {
                tracing::info!("the ACLs of control topics are not known: there are none, or the host may not ask for them");
                return;
            }
            Err(error) => {
                tracing::info!(%error, "the ACLs of control topics are not known");
                return;
            }
        }
    }
    if !is_open {
        tracing::info!("no other principal may write to a control topic");
    }
}
