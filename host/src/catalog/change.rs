//! What a request makes of the catalog: a pure function from its state and the request to the records to be written.
//!
//! A revision is spent on every change of spec or module, never on pausing, resuming or deleting. The revision of a
//! deleted transform stays, so that it never runs a lower one than it has committed.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::model::names::{Digest, TransformId};
use crate::model::revision::{
    COUNT_MAX, Cause, Deployment, Desired, Generations, IdempotencyEntry, Outcome, Progress, REQUESTS_MAX, REVISIONS_MAX,
    RequestKey, Revision, count_on,
};
use crate::model::spec::RawSpec;
use crate::model::units::Timestamp;
use crate::ports::LogRecord;

use super::encoding::{State, drop_revision, encode_deployment, encode_revision};
use super::{CatalogError, cycle};

/// What the caller takes the transform to be (`If-Match`, `If-None-Match`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Precondition {
    Any,
    /// It exists, at whatever revision (`If-Match: *`).
    Present,
    Revision(u64),
    /// It does not exist (`If-None-Match: *`).
    Absent,
}

impl fmt::Display for Precondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("nothing"),
            Self::Present => f.write_str("a transform"),
            Self::Revision(revision) => write!(f, "revision {revision}"),
            Self::Absent => f.write_str("no transform"),
        }
    }
}

/// One change of one transform.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Change {
    /// The spec and module that it shall have. A paused transform stays paused.
    Put {
        spec: Box<RawSpec>,
        module: Digest,
    },
    /// The spec and module of an earlier revision, as a new one. `None`: of the one before the current one.
    Rollback {
        to: Option<u64>,
    },
    Pause,
    /// Run again; also those partitions that stopped before a bad record.
    Resume,
    /// Have every host's workers stop and start anew.
    Restart,
    /// Begin with empty stores.
    ResetState,
    Delete,
}

/// A change that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub expected: Precondition,
    pub change: Change,
    /// What the client calls this request: one that comes again is answered as it was the first time.
    pub key: Option<RequestKey>,
    pub now: Timestamp,
    /// What the transform's group has committed with. A transform that the catalog does not know goes on counting there:
    /// no lower revision may go on from those offsets.
    pub committed: Progress,
}

impl Request {
    /// Tells what is asked from anything else; what the host adds is no part of it.
    fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(&(&self.expected, &self.change)).expect("a request is plain data"))
    }
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeResult {
    /// The deployment as it is now.
    pub deployment: Deployment,
    pub outcome: Outcome,
}

/// What a request makes of the catalog: its answer, and the records that have to be written for it, in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    pub applied: ChangeResult,
    pub records: Vec<LogRecord>,
}

/// The answer to a request that was carried out before. Refused if its key stands for another one.
pub fn answered(all: &State, id: &TransformId, request: &Request) -> Result<Option<ChangeResult>, CatalogError> {
    let Some(key) = &request.key else { return Ok(None) };
    let Some(latest) = all.get(id) else { return Ok(None) };
    let Some(first) = latest.requests.iter().rev().find(|first| first.key == *key) else { return Ok(None) };
    if first.request != request.digest() {
        return Err(CatalogError::KeyReused);
    }
    let mut deployment = latest.clone();
    if let Some(then) = all.revision(id, first.revision) {
        let (module, spec) = (then.module, then.spec.clone());
        deployment = Deployment { revision: then.revision, module, spec, changed_at: then.changed_at, ..deployment };
    }
    Ok(Some(ChangeResult { deployment, outcome: first.outcome }))
}

