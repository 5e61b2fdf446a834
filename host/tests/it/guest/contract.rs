//! The sandbox and the task against a guest that misbehaves on request (`tests/guests/fixture`), one test per mode;
//! and modules that are refused.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support;
use crate::support::guests::{Bench, PARTITION, batch, fixture, instance, mode, modules, modules_of, spec};
use sandbar::guest::Tables;
use sandbar::guest::compile::Compiler;
use sandbar::model::batch::{NULL, RECORD_BYTES, RecordRef};
use sandbar::model::codes::Code;
use sandbar::model::module::ModuleError;
use sandbar::model::status::State;
use sandbar::model::units::Timestamp;
use sandbar::ports::{Call, CommitOffset, GuestError, GuestFactory, TrapKind};
use sandbar::task::{SpareBatches, Step, Task};
use serde_json::json;

const CALL: Call = Call { partition: PARTITION, now: Timestamp(1_700_000_000_000), ends_at: None };

/// A call is ended at most so much after its time is up in CPU time.
const LATE_MAX: Duration = Duration::from_millis(500);

/// A spec of a mode, everything else as it is by default.
fn plain(name: &str) -> sandbar::model::spec::Spec {
    spec(mode(name), json!({}))
}

/// Three batches' worth of records, the third poison: only it goes, the others stay in order.
fn check_culprit(name: &str, limits: serde_json::Value, code: &str, message: &str) {
    let spec = spec(mode(name), json!({ "limits": limits }));
    let mut bench = Bench::new(&spec);
    bench.offer(&["a", "b", "poison", "c", "d"]).run();
    assert_eq!(bench.session.values(0), ["a", "b", "c", "d"], "{name}");
    let dead = bench.dead_letters();
    assert_eq!(dead.len(), 1, "{name}");
    assert_eq!((dead[0].0, dead[0].1), ("2", code), "{name}");
    assert!(dead[0].2.contains(message), "{name}: {:?} lacks {message:?}", dead[0].2);
    assert_eq!(bench.task.next_offset(), 5, "{name}");
    assert_eq!((bench.stats.dead_lettered, bench.stats.skipped, bench.stats.filtered), (1, 0, 0), "{name}");
    assert_eq!(bench.task.state(), State::Running, "{name}");
}

/// Every record fails with the code; the partition goes on, ever slower.
fn check_all_fail(name: &str, config: serde_json::Value, limits: serde_json::Value, code: &str, message: &str) {
    let mut bench = Bench::new(&spec(config, json!({ "limits": limits })));
    bench.offer(&["a", "b", "c", "d", "e", "f", "g"]).run();
    assert!(bench.session.values(0).is_empty(), "{name}");
    assert_eq!(bench.session.values(1), ["a", "b", "c", "d", "e", "f", "g"], "{name}");
    for (_, found, text) in bench.dead_letters() {
        assert_eq!(found, code, "{name}: {text}");
        assert!(text.contains(message), "{name}: {text:?} lacks {message:?}");
    }
    assert_eq!(bench.task.state(), State::Degraded, "{name}");
    assert_eq!(bench.waits, [100, 200], "{name}: it backs off after five in a row");
    assert_eq!(bench.task.status(None).error.map(|error| error.code.to_string()).as_deref(), Some(code), "{name}");
    assert_eq!(bench.task.memory_bytes(), 0, "{name}: an instance that failed is kept");
}

// === The modes that behave ===

#[test]
fn echo() {
    let mut bench = Bench::new(&plain("echo"));
    let headers: [(&str, Option<&[u8]>); 3] = [("a", Some(b"1")), ("a", None), ("", Some(b""))];
    let bytes: Vec<u8> = (0..=255).collect();
    let records = [
        RecordRef { offset: 3, timestamp: 7, key: Some(b"k"), value: Some(&bytes), headers: &headers },
        RecordRef { offset: 4, timestamp: -1, key: None, value: Some(b""), headers: &[] },
        RecordRef { offset: 9, timestamp: 0, key: Some(b""), value: None, headers: &[] },
        RecordRef { offset: 10, timestamp: i64::MAX, key: None, value: None, headers: &headers[1..2] },
    ];
    records.iter().for_each(|record| bench.task.offer(record));
    bench.run();
    assert_eq!(bench.session.sent.len(), records.len());
    for (sent, record) in bench.session.sent.iter().zip(&records) {
        assert_eq!((sent.key.as_deref(), sent.value.as_deref()), (record.key, record.value));
        assert_eq!(sent.timestamp, record.timestamp);
        let found: Vec<_> = sent.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        assert_eq!(found, record.headers);
    }
    assert_eq!(bench.task.next_offset(), 11);
}

