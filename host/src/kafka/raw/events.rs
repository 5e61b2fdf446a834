//! The notes that callbacks leave for the owner of a client.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::error::ErrorCode;
use super::waker::QueueWaker;
use crate::kafka::oversize::Size;
use crate::kafka::token::Refresh;

/// Failures that are kept until they are taken: as many as a producer's queue has records.
const FAILURES_MAX: usize = 20_000;

/// The notes of callbacks for the owner of one client.
#[derive(Default)]
pub(super) struct Events {
    rebalances: Mutex<VecDeque<RebalanceEvent>>,
    /// The rebalance that the owner took and has not answered with an (un)assignment yet.
    unanswered: Mutex<Option<RebalanceEvent>>,
    failures: Mutex<Vec<FailedDelivery>>,
    has_failures: AtomicBool,
    /// For each topic (by handle) and partition, one past the last record delivered there. Only where the client is set
    /// to report every delivery.
    delivered: Mutex<HashMap<(usize, i32), i64>>,
    /// Connections that ended.
    disconnects: AtomicU64,
    closing: AtomicBool,
    /// Wakes the owner of a consumer.
    waker: Arc<QueueWaker>,
    /// Gives the client its tokens, if it logs in with some.
    refresh: Option<Refresh>,
}

/// A record that was not delivered.
#[derive(Debug, Clone, Copy)]
pub struct FailedDelivery {
    /// The number that it was produced with.
    pub number: u64,
    /// See [`super::TopicHandle::id`].
    pub topic_id: usize,
    pub partition: i32,
    pub code: ErrorCode,
    pub has_key: bool,
    /// The record's size, of some that were refused for it.
    pub size: Option<Size>,
    /// Identifies the text that librdkafka has put to it, 0 for none: see `refusal`. Nothing is at the address any more.
    pub text_id: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebalanceKind {
    Assign,
    Revoke,
    Lost,
}

#[derive(Debug, Clone)]
pub struct RebalanceEvent {
    pub kind: RebalanceKind,
    pub partitions: Vec<(String, i32)>,
}

impl Events {
    pub fn new(refresh: Option<Refresh>) -> Self {
        Self { refresh, ..Self::default() }
    }

    pub fn refresh(&self) -> Option<&Refresh> {
        self.refresh.as_ref()
    }

    pub fn waker(&self) -> &Arc<QueueWaker> {
        &self.waker
    }

    // === rebalances ===

    /// Adds a rebalance. librdkafka goes on to wait after a callback, so the owner is woken.
    pub fn add_rebalance(&self, event: RebalanceEvent) {
        self.rebalances.lock().push_back(event);
        self.waker.wake();
    }

    /// The oldest rebalance that was not taken yet. It counts as unanswered from now on.
    pub fn next_rebalance(&self) -> Option<RebalanceEvent> {
        let event = self.rebalances.lock().pop_front()?;
        *self.unanswered.lock() = Some(event.clone());
        Some(event)
    }

    /// The owner answers the rebalance that it took.
    pub fn answer(&self) {
        self.unanswered.lock().take();
    }

    /// Takes the rebalances that nobody has answered.
    pub fn take_unanswered(&self) -> impl Iterator<Item = RebalanceEvent> {
        let taken = self.unanswered.lock().take();
        let waiting = std::mem::take(&mut *self.rebalances.lock());
        taken.into_iter().chain(waiting)
    }

    /// From now on nobody reads the rebalances that come.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    // === deliveries ===

    /// Keeps a failure, which is made of the number of those before it. Beyond the limit it only shows that there are some.
    pub fn add_failure(&self, make: impl FnOnce(usize) -> FailedDelivery) {
        let mut failures = self.failures.lock();
        if failures.len() < FAILURES_MAX {
            let failure = make(failures.len());
            failures.push(failure);
        }
        self.has_failures.store(true, Ordering::Release);
    }

    pub fn has_failures(&self) -> bool {
        self.has_failures.load(Ordering::Acquire)
    }

    pub fn take_failures(&self) -> Vec<FailedDelivery> {
        let mut failures = self.failures.lock();
        self.has_failures.store(false, Ordering::Release);
        std::mem::take(&mut *failures)
    }

    pub fn add_delivery(&self, topic_id: usize, partition: i32, offset: i64) {
        let mut delivered = self.delivered.lock();
        let end = delivered.entry((topic_id, partition)).or_default();
        *end = (*end).max(offset + 1);
    }

    pub fn delivered_end(&self, topic_id: usize, partition: i32) -> Option<i64> {
        self.delivered.lock().get(&(topic_id, partition)).copied()
    }

    // === connections ===

    pub fn add_disconnect(&self) {
        self.disconnects.fetch_add(1, Ordering::Release);
    }

    pub fn disconnects(&self) -> u64 {
        self.disconnects.load(Ordering::Acquire)
    }
}
