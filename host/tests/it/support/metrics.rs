//! Waits for the metrics of a host under test.

use std::time::{Duration, Instant};

use sandbar::telemetry::metrics::Metrics;

const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until a line of the metrics is there.
#[track_caller]
pub fn wait_for<'a>(metrics: &'a Metrics, line: &str) -> impl Future<Output = ()> + use<'a> {
    let caller = std::panic::Location::caller();
    let line = line.to_owned();
    async move {
        let started = Instant::now();
        while !metrics.render().lines().any(|found| found == line) {
            assert!(started.elapsed() < PATIENCE, "no {line} ({caller}): {}", metrics.render());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
