//! Keyed state under a real guest (`tests/guests/stateful`), in wasmtime and without a log: one test per mode.
//! `tests/e2e/state.rs` tests state on Kafka, and `simulation.rs` tests it under every fault.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support;
use crate::support::guests::{Bench, mode, modules, spec, stateful};
use sandbar::model::module::ModuleError;
use sandbar::model::spec::Spec;
use sandbar::state::{KeyedState, StoreSettings};
use serde_json::{Value, json};

/// The spec of a mode with the store `sums`; `changes` are merged into it.
fn spec_of(config: Value, changes: Value) -> Spec {
    let mut fields = json!({ "state": { "sums": {} } });
    fields.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
    spec(config, fields)
}

fn bench(spec: &Spec) -> Bench {
    let stores = spec.state.iter().map(|(name, store)| (StoreSettings::of(name, store, &spec.limits), Vec::new()));
    Bench::of(stateful(), spec, KeyedState::in_memory(stores.collect()).expect("memory"), |_| {})
}

/// The changes of the open transaction, by key, as text.
fn changes(state: &KeyedState) -> BTreeMap<String, Option<String>> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    state.changes().map(|(_, key, entry)| (text(key), entry.map(|entry| text(&entry.value)))).collect()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// The transaction is committed.
fn commit(bench: &mut Bench) {
    let now = bench.now.wall;
    bench.state.committed(|_| None, now).expect("memory");
}

#[test]
fn fold() {
    let mut bench = bench(&spec_of(mode("fold"), json!({})));
    bench.offer_keyed(&[("a", Some("5")), ("b", Some("1")), ("a", Some("-2"))]).run();
    assert_eq!(bench.session.values(0), ["1 5", "1 1", "2 3"], "a batch sees its own writes");
    let expected = [("a", some("2 3")), ("b", some("1 1"))].map(|(key, entry)| (key.to_owned(), entry));
    assert_eq!(changes(&bench.state), expected.into(), "two writes of a key are one change");
    bench.offer_keyed(&[("a", Some("1")), ("a", Some("scan"))]).run();
    assert_eq!(bench.session.values(0)[3..], ["3 4", "all 2 4 5"], "the transaction sees what it wrote before");
    commit(&mut bench);
    bench.offer_keyed(&[("a", None), ("gone", None), ("b", Some("2"))]).run();
    bench.offer_keyed(&[("b", Some("scan"))]).run();
    assert_eq!(bench.session.values(0)[5..], ["gone", "gone", "2 3", "all 1 2 3"], "what was committed is below");
    let expected = [("a", None), ("b", some("2 3"))].map(|(key, entry)| (key.to_owned(), entry));
    assert_eq!(changes(&bench.state), expected.into(), "what was never there needs no deletion");
    bench.state.roll_back();
    bench.offer_keyed(&[("a", Some("0")), ("x", Some("scan"))]).run();
    assert_eq!(bench.session.values(0)[9..], ["4 4", "all 2 5 5"], "an aborted transaction left nothing");
}

/// More entries than a page has.
#[test]
fn a_scan_goes_on_where_a_page_ends() {
    let mut bench = bench(&spec_of(mode("fold"), json!({})));
    let keys: Vec<String> = (0..350).map(|key| format!("key-{key}")).collect();
    let records: Vec<_> = keys.iter().map(|key| (key.as_str(), Some("2"))).collect();
    bench.offer_keyed(&records[..200]).run();
    commit(&mut bench);
    bench.offer_keyed(&records[100..]).offer_keyed(&[("s", Some("scan"))]).run();
    assert_eq!(bench.session.values(0).last(), Some(&"all 350 450 900"));
}

/// A record that fails has written before it did: nothing of that is kept, whoever else was in its batch.
#[test]
fn nothing_is_kept_of_a_failed_record() {
    for (value, code) in [("poison", "E102"), ("refuse", "E101"), ("no number", "E101")] {
        let mut bench = bench(&spec_of(mode("fold"), json!({})));
        bench.offer_keyed(&[("a", Some("1")), ("a", Some(value)), ("b", Some(value)), ("a", Some("1"))]).run();
        assert_eq!(bench.session.values(0), ["1 1", "2 2"], "{value}");
        let dead: Vec<_> = bench.dead_letters().iter().map(|dead| (dead.0.to_owned(), dead.1.to_owned())).collect();
        let expected = ["1", "2"].map(|offset| (offset.to_owned(), code.to_owned()));
        assert_eq!(dead, expected, "{value}");
        assert_eq!(changes(&bench.state), [("a".to_owned(), some("2 2"))].into(), "{value}");
    }
}

