//! The times by which hosts know each other to be alive.

use std::time::Duration;

/// Time between two records of a host in the status topic.
pub const BEAT: Duration = Duration::from_secs(3);
/// A host that was silent for longer is not there: it missed three beats, and a second is for the log. By then a consumer
/// group gives up a silent member as well.
pub const SILENT_MAX: Duration = Duration::from_secs(10);
/// A host that knows of no placement is not there after this time of silence: its beats are 5 s apart.
pub const OLDER_SILENT_MAX: Duration = Duration::from_secs(16);
/// A host that was silent for that long is forgotten (`host_retention`).
pub const HOST_RETENTION: Duration = Duration::from_secs(24 * 3600);
