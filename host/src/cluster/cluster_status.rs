//! The hosts of the cluster and their transforms: the fold of the status topic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::catalog::Fold;
use crate::model::format::{Format, PLACEMENT};
use crate::model::names::TransformId;
use crate::model::status::HostStatus;
use crate::model::units::Timestamp;
use crate::ports::LogRecord;

use super::ages::RecordAges;
use super::members::{AWAY_MAX, Members, Statuses};
use super::newer::{read_host, read_status};
use super::times::{OLDER_SILENT_MAX, SILENT_MAX};

/// The records of the topic. They are kept until their host clears them or has been silent for long.
#[derive(Clone, Default)]
pub struct ClusterStatus {
    pub hosts: Arc<BTreeMap<String, HostRecord>>,
    /// The last time that a host said farewell.
    pub away: Arc<BTreeMap<String, Instant>>,
    pub transforms: Statuses,
    /// The last time that a host was heard to want samples of a transform.
    pub tails: Arc<BTreeMap<(TransformId, String), Instant>>,
    /// The ages of the records, while the topic is read for the first time.
    ages: RecordAges,
    is_loaded: bool,
}

/// The beginning of the keys of hosts that want samples.
pub const TAIL: &str = "tail:";

/// A host, and the time at which it was heard of last: by this host's own clock, as the hosts' clocks may differ.
#[derive(Clone)]
pub struct HostRecord {
    pub status: HostStatus,
    at: Instant,
}

impl HostRecord {
    pub fn is_alive(&self, now: Instant) -> bool {
        let is_older = !self.status.understands(Format::Spec, PLACEMENT);
        now.saturating_duration_since(self.at) < if is_older { OLDER_SILENT_MAX } else { SILENT_MAX }
    }
}

impl Fold for ClusterStatus {
    type Snapshot = ClusterStatus;

    fn apply(&mut self, record: &LogRecord) -> Result<(), String> {
        let key = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()).ok_or("its key is no text")?;
        if !self.is_loaded {
            self.ages.take(key, record.timestamp);
        }
        match key.split_once('@') {
            None => self.take_host(key, record.value.as_deref()),
            Some((id, host)) if id.starts_with(TAIL) => {
                let id = id[TAIL.len()..].parse().map_err(|error| format!("{error}"))?;
                self.take_tail((id, host.to_owned()), record.value.is_some());
                Ok(())
            }
            Some((id, host)) => {
                let id = id.parse().map_err(|error| format!("{error}"))?;
                self.take_transform(id, host, record.value.as_deref())
            }
        }
    }

    fn loaded(&mut self) {
        self.end_loading(Timestamp::now());
    }

    fn snapshot(&self) -> Self::Snapshot {
        self.clone()
    }
}

impl ClusterStatus {
    /// The keys of hosts that have been silent for so long: their own, and those of all that they told.
    pub fn keys_of_silent(&self, for_long: Duration, now: Instant) -> Vec<String> {
        let is_silent = |host: &HostRecord| now.saturating_duration_since(host.at) >= for_long;
        let silent: BTreeSet<&String> =
            self.hosts.iter().filter(|(_, host)| is_silent(host)).map(|(name, _)| name).collect();
        let statuses = self.transforms.iter().flat_map(|(id, hosts)| hosts.keys().map(move |host| (id, host)));
        let statuses = statuses.filter(|(_, host)| silent.contains(host)).map(|(id, host)| format!("{id}@{host}"));
        let tails = self.tails.keys().filter(|(_, host)| silent.contains(host));
        let tails = tails.map(|(id, host)| format!("{TAIL}{id}@{host}"));
        // A host's own key is the last: until it is gone, the others are looked for again.
        statuses.chain(tails).chain(silent.iter().map(|host| (*host).clone())).collect()
    }

    /// Returns the transforms of which a host has told a status.
    pub fn told_by(&self, host: &str) -> impl Iterator<Item = &TransformId> {
        self.transforms.iter().filter(move |(_, hosts)| hosts.contains_key(host)).map(|(id, _)| id)
    }

    /// Returns the transforms whose samples a host has asked for.
    pub fn asked_by(&self, host: &str) -> impl Iterator<Item = &TransformId> {
        self.tails.keys().filter(move |(_, asking)| asking == host).map(|(id, _)| id)
    }

