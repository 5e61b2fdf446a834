//! Decides a request: a pure function from the catalog's state and the request to the records that are written.
//!
//! A change of spec or module spends a revision; pausing, resuming and deleting spend none. The revision of a deleted
//! transform stays, so that no lower revision than the committed one ever runs.

use crate::model::access::PrincipalKind;
use crate::model::audit::Actor;
use crate::model::names::{Digest, TransformId};
use crate::model::revision::{
    COUNT_MAX, Cause, Deployment, Desired, Generations, IdempotencyEntry, Outcome, Progress, REQUESTS_MAX, RequestKey,
    Revision, count_on,
};
use crate::model::spec::RawSpec;
use crate::model::units::Timestamp;
use crate::ports::LogRecord;

use super::ceilings;
use super::change::{Assumption, Change, ChangeResult, Precondition, Request};
use super::cycle;
use super::deployments::Deployments;
use super::encoding::encode_deployment;
use super::error::CatalogError;
use super::history::{HistoryChange, rollback_target};

/// A decided request: its result, and the records to write for it in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    pub result: ChangeResult,
    pub records: Vec<LogRecord>,
}

/// The answer to a request that was carried out before. Refused if its key stands for another one.
pub fn earlier_result(all: &Deployments, id: &TransformId, request: &Request) -> Result<Option<ChangeResult>, CatalogError> {
    let Some(key) = &request.key else { return Ok(None) };
    let Some(latest) = all.get(id) else { return Ok(None) };
    let Some(first) = latest.requests.iter().rev().find(|first| first.key == *key) else { return Ok(None) };
    if first.request != request.digest() {
        return Err(CatalogError::KeyReused);
    }
    let mut deployment = latest.clone();
    if let Some(then) = all.revision(id, first.revision) {
        deployment = Deployment {
            revision: then.revision,
            module: then.module,
            signature: then.signature.clone(),
            spec: then.spec.clone(),
            changed_at: then.changed_at,
            ..deployment
        };
    }
    Ok(Some(ChangeResult { deployment, outcome: first.outcome }))
}

/// Decides a request on the catalog's content. `module_bytes` returns the size of a module that is stored.
pub fn decide(
    all: &Deployments,
    id: &TransformId,
    request: &Request,
    module_bytes: &dyn Fn(&Digest) -> Option<u64>,
) -> Result<Decision, CatalogError> {
    let latest = all.get(id);
    latest.map_or(Ok(()), CatalogError::unless_understood)?;
    check(request.expected, all.live(id))?;
    let live = || all.live(id).ok_or_else(|| CatalogError::NoTransform(id.clone()));
    let mut rolled_back_to = None;
    let mut result = match &request.change {
        Change::Put { spec, module } => put(id, latest, (**spec).clone(), *module, request),
        Change::Rollback { to } => {
            let target = rollback_target(all, id, *to)?;
            check_assumption(id, request, Assumption::Target(target.revision))?;
            if module_bytes(&target.module).is_none() {
                return Err(CatalogError::ModuleGone { revision: target.revision, module: target.module });
            }
            rolled_back_to = Some(target.revision);
            put(id, latest, target.spec.clone(), target.module, request)
        }
        Change::Pause => desire(live()?, Desired::Paused, request.now),
        Change::Resume => {
            let resumed = desire(live()?, Desired::Running, request.now).deployment;
            ask(&resumed, |asked| Generations { resumes: count_on(asked.resumes), ..asked })
        }
        Change::Restart => ask(live()?, |asked| Generations { restarts: count_on(asked.restarts), ..asked }),
        Change::ResetState => reset(live()?, request)?,
        Change::Delete => desire(live()?, Desired::Deleted, request.now),
    };
    if result.outcome == Outcome::Unchanged && request.key.is_none() {
        return Ok(Decision { result, records: Vec::new() });
    }
    let mut records = Vec::new();
    let next = &mut result.deployment;
    if latest.is_none_or(|latest| latest.revision != next.revision) {
        check_new_revision(&request.actor, all, latest, next, module_bytes)?;
        let cause = if rolled_back_to.is_some() { Cause::Rollback } else { Cause::Deploy };
        let author = Some(request.actor.name.clone());
        let revision = Revision { cause, rolled_back_to, author, ..next.to_revision() };
        let history = HistoryChange::of(all, id, latest, &revision);
        if let Some(growth) = &request.growth {
            next.partitions = Some(growth.partitions);
            ceilings::check(all, next, &history, growth, &|module| module_bytes(module).unwrap_or(0))?;
        }
        records = history.records;
    }
    next.changes = count_on(next.changes);
    let key = request.key.clone().unwrap_or_else(RequestKey::random);
    let entry = IdempotencyEntry { key, request: request.digest(), revision: next.revision, outcome: result.outcome };
    next.requests.push(entry);
    next.requests.drain(..next.requests.len().saturating_sub(REQUESTS_MAX));
    // Last, so that whoever sees it finds the history complete.
    records.push(encode_deployment(next, request.now));
    Ok(Decision { result, records })
}