#[test]
fn filter_odd() {
    let mut bench = Bench::new(&plain("filter-odd"));
    bench.offer(&["a", "b", "c", "d", "e"]).run();
    assert_eq!(bench.session.values(0), ["a", "c", "e"]);
    assert_eq!((bench.stats.filtered, bench.task.next_offset()), (2, 5));
}

/// An instance lives on from batch to batch, until a call fails: then the next call has a new instance.
#[test]
fn count() {
    let mut bench = Bench::with(&plain("count"), |settings| {
        settings.batch_records = 1;
        // The tenth, "10", is too much.
        settings.output.bytes_per_input = RECORD_BYTES + 1;
    });
    bench.offer(&["x"; 12]).run();
    assert_eq!(bench.session.values(0), ["1", "2", "3", "4", "5", "6", "7", "8", "9", "1", "2"]);
    assert_eq!(bench.dead_letters().iter().map(|dead| (dead.0, dead.1)).collect::<Vec<_>>(), [("9", "E105")]);
    bench.task.rewind();
    bench.offer(&["x"]);
    assert_eq!(bench.task.memory_bytes(), 0, "a rewind keeps the instance");
}

#[test]
fn json_strip() {
    let mut bench = Bench::new(&plain("json-strip"));
    bench.offer(&[include_str!("../../../../tests/guests/fixture/order.json"), "no JSON"]).run();
    let slim: serde_json::Value = serde_json::from_str(bench.session.values(0)[0]).expect("JSON");
    assert_eq!((&slim["id"], &slim["customer_id"]), (&json!(918_273_645), &json!(48151)));
    assert_eq!(bench.dead_letters().iter().map(|dead| (dead.0, dead.1)).collect::<Vec<_>>(), [("1", "E101")]);
}

// === One bad record ===

#[test]
fn fail() {
    check_culprit("fail", json!({}), "E101", "the value contains poison");
}

#[test]
fn batch_error() {
    check_culprit("batch-error", json!({}), "E101", "the batch contains poison");
}

#[test]
fn panic() {
    check_culprit("panic", json!({}), "E102", "the value contains poison");
}

#[test]
fn r#loop() {
    check_culprit("loop", json!({ "batch_time": "50ms" }), "E103", "limits.batch_time");
}

#[test]
fn memory_bomb() {
    let limits = json!({ "memory": "8MiB" });
    check_culprit("memory-bomb", limits.clone(), "E104", "limits.memory");
    let mut guest = instance(&spec(mode("memory-bomb"), json!({ "limits": limits })));
    let error = guest.process(&batch(&["poison"]), CALL, &mut sandbar::state::KeyedState::default()).expect_err("it traps");
    assert!(matches!(error, GuestError::Trapped { kind: TrapKind::Memory, .. }), "{error:?}");
    assert!(guest.memory_bytes() <= 8 << 20, "{} bytes", guest.memory_bytes());
}

/// The call ends when its time is up, and not much later.
#[test]
fn a_call_ends_in_time() {
    let spec = spec(mode("loop-all"), json!({ "limits": { "batch_time": "100ms" } }));
    let took: Vec<Duration> = (0..3)
        .map(|_| {
            let mut guest = instance(&spec);
            let began = thread_time();
            let error =
                guest.process(&batch(&["a"]), CALL, &mut sandbar::state::KeyedState::default()).expect_err("it loops");
            assert!(matches!(error, GuestError::Trapped { kind: TrapKind::Timeout, .. }), "{error:?}");
            thread_time() - began
        })
        .collect();
    let expected = Duration::from_millis(95)..Duration::from_millis(100) + LATE_MAX;
    assert!(took.iter().all(|took| expected.contains(took)), "{took:?}");
}

/// Work that ends by itself within its limit.
#[test]
fn spin() {
    let mut bench = Bench::new(&spec(json!({"mode": "spin", "turns": 1000}), json!({})));
    bench.offer(&["a"]).run();
    assert_eq!(bench.session.values(0), ["a"]);
}

