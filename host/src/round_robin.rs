//! A queue of entries in which their owners take turns: the next entry is the first one of the next owner, so an owner with
//! many leaves every second turn to another's only one.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

/// A queue in which owners take turns. Owners follow each other in the order of `K`.
pub struct RoundRobin<K, T> {
    /// No owner is here without an entry.
    entries: BTreeMap<K, VecDeque<T>>,
    /// The owner that had the last turn.
    last: Option<K>,
}

impl<K, T> Default for RoundRobin<K, T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), last: None }
    }
}

impl<K: Ord + Clone, T> RoundRobin<K, T> {
    pub fn push(&mut self, owner: K, entry: T) {
        self.entries.entry(owner).or_default().push_back(entry);
    }

    /// Adds an entry before the others of its owner.
    pub fn push_front(&mut self, owner: K, entry: T) {
        self.entries.entry(owner).or_default().push_front(entry);
    }

    /// Takes out the entry whose turn it is, among those that fit.
    pub fn pop(&mut self, fits: impl Fn(&T) -> bool) -> Option<(K, T)> {
        let after_last = (self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let mut owners = self.entries.range::<K, _>(after_last).chain(&self.entries);
        let (owner, at) = owners.find_map(|(owner, own)| Some((owner.clone(), own.iter().position(&fits)?)))?;
        let own = self.entries.get_mut(&owner)?;
        let entry = own.remove(at)?;
        if own.is_empty() {
            self.entries.remove(&owner);
        }
        self.last = Some(owner.clone());
        Some((owner, entry))
    }

    /// Takes out all entries that fit, which costs no owner a turn.
    pub fn take(&mut self, fits: impl Fn(&T) -> bool) -> Vec<T> {
        let owners: Vec<K> = self.entries.keys().cloned().collect();
        owners.iter().flat_map(|owner| self.take_of(owner, &fits)).collect()
    }

    /// Takes out the entries of an owner that fit, which costs it no turn.
    pub fn take_of(&mut self, owner: &K, fits: impl Fn(&T) -> bool) -> Vec<T> {
        let Some(own) = self.entries.get_mut(owner) else { return Vec::new() };
        if !own.iter().any(&fits) {
            return Vec::new();
        }
        let (fitting, others): (VecDeque<T>, VecDeque<T>) = own.drain(..).partition(fits);
        *own = others;
        if own.is_empty() {
            self.entries.remove(owner);
        }
        fitting.into()
    }

    /// Returns true if an entry fits.
    pub fn any(&self, fits: impl Fn(&T) -> bool) -> bool {
        self.entries.values().flatten().any(fits)
    }

    pub fn owners(&self) -> impl Iterator<Item = &K> {
        self.entries.keys()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn len(&self) -> usize {
        self.entries.values().map(VecDeque::len).sum()
    }

    /// The number of an owner's entries.
    pub fn len_of(&self, owner: &K) -> usize {
        self.entries.get(owner).map_or(0, VecDeque::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Queue = RoundRobin<u8, &'static str>;

    /// Fills a queue with entries whose first letter is their owner.
    fn queue(entries: &[&'static str]) -> Queue {
        let mut queue = Queue::default();
        for &entry in entries {
            push(&mut queue, entry);
        }
        queue
    }

    fn push(queue: &mut Queue, entry: &'static str) {
        queue.push(entry.as_bytes()[0], entry);
    }

    fn pop(queue: &mut Queue, fits: impl Fn(&str) -> bool) -> Option<&'static str> {
        let (owner, entry) = queue.pop(|entry| fits(entry))?;
        assert_eq!(owner, entry.as_bytes()[0]);
        Some(entry)
    }

    /// Checks the order in which entries are taken out.
    #[track_caller]
    fn check(mut queue: Queue, expected: &[&str]) {
        let order: Vec<_> = std::iter::from_fn(|| pop(&mut queue, |_| true)).collect();
        assert_eq!(order, expected);
        assert!(queue.is_empty());
    }

    #[test]
    fn owners_take_turns_and_each_has_an_order() {
        check(queue(&[]), &[]);
        check(queue(&["a1", "a2", "a3"]), &["a1", "a2", "a3"]);
        check(queue(&["a1", "a2", "a3", "a4", "c1", "b1", "b2"]), &["a1", "b1", "c1", "a2", "b2", "a3", "a4"]);
    }

    #[test]
    fn an_owner_that_comes_later_does_not_wait_for_many_of_others() {
        let mut queue = queue(&["b1", "b2", "b3", "b4"]);
        assert_eq!(pop(&mut queue, |_| true), Some("b1"));
        push(&mut queue, "c1");
        push(&mut queue, "a1");
        check(queue, &["c1", "a1", "b2", "b3", "b4"]);
    }

    #[test]
    fn an_entry_that_does_not_fit_keeps_its_place() {
        let mut queue = queue(&["a1", "a2", "a3", "b1"]);
        assert!(queue.any(|entry| *entry == "b1") && !queue.any(|entry| *entry == "b2"));
        assert_eq!(pop(&mut queue, |entry| !entry.ends_with('1')), Some("a2"));
        assert_eq!(pop(&mut queue, |entry| entry == "c1"), None);
        check(queue, &["b1", "a1", "a3"]);
    }

    #[test]
    fn an_entry_is_put_before_the_others_of_its_owner() {
        let mut queue = queue(&["a1", "b1", "b2"]);
        queue.push_front(b'b', "b0");
        assert_eq!((queue.len_of(&b'b'), queue.len_of(&b'c')), (3, 0));
        check(queue, &["a1", "b0", "b1", "b2"]);
    }

    #[test]
    fn entries_that_are_taken_cost_no_turn() {
        let mut queue = queue(&["a1", "a2", "b1", "c1", "c2"]);
        assert_eq!(queue.take(|entry| entry.ends_with('1')), ["a1", "b1", "c1"]);
        assert_eq!(queue.len(), 2);
        assert_eq!(queue.take_of(&b'c', |_| true), ["c2"]);
        assert!(queue.take_of(&b'b', |_| true).is_empty());
        assert!(queue.owners().eq(b"a"));
        check(queue, &["a2"]);
    }
}
