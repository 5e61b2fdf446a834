//! The life of the shop: orders come in, change, change their number and go.

use crate::change::Change;
use crate::debezium::{Format, Source};
use crate::order::Order;
use crate::random::Random;
use std::collections::VecDeque;

/// A record of the topic of change events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeEvent {
    pub key: Vec<u8>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    pub timestamp_ms: i64,
    pub(crate) change: Change,
}

/// Change events without end.
#[derive(Clone, Debug)]
pub struct Generator {
    random: Random,
    format: Format,
    live: Vec<Order>,
    order_id_next: u64,
    now_us: i64,
    lsn: u64,
    transaction: u64,
    snapshot_left: u32,
    /// Events of a transaction of which the first has been returned.
    pending: VecDeque<ChangeEvent>,
}

/// The number of orders that the shop knows at once. The oldest ones are never touched again.
const LIVE_MAX: usize = 500;
const SNAPSHOT: u32 = 20;
/// 2026-03-01, 00:00 UTC.
const START_US: i64 = 1_772_323_200_000_000;

// === impl Generator ===

impl Generator {
    /// Events as the connector writes them by default, without schemas.
    pub fn new(seed: u64) -> Self {
        Generator::with_format(seed, Format::Plain)
    }

    pub fn with_format(seed: u64, format: Format) -> Self {
        Generator {
            random: Random::new(seed),
            format,
            live: Vec::new(),
            order_id_next: 1001,
            now_us: START_US,
            lsn: 26_635_968,
            transaction: 750,
            snapshot_left: SNAPSHOT,
            pending: VecDeque::new(),
        }
    }

    pub(crate) fn starting_at(self, now_us: i64) -> Self {
        Generator { now_us, ..self }
    }

    /// The events of the next transaction.
    pub(crate) fn next_transaction(&mut self) -> VecDeque<ChangeEvent> {
        if self.pending.is_empty() {
            self.step();
        }
        std::mem::take(&mut self.pending)
    }

    fn step(&mut self) {
        self.now_us += 1_000 + self.random.below(20_000) as i64;
        self.transaction += 1;
        if self.snapshot_left > 0 {
            self.snapshot_left -= 1;
            let mut order = self.new_order();
            for _ in 0..self.random.below(3) {
                order.update(&mut self.random);
            }
            self.live.push(order.clone());
            return self.record(Change::Found(order), Vec::new());
        }
        match self.random.below(100) {
            0..45 => self.insert(),
            45..88 => self.update(),
            88..97 => self.delete(),
            _ => self.renumber(),
        }
    }

    fn new_order(&mut self) -> Order {
        self.order_id_next += 1;
        Order::random(self.order_id_next - 1, self.now_us, &mut self.random)
    }

    fn insert(&mut self) {
        let order = self.new_order();
        if self.live.len() == LIVE_MAX {
            self.live.remove(0);
        }
        self.live.push(order.clone());
        self.record(Change::Created(order), Vec::new());
    }

    fn update(&mut self) {
        let Some(at) = self.any() else { return self.insert() };
        let before = self.live[at].clone();
        self.live[at].update(&mut self.random);
        let after = self.live[at].clone();
        self.record(Change::Updated { before, after }, Vec::new());
    }

    fn delete(&mut self) {
        let Some(at) = self.any() else { return self.insert() };
        let order = self.live.remove(at);
        self.record_delete(order, Vec::new());
    }

    /// A change of the primary key: delete, tombstone and create, which point at each other.
    fn renumber(&mut self) {
        let Some(at) = self.any() else { return self.insert() };
        let old = self.live[at].clone();
        self.live[at].order_id = self.order_id_next;
        self.order_id_next += 1;
        let new = self.live[at].clone();
        let header = |name: &str, key: Vec<u8>| vec![(name.to_owned(), Some(key))];
        let old_key = self.format.key(old.order_id);
        let new_key = self.format.key(new.order_id);
        self.record_delete(old, header("__debezium.newkey", new_key));
        self.record(Change::Created(new), header("__debezium.oldkey", old_key));
    }

    fn record_delete(&mut self, order: Order, headers: Vec<(String, Option<Vec<u8>>)>) {
        let order_id = order.order_id;
        self.record(Change::Deleted(order), headers.clone());
        self.record(Change::Forgotten { order_id }, headers);
    }

    fn record(&mut self, change: Change, headers: Vec<(String, Option<Vec<u8>>)>) {
        self.lsn += 56 + 8 * self.random.below(100);
        let source = Source { now_us: self.now_us, transaction: self.transaction, lsn: self.lsn };
        self.pending.push_back(ChangeEvent {
            key: self.format.key(change.order_id()),
            value: self.format.value(&change, source),
            headers,
            timestamp_ms: source.captured_us() / 1000,
            change,
        });
    }

    /// One of the orders that are there.
    fn any(&mut self) -> Option<usize> {
        (!self.live.is_empty()).then(|| self.random.below(self.live.len() as u64) as usize)
    }
}

impl Iterator for Generator {
    type Item = ChangeEvent;

    fn next(&mut self) -> Option<ChangeEvent> {
        if self.pending.is_empty() {
            self.step();
        }
        self.pending.pop_front()
    }
}
