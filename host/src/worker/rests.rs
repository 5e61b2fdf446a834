//! The workers of a host that rest: they fetch nothing, and are woken once one of their partitions has got records.
//!
//! A worker enters itself with the offsets that it has read up to, and leaves when it drops its place. The supervisor asks
//! for the ends of all these partitions at once, whatever their number is, and wakes the workers that have something to
//! read. A worker whose place nobody has looked at for [`LOOKED_AT_WITHIN`] reads by itself again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::bell::Bell;
use crate::model::clock::Monotonic;
use crate::model::names::{TeamName, TopicName};
use crate::ports::PartitionEnds;

/// Longest time between two looks at a place: a dozen of them have failed by then. A worker notices up to 5 s later.
pub const LOOKED_AT_WITHIN: Duration = Duration::from_secs(3);

/// A partition that is not fetched, with the offset of its next record.
pub type RestingPartition = ((TopicName, i32), i64);

/// The resting workers of a host. Cloning shares it.
#[derive(Clone, Default)]
pub struct Rests(Arc<Mutex<Places>>);

#[derive(Default)]
struct Places {
    next_id: u64,
    by_id: BTreeMap<u64, Place>,
}

struct Place {
    team: TeamName,
    partitions: Vec<RestingPartition>,
    bell: Bell,
    looked_at: Monotonic,
    is_woken: bool,
}

/// A worker's place among those that rest. Dropping it leaves.
pub struct RestingPlace {
    rests: Rests,
    id: u64,
}

// === impl Rests ===

impl Rests {
    /// Enters a worker. The bell wakes it.
    pub fn enter(&self, team: &TeamName, partitions: Vec<RestingPartition>, bell: &Bell, now: Monotonic) -> RestingPlace {
        let place = Place { team: team.clone(), partitions, bell: bell.clone(), looked_at: now, is_woken: false };
        let mut places = self.0.lock();
        let id = places.next_id;
        places.next_id += 1;
        places.by_id.insert(id, place);
        drop(places);
        RestingPlace { rests: self.clone(), id }
    }

    /// The number of places that have been entered so far: a look that begins now knows nothing of later ones.
    pub fn entered(&self) -> u64 {
        self.0.lock().next_id
    }

    /// The partitions to look at, by team.
    pub fn partitions(&self) -> BTreeMap<TeamName, Vec<(TopicName, i32)>> {
        let mut all: BTreeMap<TeamName, Vec<(TopicName, i32)>> = BTreeMap::new();
        for place in self.0.lock().by_id.values().filter(|place| !place.is_woken) {
            let partitions = place.partitions.iter().map(|(partition, _)| partition.clone());
            all.entry(place.team.clone()).or_default().extend(partitions);
        }
        all
    }

    /// Wakes the workers of these teams that have something to read, among the first places that were
    /// [entered](Self::entered). A partition whose end is not known counts as one that has, and so does one that ends before
    /// the position: it was cut short or recreated, which the next fetch tells.
    pub fn wake(&self, teams: &[TeamName], entered: u64, ends: &PartitionEnds, now: Monotonic) {
        let mut places = self.0.lock();
        let looked_at = places.by_id.range_mut(..entered).map(|(_, place)| place);
        for place in looked_at.filter(|place| teams.contains(&place.team) && !place.is_woken) {
            place.looked_at = now;
            let is_read = |(partition, next): &RestingPartition| ends.get(partition).is_some_and(|end| end == next);
            if !place.partitions.iter().all(is_read) {
                place.is_woken = true;
                place.bell.ring();
            }
        }
    }
}

// === impl RestingPlace ===

impl RestingPlace {
    /// Returns true if the worker is to read again.
    pub fn is_over(&self, now: Monotonic) -> bool {
        let places = self.rests.0.lock();
        places.by_id.get(&self.id).is_none_or(|place| place.is_woken || now.since(place.looked_at) > LOOKED_AT_WITHIN)
    }
}

impl Drop for RestingPlace {
    fn drop(&mut self) {
        self.rests.0.lock().by_id.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const NOW: Monotonic = Monotonic::from_millis(1000);

    fn team(name: &str) -> TeamName {
        name.parse().expect("valid")
    }

    fn partition(number: i32) -> (TopicName, i32) {
        ("in".parse().expect("valid"), number)
    }

    /// A worker of `shop` that has read `in` up to 7 and 9 is looked at with these ends.
    #[track_caller]
    fn check(teams: &[TeamName], ends: &[(i32, i64)], is_woken: bool) {
        let rests = Rests::default();
        let bell = Bell::default();
        let rings = Arc::new(AtomicU32::new(0));
        let counted = rings.clone();
        bell.hang(Some(Arc::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        })));
        let place = rests.enter(&team("shop"), vec![(partition(0), 7), (partition(1), 9)], &bell, NOW);
        assert_eq!(rests.partitions()[&team("shop")], [partition(0), partition(1)]);
        let ends = Arc::new(ends.iter().map(|&(number, end)| (partition(number), end)).collect());
        rests.wake(teams, rests.entered(), &ends, NOW);
        assert_eq!((place.is_over(NOW), rings.load(Ordering::SeqCst)), (is_woken, u32::from(is_woken)));
        assert_eq!(rests.partitions().is_empty(), is_woken, "it is asked for once");
        drop(place);
        assert!(rests.partitions().is_empty());
    }

    #[test]
    fn a_worker_is_woken_when_a_partition_goes_on() {
        let own = [team("shop"), team("other")];
        check(&own, &[(0, 7), (1, 9)], false);
        check(&own, &[(0, 7), (1, 10)], true);
        check(&own, &[(0, 6), (1, 9)], true);
        check(&own, &[(0, 7)], true);
        check(&own, &[], true);
        check(&own[1..], &[(0, 100), (1, 100)], false);
    }

    #[test]
    fn a_place_that_nobody_looks_at_is_over() {
        let rests = Rests::default();
        let place = rests.enter(&team("shop"), vec![(partition(0), 7)], &Bell::default(), NOW);
        let late = NOW.after(LOOKED_AT_WITHIN);
        let later = late.after(Duration::from_millis(1));
        assert_eq!([late, later].map(|now| place.is_over(now)), [false, true]);
        rests.wake(&[team("shop")], rests.entered(), &Arc::new(BTreeMap::from([(partition(0), 7)])), late);
        assert!(!place.is_over(later));
    }

    #[test]
    fn a_look_wakes_nobody_that_came_after_its_begin() {
        let rests = Rests::default();
        let enter = || rests.enter(&team("shop"), vec![(partition(0), 7)], &Bell::default(), NOW);
        let early = enter();
        let entered = rests.entered();
        let late = enter();
        rests.wake(&[team("shop")], entered, &Arc::default(), NOW);
        assert_eq!([early, late].map(|place| place.is_over(NOW)), [true, false]);
    }
}
