//! A worker's task manager over an embedded log.

mod bench;
mod refused;
mod too_large;
