//! The right to write the catalog, which a host keeps between two turns: a script that deploys many transforms pays once for
//! becoming the one writer, which is most of the time of a turn.
//!
//! Correctness does not depend on it: the commit of a host that another one has fenced meanwhile fails, and takes another turn.
//! A request that needs no commit is answered by a fresh writer.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::model::names::TopicName;
use crate::ports::{ExclusiveError, ExclusiveWriter, LogError, PartitionWrite};

/// Longest use of one writer. A writer is a client, with threads and connections.
const USED_MAX: Duration = Duration::from_secs(30);

/// The turn as the host's one thread that writes. A kept writer ends with it.
#[derive(Default)]
pub struct Turns {
    turn: Arc<Mutex<Turn>>,
}

/// The state that the turns of a host share.
#[derive(Default)]
pub struct Turn {
    kept: Option<KeptWriter>,
    /// A thread is there that closes the writer in time.
    is_watched: bool,
}

/// A writer with the time since which this host is the one writer.
pub struct KeptWriter {
    writer: Box<dyn ExclusiveWriter>,
    since: Instant,
}

// === impl Turns ===

impl Turns {
    /// Waits until no other thread has a turn.
    pub fn wait(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock()
    }

    /// Keeps the writer for the next turn. A thread closes it between one and two times [`USED_MAX`] later.
    pub fn keep(&self, turn: &mut Turn, kept: Option<KeptWriter>) {
        if kept.is_some() && !turn.is_watched {
            let watched = Arc::downgrade(&self.turn);
            let watch = std::thread::Builder::new().name("catalog-writer".into()).spawn(move || close_in_time(&watched));
            turn.is_watched = watch.is_ok();
        }
        // Without the thread it would stay open for ever.
        turn.kept = kept.filter(|_| turn.is_watched);
    }
}

fn close_in_time(watched: &Weak<Mutex<Turn>>) {
    loop {
        std::thread::sleep(USED_MAX);
        let Some(turn) = watched.upgrade() else { return };
        let mut turn = turn.lock();
        turn.kept = turn.take();
        if turn.kept.is_none() {
            turn.is_watched = false;
            return;
        }
    }
}

// === impl Turn ===

impl Turn {
    /// Takes the writer, if there is one that may be used again.
    pub fn take(&mut self) -> Option<KeptWriter> {
        self.kept.take().filter(|kept| kept.since.elapsed() < USED_MAX)
    }
}

// === impl KeptWriter ===

impl KeptWriter {
    /// A writer that was just made.
    pub fn new(writer: Box<dyn ExclusiveWriter>) -> Self {
        Self { writer, since: Instant::now() }
    }

    /// Commits the records. Returns the writer, if it may be used again.
    pub fn commit(self, writes: &[PartitionWrite]) -> Result<Option<Self>, ExclusiveError> {
        let Self { writer, since } = self;
        Ok(writer.commit(writes)?.map(|writer| Self { writer, since }))
    }

    pub fn end_offset(&self, topic: &TopicName, partition: i32) -> Result<i64, LogError> {
        self.writer.end_offset(topic, partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::GroupOffset;

    struct Writer;

    impl ExclusiveWriter for Writer {
        fn end_offset(&self, _: &TopicName, _: i32) -> Result<i64, LogError> {
            Ok(0)
        }

        fn commit(self: Box<Self>, _: &[PartitionWrite]) -> Result<Option<Box<dyn ExclusiveWriter>>, ExclusiveError> {
            Ok(Some(self))
        }

        fn commit_with_offsets(
            self: Box<Self>,
            _: &[PartitionWrite],
            _: &str,
            _: &[GroupOffset],
        ) -> Result<(), ExclusiveError> {
            Ok(())
        }
    }

    #[test]
    fn a_writer_is_kept_for_a_while() {
        let turns = Turns::default();
        let mut turn = turns.wait();
        turns.keep(&mut turn, Some(KeptWriter::new(Box::new(Writer))));
        assert!(turn.is_watched);
        let kept = turn.take().expect("it is young");
        assert!(turn.take().is_none(), "a turn has it alone");
        let kept = kept.commit(&[]).expect("it is written").expect("it may be used again");
        let old = KeptWriter { since: Instant::now().checked_sub(USED_MAX).expect("the machine is up for longer"), ..kept };
        turns.keep(&mut turn, Some(old));
        assert!(turn.take().is_none(), "a client has its time");
        turns.keep(&mut turn, None);
        assert!(turn.take().is_none());
    }
}
