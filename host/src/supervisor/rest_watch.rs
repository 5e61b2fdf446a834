//! Looks for the workers that rest: asks for the ends of all of their partitions, and wakes those that have records to read.
//! A look that fails wakes nobody; workers notice that nobody looks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::model::clock::Monotonic;
use crate::model::names::{TeamName, TopicName};
use crate::ports::{Log, LogError};
use crate::worker::Rests;

use super::log_watch::{Owner, ask_for_ever, log_of_owner};

/// Time between two looks: the most that the first record after a silence waits for.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// A question of one owner.
#[derive(Debug, Default, PartialEq)]
struct Question {
    teams: Vec<TeamName>,
    /// The workers that rest when it is asked.
    entered: u64,
    partitions: BTreeSet<(TopicName, i32)>,
}

/// Looks until `shutdown` becomes true.
pub async fn watch_for_ever(rests: Rests, log: Arc<dyn Log>, shutdown: watch::Receiver<bool>) {
    let resting = rests.clone();
    let teams_log = log.clone();
    let next_questions = move || questions(&resting, |team| teams_log.of_team(team).is_some());
    let ask = move |owner: &Owner, Question { teams, entered, partitions }: Question| -> Result<(), LogError> {
        let partitions: Vec<(TopicName, i32)> = partitions.into_iter().collect();
        let ends = log_of_owner(&log, owner).ends(&partitions)?;
        rests.wake(&teams, entered, &ends, Monotonic::now());
        Ok(())
    };
    ask_for_ever(LOOK_INTERVAL, next_questions, ask, shutdown).await;
}

/// One question for each owner.
fn questions(rests: &Rests, has_own: impl Fn(&TeamName) -> bool) -> BTreeMap<Owner, Question> {
    let mut questions: BTreeMap<Owner, Question> = BTreeMap::new();
    let entered = rests.entered();
    for (team, partitions) in rests.partitions() {
        let question = questions.entry(has_own(&team).then(|| team.clone())).or_default();
        question.entered = entered;
        question.teams.push(team);
        question.partitions.extend(partitions);
    }
    questions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_owner_is_asked_once() {
        let rests = Rests::default();
        let team = |name: &str| -> TeamName { name.parse().expect("valid") };
        let partition = |number: i32| -> (TopicName, i32) { ("in".parse().expect("valid"), number) };
        let places = [("shop", 0), ("web", 0), ("web", 1), ("own", 0)].map(|(name, number)| {
            rests.enter(&team(name), vec![(partition(number), 7)], &Default::default(), Monotonic::now())
        });
        let asked = questions(&rests, |of| *of == team("own"));
        let own = Question { teams: vec![team("own")], entered: 4, partitions: BTreeSet::from([partition(0)]) };
        let others =
            Question { teams: vec![team("shop"), team("web")], entered: 4, partitions: [0, 1].map(partition).into() };
        assert_eq!(asked, BTreeMap::from([(Some(team("own")), own), (None, others)]));
        drop(places);
        assert!(questions(&rests, |_| false).is_empty());
    }
}
