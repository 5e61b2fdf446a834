//! Modules that act while an instance of them is made, and in `init`.

use super::names::exponential_name;
use super::processing::{COUNT_UP, EAT_MEMORY, RECURSE, SPIN};
use super::{Case, Component, Entry, Resource, Rule};

pub fn cases() -> Vec<Case> {
    let start = |name, resource, codes, module: Component| {
        Case::new(name, (Entry::Start, resource), Rule::Instance(codes), module.bytes())
    };
    let upload = |name, resource, module: Component| {
        let rule = Rule::Upload(&["E016", "E018", "E044", "E056"]);
        Case::new(name, (Entry::Start, resource), rule, module.bytes())
    };
    let init = |name, resource, codes, module: Component| {
        Case::new(name, (Entry::Init, resource), Rule::Instance(codes), module.bytes())
    };
    let starting = |body: &str| Component::new().fields(format!("(func $go {body}) (start $go)"));
    vec![
        start("start-spins", Resource::Cpu, &["E103"], starting(SPIN)),
        start("start-recurses", Resource::Stack, &["E102"], Component::new().fields(format!("{RECURSE} (start $down)"))),
        start("start-traps", Resource::Names, &["E102"], named_start()),
        start("start-eats-memory", Resource::LinearMemory, &["E102", "E103", "E104"], starting(EAT_MEMORY)),
        start("large-memory", Resource::LinearMemory, &["E102", "E103", "E104"], Component::new().memory("8192")),
        start("data-out-of-bounds", Resource::Contract, &["E102"], Component::new().fields(r#"(data (i32.const -1) "x")"#)),
        upload("globals-many-times", Resource::Globals, globals_many_times()),
        upload("instances-many-times", Resource::Instances, many_times("(core module $Small)", "$Small", 5_000)),
        upload("memories-many-times", Resource::AddressSpace, many_times("(core module $Small (memory 1))", "$Small", 60)),
        upload(
            "tables-many-times",
            Resource::Tables,
            many_times("(core module $Small (table 190000 funcref))", "$Small", 60),
        ),
        start(
            "a-large-table",
            Resource::Tables,
            &["E102", "E103", "E104"],
            Component::new().fields("(table 100000000 funcref)"),
        ),
        init("init-spins", Resource::Cpu, &["E103"], Component::new().init(SPIN.to_owned() + "unreachable")),
        init("init-counts", Resource::Cpu, &["E103"], Component::new().init(COUNT_UP.to_owned() + "(i32.const 1024)"))
            .limits(serde_json::json!({"batch_time": "50ms"})),
        init("init-recurses", Resource::Stack, &["E102"], recursing_init()),
        init("init-traps-under-a-name", Resource::Names, &["E102"], {
            Component::new().init("unreachable").init_name(&exponential_name())
        }),
        init("init-eats-memory", Resource::LinearMemory, &["E102", "E103", "E104"], {
            Component::new().init(EAT_MEMORY.to_owned() + "(i32.const 1024)")
        }),
        init("init-large-error", Resource::Text, &["E019", "E102", "E104", "E105"], large_init_error())
            .limits(serde_json::json!({"memory": "256MiB", "batch_time": "2s"})),
        init(
            "init-control-characters",
            Resource::Text,
            &["E019"],
            init_error("\\1b[2J\\1b]0;owned\\07\\0d\\0aforged \\c2\\9b31m", 30),
        ),
        init("init-error-is-no-text", Resource::Text, &["E102"], init_error("\\ff\\fe\\80", 3)),
        init("init-logs", Resource::Logs, &["E103"], {
            let flood = "(loop $again (call $log (i32.const 3) (i32.const 4096) (i32.const 4000)) (br $again)) unreachable";
            Component::new().importing("log").init(flood)
        }),
        init("init-opens", Resource::Handles, &["E102", "E103"], {
            let open = "(loop $again (call $open (i32.const 4096) (i32.const 5) (i32.const 2048)) (br $again)) unreachable";
            Component::new().importing("state").fields(r#"(data (i32.const 4096) "store")"#).init(open)
        })
        .with(serde_json::json!({"state": {"store": {}}})),
        init("init-result-out-of-bounds", Resource::Contract, &["E102"], Component::new().init("(i32.const -4)")),
    ]
}

/// Traps under a name that nobody may demangle.
fn named_start() -> Component {
    let name = exponential_name();
    Component::new().fields(format!("(func $\"{name}\" unreachable) (start $\"{name}\")"))
}

fn recursing_init() -> Component {
    Component::new().fields(RECURSE).init("(call $down) (i32.const 1024)")
}

/// Few bytes of code, a gigabyte of globals: one module, in many instances.
fn globals_many_times() -> Component {
    let globals = "(global (mut i64) (i64.const 0)) ".repeat(16_500);
    many_times(&format!("(core module $Small {globals})"), "$Small", 60)
}

fn many_times(module: &str, name: &str, count: usize) -> Component {
    Component::new().before(module.to_owned() + &format!("(core instance (instantiate {name})) ").repeat(count))
}

/// An error of 130 MB.
fn large_init_error() -> Component {
    Component::new().memory("2100").init(
        "(memory.fill (i32.const 131072) (i32.const 1) (i32.const 130000000))
         (i32.store (i32.const 16) (i32.const 1))
         (i32.store (i32.const 20) (i32.const 131072))
         (i32.store (i32.const 24) (i32.const 130000000))
         (i32.const 16)",
    )
}

/// An error of these bytes, in the text format's escapes.
fn init_error(text: &str, length: usize) -> Component {
    Component::new().fields(format!(r#"(data (i32.const 4096) "{text}")"#)).init(format!(
        "(i32.store (i32.const 16) (i32.const 1))
         (i32.store (i32.const 20) (i32.const 4096))
         (i32.store (i32.const 24) (i32.const {length}))
         (i32.const 16)"
    ))
}
