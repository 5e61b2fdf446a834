//! Reads the pages of this repository for the tests that run their commands, and compares what those print with the pages.
#![forbid(unsafe_code)]

mod output;
pub mod page;

pub use output::matches;
