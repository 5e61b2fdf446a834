//! The catalog over a log: it keeps deployments and modules, survives outages, and takes changes of one host in turns.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sandbar::catalog::{Catalog, CatalogError, Change, ChangeResult, Outcome, Precondition, Request};
use sandbar::embedded::{EmbeddedLog, Options};
use sandbar::model::audit::Actor;
use sandbar::model::names::{Digest, TeamName, TransformId};
use sandbar::model::revision::{Desired, Progress};
use sandbar::model::units::Timestamp;
use sandbar::ports::{Log, LogRecord, NewTopic};
use sandbar::telemetry::metrics::Metrics;

use super::host::{open, shop_log};

const DEPLOYMENTS: &str = "_sandbar.test.deployments";
const MODULES: &str = "_sandbar.test.modules";
/// The module that [`put`] deploys.
const MODULE: &[u8] = b"m";

fn id() -> TransformId {
    "orders/strip".parse().expect("valid")
}

fn put(catalog: &Catalog, expected: Precondition, config: usize) -> Result<ChangeResult, CatalogError> {
    let spec = serde_json::json!({"inputs": ["shop.orders"], "outputs": {"o": "out"}, "config": {"n": config}});
    let spec = Box::new(serde_json::from_value(spec).expect("a spec"));
    let module = Digest::of(MODULE);
    if !catalog.has_module(&module) {
        catalog.put_module(MODULE)?;
    }
    catalog.change(&id(), request(expected, Change::Put { spec, module }))
}

