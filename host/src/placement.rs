//! The hosts that run each transform: chosen without a leader, by every host for itself, from the same facts.
//!
//! Each host ranks the live hosts for each transform by rendezvous hashing, and the first few run it: two, or more by the
//! partitions, the load and the spec. So a host that comes or goes moves only its own share.
//!
//! Placement says who joins a transform's consumer group; the group alone says who owns which partition. Two hosts with
//! different views cost a few members too many or too few, and never a record.
//!
//! Pure functions of a moment of the status topic. The supervisor follows them (`supervisor::places`), the API shows them.

mod choice;
mod count;
mod rank;

use crate::cluster::Members;
use crate::model::codes::Code;
use crate::model::format::{Format, PLACEMENT};
use crate::model::names::TransformId;
use crate::model::revision::Deployment;
use crate::model::status::{RolloutState, State, TransformStatus};

pub use choice::{Candidate, Standing, choose};
pub use count::{Count, LevelMeter, Load};

/// The hosts that run a transform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The number of hosts that are to run it, and the reason.
    pub count: Count,
    /// The hosts that are to run it, the first choice first.
    pub hosts: Vec<String>,
}

impl Placement {
    /// Places a transform among the members of the cluster.
    pub fn of(deployment: &Deployment, members: &Members) -> Self {
        let id = &deployment.id;
        // Hosts that know of no placement wait, in a rollout, for every host.
        if members.live.iter().any(|host| !host.understands(Format::Spec, PLACEMENT)) {
            return Self::everywhere(Count::OlderHosts, members);
        }
        let statuses = members.live.iter().filter_map(|host| members.status(id, &host.host));
        let level = statuses.filter_map(|status| status.hosts_wanted).max();
        let count = Count::of(deployment, level);
        if count == Count::All {
            return Self::everywhere(count, members);
        }
        let live = members.live.iter().map(|host| (host.host.as_str(), standing(members.status(id, &host.host))));
        let away = members.away.iter().map(|host| (host.as_str(), Standing::Away));
        let candidates = live.chain(away).map(|(host, standing)| Candidate { host, standing });
        let hosts = choose(id, candidates.collect(), count.number());
        Self { count, hosts: hosts.into_iter().map(str::to_owned).collect() }
    }

    fn everywhere(count: Count, members: &Members) -> Self {
        Self { count, hosts: members.live.iter().map(|host| host.host.clone()).collect() }
    }

    /// Ranks the live hosts for a transform, the first choice first.
    pub fn ranks(id: &TransformId, members: &Members) -> Vec<String> {
        let able = members.live.iter().map(|host| Candidate { host: &host.host, standing: Standing::Able });
        choose(id, able.collect(), usize::MAX).into_iter().map(str::to_owned).collect()
    }

    pub fn has(&self, host: &str) -> bool {
        self.hosts.iter().any(|placed| placed == host)
    }

    /// Returns true if every placed host works on the transform, or has its reason not to.
    pub fn is_taken_up(&self, id: &TransformId, members: &Members) -> bool {
        let works = |status: &TransformStatus| !matches!(status.state, State::Starting | State::Stopped | State::Unknown);
        self.hosts.iter().all(|host| members.status(id, host).is_some_and(works))
    }
}

/// Returns a number from 0 to 1 that differs from transform to transform and from host to host, and is always the same for
/// both.
pub fn spread(id: &TransformId, host: &str) -> f64 {
    f64::from((rank::weight(id, host) >> 32) as u32) / f64::from(u32::MAX)
}

/// A host that cannot run a transform leaves its place to the next, and goes on trying. A quarantined transform stays where
/// it is: elsewhere it would end other hosts.
fn standing(status: Option<&TransformStatus>) -> Standing {
    let Some(status) = status else { return Standing::Able };
    let has_failed = status.state == State::Failed && status.rollout.state == RolloutState::Failed;
    let is_quarantined = status.error.as_ref().is_some_and(|error| error.code == Code::Quarantined);
    if has_failed && !is_quarantined { Standing::Failing } else { Standing::Able }
}

#[cfg(test)]
mod tests;
