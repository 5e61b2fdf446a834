//! Bounds the lines of the host's own log: those about a transform, about all of a team, and from a place of the code.
//!
//! A guest that traps on every record, or a spec that fails for ever, makes the host say so again and again. Every event
//! with a field `transform` counts for that transform and its team, every other one for its place in the code. Events
//! over the rate are dropped and counted, and now and then a line says how many.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::guest_log::{GUEST, GUEST_ERROR};
use super::metrics::HOST_LINES_DROPPED;
use super::rate::{Bucket, Rate, Rates};
use crate::model::names::TransformId;
use crate::model::text::LineWriter;

/// Lines of one transform, of all of a team, and of one place. A minute's worth may come at once, as when a host starts.
const OF_TRANSFORM: Rate = Rate { lines: 5, bytes: 1 };
const OF_TEAM: Rate = Rate { lines: 50, bytes: 1 };
const OF_PLACE: Rate = Rate { lines: 50, bytes: 1 };
const BURST_S: u32 = 60;
/// Time between two lines that say how many were dropped.
const INTERVAL: Duration = Duration::from_secs(5);
/// The target of that line, which always passes.
const TARGET: &str = "sandbar::dropped";

/// See the module.
pub struct HostLines {
    transforms: Rates,
    places: Mutex<HashMap<Identifier, Bucket>>,
    dropped: Mutex<DroppedLines>,
}

/// Dropped lines that no line of the log has counted yet.
struct DroppedLines {
    lines: u64,
    last_logged: Instant,
}

impl Default for HostLines {
    fn default() -> Self {
        let dropped = Mutex::new(DroppedLines { lines: 0, last_logged: Instant::now() });
        Self { transforms: Rates::new(OF_TEAM, BURST_S), places: Mutex::default(), dropped }
    }
}

impl HostLines {
    fn passes(&self, event: &Event<'_>, now: Instant) -> bool {
        let mut found = TransformField::default();
        event.record(&mut found);
        if let Some(id) = found.0.and_then(|text| text.parse::<TransformId>().ok()) {
            return self.transforms.of(&id).take(OF_TRANSFORM, 0, now);
        }
        let mut places = self.places.lock();
        let place = places.entry(event.metadata().callsite()).or_default();
        let passes = place.has_room(OF_PLACE, BURST_S, now);
        if passes {
            place.take(0);
        }
        passes
    }

    /// Counts a dropped line; returns the number of dropped lines if it is time to log it.
    fn count(&self, passes: bool, now: Instant) -> Option<u64> {
        let mut dropped = self.dropped.lock();
        if !passes {
            dropped.lines += 1;
            HOST_LINES_DROPPED.inc();
        }
        if dropped.lines == 0 || now.saturating_duration_since(dropped.last_logged) < INTERVAL {
            return None;
        }
        dropped.last_logged = now;
        Some(std::mem::take(&mut dropped.lines))
    }
}

impl<S: Subscriber> Layer<S> for HostLines {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        if matches!(event.metadata().target(), GUEST | GUEST_ERROR | TARGET) {
            return true;
        }
        let now = Instant::now();
        let passes = self.passes(event, now);
        // No lock is held: this comes back here.
        if let Some(lines) = self.count(passes, now) {
            tracing::warn!(target: TARGET, lines, "lines of this log were dropped: too many of one transform, team or kind");
        }
        passes
    }
}

/// The field `transform`.
#[derive(Default)]
struct TransformField(Option<String>);

impl Visit for TransformField {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "transform" {
            let mut text = String::new();
            // A longer one is no name.
            let _ = write!(LineWriter { out: &mut text, bytes_max: 256 }, "{value:?}");
            self.0 = Some(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    struct Count(Arc<AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Count {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts the lines that ten thousand events make, with the line that counts the dropped ones.
    #[track_caller]
    fn check(log: impl Fn(usize), lines: std::ops::Range<usize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let subscriber = tracing_subscriber::registry().with(HostLines::default()).with(Count(count.clone()));
        tracing::subscriber::with_default(subscriber, || (0..10_000).for_each(log));
        let count = count.load(Ordering::Relaxed);
        assert!(lines.contains(&count), "{count} lines are not within {lines:?}");
    }

    #[test]
    fn a_transform_a_team_and_a_place_have_so_many_lines() {
        check(|_| tracing::warn!(transform = %"t/a", "it trapped"), 300..400);
        check(|i| tracing::warn!(transform = %format_args!("t/a{i}"), "it trapped"), 3000..3500);
        check(|_| tracing::warn!(topic = "t", "it is away"), 3000..3500);
        check(|_| tracing::info!(target: GUEST, transform = %"t/a", "hello"), 10_000..10_001);
        // One does not take another's.
        let both = |i| match i % 100 {
            0 => tracing::warn!(transform = %"quiet/a", "it trapped"),
            _ => tracing::warn!(transform = %"loud/a", "it trapped"),
        };
        check(both, 400..500);
    }
}
