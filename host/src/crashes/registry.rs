//! The host's crashes: the suspects, the order in which they are started, and the files of both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::calls::{self, Calls, Slot};
use super::counts::CallCounts;
use super::start_queue::{StartPhase, StartQueue};
use super::suspects::Suspects;
use super::suspects_file;
use crate::model::codes::Code;
use crate::model::names::TransformId;
use crate::model::units::Timestamp;
use crate::ports::TopicPartition;

/// The file of the calls that are under way.
const CALLS: &str = "calls";

/// The host's crashes. Cloning shares them.
#[derive(Clone)]
pub struct Crashes {
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    calls: Arc<Calls>,
    registry: Mutex<Registry>,
}

struct Registry {
    suspects: Suspects,
    queue: StartQueue,
    /// The counts that monitors hold, and some that none holds any more.
    counts: BTreeMap<TransformId, Arc<CallCounts>>,
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
    /// Counts the end of the host's last run, and begins to watch this one.
    pub fn open(folder: &Path, now: Timestamp) -> Self {
        let before = suspects_file::read(folder).unwrap_or_else(|error| {
            unreadable(suspects_file::NAME, &error);
            Suspects::default()
        });
        let last = calls::read(&folder.join(CALLS)).unwrap_or_else(|error| {
            unreadable(CALLS, &error);
            None
        });
        let suspects = before.after(last.as_ref(), now);
        report(&suspects);
        let run = suspects.run.wrapping_add(1);
        let calls = suspects_file::save(folder, &suspects).and_then(|()| Calls::create(&folder.join(CALLS), run));
        let calls = calls.unwrap_or_else(|error| {
            tracing::warn!(code = %Code::LocalDisk, %error, "calls of guests cannot be noted: a crash may not be traced to its transform");
            Calls::default()
        });
        let registry = Registry { suspects, queue: StartQueue::new(Instant::now()), counts: BTreeMap::new() };
        Self {
            shared: Arc::new(Shared { folder: folder.to_owned(), calls: Arc::new(calls), registry: Mutex::new(registry) }),
        }
    }

    /// The host ends because somebody wants it to, or for an error that it can tell of.
    pub fn end_orderly(&self) {
        self.shared.calls.end_orderly();
    }

    /// Decides whether a transform may be started. `resumes`: how often it was resumed so far.
    pub fn permit(&self, id: &TransformId, resumes: u64) -> Permit {
        let mut registry = self.shared.registry.lock();
        let Registry { suspects, queue, .. } = &mut *registry;
        let Some(suspect) = suspects.get_mut(id) else {
            queue.start_other(id, Instant::now());
            return Permit::Granted;
        };
        let count = suspect.count();
        let quarantined_at = suspect.quarantined_at;
        match suspect.resumes {
            Some(known) if known != resumes => {
                tracing::info!(transform = %id, "resumed: it is no suspect any more");
                suspects.remove(id);
                queue.clear(id);
                self.save(suspects);
                return Permit::Granted;
            }
            Some(_) => {}
            None => {
                suspect.resumes = Some(resumes);
                self.save(suspects);
            }
        }
        match quarantined_at {
            Some(since) => Permit::Quarantined { since },
            None if queue.may_start(id, count, Instant::now()) => Permit::Granted,
            None => Permit::Waits,
        }
    }

    /// An attempt to start a transform is over, well or not.
    pub fn settle(&self, id: &TransformId) {
        self.shared.registry.lock().queue.settle(id, Instant::now());
    }

    /// A transform could not be started, or is not to run now.
    pub fn set_back(&self, id: &TransformId) {
        self.shared.registry.lock().queue.set_back(id, Instant::now());
    }

    /// Takes a look at a transform that runs: a suspect that does nothing leaves its turn to the next. Returns true if it is
    /// a suspect.
    pub fn look(&self, id: &TransformId, phase: StartPhase) -> bool {
        let mut registry = self.shared.registry.lock();
        if let Some(counts) = registry.counts.get(id) {
            let activity = counts.activity(phase);
            registry.queue.look(id, activity, Instant::now());
        }
        registry.suspects.contains(id)
    }

    /// Returns the counts of a transform's calls: the same ones to all who ask while anybody has them.
    pub(super) fn counts(&self, id: &TransformId) -> Arc<CallCounts> {
        let mut registry = self.shared.registry.lock();
        let Registry { suspects, counts, .. } = &mut *registry;
        if let Some(known) = counts.get(id) {
            return known.clone();
        }
        // Deleted transforms would pile up.
        counts.retain(|_, counts| Arc::strong_count(counts) > 1);
        let new = Arc::new(CallCounts::new(suspects.contains(id)));
        counts.insert(id.clone(), new.clone());
        new
    }

    /// Notes that a transaction with work on these partitions was committed. Returns true if the transform is still a suspect.
    pub(super) fn committed(&self, id: &TransformId, partitions: &[TopicPartition]) -> bool {
        let mut registry = self.shared.registry.lock();
        let Registry { suspects, queue, .. } = &mut *registry;
        let Some(suspect) = suspects.get_mut(id) else { return false };
        let cleared = suspect.committed(partitions.iter().copied());
        let is_suspect = suspect.count() > 0;
        if !is_suspect {
            suspects.remove(id);
            queue.clear(id);
        }
        if cleared {
            self.save(suspects);
        }
        is_suspect
    }

    /// Takes a slot in the file of calls, with its mark.
    pub(super) fn take(&self, id: &TransformId) -> Option<Slot> {
        self.shared.calls.take(id)
    }

    fn save(&self, suspects: &Suspects) {
        if let Err(error) = suspects_file::save(&self.shared.folder, suspects) {
            tracing::warn!(
                code = %Code::LocalDisk, file = suspects_file::NAME, %error,
                "not written: after a crash others are suspected than should be"
            );
        }
    }
}

fn unreadable(file: &str, error: &str) {
    tracing::warn!(code = %Code::LocalDisk, file, error, "unreadable: nobody is suspected of the last crash");
}

fn report(suspects: &Suspects) {
    for (id, suspect) in suspects.iter() {
        if suspect.quarantined_at.is_some() {
            tracing::error!(transform = %id, code = %Code::Quarantined, "quarantined on this host until it is resumed");
        } else {
            let count = suspect.count();
            tracing::warn!(
                transform = %id, count, "was in a call when this host ended abnormally: it is started after the others, alone"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_transforms_that_are_gone_are_not_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let crashes = Crashes::open(folder.path(), Timestamp(0));
        let id = |name: &str| name.parse::<TransformId>().expect("valid");
        let held = crashes.counts(&id("t/a"));
        for number in 0..100 {
            crashes.counts(&id(&format!("t/preview-{number}"))).begin();
        }
        assert!(Arc::ptr_eq(&held, &crashes.counts(&id("t/a"))));
        assert_eq!(crashes.shared.registry.lock().counts.len(), 2, "the held ones, and the newest");
        crashes.end_orderly();
    }
}
