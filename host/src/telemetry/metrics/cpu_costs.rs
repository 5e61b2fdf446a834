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
    meters: Mutex<BTreeMap<TransformId, Vec<Arc<Meter>>>>,
    spent: Mutex<Spent>,
}

#[derive(Default)]
struct Spent {
    by_transform: BTreeMap<TransformId, TransformTime>,
    /// The number of counts of a revision.
    counts: u64,
    /// The time of all transforms, with that of revisions without a row.
    of_transforms: Duration,
    of_host: Duration,
}

/// The time of a transform. It has that of revisions without a row, too.
#[derive(Default)]
struct TransformTime {
    all: Duration,
    rows: BTreeMap<u64, Row>,
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
        self.meters.lock().entry(transform.clone()).or_default().push(meter.clone());
        meter
    }

    /// Ends the rows of a transform. The time of a thread that still works for it is the host's from now on.
    pub(super) fn forget(&self, transform: &TransformId) {
        self.count();
        let mut spent = self.spent.lock();
        self.meters.lock().remove(transform);
        spent.by_transform.remove(transform);
    }

    /// The time that was spent for a transform until now, since its series began.
    pub(super) fn of(&self, transform: &TransformId) -> Duration {
        let mut spent = self.spent.lock();
        if let Some(meters) = self.meters.lock().get_mut(transform) {
            spent.count(transform, meters);
        }
        spent.by_transform.get(transform).map_or(Duration::ZERO, |time| time.all)
    }

    /// Counts all that was spent until now.
    fn count(&self) {
        let mut spent = self.spent.lock();
        self.meters.lock().retain(|transform, meters| {
            spent.count(transform, meters);
            !meters.is_empty()
        });
    }
}

// === impl Spent ===

impl Spent {
    /// Takes the time that the meters of a transform have counted, and drops those that have no worker any more.
    fn count(&mut self, transform: &TransformId, meters: &mut Vec<Arc<Meter>>) {
        meters.retain(|meter| {
            let has_worker = Arc::strong_count(meter) > 1;
            meter.take().into_iter().for_each(|(revision, time)| self.add(transform, revision, time));
            // The present one last: refused ones since the last count do not take its row.
            self.add(transform, meter.revision(), Duration::ZERO);
            self.drop_rows(transform);
            has_worker
        });
    }

    fn add(&mut self, transform: &TransformId, revision: u64, time: Duration) {
        self.of_transforms += time;
        let of_transform = match self.by_transform.get_mut(transform) {
            Some(of_transform) => of_transform,
            None => self.by_transform.entry(transform.clone()).or_default(),
        };
        of_transform.all += time;
        self.counts += 1;
        let row = of_transform.rows.entry(revision).or_default();
        row.time += time;
        row.counted = self.counts;
    }

    /// Drops the rows above the limit. One that is gone is never counted elsewhere: rates over it would count it twice.
    fn drop_rows(&mut self, transform: &TransformId) {
        let Some(TransformTime { rows, .. }) = self.by_transform.get_mut(transform) else { return };
        while rows.len() > REVISIONS_MAX {
            let oldest = rows.iter().min_by_key(|(_, row)| row.counted).map(|(revision, _)| *revision);
            rows.remove(&oldest.expect("there are several"));
        }
    }

    /// Takes the process's time, of which the rest is the host's. It never gets less, as a counter must not.
    fn settle(&mut self, process: Duration) {
        self.of_host = self.of_host.max(process.saturating_sub(self.of_transforms));
    }

    /// Shows each row as labels and seconds.
    fn show(&self, mut show: impl FnMut([&str; 3], Duration)) {
        for (transform, time) in &self.by_transform {
            for (revision, row) in &time.rows {
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
        assert_eq!(spent.by_transform[&transform].all, Duration::from_secs((1..=6).sum()));
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
        assert_eq!([&gone, &other].map(|of| costs.of(of).as_secs()), [3, 2]);
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
