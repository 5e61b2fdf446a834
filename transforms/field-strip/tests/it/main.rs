//! The transform as a module runs it.

mod common;
mod events;
mod garbage;
mod samples;
