//! The collection of unused modules: unused ones go, used ones stay, and no deployment ever loses its module.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sandbar::catalog::{Catalog, CatalogError, Change, Precondition, Request};
use sandbar::model::audit::Actor;
use sandbar::model::names::{Digest, TransformId};
use sandbar::model::revision::Progress;
use sandbar::model::units::Timestamp;
use sandbar::ports::{Log, LogRecord};
use serde_json::json;

use super::host::{GOOD, Host, open, shop_log};

const MODULES: &str = "_sandbar.test.modules";
const STRIP: &str = "/v1/teams/orders/transforms/strip";
const DAY: Duration = Duration::from_secs(24 * 3600);

fn tomorrow() -> Timestamp {
    Timestamp::now().after(DAY)
}

fn change(catalog: &Catalog, id: &str, change: Change) -> Result<(), CatalogError> {
    let id: TransformId = id.parse().expect("valid");
    let request = Request {
        expected: Precondition::Any,
        change,
        key: None,
        actor: Actor::anyone(),
        now: Timestamp::now(),
        committed: Progress::default(),
        growth: None,
        signature: None,
        assumes: None,
    };
    catalog.change(&id, request).map(drop)
}

fn put(catalog: &Catalog, id: &str, module: Digest) -> Result<(), CatalogError> {
    let spec = json!({"inputs": ["shop.orders"], "outputs": {"o": "out"}});
    change(catalog, id, Change::Put { spec: Box::new(serde_json::from_value(spec).expect("a spec")), module })
}

#[test]
fn used_modules_stay_and_others_go_with_their_chunks_and_copies() {
    let log = shop_log();
    let dir = tempfile::tempdir().expect("dir");
    let other = tempfile::tempdir().expect("dir");
    let here = open(&log, dir.path());
    let there = open(&log, other.path());
    let [used, unused] = [1u8, 2].map(|byte| here.put_module(&vec![byte; 700_000]).expect("stored").digest);
    put(&here, "t/x", used).expect("accepted");
    assert!(there.module(&unused).expect("readable").is_some(), "there is a copy on both disks");
    assert!(here.collect(Timestamp::now(), DAY).expect("collected").is_empty(), "it was uploaded just now");
    assert_eq!(here.collect(tomorrow(), DAY).expect("collected"), [unused]);
    assert!(here.collect(tomorrow(), DAY).expect("collected").is_empty());
    assert_eq!((here.module(&unused).expect("readable"), here.has_module(&used)), (None, true));
    // A compacted topic keeps nothing of it: each of its chunks has its end.
    let keys = |ended: bool| {
        let all = log.all(MODULES, 1).into_iter().filter(move |record| record.value.is_none() == ended);
        let mut keys: Vec<_> = all.map(|record| String::from_utf8(record.key.expect("a key")).expect("text")).collect();
        keys.retain(|key| key.starts_with(&unused.to_string()));
        keys
    };
    assert_eq!((keys(true).len(), keys(true)), (2, keys(false)));
    there.refresh().expect("read");
    there.collect(tomorrow(), DAY).expect("collected");
    for dir in [dir.path(), other.path()] {
        let copies = std::fs::read_dir(dir.join("modules")).expect("a folder").flatten();
        let copies: Vec<_> = copies.map(|file| file.file_name()).collect();
        let gone = copies.iter().all(|file| !file.to_string_lossy().starts_with(unused.hex().as_str()));
        assert!(gone, "{copies:?}");
    }
    // It can come back, under keys that nobody has ended.
    assert!(here.put_module(&[2u8; 700_000]).expect("stored").new);
    here.collect(Timestamp::now(), DAY).expect("collected");
    assert!(there.put_module(&[2u8; 700_000]).is_ok_and(|stored| !stored.new));
}

