//! What production watches: metrics (every name in `metrics`), the log's set-up, and what transforms say of themselves.

mod host_lines;
mod lane;
pub mod logging;
pub mod metrics;
pub mod rate;
pub mod transform_log;
