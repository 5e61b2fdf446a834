//! Pieces that several folders of tests share.

pub mod certificates;
pub mod cpu;
pub mod dev_host;
pub mod gated;
pub mod guests;
pub mod metrics;
