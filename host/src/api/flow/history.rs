//! The last ten minutes of a transform, in memory: one point each five seconds.

use std::collections::VecDeque;
use std::time::Duration;

use crate::api_types::{Activity, FlowRecent, HistoryView};
use crate::model::names::TransformId;
use crate::model::units::Timestamp;

/// Time between two points.
pub const POINT: Duration = Duration::from_secs(5);
/// Points that are kept: ten minutes, in about 6 KB.
const POINTS_MAX: usize = 120;
/// Points that one value of a short form stands for.
const RECENT_STEP: usize = 2;

/// Values at one moment. They are cut to 32 bits: more records a minute, or more memory, has nobody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Point {
    lag: Option<u32>,
    work: Option<Work>,
}

/// The values of an activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Work {
    records_in: u32,
    records_out: u32,
    failed: u32,
    latency_p50_ms: Option<u32>,
    latency_p99_ms: Option<u32>,
    guest_nanos: Option<u32>,
    memory_bytes: u32,
}

/// The points of one transform, the newest last.
#[derive(Debug, Default)]
pub struct History {
    points: VecDeque<Point>,
}

// === impl Point ===

impl Point {
    pub fn of(lag: Option<u64>, activity: Option<&Activity>) -> Self {
        let work = activity.map(|activity| Work {
            records_in: cut(activity.in_per_minute),
            records_out: cut(activity.out_per_minute),
            failed: cut(activity.failed_per_minute),
            latency_p50_ms: activity.latency_p50_ms.map(cut),
            latency_p99_ms: activity.latency_p99_ms.map(cut),
            guest_nanos: activity.guest_nanos_per_record.map(cut),
            memory_bytes: cut(activity.memory_bytes),
        });
        Self { lag: lag.map(cut), work }
    }
}

fn cut(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

// === impl History ===

impl History {
    pub fn push(&mut self, point: Point) {
        if self.points.len() == POINTS_MAX {
            self.points.pop_front();
        }
        self.points.push_back(point);
    }

    /// All points as columns; `until` is the time of the newest.
    pub fn view(&self, until: Timestamp) -> HistoryView {
        HistoryView {
            until: until.0,
            interval_ms: POINT.as_millis() as u64,
            in_per_minute: self.works(|work| Some(work.records_in)),
            out_per_minute: self.works(|work| Some(work.records_out)),
            failed_per_minute: self.works(|work| Some(work.failed)),
            lag: self.points.iter().map(|point| point.lag).collect(),
            latency_p50_ms: self.works(|work| work.latency_p50_ms),
            latency_p99_ms: self.works(|work| work.latency_p99_ms),
            guest_nanos_per_record: self.works(|work| work.guest_nanos),
            memory_bytes: self.works(|work| Some(work.memory_bytes)),
        }
    }

    /// The input records alone, at half the points.
    pub fn recent(&self, id: &TransformId) -> FlowRecent {
        let newest_first: Vec<Option<u32>> =
            self.points.iter().rev().step_by(RECENT_STEP).map(|point| point.work.map(|work| work.records_in)).collect();
        FlowRecent {
            id: super::reference(id),
            interval_ms: (POINT * RECENT_STEP as u32).as_millis() as u64,
            in_per_minute: newest_first.into_iter().rev().collect(),
        }
    }

    fn works(&self, value: impl Fn(&Work) -> Option<u32>) -> Vec<Option<u32>> {
        self.points.iter().map(|point| point.work.as_ref().and_then(&value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(points: u64) -> History {
        let mut history = History::default();
        for number in 0..points {
            let activity = Activity { in_per_minute: number, memory_bytes: u64::MAX, ..Activity::default() };
            history.push(Point::of(Some(number), (number != 1).then_some(&activity)));
        }
        history
    }

    #[test]
    fn a_history_is_columns_with_gaps() {
        let view = history(3).view(Timestamp(7));
        assert_eq!((view.until, view.in_per_minute), (7, vec![Some(0), None, Some(2)]));
        assert_eq!((view.lag, view.latency_p50_ms), (vec![Some(0), Some(1), Some(2)], vec![None, None, None]));
        assert_eq!(view.memory_bytes[0], Some(u32::MAX));
    }

    #[test]
    fn a_history_is_bounded_and_its_short_form_ends_with_the_newest() {
        let history = history(1000);
        assert_eq!(history.view(Timestamp(0)).lag.len(), POINTS_MAX);
        let recent = history.recent(&"shop/x".parse().expect("valid"));
        assert_eq!((recent.in_per_minute.len(), recent.in_per_minute.last()), (POINTS_MAX / RECENT_STEP, Some(&Some(999))));
        assert_eq!(recent.in_per_minute.first(), Some(&Some(881)));
    }
}
