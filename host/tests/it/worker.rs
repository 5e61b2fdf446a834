//! A worker's task manager over an embedded log.

mod bench;
mod refused;
mod stalled;
mod too_large;
