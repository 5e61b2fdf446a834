//! The CPU time of the process by those whom it was spent for: each transform and revision, and the host itself.
//!
//! The time of transforms is measured ([`Meter`]), that of the process is the system's, and the rest is the host's: the API,
//! control topics, restores, tables, and all that threads do for no transform. So the rows add up to the process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, Opts};

use super::process::cpu_time;
use super::registrar::Registrar;
use crate::model::names::TransformId;
use crate::telemetry::meter::Meter;

/// Revisions of a transform that have a row: those that were counted last, so a revision that works has one, however many
/// newer ones were refused.
const REVISIONS_MAX: usize = 4;
/// The labels of the host's row.
const HOST: [&str; 3] = ["-"; 3];

/// See the module.
#[derive(Default)]
pub struct CpuCosts {
    /// The meters of all workers. One that has no other owner is read once more.
    meters: Mutex<Vec<(TransformId, Arc<Meter>)>>,
    spent: Mutex<Spent>,
}

#[derive(Default)]
struct Spent {
    by_revision: BTreeMap<TransformId, BTreeMap<u64, Row>>,
    /// The number of counts of a revision.
    counts: u64,
    /// The time of all transforms, with that of revisions without a row.
    of_transforms: Duration,
    of_host: Duration,
}

#[derive(Default)]
struct Row {
    time: Duration,
    /// The number of its last count.
    counted: u64,
}

/// Reads all meters when the metrics are read.
struct CostCollector {
    costs: Arc<CpuCosts>,
    /// Never has a series: each reader has a vector of its own, as a counter cannot be set.
    empty: CounterVec,
}

// === impl CpuCosts ===

impl CpuCosts {
    pub(super) fn new(r: &Registrar) -> Arc<Self> {
        let costs = Arc::new(Self::default());
        r.register(CostCollector { costs: costs.clone(), empty: rows() });
        costs
    }

    /// Returns a new meter for a worker of the transform.
    pub fn meter(&self, transform: &TransformId, revision: u64) -> Arc<Meter> {
        // Also where nobody reads the metrics, no meter stays that has no worker.
        self.count();
        let meter = Arc::new(Meter::new(revision));
        self.meters.lock().push((transform.clone(), meter.clone()));
        meter
    }

    /// Ends the rows of a transform. The time of a thread that still works for it is the host's from now on.
    pub(super) fn forget(&self, transform: &TransformId) {
        self.count();
        let mut spent = self.spent.lock();
        self.meters.lock().retain(|(of, _)| of != transform);
        spent.by_revision.remove(transform);
    }

    /// Counts all that was spent until now.
    fn count(&self) {
        let mut spent = self.spent.lock();
        self.meters.lock().retain(|(transform, meter)| {
            let has_worker = Arc::strong_count(meter) > 1;
            meter.take().into_iter().for_each(|(revision, time)| spent.add(transform, revision, time));
            // The present one last: refused ones since the last count do not take its row.
            spent.add(transform, meter.revision(), Duration::ZERO);
            spent.drop_rows(transform);
            has_worker
        });
    }
}

// === impl Spent ===

impl Spent {
    fn add(&mut self, transform: &TransformId, revision: u64, time: Duration) {
        self.of_transforms += time;
        let revisions = match self.by_revision.get_mut(transform) {
            Some(revisions) => revisions,
            None => self.by_revision.entry(transform.clone()).or_default(),
        };
        self.counts += 1;
        let row = revisions.entry(revision).or_default();
        row.time += time;
        row.counted = self.counts;
    }

    /// Drops the rows above the limit. One that is gone is never counted elsewhere: rates over it would count it twice.
    fn drop_rows(&mut self, transform: &TransformId) {
        let Some(revisions) = self.by_revision.get_mut(transform) else { return };
        while revisions.len() > REVISIONS_MAX {
            let oldest = revisions.iter().min_by_key(|(_, row)| row.counted).map(|(revision, _)| *revision);
            revisions.remove(&oldest.expect("there are several"));
        }
    }

    /// Takes the process's time, of which the rest is the host's. It never gets less, as a counter must not.
    fn settle(&mut self, process: Duration) {
        self.of_host = self.of_host.max(process.saturating_sub(self.of_transforms));
    }