/// Each turn of the writer deletes a part of them, so that no change waits for long.
#[test]
fn all_of_many_modules_go() {
    const COUNT: usize = 2500;
    let log = shop_log();
    let dir = tempfile::tempdir().expect("dir");
    // It makes the topics.
    drop(open(&log, dir.path()));
    let manifest = |number: usize| LogRecord {
        offset: 0,
        timestamp: 0,
        key: Some(Digest::of(&number.to_be_bytes()).to_string().into_bytes()),
        value: Some(br#"{"bytes":1,"chunks":1,"chunks_from":0,"upload":"u"}"#.to_vec()),
        headers: Vec::new(),
    };
    let manifests = (0..COUNT).map(manifest).collect();
    log.append(&MODULES.parse().expect("valid"), Some(0), manifests).expect("written");
    let catalog = open(&log, dir.path());
    assert_eq!(catalog.modules().len(), COUNT);
    // The second time there is nothing to collect, and nothing to clear.
    for collected in [COUNT, 0] {
        assert_eq!(catalog.collect(tomorrow(), DAY).expect("collected").len(), collected);
        let ends = [0, 1].map(|partition| log.all(MODULES, partition).iter().filter(|it| it.value.is_none()).count());
        assert_eq!(ends, [COUNT; 2], "of manifests, and of chunks");
    }
}

#[test]
fn a_deployment_has_its_module_whoever_collects_meanwhile() {
    let log = shop_log();
    let dir = tempfile::tempdir().expect("dir");
    let other = tempfile::tempdir().expect("dir");
    let here = open(&log, dir.path());
    let there = open(&log, other.path());
    let ended = AtomicBool::new(false);
    let collected = AtomicUsize::new(0);
    let refused = std::thread::scope(|scope| {
        let collecting = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                // As if a day had passed with every look.
                let gone = there.collect(tomorrow(), DAY).expect("collected").len();
                collected.fetch_add(gone, Ordering::Relaxed);
            }
        });
        let mut refused = 0;
        for round in 0..60u8 {
            let id = format!("t/x{}", round % 3);
            let digest = here.put_module(&[round % 4; 100]).expect("stored").digest;
            match put(&here, &id, digest) {
                Ok(()) => assert!(here.module(&digest).expect("readable").is_some(), "round {round}"),
                Err(CatalogError::NoModule(_)) => refused += 1,
                Err(error) => panic!("round {round}: {error}"),
            }
            if round % 5 == 4 {
                let _ = change(&here, &id, Change::Delete);
            }
        }
        ended.store(true, Ordering::Relaxed);
        collecting.join().expect("it ends");
        refused
    });
    for deployment in here.current().all_live() {
        assert!(there.module(&deployment.module).expect("readable").is_some(), "{}", deployment.id);
    }
    println!("{refused} deployments came too late, {} modules were collected", collected.into_inner());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_to_a_collected_module_says_so() {
    let host = Host::start().await;
    let spec =
        |module: &serde_json::Value| json!({"inputs": ["shop.orders"], "outputs": {"o": "orders.out"}, "module": module});
    let first = host.upload(GOOD).await.expect(201)["digest"].clone();
    host.put(STRIP, &spec(&first)).await.expect(202);
    super::host::Answer::of(host.request("DELETE", STRIP)).await.expect(204);
    let catalog = host.state.catalog.clone();
    let collect = move || catalog.collect(Timestamp::now().after(2 * DAY), DAY).expect("collected").len();
    assert_eq!(tokio::task::spawn_blocking(collect).await.expect("no panic"), 1);
    // By its digest it is as if it had never been there.
    let refused = host.put(STRIP, &spec(&first)).await.refused(422, "E022");
    assert_eq!(refused["errors"][0]["field"], "module");
    let second = host.upload(b"\0asm another").await.expect(201)["digest"].clone();
    host.put(STRIP, &spec(&second)).await.expect(202);
    let list = host.get(&format!("{STRIP}/revisions")).await.expect(200);
    let stored: Vec<_> =
        list["revisions"].as_array().expect("a list").iter().map(|it| it["module_stored"].clone()).collect();
    assert_eq!(stored, [json!(true), json!(false)]);
    let rollback = format!("{STRIP}/rollback");
    host.post(&rollback).await.refused(409, "E035");
    host.upload(GOOD).await.expect(201);
    assert_eq!(host.post(&rollback).await.expect(202)["revision"], 3);
}
