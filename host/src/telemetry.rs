//! What production watches: metrics (every name in `metrics`), the log's set-up, and what transforms say of themselves.

pub mod journal;
pub mod logging;
pub mod metrics;
