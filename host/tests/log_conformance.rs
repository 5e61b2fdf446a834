//! One suite over every log. Here it runs over the embedded one, in `tests/` over a real Kafka.
//!
//! And the embedded log under `kill -9`: see [`durability`].

#[path = "support/conformance.rs"]
mod conformance;
#[path = "support/conformance_durability.rs"]
mod durability;

use std::sync::Arc;

use sandbar::embedded::{EmbeddedLog, Options};

#[test]
fn the_embedded_log_conforms() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = EmbeddedLog::open(Options::new(dir.path())).expect("opens");
    conformance::run(Arc::new(log), "conformance");
}

#[test]
fn the_embedded_log_survives_kill_9() {
    durability::kill_and_check();
}

/// Not a test of its own: what the test above runs as a child process, to be killed.
#[test]
fn durability_child() {
    durability::child();
}
