//! Refused requests on their way to the audit topic, bounded in number however many there are.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

use super::AuditLog;
use crate::model::access::{Principal, PrincipalKind};
use crate::model::audit::{Action, Actor, AuditEntry, AuditOutcome};
use crate::model::codes::Code;
use crate::model::names::TeamName;
use crate::model::units::{Rfc3339, Timestamp};

/// Time between two writes of the refusals that were counted.
const INTERVAL: Duration = Duration::from_secs(10);
/// Most entries of one interval; all further refusals are one entry.
const ENTRIES_MAX: usize = 100;
/// Most refusals of one principal that have an entry of their own in an interval. Further ones are counted.
const OWN_ENTRIES_MAX: u32 = 20;
/// Most principals with entries of their own in an interval: a provider of many companies makes principals without end.
const OWN_PRINCIPALS_MAX: usize = 100;

/// A request that was refused.
#[derive(Debug, Clone)]
pub struct RefusedRequest {
    pub actor: Actor,
    pub team: Option<TeamName>,
    /// The method and the route.
    pub target: String,
    pub code: Code,
}

/// See the module. Cloning shares it.
#[derive(Clone)]
pub struct Refusals {
    log: AuditLog,
    counts: Arc<Mutex<Counts>>,
}

/// Refusals of the same kind, by one caller, of one team, are one entry. An unknown caller is its address.
type Key = (String, Option<IpAddr>, Option<TeamName>, String, Code);

#[derive(Default)]
struct Counts {
    counted: BTreeMap<Key, AuditEntry>,
    further: u64,
    /// Entries of their own that each principal has in this interval.
    own: HashMap<String, u32>,
}

// === impl Refusals ===

impl Refusals {
    pub fn new(log: AuditLog) -> Self {
        Self { log, counts: Arc::default() }
    }

    /// Takes a refusal. Returns its entry if that is to be written before the request is answered.
    pub fn take(&self, refused: RefusedRequest) -> Option<AuditEntry> {
        let is_known = refused.actor.kind != PrincipalKind::Unknown;
        let mut counts = self.counts.lock();
        let entry = entry(refused);
        if is_known && counts.takes_own(&entry.actor.id) {
            return Some(entry);
        }
        counts.count(entry);
        None
    }

    /// Writes an entry by itself. Blocks. A failure goes to the host's log: the request is refused in any case.
    pub fn append(&self, entry: &AuditEntry) {
        if let Err(error) = self.log.append(std::slice::from_ref(entry)) {
            warn!(%error, code = %Code::AuditUnavailable, "a refused request could not be written to the audit topic");
        }
    }

    /// Writes the counted refusals from time to time, until `shutdown` becomes true.
    pub async fn write_for_ever(self, mut shutdown: watch::Receiver<bool>) {
        let mut at = Instant::now();
        loop {
            at += INTERVAL;
            let is_ending = tokio::select! {
                () = tokio::time::sleep_until(at) => false,
                _ = shutdown.wait_for(|&down| down) => true,
            };
            let own = self.clone();
            // A panic in there was reported where it happened.
            let _ = tokio::task::spawn_blocking(move || own.flush(Timestamp::now())).await;
            if is_ending {
                return;
            }
        }
    }

    fn flush(&self, now: Timestamp) {
        let Counts { counted, further, .. } = std::mem::take(&mut *self.counts.lock());
        let mut entries: Vec<AuditEntry> = counted.into_values().collect();
        if further > 0 {
            let actor = Actor::new(&Principal::unknown(), None, "");
            let refused = RefusedRequest { actor, team: None, target: "others".to_owned(), code: Code::NotSignedIn };
            entries.push(AuditEntry { count: further, at: Rfc3339(now), ..entry(refused) });
        }
        if entries.is_empty() {
            return;
        }
        if let Err(error) = self.log.append(&entries) {
            let count = entries.len();
            warn!(%error, count, code = %Code::AuditUnavailable, "refused requests could not be written to the audit topic");
        }
    }
}

fn entry(refused: RefusedRequest) -> AuditEntry {
    let RefusedRequest { actor, team, target, code } = refused;
    let outcome = AuditOutcome::Refused;
    let at = Rfc3339(Timestamp::now());
    AuditEntry { outcome, team, target: Some(target), code: Some(code), ..AuditEntry::new(actor, Action::Request, at) }
}

// === impl Counts ===

impl Counts {
    /// Returns true if the next refusal of this principal has an entry of its own.
    fn takes_own(&mut self, id: &str) -> bool {
        if !self.own.contains_key(id) && self.own.len() >= OWN_PRINCIPALS_MAX {
            return false;
        }
        let own = self.own.entry(id.to_owned()).or_default();
        *own += 1;
        *own <= OWN_ENTRIES_MAX
    }

    fn count(&mut self, entry: AuditEntry) {
        let AuditEntry { actor, team, target, code, .. } = &entry;
        let target = target.clone().unwrap_or_default();
        let key = (actor.id.clone(), actor.address, team.clone(), target, code.unwrap_or(Code::NotSignedIn));
        if let Some(known) = self.counted.get_mut(&key) {
            known.count += 1;
        } else if self.counted.len() < ENTRIES_MAX {
            let actor = Actor { request: String::new(), ..entry.actor };
            self.counted.insert(key, AuditEntry { actor, ..entry });
        } else {
            self.further += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_principals_are_bounded_for_each_and_for_all() {
        let mut counts = Counts::default();
        let own = (0..2 * OWN_ENTRIES_MAX).filter(|_| counts.takes_own("anna")).count();
        assert_eq!(own, OWN_ENTRIES_MAX as usize);
        let others = (0..1000).filter(|number| counts.takes_own(&format!("https://issuer#{number}"))).count();
        assert_eq!((others, counts.own.len()), (OWN_PRINCIPALS_MAX - 1, OWN_PRINCIPALS_MAX));
    }

    #[test]
    fn refusals_of_each_team_are_counted_apart() {
        let mut counts = Counts::default();
        for team in ["a", "b", "a"] {
            let actor = Actor::new(&Principal::unknown(), None, "");
            let team = Some(team.parse().expect("valid"));
            counts.count(entry(RefusedRequest { actor, team, target: "GET /v1".to_owned(), code: Code::Forbidden }));
        }
        let counted = counts.counted.values().map(|entry| (entry.team.as_ref().map(TeamName::as_str), entry.count));
        assert_eq!(counted.collect::<Vec<_>>(), [(Some("a"), 2), (Some("b"), 1)]);
    }
}
