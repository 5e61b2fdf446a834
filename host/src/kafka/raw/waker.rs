//! Wakes the owner of a consumer that waits for messages.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::sys::*;

/// The waker of one consumer. Any thread may use it, also after the client is closed.
#[derive(Default)]
pub struct QueueWaker {
    /// The consumer's queue; None before there is one, and after the client is closed.
    queue: Mutex<Option<Queue>>,
    is_woken: AtomicBool,
}

struct Queue(*mut rd_kafka_queue_t);

// SAFETY: librdkafka's handles may move between threads.
unsafe impl Send for Queue {}

impl QueueWaker {
    /// Takes the queue of a client over.
    ///
    /// # Safety
    /// The queue is live until [`Self::close`] is called.
    pub(super) unsafe fn open(&self, queue: *mut rd_kafka_queue_t) {
        *self.queue.lock() = Some(Queue(queue));
    }

    /// From now on nobody is woken.
    pub(super) fn close(&self) {
        self.queue.lock().take();
    }

    /// Ends the present wait, or else the next one.
    pub fn wake(&self) {
        // The flag comes first: librdkafka's own mark may be used up by a look that does not wait.
        self.is_woken.store(true, Ordering::SeqCst);
        if let Some(Queue(queue)) = &*self.queue.lock() {
            // SAFETY: live until `close`, which takes the lock.
            unsafe { rd_kafka_queue_yield(*queue) };
        }
    }

    /// Returns true if [`Self::wake`] was called since the last time.
    pub(super) fn take(&self) -> bool {
        self.is_woken.swap(false, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_counts_once_and_needs_no_client() {
        let waker = QueueWaker::default();
        assert!(!waker.take());
        waker.wake();
        waker.close();
        waker.wake();
        assert_eq!([waker.take(), waker.take()], [true, false]);
    }
}
