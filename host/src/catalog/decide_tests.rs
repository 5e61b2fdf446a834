use super::*;
use crate::catalog::encoding;
use crate::model::audit::Actor;
use crate::model::revision::REVISIONS_MAX;
use crate::model::signature::{Envelope, ModuleSignature};

fn id() -> TransformId {
    "orders/strip".parse().expect("valid")
}

fn put_of(input: &str) -> Change {
    let spec = serde_json::from_value(serde_json::json!({"inputs": [input], "outputs": {"o": "out"}})).expect("valid");
    Change::Put { spec: Box::new(spec), module: Digest::of(b"m") }
}

fn request(change: Change) -> Request {
    Request {
        expected: Precondition::Any,
        change,
        key: None,
        actor: Actor::anyone(),
        now: Timestamp(1),
        committed: Progress::default(),
        growth: None,
        signature: None,
        assumes: None,
    }
}

fn keyed(key: &str, change: Change) -> Request {
    Request { key: Some(key.parse().expect("valid")), ..request(change) }
}

/// The catalog after one more request.
fn after(state: &mut Deployments, request: &Request) -> Result<ChangeResult, CatalogError> {
    let decision = decide(state, &id(), request, &|_| Some(1))?;
    for record in &decision.records {
        state.take(record).expect("readable");
    }
    Ok(decision.result)
}

