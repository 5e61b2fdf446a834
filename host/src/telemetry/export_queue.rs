//! A bounded queue of telemetry that waits for its exporter. Whoever puts something in never waits.

use std::sync::mpsc::{self, Receiver, SyncSender};

use prometheus::IntCounter;

/// Puts items into the queue. Cloning shares it.
#[derive(Debug)]
pub struct ExportQueue<T> {
    items: SyncSender<T>,
    items_max: usize,
    dropped: IntCounter,
}

impl<T> Clone for ExportQueue<T> {
    fn clone(&self) -> Self {
        let Self { items, items_max, dropped } = self;
        Self { items: items.clone(), items_max: *items_max, dropped: dropped.clone() }
    }
}

impl<T> ExportQueue<T> {
    /// A queue of `items_max` items. Those for which there is no room are counted.
    pub fn new(items_max: usize, dropped: IntCounter) -> (Self, Receiver<T>) {
        let (items, receiver) = mpsc::sync_channel(items_max);
        (Self { items, items_max, dropped }, receiver)
    }

    /// Adds an item, or drops and counts it.
    pub fn push(&self, item: T) {
        if self.items.try_send(item).is_err() {
            self.dropped.inc();
        }
    }

    /// Adds an item to those that wait for the end of a transaction, which are bounded as the queue is.
    pub fn hold(&self, held: &mut Vec<T>, item: T) {
        if held.len() < self.items_max {
            held.push(item);
        } else {
            self.dropped.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_without_room_are_dropped_and_counted() {
        let dropped = IntCounter::new("dropped", "items").expect("a valid name");
        let (queue, receiver) = ExportQueue::new(2, dropped.clone());
        (0..5).for_each(|item| queue.push(item));
        assert_eq!((receiver.try_iter().collect::<Vec<_>>(), dropped.get()), (vec![0, 1], 3));
        let mut held = Vec::new();
        (0..5).for_each(|item| queue.hold(&mut held, item));
        assert_eq!((held, dropped.get()), (vec![0, 1], 6));
        drop(receiver);
        queue.push(9);
        assert_eq!(dropped.get(), 7);
    }
}
