//! The metrics of the places of transforms on this host.

use prometheus::IntGaugeVec;

use super::gauge_value;
use super::registrar::Registrar;

/// The transforms of the cluster by their presence on a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PresenceCounts {
    pub here: usize,
    pub leaving: usize,
    pub away: usize,
}

/// Counts of transforms by their presence on this host. Cloning shares them.
#[derive(Clone)]
pub struct PlaceMetrics {
    transforms: IntGaugeVec,
}

impl PlaceMetrics {
    pub(super) fn new(r: &Registrar) -> Self {
        let transforms = "Transforms of the cluster, by their presence on this host";
        Self { transforms: r.gauges("sandbar_transforms_placed", transforms, &["presence"]) }
    }

    pub fn set(&self, counts: PresenceCounts) {
        let PresenceCounts { here, leaving, away } = counts;
        for (presence, count) in [("here", here), ("leaving", leaving), ("away", away)] {
            self.transforms.with_label_values(&[presence]).set(gauge_value(count as u64));
        }
    }
}
