//! Emptied batches whose memory is used again, by whichever task of a worker needs a batch next.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::model::batch::Batch;

/// Most memory of the spare batches of a worker: enough for the records that it holds. Tasks have none of their own: a
/// worker with hundreds of partitions reads them in turns, and each task would keep the memory that its turn has needed.
const BYTES_MAX: usize = 8 << 20;
/// The number of spare batches is bounded too: a small batch has memory that its capacity does not show.
const BATCHES_MAX: usize = 64;

/// The spare batches of a worker. Cloning shares them.
#[derive(Clone, Default)]
pub struct SpareBatches(Arc<Mutex<Spares>>);

#[derive(Default)]
struct Spares {
    batches: Vec<Batch>,
    bytes: usize,
}

impl SpareBatches {
    /// An empty batch: a spare one, or else one without memory.
    pub(super) fn take(&self) -> Batch {
        let Spares { batches, bytes } = &mut *self.0.lock();
        let batch = batches.pop().unwrap_or_default();
        *bytes -= batch.capacity_bytes();
        batch
    }

    /// Gives all memory back: the worker rests.
    pub fn clear(&self) {
        *self.0.lock() = Spares::default();
    }

    /// Empties a batch, and keeps its memory if there is room for it.
    pub(super) fn keep(&self, mut batch: Batch) {
        let Spares { batches, bytes } = &mut *self.0.lock();
        let capacity = batch.capacity_bytes();
        if batches.len() < BATCHES_MAX && *bytes + capacity <= BYTES_MAX {
            batch.clear();
            *bytes += capacity;
            batches.push(batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::batch::RecordRef;

    fn filled(bytes: usize) -> Batch {
        let mut batch = Batch::default();
        batch.push(&RecordRef { offset: 0, timestamp: 0, key: None, value: Some(&vec![0; bytes]), headers: &[] });
        batch
    }

    #[test]
    fn memory_is_used_again_up_to_a_limit() {
        let spares = SpareBatches::default();
        assert_eq!(spares.take().capacity_bytes(), 0);
        (0..3).for_each(|_| spares.keep(filled(BYTES_MAX / 2)));
        let kept = [(); 3].map(|()| spares.take());
        assert!(kept.iter().all(Batch::is_empty));
        assert_eq!(kept.each_ref().map(|batch| batch.capacity_bytes() > 0), [true, true, false]);
        spares.keep(filled(2 * BYTES_MAX));
        (0..2 * BATCHES_MAX).for_each(|_| spares.keep(filled(1)));
        spares.clear();
        assert_eq!(spares.take().capacity_bytes(), 0);
        (0..2 * BATCHES_MAX).for_each(|_| spares.keep(filled(1)));
        let Spares { batches, bytes } = &*spares.0.lock();
        assert_eq!((batches.len(), *bytes), (BATCHES_MAX, batches.iter().map(Batch::capacity_bytes).sum()));
    }
}
