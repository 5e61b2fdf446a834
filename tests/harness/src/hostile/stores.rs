//! Modules that turn against the objects that the host keeps for them: stores, and the handles to them.

use serde_json::json;

use super::{Case, Component, Entry, Resource, Rule};

/// Opens the store of the spec: its handle is at 2052.
const OPEN: &str = "(call $open (i32.const 4096) (i32.const 5) (i32.const 2048))";
const STORE: &str = "(i32.load (i32.const 2052))";
const DONE: &str = "(global.set $top (i32.const 65536)) (i32.const 1024)";

pub fn cases() -> Vec<Case> {
    let case = |name, resource, codes, body: String| {
        let module = Component::new().importing("state").memory("200").fields(r#"(data (i32.const 4096) "store")"#);
        let case = Case::new(name, (Entry::Process, resource), Rule::Record(codes), module.process(body).bytes());
        case.with(json!({"state": {"store": {"max_bytes": "1MiB", "store": "memory"}}}))
    };
    let endless = |call: &str| format!("(local $i i32) {OPEN} (loop $again {call} (br $again)) unreachable");
    let count = "(local.set $i (i32.add (local.get $i) (i32.const 1))) (i32.store (i32.const 8192) (local.get $i))";
    vec![
        case("puts-one-large-value", Resource::State, &["E108"], {
            format!(
                "{OPEN} (call $put {STORE} (i32.const 8192) (i32.const 4) (i32.const 65536) (i32.const 12000000)) {DONE}"
            )
        }),
        case("puts-many-entries", Resource::State, &["E103", "E108"], {
            endless(&format!("{count} (call $put {STORE} (i32.const 8192) (i32.const 4) (i32.const 8192) (i32.const 4))"))
        }),
        case("puts-empty-entries", Resource::State, &["E103", "E108"], {
            endless(&format!("{count} (call $put {STORE} (i32.const 8192) (i32.const 4) (i32.const 8192) (i32.const 0))"))
        }),
        case("puts-a-long-key", Resource::State, &["E102", "E108"], {
            format!("{OPEN} (call $put {STORE} (i32.const 65536) (i32.const 8000000) (i32.const 8192) (i32.const 4)) {DONE}")
        }),
        case("scans-without-end", Resource::State, &["E102", "E103", "E104", "E105"], {
            endless(&format!(
                "(call $scan {STORE} (i32.const 8192) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)
                 (i32.const 2064))"
            ))
        }),
        case("gets-with-a-long-key", Resource::State, &["E102", "E103", "E105"], {
            endless(&format!("(call $get {STORE} (i32.const 65536) (i32.const 12000000) (i32.const 2064))"))
        }),
        case("opens-without-end", Resource::Handles, &["E102"], endless(OPEN)),
        case("opens-a-long-name", Resource::Handles, &["E102", "E103", "E104", "E105"], {
            endless(
                "(memory.fill (i32.const 65536) (i32.const 120) (i32.const 8000000))
                     (call $open (i32.const 65536) (i32.const 8000000) (i32.const 2048))",
            )
        }),
        case("uses-a-handle-that-is-none", Resource::Handles, &["E102"], {
            format!("(call $put (i32.const 77) (i32.const 8192) (i32.const 4) (i32.const 8192) (i32.const 4)) {DONE}")
        }),
    ]
}
