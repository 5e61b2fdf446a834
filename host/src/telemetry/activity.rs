//! The activity of a host's transforms: rates, latency and memory over the last seconds, made of the metrics.
//!
//! The publisher of statuses owns the meter. It reads the counts once a second, and those of an idle transform not at all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::metrics::{Metrics, Reading};
use crate::model::names::{TopicName, TransformId};
use crate::model::status::{Activity, TopicRate, TransformStatus};

/// Time between two readings.
const INTERVAL: Duration = Duration::from_secs(1);
/// Readings that are kept: the activity is that of the time between the oldest and the newest.
const READINGS_MAX: usize = 6;

/// Measures the activity of transforms.
pub struct ActivityMeter {
    metrics: Metrics,
    windows: BTreeMap<TransformId, Window>,
}

/// The last readings of one transform.
#[derive(Default)]
struct Window {
    /// With the time of each. An idle transform has one reading for several times.
    readings: VecDeque<(Instant, Arc<TimedReading>)>,
    commits: u64,
    activity: Activity,
}

/// A reading, and the time at which it was made.
struct TimedReading {
    at: Instant,
    reading: Reading,
}

// === impl ActivityMeter ===

impl ActivityMeter {
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, windows: BTreeMap::new() }
    }

    /// Puts the activity of now into the statuses of this host's transforms.
    pub fn measure(&mut self, statuses: &mut [TransformStatus], now: Instant) {
        let mut windows = BTreeMap::new();
        for status in statuses {
            let mut window = self.windows.remove(&status.id).unwrap_or_default();
            if window.is_due(now) {
                window.read(&self.metrics, &status.id, now);
            }
            status.activity = Some(window.activity.clone());
            windows.insert(status.id.clone(), window);
        }
        // A transform that is not here any more is forgotten.
        self.windows = windows;
    }
}

// === impl Window ===

impl Window {
    fn is_due(&self, now: Instant) -> bool {
        self.readings.back().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= INTERVAL)
    }

    fn read(&mut self, metrics: &Metrics, id: &TransformId, now: Instant) {
        let metrics = metrics.transform(id);
        let commits = metrics.commits();
        let last = self.readings.back().map(|(_, last)| last.clone());
        let reading = match last.filter(|_| commits == self.commits) {
            Some(last) => last,
            None => Arc::new(TimedReading { at: now, reading: metrics.read() }),
        };
        self.commits = commits;
        self.readings.push_back((now, reading));
        if self.readings.len() > READINGS_MAX {
            self.readings.pop_front();
        }
        if let (Some((from, first)), Some((to, last))) = (self.readings.front(), self.readings.back()) {
            let span = to.saturating_duration_since(*from);
            self.activity = between(first, last, span, metrics.guest.memory_bytes());
        }
    }
}

/// The activity between two readings, over a time. CPU time has a longer one, where the transform was idle: all of it since
/// the first reading was made comes with the last one.
fn between(first: &TimedReading, last: &TimedReading, span: Duration, memory_bytes: u64) -> Activity {
    let span_of_cpu = last.at.saturating_duration_since(first.at);
    let TimedReading { reading: first, .. } = first;
    let TimedReading { reading: last, .. } = last;
    let inputs = rates(&first.inputs, &last.inputs, span);
    let outputs = rates(&first.outputs, &last.outputs, span);
    let sum = |rates: &[TopicRate]| rates.iter().map(|rate| rate.per_minute).sum();
    let latency = between_buckets(&first.latency, &last.latency);
    let guest_records = last.guest_records - first.guest_records;
    let guest_nanos = (last.guest_seconds - first.guest_seconds) * 1e9;
    Activity {
        in_per_minute: sum(&inputs),
        out_per_minute: sum(&outputs),
        failed_per_minute: per_minute(last.failed.saturating_sub(first.failed), span),
        inputs,
        outputs,
        latency_p50_ms: percentile_ms(&latency, 0.50),
        latency_p99_ms: percentile_ms(&latency, 0.99),
        guest_nanos_per_record: (guest_records > 0.0).then(|| (guest_nanos / guest_records) as u64),
        cpu_millicores: millicores(last.cpu.saturating_sub(first.cpu), span_of_cpu),
        memory_bytes,
    }
}

/// Rounds to the nearest: the few microseconds of an idle transform are none, and its activity stays equal.
fn millicores(cpu: Duration, span: Duration) -> u64 {
    let micros = span.as_micros().max(1);
    u64::try_from((cpu.as_micros() * 1000 + micros / 2) / micros).unwrap_or(u64::MAX)
}

/// The topics with any records in between.
fn rates(first: &BTreeMap<TopicName, u64>, last: &BTreeMap<TopicName, u64>, span: Duration) -> Vec<TopicRate> {
    let more = |(topic, count): (&TopicName, &u64)| {
        // A topic that was not there has its first records in between.
        let records = count.saturating_sub(first.get(topic).copied().unwrap_or(0));
        (records > 0).then(|| TopicRate { topic: topic.clone(), per_minute: per_minute(records, span) })
    };
    last.iter().filter_map(more).collect()
}

