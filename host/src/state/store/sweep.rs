//! The expiry of a store's entries: each one is a deletion in the transaction, like those that a guest makes.
//!
//! So it goes to the changelog with the commit, and an entry that was once found expired never comes back: not after a
//! restore, and not on a host whose clock is behind. An expiry is a fact of its own, which holds although the call that
//! met it fails, so it belongs to the transaction and not to the call.

use std::time::Duration;

use super::Store;
use crate::model::units::Timestamp;
use crate::state::StateError;
use crate::state::layer::ENTRY_BYTES;
use crate::state::local::{Entry, LocalError};

/// Least number of entries whose age is looked at in each commit.
const COMMIT_LOOKS_MIN: usize = 256;
/// Number of entries whose age is looked at for each entry that a transaction changes. With 4, old entries stay a small
/// part of the store.
const LOOKS_PER_CHANGE: usize = 4;
/// Entries that are looked at between two questions about the time.
const LOOKS_AT_ONCE: usize = 256;
/// Bytes of a store's changes above which a transaction takes no more expiries: reads of expired entries are without
/// limit. A worker commits a transaction with more changes than this at once. So a call that meets more of them is cut,
/// has deleted some or finds those of a transaction that ended without work, and has less to delete after the commit.
pub const TRANSACTION_BYTES_MAX: usize = 16 << 20;
/// A full store may exceed its limit by this part of it, until each of its entries was looked at.
const SLACK_DIVISOR: i64 = 8;

/// The work that the sweeps of one transaction may still do, over all stores of a worker.
pub struct SweepBudget<'a> {
    /// Entries to look at.
    pub entries: usize,
    /// Bytes of deletions.
    pub bytes: usize,
    /// Returns true once the time is over.
    pub is_over: &'a dyn Fn() -> bool,
}

impl SweepBudget<'_> {
    pub fn is_spent(&self) -> bool {
        self.entries == 0 || self.bytes == 0 || (self.is_over)()
    }
}

/// A look at every entry of a full store, for expired ones that give a write its room.
#[derive(Default)]
pub(super) struct FullRound {
    /// The key at which it goes on.
    from: Vec<u8>,
    /// The time at which the first of the entries expires that it has passed.
    expires_at: Option<Timestamp>,
    /// No entry expires before this time: the last round has passed all of them.
    full_until: Option<Timestamp>,
}

/// A look at some entries.
struct Look {
    entries: usize,
    /// The key at which the next one begins; None after the last entry.
    next: Option<Vec<u8>>,
    expired: Vec<(Vec<u8>, usize)>,
    /// The time at which the first of the others expires.
    expires_at: Option<Timestamp>,
}

/// Returns true if an entry has expired.
pub(super) fn is_old(ttl: Option<Duration>, entry: &Entry, now: Timestamp) -> bool {
    expires_at(ttl, entry).is_some_and(|at| at <= now)
}

fn expires_at(ttl: Option<Duration>, entry: &Entry) -> Option<Timestamp> {
    ttl.map(|ttl| entry.written_at.after(ttl))
}

impl Store {
    /// Deletes an expired entry that no write of the current call is above. Returns false if the transaction takes no more.
    pub(super) fn expire(&mut self, key: Vec<u8>, value_bytes: usize) -> bool {
        if !self.takes_expiries() {
            return false;
        }
        self.last_read.forget();
        let bytes = (key.len() + value_bytes) as i64;
        self.transaction.write(key, None, -bytes, -1);
        self.expired += 1;
        true
    }

    /// Returns false if the transaction takes no more deletions of expired entries.
    fn takes_expiries(&self) -> bool {
        self.transaction.bytes <= TRANSACTION_BYTES_MAX
    }

    /// Deletes expired entries as [`Store::expire`] does, until the transaction takes no more.
    pub(super) fn expire_all(&mut self, expired: Vec<(Vec<u8>, usize)>) -> bool {
        expired.into_iter().all(|(key, value_bytes)| self.expire(key, value_bytes))
    }

