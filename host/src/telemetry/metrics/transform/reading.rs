//! The counts of a transform at one moment: two of them tell its activity in between.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus::Histogram;
use prometheus::core::Metric;

use super::TransformMetrics;
use crate::model::names::TopicName;

/// Counts since the host started.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    pub inputs: BTreeMap<TopicName, u64>,
    pub outputs: BTreeMap<TopicName, u64>,
    /// Records that were dead-lettered or skipped.
    pub failed: u64,
    /// Seconds of all calls, and the records of these calls.
    pub guest_seconds: f64,
    pub guest_records: f64,
    /// CPU time that was spent for it, calls and all else.
    pub cpu: Duration,
    /// Batches by latency: upper bound of the bucket in seconds, batches up to there.
    pub latency: Vec<(f64, u64)>,
}

impl TransformMetrics {
    /// Reads the counts of now.
    pub fn read(&self) -> Reading {
        let counts = |topics: &BTreeMap<TopicName, prometheus::IntCounter>| {
            topics.iter().map(|(topic, records)| (topic.clone(), records.get())).collect()
        };
        let inputs = counts(&self.inputs.lock());
        let outputs = counts(&self.outputs.lock());
        Reading {
            inputs,
            outputs,
            failed: self.dead_lettered.get() + self.skipped.get(),
            guest_seconds: self.guest.call_time.get_sample_sum(),
            guest_records: self.guest.batch_records.get_sample_sum(),
            cpu: self.costs.of(&self.id),
            latency: buckets(&self.latency),
        }
    }

    /// Counts committed transactions. Where the number is that of before, nothing else has changed but CPU time.
    pub fn commits(&self) -> u64 {
        self.committed.get()
    }
}

fn buckets(histogram: &Histogram) -> Vec<(f64, u64)> {
    let metric = histogram.metric();
    let buckets = metric.get_histogram().get_bucket().iter();
    let mut counts: Vec<(f64, u64)> = buckets.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count())).collect();
    counts.push((f64::INFINITY, metric.get_histogram().get_sample_count()));
    counts
}
