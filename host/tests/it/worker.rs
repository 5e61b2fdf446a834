//! A worker's task manager over an embedded log.

mod refused;
mod too_large;
