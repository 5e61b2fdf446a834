//! Processors for tests: enough of them that nobody waits.

use std::sync::{Arc, LazyLock};

use sandbar::cpu::{CpuAccount, Processors};
use sandbar::telemetry::metrics::Metrics;

const COUNT: usize = 64;

pub fn processors() -> Processors {
    static PROCESSORS: LazyLock<Processors> = LazyLock::new(|| Processors::new(COUNT, Arc::new(|_| 1), Metrics::new().cpu));
    PROCESSORS.clone()
}

pub fn account(team: &str) -> CpuAccount {
    processors().account(&team.parse().expect("a valid name"))
}