pub fn request(expected: Precondition, change: Change) -> Request {
    Request {
        expected,
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

fn foreign(key: Option<&[u8]>, value: Option<&[u8]>) -> LogRecord {
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    LogRecord { offset: 0, timestamp: 0, key: owned(key), value: owned(value), headers: vec![] }
}

/// Waits until it holds.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_restart_finds_what_was_deployed() {
    let log = shop_log();
    let dir = tempfile::tempdir().expect("dir");
    let other = tempfile::tempdir().expect("dir");
    let module = vec![7u8; 1_300_000];
    let before = {
        let catalog = open(&log, dir.path());
        assert!(catalog.put_module(&module).expect("stored").new);
        assert!(!catalog.put_module(&module).expect("stored").new, "storing it again changes nothing");
        put(&catalog, Precondition::Absent, 1).expect("accepted");
        catalog.change(&id(), request(Precondition::Revision(1), Change::Pause)).expect("paused");
        catalog.current().values().cloned().collect::<Vec<_>>()
    };
    assert_eq!(log.all(MODULES, 1).len(), 3 + 1, "three chunks and one, written once");
    // With the copy on the disk, and on a disk without it.
    for dir in [&dir, &other] {
        let catalog = open(&log, dir.path());
        assert!(catalog.current().values().eq(&before));
        assert_eq!(catalog.deployment(&id()).expect("there").desired, Desired::Paused);
        let sizes = [(Digest::of(&module), 1_300_000), (Digest::of(MODULE), 1)];
        assert_eq!(catalog.modules(), sizes.into());
        assert!(catalog.module(&Digest::of(&module)).expect("readable").is_some_and(|read| read == module));
        assert_eq!(catalog.module(&Digest::of(b"other")).expect("readable"), None);
    }
}

/// The manifests tell it: nothing of the module is read for that, and here there is nothing to read.
#[test]
fn a_module_of_a_team_is_known_by_its_manifest() {
    let log = shop_log();
    let dir = tempfile::tempdir().expect("dir");
    // It makes the topics.
    drop(open(&log, dir.path()));
    let digest = |name: &str| Digest::of(name.as_bytes());
    let manifest = |name: &str, rights: &str| {
        let value = format!(r#"{{"bytes":1,"chunks":1,"chunks_from":0,"upload":"u",{rights}}}"#);
        foreign(Some(digest(name).to_string().as_bytes()), Some(value.as_bytes()))
    };
    let manifests = vec![manifest("own", r#""teams":["orders"]"#), manifest("all", r#""for_all":true"#)];
    log.append(&MODULES.parse().expect("valid"), Some(0), manifests).expect("written");
    let catalog = open(&log, dir.path());
    for (team, name, expected) in [
        ("orders", "own", true),
        ("orders", "all", true),
        ("orders", "none", false),
        ("stock", "own", false),
        ("stock", "all", true),
    ] {
        let team: TeamName = team.parse().expect("valid");
        assert_eq!(catalog.has_module_of(&team, &digest(name)).expect("known"), expected, "{team} {name}");
    }
    let team: TeamName = "orders".parse().expect("valid");
    assert!(catalog.module_of(&team, &digest("own")).is_err(), "its chunks are not there");
}

#[test]
fn the_embedded_log_keeps_it_over_a_restart() {
    let dir = tempfile::tempdir().expect("dir");
    let module = vec![9u8; 700_000];
    for round in 1..=3 {
        let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(Options::new(dir.path().join("log"))).expect("opens"));
        let cache = dir.path().join(format!("modules-{round}"));
        let catalog = Catalog::open(log, &"test".parse().expect("valid"), cache, Metrics::new()).expect("opens");
        assert_eq!(catalog.put_module(&module).expect("stored").new, round == 1);
        assert!(catalog.module(&Digest::of(&module)).expect("readable").is_some_and(|read| read == module));
        let expected = if round == 1 { Precondition::Absent } else { Precondition::Revision(round as u64 - 1) };
        assert_eq!(put(&catalog, expected, round).expect("accepted").deployment.revision, round as u64);
    }
}

#[test]
fn a_deleted_transform_keeps_counting() {
    let log = shop_log();
    let dir = tempfile::tempdir().expect("dir");
    {
        let catalog = open(&log, dir.path());
        put(&catalog, Precondition::Any, 1).expect("accepted");
        put(&catalog, Precondition::Any, 2).expect("accepted");
        catalog.change(&id(), request(Precondition::Any, Change::Delete)).expect("deleted");
        assert!(catalog.deployment(&id()).is_none() && catalog.current().all_live().next().is_none());
        let again = catalog.change(&id(), request(Precondition::Any, Change::Delete));
        assert!(matches!(again, Err(CatalogError::NoTransform(_))), "{again:?}");
    }
    let catalog = open(&log, dir.path());
    let applied = put(&catalog, Precondition::Absent, 2).expect("accepted");
    assert_eq!((applied.deployment.revision, applied.outcome), (3, Outcome::Created));
}

#[test]
fn damaged_copies_are_replaced_or_refused_never_handed_out() {
    let log = shop_log();
    let dir = tempfile::tempdir().expect("dir");
    let catalog = open(&log, dir.path());
    let digest = catalog.put_module(b"module").expect("stored").digest;
    let file = dir.path().join("modules").join(format!("{}.wasm", digest.hex()));
    std::fs::write(&file, b"other").expect("written");
    assert_eq!(catalog.module(&digest).expect("readable").as_deref(), Some(&b"module"[..]));
    assert_eq!(std::fs::read(&file).expect("readable"), b"module", "the copy is whole again");

    log.damage(MODULES, 1, |chunk| chunk.value = Some(b"modulo".to_vec()));
    std::fs::remove_file(&file).expect("removed");
    assert!(matches!(catalog.module(&digest), Err(CatalogError::Corrupt(found)) if found == digest));
    assert!(catalog.put_module(b"module").expect("stored").new, "storing it again repairs it");
    assert_eq!(catalog.module(&digest).expect("readable").as_deref(), Some(&b"module"[..]));
}

#[test]
fn teams_that_upload_a_module_on_several_hosts_all_have_it() {
    let log = shop_log();
    let dir = tempfile::tempdir().expect("dir");
    let catalog = open(&log, dir.path());
    let team = |name: &str| -> TeamName { name.parse().expect("valid") };
    let upload = |name: &str| catalog.put_module_for(MODULE, Some(&team(name))).expect("stored");
    let manifest = || log.all(MODULES, 0).pop().expect("a manifest");
    assert!(upload("one").new);
    // Another host, which knows of the first upload alone, writes behind the second.
    *log.behind.lock().expect("unpoisoned") = Some((MODULES.parse().expect("valid"), manifest()));
    assert!(!upload("two").new);
    // And one has written what this host has not read yet.
    log.is_held.store(true, Ordering::Relaxed);
    let mut theirs = manifest();
    let text = String::from_utf8(theirs.value.take().expect("a value")).expect("text");
    theirs.value = Some(text.replace("[\"one\",", "[\"one\",\"three\",").into_bytes());
    log.append(&MODULES.parse().expect("valid"), Some(0), vec![theirs]).expect("written");
    std::thread::scope(|scope| {
        scope.spawn(|| upload("four"));
        std::thread::sleep(Duration::from_millis(200));
        log.is_held.store(false, Ordering::Relaxed);
    });
    for (name, has_it) in [("one", true), ("two", true), ("three", true), ("four", true), ("five", false)] {
        let found = catalog.module_of(&team(name), &Digest::of(MODULE)).expect("readable");
        assert_eq!(found.as_deref(), has_it.then_some(MODULE), "{name}");
    }
}

#[test]
fn another_host_follows_through_outages_and_foreign_records() {
    let log = shop_log();
    let here = tempfile::tempdir().expect("dir");
    let there = tempfile::tempdir().expect("dir");
    let topic = |name: &str| name.parse().expect("valid");
    {
        let catalog = open(&log, here.path());
        put(&catalog, Precondition::Any, 1).expect("accepted");
    }
    for record in [
        foreign(None, None),
        foreign(Some(b"\xff"), None),
        foreign(Some(b"orders/strip"), Some(b"{")),
        foreign(Some(b"x"), Some(b"y")),
    ] {
        log.append(&topic(DEPLOYMENTS), Some(0), vec![record.clone()]).expect("written");
        log.append(&topic(MODULES), Some(0), vec![record.clone()]).expect("written");
        log.append(&topic(MODULES), Some(1), vec![record]).expect("written");
    }
    let ours = open(&log, here.path());
    let theirs = open(&log, there.path());
    assert_eq!(theirs.deployment(&id()).expect("there").revision, 1);
    log.unavailable.store(true, Ordering::Relaxed);
    let failed = put(&ours, Precondition::Any, 2);
    assert!(matches!(failed, Err(CatalogError::Log(_))), "{failed:?}");
    assert_eq!(ours.deployment(&id()).expect("what is known stays").revision, 1);
    log.unavailable.store(false, Ordering::Relaxed);
    put(&ours, Precondition::Revision(1), 2).expect("accepted");
    let digest = ours.put_module(b"module").expect("stored").digest;
    let watch = theirs.watch();
    eventually("the other host sees the change", || watch.borrow().get(&id()).is_some_and(|it| it.revision == 2));
    eventually("and the module", || theirs.modules().contains_key(&digest));
    assert_eq!(theirs.module(&digest).expect("readable").as_deref(), Some(&b"module"[..]));
}

#[test]
fn changes_of_one_host_take_turns() {
    let log = shop_log();
    let dir = tempfile::tempdir().expect("dir");
    let catalog = Arc::new(open(&log, dir.path()));
    let conditional: usize = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let catalog = catalog.clone();
                scope.spawn(move || {
                    for n in 0..10 {
                        put(&catalog, Precondition::Any, 1000 * (writer + 1) + n).expect("accepted");
                    }
                    // All of them expect the same: at most one may win.
                    usize::from(put(&catalog, Precondition::Absent, 7).is_ok())
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().expect("no panic")).sum()
    });
    assert_eq!(conditional, 0);
    let revisions: Vec<u64> = log
        .all(DEPLOYMENTS, 0)
        .iter()
        .filter(|record| record.key.as_deref() == Some(b"orders/strip"))
        .map(|record| serde_json::from_slice::<serde_json::Value>(record.value.as_ref().expect("a value")).expect("JSON"))
        .map(|deployment| deployment["revision"].as_u64().expect("a number"))
        .collect();
    assert_eq!(revisions, (1..=80).collect::<Vec<u64>>());
}

#[test]
fn a_control_topic_with_other_settings_is_refused() {
    let log = shop_log();
    let dir = tempfile::tempdir().expect("dir");
    let name = DEPLOYMENTS.parse().expect("valid");
    log.create_topic(&NewTopic { name, partitions: 3, compacted: false, retention: None }).expect("created");
    let log: Arc<dyn Log> = log;
    let opened = Catalog::open(log, &"test".parse().expect("valid"), dir.path().into(), Metrics::new());
    let problem = opened.err().expect("refused").to_string();
    assert!(problem.contains("has 3 partitions, not 1"), "{problem}");
}

#[test]
fn a_change_whose_commit_was_not_answered_is_written_once() {
    let log = shop_log();
    let dir = tempfile::tempdir().expect("dir");
    let catalog = open(&log, dir.path());
    log.unanswered.store(1, Ordering::Relaxed);
    let applied = put(&catalog, Precondition::Absent, 1).expect("found by the next turn");
    assert_eq!((applied.deployment.revision, applied.outcome), (1, Outcome::Created));
    let keys: Vec<_> = log.all(DEPLOYMENTS, 0).into_iter().filter_map(|record| record.key).collect();
    assert_eq!(keys, [b"orders/strip@1".to_vec(), b"orders/strip".to_vec()]);
}

#[test]
fn a_deleted_control_topic_refuses_changes_and_keeps_what_is_known() {
    let log = shop_log();
    let dir = tempfile::tempdir().expect("dir");
    let catalog = open(&log, dir.path());
    put(&catalog, Precondition::Any, 1).expect("accepted");
    log.delete(DEPLOYMENTS);
    let refused = put(&catalog, Precondition::Any, 2).expect_err("refused");
    assert_eq!(refused.code().as_str(), "E210", "{refused}");
    assert_eq!(catalog.deployment(&id()).expect("what is known stays").revision, 1);
}