/// Memory that is taken for good is shown, and bounded from the start on.
#[test]
fn hold() {
    let held = |bytes: u64| spec(json!({"mode": "hold", "bytes": bytes}), json!({"limits": {"memory": "8MiB"}}));
    assert!(instance(&held(4 << 20)).memory_bytes() >= 4 << 20);
    let mut bench = Bench::new(&held(4 << 20));
    bench.offer(&["a"]).run();
    assert_eq!(bench.session.values(0), ["a"]);
    let refused = modules().try_init(&held(9 << 20), fixture()).expect_err("more than the limit");
    assert!(refused.to_string().contains("limits.memory"), "{refused}");
}

/// A call whose transaction has to end is ended as well, and it is not the guest's fault.
#[test]
fn a_call_that_the_clock_ends_is_stalled() {
    let spec = spec(mode("loop-all"), json!({ "limits": { "batch_time": "5s" } }));
    let mut guest = instance(&spec);
    let call = Call { ends_at: Some(Instant::now() + Duration::from_millis(20)), ..CALL };
    let error = guest.process(&batch(&["a"]), call, &mut sandbar::state::KeyedState::default()).expect_err("it loops");
    assert!(matches!(error, GuestError::Stalled(_)), "{error:?}");
}

/// A machine that is busy with others takes nothing from a call's time.
#[test]
fn a_calls_time_is_the_processors() {
    let spec = spec(mode("loop-all"), json!({ "limits": { "batch_time": "100ms" } }));
    let ends = AtomicBool::new(false);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let used = std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while !ends.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let used = (0..3).map(|_| {
            let mut guest = instance(&spec);
            let began = thread_time();
            guest.process(&batch(&["a"]), CALL, &mut sandbar::state::KeyedState::default()).expect_err("it loops");
            thread_time() - began
        });
        let used = used.max().expect("three");
        ends.store(true, Ordering::Relaxed);
        used
    });
    // By the clock it would have had two thirds of its time at most.
    assert!(used > Duration::from_millis(90), "it was given {used:?} of the processor");
}

/// Time of the processor that this thread has had.
fn thread_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
    Duration::from_nanos(text.split(' ').next().and_then(|number| number.parse().ok()).expect("a number"))
}

// === Every record is bad ===

#[test]
fn panic_all() {
    check_all_fail("panic-all", mode("panic-all"), json!({}), "E102", "this mode panics on every record");
}

#[test]
fn loop_all() {
    check_all_fail("loop-all", mode("loop-all"), json!({ "batch_time": "20ms" }), "E103", "limits.batch_time");
}

/// Rust keeps its stack at the bottom of the linear memory: below it there is nothing.
#[test]
fn stack_overflow() {
    check_all_fail("stack-overflow", mode("stack-overflow"), json!({}), "E102", "out of bounds");
}

/// A guest that never returns runs out of memory first.
#[test]
fn output_bomb() {
    let limits = json!({ "memory": "4MiB", "batch_time": "5s" });
    check_all_fail("output-bomb", mode("output-bomb"), limits, "E104", "limits.memory");
}

#[test]
fn fat_output() {
    check_all_fail("fat-output", mode("fat-output"), json!({}), "E105", "limits.output_bytes_per_record");
    // A record that its topic does not take.
    let fat = json!({ "mode": "fat-output", "bytes": 2 << 20 });
    let mut bench = Bench::new(&spec(fat, json!({})));
    bench.offer(&["a"]).run();
    assert_eq!(bench.dead_letters().iter().map(|dead| dead.1).collect::<Vec<_>>(), ["E107"]);
}

/// The bytes that may be lifted out of a guest in one call are an output limit too, which does not add up over calls.
#[test]
fn lifted_bytes_are_limited_per_call() {
    let fat = |bytes: usize| {
        let limits = json!({ "memory": "1GiB", "batch_time": "5s" });
        instance(&spec(json!({ "mode": "fat-output", "bytes": bytes }), json!({ "limits": limits })))
    };
    let error =
        fat(150 << 20).process(&batch(&["a"]), CALL, &mut sandbar::state::KeyedState::default()).expect_err("too much");
    assert!(matches!(error, GuestError::Output { limit: true, .. }), "{error:?}");
    let mut guest = fat(12 << 20);
    for call in 0..12 {
        let output = guest.process(&batch(&["a"]), CALL, &mut sandbar::state::KeyedState::default());
        assert_eq!(output.map(|output| output.data.len()), Ok(12 << 20), "call {call}");
    }
}

#[test]
fn bad_span() {
    check_all_fail("bad-span", mode("bad-span"), json!({}), "E106", "span");
}