    /// Returns the first of the live hosts: it does the work that one host has to do for all.
    pub fn first_alive(&self, now: Instant) -> Option<&str> {
        self.hosts.iter().find(|(_, host)| host.is_alive(now)).map(|(name, _)| name.as_str())
    }

    /// Returns the hosts at a moment, as transforms are placed among them.
    pub fn members(&self, now: Instant) -> Members {
        let live = self.hosts.values().filter(|host| host.is_alive(now)).map(|host| host.status.clone());
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < AWAY_MAX;
        let away = self.away.iter().filter(|(_, at)| is_recent(at)).map(|(host, _)| host.clone());
        Members { live: live.collect(), away: away.collect(), statuses: self.transforms.clone() }
    }

    /// Counts the silence of each host from its last record, as old as that was when the topic had been read.
    fn end_loading(&mut self, now: Timestamp) {
        let ages = std::mem::take(&mut self.ages);
        let heard = |key: &str, at: Instant| at.checked_sub(ages.age(key, now)).unwrap_or(at);
        for (host, record) in Arc::make_mut(&mut self.hosts) {
            record.at = heard(host, record.at);
        }
        for ((id, host), at) in Arc::make_mut(&mut self.tails) {
            *at = heard(&format!("{TAIL}{id}@{host}"), *at);
        }
        self.is_loaded = true;
    }

    /// Notes a farewell. One that was cleared after a long silence never said any, and before the topic was read to its end
    /// nobody knows when it did.
    fn take_farewell(&mut self, host: &str) {
        let now = Instant::now();
        let Some(record) = Arc::make_mut(&mut self.hosts).remove(host) else { return };
        if self.is_loaded && record.is_alive(now) {
            let away = Arc::make_mut(&mut self.away);
            away.retain(|_, at| now.saturating_duration_since(*at) < AWAY_MAX);
            away.insert(host.to_owned(), now);
        }
    }

    fn take_host(&mut self, host: &str, value: Option<&[u8]>) -> Result<(), String> {
        match value {
            Some(value) => {
                let status = read_host(host, value)?;
                if status.host != host {
                    return Err(format!("its key says {host:?}, its value {:?}", status.host));
                }
                Arc::make_mut(&mut self.hosts).insert(host.to_owned(), HostRecord { status, at: Instant::now() });
                if self.away.contains_key(host) {
                    Arc::make_mut(&mut self.away).remove(host);
                }
            }
            None => self.take_farewell(host),
        }
        Ok(())
    }

    fn take_tail(&mut self, tail: (TransformId, String), wanted: bool) {
        let tails = Arc::make_mut(&mut self.tails);
        if wanted {
            tails.insert(tail, Instant::now());
        } else {
            tails.remove(&tail);
        }
    }

