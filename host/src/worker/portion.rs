//! The part of a batch that a step takes, after the log did not take a whole transaction.
//!
//! ```text
//!   whole batches --(too large)--> an eighth --(too large)--> ... --> one record --(too large)--> the record fails
//!         ^                           |
//!         +--- after some commits ----+
//! ```
//!
//! Anything but whole batches also means a commit after each step. A plain value.

use std::num::NonZeroUsize;

/// Factor by which it shrinks and grows: 4 transactions go from a batch of 4096 to one record.
const SHRINK: usize = 8;
/// Commits after which it grows: one in 64 transactions, at most, is too large again.
const COMMITS: u32 = 64;

/// The part of a batch that a step takes.
#[derive(Debug, Default)]
pub(super) struct Portion {
    /// None: whole batches.
    rows: Option<NonZeroUsize>,
    commits: u32,
}

impl Portion {
    pub fn is_whole(&self) -> bool {
        self.rows.is_none()
    }

    /// Most rows of a batch.
    pub fn rows_max(&self) -> usize {
        self.rows.map_or(usize::MAX, NonZeroUsize::get)
    }

    /// Takes less, after a transaction was too large. Returns false if one record was too much already.
    pub fn shrink(&mut self, batch_records: usize) -> bool {
        let was_one = self.rows_max() == 1;
        self.commits = 0;
        self.rows = NonZeroUsize::new((self.rows_max().min(batch_records) / SHRINK).max(1));
        !was_one
    }

    /// Counts a commit. After some of them it takes more again: returns true if that is now.
    pub fn committed(&mut self, batch_records: usize) -> bool {
        let Some(rows) = self.rows else { return false };
        self.commits += 1;
        if self.commits < COMMITS {
            return false;
        }
        self.commits = 0;
        self.rows = NonZeroUsize::new(rows.get() * SHRINK).filter(|rows| rows.get() < batch_records);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shrinks_to_one_record_and_grows_again() {
        let mut portion = Portion::default();
        assert!(portion.is_whole());
        for (rows, shrinks) in [(50, true), (6, true), (1, true), (1, false)] {
            assert_eq!((portion.shrink(400), portion.rows_max()), (shrinks, rows));
        }
        for rows in [8, 64, usize::MAX] {
            let grown: u32 = (0..COMMITS).map(|_| u32::from(portion.committed(400))).sum();
            assert_eq!((grown, portion.rows_max()), (1, rows));
        }
        assert!(portion.is_whole() && !portion.committed(400));
        assert!(Portion::default().shrink(1));
    }
}
