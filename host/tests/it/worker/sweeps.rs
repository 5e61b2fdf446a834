//! Which expired entries a worker deletes.

use std::sync::Arc;

use sandbar::embedded::{EmbeddedLog, Options};
use sandbar::model::codes::Code;
use sandbar::model::names::TopicName;
use sandbar::model::spec::Start;
use sandbar::model::status::State;
use sandbar::ports::{Log, LogRecord, NewTopic};
use sandbar::worker::Command;
use serde_json::json;

use super::bench::{GROUP, topic};
use super::fake::Expired;
use super::stops::{start, wait_until};

/// A newer host has committed it, maybe with a revision to which the entry is alive.
#[test]
fn a_partition_with_metadata_that_is_not_understood_keeps_its_entries() {
    const CHANGELOG: &str = "_sandbar.c.state.t.n.s";
    let dir = tempfile::tempdir().expect("a directory");
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(Options::new(dir.path())).expect("opens"));
    let of_two = |name: &str| {
        let name: TopicName = name.parse().expect("valid");
        log.create_topic(&NewTopic { name: name.clone(), partitions: 2, compacted: false, retention: None }).expect("made");
        name
    };
    let [input, changelog] = ["in", CHANGELOG].map(of_two);
    for name in ["out", "t.n.dead-letter"] {
        topic(&*log, name, false);
    }
    let mut first = log.start_offsets(&input, &Start::Earliest).expect("there");
    for offset in &mut first {
        if offset.partition == 1 {
            offset.metadata = r#"{"version":99}"#.into();
        }
    }
    log.commit_for_group(GROUP, &first).expect("nobody is a member");
    let worker = start(
        log.clone(),
        &json!({"state": {"s": {}}}),
        vec![changelog.clone()],
        Some(Arc::new(Expired { entries: 1, key_bytes: 3 })),
    );
    wait_until(|| {
        let status = worker.status.borrow();
        let of = |state: State| status.partitions.iter().filter(|partition| partition.state == state).count();
        let error = status.partitions.iter().find_map(|partition| partition.error.as_ref());
        of(State::Running) == 1 && error.is_some_and(|error| error.code == Code::OffsetUnreadable)
    });
    let record = LogRecord { offset: 0, timestamp: 1, key: None, value: Some(b"v".to_vec()), headers: Vec::new() };
    log.append(&input, Some(0), vec![record]).expect("appended");
    let written = |partition: usize| log.bounds(&changelog).expect("there")[partition].1;
    wait_until(|| written(0) > 0);
    assert_eq!(written(1), 0, "its entry was deleted");
    worker.commands.send(Command::Stop).expect("it runs");
    worker.thread.join().expect("it ends");
}