/// Checks a new revision against all other transforms, and against the stores that may be open.
fn check_new_revision(
    actor: &Actor,
    all: &Deployments,
    latest: Option<&Deployment>,
    next: &Deployment,
    module_bytes: &dyn Fn(&Digest) -> Option<u64>,
) -> Result<(), CatalogError> {
    let running = latest.filter(|latest| latest.desired == Desired::Running);
    let inputs = next.spec.inputs.iter().map(String::as_str);
    let has_stores = !next.spec.state.is_empty();
    if running.is_some_and(|running| running.gives_stores_other_inputs(inputs, has_stores)) {
        return Err(CatalogError::InputsInUse(next.id.clone()));
    }
    if let Some(path) = cycle::closed_by(next, all.values()) {
        // One that there is already is another's, who has allowed it. A deletion ends one.
        let before = all.live(&next.id).and_then(|live| cycle::closed_by(live, all.values()));
        if before.as_ref() != Some(&path) {
            // Whoever has signed in may see its own team, and perhaps no other.
            let path = match actor.kind {
                PrincipalKind::Anyone => path.whole(),
                _ => path.within(&next.id.team),
            };
            return Err(CatalogError::Cycle { path });
        }
    }
    module_bytes(&next.module).map(drop).ok_or(CatalogError::NoModule(next.module))
}

/// Checks the precondition on the live deployment (`None`: absent or deleted).
fn check(expected: Precondition, live: Option<&Deployment>) -> Result<(), CatalogError> {
    let found = live.map(|deployment| deployment.revision);
    let fits = match expected {
        Precondition::Any => true,
        Precondition::Present => found.is_some(),
        Precondition::Revision(revision) => found == Some(revision),
        Precondition::Absent => found.is_none(),
    };
    if fits { Ok(()) } else { Err(CatalogError::Conflict { expected, found }) }
}

/// Refuses a request that its host has prepared for another state of the transform.
fn check_assumption(id: &TransformId, request: &Request, now: Assumption) -> Result<(), CatalogError> {
    match request.assumes {
        Some(assumed) if assumed != now => Err(CatalogError::Overtaken(id.clone())),
        _ => Ok(()),
    }
}

fn put(id: &TransformId, latest: Option<&Deployment>, spec: RawSpec, module: Digest, request: &Request) -> ChangeResult {
    let spec = complete(spec, id, module);
    let live = latest.filter(|latest| latest.desired != Desired::Deleted);
    let known = live.filter(|live| live.module == module).and_then(|live| live.signature.clone());
    let signature = request.signature.as_ref().map(|signature| signature.envelope.clone()).or(known);
    let is_same = |live: &&Deployment| live.module == module && live.spec.is_same(&spec) && live.signature == signature;
    if let Some(live) = live.filter(is_same) {
        return ChangeResult { deployment: live.clone(), outcome: Outcome::Unchanged };
    }
    let deployment = Deployment {
        id: id.clone(),
        revision: next_revision(latest, &request.committed),
        module,
        spec,
        desired: live.map_or(Desired::Running, |live| live.desired),
        asked: latest.map_or_else(
            || Generations { resets: request.committed.resets, ..Generations::default() },
            |latest| latest.asked,
        ),
        changed_at: request.now,
        // Counted and noted by the caller, for every kind of change.
        changes: latest.map_or(0, |latest| latest.changes),
        requests: latest.map_or_else(Vec::new, |latest| latest.requests.clone()),
        partitions: latest.and_then(|latest| latest.partitions),
        signature,
        rest: latest.map_or_else(serde_json::Map::new, |latest| latest.rest.clone()),
        unread: None,
    };
    ChangeResult { deployment, outcome: if live.is_some() { Outcome::Updated } else { Outcome::Created } }
}

/// The revision after the latest one. A forged revision that has no successor counts for nothing: then the count goes on
/// from the group's committed progress.
fn next_revision(latest: Option<&Deployment>, committed: &Progress) -> u64 {
    let latest = latest.map_or(committed.revision, |latest| latest.revision);
    if latest < COUNT_MAX {
        return count_on(latest);
    }
    // Never the number that it has, or its content would not be seen to change.
    let next = count_on(committed.revision);
    if next == latest { 1 } else { next }
}

fn desire(latest: &Deployment, desired: Desired, now: Timestamp) -> ChangeResult {
    if latest.desired == desired {
        return ChangeResult { deployment: latest.clone(), outcome: Outcome::Unchanged };
    }
    ChangeResult { deployment: Deployment { desired, changed_at: now, ..latest.clone() }, outcome: Outcome::Updated }
}

/// Empties the stores of a paused transform. Its workers go on with the changelog topics that were created for this reset.
fn reset(live: &Deployment, request: &Request) -> Result<ChangeResult, CatalogError> {
    if live.desired != Desired::Paused {
        return Err(CatalogError::NotPaused(live.id.clone()));
    }
    let stores = Assumption::Stores { revision: live.revision, resets: live.asked.resets };
    check_assumption(&live.id, request, stores)?;
    Ok(ask(live, |asked| Generations { resets: count_on(asked.resets), ..asked }))
}

/// Asks the workers for something: they see another generation.
fn ask(latest: &Deployment, next: impl FnOnce(Generations) -> Generations) -> ChangeResult {
    let deployment = Deployment { asked: next(latest.asked), ..latest.clone() };
    ChangeResult { deployment, outcome: Outcome::Updated }
}

/// The spec with its names and its module's digest written out, so that an answer can be sent back as a request.
fn complete(mut spec: RawSpec, id: &TransformId, module: Digest) -> RawSpec {
    spec.team = Some(id.team.to_string());
    spec.name = Some(id.name.to_string());
    spec.module = Some(module.to_string());
    spec
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