/// Runs the changes; each step says the revision, the desired state and the outcome it expects.
fn check_all(steps: Vec<(Change, u64, Desired, Outcome)>) -> Deployments {
    let mut state = Deployments::default();
    for (change, revision, desired, outcome) in steps {
        let text = format!("{change:?}");
        let result = after(&mut state, &request(change)).expect(&text);
        let deployment = &result.deployment;
        assert_eq!((deployment.revision, deployment.desired, result.outcome), (revision, desired, outcome), "{text}");
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
fn the_order_of_outputs_is_content() {
    let put = |outputs: &str| {
        let spec = serde_json::from_str(&format!(r#"{{"inputs": ["a"], "outputs": {{{outputs}}}}}"#)).expect("valid");
        Change::Put { spec: Box::new(spec), module: Digest::of(b"m") }
    };
    check_all(vec![
        (put(r#""o": "x", "p": "y""#), 1, Desired::Running, Outcome::Created),
        (put(r#""o": "x", "p": "y""#), 1, Desired::Running, Outcome::Unchanged),
        (put(r#""p": "y", "o": "x""#), 2, Desired::Running, Outcome::Updated),
    ]);
}

#[test]
fn a_revision_has_its_author() {
    let mut state = Deployments::default();
    for (input, author) in [("a", "anna"), ("b", "ben")] {
        let actor = Actor { name: author.to_owned(), ..Actor::anyone() };
        after(&mut state, &Request { actor, ..request(put_of(input)) }).expect(author);
    }
    after(&mut state, &request(Change::Pause)).expect("paused");
    let authors: Vec<_> = state.revisions(&id()).iter().map(|it| it.author.clone()).collect();
    assert_eq!(authors, [Some("ben".to_owned()), Some("anna".to_owned())]);
}

#[test]
fn a_signature_stays_with_its_module() {
    let envelope = |sig: &str| {
        let text = format!(r#"{{"payloadType":"t","payload":"","signatures":[{{"sig":"{sig}"}}]}}"#);
        Envelope::parse(text.as_bytes()).expect("an envelope")
    };
    let of = |module: &[u8]| match put_of("a") {
        Change::Put { spec, .. } => Change::Put { spec, module: Digest::of(module) },
        other => other,
    };
    let mut state = Deployments::default();
    for (change, sent, revision, kept) in [
        (put_of("a"), Some("x"), 1, Some("x")),
        (put_of("a"), None, 1, Some("x")),
        (put_of("a"), Some("x"), 1, Some("x")),
        (put_of("b"), None, 2, Some("x")),
        // Another signature of the same module, as when its key is changed, is another revision.
        (put_of("b"), Some("y"), 3, Some("y")),
        (of(b"n"), None, 4, None),
        (Change::Rollback { to: Some(2) }, Some("y"), 5, Some("y")),
    ] {
        let signature = sent.map(|sig| ModuleSignature { envelope: envelope(sig), key: None });
        let text = format!("{change:?}, {sent:?}");
        let result = after(&mut state, &Request { signature, ..request(change) }).expect(&text);
        assert_eq!((result.deployment.revision, &result.deployment.signature), (revision, &kept.map(envelope)), "{text}");
        let written = state.revision(&id(), revision).expect("kept");
        assert_eq!(written.signature, kept.map(envelope), "{text}");
    }
    let id = id();
    let module = Digest::of(b"m");
    let known: Vec<_> = state.signatures(&id.team, &module).collect();
    assert!([envelope("x"), envelope("y")].iter().all(|own| known.contains(&own)), "{known:?}");
    assert_eq!(state.signatures(&"stock".parse().expect("valid"), &Digest::of(b"m")).count(), 0);
    assert!(state.uses(&id.team, &Digest::of(b"n")) && !state.uses(&id.team, &Digest::of(b"o")));
}

#[test]
fn old_revisions_go_and_new_ones_stay() {
    let mut state = Deployments::default();
    let many = REVISIONS_MAX + 7;
    for n in 0..many {
        after(&mut state, &request(put_of(&format!("t{n}")))).expect("accepted");
    }
    let kept: Vec<u64> = state.revisions(&id()).iter().map(|it| it.revision).collect();
    assert_eq!(kept, (8..=many).rev().collect::<Vec<_>>());
    assert_eq!(state[&id()].requests.len(), REQUESTS_MAX);
    let gone = decide(&state, &id(), &request(Change::Rollback { to: Some(7) }), &|_| Some(1));
    assert!(matches!(gone, Err(CatalogError::NoRevision { revision: Some(7), .. })), "{gone:?}");
}

#[test]
fn a_deployment_without_history_is_its_own() {
    let mut state = Deployments::default();
    after(&mut state, &request(put_of("a"))).expect("accepted");
    let mut old = Deployments::default();
    let value = serde_json::to_value(&state[&id()]).expect("plain data");
    let fields = value.as_object().expect("an object").iter().filter(|(name, _)| *name != "changes" && *name != "requests");
    let value = serde_json::to_vec(&fields.collect::<std::collections::BTreeMap<_, _>>()).expect("plain data");
    old.take(&encoding::record(id().to_string(), value, Timestamp(1))).expect("readable");
    assert_eq!(old.revisions(&id()).len(), 1, "what an earlier version wrote");
    after(&mut old, &request(put_of("b"))).expect("accepted");
    let back = after(&mut old, &request(Change::Rollback { to: None })).expect("accepted").deployment;
    assert_eq!((back.revision, back.spec.inputs), (3, vec!["a".to_owned()]));
}

#[test]
fn a_repeated_request_is_answered_as_the_first() {
    let mut state = Deployments::default();
    let first = keyed("one", put_of("a"));
    let result = after(&mut state, &first).expect("accepted");
    after(&mut state, &keyed("two", put_of("b"))).expect("accepted");
    let again = earlier_result(&state, &id(), &first).expect("the same").expect("known");
    assert_eq!((again.outcome, again.deployment.revision), (Outcome::Created, 1));
    assert_eq!(again.deployment.spec, result.deployment.spec);
    let unchanged = after(&mut state, &keyed("three", put_of("b"))).expect("accepted");
    assert_eq!(unchanged.outcome, Outcome::Unchanged);
    after(&mut state, &keyed("four", put_of("c"))).expect("accepted");
    let again = earlier_result(&state, &id(), &keyed("three", put_of("b"))).expect("the same").expect("known");
    assert_eq!((again.outcome, again.deployment.revision), (Outcome::Unchanged, 2));
    let other = earlier_result(&state, &id(), &keyed("one", put_of("z")));
    assert!(matches!(other, Err(CatalogError::KeyReused)), "{other:?}");
    assert_eq!(earlier_result(&state, &id(), &keyed("five", put_of("a"))).expect("new"), None);
}

#[test]
fn impossible_changes_are_refused_by_name() {
    let mut state = Deployments::default();
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
    let collected = decide(&state, &id(), &request(Change::Rollback { to: Some(1) }), &|_| None);
    assert!(matches!(collected, Err(CatalogError::ModuleGone { revision: 1, .. })), "{collected:?}");
    let collected = decide(&state, &id(), &request(put_of("c")), &|_| None);
    assert!(matches!(collected, Err(CatalogError::NoModule(_))), "{collected:?}");
}

#[test]
fn only_a_paused_transform_is_reset_and_with_the_topics_that_it_has() {
    let mut state = Deployments::default();
    let reset = |assumes| Request { assumes, ..request(Change::ResetState) };
    let stores = |revision, resets| Some(Assumption::Stores { revision, resets });
    assert!(matches!(after(&mut state, &reset(None)), Err(CatalogError::NoTransform(_))));
    after(&mut state, &request(put_of("a"))).expect("accepted");
    for assumes in [None, stores(1, 0)] {
        assert!(matches!(after(&mut state, &reset(assumes)), Err(CatalogError::NotPaused(_))), "{assumes:?}");
    }
    after(&mut state, &request(Change::Pause)).expect("accepted");
    for (assumes, resets) in [
        (stores(1, 1), None),
        (stores(2, 0), None),
        (stores(1, 0), Some(1)),
        // The topics of this reset are in use by now.
        (stores(1, 0), None),
        (stores(1, 1), Some(2)),
        (None, Some(3)),
    ] {
        match after(&mut state, &reset(assumes)) {
            Ok(result) => assert_eq!(Some(result.deployment.asked.resets), resets, "{assumes:?}"),
            Err(error) => assert!(matches!(error, CatalogError::Overtaken(_)) && resets.is_none(), "{assumes:?}: {error}"),
        }
    }
    // Another content may have other stores.
    after(&mut state, &request(put_of("b"))).expect("accepted");
    assert!(matches!(after(&mut state, &reset(stores(1, 3))), Err(CatalogError::Overtaken(_))));
    assert_eq!(state[&id()].asked.resets, 3);
}

#[test]
fn a_rollback_goes_to_the_revision_that_was_checked() {
    let mut state = Deployments::default();
    for input in ["a", "b"] {
        after(&mut state, &request(put_of(input))).expect("accepted");
    }
    let back = |to, target| Request { assumes: Some(Assumption::Target(target)), ..request(Change::Rollback { to }) };
    after(&mut state, &request(put_of("bad"))).expect("accepted");
    let refused = after(&mut state, &back(None, 1));
    assert!(matches!(refused, Err(CatalogError::Overtaken(_))), "the one before is 2 now: {refused:?}");
    assert_eq!(state[&id()].revision, 3, "nothing was written");
    // Revision 1 stays revision 1.
    let result = after(&mut state, &back(Some(1), 1)).expect("accepted").deployment;
    assert_eq!((result.revision, result.spec.inputs), (4, vec!["a".to_owned()]));
    let result = after(&mut state, &back(None, 3)).expect("accepted").deployment;
    assert_eq!((result.revision, result.spec.inputs), (5, vec!["bad".to_owned()]));
}

#[test]
fn an_assumption_is_no_part_of_the_request_that_a_key_stands_for() {
    for change in [Change::ResetState, Change::Rollback { to: None }] {
        let sent = request(change);
        for assumes in [Assumption::Target(1), Assumption::Stores { revision: 1, resets: 0 }] {
            assert_eq!(Request { assumes: Some(assumes), ..sent.clone() }.digest(), sent.digest());
        }
    }
}

#[test]
fn expectations_are_checked() {
    let mut state = Deployments::default();
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

fn deploy(state: &mut Deployments, name: &str, spec: serde_json::Value) -> Result<ChangeResult, CatalogError> {
    let spec = Box::new(serde_json::from_value(spec).expect("valid"));
    let request = request(Change::Put { spec, module: Digest::of(b"m") });
    let decision = decide(state, &name.parse().expect("valid"), &request, &|_| Some(1))?;
    for record in &decision.records {
        state.take(record).expect("readable");
    }
    Ok(decision.result)
}

/// A cycle that is there was allowed by one of its transforms. Nobody has allowed one that a deletion ended.
#[test]
fn a_deleted_transform_does_not_come_back_into_a_cycle() {
    let there = |n: u64| serde_json::json!({"inputs": ["a"], "outputs": {"o": "b"}, "config": {"n": n}});
    let back = |allow_cycle: bool| serde_json::json!({"inputs": ["b"], "outputs": {"o": "a"}, "allow_cycle": allow_cycle});
    let mut state = Deployments::default();
    deploy(&mut state, "orders/strip", there(1)).expect("accepted");
    deploy(&mut state, "orders/back", back(true)).expect("it allows the cycle");
    deploy(&mut state, "orders/strip", there(2)).expect("the cycle is there already");
    after(&mut state, &request(Change::Delete)).expect("deleted");
    deploy(&mut state, "orders/back", back(false)).expect("there is no cycle");
    let again = deploy(&mut state, "orders/strip", there(2));
    assert!(matches!(again, Err(CatalogError::Cycle { .. })), "{again:?}");
}

/// Values that a forged record may have where a number belongs.
fn extremes() -> Vec<serde_json::Value> {
    let numbers = [0, 1, COUNT_MAX - 1, COUNT_MAX, COUNT_MAX + 1, i64::MAX as u64, u64::MAX - 1, u64::MAX];
    let others = serde_json::json!([-1, i64::MIN, 1e300, 0.5, "7", null, [], {}]);
    numbers.into_iter().map(Into::into).chain(others.as_array().expect("an array").iter().cloned()).collect()
}

/// The owner of a transform goes on after somebody has written this to its key.
#[track_caller]
fn check_forged(state: &Deployments, key: &str, forged: &serde_json::Value) {
    let mut state = state.clone();
    let value = serde_json::to_vec(forged).expect("plain data");
    let record = encoding::record(key.to_owned(), value, Timestamp(i64::MIN));
    let taken = state.take(&record);
    let resume = || Change::Resume;
    let running = [resume(), put_of("new"), Change::Restart, put_of("newer"), resume()];
    let changes = [Change::Pause, Change::ResetState].into_iter().chain(running);
    for change in changes.chain([Change::Delete, put_of("again"), put_of("and again")]) {
        let before = state[&id()].clone();
        let text = format!("{change:?} after {key} = {forged} ({taken:?})");
        let request = request(change.clone());
        let decision = decide(&state, &id(), &request, &|_| Some(1)).expect(&text);
        // A broker refuses a record of another time.
        assert!(decision.records.iter().all(|record| record.timestamp == request.now.0), "{text}");
        let result = after(&mut state, &request).expect(&text);
        assert_eq!(state[&id()], result.deployment, "{text}");
        match change {
            Change::Put { .. } => assert_ne!(result.deployment.revision, before.revision, "{text}"),
            Change::Resume => assert_ne!(result.deployment.asked.resumes, before.asked.resumes, "{text}"),
            Change::Restart => assert_ne!(result.deployment.asked.restarts, before.asked.restarts, "{text}"),
            Change::ResetState => assert_ne!(result.deployment.asked.resets, before.asked.resets, "{text}"),
            _ => {}
        }
    }
}

#[test]
fn a_forged_record_locks_nobody_out() {
    let mut state = Deployments::default();
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
fn a_revision_without_a_successor_goes_on_from_the_committed_one() {
    let mut state = Deployments::default();
    after(&mut state, &request(put_of("a"))).expect("accepted");
    let mut forged = state[&id()].clone();
    forged.revision = COUNT_MAX;
    for (committed, expected) in [(0, 1), (7, 8), (COUNT_MAX - 1, 1)] {
        let committed = Progress { revision: committed, ..Progress::default() };
        assert_eq!(next_revision(Some(&forged), &committed), expected);
        assert_eq!(next_revision(state.get(&id()), &committed), 2);
    }
}
