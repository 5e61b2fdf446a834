//! The control topics that a backup holds, in the order in which they are read and written.
//!
//! Deployments come first, so that whatever they need is read later and is there: a module is stored before a deployment
//! names it, and a partition begins after its transform was deployed. Statuses, log lines and samples are told anew.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::names::{ClusterName, TopicName};
use crate::ports::NewTopic;
use crate::{access, audit, catalog, positions};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ControlTopic {
    Deployments,
    Positions,
    Modules,
    Tokens,
    Audit,
}

impl ControlTopic {
    pub const ALL: [Self; 5] = [Self::Deployments, Self::Positions, Self::Modules, Self::Tokens, Self::Audit];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Deployments => "deployments",
            Self::Positions => "positions",
            Self::Modules => "modules",
            Self::Tokens => "tokens",
            Self::Audit => "audit",
        }
    }

    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == name)
    }

    /// The topic as a host of the cluster would make it. Entries of the audit are kept for `audit_retention`.
    pub fn new_topic(self, cluster: &ClusterName, audit_retention: Duration) -> NewTopic {
        let [deployments, modules] = catalog::control_topics(cluster);
        match self {
            Self::Deployments => deployments,
            Self::Positions => positions::control_topic(cluster),
            Self::Modules => modules,
            Self::Tokens => access::control_topic(cluster),
            Self::Audit => audit::control_topic(cluster, audit_retention),
        }
    }

    pub fn topic(self, cluster: &ClusterName) -> TopicName {
        self.new_topic(cluster, audit::AUDIT_RETENTION).name
    }

    pub fn partitions(self, cluster: &ClusterName) -> i32 {
        self.new_topic(cluster, audit::AUDIT_RETENTION).partitions
    }
}
