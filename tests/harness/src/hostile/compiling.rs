//! Modules that are made to hurt who looks at them: the structural checks, the validator, the compiler.

use std::fmt::Write;

use super::{Case, Component, Entry, Resource, Rule};

/// Refused by the structural limits, by the validator, or by the compiler's limits: whichever it meets first.
const REFUSALS: &[&str] = &["E015", "E016", "E017", "E018", "E044", "E056"];
const REFUSED: Rule = Rule::Upload(REFUSALS);

/// Text that a line repeats, `count` times, with its number for each `@`.
fn repeated(count: usize, line: &str) -> String {
    let mut text = String::new();
    for number in 0..count {
        text.push_str(&line.replace('@', &number.to_string()));
    }
    text
}

pub fn cases() -> Vec<Case> {
    let case = |name, resource, module: Component| Case::new(name, (Entry::Compile, resource), REFUSED, module.bytes());
    // The module costs more work than it is worth, and is within every limit.
    let runs = |name, resource, module: Component| Case::new(name, (Entry::Compile, resource), Rule::Runs, module.bytes());
    let raw = |name, resource, text: &str| {
        let module = wat::parse_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        Case::new(name, (Entry::Compile, resource), REFUSED, module)
    };
    vec![
        case("one-large-function", Resource::Cpu, Component::new().fields(large_function())),
        case("many-functions", Resource::Cpu, Component::new().fields("(func) ".repeat(300_000))),
        case("many-types", Resource::Cpu, Component::new().fields(repeated(200_000, "(type (func (param i32)))"))),
        case("many-globals", Resource::Globals, Component::new().fields("(global i32 (i32.const 0)) ".repeat(200_000))),
        case("many-tables", Resource::Tables, Component::new().fields("(table 1 funcref) ".repeat(90))),
        case("many-elements", Resource::Tables, Component::new().fields(elements())),
        case("many-memories", Resource::AddressSpace, Component::new().fields("(memory 1) ".repeat(90))),
        case("two-memories", Resource::AddressSpace, Component::new().fields("(memory 1)")),
        case("memory-of-64-bits", Resource::AddressSpace, Component::new().fields("(memory i64 281474976710656)")),
        case("many-core-modules", Resource::Instances, Component::new().before("(core module) ".repeat(20_000))),
        case("many-types-around", Resource::Instances, Component::new().before("(type u8) ".repeat(200_000))),
        Case::new("nested-components", (Entry::Compile, Resource::Stack), REFUSED, nested_components(5_000)),
        raw("nested-types", Resource::Stack, &exporting(&nested_lists(20_000), "(param i32 i32)")),
        raw("doubled-types", Resource::Names, &exporting(&doubled_results(17), "(param i32)")),
        Case {
            rule: Rule::Harmless(REFUSALS),
            ..case(
                "nested-blocks",
                Resource::Stack,
                Component::new().fields(format!("(func {})", nested("block ", "end ", 100_000))),
            )
        },
        case(
            "long-export",
            Resource::Names,
            Component::new().fields(format!(r#"(func (export "{}"))"#, "n".repeat(99_000))),
        ),
        Case {
            rule: Rule::Upload(&["E014", "E016", "E044"]),
            ..raw(
                "long-import",
                Resource::Names,
                &format!(r#"(component (import "long:{}/n" (instance)))"#, "n".repeat(80_000)),
            )
        },
        runs("many-long-names", Resource::Names, Component::new().fields(long_names())),
    ]
}

/// Nothing but additions, in one function of 400 KB: the compiler's work grows faster than its length.
fn large_function() -> String {
    let locals = "(local i64) ".repeat(2_000);
    let sum = |number: usize| {
        let [a, b, c] = [number % 1_999, (number * 7) % 1_997, (number * 13) % 1_993];
        format!("(local.set {a} (i64.mul (local.get {b}) (i64.add (local.get {c}) (local.get {a}))))")
    };
    let sums: String = (0..60_000).map(sum).collect();
    format!("(func (export \"large\") {locals} (loop $again {sums} (br_if $again (i32.wrap_i64 (local.get 1)))))")
}

fn elements() -> String {
    let functions = "0 ".repeat(400_000);
    format!("(func) (table 1 funcref) (elem func {functions})")
}

fn nested(open: &str, close: &str, depth: usize) -> String {
    open.repeat(depth) + &close.repeat(depth)
}

/// A component in a component, and so on. By hand: the text format's parser has a limit of its own.
fn nested_components(depth: usize) -> Vec<u8> {
    const HEADER: [u8; 8] = *b"\0asm\x0d\0\x01\0";
    const COMPONENT_SECTION: u8 = 4;
    let mut inner = HEADER.to_vec();
    for _ in 0..depth {
        let mut outer = HEADER.to_vec();
        outer.push(COMPONENT_SECTION);
        push_leb(&mut outer, inner.len());
        outer.extend_from_slice(&inner);
        inner = outer;
    }
    inner
}

fn push_leb(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// A component whose functions have a parameter of the last of `types`, which is `$t`.
fn exporting(types: &str, core_params: &str) -> String {
    format!(
        r#"(component {types}
        (core module $m (memory (export "memory") 1) (func (export "f") {core_params})
          (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0))
        (core instance $c (instantiate $m))
        (alias core export $c "memory" (core memory $memory))
        (alias core export $c "realloc" (core func $realloc))
        (alias core export $c "f" (core func $cf))
        (func $f (param "p" $t) (canon lift (core func $cf) (memory $memory) (realloc (core func $realloc))))
        (instance $i (export "init" (func $f)) (export "process" (func $f)))
        (export "sandbar:transform/transform@0.1.0" (instance $i)))"#
    )
}

/// A list of lists of lists.
fn nested_lists(depth: usize) -> String {
    chained(depth, |inner| format!("(list {inner})"))
}

/// A result of two results of two results: small to write, large to look through or to print.
fn doubled_results(depth: usize) -> String {
    chained(depth, |inner| format!("(result {inner} (error {inner}))"))
}

fn chained(depth: usize, of: impl Fn(&str) -> String) -> String {
    let mut text = String::from("(type $t0 (list u8)) ");
    for number in 1..=depth {
        let name = if number == depth { "$t".to_owned() } else { format!("$t{number}") };
        write!(text, "(type {name} {}) ", of(&format!("$t{}", number - 1))).expect("a String takes everything");
    }
    text
}

/// Names of functions that add up to more than the code.
fn long_names() -> String {
    let name = "n".repeat(2_000);
    repeated(2_000, &format!("(func $f@{name})"))
}
