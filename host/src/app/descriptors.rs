//! File descriptors: as many as the system gives, and at least as many as the host needs.
//!
//! Too few would show as connections that nobody accepts, and as stores and sessions that cannot be opened, whenever the
//! host has much to do. So a host does not start with them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// File descriptors for everything but connections, at least.
const BESIDE: u64 = 512;

/// The files that a host opens with this number of connections, at most.
pub fn needed(connections: u64) -> u64 {
    connections + BESIDE
}

/// Raises the soft limit to the hard one, and refuses a hard limit that is too small for this number of connections.
pub fn raise(connections: u64) -> anyhow::Result<()> {
    let needed = needed(connections);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some() && current != maximum {
        let raised = Rlimit { current: maximum, maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the number of open files cannot be raised to what is permitted");
        }
    }
    let available = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    anyhow::ensure!(
        available >= needed,
        "this process may open {available} files, and needs {needed} for its connections, its stores and Kafka: raise the \
         hard limit (ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of Docker), or lower --connections-max"
    );
    Ok(())
}
