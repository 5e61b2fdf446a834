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
//! | `calls` | the calls that are under way, as marks: see [`calls`] |
//! | `crashes.json` | the suspects with their counts, and the quarantined: see [`ends`] |
//!
//! Suspects are started one at a time ([`turns`]), so that an end counts for one of them and not for all: the culprit gets
//! its three ends, the innocent commit. This knows nothing of what a transform does to the host: it ends the crash loop
//! that nobody has thought of.
//!
//! Invariants: a single end quarantines nobody; a damaged file keeps no host from starting; a run is counted once.

mod calls;
mod ends;
mod turns;
mod watched;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::model::codes::Code;
use crate::model::names::TransformId;
use crate::model::units::Timestamp;
use crate::ports::TopicPartition;
use calls::{Calls, Slot};
use ends::{Ends, Suspect};
use turns::Turns;

pub use ends::ENDS_MAX;
pub use turns::{Seen, Standing};
pub use watched::Watch;

const CALLS: &str = "calls";
const CRASHES: &str = "crashes.json";
/// Largest file of suspects that is read.
const CRASHES_BYTES_MAX: u64 = 64 << 20;

/// The host's crashes. Cloning shares them.
#[derive(Clone)]
pub struct Crashes {
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    calls: Arc<Calls>,
    state: Mutex<State>,
}

struct State {
    ends: Ends,
    turns: Turns,
    watches: BTreeMap<TransformId, Arc<Watch>>,
}

/// The answer to a transform that is to be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    Granted,
    /// The transform is a suspect, and another has its turn.
    Waits,
    Quarantined {
        since: Timestamp,
    },
}

impl Crashes {
    /// Counts how the last run of the host ended, and begins to watch this one.
    pub fn open(folder: &Path, now: Timestamp) -> Self {
        let before = read_suspects(&folder.join(CRASHES)).unwrap_or_else(|error| {
            unreadable(CRASHES, &error);
            Ends::default()
        });
        let last = calls::read(&folder.join(CALLS)).unwrap_or_else(|error| {
            unreadable(CALLS, &error);
            None
        });
        let ends = before.after(last.as_ref(), now);
        tell(&ends);
        let run = ends.run.wrapping_add(1);
        let state = State { ends, turns: Turns::new(Instant::now()), watches: BTreeMap::new() };
        let calls = save(folder, &state.ends).and_then(|()| Calls::create(&folder.join(CALLS), run));
        let calls = calls.unwrap_or_else(|error| {
            tracing::warn!(code = %Code::LocalDisk, %error, "calls of guests cannot be noted: a crash may not be traced to its transform");
            Calls::default()
        });
        Self { shared: Arc::new(Shared { folder: folder.to_owned(), calls: Arc::new(calls), state: Mutex::new(state) }) }
    }

    /// The host ends because somebody wants it to, or for an error that it can tell of.
    pub fn end_orderly(&self) {
        self.shared.calls.end_orderly();
    }

    /// Tells whether a transform may be started, which was resumed so often.
    pub fn permit(&self, id: &TransformId, resumes: u64) -> Permit {
        let mut state = self.shared.state.lock();
        let State { ends, turns, .. } = &mut *state;
        let Some(suspect) = ends.suspects.get_mut(id) else {
            turns.start_other(id);
            return Permit::Granted;
        };
        match suspect.resumes {
            Some(known) if known != resumes => {
                tracing::info!(transform = %id, "resumed: it is no suspect any more");
                ends.suspects.remove(id);
                turns.clear(id);
                self.keep(ends);
                return Permit::Granted;
            }
            Some(_) => {}
            None => {
                suspect.resumes = Some(resumes);
                self.keep(ends);
            }
        }
        let suspect = &ends.suspects[id];
        match suspect.quarantined_at {
            Some(since) => Permit::Quarantined { since },
            None if turns.may_start(id, suspect.count(), Instant::now()) => Permit::Granted,
            None => Permit::Waits,
        }
    }

    /// An attempt to start a transform is over, well or not.
    pub fn settle(&self, id: &TransformId) {
        self.shared.state.lock().turns.settle(id);
    }

    /// A transform could not be started, or is not to run now.
    pub fn set_back(&self, id: &TransformId) {
        self.shared.state.lock().turns.set_back(id, Instant::now());
    }

    /// Takes a look at a transform that runs: a suspect that does nothing leaves its turn to the next.
    pub fn look(&self, id: &TransformId, standing: Standing) {
        let mut state = self.shared.state.lock();
        let Some(watch) = state.watches.get(id) else { return };
        let seen = watch.seen(standing);
        state.turns.look(id, seen, Instant::now());
    }

    /// The watch over a transform's calls.
    pub fn watch(&self, id: &TransformId) -> Arc<Watch> {
        let mut state = self.shared.state.lock();
        let is_suspect = state.ends.suspects.contains_key(id);
        let watch = || Arc::new(Watch::new(id, self.clone(), is_suspect));
        state.watches.entry(id.clone()).or_insert_with(watch).clone()
    }

    /// A transaction with work on these partitions was committed. Returns whether the transform is still a suspect.
    fn committed(&self, id: &TransformId, partitions: &[TopicPartition]) -> bool {
        let mut state = self.shared.state.lock();
        let State { ends, turns, .. } = &mut *state;
        let Some(suspect) = ends.suspects.get_mut(id) else { return false };
        let cleared = suspect.committed(partitions.iter().copied());
        let is_suspect = suspect.count() > 0;
        if !is_suspect {
            ends.suspects.remove(id);
            turns.clear(id);
        }
        if cleared {
            self.keep(ends);
        }
        is_suspect
    }

