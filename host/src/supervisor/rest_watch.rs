//! Looks for the workers that rest: asks for the ends of all of their partitions, and wakes those that have records to read.
//!
//! Teams with rights of their own are asked for one by one and side by side, as in [`super::inputs`]. A look that fails wakes
//! nobody; workers notice that nobody looks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::model::clock::Monotonic;
use crate::model::names::{TeamName, TopicName};
use crate::ports::Log;
use crate::worker::Rests;

/// Time between two looks: the most that the first record after a silence waits for.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// The team with whose rights partitions are looked at; None: the host, for all teams that have none.
type Owner = Option<TeamName>;

/// A question of one owner.
#[derive(Debug, Default, PartialEq)]
struct Question {
    teams: Vec<TeamName>,
    partitions: BTreeSet<(TopicName, i32)>,
}

/// Looks until `shutdown` becomes true.
pub async fn watch_for_ever(rests: Rests, log: Arc<dyn Log>, mut shutdown: watch::Receiver<bool>) {
    let under_way: Arc<Mutex<BTreeSet<Owner>>> = Arc::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
            _ = shutdown.wait_for(|&down| down) => return,
        }
        for (owner, question) in questions(&rests, |team| log.of_team(team).is_some()) {
            if under_way.lock().insert(owner.clone()) {
                tokio::spawn(look(rests.clone(), log.clone(), (owner, question), under_way.clone()));
            }
        }
    }
}

/// One question for each owner.
fn questions(rests: &Rests, has_own: impl Fn(&TeamName) -> bool) -> BTreeMap<Owner, Question> {
    let mut questions: BTreeMap<Owner, Question> = BTreeMap::new();
    for (team, partitions) in rests.partitions() {
        let question = questions.entry(has_own(&team).then(|| team.clone())).or_default();
        question.teams.push(team);
        question.partitions.extend(partitions);
    }
    questions
}

async fn look(
    rests: Rests,
    log: Arc<dyn Log>,
    (owner, question): (Owner, Question),
    under_way: Arc<Mutex<BTreeSet<Owner>>>,
) {
    let of = owner.clone();
    let looked = spawn_blocking(move || {
        let own = of.as_ref().and_then(|team| log.of_team(team));
        let partitions: Vec<(TopicName, i32)> = question.partitions.into_iter().collect();
        let ends = own.as_deref().unwrap_or(&*log).ends(&partitions)?;
        rests.wake(&question.teams, &ends, Monotonic::now());
        Ok::<(), crate::ports::LogError>(())
    });
    match looked.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(?owner, %error, "the partitions of resting workers could not be looked at"),
        Err(error) => tracing::error!(%error, "looking for resting workers failed: this is a bug"),
    }
    under_way.lock().remove(&owner);
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
        let own = Question { teams: vec![team("own")], partitions: BTreeSet::from([partition(0)]) };
        let others = Question { teams: vec![team("shop"), team("web")], partitions: [0, 1].map(partition).into() };
        assert_eq!(asked, BTreeMap::from([(Some(team("own")), own), (None, others)]));
        drop(places);
        assert!(questions(&rests, |_| false).is_empty());
    }
}
