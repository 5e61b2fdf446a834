//! The switches of samples: a transform's records are sampled only while somebody tails it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::rate::{Bucket, Rate};
use crate::model::names::TransformId;

/// Samples of a transform in a second, over all of its partitions on this host: more than a reader can follow.
pub const SAMPLES_PER_SECOND: u32 = 20;
const SAMPLES: Rate = Rate { lines: SAMPLES_PER_SECOND, bytes: 1 };

/// The switches of a host's transforms.
#[derive(Default)]
pub struct SampleSwitches {
    by_transform: Mutex<BTreeMap<TransformId, Arc<SampleSwitch>>>,
}

/// The switch of a transform's samples, off at first. The transform's workers on a host share it.
#[derive(Default)]
pub struct SampleSwitch {
    on: AtomicBool,
    /// Samples that may be taken now.
    bucket: Mutex<Bucket>,
}

impl SampleSwitches {
    /// Returns the switch of a transform.
    pub fn of(&self, id: &TransformId) -> Arc<SampleSwitch> {
        let mut switches = self.by_transform.lock();
        if let Some(switch) = switches.get(id) {
            return switch.clone();
        }
        // Deleted transforms would pile up.
        switches.retain(|_, switch| Arc::strong_count(switch) > 1);
        switches.entry(id.clone()).or_default().clone()
    }

    /// Switches on the samples of these transforms, and off those of all others.
    pub fn turn_on_only(&self, tailed: &BTreeSet<TransformId>) {
        for (id, switch) in &*self.by_transform.lock() {
            switch.on.store(tailed.contains(id), Ordering::Relaxed);
        }
    }
}

impl SampleSwitch {
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Takes up to `wanted` samples, and returns how many the rate permits now.
    pub fn take(&self, wanted: usize, now: Instant) -> usize {
        let mut bucket = self.bucket.lock();
        let mut taken = 0;
        while taken < wanted && bucket.has_room(SAMPLES, 1, now) {
            bucket.take(0);
            taken += 1;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn samples_are_bounded_by_the_second() {
        let switch = SampleSwitch::default();
        let start = Instant::now();
        for (at_ms, wanted, taken) in [(0, 5, 5), (0, 100, 15), (0, 1, 0), (1000, 7, 7), (1000, 100, 13), (500, 1, 0)] {
            assert_eq!(switch.take(wanted, start + Duration::from_millis(at_ms)), taken, "{wanted} at {at_ms}");
        }
    }

    #[test]
    fn transforms_that_are_tailed_are_sampled_and_no_others() {
        let [a, b] = ["t/a", "t/b"].map(|name| name.parse::<TransformId>().expect("valid"));
        let switches = SampleSwitches::default();
        let of_a = switches.of(&a);
        let of_b = switches.of(&b);
        assert!(!of_a.is_on());
        switches.turn_on_only(&BTreeSet::from([a.clone()]));
        assert_eq!((of_a.is_on(), of_b.is_on(), switches.of(&a).is_on()), (true, false, true));
        switches.turn_on_only(&BTreeSet::new());
        assert!(!of_a.is_on());
    }
}
