//! Observing: metrics, the host's own log, and the logs and samples of transforms.
//!
//! The data plane tells a transform's [`observer`] of everything; metrics are counted at once, lines and samples go through
//! a queue that never blocks ([`transform_log`]).

pub mod activity;
pub mod export_queue;
mod guest_log;
mod host_lines;
mod lane;
pub mod logging;
pub mod meter;
pub mod metrics;
pub mod observer;
pub mod rate;
pub mod record_span;
mod sample_switch;
mod sampler;
pub mod transform_log;

pub use guest_log::{GUEST_ERROR, GuestLog};
