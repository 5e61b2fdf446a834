//! The sandbox against components that no compiler makes: the cost of each is bounded, and is its owner's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::hostile_modules::{Hostile, mangled};
use crate::support::guests::{Bench, PARTITION, batch, modules, modules_with, spec};
use sandbar::guest::{ModuleOptions, Modules, Tables};
use sandbar::model::batch::{Batch, Output};
use sandbar::model::module::ModuleError;
use sandbar::model::units::Timestamp;
use sandbar::ports::{Call, Guest, GuestError, GuestFactory, SessionError, TrapKind};
use sandbar::state::KeyedState;
use sandbar::task::RunnableRevision;
use serde_json::json;

const CALL: Call = Call { partition: PARTITION, now: Timestamp(1_700_000_000_000), ends_at: None };
/// Longest message that leaves the sandbox.
const TEXT_BYTES_MAX: usize = 4096;
/// No case takes longer, with its compilation; the host would be dead, or nearly so, with the holes that they go for.
const TIME_MAX: Duration = Duration::from_secs(30);
const MIB: usize = 1 << 20;

fn limits(limits: serde_json::Value) -> sandbar::model::spec::Spec {
    spec(json!({}), json!({ "limits": limits }))
}

fn instance_of(modules: &Modules, module: &[u8], limits: serde_json::Value) -> Result<Box<dyn Guest>, GuestError> {
    let spec = spec(json!({}), json!({ "limits": limits }));
    modules.prepare(&spec, 1, module, Tables::default(), None).expect("it compiles").instantiate()
}

fn instance(guest: &Hostile, memory: &str) -> Result<Box<dyn Guest>, GuestError> {
    instance_of(modules(), &guest.build(), json!({ "memory": memory, "batch_time": "5s" }))
}

/// The first batch of an instance fails so.
fn failed(guest: &Hostile, memory: &str) -> GuestError {
    let mut guest = instance(guest, memory).expect("an instance");
    guest.process(&batch(&["a"]), CALL, &mut KeyedState::default()).expect_err("it fails")
}

/// A dry run refuses the module, quickly, with a text that is short and of one line.
#[track_caller]
fn check_refused(guest: &Hostile, expected: fn(&ModuleError) -> bool) -> ModuleError {
    let started = Instant::now();
    let spec = limits(json!({ "memory": "64MiB", "batch_time": "200ms" }));
    let refused = modules().try_init(&spec, &guest.build()).expect_err("refused");
    assert!(started.elapsed() < TIME_MAX, "{:?}", started.elapsed());
    let text = refused.to_string();
    assert!(text.len() < TEXT_BYTES_MAX + 200 && !text.chars().any(char::is_control), "{} bytes: {text}", text.len());
    assert!(expected(&refused), "{text}");
    refused
}

// === Names and messages ===

/// A trap says nothing of the guest's own names, however it is brought about.
#[test]
fn a_trap_shows_no_name() {
    for name in [mangled(12, 16), mangled(30, 60), "n".repeat(90_000), "\x1b[31m".repeat(100)] {
        let name: String = name.chars().flat_map(char::escape_default).collect::<String>().replace("\\u{1b}", "\\1b");
        let trap = |error: &ModuleError| matches!(error, ModuleError::Trap(text) if text.len() < 200);
        check_refused(&Hostile { name: name.clone(), ..Hostile::init("unreachable") }, trap);
        let start = format!("(func $s (@name \"{name}\") unreachable) (start $s)");
        check_refused(&Hostile::module(start), trap);
        let out_of_bounds = "(i32.load (i32.const -8))";
        let error = failed(&Hostile { name: name.clone(), ..Hostile::process(out_of_bounds) }, "8MiB");
        assert!(matches!(&error, GuestError::Trapped { kind: TrapKind::Trap, message } if message.len() < 200), "{error:?}");
        // An error of the host's own, which wasmtime gives a backtrace: a string that is not UTF-8.
        let no_text =
            "(i32.store (i32.const 8) (i32.const -1)) (call $log (i32.const 1) (i32.const 8) (i32.const 4)) (call $ok)";
        let error = failed(&Hostile { name, ..Hostile::process(no_text) }, "8MiB");
        assert!(matches!(&error, GuestError::Trapped { message, .. } if message.len() < 200), "{error:?}");
    }
}

