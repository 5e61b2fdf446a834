//! Modules that break the contract where values cross: the allocator, pointers, lengths, and the code that runs
//! afterwards.

use super::processing::{EAT_MEMORY, RECURSE, SPIN};
use super::{Case, Component, Entry, Resource, Rule};

pub fn cases() -> Vec<Case> {
    let realloc = |name, resource, codes, body: &str| {
        // The first that it is called for is the setup of `init`.
        let module = Component::new().realloc(body.to_owned() + "(i32.const 65536)");
        Case::new(name, (Entry::Realloc, resource), Rule::Instance(codes), module.bytes())
    };
    let after = |name, resource, codes, module: Component| {
        Case::new(name, (Entry::PostReturn, resource), Rule::Record(codes), module.bytes())
    };
    let process = |name, codes, body: &str| {
        let module = Component::new().process(body);
        Case::new(name, (Entry::Process, Resource::Contract), Rule::Record(codes), module.bytes())
    };
    vec![
        realloc("realloc-spins", Resource::Cpu, &["E103"], SPIN),
        realloc("realloc-recurses", Resource::Stack, &["E102"], {
            "(drop (call 0 (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1)))"
        }),
        realloc("realloc-traps", Resource::Contract, &["E102"], "unreachable"),
        realloc("realloc-eats-memory", Resource::LinearMemory, &["E102", "E103", "E104"], EAT_MEMORY),
        realloc("realloc-out-of-bounds", Resource::Contract, &["E102"], "(return (i32.const -16))"),
        realloc("realloc-unaligned", Resource::Contract, &["E102"], "(return (i32.const 65537))"),
        later("realloc-spins-later", Resource::Cpu, &["E103"], SPIN),
        later("realloc-out-of-bounds-later", Resource::Contract, &["E102"], "(return (i32.const -16))"),
        after("post-return-spins", Resource::Cpu, &["E103"], Component::new().post_process(SPIN)),
        after("post-return-recurses", Resource::Stack, &["E102"], {
            Component::new().fields(RECURSE).post_process("(call $down)")
        }),
        after("post-return-traps", Resource::Contract, &["E102"], Component::new().post_process("unreachable")),
        after("post-return-eats-memory", Resource::LinearMemory, &["E102", "E103", "E104"], {
            Component::new().post_process(EAT_MEMORY)
        }),
        Case {
            rule: Rule::Instance(&["E103"]),
            ..after("post-return-of-init-spins", Resource::Cpu, &[], Component::new().post_init(SPIN))
        },
        process("result-out-of-bounds", &["E102"], "(i32.const -4)"),
        process("result-unaligned", &["E102"], "(i32.const 1025)"),
        process("result-without-meaning", &["E102"], "(i32.store8 (i32.const 16) (i32.const 9)) (i32.const 16)"),
        process("columns-out-of-bounds", &["E102", "E105"], {
            "(memory.fill (i32.const 2048) (i32.const 0) (i32.const 128))
             (i32.store (i32.const 2052) (i32.const 65536))
             (i32.store (i32.const 2056) (i32.const -1))
             (i32.const 2048)"
        }),
        process("columns-of-other-lengths", &["E106"], {
            "(memory.fill (i32.const 2048) (i32.const 0) (i32.const 128))
             (i32.store (i32.const 2060) (i32.const 4096))
             (i32.store (i32.const 2064) (i32.const 3))
             (i32.const 2048)"
        }),
    ]
}

/// An allocator that turns against the host once `init` is over.
fn later(name: &'static str, resource: Resource, codes: &'static [&'static str], body: &str) -> Case {
    const READY: &str = "(i32.load (i32.const 512))";
    let module = Component::new()
        .realloc(format!(
            "(if {READY} (then {body}))
             (local.set $old (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16)))
             (global.set $top (i32.add (local.get $old) (local.get $size)))
             (local.get $old)"
        ))
        .init("(i32.store (i32.const 512) (i32.const 1)) (i32.const 1024)");
    Case::new(name, (Entry::Realloc, resource), Rule::Record(codes), module.bytes())
}