    fn take_transform(&mut self, id: TransformId, host: &str, value: Option<&[u8]>) -> Result<(), String> {
        let status = value.map(|value| read_status(&id, host, value)).transpose()?;
        if let Some(status) = status.as_ref().filter(|status| (&status.id, status.host.as_str()) != (&id, host)) {
            return Err(format!("its key says {id}@{host}, its value {}@{}", status.id, status.host));
        }
        let transforms = Arc::make_mut(&mut self.transforms);
        let hosts = Arc::make_mut(transforms.entry(id.clone()).or_default());
        match status {
            Some(status) => drop(hosts.insert(host.to_owned(), Arc::new(status))),
            None => drop(hosts.remove(host)),
        }
        if hosts.is_empty() {
            transforms.remove(&id);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: Option<serde_json::Value>) -> LogRecord {
        let value = value.map(|value| value.to_string().into_bytes());
        LogRecord { offset: 0, timestamp: 0, key: Some(key.as_bytes().to_vec()), value, headers: Vec::new() }
    }

    fn host(name: &str) -> serde_json::Value {
        serde_json::json!({"host": name, "version": "1", "started_at": 5, "seen_at": 6, "transforms": 1, "partitions": 2})
    }

    fn status(id: &str, host: &str) -> serde_json::Value {
        let (team, name) = id.split_once('/').expect("team/name");
        serde_json::json!({
            "team": team, "name": name, "host": host, "state": "running", "revision": 1, "partitions": [],
            "rollout": {"revision": 1, "state": "complete"},
        })
    }

    #[test]
    fn forged_times_and_numbers_end_nothing() {
        let mut statuses = ClusterStatus::default();
        let times = [i64::MIN, -1, 0, i64::MAX];
        for (name, timestamp) in ["a", "b", "c", "d"].into_iter().zip(times) {
            statuses.apply(&LogRecord { timestamp, ..record(name, Some(host(name))) }).expect("a host");
            statuses
                .apply(&LogRecord { timestamp, ..record(&format!("tail:shop/x@{name}"), Some(host(name))) })
                .expect("a wish");
        }
        statuses.loaded();
        assert_eq!(statuses.hosts.len(), 4);
        for extreme in [u64::MAX.into(), i64::MIN.into(), serde_json::json!(1e300)] {
            for field in ["/seen_at", "/started_at", "/transforms", "/partitions"] {
                let mut forged = host("a");
                *forged.pointer_mut(field).expect(field) = extreme.clone();
                let _ = statuses.apply(&record("a", Some(forged)));
            }
            for field in ["/revision", "/rollout/revision"] {
                let mut forged = status("shop/x", "a");
                *forged.pointer_mut(field).expect(field) = extreme.clone();
                let _ = statuses.apply(&record("shop/x@a", Some(forged)));
            }
        }
    }

    #[test]
    fn hosts_come_and_go() {
        let mut statuses = ClusterStatus::default();
        statuses.apply(&record("a", Some(host("a")))).expect("a host");
        statuses.apply(&record("b", Some(host("b")))).expect("a host");
        statuses.apply(&record("b", None)).expect("a farewell");
        assert_eq!(statuses.hosts.keys().collect::<Vec<_>>(), ["a"]);
        let older = &statuses.hosts["a"];
        assert!(older.is_alive(Instant::now() + SILENT_MAX) && !older.is_alive(Instant::now() + OLDER_SILENT_MAX));
        let ours = serde_json::to_value(HostStatus::new("c", Timestamp(5))).expect("plain data");
        statuses.apply(&record("c", Some(ours))).expect("a host");
        let ours = &statuses.hosts["c"];
        assert!(ours.is_alive(Instant::now()) && !ours.is_alive(Instant::now() + SILENT_MAX));
    }

    #[test]
    fn a_host_that_said_farewell_is_away_for_a_while() {
        let mut statuses = ClusterStatus::default();
        for name in ["a", "b", "gone"] {
            statuses.apply(&record(name, Some(host(name)))).expect("a host");
        }
        statuses.apply(&record("gone", None)).expect("a farewell of long ago");
        statuses.loaded();
        statuses.apply(&record("b", None)).expect("a farewell");
        let check = |statuses: &ClusterStatus, now: Instant, live: &[&str], away: &[&str]| {
            let members = statuses.members(now);
            let names: Vec<&str> = members.live.iter().map(|host| host.host.as_str()).collect();
            assert_eq!((names.as_slice(), members.away), (live, away.iter().map(ToString::to_string).collect()));
        };
        let now = Instant::now();
        check(&statuses, now, &["a"], &["b"]);
        check(&statuses, now + AWAY_MAX, &[], &[]);
        statuses.apply(&record("b", Some(host("b")))).expect("a host");
        check(&statuses, Instant::now(), &["a", "b"], &[]);
    }

    #[test]
    fn a_host_that_died_is_forgotten_with_all_that_it_told() {
        let mut statuses = ClusterStatus::default();
        let day = Duration::from_secs(24 * 3600);
        let mut apply = |at, key: &str, value| {
            statuses.apply(&LogRecord { timestamp: at, ..record(key, Some(value)) }).expect("a record");
        };
        for (name, at) in [("dead", 0), ("live", 86_400_000)] {
            apply(at, name, host(name));
            apply(at, &format!("shop/x@{name}"), status("shop/x", name));
            apply(at, &format!("tail:shop/x@{name}"), serde_json::json!({}));
        }
        statuses.loaded();
        let now = Instant::now();
        assert_eq!(statuses.keys_of_silent(day, now), ["shop/x@dead", "tail:shop/x@dead", "dead"]);
        assert!(statuses.keys_of_silent(2 * day, now).is_empty());
        assert_eq!(statuses.first_alive(now), Some("live"));
        for key in statuses.keys_of_silent(day, now) {
            statuses.apply(&record(&key, None)).expect("a tombstone");
        }
        assert!(statuses.keys_of_silent(day, now).is_empty());
        assert_eq!(statuses.hosts.keys().collect::<Vec<_>>(), ["live"]);
        assert_eq!(statuses.transforms[&"shop/x".parse().expect("valid")].keys().collect::<Vec<_>>(), ["live"]);
    }

    #[test]
    fn a_host_that_was_silent_before_this_host_began_is_not_there() {
        let mut statuses = ClusterStatus::default();
        let at = |timestamp, record| LogRecord { timestamp, ..record };
        statuses.apply(&at(1_000, record("dead", Some(host("dead"))))).expect("a host");
        statuses.apply(&at(1_000, record("tail:shop/x@dead", Some(serde_json::json!({}))))).expect("a wish");
        statuses.apply(&at(30_000, record("b", Some(host("b"))))).expect("a host");
        statuses.loaded();
        let now = Instant::now();
        let alive: Vec<_> = statuses.hosts.iter().filter(|(_, heard)| heard.is_alive(now)).map(|(name, _)| name).collect();
        assert_eq!(alive, ["b"]);
        assert!(statuses.tails.values().all(|at| now.duration_since(*at) > SILENT_MAX));
        // From here on it is this host's clock that counts.
        statuses.apply(&at(1_000, record("dead", Some(host("dead"))))).expect("a host");
        assert!(statuses.hosts["dead"].is_alive(Instant::now()));
    }

    #[test]
    fn a_host_whose_clock_is_ahead_makes_no_other_look_dead() {
        let mut statuses = ClusterStatus::default();
        for (name, timestamp) in [("a", 7_000_000), ("ahead", 10_603_000)] {
            statuses.apply(&LogRecord { timestamp, ..record(name, Some(host(name))) }).expect("a host");
        }
        statuses.end_loading(Timestamp(7_003_000));
        let members = statuses.members(Instant::now());
        assert_eq!(members.live.iter().map(|host| host.host.as_str()).collect::<Vec<_>>(), ["a", "ahead"]);
    }

    #[test]
    fn times_that_nobody_wrote_do_not_add_up() {
        for (first, second) in [(i64::MIN, i64::MAX), (i64::MAX, i64::MIN), (-1, i64::MAX)] {
            let mut statuses = ClusterStatus::default();
            for (name, timestamp) in [("a", first), ("b", second)] {
                let record = LogRecord { timestamp, ..record(name, Some(host(name))) };
                statuses.apply(&record).expect("a host");
            }
            statuses.loaded();
            assert_eq!(statuses.hosts.len(), 2, "{first} {second}");
        }
    }

    #[test]
    fn a_tail_is_wanted_until_its_host_says_otherwise() {
        let mut statuses = ClusterStatus::default();
        for host in ["a", "b"] {
            statuses.apply(&record(&format!("tail:shop/x@{host}"), Some(serde_json::json!({})))).expect("a wish");
        }
        statuses.apply(&record("tail:shop/x@a", None)).expect("the end of a wish");
        let left: Vec<String> = statuses.tails.keys().map(|(id, host)| format!("{id} {host}")).collect();
        assert_eq!(left, ["shop/x b"]);
        assert!(statuses.hosts.is_empty() && statuses.transforms.is_empty());
    }

    #[test]
    fn strange_records_change_nothing() {
        let mut statuses = ClusterStatus::default();
        for (key, value) in [
            ("a", serde_json::json!({})),
            ("shop/x@a", serde_json::json!(7)),
            ("no id@a", host("a")),
            ("tail:no id@a", host("a")),
            // Of another key.
            ("b", host("a")),
            ("shop/x@a", status("shop/y", "a")),
            ("shop/x@a", status("shop/x", "b")),
        ] {
            assert!(statuses.apply(&record(key, Some(value))).is_err(), "{key}");
        }
        assert!(statuses.hosts.is_empty() && statuses.transforms.is_empty());
    }
}
