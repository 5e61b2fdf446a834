//! A line of entries in which the teams take turns: the next entry is the first one of the next team, so a team with many
//! leaves every second turn to another team's only one. Entries without a team are those of one more team.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use crate::model::names::TeamName;

/// See the module.
pub(super) struct TeamLine<T> {
    /// No team is here without an entry.
    entries: BTreeMap<Option<TeamName>, VecDeque<T>>,
    /// The team that had the last turn.
    last: Option<TeamName>,
}

impl<T> Default for TeamLine<T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), last: None }
    }
}

impl<T> TeamLine<T> {
    pub fn push(&mut self, team: Option<&TeamName>, entry: T) {
        self.entries.entry(team.cloned()).or_default().push_back(entry);
    }

    /// Takes out the entry whose turn it is, among those that fit.
    pub fn pop(&mut self, fits: impl Fn(&T) -> bool) -> Option<T> {
        let after_last = (Bound::Excluded(&self.last), Bound::Unbounded);
        let mut teams = self.entries.range::<Option<TeamName>, _>(after_last).chain(&self.entries);
        let (team, at) = teams.find_map(|(team, own)| Some((team.clone(), own.iter().position(&fits)?)))?;
        let own = self.entries.get_mut(&team)?;
        let entry = own.remove(at);
        if own.is_empty() {
            self.entries.remove(&team);
        }
        self.last = team;
        entry
    }

    /// Takes out all entries that fit, which costs no team a turn.
    pub fn take(&mut self, fits: impl Fn(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for own in self.entries.values_mut().filter(|own| own.iter().any(&fits)) {
            let (fitting, others): (VecDeque<T>, VecDeque<T>) = own.drain(..).partition(&fits);
            taken.extend(fitting);
            *own = others;
        }
        self.entries.retain(|_, own| !own.is_empty());
        taken
    }

    /// Returns true if an entry fits.
    pub fn any(&self, fits: impl Fn(&T) -> bool) -> bool {
        self.entries.values().flatten().any(fits)
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn len(&self) -> usize {
        self.entries.values().map(VecDeque::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills a line with entries whose first letter is their team; a dash stands for none.
    fn line(entries: &[&'static str]) -> TeamLine<&'static str> {
        let mut line = TeamLine::default();
        for &entry in entries {
            push(&mut line, entry);
        }
        line
    }

    fn push(line: &mut TeamLine<&'static str>, entry: &'static str) {
        let team: Option<TeamName> = entry[..1].parse().ok();
        line.push(team.as_ref(), entry);
    }

    /// Checks the order in which entries are taken out.
    #[track_caller]
    fn check(mut line: TeamLine<&'static str>, expected: &[&str]) {
        let order: Vec<_> = std::iter::from_fn(|| line.pop(|_| true)).collect();
        assert_eq!(order, expected);
        assert!(line.is_empty());
    }

    #[test]
    fn teams_take_turns_and_each_has_an_order() {
        check(line(&[]), &[]);
        check(line(&["a1", "a2", "a3"]), &["a1", "a2", "a3"]);
        check(line(&["a1", "a2", "a3", "a4", "c1", "b1", "b2"]), &["a1", "b1", "c1", "a2", "b2", "a3", "a4"]);
        // Those without a team are one more.
        check(line(&["-1", "-2", "-3", "a1", "a2", "b1"]), &["a1", "b1", "-1", "a2", "-2", "-3"]);
    }

    #[test]
    fn a_team_that_comes_later_does_not_wait_for_many_of_others() {
        let mut line = line(&["b1", "b2", "b3", "b4"]);
        assert_eq!(line.pop(|_| true), Some("b1"));
        push(&mut line, "c1");
        push(&mut line, "a1");
        check(line, &["c1", "a1", "b2", "b3", "b4"]);
    }

    #[test]
    fn an_entry_that_does_not_fit_keeps_its_place() {
        let mut line = line(&["a1", "a2", "a3", "b1"]);
        assert!(line.any(|entry| *entry == "b1") && !line.any(|entry| *entry == "b2"));
        assert_eq!(line.pop(|entry| !entry.ends_with('1')), Some("a2"));
        assert_eq!(line.pop(|entry| *entry == "c1"), None);
        check(line, &["b1", "a1", "a3"]);
    }

    #[test]
    fn entries_that_are_taken_cost_no_turn() {
        let mut line = line(&["a1", "a2", "b1", "c1", "c2"]);
        assert_eq!(line.take(|entry| entry.ends_with('1')), ["a1", "b1", "c1"]);
        assert_eq!(line.len(), 2);
        check(line, &["a2", "c2"]);
    }
}
