//! A queue of bounded bytes that teams share: a team with few entries finds room, and waits for few others.
//!
//! An entry is let in while it, the transform's entries and the team's entries, added up, fit into the free bytes. So a
//! transform alone fills a third of the lane, a team of many less than a half, and however many flood it, something stays
//! free for who comes next. Teams are taken out of in turn, each from its oldest entry on.

use std::collections::{BTreeMap, VecDeque};

use crate::model::names::{TeamName, TransformId, TransformName};

/// An entry whose memory can be counted.
pub(super) trait Weighed {
    /// Returns about how much memory the entry takes.
    fn bytes(&self) -> usize;
}

/// See the module.
#[derive(Debug)]
pub(super) struct Lane<T> {
    bytes_max: usize,
    bytes: usize,
    /// Teams that have something in it.
    teams: BTreeMap<TeamName, Share<T>>,
    /// Each of these teams once: the first is the next to be taken out of.
    turns: VecDeque<TeamName>,
}

/// Entries of a team.
#[derive(Debug)]
struct Share<T> {
    bytes: usize,
    entries: VecDeque<(TransformName, T)>,
    /// Bytes by transform.
    transforms: BTreeMap<TransformName, usize>,
}

// === impl Lane ===

impl<T: Weighed> Lane<T> {
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: 0, teams: BTreeMap::new(), turns: VecDeque::new() }
    }

    /// Adds an entry. Returns false if there is no room for it.
    pub fn push(&mut self, id: &TransformId, entry: T) -> bool {
        let bytes = entry.bytes();
        let free = self.bytes_max.saturating_sub(self.bytes);
        let held = self.teams.get(&id.team).map_or(0, |share| share.held_by(&id.name));
        if held.saturating_add(bytes) > free {
            return false;
        }
        let turns = &mut self.turns;
        let share = self.teams.entry(id.team.clone()).or_insert_with(|| {
            turns.push_back(id.team.clone());
            Share { bytes: 0, entries: VecDeque::new(), transforms: BTreeMap::new() }
        });
        self.bytes += bytes;
        share.push(&id.name, bytes, entry);
        true
    }

    /// Takes out the oldest entry of the team whose turn it is.
    pub fn pop(&mut self) -> Option<(TransformId, T)> {
        let team = self.turns.pop_front()?;
        let share = self.teams.get_mut(&team).expect("a team with a turn has something");
        let (name, bytes, entry) = share.pop();
        self.bytes -= bytes;
        if share.entries.is_empty() {
            self.teams.remove(&team);
        } else {
            self.turns.push_back(team.clone());
        }
        Some((TransformId { team, name }, entry))
    }
}

// === impl Share ===

impl<T: Weighed> Share<T> {
    /// Returns the bytes of the team, and those of one of its transforms once more.
    fn held_by(&self, name: &TransformName) -> usize {
        self.bytes + self.transforms.get(name).copied().unwrap_or(0)
    }

    fn push(&mut self, name: &TransformName, bytes: usize, entry: T) {
        self.bytes += bytes;
        *self.transforms.entry(name.clone()).or_insert(0) += bytes;
        self.entries.push_back((name.clone(), entry));
    }

    fn pop(&mut self) -> (TransformName, usize, T) {
        let (name, entry) = self.entries.pop_front().expect("a share has something");
        let bytes = entry.bytes();
        self.bytes -= bytes;
        let own = self.transforms.get_mut(&name).expect("counted when it was put in");
        *own -= bytes;
        if *own == 0 {
            self.transforms.remove(&name);
        }
        (name, bytes, entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Weighed for usize {
        fn bytes(&self) -> usize {
            *self
        }
    }

    fn id(name: &str) -> TransformId {
        name.parse().expect("valid")
    }

    /// Fills a lane of 1200 bytes with entries of 10, of each of `floods` in turn, and counts the entries of each.
    #[track_caller]
    fn check(floods: &[&str], each: usize) -> Lane<usize> {
        let mut lane = Lane::new(1200);
        let mut count = vec![0; floods.len()];
        for _ in 0..1000 {
            for (count, name) in count.iter_mut().zip(floods) {
                *count += usize::from(lane.push(&id(name), 10));
            }
        }
        assert!(count.iter().all(|&count| count.abs_diff(each) <= 1), "{count:?} of {floods:?}");
        for late in ["quiet/a", "t/quiet"] {
            assert!(lane.push(&id(late), 10), "{late} finds room after {floods:?}");
        }
        lane
    }

    #[test]
    fn a_flood_leaves_room_for_others() {
        check(&["t/a"], 40);
        check(&["t/a", "u/a", "v/a"], 24);
        check(&["t/a", "t/b", "t/c"], 17);
        check(&["t/a", "t/b", "t/c", "t/d", "t/e", "t/f", "t/g", "t/h", "t/i", "t/j"], 5);
        let mut small = Lane::new(100);
        assert!(!small.push(&id("t/a"), 101) && small.push(&id("t/a"), 100) && !small.push(&id("u/a"), 1));
    }

    #[test]
    fn teams_are_taken_out_of_in_turn_and_the_lane_is_empty_again() {
        let mut lane = check(&["t/a", "u/a"], 30);
        let mut taken = 0;
        let mut quiet = None;
        while let Some((id, _)) = lane.pop() {
            taken += 1;
            quiet = quiet.or((id.team.as_str() == "quiet").then_some(taken));
        }
        assert!(quiet.is_some_and(|place| place <= 3), "it waits for one entry of each other team: {quiet:?}");
        assert!(taken > 50 && lane.bytes == 0 && lane.teams.is_empty() && lane.turns.is_empty(), "{lane:?}");
        assert!(lane.push(&id("t/a"), 10) && lane.push(&id("t/b"), 20));
        assert_eq!([lane.pop(), lane.pop(), lane.pop()], [Some((id("t/a"), 10)), Some((id("t/b"), 20)), None]);
    }
}
