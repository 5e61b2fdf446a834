//! The metrics of each transform on this host, and the end of their series.
//!
//! The series of a transform stay while anybody holds its metrics: its actor, until the transform is deleted or has moved to
//! other hosts, and its revisions until they have ended. After that they stay for the next scrapes, which see the last
//! counters, until those of enough others were left behind. A transform that comes back meanwhile goes on counting.
//!
//! Invariant: series end only where nobody holds the metrics, so nothing is counted that nobody can read.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cpu::CpuMetrics;
use super::cpu_costs::CpuCosts;
use super::registrar::Registrar;
use super::transform::TransformMetrics;
use crate::model::names::{TeamName, TransformId};

/// Most transforms of a team, and of all, whose series stay while nobody holds their metrics. A team that deploys and deletes
/// in a loop ends no series of others. They are `forgotten_transforms_per_team_max` and `forgotten_transforms_max` of
/// docs/metrics.md.
const FORGOTTEN_PER_TEAM_MAX: usize = 100;
const FORGOTTEN_MAX: usize = 500;

/// See the module.
pub(super) struct KnownTransforms {
    registrar: Registrar,
    costs: Arc<CpuCosts>,
    cpu: CpuMetrics,
    by_id: BTreeMap<TransformId, KnownTransform>,
    /// The number of times that a transform was forgotten.
    forgets: u64,
}

struct KnownTransform {
    metrics: Arc<TransformMetrics>,
    /// Made the metrics, and takes their series away.
    registrar: Registrar,
    /// The number of the time that it was forgotten last, or 0.
    forgotten: u64,
}

impl KnownTransforms {
    pub fn new(r: &Registrar, cpu: CpuMetrics) -> Self {
        Self { registrar: r.clone(), costs: CpuCosts::new(r), cpu, by_id: BTreeMap::new(), forgets: 0 }
    }

    /// Returns the metrics of a transform, the same ones to everybody who asks while their series are there.
    pub fn of(&mut self, id: &TransformId) -> Arc<TransformMetrics> {
        if let Some(known) = self.by_id.get(id) {
            return known.metrics.clone();
        }
        let registrar = self.registrar.of_transform(id);
        let metrics = Arc::new(TransformMetrics::new(&registrar, id, self.costs.clone()));
        self.by_id.insert(id.clone(), KnownTransform { metrics: metrics.clone(), registrar, forgotten: 0 });
        metrics
    }

    /// Takes away the gauges of a transform that is not here any more, and the series of those above the limits.
    pub fn forget(&mut self, id: &TransformId) {
        if let Some(known) = self.by_id.get_mut(id) {
            self.forgets += 1;
            known.forgotten = self.forgets;
            known.metrics.clear_gauges();
        }
        while let Some(next) = self.next_to_end() {
            self.end(&next);
        }
    }

    /// Returns the transform whose series end next, where too many stay: the one that was forgotten first, of a team that is
    /// over its limit, or else of all.
    fn next_to_end(&self) -> Option<TransformId> {
        let unheld = self.by_id.iter().filter(|(_, known)| !known.is_held());
        let mut oldest_first: Vec<(u64, &TransformId)> = unheld.map(|(id, known)| (known.forgotten, id)).collect();
        oldest_first.sort_unstable();
        let mut by_team: BTreeMap<&TeamName, usize> = BTreeMap::new();
        for (_, id) in &oldest_first {
            *by_team.entry(&id.team).or_default() += 1;
        }
        let of_team = oldest_first.iter().find(|(_, id)| by_team[&id.team] > FORGOTTEN_PER_TEAM_MAX);
        let of_all = oldest_first.first().filter(|_| oldest_first.len() > FORGOTTEN_MAX);
        of_team.or(of_all).map(|(_, id)| (*id).clone())
    }

