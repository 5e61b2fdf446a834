//! Tests over several runs of a host: marks, counts, and damaged files.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{CallMonitor, Crashes, Permit, calls, suspects_file};
use crate::model::batch::{Batch, Output};
use crate::model::names::TransformId;
use crate::model::units::Timestamp;
use crate::ports::{Call, Guest, GuestError, GuestFactory, TopicPartition};
use crate::state::KeyedState;

const CALLS: &str = "calls";

/// Reads the marks while it is in a call.
struct MarkReader(PathBuf);

impl Guest for MarkReader {
    fn process(&mut self, _: &Batch, _: Call, _: &mut KeyedState) -> Result<Output, GuestError> {
        Err(GuestError::Returned(marks(&self.0)))
    }

    fn tick(&mut self, _: Call, _: &mut KeyedState) -> Result<Output, GuestError> {
        Err(GuestError::Returned(marks(&self.0)))
    }

    fn memory_bytes(&self) -> usize {
        7
    }
}

impl Drop for MarkReader {
    fn drop(&mut self) {
        assert_eq!(marks(&self.0), "t/a: [None]", "an instance that is dropped");
    }
}

struct Factory(PathBuf);

impl GuestFactory for Factory {
    fn instantiate(&self) -> Result<Box<dyn Guest>, GuestError> {
        assert_eq!(marks(&self.0), "t/a: [None]");
        Ok(Box::new(MarkReader(self.0.clone())))
    }
}

fn marks(folder: &Path) -> String {
    let last = calls::read(&folder.join(CALLS)).expect("readable").expect("there");
    let shown = last.under_way.iter().map(|(id, partitions)| {
        let numbers = partitions.iter().map(|partition| partition.map(|partition| partition.partition));
        format!("{id}: {:?}", numbers.collect::<Vec<_>>())
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn id() -> TransformId {
    "t/a".parse().expect("valid")
}

#[test]
fn every_call_is_marked() {
    let folder = tempfile::tempdir().expect("a folder");
    let crashes = Crashes::open(folder.path(), Timestamp(0));
    let monitor = CallMonitor::new(&crashes, &id());
    monitor.load(|| assert_eq!(marks(folder.path()), "t/a: [None]"));
    let factory = monitor.factory(Arc::new(Factory(folder.path().to_owned())));
    let mut guest = factory.instantiate().expect("an instance");
    assert_eq!(marks(folder.path()), "");
    let call = Call { partition: TopicPartition { input: 0, partition: 3 }, now: Timestamp(0), ends_at: None };
    let marked = Err(GuestError::Returned("t/a: [Some(3)]".to_owned()));
    assert_eq!(guest.process(&Batch::default(), call, &mut KeyedState::default()), marked);
    assert_eq!(guest.tick(call, &mut KeyedState::default()), marked);
    assert_eq!((marks(folder.path()).as_str(), guest.memory_bytes()), ("", 7));
    drop(guest);
    assert_eq!(marks(folder.path()), "");
    for file in [CALLS, suspects_file::NAME] {
        assert_eq!(std::fs::metadata(folder.path().join(file)).expect("there").mode() & 0o777, 0o600, "{file}");
    }
}

/// Runs a host that dies in a call of `t/a`, which was resumed `resumes` times. Returns the permit that it got at first.
fn die(folder: &Path, resumes: u64, commits: bool) -> Permit {
    let crashes = Crashes::open(folder, Timestamp(0));
    let permit = crashes.permit(&id(), resumes);
    let monitor = CallMonitor::new(&crashes, &id());
    if commits {
        monitor.factory(Arc::new(Factory(PathBuf::new()))).committed(&[TopicPartition { input: 0, partition: 0 }]);
    }
    // The process ends here: its values are never dropped.
    std::mem::forget(crashes.take(&id()).expect("a slot"));
    permit
}

#[test]
fn the_third_end_in_a_row_quarantines_until_somebody_resumes() {
    let folder = tempfile::tempdir().expect("a folder");
    let die = |resumes, commits| die(folder.path(), resumes, commits);
    assert_eq!(die(0, false), Permit::Granted);
    assert_eq!(die(0, false), Permit::Waits);
    assert_eq!(die(0, true), Permit::Waits);
    assert_eq!(die(0, false), Permit::Waits, "its commit has cleared the two");
    assert_eq!(die(0, false), Permit::Waits);
    assert_eq!(die(0, false), Permit::Quarantined { since: Timestamp(0) });
    Crashes::open(folder.path(), Timestamp(0)).end_orderly();
    let crashes = Crashes::open(folder.path(), Timestamp(7));
    assert_eq!(crashes.permit(&id(), 0), Permit::Quarantined { since: Timestamp(0) });
    assert_eq!(crashes.permit(&id(), 1), Permit::Granted);
    assert_eq!(crashes.permit(&id(), 1), Permit::Granted);
    crashes.end_orderly();
    assert_eq!(die(1, false), Permit::Granted);
}

#[test]
fn damaged_files_keep_no_host_from_starting() {
    for text in ["", "{", "{\"version\":7}", "\u{0}\u{1}"] {
        let folder = tempfile::tempdir().expect("a folder");
        for file in [CALLS, suspects_file::NAME] {
            std::fs::write(folder.path().join(file), text).expect("written");
        }
        assert_eq!(die(folder.path(), 0, false), Permit::Granted, "{text:?}");
        assert_eq!(die(folder.path(), 0, false), Permit::Waits, "{text:?}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let large = std::fs::File::create(folder.path().join(suspects_file::NAME)).expect("made");
    large.set_len((64 << 20) + 1).expect("a file with a hole");
    let error = suspects_file::read(folder.path()).map(drop).expect_err("too long");
    assert_eq!(error, "has more than 67108864 bytes");
    assert_eq!(die(folder.path(), 0, false), Permit::Granted);
    // Nothing can be written.
    let crashes = Crashes::open(Path::new("/proc/none"), Timestamp(0));
    assert_eq!(crashes.permit(&id(), 0), Permit::Granted);
    assert!(crashes.take(&id()).is_some());
    crashes.end_orderly();
}
