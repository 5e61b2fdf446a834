//! Brings a local store up to date with its changelog.
//!
//! Every change that earlier owners of the partition may have committed lies below the high watermark of now, and shows
//! once their transactions are over: so a restore reads committed records up to there. A restore up to the end of the
//! committed records would miss committed changes behind another's open transaction.

use std::time::Duration;

use ahash::AHashMap;

use crate::model::clock::Monotonic;
use crate::model::format::{Format, Unreadable};
use crate::model::names::TopicName;
use crate::model::units::Timestamp;
use crate::ports::{Log, LogError, LogRecord, OpenError};
use crate::state::KEY_BYTES_MAX;
use crate::state::local::{Change, Entry, LocalError, LocalStore, Mark};

/// Size of one read of a changelog: a few thousand entries, applied to the local store in one batch.
const READ_BYTES: usize = 4 << 20;
/// Longest time for which a restore waits for a log that cannot be reached.
const UNANSWERED_MAX: Duration = Duration::from_secs(60);
/// The header that holds the version of an entry, as a decimal number.
const VERSION_HEADER: &str = "sandbar.version";
/// Kafka's default for `delete.retention.ms`.
const TOMBSTONES_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// A copy that lacks nothing is noted to be up to date when it is opened, if it is older than this part of the age from
/// which none is brought up to date.
const RENEWED_AFTER: u32 = 20;

/// The age from which a local copy is not brought up to date, unless it lacks nothing. A changelog forgets after a while
/// that a key was deleted: a copy that is about as old might keep the key for ever.
pub fn copy_age_max(tombstones_kept: Option<Duration>) -> Duration {
    // A sixth less, for the clocks, and for the time of the restore.
    tombstones_kept.unwrap_or(TOMBSTONES_KEPT) / 6 * 5
}

/// A partition of a changelog, as a restore reads it.
pub struct Changelog<'a> {
    pub log: &'a dyn Log,
    pub topic: &'a TopicName,
    pub partition: i32,
    /// The position that was committed with an offset: a changelog that ends before has lost records.
    pub committed: Option<i64>,
    /// A local copy that is older is not brought up to date: see [`copy_age_max`].
    pub copy_age_max: Duration,
}

/// A local store that is being brought up to date.
pub struct StoreRestore {
    local: Box<dyn LocalStore>,
    mark: Mark,
    /// The high watermark of the changelog at `began`.
    end: i64,
    /// The time as of which the store is up to date once nothing is left.
    began: Timestamp,
    /// The number of records that were read.
    pub records: u64,
    /// The reason for which the local store was wiped.
    pub wiped: Option<&'static str>,
    /// The time since which the log has not been reached.
    unanswered_since: Option<Monotonic>,
}

impl StoreRestore {
    /// Begins a restore. With `wipe`, the local store's entries are not to be trusted.
    pub fn begin(
        changelog: &Changelog<'_>,
        mut local: Box<dyn LocalStore>,
        wipe: bool,
        now: Timestamp,
    ) -> Result<Self, OpenError> {
        let &Changelog { log, topic, partition, committed, copy_age_max } = changelog;
        let (start, _) = log.offsets(topic, partition).map_err(unavailable)?;
        let end = log.high_watermark(topic, partition).map_err(unavailable)?;
        if let Some(committed) = committed.filter(|&committed| committed > end) {
            let message = format!("{topic}/{partition} ends at {end}, and offsets were committed when it had {committed}");
            return Err(OpenError::Lost(message));
        }
        let found = local.mark();
        let is_older = |mark: &Mark, age: Duration| u128::from(now.millis_since(Timestamp(mark.at))) > age.as_millis();
        let is_too_old = match &found {
            // An idle store is as old as its last change, and lacks no deletion: nothing was written since.
            Ok(Some(mark)) if is_older(mark, copy_age_max) => {
                log.written_end(topic, partition).map_err(unavailable)? > mark.position
            }
            _ => false,
        };
        let reason = not_usable(&found, wipe, start, end, is_too_old);
        if let Some(reason) = reason {
            let error = found.as_ref().err().map(tracing::field::display);
            tracing::info!(%topic, partition, reason, error, "the local copy of a store is wiped");
            local.wipe().map_err(of_local)?;
        }
        let known = found.ok().flatten().filter(|_| reason.is_none());
        let is_aging = known.as_ref().is_some_and(|mark| is_older(mark, copy_age_max / RENEWED_AFTER));
        let mark = known.unwrap_or_else(|| Mark { position: start, at: now.0, ..Mark::default() });
        let mut restore = Self { local, mark, end, began: now, records: 0, wiped: reason, unanswered_since: None };
        if is_aging && restore.left() == 0 {
            restore.mark.at = now.0;
            restore.local.apply(Vec::new(), &restore.mark).map_err(of_local)?;
        }
        Ok(restore)
    }

    /// The number of offsets of the changelog that are still to be read.
    pub fn left(&self) -> u64 {
        u64::try_from(self.end - self.mark.position).unwrap_or(0)
    }