    /// Ends the series of a transform, and with the last one of a team those of the team.
    fn end(&mut self, id: &TransformId) {
        let Some(known) = self.by_id.remove(id) else { return };
        known.registrar.unregister();
        self.costs.forget(id);
        if self.by_id.keys().all(|other| other.team != id.team) {
            self.cpu.forget(&id.team);
        }
    }
}

impl KnownTransform {
    /// Returns true if anybody else holds the metrics. Who has none gets them here alone, under a lock.
    fn is_held(&self) -> bool {
        Arc::strong_count(&self.metrics) > 1
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::model::codes::Code;
    use crate::model::status::State;

    /// The metrics of a host's transforms.
    struct Bench {
        registrar: Registrar,
        known: KnownTransforms,
    }

    impl Bench {
        fn new() -> Self {
            let registrar = Registrar::default();
            let known = KnownTransforms::new(&registrar, CpuMetrics::new(&registrar));
            Self { registrar, known }
        }

        /// Deploys a transform, which runs for a while. It has series of every kind.
        fn run(&mut self, name: &str) -> Arc<TransformMetrics> {
            let id = id(name);
            let metrics = self.known.of(&id);
            drop(metrics.meter(1));
            self.known.cpu.team(&id.team).used(Duration::from_millis(1));
            metrics.skipped.inc();
            metrics.latency.observe(0.1);
            metrics.input(&"in".parse().expect("valid")).records.inc();
            metrics.failed("trap");
            metrics.state(State::Running);
            metrics.failed_partitions(BTreeMap::from([(Code::OffsetOutside, 1)]));
            metrics
        }

        /// Deploys a transform and deletes it.
        fn run_and_forget(&mut self, name: &str) {
            drop(self.run(name));
            self.known.forget(&id(name));
        }

        fn page(&self) -> String {
            self.registrar.render(&|_| true)
        }

        /// Counts the lines of the page.
        fn lines(&self) -> usize {
            self.page().lines().count()
        }

        /// The transforms with series of this name, as `team/name`.
        fn shown(&self, series: &str) -> BTreeSet<String> {
            let page = self.page();
            let lines = page.lines().filter(|line| line.starts_with(&format!("{series}{{")));
            let labels = lines.filter_map(|line| Some((label(line, "team")?, label(line, "transform")?)));
            labels.filter(|(team, _)| *team != "-").map(|(team, name)| format!("{team}/{name}")).collect()
        }

        /// The skipped records of a transform, if it has series.
        fn skipped(&self, name: &str) -> Option<u64> {
            let TransformId { team, name } = id(name);
            let start = format!("sandbar_records_skipped_total{{team=\"{team}\",transform=\"{name}\"}} ");
            let page = self.page();
            page.lines().find_map(|line| line.strip_prefix(&start)).and_then(|count| count.parse().ok())
        }
    }

    fn id(name: &str) -> TransformId {
        name.parse().expect("valid")
    }

    fn label<'a>(line: &'a str, name: &str) -> Option<&'a str> {
        line.split_once(&format!("{name}=\""))?.1.split('"').next()
    }

    fn names(team: &str, numbers: std::ops::Range<usize>) -> BTreeSet<String> {
        numbers.map(|number| format!("{team}/preview-{number}")).collect()
    }

    #[test]
    fn deleted_transforms_leave_few_series_and_the_newest_are_there() {
        let mut bench = Bench::new();
        let running = bench.run("t/running");
        let mut lines = Vec::new();
        for number in 1..=3 * FORGOTTEN_PER_TEAM_MAX {
            bench.run_and_forget(&format!("t/preview-{number}"));
            if number % FORGOTTEN_PER_TEAM_MAX == 0 {
                lines.push(bench.lines());
            }
        }
        assert_eq!(lines, [lines[0]; 3], "the page does not grow");
        let newest = 2 * FORGOTTEN_PER_TEAM_MAX + 1..3 * FORGOTTEN_PER_TEAM_MAX + 1;
        let mut expected = names("t", newest);
        expected.insert("t/running".to_owned());
        for series in [
            "sandbar_records_skipped_total",
            "sandbar_records_in_total",
            "sandbar_records_failed_total",
            concat!("sandbar_end_to_end_latency_seconds", "_count"),
            "sandbar_cpu_seconds_total",
        ] {
            assert_eq!(bench.shown(series), expected, "{series}");
        }
        assert_eq!(bench.shown("sandbar_partitions_failed"), BTreeSet::from(["t/running".to_owned()]));
        assert_eq!(bench.known.by_id.len(), FORGOTTEN_PER_TEAM_MAX + 1);
        assert_eq!(running.skipped.get(), 1);
    }

    #[test]
    fn a_deleted_transform_that_comes_back_goes_on_counting_and_stays() {
        let mut bench = Bench::new();
        bench.run_and_forget("t/back");
        (1..FORGOTTEN_PER_TEAM_MAX).for_each(|number| bench.run_and_forget(&format!("t/preview-{number}")));
        let back = bench.run("t/back");
        (0..2 * FORGOTTEN_PER_TEAM_MAX).for_each(|number| bench.run_and_forget(&format!("t/later-{number}")));
        back.skipped.inc();
        assert_eq!(bench.skipped("t/back"), Some(3));
        // Deleted again, it is the newest of them.
        drop(back);
        bench.known.forget(&id("t/back"));
        (1..FORGOTTEN_PER_TEAM_MAX).for_each(|number| bench.run_and_forget(&format!("t/last-{number}")));
        assert_eq!(bench.skipped("t/back"), Some(3));
        bench.run_and_forget("t/one-more");
        assert_eq!(bench.skipped("t/back"), None);
        bench.run_and_forget("t/back");
        assert_eq!(bench.skipped("t/back"), Some(1), "it begins again");
    }

    #[test]
    fn metrics_that_are_held_have_series_after_all() {
        let mut bench = Bench::new();
        // A revision that has not ended yet.
        let late = bench.run("t/late");
        bench.known.forget(&id("t/late"));
        (0..2 * FORGOTTEN_PER_TEAM_MAX).for_each(|number| bench.run_and_forget(&format!("t/preview-{number}")));
        late.skipped.inc();
        assert_eq!(bench.skipped("t/late"), Some(2));
        assert!(Arc::ptr_eq(&late, &bench.known.of(&id("t/late"))));
        drop(late);
        bench.run_and_forget("t/next");
        assert_eq!(bench.skipped("t/late"), None);
    }

    #[test]
    fn a_team_that_deletes_in_a_loop_ends_no_series_of_others() {
        let mut bench = Bench::new();
        bench.run_and_forget("quiet/a");
        (0..2 * FORGOTTEN_PER_TEAM_MAX).for_each(|number| bench.run_and_forget(&format!("loud/preview-{number}")));
        assert_eq!(bench.skipped("quiet/a"), Some(1));
        assert_eq!(bench.shown("sandbar_records_skipped_total").len(), FORGOTTEN_PER_TEAM_MAX + 1);
    }

    #[test]
    fn the_series_of_a_team_end_with_its_last_transform() {
        let mut bench = Bench::new();
        let running = bench.run("stays/a");
        bench.run_and_forget("stays/b");
        (0..FORGOTTEN_MAX + 10).for_each(|number| bench.run_and_forget(&format!("team-{number}/a")));
        let page = bench.page();
        let lines = page.lines().filter(|line| line.starts_with("sandbar_team_cpu_seconds_total{"));
        let teams: BTreeSet<String> = lines.filter_map(|line| label(line, "team")).map(str::to_owned).collect();
        let newest = (10..FORGOTTEN_MAX + 10).map(|number| format!("team-{number}"));
        let expected: BTreeSet<String> = newest.chain(["stays".to_owned()]).collect();
        assert_eq!(teams, expected);
        assert_eq!((bench.skipped("stays/b"), running.skipped.get()), (None, 1));
    }
}
