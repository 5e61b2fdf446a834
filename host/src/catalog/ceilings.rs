//! Checks the growth of a team against its ceilings: a pure function, decided by the catalog's one writer, so that two
//! deployments at once never take the same last place.
//!
//! Only growth is refused. A team that is above a ceiling, because it was lowered, keeps all that it has, and may change
//! it as long as the use under that ceiling does not grow.

use crate::model::names::{Digest, TeamName};
use crate::model::revision::Deployment;
use crate::model::spec::Problem;
use crate::model::team::{Ceiling, millis};

use super::change::Growth;
use super::deployments::Deployments;
use super::error::CatalogError;
use super::history::HistoryChange;
use super::team_use::{Measure, TeamUse, transaction_time};

/// The ceilings over all transforms of a team, each with the field of a spec that the growth is named by.
const SUMS: [(Ceiling, &str); 7] = [
    (Ceiling::Transforms, ""),
    (Ceiling::Workers, "workers"),
    (Ceiling::PartitionWorkers, "workers"),
    (Ceiling::Memory, "limits.memory"),
    (Ceiling::StoredModules, "module"),
    (Ceiling::StoredModuleBytes, "module"),
    (Ceiling::RevisionBytes, "config"),
];

/// Refuses a new revision with which its team would grow above ceilings, and names all of them.
pub fn check(
    all: &Deployments,
    next: &Deployment,
    history: &HistoryChange,
    growth: &Growth,
    module_bytes: &dyn Fn(&Digest) -> u64,
) -> Result<(), CatalogError> {
    let team = &next.id.team;
    let measure = Measure { module_bytes, hot_bytes_max: growth.hot_bytes_max };
    let [now, then] = TeamUse::now_and_with(all, next, history, &measure);
    let live = all.live(&next.id);
    let mut problems = Vec::new();
    for (ceiling, field) in SUMS {
        let most = growth.limits.ceiling(ceiling);
        let [used, wanted] = [now, then].map(|team_use| team_use.under(ceiling).unwrap_or(0));
        if wanted > most && wanted > used {
            problems.push(Problem { field: field.to_owned(), message: message(team, ceiling, (used, wanted), most) });
        }
    }
    problems.extend(check_transaction_time(next, live, growth));
    problems.extend(check_cycle(next, live, growth));
    if problems.is_empty() { Ok(()) } else { Err(CatalogError::OverCeiling(problems)) }
}

fn message(team: &TeamName, ceiling: Ceiling, (used, wanted): (u64, u64), most: u64) -> String {
    let [used, wanted, most] = [used, wanted, most].map(|amount| ceiling.unit().show(amount));
    format!("team {team} has {used} and would have {wanted}, but may have {most} ({})", ceiling.key())
}

/// A long transaction makes the readers of its outputs wait.
fn check_transaction_time(next: &Deployment, live: Option<&Deployment>, growth: &Growth) -> Option<Problem> {
    let most = growth.limits.transaction_time_max;
    let wanted = transaction_time(&next.spec);
    let used = live.map(|live| transaction_time(&live.spec)).unwrap_or_default();
    let ceiling = Ceiling::TransactionTime;
    let message = || {
        let [used, wanted, most] = [used, wanted, most].map(|time| ceiling.unit().show(millis(time)));
        let team = &next.id.team;
        format!(
            "a transaction takes up to {wanted} with limits.batch_time, {used} until now; team {team} may have {most} ({})",
            ceiling.key()
        )
    };
    (wanted > most && wanted > used).then(|| Problem { field: "commit_interval".to_owned(), message: message() })
}

fn check_cycle(next: &Deployment, live: Option<&Deployment>, growth: &Growth) -> Option<Problem> {
    let had = live.is_some_and(|live| live.spec.allow_cycle);
    (next.spec.allow_cycle && !had && !growth.limits.allow_cycle).then(|| Problem {
        field: "allow_cycle".to_owned(),
        message: format!("team {} may not have cycles (allow_cycle)", next.id.team),
    })
}

#[cfg(test)]
#[path = "ceilings_tests.rs"]
mod tests;
