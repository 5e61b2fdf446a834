//! The offsets of a task in its partition: processed, committed, stored.

use crate::model::revision::{COUNT_MAX, Progress};
use crate::ports::{CommitOffset, Positions};

use super::Settings;

/// The offsets of a task. `next >= committed >= stored`, but for a `next` that a pause moves back to a bad record.
pub(super) struct Offsets {
    /// Every record before it is done in the open transaction, or committed.
    next: i64,
    /// Every record before it is done and committed.
    committed: i64,
    /// The offset that the group has. Control records that were passed since may lie before `committed`.
    stored: i64,
    /// The metadata that came with `stored`, until the task commits metadata of its own.
    stored_metadata: Option<String>,
    /// The revision that the committed offset names, with the first offset of that revision.
    progress: Progress,
    /// The highest revision that an offset names of those that share its state.
    shared_revision: u64,
    /// The first offset of the revision that runs.
    since: i64,
    /// The worker that commits: see [`Progress::worker`].
    worker: Option<String>,
}

impl Offsets {
    /// The offsets of a task that begins with a revision. The second value is the reason for which the metadata of its
    /// committed offset is not believed.
    pub fn new(assigned: &CommitOffset, settings: &Settings) -> (Self, Option<String>) {
        let &CommitOffset { next_offset, ref metadata, .. } = assigned;
        let parsed = Progress::parse(metadata, next_offset);
        let foreign = parsed.as_ref().err().map(ToString::to_string);
        let mut progress = parsed.unwrap_or_else(|_| Progress::unknown(next_offset));
        // The metadata names a state that never was, or one that this host has not heard of yet.
        let is_beyond = !settings.changelogs.is_empty() && progress.resets > settings.resets;
        let beyond = is_beyond
            .then(|| format!("it is of a state after {} resets, and there were {}", progress.resets, settings.resets));
        if progress.resets != settings.resets {
            // They are positions in changelogs that are given up.
            progress.changelogs.clear();
        }
        // Somebody may have moved the offset back since.
        let is_continued = progress.revision == settings.revision;
        let since = if is_continued { progress.since.min(next_offset) } else { next_offset };
        let offsets = Self {
            next: next_offset,
            committed: next_offset,
            stored: next_offset,
            stored_metadata: Some(metadata.clone()),
            progress,
            shared_revision: 0,
            since,
            worker: None,
        };
        (offsets, foreign.or(beyond))
    }

    /// From now on metadata names this worker.
    pub fn sign_as(&mut self, worker: Option<&str>) {
        self.worker = worker.map(str::to_owned);
    }

    pub fn next(&self) -> i64 {
        self.next
    }

    pub fn committed(&self) -> i64 {
        self.committed
    }

    /// The first offset of the revision that runs.
    pub fn since(&self) -> i64 {
        self.since
    }

    /// Positions in changelogs that were committed with the offset.
    pub fn changelogs(&self) -> &Positions {
        &self.progress.changelogs
    }

    /// The revision that the committed offset names, or that of another input which shares the state; 0 if no revision can
    /// follow that one.
    pub fn revision(&self) -> u64 {
        let own = if self.progress.revision < COUNT_MAX { self.progress.revision } else { 0 };
        own.max(self.shared_revision)
    }

    /// Notes the revision of an offset that shares the state.
    pub fn share(&mut self, revision: u64) {
        self.shared_revision = self.shared_revision.max(revision);
    }

    /// Goes on with another revision from the next record on.
    pub fn swap(&mut self, revision: u64) {
        self.since = if self.progress.revision == revision { self.progress.since } else { self.next };
    }

    pub fn move_to(&mut self, next: i64) {
        self.next = next;
    }

    /// Returns true if the open transaction has records of the task.
    pub fn have_moved(&self) -> bool {
        self.next != self.committed
    }

    /// Counts control records up to `end` as done, with no transaction open.
    pub fn pass(&mut self, end: i64) {
        self.next = end;
        self.committed = end;
    }

    /// Returns true if control records were passed that the group's offset does not have.
    pub fn have_passed(&self) -> bool {
        self.next > self.stored
    }

    /// The metadata of the next commit, if the open transaction has work of the task.
    pub fn own_metadata(&self, settings: &Settings, changelogs: &Positions) -> String {
        self.own_progress(settings, changelogs).to_string()
    }

    /// The metadata that goes with control records: that of the last commit, since no revision has worked.
    pub fn stored_metadata(&self) -> String {
        self.stored_metadata.clone().unwrap_or_else(|| self.progress.to_string())
    }

    /// Notes that `next` was committed with metadata of the task's own.
    pub fn work_was_committed(&mut self, settings: &Settings, changelogs: &Positions) {
        self.progress = self.own_progress(settings, changelogs);
        self.stored_metadata = None;
    }

    /// Notes that `next` was committed.
    pub fn were_committed(&mut self) {
        self.stored = self.next;
        self.committed = self.next;
    }

    /// Notes that the control records were committed that were passed.
    pub fn were_stored(&mut self) {
        self.stored = self.next;
    }

    fn own_progress(&self, settings: &Settings, changelogs: &Positions) -> Progress {
        let &Settings { revision, resets, .. } = settings;
        Progress { revision, since: self.since, changelogs: changelogs.clone(), resets, worker: self.worker.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::names::Digest;
    use crate::model::spec::{RawSpec, Spec};
    use crate::ports::TopicPartition;

    #[test]
    fn metadata_names_the_worker_that_commits() {
        let raw: RawSpec = serde_json::from_str(r#"{"inputs":["in"],"outputs":{"out":"out"}}"#).expect("a spec");
        let spec = Spec::parse(&raw, &"team/name".parse().expect("valid"), Some(Digest::of(b""))).expect("valid");
        let settings = Settings::of(&spec, 3, Vec::new(), vec![1000; 8]);
        let before = r#"{"revision":2,"since":4,"worker":"a.0"}"#.to_owned();
        let partition = TopicPartition { input: 0, partition: 1 };
        for (worker, expected) in [(Some("b.1"), Some("b.1")), (None, None)] {
            let assigned = CommitOffset { partition, next_offset: 7, metadata: before.clone() };
            let (mut offsets, unreadable) = Offsets::new(&assigned, &settings);
            assert_eq!(unreadable, None);
            offsets.sign_as(worker);
            // Control records go with the metadata of whoever worked last.
            assert_eq!(offsets.stored_metadata(), before);
            let named = Progress::parse(&offsets.own_metadata(&settings, &Positions::new()), 7).expect("its own");
            assert_eq!((named.revision, named.worker.as_deref()), (3, expected));
        }
    }
}