#[test]
fn bad_target() {
    check_all_fail("bad-target", mode("bad-target"), json!({}), "E106", "1000000");
}

#[test]
fn bad_source() {
    check_all_fail("bad-source", mode("bad-source"), json!({}), "E106", "source");
}

#[test]
fn bad_columns() {
    check_all_fail("bad-columns", mode("bad-columns"), json!({}), "E106", "keys");
}

/// Lines over a limit are dropped and counted, over all instances of a transform; the work goes on. The host's clock
/// counts, and not that of the records.
#[test]
fn log_flood() {
    let flood = |limits: serde_json::Value| spec(json!({ "mode": "log-flood", "lines": 5000 }), json!({ "limits": limits }));
    // A guest may be slow in a debug build: then some more come back meanwhile.
    for (limits, most) in [
        (json!({ "batch_time": "5s" }), 1500),
        (json!({ "batch_time": "5s", "log_lines_per_second": 10_000, "log_bytes_per_second": "1KiB" }), 500),
        (json!({ "batch_time": "5s", "log_lines_per_second": 0 }), 0),
        // No more than its team.
        (json!({ "batch_time": "5s", "log_lines_per_second": 10_000, "log_bytes_per_second": "1MiB" }), 4000),
    ] {
        let spec = flood(limits.clone());
        let mut bench = Bench::new(&spec);
        bench.offer(&["a"]).run();
        let metrics = bench.revision.observer.metrics.clone();
        let passed = |of: u64| of - metrics.guest.log_lines_dropped.get();
        assert!(bench.session.values(0) == ["a"] && passed(5000) <= most, "{limits}: {} passed", passed(5000));
        // Neither another instance nor another second of the batches brings new lines.
        let assigned = CommitOffset { partition: PARTITION, next_offset: 0, metadata: String::new() };
        let mut other = Task::new(&assigned, bench.revision.clone(), false, SpareBatches::default());
        other.offer(&support::guests::record(0, "b"));
        bench.pass(Duration::from_secs(1000));
        bench.task = other;
        bench.step();
        assert!(passed(10_000) <= most * 2, "{limits}: {} passed", passed(10_000));
    }
}

/// No record is to blame for a guest that does not start: nothing is dead-lettered, it is tried again.
#[test]
fn init_error() {
    let spec = plain("init-error");
    let refused = modules().try_init(&spec, fixture()).expect_err("refused");
    assert!(matches!(&refused, ModuleError::Init(message) if message.contains("is refused, like all")), "{refused:?}");
    let mut bench = Bench::new(&spec);
    bench.offer(&["a"]);
    for wait in [100, 200, 400, 800] {
        assert_eq!(bench.step(), Step::Idle);
        let left = bench.task.time_left(bench.now).expect("it backs off");
        assert_eq!(left, Duration::from_millis(wait));
        bench.pass(left);
    }
    assert!(bench.session.sent.is_empty() && bench.task.has_pending() && bench.task.next_offset() == 0);
    assert_eq!(bench.task.state(), State::Failed);
    assert_eq!(bench.task.status(None).error.map(|error| error.code), Some(Code::Init));
}

#[test]
fn init_loop() {
    let spec = spec(mode("init-loop"), json!({ "limits": { "batch_time": "50ms" } }));
    // Other processes of the machine take none of this time.
    let started = thread_time();
    let refused = modules().try_init(&spec, fixture());
    assert!(matches!(refused, Err(ModuleError::Timeout(_))), "{refused:?}");
    let used = thread_time() - started;
    assert!(used < Duration::from_millis(50) + LATE_MAX, "{used:?}");
}

// === The error policy ===

#[test]
fn a_dead_letter_is_the_record_and_its_failure() {
    let mut bench = Bench::new(&plain("fail"));
    let headers: [(&str, Option<&[u8]>); 2] = [("trace", Some(b"\x00\xff")), ("none", None)];
    let key = Some(&b"\x80"[..]);
    let value = Some(&b"a poison \xff"[..]);
    bench.task.offer(&RecordRef { offset: 41, timestamp: 12, key, value, headers: &headers });
    bench.run();
    let [dead] = &bench.session.sent[..] else { panic!("one record is sent") };
    assert_eq!((dead.topic, dead.timestamp), (1, 12));
    assert_eq!((dead.key.as_deref(), dead.value.as_deref()), (key, value));
    let text = |name: &str, value: &str| (name.to_owned(), Some(value.as_bytes().to_vec()));
    let settings = &bench.revision.settings;
    let expected = [
        ("trace".to_owned(), Some(b"\x00\xff".to_vec())),
        ("none".to_owned(), None),
        text("sandbar.error.transform", "shop/fixture"),
        text("sandbar.error.revision", "5"),
        text("sandbar.error.module", &settings.module.to_string()),
        text("sandbar.error.topic", "shop.orders"),
        text("sandbar.error.partition", "3"),
        text("sandbar.error.offset", "41"),
        text("sandbar.error.code", "E101"),
        text("sandbar.error.message", "the value contains poison"),
    ];
    assert_eq!(dead.headers, expected);
}

