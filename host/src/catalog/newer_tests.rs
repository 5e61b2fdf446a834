use serde_json::{Value, json};

use super::*;
use crate::catalog::change::{Change, Precondition, Request};
use crate::catalog::collector::unused;
use crate::catalog::decide::decide;
use crate::catalog::deployments::Deployments;
use crate::catalog::manifests::{Manifests, StoredModule};
use crate::catalog::{CatalogError, Fold};
use crate::model::audit::Actor;
use crate::model::codes::Code;
use crate::model::revision::Progress;
use crate::ports::LogRecord;

fn id() -> TransformId {
    "t/n".parse().expect("valid")
}

/// A deployment as a host of 0.1 wrote it.
const DEPLOYMENT: &str = r#"{"id":{"team":"t","name":"n"},"revision":7,"module":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","spec":{"team":"t","name":"n","module":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","inputs":["a"],"outputs":{"o":"b"},"config":{"x":1},"delivery":"exactly-once","on_error":{"retry":{"attempts":0,"backoff":"200ms"},"then":"dead-letter"},"limits":{"memory":"64MiB","batch_time":"2s","batch_records":400,"batch_bytes":"256KiB","output_per_record":64,"output_bytes_per_record":"4MiB","state_bytes_per_call":"16MiB","log_lines_per_second":100},"start":"latest","commit_interval":"100ms","workers":1},"desired":"running","asked":{"restarts":0,"resumes":2,"resets":1},"changed_at":1790000000000,"changes":9,"requests":[{"key":"host-00","request":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","revision":7,"outcome":"updated"}]}"#;
/// A revision, likewise.
const REVISION: &str = r#"{"id":{"team":"t","name":"n"},"revision":6,"module":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","spec":{"inputs":["a"],"outputs":{"o":"b"},"config":{},"delivery":"exactly-once","on_error":{"retry":{"attempts":0,"backoff":"200ms"},"then":"dead-letter"},"start":{"ago":"1h"},"commit_interval":"100ms","workers":1},"changed_at":5,"cause":"rollback","rolled_back_to":2}"#;

fn with(json: &str, place: &str, value: Value) -> Value {
    let mut all: Value = serde_json::from_str(json).expect("JSON");
    let parent = place.rsplit_once('/').expect("a path").0;
    let parent = if parent.is_empty() { &mut all } else { all.pointer_mut(parent).expect(place) };
    parent[place.rsplit('/').next().expect("a field")] = value;
    all
}

fn record(key: &str, value: Option<String>) -> LogRecord {
    LogRecord { offset: 0, timestamp: 0, key: Some(key.into()), value: value.map(String::into_bytes), headers: Vec::new() }
}

#[test]
fn records_of_0_1_are_read() {
    let Ok(ReadResult::Whole(deployment)) = read_deployment(&id(), DEPLOYMENT.as_bytes()) else { panic!("not read") };
    assert_eq!((deployment.revision, deployment.asked.resets, deployment.changes), (7, 1, 9));
    assert_eq!((deployment.requests.len(), deployment.rest.len()), (1, 0));
    assert!(deployment.spec().is_ok() && deployment.is_whole());
    let Ok(ReadResult::Whole(revision)) = read_revision(&id(), 6, REVISION.as_bytes()) else { panic!("not read") };
    assert_eq!((revision.revision, revision.rolled_back_to), (6, Some(2)));
}

#[derive(Debug, PartialEq)]
enum Class {
    Whole,
    Newer,
    Nobodys,
}

#[track_caller]
fn class<W, O>(read: Result<ReadResult<W, O>, String>) -> Class {
    match read {
        Ok(ReadResult::Whole(_)) => Class::Whole,
        Ok(ReadResult::Outline(_)) => Class::Newer,
        Err(_) => Class::Nobodys,
    }
}