    fn take(&self, id: &TransformId) -> Option<Slot> {
        self.shared.calls.take(id)
    }

    fn keep(&self, ends: &Ends) {
        if let Err(error) = save(&self.shared.folder, ends) {
            tracing::warn!(code = %Code::LocalDisk, file = CRASHES, %error, "not written: after a crash others are suspected than should be");
        }
    }
}

fn read_suspects(path: &Path) -> Result<Ends, String> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Ends::default()),
        Err(error) => return Err(error.to_string()),
        Ok(metadata) if metadata.len() > CRASHES_BYTES_MAX => return Err(format!("it has {} bytes", metadata.len())),
        Ok(_) => {}
    }
    let json = std::fs::read(path).map_err(|error| error.to_string())?;
    Ends::parse(&json)
}

/// Written whole or not at all, for the host's user only; a power cut may not bring an older count back.
fn save(folder: &Path, ends: &Ends) -> std::io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&ends.to_json())?;
    file.as_file().sync_data()?;
    file.persist(folder.join(CRASHES)).map(drop).map_err(|error| error.error)
}

fn unreadable(file: &str, error: &str) {
    tracing::warn!(code = %Code::LocalDisk, file, error, "unreadable: nobody is suspected of the last crash");
}

fn tell(ends: &Ends) {
    for (id, suspect) in &ends.suspects {
        let Suspect { quarantined_at, .. } = suspect;
        let count = suspect.count();
        match quarantined_at {
            Some(_) => tracing::error!(
                transform = %id, code = %Code::Quarantined, "quarantined on this host until it is resumed"
            ),
            None => tracing::warn!(
                transform = %id, count, "was in a call when this host ended abnormally: it is started after the others, alone"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::batch::{Batch, Output};
    use crate::ports::{Call, Guest, GuestError, GuestFactory};
    use std::os::unix::fs::MetadataExt;

    /// Looks at the marks while it is in a call.
    struct Looks(PathBuf);

    impl Guest for Looks {
        fn process(&mut self, _: &Batch, _: Call, _: &mut crate::state::KeyedState) -> Result<Output, GuestError> {
            Err(GuestError::Returned(marks(&self.0)))
        }

        fn tick(&mut self, _: Call, _: &mut crate::state::KeyedState) -> Result<Output, GuestError> {
            Err(GuestError::Returned(marks(&self.0)))
        }

        fn memory_bytes(&self) -> usize {
            7
        }
    }

    impl Drop for Looks {
        fn drop(&mut self) {
            assert_eq!(marks(&self.0), "t/a: [None]", "an instance that is dropped");
        }
    }

    struct Factory(PathBuf);

    impl GuestFactory for Factory {
        fn instantiate(&self) -> Result<Box<dyn Guest>, GuestError> {
            assert_eq!(marks(&self.0), "t/a: [None]");
            Ok(Box::new(Looks(self.0.clone())))
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
        let watch = crashes.watch(&id());
        watch.load(|| assert_eq!(marks(folder.path()), "t/a: [None]"));
        let factory = watch.factory(Arc::new(Factory(folder.path().to_owned())));
        let mut guest = factory.instantiate().expect("an instance");
        assert_eq!(marks(folder.path()), "");
        let call = Call { partition: TopicPartition { input: 0, partition: 3 }, now: Timestamp(0) };
        let marked = Err(GuestError::Returned("t/a: [Some(3)]".to_owned()));
        assert_eq!(guest.process(&Batch::default(), call, &mut crate::state::KeyedState::default()), marked);
        assert_eq!(guest.tick(call, &mut crate::state::KeyedState::default()), marked);
        assert_eq!((marks(folder.path()).as_str(), guest.memory_bytes()), ("", 7));
        drop(guest);
        assert_eq!(marks(folder.path()), "");
        for file in [CALLS, CRASHES] {
            assert_eq!(std::fs::metadata(folder.path().join(file)).expect("there").mode() & 0o777, 0o600, "{file}");
        }
    }

    /// A run of the host that dies in a call of `t/a`, resumed so often; the permit that it got at first.
    fn die(folder: &Path, resumes: u64, commits: bool) -> Permit {
        let crashes = Crashes::open(folder, Timestamp(0));
        let permit = crashes.permit(&id(), resumes);
        let watch = crashes.watch(&id());
        if commits {
            watch.factory(Arc::new(Factory(PathBuf::new()))).committed(&[TopicPartition { input: 0, partition: 0 }]);
        }
        // The process ends here: what it holds is never dropped.
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
            for file in [CALLS, CRASHES] {
                std::fs::write(folder.path().join(file), text).expect("written");
            }
            assert_eq!(die(folder.path(), 0, false), Permit::Granted, "{text:?}");
            assert_eq!(die(folder.path(), 0, false), Permit::Waits, "{text:?}");
        }
        // Nothing can be written.
        let crashes = Crashes::open(Path::new("/proc/none"), Timestamp(0));
        assert_eq!(crashes.permit(&id(), 0), Permit::Granted);
        assert!(crashes.take(&id()).is_some());
        crashes.end_orderly();
    }
}
