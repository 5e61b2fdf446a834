//! A worker's task manager over an embedded log, and over a fake one in virtual time.

mod bench;
mod expiries;
mod fake;
mod intervals;
mod refused;
mod rests;
mod stalled;
mod stops;
mod sweeps;
mod too_large;
mod traces;
mod waits;
