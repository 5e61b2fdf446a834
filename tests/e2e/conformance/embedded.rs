//! The embedded log passes the suite of every log, and survives `kill -9`: see [`durability`].

mod durability;

use std::sync::Arc;

use sandbar::embedded::{EmbeddedLog, Options};

use super::checks;

#[test]
fn the_embedded_log_conforms() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = EmbeddedLog::open(Options::new(dir.path())).expect("opens");
    checks::run(Arc::new(log), "conformance");
}

#[test]
fn the_embedded_log_survives_kill_9() {
    durability::kill_and_check();
}

/// The child process of the test above, which kills it. Run by itself, it ends at once.
#[test]
fn durability_child() {
    durability::child();
}
