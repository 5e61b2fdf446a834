//! Traces abnormal ends of the host to the transforms that were in a call, and keeps the culprit off.
//!
//! ```text
//!                in a call when the host died         three times in a row, without a commit
//!   (unknown) ------------------------------> suspect ------------------------------> quarantined
//!       ^                                        |                                        |
//!       +------ it commits; an orderly end ------+                                        |
//!       +------------------------------- somebody resumes it -----------------------------+
//! ```
//!
//! | file in the data folder | holds |
//! |---|---|
//! | `calls` | the calls that are under way, as marks: see `calls` |
//! | `crashes.json` | the suspects with their counts, and the quarantined: see `suspects` |
//!
//! Suspects are started one at a time (`start_queue`), so that an end counts for one of them and not for all: the culprit gets
//! its three ends, the innocent commit. This does not know by which means a transform ends the
//! host: it ends the crash loops that nobody has thought of.
//!
//! A worker's guests are wrapped in the guests of a [`CallMonitor`], which notes their calls.
//!
//! Invariants: a single end quarantines nobody; a damaged file keeps no host from starting; a run is counted once.

mod calls;
mod counts;
mod monitor;
mod registry;
mod start_queue;
mod suspects;
mod suspects_file;
#[cfg(test)]
mod tests;

pub use monitor::CallMonitor;
pub use registry::{Crashes, Permit};
pub use start_queue::StartPhase;
pub use suspects::ENDS_MAX;