#[test]
fn skip_counts_and_drops() {
    let mut bench = Bench::new(&spec(mode("panic"), json!({ "on_error": { "then": "skip" } })));
    bench.offer(&["a", "poison", "b"]).run();
    assert_eq!(bench.session.sent.iter().map(support::guests::Sent::text).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((bench.stats.skipped, bench.stats.dead_lettered, bench.task.next_offset()), (1, 0, 3));
}

#[test]
fn pause_stops_before_the_record_until_it_is_resumed() {
    for name in ["panic", "fail", "batch-error"] {
        let mut bench = Bench::new(&spec(mode(name), json!({ "on_error": { "then": "pause" } })));
        bench.offer(&["a", "b", "poison", "c"]).run();
        assert_eq!(bench.session.values(0), ["a", "b"], "{name}");
        assert_eq!((bench.task.next_offset(), bench.task.state()), (2, State::Paused), "{name}");
        assert_eq!(bench.task.status(None).error.and_then(|error| error.offset), Some(2), "{name}");
        // What comes in while it is paused comes again after the seek.
        bench.task.offer(&support::guests::record(4, "d"));
        assert!(!bench.task.has_pending() && bench.step() == Step::Idle, "{name}");
        bench.task.resume();
        assert_eq!((bench.task.state(), bench.task.next_offset()), (State::Running, 2), "{name}");
        for (offset, value) in [(2, "mended"), (3, "c"), (4, "d")] {
            bench.task.offer(&support::guests::record(offset, value));
        }
        bench.run();
        assert_eq!(bench.session.values(0), ["a", "b", "mended", "c", "d"], "{name}");
    }
}

/// A record is run once and `attempts` times more, each after the backoff; alone or in a batch.
#[test]
fn retries_come_before_the_policy() {
    let on_error = json!({ "retry": { "attempts": 2, "backoff": "300ms" } });
    // A record in a batch is first run alone without having been found out: one call more.
    for (values, calls) in [(&["poison"][..], 3), (&["a", "poison", "b"], 6)] {
        let mut bench = Bench::new(&spec(mode("panic"), json!({ "on_error": on_error.clone() })));
        bench.offer(values).run();
        assert_eq!(bench.waits, [300, 300], "{values:?}");
        assert_eq!(bench.dead_letters().len(), 1, "{values:?}");
        assert_eq!(bench.session.values(0).len(), values.len() - 1, "{values:?}");
        assert_eq!(bench.revision.observer.metrics.guest.call_time.get_sample_count(), calls, "{values:?}");
    }
}

#[test]
fn good_records_end_a_backoff() {
    let mut bench = Bench::with(&plain("panic"), |settings| settings.batch_records = 1);
    bench.offer(&["poison"; 6]).run();
    assert_eq!(bench.task.state(), State::Degraded);
    bench.offer(&["fine"]).run();
    assert_eq!((bench.task.state(), bench.waits.len()), (State::Running, 2));
}

// === Modules ===

/// Each mode of the fixture is a function of this file.
#[test]
fn every_mode_has_a_test() {
    let source = include_str!("../../../../tests/guests/fixture/src/lib.rs");
    support::guests::assert_tested(source, include_str!("contract.rs"), 22);
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the text is right")
}

/// A component that exports a transform whose functions take and return nothing.
const WRONG_TYPES: &str = r#"(component
    (core module $m (func (export "f")))
    (core instance $c (instantiate $m))
    (func $f (canon lift (core func $c "f")))
    (instance $i (export "init" (func $f)) (export "process" (func $f)))
    (export "sandbar:transform/transform@0.1.0" (instance $i)))"#;

