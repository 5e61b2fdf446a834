//! What production watches: metrics (every name in `metrics`), and the log's set-up.

pub mod logging;
pub mod metrics;
