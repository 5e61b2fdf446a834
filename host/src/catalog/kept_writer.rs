//! The right to write the catalog, which a host keeps between two turns: a script that deploys many transforms pays once for
//! becoming the one writer, which is most of the time of a turn.
//!
//! Nothing hangs on it: the commit of a host that another one has fenced meanwhile fails, and takes another turn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::model::names::TopicName;
use crate::ports::{ExclusiveError, ExclusiveWriter, LogError, PartitionWrite};

/// Longest use of one writer. A writer is a client, with threads and connections.
const USED_MAX: Duration = Duration::from_secs(30);

/// The turn as the host's one thread that writes. Cloning shares it.
#[derive(Clone, Default)]
pub struct Turns {
    turn: Arc<Mutex<Turn>>,
}

/// What the turns of a host leave to each other.
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
            let turns = self.clone();
            let watch = std::thread::Builder::new().name("catalog-writer".into()).spawn(move || turns.close_in_time());
            turn.is_watched = watch.is_ok();
        }
        // Without the thread it would stay open for ever.
        turn.kept = kept.filter(|_| turn.is_watched);
    }

    fn close_in_time(&self) {
        loop {
            std::thread::sleep(USED_MAX);
            let mut turn = self.wait();
            turn.kept = turn.take();
            if turn.kept.is_none() {
                turn.is_watched = false;
                return;
            }
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
