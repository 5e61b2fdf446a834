//! The places of chunks in the restored topic: a pure map from the offsets of the backup.
//!
//! A manifest says where its module's chunks begin. The restored topic has the same records at lower offsets, since it has no
//! gaps. A place that is a little too low only makes a host read a few chunks more, one that is too high makes it miss some.

/// Marks that are kept: half a megabyte of memory.
const MARKS_MAX: usize = 32 * 1024;
/// Chunks from one mark to the next, at first.
const STEP: u64 = 8;

/// The map from offsets of the backup to those of the restored topic.
#[derive(Debug)]
pub struct Shift {
    /// The offset of a chunk in the backup, and the number of chunks before it.
    marks: Vec<(i64, u64)>,
    step: u64,
    chunks: u64,
}

impl Default for Shift {
    fn default() -> Self {
        Self { marks: Vec::new(), step: STEP, chunks: 0 }
    }
}

impl Shift {
    /// Notes the next chunk of the backup, by its offset there.
    pub fn note(&mut self, offset: i64) {
        if self.chunks.is_multiple_of(self.step) {
            self.marks.push((offset, self.chunks));
        }
        self.chunks += 1;
        if self.marks.len() > MARKS_MAX {
            self.step *= 2;
            let step = self.step;
            self.marks.retain(|(_, before)| before.is_multiple_of(step));
        }
    }

    /// The place from which on every chunk is found that was at `offset` or later, if the first chunk comes to `base`.
    pub fn place(&self, offset: i64, base: i64) -> i64 {
        let behind = self.marks.partition_point(|(at, _)| *at <= offset);
        let before = behind.checked_sub(1).map_or(0, |mark| self.marks[mark].1);
        base.saturating_add(i64::try_from(before).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For every offset, no chunk from there on lies before its place, and at most `STEP` steps of them are read in vain.
    #[track_caller]
    fn check(offsets: &[i64]) {
        let mut shift = Shift::default();
        offsets.iter().for_each(|offset| shift.note(*offset));
        for asked in offsets.iter().flat_map(|offset| [offset - 1, *offset, offset + 1]) {
            let first = offsets.iter().position(|offset| *offset >= asked).unwrap_or(offsets.len()) as i64;
            let place = shift.place(asked, 100) - 100;
            assert!(place <= first && first - place <= shift.step as i64, "{asked}: {place}, not {first}");
        }
    }

    #[test]
    fn no_chunk_is_missed() {
        check(&[0]);
        check(&(0..100).collect::<Vec<_>>());
        check(&(0..100).map(|i| 7 + i * i).collect::<Vec<_>>());
        check(&[5, 6, 7, 1_000_000, 1_000_001]);
        assert_eq!(Shift::default().place(9, 3), 3);
    }

    #[test]
    fn its_memory_is_bounded() {
        let mut shift = Shift::default();
        (0..20 * MARKS_MAX as i64).for_each(|offset| shift.note(3 * offset));
        assert!(shift.marks.len() <= MARKS_MAX);
        let asked = 10 * MARKS_MAX as i64 + 3;
        let place = shift.place(3 * asked, 0);
        assert!(place <= asked && asked - place <= shift.step as i64, "{place}");
    }
}