    /// Reads the next page, and waits for it up to `wait`. Applies it to the local store.
    pub fn step(&mut self, changelog: &Changelog<'_>, wait: Duration, now: Monotonic) -> Result<(), OpenError> {
        let &Changelog { log, topic, partition, .. } = changelog;
        let page = match log.read(topic, partition, self.mark.position, wait, READ_BYTES) {
            Ok(page) => page,
            // A broker that restarts ends no restore: one into memory would begin again.
            Err(LogError::Unavailable(why)) if self.waits(now) => {
                tracing::debug!(%topic, partition, error = why, "a restore waits for the log");
                std::thread::sleep(wait);
                return Ok(());
            }
            Err(error) => return Err(unavailable(error)),
        };
        self.unanswered_since = None;
        page.records.iter().try_for_each(|record| check(topic, partition, record))?;
        self.records += page.records.len() as u64;
        self.mark.position = page.next_offset;
        if self.left() == 0 {
            // Only now: a restore that breaks off leaves a copy as old as it was.
            self.mark.at = self.began.0;
        }
        apply(&mut *self.local, page.records, &mut self.mark).map_err(of_local)
    }

    /// Returns true if the log has not been unreachable for too long.
    fn waits(&mut self, now: Monotonic) -> bool {
        now < self.unanswered_since.get_or_insert(now).after(UNANSWERED_MAX)
    }

    /// The local store. Call it once nothing is left.
    pub fn finish(mut self) -> Box<dyn LocalStore> {
        assert!(self.left() == 0, "a store is used before it is restored");
        self.local.restored();
        self.local
    }
}

/// The reason for which the local store cannot be brought up to date, if there is one.
fn not_usable(
    found: &Result<Option<Mark>, LocalError>,
    wipe: bool,
    start: i64,
    end: i64,
    is_too_old: bool,
) -> Option<&'static str> {
    match found {
        _ if wipe => Some("fault"),
        Err(_) => Some("unreadable"),
        Ok(None) => None,
        Ok(Some(mark)) if mark.position < start => Some("behind the changelog's start"),
        Ok(Some(mark)) if mark.position > end => Some("ahead of the changelog"),
        Ok(Some(_)) if is_too_old => Some("too old"),
        Ok(Some(_)) => None,
    }
}

/// Refuses an entry that no store has.
fn check(topic: &TopicName, partition: i32, record: &LogRecord) -> Result<(), OpenError> {
    check_version(topic, partition, record)?;
    let key_bytes = record.key.as_ref().map_or(0, Vec::len);
    if key_bytes > KEY_BYTES_MAX {
        let at = record.offset;
        let message =
            format!("{topic}/{partition} at offset {at}: a key of {key_bytes} bytes, keys have {KEY_BYTES_MAX} at most");
        return Err(OpenError::Unavailable(message));
    }
    Ok(())
}

/// Refuses an entry of a version that this host does not read. One without the header is of version 1.
fn check_version(topic: &TopicName, partition: i32, record: &LogRecord) -> Result<(), OpenError> {
    let Some((_, value)) = record.headers.iter().find(|(name, _)| name == VERSION_HEADER) else { return Ok(()) };
    let text = value.as_deref().and_then(|value| std::str::from_utf8(value).ok());
    let checked = match text.and_then(|text| text.parse().ok()) {
        Some(version) => Format::Changelog.check(Some(version)),
        None => Err(Unreadable::Foreign(format!("its header {VERSION_HEADER} is no number"))),
    };
    checked.map_err(|error| OpenError::Newer(format!("{topic}/{partition} at offset {}: {error}", record.offset)))
}

/// Applies these records to the local store, and counts its entries after them.
fn apply(local: &mut dyn LocalStore, records: Vec<LogRecord>, mark: &mut Mark) -> Result<(), LocalError> {
    let mut changes: AHashMap<Vec<u8>, Option<Entry>> = AHashMap::with_capacity(records.len());
    for LogRecord { key, value, timestamp, .. } in records {
        // An entry that Sandbar wrote has a key.
        let Some(key) = key else { continue };
        changes.insert(key, value.map(|value| Entry { written_at: Timestamp(timestamp), value }));
    }
    let changes: Vec<Change> = changes.into_iter().collect();
    for (key, entry) in &changes {
        if let Some(before) = local.get(key)? {
            mark.bytes = mark.bytes.saturating_sub((key.len() + before.value.len()) as u64);
            mark.entries = mark.entries.saturating_sub(1);
        }
        if let Some(entry) = entry {
            mark.bytes += (key.len() + entry.value.len()) as u64;
            mark.entries += 1;
        }
    }
    local.apply(changes, mark)
}

/// The error of a question about a changelog.
pub(super) fn unavailable(error: LogError) -> OpenError {
    match error {
        LogError::NoTopic(topic) => OpenError::Lost(format!("there is no changelog topic {topic}")),
        error => OpenError::Unavailable(error.to_string()),
    }
}

fn of_local(error: LocalError) -> OpenError {
    OpenError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_newer_versions_are_refused() {
        for (header, is_read) in [
            (None, true),
            (Some(("other", Some(&b"9"[..]))), true),
            (Some((VERSION_HEADER, Some(b"1"))), true),
            (Some((VERSION_HEADER, Some(b"2"))), false),
            (Some((VERSION_HEADER, Some(b"0"))), false),
            (Some((VERSION_HEADER, Some(b"x"))), false),
            (Some((VERSION_HEADER, Some(b"99999999999999999999"))), false),
            (Some((VERSION_HEADER, Some(&[0xff]))), false),
            (Some((VERSION_HEADER, None)), false),
        ] {
            let headers = header.map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))).into_iter().collect();
            let record = LogRecord { offset: 4, timestamp: 0, key: Some(vec![1]), value: None, headers };
            let checked = check_version(&"levels".parse().expect("valid"), 2, &record);
            assert_eq!(checked.is_ok(), is_read, "{header:?}");
            if let Err(error) = checked {
                assert!(error.code() == crate::model::codes::Code::NewerFormat && error.to_string().contains("levels/2"));
            }
        }
    }
}