/// Rounds up: a record is never shown as none.
fn per_minute(records: u64, span: Duration) -> u64 {
    let millis = span.as_millis().max(1);
    u64::try_from((u128::from(records) * 60_000).div_ceil(millis)).unwrap_or(u64::MAX)
}

fn between_buckets(first: &[(f64, u64)], last: &[(f64, u64)]) -> Vec<(f64, u64)> {
    let before = |index: usize| first.get(index).map_or(0, |(_, count)| *count);
    last.iter().enumerate().map(|(index, (bound, count))| (*bound, count.saturating_sub(before(index)))).collect()
}

/// The time that a part of the batches stayed below, by the buckets of a histogram: a straight line within each.
fn percentile_ms(buckets: &[(f64, u64)], part: f64) -> Option<u64> {
    let total = buckets.last().map(|(_, count)| *count).filter(|count| *count > 0)?;
    let rank = part * total as f64;
    let mut below = (0.0, 0);
    for &(bound, count) in buckets {
        if count as f64 >= rank {
            let share = (rank - below.1 as f64) / ((count - below.1).max(1)) as f64;
            // Nothing is known of the last bucket but its lower bound.
            let bound = if bound.is_finite() { bound } else { below.0 };
            return Some(((below.0 + (bound - below.0) * share) * 1000.0).round() as u64);
        }
        below = (bound, count);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at: Instant, count: u64) -> TimedReading {
        let topics = |topic: &str| BTreeMap::from([(topic.parse().expect("valid"), count)]);
        let latency = vec![(0.1, 0), (0.2, count), (f64::INFINITY, count)];
        let guest_seconds = count as f64 / 1000.0;
        let guest_records = count as f64;
        let cpu = Duration::from_millis(2 * count);
        let [inputs, outputs] = ["in", "out"].map(topics);
        let reading = Reading { inputs, outputs, failed: 0, guest_seconds, guest_records, cpu, latency };
        TimedReading { at, reading }
    }

    #[test]
    fn activity_is_the_difference_of_two_readings() {
        let start = Instant::now();
        let span = Duration::from_secs(5);
        let activity = between(&reading(start, 100), &reading(start + span, 400), span, 7);
        assert_eq!((activity.in_per_minute, activity.out_per_minute, activity.failed_per_minute), (3600, 3600, 0));
        assert_eq!((activity.latency_p50_ms, activity.latency_p99_ms), (Some(150), Some(199)));
        assert_eq!((activity.guest_nanos_per_record, activity.memory_bytes), (Some(1_000_000), 7));
        assert_eq!(activity.cpu_millicores, 120);
        // The CPU time of a silence is not that of the seconds after it.
        let after_silence = between(&reading(start, 0), &reading(start + Duration::from_secs(3600), 3600), span, 7);
        assert_eq!(after_silence.cpu_millicores, 2, "7.2 s in an hour");
        assert_eq!(millicores(Duration::from_micros(2_499), Duration::from_secs(5)), 0);
        assert_eq!(millicores(Duration::ZERO, Duration::ZERO), 0);
        assert_eq!(activity.inputs, [TopicRate { topic: "in".parse().expect("valid"), per_minute: 3600 }]);
    }

    #[test]
    fn nothing_in_between_is_no_activity() {
        let same = reading(Instant::now(), 9);
        let activity = between(&same, &same, Duration::from_secs(5), 0);
        assert_eq!(activity, Activity::default());
    }

    #[test]
    fn one_record_is_never_none_and_a_late_batch_has_the_last_bound() {
        assert_eq!(per_minute(1, Duration::from_secs(600)), 1);
        assert_eq!(percentile_ms(&[(0.5, 0), (f64::INFINITY, 3)], 0.5), Some(500));
        assert_eq!(percentile_ms(&[(0.5, 0), (f64::INFINITY, 0)], 0.5), None);
    }

    #[test]
    fn the_meter_follows_the_metrics() {
        let metrics = Metrics::new();
        let id: TransformId = "shop/x".parse().expect("valid");
        let transform = metrics.transform(&id);
        let input = transform.input(&"in".parse().expect("valid"));
        let mut meter = ActivityMeter::new(metrics);
        let mut window = Window::default();
        let start = Instant::now();
        window.read(&meter.metrics, &id, start);
        input.records.inc_by(120);
        transform.committed.inc();
        window.read(&meter.metrics, &id, start + Duration::from_secs(6));
        assert_eq!(window.activity.in_per_minute, 1200);
        meter.windows.insert(id, window);
        meter.measure(&mut [], start);
        assert!(meter.windows.is_empty(), "a transform that is gone is forgotten");
    }
}
