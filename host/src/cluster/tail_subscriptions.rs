//! The clients that look at samples of a transform's records through this host.
//!
//! Hosts never call each other: a host whose API is asked for samples says so in the status topic, and says it again
//! for as long as somebody looks; hosts that run the transform publish samples until that is too long ago.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::model::names::TransformId;

use super::times::BEAT;

/// Transforms whose samples a host asks for at once, and those of one team.
const ASKED_MAX: usize = 64;
const ASKED_PER_TEAM_MAX: usize = 16;

/// The number of clients that look at each transform.
#[derive(Default)]
pub struct TailSubscriptions(Mutex<BTreeMap<TransformId, usize>>);

/// Somebody looks, until this is dropped.
pub struct TailSubscription {
    tails: Arc<TailSubscriptions>,
    id: TransformId,
}

/// The transforms whose samples this host has asked for, and when last.
#[derive(Debug, Clone, Default)]
pub struct TailRequests(BTreeMap<TransformId, Instant>);

impl TailRequests {
    /// Decides which transforms are asked for now, and which no longer: by id, wanted or not. Each transform has two records
    /// in a beat at most, however often clients come and go; a limited number is asked for at once, and others wait.
    /// `in_topic` are those that the topic has as asked for by this host: the host was killed before it could end some of
    /// them, or a write failed.
    pub fn turn(
        &mut self,
        wanted: &BTreeSet<TransformId>,
        in_topic: &BTreeSet<TransformId>,
        now: Instant,
    ) -> Vec<(TransformId, bool)> {
        let is_fresh = |at: &Instant| now.duration_since(*at) < BEAT;
        let left_over = in_topic.iter().filter(|id| !wanted.contains(*id) && !self.0.contains_key(*id));
        let mut turn: Vec<(TransformId, bool)> = left_over.map(|id| (id.clone(), false)).collect();
        self.0.retain(|id, at| {
            let kept = wanted.contains(id) || is_fresh(at);
            if !kept {
                turn.push((id.clone(), false));
            }
            kept
        });
        for id in wanted {
            let of_team = self.0.keys().filter(|other| other.team == id.team).count();
            let is_due = match self.0.get(id) {
                Some(at) => !is_fresh(at),
                None => self.0.len() < ASKED_MAX && of_team < ASKED_PER_TEAM_MAX,
            };
            if is_due {
                turn.push((id.clone(), true));
                self.0.insert(id.clone(), now);
            }
        }
        turn
    }

    pub fn ids(&self) -> impl Iterator<Item = &TransformId> {
        self.0.keys()
    }
}

impl TailSubscriptions {
    pub fn look(self: &Arc<Self>, id: TransformId) -> TailSubscription {
        *self.0.lock().entry(id.clone()).or_default() += 1;
        TailSubscription { tails: self.clone(), id }
    }

    /// The transforms that somebody looks at.
    pub fn wanted(&self) -> BTreeSet<TransformId> {
        self.0.lock().keys().cloned().collect()
    }
}

impl Drop for TailSubscription {
    fn drop(&mut self) {
        let mut tails = self.tails.0.lock();
        if let Some(count) = tails.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                tails.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs turns, of which each wants these transforms a quarter of a second after the one before; counts the records.
    #[track_caller]
    fn check(turns: &[&[&str]], told: usize, asked: usize) -> TailRequests {
        let mut own = TailRequests::default();
        let mut count = 0;
        let mut now = Instant::now();
        for wanted in turns {
            let wanted = wanted.iter().map(|id| id.parse().expect("valid")).collect();
            count += own.turn(&wanted, &BTreeSet::new(), now).len();
            now += BEAT / 20;
        }
        assert_eq!((count, own.0.len()), (told, asked));
        own
    }

    #[test]
    fn tails_are_told_of_at_most_so_often() {
        check(&[&["t/a"][..]; 20], 1, 1);
        check(&[&["t/a"][..]; 41], 3, 1);
        let coming_and_going: Vec<&[&str]> = (0..40).map(|i| if i % 2 == 0 { &["t/a"][..] } else { &[] }).collect();
        check(&coming_and_going, 2, 1);
        let ids: Vec<String> = (0..1000).map(|i| format!("t{}/a{i}", i % 10)).collect();
        let others: Vec<[&str; 1]> = ids.iter().map(|id| [id.as_str()]).collect();
        let others: Vec<&[&str]> = others.iter().map(|one| &one[..]).collect();
        // Another one in each turn: those that are over leave room after a beat.
        check(&others[..20], 20, 20);
        check(&others, 1980, 20);
        let of_one_team: Vec<&str> = ids.iter().step_by(10).map(String::as_str).collect();
        check(&[&of_one_team], ASKED_PER_TEAM_MAX, ASKED_PER_TEAM_MAX);
        let all: Vec<&str> = ids.iter().map(String::as_str).collect();
        check(&[&all], ASKED_MAX, ASKED_MAX);
    }

    #[test]
    fn a_request_that_only_the_topic_has_ends() {
        let id = |name: &str| -> TransformId { name.parse().expect("valid") };
        let in_topic = BTreeSet::from([id("t/left"), id("t/wanted")]);
        let mut own = TailRequests::default();
        let turn = own.turn(&BTreeSet::from([id("t/wanted")]), &in_topic, Instant::now());
        assert_eq!(turn, [(id("t/left"), false), (id("t/wanted"), true)]);
    }

    #[test]
    fn a_transform_is_wanted_until_the_last_has_looked_away() {
        let tails: Arc<TailSubscriptions> = Arc::default();
        let id: TransformId = "t/n".parse().expect("valid");
        let first = tails.look(id.clone());
        let second = tails.look(id.clone());
        drop(first);
        assert_eq!(tails.wanted(), BTreeSet::from([id]));
        drop(second);
        assert!(tails.wanted().is_empty());
    }
}