    /// Deletes expired entries in the open transaction. It goes on where the last sweep ended.
    pub fn sweep(&mut self, now: Timestamp, budget: &mut SweepBudget<'_>) -> Result<(), LocalError> {
        if self.settings.ttl.is_none() {
            return Ok(());
        }
        let mut looks = COMMIT_LOOKS_MIN.max(LOOKS_PER_CHANGE * self.transaction.changes.len());
        while looks > 0 && !budget.is_spent() {
            let from = std::mem::take(&mut self.sweep_from);
            let entries_max = looks.min(LOOKS_AT_ONCE).min(budget.entries);
            let look = self.look(&from, entries_max, usize::MAX, now)?;
            let bytes: usize = look.expired.iter().map(|(key, _)| key.len() + ENTRY_BYTES).sum();
            budget.entries = budget.entries.saturating_sub(look.entries);
            budget.bytes = budget.bytes.saturating_sub(bytes);
            looks = looks.saturating_sub(look.entries);
            self.expire_all(look.expired);
            match look.next {
                Some(next) => self.sweep_from = next,
                None => break,
            }
        }
        Ok(())
    }

    /// Makes room for a write by which a full store grows by `more` bytes. Returns true if it has its room. Expired entries
    /// that this transaction cannot delete may be its room after the commit ([`StateError::TransactionFull`]).
    ///
    /// A store is full only if the entries that have expired do not make the room. To look at all of them at once would
    /// hold up the worker, so the writes share the work by their size: until each entry was looked at, they may exceed the
    /// limit, and the round ends before they have used up the slack.
    pub(super) fn make_room(&mut self, more: i64, limit: i64, now: Timestamp) -> Result<bool, StateError> {
        if self.settings.ttl.is_none() || self.full_round.full_until.is_some_and(|until| now < until) {
            return Ok(false);
        }
        let slack = (limit / SLACK_DIVISOR).max(1);
        let share = u128::from(self.mark.entries) * more.unsigned_abs() as u128 / slack as u128;
        let mut looks = usize::try_from(share).unwrap_or(usize::MAX).max(COMMIT_LOOKS_MIN);
        while looks > 0 && self.bytes() + more > limit {
            let from = std::mem::take(&mut self.full_round.from);
            let missing = usize::try_from(self.bytes() + more - limit).unwrap_or(usize::MAX);
            let look = self.look(&from, looks, missing, now)?;
            looks = looks.saturating_sub(look.entries);
            if !self.expire_all(look.expired) {
                // It has passed entries that it did not delete: another transaction begins anew.
                self.full_round = FullRound::default();
                break;
            }
            let passed = [self.full_round.expires_at, look.expires_at].into_iter().flatten().min();
            if let Some(next) = look.next {
                self.full_round = FullRound { from: next, expires_at: passed, full_until: None };
                continue;
            }
            self.full_round = FullRound::default();
            // Entries that have expired since the round passed them are for another round.
            if passed.is_none_or(|at| at > now) {
                // Those that this transaction has changed expire no earlier.
                let changed_expire_at = self.settings.ttl.map_or(now, |ttl| now.after(ttl));
                self.full_round.full_until = Some(passed.unwrap_or(changed_expire_at));
                return Ok(self.bytes() + more <= limit);
            }
        }
        let has_room = self.bytes() + more <= limit + slack;
        if !has_room && !self.takes_expiries() {
            return Err(StateError::TransactionFull);
        }
        Ok(has_room)
    }

    /// Looks at up to `entries_max` entries of the local store, or until the expired ones have `bytes_max` bytes.
    fn look(&mut self, from: &[u8], entries_max: usize, bytes_max: usize, now: Timestamp) -> Result<Look, LocalError> {
        let mut look = Look { entries: 0, next: None, expired: Vec::new(), expires_at: None };
        let mut bytes = 0;
        let Self { local, call, transaction, settings, .. } = self;
        let ttl = settings.ttl;
        local.scan(from, None, &mut |key, entry| {
            if look.entries == entries_max || bytes >= bytes_max {
                look.next = Some(key.to_vec());
                return false;
            }
            look.entries += 1;
            // A changed entry was written just now, or is deleted already.
            if call.changes.contains(key) || transaction.changes.contains(key) {
                return true;
            }
            if is_old(ttl, &entry, now) {
                bytes += key.len() + entry.value.len();
                look.expired.push((key.to_vec(), entry.value.len()));
            } else {
                look.expires_at = [look.expires_at, expires_at(ttl, &entry)].into_iter().flatten().min();
            }
            true
        })?;
        Ok(look)
    }
}

#[cfg(test)]
#[path = "sweep_tests.rs"]
mod tests;