/// The validator's and the linker's words have the module's names in them.
#[test]
fn names_in_refusals_are_cut_and_escaped() {
    let long = "n".repeat(1000);
    let invalid = |error: &ModuleError| matches!(error, ModuleError::Invalid(_) | ModuleError::Structure { .. });
    let field = |text: String| Hostile { after: text, ..Hostile::default() };
    let import = |name: &str| {
        let module = format!("(core module $x (import \"{name}\" \"f\" (func)))");
        field(format!("{module} (core instance (instantiate $x (with \"{name}\" (instance $guest))))"))
    };
    check_refused(&import(&long), invalid);
    check_refused(&import("\\1b[31m\\0d\\0aforged"), invalid);
    check_refused(&import(&"n".repeat(90_000)), invalid);
    let forbidden =
        |error: &ModuleError| matches!(error, ModuleError::ForbiddenImport { .. } | ModuleError::Structure { .. });
    check_refused(&Hostile { before: format!("(import \"{long}\" (func))"), ..Hostile::default() }, forbidden);
    check_refused(&Hostile { before: "(import \"wasi:cli/run@0.2.0\" (instance))".into(), ..Hostile::default() }, forbidden);
    check_refused(&Hostile { before: "(import \"url=<a\\1b[31mb>\" (func))".into(), ..Hostile::default() }, |_| true);
    let many: String = (0..300).map(|n| format!("(export \"f{n}\" (core module $Guest))")).collect();
    check_refused(&field(many), |error| matches!(error, ModuleError::Structure { found: 301, max: 256, .. }));
}