/// Decides a request on what the catalog holds. `has_module` says which modules are stored.
pub fn decide(
    all: &State,
    id: &TransformId,
    request: &Request,
    has_module: &dyn Fn(&Digest) -> bool,
) -> Result<Decided, CatalogError> {
    let latest = all.get(id);
    latest.map_or(Ok(()), CatalogError::unless_understood)?;
    check(request.expected, all.live(id))?;
    let live = || all.live(id).ok_or_else(|| CatalogError::NoTransform(id.clone()));
    let mut rolled_back_to = None;
    let mut applied = match &request.change {
        Change::Put { spec, module } => put(id, latest, (**spec).clone(), *module, request),
        Change::Rollback { to } => {
            let target = rollback_target(all, id, *to)?;
            if !has_module(&target.module) {
                return Err(CatalogError::ModuleGone { revision: target.revision, module: target.module });
            }
            rolled_back_to = Some(target.revision);
            put(id, latest, target.spec.clone(), target.module, request)
        }
        Change::Pause => desire(live()?, Desired::Paused, request.now),
        Change::Resume => {
            let live = live()?;
            let asked = Generations { resumes: count_on(live.asked.resumes), ..live.asked };
            ask(desire(live, Desired::Running, request.now).deployment, asked)
        }
        Change::Restart => {
            let live = live()?;
            ask(live.clone(), Generations { restarts: count_on(live.asked.restarts), ..live.asked })
        }
        Change::ResetState => {
            let live = live()?;
            ask(live.clone(), Generations { resets: count_on(live.asked.resets), ..live.asked })
        }
        Change::Delete => desire(live()?, Desired::Deleted, request.now),
    };
    if applied.outcome == Outcome::Unchanged && request.key.is_none() {
        return Ok(Decided { applied, records: Vec::new() });
    }
    let mut records = Vec::new();
    let next = &mut applied.deployment;
    if latest.is_none_or(|latest| latest.revision != next.revision) {
        let running = latest.filter(|latest| latest.desired == Desired::Running);
        let inputs = next.spec.inputs.iter().map(String::as_str);
        let has_stores = !next.spec.state.is_empty();
        if running.is_some_and(|running| running.gives_stores_other_inputs(inputs, has_stores)) {
            return Err(CatalogError::InputsInUse(id.clone()));
        }
        if let Some(path) = cycle::closed_by(next, all.values()) {
            // One that there is already is another's, who has allowed it.
            let before = latest.and_then(|latest| cycle::closed_by(latest, all.values()));
            if before.as_ref() != Some(&path) {
                return Err(CatalogError::Cycle { path });
            }
        }
        if !has_module(&next.module) {
            return Err(CatalogError::NoModule(next.module));
        }
        let cause = if rolled_back_to.is_some() { Cause::Rollback } else { Cause::Deploy };
        records.extend(history(all, id, latest, &Revision { cause, rolled_back_to, ..next.to_revision() }));
    }
    next.changes = count_on(next.changes);
    let key = request.key.clone().unwrap_or_else(RequestKey::random);
    let answer = IdempotencyEntry { key, request: request.digest(), revision: next.revision, outcome: applied.outcome };
    next.requests.push(answer);
    next.requests.drain(..next.requests.len().saturating_sub(REQUESTS_MAX));
    // Last, so that whoever sees it finds the history complete.
    records.push(encode_deployment(next, request.now));
    Ok(Decided { applied, records })
}

/// The revision that a rollback goes back to.
pub fn rollback_target(all: &State, id: &TransformId, to: Option<u64>) -> Result<Arc<Revision>, CatalogError> {
    let live = all.live(id).ok_or_else(|| CatalogError::NoTransform(id.clone()))?;
    CatalogError::unless_understood(live)?;
    let to = to.or_else(|| {
        let understood = all.revisions(id).into_iter().map(|revision| revision.revision);
        let all = understood.chain(all.unread(id).map(|(revision, _)| revision));
        all.filter(|revision| *revision < live.revision).max()
    });
    to.and_then(|to| all.revision(id, to)).ok_or_else(|| no_revision(all, id, to))
}

/// The error of a revision that cannot be had: a newer host's, or none.
pub fn no_revision(all: &State, id: &TransformId, revision: Option<u64>) -> CatalogError {
    let unread = all.unread(id).find(|(unread, _)| Some(*unread) == revision);
    match unread {
        Some((number, reason)) => CatalogError::Newer { what: format!("{id}@{number}"), reason: reason.to_owned() },
        None => CatalogError::NoRevision { id: id.clone(), revision },
    }
}

/// The records of a new revision beside the current state: itself, the one before it where nobody has written it yet,
/// and tombstones for those that are too old to be kept.
fn history(all: &State, id: &TransformId, latest: Option<&Deployment>, next: &Revision) -> Vec<LogRecord> {
    let kept = all.kept(id);
    let too_old = kept.range(..=next.revision.saturating_sub(REVISIONS_MAX)).map(|(&old, _)| drop_revision(id, old, next));
    let is_written = |latest: &Deployment| {
        kept.contains_key(&latest.revision) || all.unread(id).any(|(revision, _)| revision == latest.revision)
    };
    let unwritten = latest.filter(|latest| latest.is_whole() && !is_written(latest)).map(Deployment::to_revision);
    let written = unwritten.iter().chain([next]).map(|revision| encode_revision(revision, next.changed_at));
    too_old.chain(written).collect()
}

