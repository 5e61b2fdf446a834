//! The rows that the sends of a transaction come from, so that a refused record finds the one that is to blame.
//!
//! One run stands for sends whose offsets ascend evenly: all sends of a pass-through for a batch, or all sends for one row.
//! So a send costs a comparison, and no memory of its own.

use crate::ports::TopicPartition;

/// The kind of a record that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Output,
    DeadLetter,
    Tick,
}

/// The row that a record was sent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    pub partition: TopicPartition,
    /// The record's offset; for a tick the next offset as it was.
    pub offset: i64,
    pub part: Part,
}

/// The rows of a transaction's sends. They are counted from its beginning, as in [`crate::ports::Culprit::send`].
#[derive(Debug, Default)]
pub(super) struct Ledger {
    runs: Vec<Run>,
    sends: u64,
}

#[derive(Debug)]
struct Run {
    first: u64,
    source: Source,
    /// The distance between the offsets of two sends; None after the first.
    step: Option<i64>,
}

impl Ledger {
    /// Counts a send.
    pub fn sent(&mut self, source: Source) {
        let send = self.sends;
        self.sends += 1;
        if !self.runs.last_mut().is_some_and(|run| run.takes(send, source)) {
            self.runs.push(Run { first: send, source, step: None });
        }
    }

    /// The row of a send; None for one that was never counted.
    pub fn source(&self, send: u64) -> Option<Source> {
        if send >= self.sends {
            return None;
        }
        let run = &self.runs[self.runs.partition_point(|run| run.first <= send) - 1];
        let offset = run.source.offset + run.step.unwrap_or(0) * (send - run.first) as i64;
        Some(Source { offset, ..run.source })
    }
}

impl Run {
    /// Takes a send in, if its offset goes on with the run's step. Returns false if it does not.
    fn takes(&mut self, send: u64, source: Source) -> bool {
        let own = self.source;
        if (own.partition, own.part) != (source.partition, source.part) {
            return false;
        }
        // Offsets are hostile numbers: a run ends before its arithmetic would overflow.
        let Some(distance) = source.offset.checked_sub(own.offset) else { return false };
        match self.step {
            None => {
                self.step = Some(distance);
                true
            }
            Some(step) => step.checked_mul((send - self.first) as i64) == Some(distance),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of the sends, as (partition, offset, part), is found again. They take this number of runs.
    #[track_caller]
    fn check(sends: &[(i32, i64, Part)], runs: usize) {
        let source = |&(number, offset, part): &(i32, i64, Part)| Source {
            partition: TopicPartition { input: 0, partition: number },
            offset,
            part,
        };
        let mut ledger = Ledger::default();
        sends.iter().for_each(|sent| ledger.sent(source(sent)));
        for (send, sent) in sends.iter().enumerate() {
            assert_eq!(ledger.source(send as u64), Some(source(sent)), "send {send}");
        }
        assert_eq!(ledger.source(sends.len() as u64), None);
        assert_eq!(ledger.runs.len(), runs);
    }

    #[test]
    fn a_send_finds_its_row() {
        use Part::*;
        check(&[], 0);
        check(&[(0, 5, Output), (0, 6, Output), (0, 7, Output)], 1);
        check(&[(0, 5, Output), (0, 5, Output), (0, 5, Output), (0, 6, Output), (0, 6, Output)], 2);
        check(&[(0, 5, Output), (0, 7, Output), (0, 9, Output), (0, 10, Output)], 2);
        check(&[(0, 5, Output), (1, 6, Output), (1, 7, Output)], 2);
        check(&[(0, 5, Output), (0, 6, Output), (0, 4, DeadLetter), (0, 7, Tick)], 3);
        check(&[(0, i64::MIN, Output), (0, i64::MAX, Output), (0, 0, Output)], 2);
    }
}