    /// Shows each row as labels and seconds.
    fn show(&self, mut show: impl FnMut([&str; 3], Duration)) {
        for (transform, revisions) in &self.by_revision {
            for (revision, row) in revisions {
                show([transform.team.as_str(), transform.name.as_str(), &revision.to_string()], row.time);
            }
        }
        show(HOST, self.of_host);
    }
}

// === impl CostCollector ===

impl Collector for CostCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.empty.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.costs.count();
        let rows = rows();
        let mut spent = self.costs.spent.lock();
        // After the meters: what is not theirs now was not spent for them.
        spent.settle(cpu_time());
        spent.show(|labels, time| rows.with_label_values(&labels).inc_by(time.as_secs_f64()));
        rows.collect()
    }
}

fn rows() -> CounterVec {
    let help = "CPU time of the process by transform and revision; `-` stands for the host itself";
    let labels = ["team", "transform", "revision"];
    CounterVec::new(Opts::new("sandbar_cpu_seconds_total", help), &labels).expect("valid constants")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows_of(spent: &Spent) -> Vec<(String, u64)> {
        let mut rows = Vec::new();
        spent.show(|labels, time| rows.push((labels.join("/"), time.as_secs())));
        rows
    }

    #[test]
    fn some_revisions_have_rows_and_all_time_is_somebodys() {
        let transform: TransformId = "t/a".parse().expect("valid");
        let mut spent = Spent::default();
        for revision in 1..=6 {
            spent.add(&transform, revision, Duration::from_secs(revision));
            spent.drop_rows(&transform);
        }
        spent.settle(Duration::from_secs(100));
        let row = |revision: u64| (format!("t/a/{revision}"), revision);
        let host = ("-/-/-".to_owned(), 100 - (1..=6).sum::<u64>());
        assert_eq!(rows_of(&spent), [row(3), row(4), row(5), row(6), host]);
    }

    #[test]
    fn a_revision_that_works_on_after_refused_ones_keeps_its_row() {
        let transform: TransformId = "t/a".parse().expect("valid");
        let mut spent = Spent::default();
        // Several of them between two counts, too.
        for refused in [2..6, 6..10] {
            spent.add(&transform, 1, Duration::from_secs(10));
            refused.for_each(|revision| spent.add(&transform, revision, Duration::from_secs(1)));
            spent.add(&transform, 1, Duration::ZERO);
            spent.drop_rows(&transform);
        }
        assert_eq!(rows_of(&spent)[0], ("t/a/1".to_owned(), 20));
        assert_eq!(rows_of(&spent).len(), REVISIONS_MAX + 1);
    }

    #[test]
    fn the_rows_of_a_forgotten_transform_end_and_its_time_is_not_the_hosts() {
        let [gone, other] = ["t/gone", "t/other"].map(|name| name.parse::<TransformId>().expect("valid"));
        let costs = CpuCosts::default();
        for (transform, seconds) in [(&gone, 3), (&other, 2)] {
            costs.spent.lock().add(transform, 1, Duration::from_secs(seconds));
        }
        // A client that is closed late has it still.
        let late = costs.meter(&gone, 1);
        costs.forget(&gone);
        costs.count();
        assert_eq!((costs.meters.lock().len(), late.revision()), (0, 1));
        let mut spent = costs.spent.lock();
        spent.settle(Duration::from_secs(10));
        assert_eq!(rows_of(&spent), [("t/other/1".to_owned(), 2), ("-/-/-".to_owned(), 5)]);
    }

    #[test]
    fn the_hosts_row_never_gets_less() {
        let transform: TransformId = "t/a".parse().expect("valid");
        let mut spent = Spent::default();
        spent.settle(Duration::from_secs(10));
        // The thread went on between the reading of its clock and that of the process.
        spent.add(&transform, 1, Duration::from_secs(3));
        spent.settle(Duration::from_secs(11));
        assert_eq!(rows_of(&spent).last(), Some(&("-/-/-".to_owned(), 10)));
        spent.settle(Duration::from_secs(15));
        assert_eq!(rows_of(&spent).last(), Some(&("-/-/-".to_owned(), 12)));
    }
}
