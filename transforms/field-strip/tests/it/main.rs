//! The transform as a module runs it.

mod common;
mod events;
mod field;
mod garbage;
mod samples;
