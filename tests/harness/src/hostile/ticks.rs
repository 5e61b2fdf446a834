//! Modules that act between records. A tick that fails changes nothing: their records are processed all the same.

use serde_json::json;

use super::processing::{EAT_MEMORY, RECURSE, SPIN};
use super::{Case, Component, Entry, Resource, Rule};

pub fn cases() -> Vec<Case> {
    let case = |name, resource, module: Component| {
        let case = Case::new(name, (Entry::Tick, resource), Rule::Runs, module.bytes());
        case.with(json!({"tick": "1s"}))
    };
    let ticking = |body: &str| Component::new().tick(body.to_owned() + "(i32.const 1024)");
    vec![
        case("tick-spins", Resource::Cpu, ticking(SPIN)),
        case("tick-recurses", Resource::Stack, ticking("(call $down)").fields(RECURSE)),
        case("tick-eats-memory", Resource::LinearMemory, ticking(EAT_MEMORY)),
        case("tick-traps", Resource::Contract, ticking("unreachable")),
        case("tick-names-a-source", Resource::Outputs, Component::new().tick(OUTPUT_OF_ROW_7)),
        case("tick-large-error", Resource::Text, Component::new().memory("300").tick(LARGE_ERROR)),
        case("tick-logs", Resource::Logs, Component::new().importing("log").tick(FLOOD)),
    ]
}

const OUTPUT_OF_ROW_7: &str = "
    (memory.fill (i32.const 2048) (i32.const 0) (i32.const 128))
    (memory.fill (i32.const 2304) (i32.const 7) (i32.const 64))
    (i32.store (i32.const 2060) (i32.const 2304)) (i32.store (i32.const 2064) (i32.const 1))
    (i32.store (i32.const 2068) (i32.const 2304)) (i32.store (i32.const 2072) (i32.const 1))
    (i32.store (i32.const 2084) (i32.const 2304)) (i32.store (i32.const 2088) (i32.const 2))
    (i32.store (i32.const 2092) (i32.const 2304)) (i32.store (i32.const 2096) (i32.const 2))
    (i32.const 2048)";

const LARGE_ERROR: &str = "
    (i32.store (i32.const 16) (i32.const 1))
    (i32.store (i32.const 20) (i32.const 65536))
    (i32.store (i32.const 24) (i32.const 19000000))
    (i32.const 16)";

const FLOOD: &str = "
    (local $i i32)
    (loop $again
      (call $log (i32.const 2) (i32.const 8192) (i32.const 4096))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 5000))))
    (i32.const 1024)";
