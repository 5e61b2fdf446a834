//! The ages of the records that the status topic has when a host starts, by which hosts that died before are told from live
//! ones.
//!
//! A record has the time of its writer's clock. That clock may be wrong, and this host's as well, so three rules hold:
//!
//! - Ages count from the newest record. So if this host's clock is ahead, nobody looks silent.
//! - A record is as new as every record before it in the topic. So a host whose clock is behind is as old as its neighbours.
//! - No record is newer than this host's clock. So a host whose clock is ahead makes no other look old.
//!
//! While the topic has a few beats of each host, no wrong clock makes a live host look dead, as ages count by the one clock
//! that is furthest ahead. Compaction may leave one record of each for a moment (Kafka never compacts the newest segment):
//! then the host of the first record looks dead until its next beat, if its clock is behind this host's and another's. In
//! return a host that died may look alive, until this host has heard nothing of it for [`SILENT_MAX`](super::SILENT_MAX).
//!
//! Once the topic is read, each host counts the silence of others by its own monotonic clock, and no wall clock matters.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::units::Timestamp;

/// The times of the records that were read so far.
#[derive(Debug, Clone, Default)]
pub struct RecordAges {
    /// The newest time of all records, in ms since the Unix epoch.
    newest_ms: i64,
    /// The newest time up to the last record of each key.
    written_ms: BTreeMap<String, i64>,
}

impl RecordAges {
    /// Takes the next record of the topic.
    pub fn take(&mut self, key: &str, timestamp_ms: i64) {
        self.newest_ms = self.newest_ms.max(timestamp_ms);
        self.written_ms.insert(key.to_owned(), self.newest_ms);
    }

    /// Returns the age of the last record of a key, at `now` by this host's clock.
    pub fn age(&self, key: &str, now: Timestamp) -> Duration {
        let Some(written_ms) = self.written_ms.get(key) else { return Duration::ZERO };
        let age_ms = self.newest_ms.min(now.0).saturating_sub(*written_ms);
        Duration::from_millis(u64::try_from(age_ms).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::SILENT_MAX;

    const HOUR_MS: i64 = 3_600_000;
    const NOW_MS: i64 = 1000 * HOUR_MS;

    /// Records of hosts: the host, the seconds since it wrote, and the error of its clock in ms.
    type Records<'a> = &'a [(&'a str, i64, i64)];

    /// A host whose clock has each of these errors reads the records: the hosts that do not look silent to it.
    #[track_caller]
    fn check(records: Records<'_>, own_errors_ms: &[i64], expected: &[&str]) {
        let mut ages = RecordAges::default();
        for (host, seconds, error_ms) in records {
            ages.take(host, NOW_MS - seconds * 1000 + error_ms);
        }
        for error_ms in own_errors_ms {
            let now = Timestamp(NOW_MS + error_ms);
            let heard = ages.written_ms.keys().filter(|host| ages.age(host, now) < SILENT_MAX);
            assert_eq!(heard.collect::<Vec<_>>(), expected, "{records:?} read with an error of {error_ms} ms");
        }
    }

    #[test]
    fn clocks_that_are_an_hour_off_make_no_live_host_look_silent() {
        // Each beats every 3 s.
        let beats = (0..20_i64)
            .rev()
            .flat_map(|beat| [("behind", 3 * beat + 2, -HOUR_MS), ("right", 3 * beat + 1, 0), ("ahead", 3 * beat, HOUR_MS)]);
        let beats: Vec<(&str, i64, i64)> = beats.collect();
        check(&beats, &[-HOUR_MS, 0, HOUR_MS], &["ahead", "behind", "right"]);
        // The topic was compacted, so that one record of each is left.
        let ahead = ("ahead", 0, HOUR_MS);
        check(&[("right", 1, 0), ahead], &[-HOUR_MS, 0], &["ahead", "right"]);
        check(&[ahead, ("right", 0, 0)], &[-HOUR_MS, 0, HOUR_MS], &["ahead", "right"]);
        let behind = ("behind", 0, -HOUR_MS);
        check(&[("right", 1, 0), behind], &[-HOUR_MS, 0, HOUR_MS], &["behind", "right"]);
        check(&[("right", 2, 0), ("ahead", 1, HOUR_MS), behind], &[-HOUR_MS, 0], &["ahead", "behind", "right"]);
    }

    #[test]
    fn a_host_that_died_looks_silent_unless_a_clock_is_wrong() {
        let died = [("died", 30, 0), ("lives", 0, 0)];
        check(&died, &[0, HOUR_MS], &["lives"]);
        check(&died, &[-HOUR_MS], &["died", "lives"]);
        // All are dead: the last one counts as alive.
        check(&[("first", 5000, 0), ("last", 4000, 0)], &[0, HOUR_MS], &["last"]);
    }

    #[test]
    fn times_that_nobody_wrote_do_not_add_up() {
        for extreme in [i64::MIN, -1, 0, i64::MAX] {
            let mut ages = RecordAges::default();
            ages.take("a", extreme);
            ages.take("b", NOW_MS);
            assert_eq!(ages.age("b", Timestamp(NOW_MS)), Duration::ZERO, "{extreme}");
            for key in ["a", "unknown"] {
                assert_eq!(ages.age(key, Timestamp(i64::MIN)), Duration::ZERO, "{extreme} {key}");
            }
        }
    }
}