/// Whether the transform (`None`: absent or deleted) is what was expected.
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

fn put(id: &TransformId, latest: Option<&Deployment>, spec: RawSpec, module: Digest, request: &Request) -> ChangeResult {
    let spec = complete(spec, id, module);
    let live = latest.filter(|latest| latest.desired != Desired::Deleted);
    if let Some(live) = live.filter(|live| live.module == module && live.spec == spec) {
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
        rest: latest.map_or_else(serde_json::Map::new, |latest| latest.rest.clone()),
        unread: None,
    };
    ChangeResult { deployment, outcome: if live.is_some() { Outcome::Updated } else { Outcome::Created } }
}

/// The revision after the latest one. A forged one that has no successor counts for nothing: then it goes on from what the
/// group has committed with.
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

fn ask(deployment: Deployment, asked: Generations) -> ChangeResult {
    ChangeResult { deployment: Deployment { asked, ..deployment }, outcome: Outcome::Updated }
}

/// The spec with its names and its module's digest written out, so that what is read can be sent back as it is.
fn complete(mut spec: RawSpec, id: &TransformId, module: Digest) -> RawSpec {
    spec.team = Some(id.team.to_string());
    spec.name = Some(id.name.to_string());
    spec.module = Some(module.to_string());
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> TransformId {
        "orders/strip".parse().expect("valid")
    }

    fn put_of(input: &str) -> Change {
        let spec = serde_json::from_value(serde_json::json!({"inputs": [input], "outputs": {"o": "out"}})).expect("valid");
        Change::Put { spec: Box::new(spec), module: Digest::of(b"m") }
    }

    fn request(change: Change) -> Request {
        Request { expected: Precondition::Any, change, key: None, now: Timestamp(1), committed: Progress::default() }
    }

    fn keyed(key: &str, change: Change) -> Request {
        Request { key: Some(key.parse().expect("valid")), ..request(change) }
    }

    /// The catalog after one more request.
    fn after(state: &mut State, request: &Request) -> Result<ChangeResult, CatalogError> {
        let decided = decide(state, &id(), request, &|_| true)?;
        for record in &decided.records {
            state.take(record).expect("readable");
        }
        Ok(decided.applied)
    }

    /// Runs the changes; each step says the revision, the desired state and the outcome it expects.
    fn check_all(steps: Vec<(Change, u64, Desired, Outcome)>) -> State {
        let mut state = State::default();
        for (change, revision, desired, outcome) in steps {
            let text = format!("{change:?}");
            let applied = after(&mut state, &request(change)).expect(&text);
            let deployment = &applied.deployment;
            assert_eq!((deployment.revision, deployment.desired, applied.outcome), (revision, desired, outcome), "{text}");
        }
        state
    }

    #[test]
    fn revisions_count_changes_of_content() {
        use Desired::*;
        use Outcome::*;
        let state = check_all(vec![
            (put_of("a"), 1, Running, Created),
            (put_of("a"), 1, Running, Unchanged),
            (put_of("b"), 2, Running, Updated),
            (Change::Pause, 2, Paused, Updated),
            (Change::Pause, 2, Paused, Unchanged),
            (put_of("c"), 3, Paused, Updated),
            (Change::Resume, 3, Running, Updated),
            (Change::Rollback { to: None }, 4, Running, Updated),
            (Change::Rollback { to: Some(2) }, 4, Running, Unchanged),
            (Change::Rollback { to: Some(1) }, 5, Running, Updated),
            (Change::Delete, 5, Deleted, Updated),
            (put_of("c"), 6, Running, Created),
        ]);
        let history: Vec<_> = state.revisions(&id()).iter().map(|it| (it.revision, it.rolled_back_to)).collect();
        assert_eq!(history, [(6, None), (5, Some(1)), (4, Some(2)), (3, None), (2, None), (1, None)]);
        assert_eq!(state[&id()].changes, 9, "unchanged ones are not written");
    }

    #[test]
    fn old_revisions_go_and_new_ones_stay() {
        let mut state = State::default();
        let many = REVISIONS_MAX + 7;
        for n in 0..many {
            after(&mut state, &request(put_of(&format!("t{n}")))).expect("accepted");
        }
        let kept: Vec<u64> = state.revisions(&id()).iter().map(|it| it.revision).collect();
        assert_eq!(kept, (8..=many).rev().collect::<Vec<_>>());
        assert_eq!(state[&id()].requests.len(), REQUESTS_MAX);
        let gone = decide(&state, &id(), &request(Change::Rollback { to: Some(7) }), &|_| true);
        assert!(matches!(gone, Err(CatalogError::NoRevision { revision: Some(7), .. })), "{gone:?}");
    }

    #[test]
    fn a_deployment_without_history_is_its_own() {
        let mut state = State::default();
        after(&mut state, &request(put_of("a"))).expect("accepted");
        let mut old = State::default();
        let value = serde_json::to_value(&state[&id()]).expect("plain data");
        let fields =
            value.as_object().expect("an object").iter().filter(|(name, _)| *name != "changes" && *name != "requests");
        let value = serde_json::to_vec(&fields.collect::<std::collections::BTreeMap<_, _>>()).expect("plain data");
        old.take(&super::super::encoding::record(id().to_string(), value, Timestamp(1))).expect("readable");
        assert_eq!(old.revisions(&id()).len(), 1, "what an earlier version wrote");
        after(&mut old, &request(put_of("b"))).expect("accepted");
        let back = after(&mut old, &request(Change::Rollback { to: None })).expect("accepted").deployment;
        assert_eq!((back.revision, back.spec.inputs), (3, vec!["a".to_owned()]));
    }

    #[test]
    fn a_repeated_request_is_answered_as_the_first() {
        let mut state = State::default();
        let first = keyed("one", put_of("a"));
        let applied = after(&mut state, &first).expect("accepted");
        after(&mut state, &keyed("two", put_of("b"))).expect("accepted");
        let again = answered(&state, &id(), &first).expect("the same").expect("known");
        assert_eq!((again.outcome, again.deployment.revision), (Outcome::Created, 1));
        assert_eq!(again.deployment.spec, applied.deployment.spec);
        let unchanged = after(&mut state, &keyed("three", put_of("b"))).expect("accepted");
        assert_eq!(unchanged.outcome, Outcome::Unchanged);
        after(&mut state, &keyed("four", put_of("c"))).expect("accepted");
        let again = answered(&state, &id(), &keyed("three", put_of("b"))).expect("the same").expect("known");
        assert_eq!((again.outcome, again.deployment.revision), (Outcome::Unchanged, 2));
        let other = answered(&state, &id(), &keyed("one", put_of("z")));
        assert!(matches!(other, Err(CatalogError::KeyReused)), "{other:?}");
        assert_eq!(answered(&state, &id(), &keyed("five", put_of("a"))).expect("new"), None);
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let mut state = State::default();
        let nothing = [Change::Pause, Change::Resume, Change::Delete, Change::Rollback { to: None }];
        for change in nothing {
            assert!(matches!(after(&mut state, &request(change)), Err(CatalogError::NoTransform(_))));
        }
        after(&mut state, &request(put_of("a"))).expect("accepted");
        for to in [None, Some(0), Some(2), Some(u64::MAX)] {
            let refused = after(&mut state, &request(Change::Rollback { to }));
            assert!(matches!(refused, Err(CatalogError::NoRevision { .. })), "{to:?}: {refused:?}");
        }
        after(&mut state, &request(put_of("b"))).expect("accepted");
        let collected = decide(&state, &id(), &request(Change::Rollback { to: Some(1) }), &|_| false);
        assert!(matches!(collected, Err(CatalogError::ModuleGone { revision: 1, .. })), "{collected:?}");
        let collected = decide(&state, &id(), &request(put_of("c")), &|_| false);
        assert!(matches!(collected, Err(CatalogError::NoModule(_))), "{collected:?}");
    }

    #[test]
    fn expectations_are_checked() {
        let mut state = State::default();
        after(&mut state, &request(put_of("a"))).expect("accepted");
        let live = state.live(&id());
        for (expected, live, fits) in [
            (Precondition::Any, None, true),
            (Precondition::Absent, None, true),
            (Precondition::Absent, live, false),
            (Precondition::Present, None, false),
            (Precondition::Revision(1), live, true),
            (Precondition::Revision(2), live, false),
            (Precondition::Revision(1), None, false),
        ] {
            assert_eq!(check(expected, live).is_ok(), fits, "{expected:?}");
        }
    }

    /// Values that a forged record may have where a number belongs.
    fn extremes() -> Vec<serde_json::Value> {
        let numbers = [0, 1, COUNT_MAX - 1, COUNT_MAX, COUNT_MAX + 1, i64::MAX as u64, u64::MAX - 1, u64::MAX];
        let others = serde_json::json!([-1, i64::MIN, 1e300, 0.5, "7", null, [], {}]);
        numbers.into_iter().map(Into::into).chain(others.as_array().expect("an array").iter().cloned()).collect()
    }

    /// The owner of a transform goes on after somebody has written this to its key.
    #[track_caller]
    fn check_forged(state: &State, key: &str, forged: &serde_json::Value) {
        let mut state = state.clone();
        let value = serde_json::to_vec(forged).expect("plain data");
        let record = super::super::encoding::record(key.to_owned(), value, Timestamp(i64::MIN));
        let taken = state.take(&record);
        let resume = || Change::Resume;
        let changes =
            [Change::Pause, resume(), put_of("new"), Change::Restart, Change::ResetState, put_of("newer"), resume()];
        for change in changes.into_iter().chain([Change::Delete, put_of("again"), put_of("and again")]) {
            let before = state[&id()].clone();
            let text = format!("{change:?} after {key} = {forged} ({taken:?})");
            let request = request(change.clone());
            let decided = decide(&state, &id(), &request, &|_| true).expect(&text);
            // A broker refuses a record of another time.
            assert!(decided.records.iter().all(|record| record.timestamp == request.now.0), "{text}");
            let applied = after(&mut state, &request).expect(&text);
            assert_eq!(state[&id()], applied.deployment, "{text}");
            match change {
                Change::Put { .. } => assert_ne!(applied.deployment.revision, before.revision, "{text}"),
                Change::Resume => assert_ne!(applied.deployment.asked.resumes, before.asked.resumes, "{text}"),
                Change::Restart => assert_ne!(applied.deployment.asked.restarts, before.asked.restarts, "{text}"),
                Change::ResetState => assert_ne!(applied.deployment.asked.resets, before.asked.resets, "{text}"),
                _ => {}
            }
        }
    }

    #[test]
    fn a_forged_record_locks_nobody_out() {
        let mut state = State::default();
        for input in ["a", "b"] {
            after(&mut state, &request(put_of(input))).expect("accepted");
        }
        let deployment = serde_json::to_value(&state[&id()]).expect("plain data");
        for value in extremes() {
            for field in ["revision", "changes", "asked/restarts", "asked/resumes", "asked/resets", "changed_at", "module"] {
                let mut forged = deployment.clone();
                *forged.pointer_mut(&format!("/{field}")).expect(field) = value.clone();
                check_forged(&state, "orders/strip", &forged);
            }
            let mut forged = deployment.clone();
            forged["requests"][0]["revision"] = value.clone();
            check_forged(&state, "orders/strip", &forged);
            let mut forged = serde_json::to_value(state[&id()].to_revision()).expect("plain data");
            forged["revision"] = value.clone();
            for number in [value.to_string(), "2".to_owned(), u64::MAX.to_string(), COUNT_MAX.to_string()] {
                check_forged(&state, &format!("orders/strip@{number}"), &forged);
            }
        }
        let all = serde_json::json!({"restarts": COUNT_MAX, "resumes": COUNT_MAX, "resets": COUNT_MAX});
        let mut forged = deployment;
        forged["asked"] = all;
        forged["revision"] = COUNT_MAX.into();
        forged["changes"] = COUNT_MAX.into();
        check_forged(&state, "orders/strip", &forged);
    }

    #[test]
    fn a_revision_without_a_successor_goes_on_from_what_was_committed() {
        let mut state = State::default();
        after(&mut state, &request(put_of("a"))).expect("accepted");
        let mut forged = state[&id()].clone();
        forged.revision = COUNT_MAX;
        for (committed, expected) in [(0, 1), (7, 8), (COUNT_MAX - 1, 1)] {
            let committed = Progress { revision: committed, ..Progress::default() };
            assert_eq!(next_revision(Some(&forged), &committed), expected);
            assert_eq!(next_revision(state.get(&id()), &committed), 2);
        }
    }
}
