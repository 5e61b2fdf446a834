//! The times by which hosts know each other to be alive.

use std::time::Duration;

/// Time between two records of a host in the status topic.
pub const BEAT: Duration = Duration::from_secs(5);
/// A host that was silent for longer is not there: it missed three beats, and a second is for the log.
pub const SILENT_MAX: Duration = Duration::from_secs(16);
