//! Modules that behave until they are given a record: CPU, memory, text, logs, outputs.

use serde_json::json;

use super::names::exponential_name;
use super::{Case, Component, Entry, Resource, Rule};

/// Never ends.
pub const SPIN: &str = "(loop $spin (br $spin))";
/// Ends after some seconds.
pub const COUNT_UP: &str = "(global.set $top (i32.const 0))
    (loop $count (global.set $top (i32.add (global.get $top) (i32.const 1)))
      (br_if $count (i32.lt_u (global.get $top) (i32.const 4000000000))))";
/// A function `$down` that calls itself.
pub const RECURSE: &str = "(func $down (call $down) (call $down))";
/// Grows the memory up to its limit, writes to all of it, and traps.
pub const EAT_MEMORY: &str = "
    (loop $more
      (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
      (memory.fill (i32.mul (i32.sub (memory.size) (i32.const 16)) (i32.const 65536)) (i32.const 7) (i32.const 1048576))
      (br $more))";

/// Text of ESC, OSC, a forged line, DEL, and a C1 control.
const CONTROLS: &str = r"\1b[2J\1b[31mERASED\1b]0;owned\07\0d\0a2026-11-26T00:00:00Z ERROR forged line\7f\c2\9b31m";

pub fn cases() -> Vec<Case> {
    let record = |name, resource, codes, module: Component| {
        Case::new(name, (Entry::Process, resource), Rule::Record(codes), module.bytes())
    };
    let runs = |name, resource, module: Component| Case::new(name, (Entry::Process, resource), Rule::Runs, module.bytes());
    let returning = |body: &str| Component::new().process(body.to_owned() + "(i32.const 1024)");
    vec![
        record("spins", Resource::Cpu, &["E103"], returning(SPIN)),
        runs("just-in-time", Resource::Cpu, returning(BUSY)).limits(json!({"batch_time": "1s"})),
        record("recurses", Resource::Stack, &["E102"], returning("(call $down)").fields(RECURSE)),
        record("traps-under-a-name", Resource::Names, &["E102"], {
            returning("unreachable").process_name(&exponential_name())
        }),
        record("eats-memory", Resource::LinearMemory, &["E102", "E103", "E104"], returning(EAT_MEMORY)),
        record("grows-a-table", Resource::Tables, &["E102", "E103", "E104"], grows_a_table()),
        record("a-large-error", Resource::Text, &["E101", "E102", "E104", "E105"], error(30_000_000)),
        record("an-error-of-controls", Resource::Text, &["E101"], {
            error(80).fields(format!(r#"(data (i32.const 131072) "{CONTROLS}")"#))
        }),
        record("large-failures", Resource::Text, &["E101", "E102", "E105", "E106"], failures(400, 300_000)),
        record("failures-out-of-order", Resource::Contract, &["E106"], failures(2, 10)),
        runs(
            "floods-the-log",
            Resource::Logs,
            logs(
                "(loop $again",
                LOG,
                "(br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))))",
            ),
        )
        .limits(json!({"batch_time": "5s", "log_lines_per_second": 10000})),
        runs(
            "a-long-line",
            Resource::Logs,
            logs(
                "(memory.fill (i32.const 131072) (i32.const 120) (i32.const 131072))",
                "(call $log (i32.const 1) (i32.const 131072) (i32.const 131072))",
                "",
            ),
        ),
        runs(
            "a-line-of-controls",
            Resource::Logs,
            logs("", "(call $log (i32.const 1) (i32.const 4096) (i32.const 80))", ""),
        ),
        record("a-level-that-is-none", Resource::Logs, &["E102"], {
            logs("", "(call $log (i32.const 9) (i32.const 4096) (i32.const 80))", "")
        }),
        record("many-outputs", Resource::Outputs, &["E105", "E106"], outputs(200_000, 0)),
        record("one-large-output", Resource::Outputs, &["E105", "E107"], outputs(1, 24_000_000)),
        record("overlapping-outputs", Resource::Outputs, &["E105"], outputs(60, 20_000_000)),
        record("many-headers", Resource::Headers, &["E105", "E106", "E107"], headers(7_500_000, 7_500_000))
            .limits(json!({"memory": "256MiB", "batch_time": "2s"})),
        record("more-headers-than-there-are", Resource::Headers, &["E106"], headers(1, u32::MAX)),
    ]
}

/// Some 300 ms of work.
const BUSY: &str = "
    (i64.store (i32.const 2048) (i64.const 0))
    (loop $work
      (i64.store (i32.const 2048) (i64.add (i64.load (i32.const 2048)) (i64.const 1)))
      (br_if $work (i64.lt_u (i64.load (i32.const 2048)) (i64.const 50000000))))";

const LOG: &str = "(call $log (i32.const 1) (i32.const 8192) (i32.const 4096))";

/// Logs, then filters.
fn logs(before: &str, call: &str, after: &str) -> Component {
    let body = format!("(local $i i32) {before} {call} {after} (global.set $top (i32.const 65536)) (i32.const 1024)");
    let data = format!(r#"(data (i32.const 4096) "{CONTROLS}")"#);
    Component::new().importing("log").fields(data).process(body)
}

fn grows_a_table() -> Component {
    Component::new()
        .fields("(table $grown 1 funcref)")
        .process("(loop $more (br_if $more (i32.ne (table.grow $grown (ref.null func) (i32.const 4096)) (i32.const -1)))) unreachable")
}

/// Returns an error of `length` bytes.
fn error(length: u32) -> Component {
    Component::new().process(format!(
        "(local $at i32)
         (local.set $at (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const {length})))
         (if (i32.gt_u (i32.const {length}) (i32.const 1000)) (then
           (memory.fill (local.get $at) (i32.const 27) (i32.const {length}))) (else (local.set $at (i32.const 131072))))
         (i32.store (i32.const 16) (i32.const 1))
         (i32.store (i32.const 20) (local.get $at))
         (i32.store (i32.const 24) (i32.const {length}))
         (i32.const 16)"
    ))
}

/// Stores `value` at `offset` of the result, which is at 2048.
fn set(offset: u32, value: &str) -> String {
    format!("(i32.store (i32.const {}) {value}) ", 2048 + offset)
}

/// The places of an output's columns in a result: a pointer, then a length.
const DATA: u32 = 4;
const TARGETS: u32 = 12;
const SOURCES: u32 = 20;
const KEYS: u32 = 36;
const VALUES: u32 = 44;
const HEADER_COUNTS: u32 = 52;
const HEADERS: u32 = 60;
const FAILURES: u32 = 68;

fn column(offset: u32, pointer: &str, length: u32) -> String {
    set(offset, pointer) + &set(offset + 4, &format!("(i32.const {length})"))
}

fn allocated(local: &str, bytes: u64) -> String {
    format!("(local.set {local} (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const {bytes}))) ")
}

/// Failures whose rows are all 0, each with a message of the same `length` bytes.
fn failures(count: u32, length: u32) -> Component {
    let body = String::from(
        "(local $list i32) (local $text i32) (local $i i32) (memory.fill (i32.const 2048) (i32.const 0) (i32.const 128)) ",
    ) + &allocated("$list", u64::from(count) * 12)
        + &allocated("$text", u64::from(length))
        + &format!(
            "(memory.fill (local.get $text) (i32.const 120) (i32.const {length}))
             (loop $next
               (i32.store (i32.add (local.get $list) (i32.mul (local.get $i) (i32.const 12))) (i32.const 0))
               (i32.store offset=4 (i32.add (local.get $list) (i32.mul (local.get $i) (i32.const 12))) (local.get $text))
               (i32.store offset=8 (i32.add (local.get $list) (i32.mul (local.get $i) (i32.const 12))) (i32.const {length}))
               (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {count})))) "
        )
        + &column(FAILURES, "(local.get $list)", count)
        + "(global.set $top (i32.const 65536)) (i32.const 2048)";
    Component::new().process(body)
}

/// Outputs of the first row, each with the same value of `length` bytes and no key.
fn outputs(count: u32, length: u32) -> Component {
    let spans = u64::from(count) * 8;
    let body = String::from(
        "(local $zeros i32) (local $nulls i32) (local $spans i32) (local $data i32) (local $i i32) (local $base i32)
         (local.set $base (i32.load offset=44 (local.get $batch)))
         (memory.fill (i32.const 2048) (i32.const 0) (i32.const 128)) ",
    ) + &allocated("$zeros", u64::from(count) * 4)
        + &allocated("$nulls", spans)
        + &allocated("$spans", spans)
        + &allocated("$data", u64::from(length))
        + &format!(
            "(memory.fill (local.get $zeros) (i32.const 0) (i32.const {zeros}))
             (memory.fill (local.get $nulls) (i32.const 255) (i32.const {spans}))
             (loop $next
               (i32.store (i32.add (local.get $spans) (i32.mul (local.get $i) (i32.const 8))) (local.get $base))
               (i32.store offset=4 (i32.add (local.get $spans) (i32.mul (local.get $i) (i32.const 8)))
                 (i32.add (local.get $base) (i32.const {length})))
               (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {count})))) ",
            zeros = u64::from(count) * 4
        )
        + &column(DATA, "(local.get $data)", length)
        + &column(TARGETS, "(local.get $zeros)", count)
        + &column(SOURCES, "(local.get $zeros)", count)
        + &column(KEYS, "(local.get $nulls)", 2 * count)
        + &column(VALUES, "(local.get $spans)", 2 * count)
        + "(global.set $top (i32.const 65536)) (i32.const 2048)";
    Component::new().process(body)
}