/// Over `max_bytes` the record is a dead letter; the entries of the store stay, and smaller records go on.
#[test]
fn fat() {
    let limits = json!({ "state": { "sums": { "max_bytes": "1KiB" } } });
    let mut bench = bench(&spec_of(json!({ "mode": "fat", "bytes": 300 }), limits));
    let records = ["a", "b", "c", "d", "a", "e"].map(|key| (key, Some("")));
    bench.offer_keyed(&records).run();
    assert_eq!(bench.session.values(0), ["300"; 4], "to write over an entry needs no more");
    let dead: Vec<_> = bench.dead_letters().iter().map(|dead| (dead.0.to_owned(), dead.1.to_owned())).collect();
    assert_eq!(dead, [("3".to_owned(), "E108".to_owned()), ("5".to_owned(), "E108".to_owned())]);
    let message = bench.dead_letters()[0].2.to_owned();
    assert!(message.contains("state.sums.max_bytes") && message.contains("1024"), "{message}");
    assert_eq!(changes(&bench.state).into_keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    commit(&mut bench);
    assert_eq!(bench.state.stores()[0].mark().bytes, 903);
}

/// Found when `init` is tried: at deployment.
#[test]
fn undeclared() {
    let refused = modules().try_init(&spec_of(mode("undeclared"), json!({})), stateful());
    let Err(ModuleError::Init(message)) = refused else { panic!("{refused:?}") };
    assert!(message.contains("declares no store \"no-such-store\""), "{message}");
    let refused = modules().try_init(&spec(mode("fold"), json!({})), stateful());
    assert!(matches!(&refused, Err(ModuleError::Init(message)) if message.contains("\"sums\"")), "{refused:?}");
}

/// There is no state outside of a call.
#[test]
fn early() {
    let refused = modules().try_init(&spec_of(mode("early"), json!({})), stateful()).expect_err("refused");
    assert!(refused.to_string().contains("in process and tick only"), "{refused}");
}

/// Steps at the time of the next tick.
fn tick(bench: &mut Bench) {
    let left = bench.task.time_left(bench.now).expect("a tick is due some time");
    bench.pass(left);
    bench.step();
}

#[test]
fn a_tick_writes_and_puts_out_in_the_transaction() {
    let mut bench = bench(&spec_of(mode("fold"), json!({ "tick": "1s" })));
    bench.task.plan_tick(bench.now);
    bench.offer_keyed(&[("a", Some("5"))]).run();
    (0..3).for_each(|_| tick(&mut bench));
    assert_eq!(bench.session.values(0), ["1 5", "1", "2", "3"]);
    let ticked = &bench.session.sent[3];
    assert_eq!((ticked.key.as_deref(), ticked.timestamp), (Some("tick-3".as_bytes()), bench.now.wall.0));
    assert_eq!(bench.state.changes().count(), 2);
    bench.state.roll_back();
    bench.task.rewind();
    assert_eq!(bench.task.time_left(bench.now), Some(Duration::ZERO), "none of the three has been");
    bench.step();
    assert_eq!(bench.session.values(0)[4..], ["1"], "it is due again, and its count was undone");
}

/// A failed tick changes nothing, fails no record, and the next one comes.
#[test]
fn tick_panic() {
    let mut bench = bench(&spec_of(mode("tick-panic"), json!({ "tick": "1s" })));
    bench.task.plan_tick(bench.now);
    for round in 1..=3 {
        tick(&mut bench);
        bench.offer_keyed(&[("a", Some("1"))]).run();
        assert_eq!(bench.session.values(0).len(), round);
        let error = bench.task.status(None).error.expect("it is told");
        assert!(error.code.to_string() == "E102" && error.message.contains("on every tick"), "{error:?}");
    }
    assert_eq!(changes(&bench.state), [("a".to_owned(), some("3 3"))].into());
    assert!(bench.dead_letters().is_empty());
}

/// A tick needs a module that has one.
#[test]
fn a_tick_is_refused_where_the_module_has_none() {
    let plain = spec(mode("echo"), json!({ "tick": "1s" }));
    let refused = modules().try_init(&plain, support::guests::fixture()).expect_err("refused");
    assert!(matches!(&refused, ModuleError::MissingExport { name } if name.contains("ticks")), "{refused:?}");
}

/// Each mode of the module is a function of this file.
#[test]
fn every_mode_has_a_test() {
    let source = include_str!("../../../../tests/guests/stateful/src/lib.rs");
    support::guests::assert_tested(source, include_str!("stateful.rs"), 5);
}