#[test]
fn a_newer_hosts_record_is_told_from_nobodys() {
    for (place, value, expected) in [
        ("/version", json!(1), Class::Whole),
        ("/more", json!({"deep": [1]}), Class::Whole),
        ("/asked/more", json!(1), Class::Whole),
        ("/version", json!(2), Class::Newer),
        ("/spec/more", json!(1), Class::Newer),
        ("/spec/on_error/more", json!(null), Class::Newer),
        ("/spec/on_error/then", json!("bisect"), Class::Newer),
        ("/spec/start", json!({"on_full_moon": 1}), Class::Newer),
        ("/spec/state", json!({"s": {"replicas": 2}}), Class::Newer),
        ("/desired", json!("draining"), Class::Newer),
        ("/spec/workers", json!("many"), Class::Nobodys),
        ("/version", json!("x"), Class::Nobodys),
        ("/version", json!(null), Class::Nobodys),
        ("/version", json!(u64::MAX), Class::Nobodys),
        ("/module", json!(0), Class::Nobodys),
        ("/spec", json!("none"), Class::Nobodys),
        ("/revision", json!("7"), Class::Nobodys),
        ("/revision", json!(u64::MAX), Class::Nobodys),
        ("/id", json!({"team": "t", "name": "other"}), Class::Nobodys),
        ("/id", json!("t/n"), Class::Nobodys),
    ] {
        let found = class(read_deployment(&id(), with(DEPLOYMENT, place, value.clone()).to_string().as_bytes()));
        assert_eq!(found, expected, "{place} {value}");
    }
    for (json, expected) in [
        (json!({"version": 2}), Class::Newer),
        (json!({"version": 2, "id": {"team": "t", "name": "other"}}), Class::Nobodys),
        (json!({"version": 2, "revision": COUNT_MAX + 1}), Class::Nobodys),
        (json!({"version": 2, "revision": u64::MAX}), Class::Nobodys),
        (json!({}), Class::Nobodys),
        (json!([2]), Class::Nobodys),
        (json!(null), Class::Nobodys),
    ] {
        assert_eq!(class(read_deployment(&id(), json.to_string().as_bytes())), expected, "{json}");
    }
    for (place, value, expected) in [
        ("/version", json!(2), Class::Newer),
        ("/cause", json!("whim"), Class::Newer),
        ("/spec/more", json!(1), Class::Newer),
        ("/more", json!(1), Class::Whole),
        ("/revision", json!(5), Class::Nobodys),
    ] {
        let found = class(read_revision(&id(), 6, with(REVISION, place, value.clone()).to_string().as_bytes()));
        assert_eq!(found, expected, "{place} {value}");
    }
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

fn every_change() -> [Change; 7] {
    let spec = serde_json::from_value(json!({"inputs": ["a"], "outputs": {"o": "b"}})).expect("a spec");
    [
        Change::Put { spec: Box::new(spec), module: Digest::of(b"m") },
        Change::Rollback { to: None },
        Change::Pause,
        Change::Resume,
        Change::Restart,
        Change::ResetState,
        Change::Delete,
    ]
}

/// A host that starts, and one that knew the transform before.
#[test]
fn nothing_is_written_over_a_newer_hosts_record() {
    let newer = with(DEPLOYMENT, "/spec/more", json!(1));
    let newer = with(&newer.to_string(), "/revision", json!(8));
    let newest = with(DEPLOYMENT, "/version", json!(2));
    for newer in [newer, newest, json!({"version": 2})] {
        for is_known in [false, true] {
            let mut state = Deployments::default();
            let earlier = is_known.then(|| record("t/n", Some(DEPLOYMENT.into())));
            let all = earlier.into_iter().chain([record("t/n", Some(newer.to_string()))]);
            all.for_each(|record| state.take(&record).expect("kept"));
            assert!(state.live(&id()).is_some_and(|it| it.unread.is_some()), "it is there");
            for change in every_change() {
                let refused = decide(&state, &id(), &request(change.clone()), &|_| Some(1)).expect_err("refused");
                assert_eq!(refused.code(), Code::NewerFormat, "{change:?} {newer}");
            }
            assert!(state.revisions(&id()).is_empty(), "its content is not known");
            let held = StoredModule {
                manifest: serde_json::from_value(json!({"bytes": 1, "chunks": 1, "chunks_from": 0})).expect("a manifest"),
                at: Timestamp(0),
            };
            let held = std::collections::BTreeMap::from([(Digest::of(b"m"), std::sync::Arc::new(held))]);
            let collected = unused(&state, &held, Timestamp(1 << 40), std::time::Duration::from_secs(1));
            assert!(collected.is_empty(), "it may use any module");
            // The way out, and back.
            state.take(&record("t/n", None)).expect("cleared");
            let revision = decide(&state, &id(), &request(every_change()[0].clone()), &|_| Some(1)).expect("made again");
            let before = newer["revision"].as_u64().unwrap_or(if is_known { 7 } else { 0 });
            assert_eq!(revision.result.deployment.revision, before + 1);
            state.take(&record("t/n", Some(DEPLOYMENT.into()))).expect("understood");
            decide(&state, &id(), &request(Change::Pause), &|_| Some(1)).expect("understood again");
        }
    }
}

#[test]
fn a_newer_hosts_pause_and_reset_are_understood() {
    let mut state = Deployments::default();
    state.take(&record("t/n", Some(DEPLOYMENT.into()))).expect("understood");
    let paused = with(DEPLOYMENT, "/version", json!(2)).to_string();
    let paused = with(&with(&paused, "/desired", json!("paused")).to_string(), "/asked/resets", json!(4)).to_string();
    state.take(&record("t/n", Some(paused))).expect("kept");
    let now = &state[&id()];
    assert_eq!((now.desired, now.asked.resets, now.asked.resumes), (Desired::Paused, 4, 2));
}

#[test]
fn an_unread_revision_is_named_and_not_gone_over() {
    let mut state = Deployments::default();
    state.take(&record("t/n@5", Some(with(REVISION, "/revision", json!(5)).to_string()))).expect("understood");
    state.take(&record("t/n@6", Some(with(REVISION, "/version", json!(2)).to_string()))).expect("kept");
    state.take(&record("t/n", Some(DEPLOYMENT.into()))).expect("understood");
    for to in [None, Some(6)] {
        let refused = decide(&state, &id(), &request(Change::Rollback { to }), &|_| Some(1)).expect_err("refused");
        assert_eq!(refused.code(), Code::NewerFormat, "{to:?}");
        assert!(refused.to_string().contains("t/n@6"), "{refused}");
    }
    decide(&state, &id(), &request(Change::Rollback { to: Some(5) }), &|_| Some(1)).expect("understood");
    let missing = decide(&state, &id(), &request(Change::Rollback { to: Some(4) }), &|_| Some(1)).expect_err("refused");
    assert!(matches!(missing, CatalogError::NoRevision { .. }), "{missing}");
}

#[test]
fn unknown_fields_are_written_back() {
    let mut state = Deployments::default();
    state.take(&record("t/n", Some(with(DEPLOYMENT, "/more", json!({"a": 1})).to_string()))).expect("understood");
    for change in [Change::Pause, every_change()[0].clone()] {
        let decision = decide(&state, &id(), &request(change), &|_| Some(1)).expect("accepted");
        let written: Value =
            serde_json::from_slice(decision.records.last().and_then(|last| last.value.as_deref()).expect("one"))
                .expect("JSON");
        assert_eq!((&written["more"], &written["version"]), (&json!({"a": 1}), &json!(1)));
    }
}

#[test]
fn manifests_are_kept_likewise() {
    let digest = Digest::of(b"m").to_string();
    let mut fold = Manifests::default();
    let old = json!({"bytes": 1, "chunks": 1, "chunks_from": 0});
    for (manifest, held, unread) in [
        (old.clone(), 1, 0),
        (json!({"version": 2, "bytes": 1}), 0, 1),
        (json!({"version": 1, "bytes": 1, "chunks": 1, "chunks_from": 0, "upload": "a", "more": 1}), 1, 0),
    ] {
        fold.apply(&record(&digest, Some(manifest.to_string()))).expect("kept");
        assert_eq!((fold.stored.len(), fold.unread.len()), (held, unread), "{manifest}");
    }
    fold.apply(&record(&digest, Some(json!({"version": "x"}).to_string()))).expect_err("nobody's");
}