/// One output of the first row, with headers whose names are empty and whose values are null, and a count of them.
fn headers(count: u32, counted: u32) -> Component {
    let body = String::from(
        "(local $list i32) (local $i i32) (local $base i32)
         (local.set $base (i32.load offset=44 (local.get $batch)))
         (memory.fill (i32.const 2048) (i32.const 0) (i32.const 128))
         (memory.fill (i32.const 2304) (i32.const 0) (i32.const 64))
         (memory.fill (i32.const 2368) (i32.const 255) (i32.const 64)) ",
    ) + &allocated("$list", u64::from(count) * 16)
        + &format!(
            "(i32.store (i32.const 2432) (i32.const {counted}))
             (loop $next
               (i32.store (i32.add (local.get $list) (i32.mul (local.get $i) (i32.const 16))) (local.get $base))
               (i32.store offset=4 (i32.add (local.get $list) (i32.mul (local.get $i) (i32.const 16))) (local.get $base))
               (i64.store offset=8 (i32.add (local.get $list) (i32.mul (local.get $i) (i32.const 16))) (i64.const -1))
               (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {count})))) "
        )
        + &column(TARGETS, "(i32.const 2304)", 1)
        + &column(SOURCES, "(i32.const 2304)", 1)
        + &column(KEYS, "(i32.const 2368)", 2)
        + &column(VALUES, "(i32.const 2368)", 2)
        + &column(HEADER_COUNTS, "(i32.const 2432)", 1)
        + &column(HEADERS, "(local.get $list)", 4 * count)
        + "(global.set $top (i32.const 65536)) (i32.const 2048)";
    Component::new().process(body)
}