/// Each level of a type has the one below twice: as text it would have 2^15 parts.
#[test]
fn a_type_without_end_is_named_by_its_beginning() {
    let level = |level: usize| format!("(type $t{level} (result $t{} (error $t{})))", level - 1, level - 1);
    let types: String = (1..15).map(level).collect();
    let guest = format!(
        r#"(component (type $t0 (result u8 (error u8))) {types}
        (core module $m (memory (export "memory") 1) (func (export "f") (param i32 i32) (result i32) unreachable)
          (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
        (core instance $i (instantiate $m))
        (func $f (param "setup" (list $t14)) (result (result (error string)))
          (canon lift (core func $i "f") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
        (instance $e (export "init" (func $f)) (export "process" (func $f)))
        (export "sandbar:transform/transform@0.1.0" (instance $e)))"#
    );
    let started = Instant::now();
    let bytes = wat::parse_str(&guest).expect("valid text");
    let refused = modules().check(None, &bytes).expect_err("refused").to_string();
    assert!(refused.contains("its init is func(list<result<") && refused.len() < 2 * TEXT_BYTES_MAX, "{refused}");
    assert!(started.elapsed() < TIME_MAX, "{:?}", started.elapsed());
}

/// Messages of any size are cut, escaped, and cost the host no more than a call may return.
#[test]
fn messages_are_cut_where_they_leave() {
    // An error of `length` bytes of `fill`.
    let body = |length: usize, fill: u8| {
        format!(
            "(local $at i32) (local.set $at (call $alloc (i32.const {length})))
             (memory.fill (local.get $at) (i32.const {fill}) (i32.const {length}))
             (call $err (local.get $at) (i32.const {length}))"
        )
    };
    let short = |text: &str| (1..=TEXT_BYTES_MAX).contains(&text.len()) && !text.contains('\x1b');
    for fill in [b'x', 0x1b] {
        let init = |length| instance(&Hostile::init(body(length, fill)), "256MiB").err().expect("refused");
        let error = init(MIB);
        assert!(matches!(&error, GuestError::Init(text) if short(text)), "{error:?}");
        // Larger than `init` may return, which is far below the guest's memory.
        let error = init(130 * MIB);
        assert!(matches!(&error, GuestError::Output { limit: true, message } if short(message)), "{error:?}");
        let error = failed(&Hostile::process(body(MIB, fill)), "256MiB");
        assert!(matches!(&error, GuestError::Returned(text) if short(text)), "{error:?}");
    }
    // Panics of a Rust guest are lines of its log.
    let panic = "(call $log (i32.const 3) (i32.const 0) (i32.const 60000)) unreachable";
    let error = failed(&Hostile::process(panic), "8MiB");
    assert!(matches!(&error, GuestError::Trapped { message, .. } if short(message)), "{error:?}");
}

/// Many failures may have one long message: all messages together are bounded.
#[test]
fn messages_of_failures_are_bounded_together() {
    let guest = Hostile::process("(call $failed (i32.const 400) (i32.const 4096) (i32.const 60000))");
    let mut guest = instance(&guest, "64MiB").expect("an instance");
    let output = guest.process(&batch(&["a"; 400]), CALL, &mut KeyedState::default()).expect("failures are an output");
    assert_eq!(output.failures.len(), 400);
    let bytes: usize = output.failures.iter().map(|failure| failure.message.capacity()).sum();
    assert!(bytes <= MIB, "{bytes}");
    assert!(output.failures.iter().all(|failure| failure.message.len() <= TEXT_BYTES_MAX));
}

// === Outputs ===

#[test]
fn records_and_headers_without_bytes_go_over_a_limit() {
    for headers in [5_000, 500_000, 7_500_000] {
        let started = Instant::now();
        let guest = Hostile::process(format!("(call $one (i32.const {headers}))"));
        let limits = json!({ "limits": { "memory": "256MiB", "batch_time": "2s" } });
        let mut bench = Bench::of(&guest.build(), &spec(json!({}), limits), KeyedState::default(), |_| {});
        bench.offer(&["a"]).run();
        assert_eq!(bench.dead_letters().iter().map(|dead| dead.1).collect::<Vec<_>>(), ["E105"], "{headers}");
        assert!(started.elapsed() < TIME_MAX, "{:?}", started.elapsed());
    }
    // One within the limits is put out.
    let guest = Hostile::process("(call $one (i32.const 100))");
    let mut bench = Bench::of(&guest.build(), &spec(json!({}), json!({})), KeyedState::default(), |_| {});
    bench.offer(&["a"]).run();
    assert_eq!(bench.session.sent.iter().map(|sent| sent.headers.len()).collect::<Vec<_>>(), [100]);
    assert!(bench.stats.held_bytes() >= 3200, "{}", bench.stats.held_bytes());
}

// === Memory ===

/// `limits.memory` holds everything, from the sizes that an instance begins with.
#[test]
fn all_memory_of_an_instance_counts() {
    let memory = |guest: &Hostile, limit: &str| instance(guest, limit).map(|guest| guest.memory_bytes());
    let plain = memory(&Hostile::default(), "1MiB").expect("it fits");
    assert!((4 * 65_536..5 * 65_536).contains(&plain), "{plain}");
    let pages = |pages: &str| Hostile { memory: pages.into(), ..Hostile::default() };
    assert_eq!(memory(&pages("8"), "1MiB"), Ok(plain + 4 * 65_536));
    let tables = Hostile::module("(table 10000 funcref) (table 5000 20000 funcref)");
    let with_tables = memory(&tables, "1MiB").expect("it fits");
    assert!((plain + 120_000..plain + 121_000).contains(&with_tables), "{with_tables}");
    let over = |guest: &Hostile, limit: &str| {
        let refused = instance(guest, limit).err();
        assert!(matches!(refused, Some(GuestError::Trapped { kind: TrapKind::Memory, .. })), "{refused:?}");
    };
    over(&pages("17"), "1MiB");
    over(&pages("65536"), "64MiB");
    over(&Hostile::module("(table 100000 funcref) (table 100000 funcref)"), "1MiB");
    // Instances of a module with many globals: a few kilobytes of a module.
    let globals = "(global i64 (i64.const 0))".repeat(1800);
    let instances = |count: usize| {
        let after = format!("(core module $g {globals}) {}", "(core instance (instantiate $g))".repeat(count));
        Hostile { after, ..Hostile::default() }
    };
    let one = memory(&instances(1), "1MiB").expect("it fits") - plain;
    assert!(one >= 1800 * 16, "{one}");
    assert_eq!(memory(&instances(70), "4MiB"), Ok(plain + 70 * one));
    over(&instances(70), "1MiB");
}

/// A memory grows to the limit itself and not beyond, and asks for no sum that wraps.
#[test]
fn growth_ends_at_the_limit() {
    // Grows by `$pages` until it fails, then says how many pages it has by its output's first offset.
    let grow = |pages: u64| {
        Hostile::process(format!(
            "(block $full (loop $more (br_if $full (i32.eq (memory.grow (i32.const {})) (i32.const -1))) (br $more)))
             (call $ok)",
            pages as u32 as i32
        ))
    };
    for (pages, limit, mib) in [(1, "8MiB", 8), (7, "8MiB", 8), (65_535, "64MiB", 64), (u64::from(u32::MAX), "64MiB", 64)] {
        let mut guest = instance(&grow(pages), limit).expect("an instance");
        guest.process(&batch(&["a"]), CALL, &mut KeyedState::default()).expect("it goes on without");
        assert!(guest.memory_bytes() <= mib * MIB, "{pages}: {}", guest.memory_bytes());
        if pages == 1 {
            assert!(guest.memory_bytes() > mib * MIB - 65_536, "{}", guest.memory_bytes());
        }
    }
    let table = Hostile {
        process:
            "(loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)))) (call $ok)"
                .into(),
        ..Hostile::module("(table $t 0 funcref)")
    };
    let mut guest = instance(&table, "2MiB").expect("an instance");
    guest.process(&batch(&["a"]), CALL, &mut KeyedState::default()).expect("it goes on without");
    assert!((2 * MIB - 8000..=2 * MIB).contains(&guest.memory_bytes()), "{}", guest.memory_bytes());
    // A memory's own maximum is the module's matter: nothing is counted for what it refuses.
    let own = Hostile { memory: "4 4".into(), ..grow(1) };
    let mut guest = instance(&own, "2MiB").expect("an instance");
    let before = guest.memory_bytes();
    guest.process(&batch(&["a"]), CALL, &mut KeyedState::default()).expect("it goes on without");
    assert_eq!(guest.memory_bytes(), before);
}

/// Proposals that nobody's compiler needs are off.
#[test]
fn proposals_that_nothing_needs_are_refused() {
    let refused = |module: &str| {
        let after = format!("(core module $x {module})");
        let refused = modules().check(None, &Hostile { after, ..Hostile::default() }.build());
        let is_refused = matches!(refused, Err(ModuleError::Invalid(_) | ModuleError::Structure { .. }));
        assert!(is_refused, "{module}: {refused:?}");
    };
    refused("(memory i64 1)");
    refused("(memory i64 0 0x1000000000000)");
    refused("(table i64 1 funcref)");
    refused("(memory 1) (memory 1)");
    refused("(import \"a\" \"m\" (memory 1)) (import \"a\" \"n\" (memory 1))");
    refused("(memory 1 1 shared)");
    refused("(memory 1 (pagesize 1))");
    refused("(func (return_call 0))");
    refused("(type (struct (field i32)))");
    refused("(tag)");
    refused("(func (param v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 0)))");
    refused("(type $f (func)) (func (param (ref $f)))");
    refused(
        "(func (param i64 i64 i64 i64) (result i64 i64) (i64.add128 (local.get 0) (local.get 1) (local.get 2) (local.get 3)))",
    );
}

/// A component within another calls it, with strings: wasmtime's own adapter between the two uses both their memories.
#[test]
fn components_within_a_component_are_connected() {
    let inner = |name: &str, imports: &str, body: &str| {
        format!(
            r#"(component ${name} {imports}
          (core module $m (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
            (func (export "f") (param i32 i32) {body}))
          (core instance $i (instantiate $m))
          (func (export "f") (param "text" string)
            (canon lift (core func $i "f") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#
        )
    };
    let caller = r#"(component $caller (import "f" (func $f (param "text" string)))
          (core module $memory (memory (export "memory") 1))
          (core instance $mem (instantiate $memory))
          (core func $lowered (canon lower (func $f) (memory (core memory $mem "memory"))))
          (core module $m (import "e" "f" (func $f (param i32 i32))) (func $s (call $f (i32.const 0) (i32.const 5))) (start $s))
          (core instance (instantiate $m (with "e" (instance (export "f" (func $lowered)))))))"#;
    let after = |body: &str| {
        let callee = inner("callee", "", body);
        format!(
            "{callee} {caller} (instance $c (instantiate $callee)) (instance (instantiate $caller (with \"f\" (func $c \"f\"))))"
        )
    };
    let guest = Hostile { after: after(""), ..Hostile::default() };
    instance(&guest, "1MiB").expect("an instance");
    let trap = Hostile { after: after("unreachable"), ..Hostile::default() };
    check_refused(&trap, |error| matches!(error, ModuleError::Trap(_)));
}

/// Each linear memory reserves address space: a used-up budget refuses an instance, and has room again when one goes.
#[test]
fn address_space_is_a_budget() {
    let modules = modules_with(ModuleOptions { address_space_bytes_max: 9 << 30, ..ModuleOptions::default() });
    let module = Hostile::default().build();
    let make = || instance_of(&modules, &module, json!({}));
    let first = make().expect("there is room");
    let second = make().expect("there is room");
    let refused = make().err().expect("there is none left");
    assert!(matches!(&refused, GuestError::Host(text) if text.contains("guest_address_space_max")), "{refused:?}");
    let spec = spec(json!({}), json!({}));
    assert!(matches!(modules.try_init(&spec, &module), Err(ModuleError::Host(_))));
    drop(first);
    let third = make().expect("it was given back");
    drop((second, third));
    modules.try_init(&spec, &module).expect("there is room");
    // One that could not be made gives back its share too.
    for _ in 0..10 {
        instance_of(&modules, &Hostile::init("unreachable").build(), json!({})).err().expect("it traps");
    }
    make().expect("there is room");
}

/// The memory of all instances is a budget of the host. A guest that gets none is not to blame, also if it goes on without:
/// its output could be another one.
#[test]
fn the_memory_of_all_instances_is_a_budget() {
    const GREEDY: &str = "(drop (memory.grow (i32.const 320))) (call $ok)";
    let modules = modules_with(ModuleOptions { memory_bytes_max: 32 << 20, ..ModuleOptions::default() });
    let make = || instance_of(&modules, &Hostile::process(GREEDY).build(), json!({ "memory": "64MiB" }));
    let call = |guest: &mut dyn Guest| guest.process(&batch(&["a"]), CALL, &mut KeyedState::default());
    let mut first = make().expect("there is room");
    call(&mut *first).expect("there is room for 20 MiB");
    let mut second = make().expect("there is room for a small instance");
    let refused = call(&mut *second).expect_err("there is none left");
    assert!(matches!(&refused, GuestError::Host(text) if text.contains("guest_memory_max")), "{refused:?}");
    drop((first, second));
    call(&mut *make().expect("there is room")).expect("it was given back");
}

/// A host that has no memory for a guest blames no record: the transaction is aborted, and tried again.
#[test]
fn a_host_without_memory_blames_no_record() {
    struct Short;
    impl GuestFactory for Short {
        fn instantiate(&self) -> Result<Box<dyn Guest>, GuestError> {
            Ok(Box::new(Self))
        }
    }
    impl Guest for Short {
        fn process(&mut self, _: &Batch, _: Call, _: &mut KeyedState) -> Result<Output, GuestError> {
            Err(GuestError::Host("the system gave no memory".into()))
        }
        fn tick(&mut self, _: Call, _: &mut KeyedState) -> Result<Output, GuestError> {
            Err(GuestError::Host("the system gave no memory".into()))
        }
        fn memory_bytes(&self) -> usize {
            0
        }
    }
    let mut bench = Bench::of(&Hostile::default().build(), &spec(json!({}), json!({})), KeyedState::default(), |_| {});
    let settings = bench.revision.settings.clone();
    let observer = bench.revision.observer.clone();
    let revision = Arc::new(RunnableRevision { settings, guests: Arc::new(Short), observer });
    bench.task.swap(revision, None, false);
    bench.offer(&["a", "b"]);
    let stepped = bench.try_step();
    assert!(matches!(&stepped, Err(SessionError::Withheld { message, .. }) if message.contains("no memory")), "{stepped:?}");
    assert!(bench.session.sent.is_empty() && bench.task.next_offset() == 0);
}

// === Entry points ===

/// Whatever the guest does in it, an entry point ends in time, with an error of its owner's.
#[test]
fn every_entry_point_ends() {
    let forever = "(loop $l (br $l))";
    let timeout = |error: &ModuleError| matches!(error, ModuleError::Timeout(_));
    let trap = |error: &ModuleError| matches!(error, ModuleError::Trap(_));
    let start = |body: &str| Hostile::module(format!("(func $s {body}) (start $s)"));
    check_refused(&start(forever), timeout);
    check_refused(&start("unreachable"), trap);
    check_refused(&start("(call $s)"), trap);
    let late = Hostile { process: format!("{forever} unreachable"), ..Hostile::default() };
    let limits = json!({ "memory": "8MiB", "batch_time": "100ms" });
    let error = instance_of(modules(), &late.build(), limits)
        .expect("an instance")
        .process(&batch(&["a"]), CALL, &mut KeyedState::default())
        .expect_err("it never ends");
    assert!(matches!(error, GuestError::Trapped { kind: TrapKind::Timeout, .. }), "{error:?}");
    check_refused(&Hostile::init(format!("{forever} unreachable")), timeout);
    let realloc = |body: &str| Hostile { realloc: body.into(), ..Hostile::default() };
    check_refused(&realloc(&format!("{forever} unreachable")), timeout);
    check_refused(&realloc("unreachable"), trap);
    for garbage in
        ["(i32.const -1)", "(i32.const 0x7fffffff)", "(i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1))"]
    {
        check_refused(&realloc(garbage), trap);
    }
    let post = |body: &str| Hostile { post: body.into(), ..Hostile::default() };
    check_refused(&post(forever), timeout);
    check_refused(&post("unreachable"), trap);
    // A result that is nowhere, and one that is no result.
    for result in ["(i32.const -16)", "(i32.const 1)", "(i32.store8 (i32.const 16) (i32.const 7)) (i32.const 16)"] {
        check_refused(&Hostile::init(result), trap);
    }
    // A call of the host from where none may be made.
    check_refused(&post("(call $log (i32.const 1) (i32.const 0) (i32.const 1))"), trap);
    check_refused(&realloc("(call $log (i32.const 1) (i32.const 0) (i32.const 1)) (call $alloc (local.get 3))"), trap);
    check_refused(&Hostile::init("(call $log (i32.const 9) (i32.const 0) (i32.const 1)) (call $ok)"), trap);
    check_refused(&Hostile::init("(call $log (i32.const 1) (i32.const -1) (i32.const -1)) (call $ok)"), trap);
    let kind = |body: &str| match failed(&Hostile::process(body), "8MiB") {
        GuestError::Trapped { kind, .. } => kind,
        other => panic!("{other:?}"),
    };
    assert_eq!(kind("unreachable"), TrapKind::Trap);
    assert_eq!(kind("(loop $l (drop (call $alloc (i32.const 65536))) (br $l)) unreachable"), TrapKind::Memory);
}

/// A string that reaches beyond the bytes that a call may return, again and again over the same bytes.
#[test]
fn what_a_call_returns_is_bounded_before_it_is_copied() {
    let started = Instant::now();
    // 60,000 failures of 60 kB each: 3.6 GB of a guest of 2 MiB.
    let guest = Hostile::process("(call $failed (i32.const 60000) (i32.const 4096) (i32.const 60000))");
    let error = failed(&guest, "64MiB");
    assert!(matches!(error, GuestError::Output { limit: true, .. }), "{error:?}");
    let log = Hostile::process("(call $log (i32.const 1) (i32.const 0) (i32.const 60000000)) (call $ok)");
    let log = Hostile { memory: "1000".into(), ..log };
    let error = failed(&log, "128MiB");
    assert!(matches!(error, GuestError::Output { limit: true, .. }), "{error:?}");
    assert!(started.elapsed() < TIME_MAX, "{:?}", started.elapsed());
}