/// Modules that are refused, each with the code and a part of the message.
fn refused() -> Vec<(&'static str, Vec<u8>, Code, String)> {
    let text = |name, text: &str, code, message: &str| (name, wat(text), code, message.to_owned());
    let long = format!("long:{}/name", "n".repeat(80_000));
    vec![
        ("empty", Vec::new(), Code::NotWasm, String::new()),
        ("text", b"(component)".to_vec(), Code::NotWasm, String::new()),
        ("cut in the header", b"\0asm\x0d\0".to_vec(), Code::ModuleInvalid, String::new()),
        ("unknown version", b"\0asm\x0d\0\x07\0".to_vec(), Code::ModuleInvalid, String::new()),
        text("core module", "(module)", Code::CoreModule, ""),
        text(
            "sockets",
            r#"(component (import "wasi:sockets/tcp@0.2.0" (instance)))"#,
            Code::ForbiddenImport,
            "wasi:sockets/tcp@0.2.0",
        ),
        text("a function", r#"(component (import "now" (func)))"#, Code::ForbiddenImport, "now"),
        text("a long name", &format!("(component (import {long:?} (instance)))"), Code::ModuleStructure, "longest name"),
        text(
            "newer world",
            r#"(component (import "sandbar:transform/log@0.9.0" (instance)))"#,
            Code::WrongWorld,
            "sandbar:transform@0.9.0",
        ),
        text("nothing", "(component)", Code::MissingExport, "sandbar:transform/transform@0.1.0"),
        text(
            "no functions",
            r#"(component (instance $i) (export "sandbar:transform/transform@0.1.0" (instance $i)))"#,
            Code::MissingExport,
            "sandbar:transform/transform@0.1.0#init",
        ),
        text("wrong types", WRONG_TYPES, Code::ModuleInvalid, "its init is func(), it must be func(record{config: string"),
    ]
}

fn child() -> Compiler {
    Compiler { program: Some(env!("CARGO_BIN_EXE_sandbar").into()), ..Compiler::default() }
}

#[test]
fn bad_modules_are_refused_by_name() {
    let children = modules_of(child());
    for (name, bytes, code, message) in refused() {
        for modules in [modules(), &children] {
            let error = modules.check(None, &bytes).expect_err(name);
            assert_eq!(error.code(), code, "{name}: {error}");
            assert!(error.to_string().contains(&message), "{name}: {error}");
        }
    }
}

/// A seed is enough to repeat it.
fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

#[test]
fn broken_modules_never_panic() {
    let whole = fixture();
    let mut seed = 42;
    for _ in 0..60 {
        let end = random(&mut seed) as usize % whole.len();
        assert!(modules().check(None, &whole[..end]).is_err(), "cut at {end}");
    }
    let small = wat(WRONG_TYPES);
    for round in 0..400 {
        let mut bytes = match round % 2 {
            0 => small.clone(),
            _ => [&small[..8], &vec![0; 1 + random(&mut seed) as usize % 200]].concat(),
        };
        for _ in 0..1 + random(&mut seed) % 8 {
            let at = 8 + random(&mut seed) as usize % (bytes.len() - 8);
            bytes[at] = random(&mut seed) as u8;
        }
        assert!(modules().check(None, &bytes).is_err(), "round {round}: {bytes:?}");
    }
}

#[test]
fn a_child_process_compiles() {
    let made = modules_of(child());
    assert_eq!(made.check(None, fixture()), modules().check(None, fixture()));
    let prepared = made.prepare(&plain("echo"), 1, fixture(), Tables::default(), None).expect("prepared");
    let output = prepared
        .instantiate()
        .and_then(|mut guest| guest.process(&batch(&["a"]), CALL, &mut sandbar::state::KeyedState::default()))
        .expect("it runs");
    assert_eq!((output.targets, output.keys), (vec![0], vec![NULL, NULL]));
}

#[test]
fn a_child_process_has_limits() {
    let slow = Compiler { time_max: Duration::from_millis(1), ..child() };
    assert!(matches!(modules_of(slow).check(None, fixture()), Err(ModuleError::CompileTimeout { .. })));
    let small = Compiler { memory_bytes_max: 12 << 20, ..child() };
    let refused = modules_of(small).check(None, fixture());
    assert_eq!(refused, Err(ModuleError::CompileMemory { bytes_max: 12 << 20 }));
    let missing = Compiler { program: Some("/no/such/program".into()), ..Compiler::default() };
    assert!(matches!(modules_of(missing).check(None, fixture()), Err(ModuleError::Host(_))));
}
