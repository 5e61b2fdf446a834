//! Records that a topic refused: they fail without another call, and their dead letters are mended where these were
//! refused in their turn.
//!
//! ```text
//!   output refused ------> the record fails (E107, E109)
//!   dead letter refused -> mended: key, timestamp, headers --(refused for a cause that was mended)--> the partition stops
//! ```
//!
//! Each refusal adds something here, so none is met for ever. A verdict lives until its record is committed. A resume
//! forgets it, since the topic may have been mended meanwhile.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::failure::RecordFailure;
use crate::ports::Cause;

/// The changes to a dead letter without which its topic does not take it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mend {
    /// A null key becomes one that names the record's place.
    pub key: bool,
    /// The record's timestamp becomes the time of writing.
    pub timestamp: bool,
    /// The record's own headers are left out, and the message is short.
    pub headers: bool,
}

/// The verdicts of a task, by offset.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    records: BTreeMap<i64, Verdict>,
}

#[derive(Debug, Default)]
struct Verdict {
    failed: Option<RecordFailure>,
    mend: Mend,
    /// The reason why the partition stops: its dead letter is beyond mending.
    stop: Option<RecordFailure>,
    /// The record came in only in part, which nothing mends but reading it again.
    damaged: bool,
}

// === impl Mend ===

impl Mend {
    /// Adds the change that helps against a cause. Returns false if it was there already.
    fn add(&mut self, cause: Cause) -> bool {
        let part = match cause {
            Cause::Size => &mut self.headers,
            Cause::Timestamp => &mut self.timestamp,
            Cause::Content => &mut self.key,
        };
        !std::mem::replace(part, true)
    }

    /// The changed parts, by name.
    pub fn names(self) -> Vec<&'static str> {
        let parts = [(self.key, "key"), (self.timestamp, "timestamp"), (self.headers, "headers")];
        parts.into_iter().filter(|(mended, _)| *mended).map(|(_, name)| name).collect()
    }
}

// === impl Verdicts ===

impl Verdicts {
    /// The record at this offset fails from now on. The first failure stays: returns true if it is this one.
    pub fn condemn(&mut self, offset: i64, failed: RecordFailure) -> bool {
        let verdict = self.records.entry(offset).or_default();
        let is_new = verdict.failed.is_none();
        verdict.failed.get_or_insert(failed);
        is_new
    }

    /// The record at this offset fails for as long as its batch is there.
    pub fn condemn_damaged(&mut self, offset: i64, failed: RecordFailure) {
        self.condemn(offset, failed);
        self.records.entry(offset).or_default().damaged = true;
    }

    /// The dead letter of the record at this offset was refused. Returns true if the next one is sent differently.
    pub fn refuse_dead_letter(&mut self, offset: i64, cause: Cause, reason: &str) -> bool {
        let verdict = self.records.entry(offset).or_default();
        if verdict.mend.add(cause) {
            return true;
        }
        verdict.stop.replace(RecordFailure::dead_letter_refused(reason)).is_none()
    }

    pub fn failed(&self, offset: i64) -> Option<&RecordFailure> {
        self.records.get(&offset)?.failed.as_ref()
    }

    /// Returns true if a record among these fails without a call.
    pub fn any_failed(&self, offsets: RangeInclusive<i64>) -> bool {
        // Nearly always it is empty.
        !self.records.is_empty() && self.records.range(offsets).any(|(_, verdict)| verdict.failed.is_some())
    }

    pub fn mend(&self, offset: i64) -> Mend {
        self.records.get(&offset).map_or_else(Mend::default, |verdict| verdict.mend)
    }

    /// Returns the reason why the partition stops at this offset.
    pub fn stop(&self, offset: i64) -> Option<&RecordFailure> {
        self.records.get(&offset)?.stop.as_ref()
    }

    /// Forgets the records before an offset: they are committed.
    pub fn committed(&mut self, next_offset: i64) {
        if !self.records.is_empty() {
            self.records = self.records.split_off(&next_offset);
        }
    }

    /// Gives every record another chance.
    pub fn clear(&mut self) {
        self.records.retain(|_, verdict| verdict.damaged);
        for verdict in self.records.values_mut() {
            verdict.mend = Mend::default();
            verdict.stop = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A dead letter that was refused for these causes, one after the other, has these mended parts.
    #[track_caller]
    fn check(causes: &[Cause], names: &[&str], stops: bool) {
        let mut verdicts = Verdicts::default();
        for cause in causes {
            assert!(verdicts.refuse_dead_letter(7, *cause, "no"), "each changes something");
        }
        assert_eq!(verdicts.mend(7).names(), names);
        assert_eq!(verdicts.stop(7).is_some(), stops);
        assert_eq!(verdicts.mend(8), Mend::default());
    }

    #[test]
    fn a_dead_letter_is_mended_until_that_does_not_help() {
        use Cause::*;
        check(&[], &[], false);
        check(&[Content], &["key"], false);
        check(&[Content, Size, Timestamp], &["key", "timestamp", "headers"], false);
        check(&[Size, Size], &["headers"], true);
        check(&[Content, Timestamp, Content], &["key", "timestamp"], true);
    }

    #[test]
    fn a_verdict_lives_until_its_record_is_committed() {
        let mut verdicts = Verdicts::default();
        for offset in [3, 9] {
            verdicts.condemn(offset, RecordFailure::dead_letter_refused("first"));
            verdicts.condemn(offset, RecordFailure::dead_letter_refused("second"));
        }
        assert!(verdicts.failed(3).is_some_and(|failed| failed.message.contains("first")));
        assert!(verdicts.any_failed(0..=3) && verdicts.any_failed(4..=9) && !verdicts.any_failed(4..=8));
        verdicts.committed(4);
        assert!(!verdicts.any_failed(0..=8) && verdicts.failed(9).is_some());
        verdicts.condemn_damaged(12, RecordFailure::damaged("a header"));
        verdicts.clear();
        assert!(verdicts.failed(9).is_none() && verdicts.failed(12).is_some());
    }
}
