//! The limits on a module's structure, and the size of its instances.

use super::*;

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {text})")).expect("valid text")
}

/// The component has one part too many, and with one less it has not.
#[track_caller]
fn check_limit(part: Part, build: impl Fn(u64) -> Vec<u8>) {
    let Limit { name, max, .. } = LIMITS[part as usize];
    match check(&build(max + 1)) {
        Err(ModuleError::Structure { part, found, max: allowed }) => {
            assert_eq!((part.as_str(), allowed), (name, max));
            assert!(found > max, "{found}");
        }
        other => panic!("{name}: {other:?}"),
    }
    assert!(check(&build(max)).is_ok(), "{name}: {:?}", check(&build(max)));
}

fn repeated(count: u64, text: &str) -> String {
    text.repeat(count as usize)
}

fn numbered(count: u64, text: impl Fn(u64) -> String) -> String {
    (0..count).map(text).collect()
}

#[test]
fn every_part_has_its_row() {
    for (index, limit) in LIMITS.iter().enumerate() {
        assert_eq!(limit.part as usize, index, "{}", limit.name);
    }
}

#[test]
fn parts_of_core_modules_are_limited() {
    let module = |text: String| component(&format!("(core module {text})"));
    check_limit(Part::Globals, |n| module(repeated(n, "(global i32 (i32.const 0))")));
    check_limit(Part::Functions, |n| module(repeated(n, "(func)")));
    check_limit(Part::Types, |n| module(repeated(n, "(type (func))")));
    check_limit(Part::Tables, |n| module(repeated(n, "(table 1 funcref)")));
    check_limit(Part::MemoriesOfModule, |n| module(repeated(n, "(memory 1)")));
    check_limit(Part::MemoriesOfModule, |n| {
        module(format!("{} (memory 1)", repeated(n - 1, "(import \"m\" \"m\" (memory 1))")))
    });
    check_limit(Part::Imports, |n| module(numbered(n, |i| format!("(import \"m\" \"{i}\" (func))"))));
    check_limit(Part::Exports, |n| module(format!("(func) {}", numbered(n, |i| format!("(export \"{i}\" (func 0))")))));
    check_limit(Part::NameBytes, |n| module(format!("(func (export \"{}\"))", repeated(n, "n"))));
    check_limit(Part::NameBytes, |n| module(format!("(import \"{}\" \"f\" (func))", repeated(n, "n"))));
    check_limit(Part::ElementSegments, |n| module(repeated(n, "(elem func)")));
    check_limit(Part::ElementItems, |n| module(format!("(func $f) (elem func {})", repeated(n, "$f "))));
    check_limit(Part::DataSegments, |n| module(repeated(n, "(data \"\")")));
    check_limit(Part::Locals, |n| module(format!("(func {})", repeated(n, "(local i32)"))));
    // Two bytes an instruction; the rest is a size, a count of locals and an end.
    check_limit(Part::FunctionBytes, |n| {
        let odd = if n % 2 == 0 { "" } else { "nop " };
        module(format!("(func {odd}{})", repeated((n - 2) / 2, "i32.const 0 ")))
    });
}

#[test]
fn parts_of_components_are_limited() {
    check_limit(Part::CoreModules, |n| component(&repeated(n, "(core module)")));
    check_limit(Part::Components, |n| component(&repeated(n, "(component)")));
    check_limit(Part::Memories, |n| component(&repeated(n, "(core module (memory 1))")));
    check_limit(Part::ComponentDepth, |n| component(&format!("{}{}", repeated(n, "(component "), repeated(n, ")"))));
    check_limit(Part::TypeDepth, |n| {
        let open = repeated(n - 1, "(type (component ");
        let close = repeated(n - 1, "))");
        component(&format!("{open} (type (instance)) {close}"))
    });
    check_limit(Part::Types, |n| component(&repeated(n, "(type u8)")));
    check_limit(Part::Aliases, |n| {
        component(&format!(
            "(core module $m (func (export \"f\"))) (core instance $i (instantiate $m)) {}",
            repeated(n, "(alias core export $i \"f\" (core func))")
        ))
    });
    check_limit(Part::CanonicalFunctions, |n| {
        component(&format!("(type $r (resource (rep i32))) {}", repeated(n, "(core func (canon resource.drop $r))")))
    });
}

/// Instances are counted as they come to be: a component that is instantiated has its own ones each time.
#[test]
fn instances_of_instances_are_counted() {
    let nested = |depth: usize, each: u64| {
        let mut text = "(core module $m (memory 1) (global i32 (i32.const 0)))(core instance (instantiate $m))".to_owned();
        for level in 0..depth {
            text =
                format!("(component $c{level} {text}) {}", repeated(each, &format!("(instance (instantiate $c{level}))")));
        }
        component(&text)
    };
    assert_eq!(check(&nested(1, 2)).map(|found| (found.core_instances, found.memories)), Ok((2, 2)));
    assert_eq!(check(&nested(3, 2)).map(|found| (found.core_instances, found.component_instances)), Ok((8, 15)));
    for (depth, each) in [(4, 2), (2, 3), (8, 10), (8, 1000)] {
        assert!(matches!(check(&nested(depth, each)), Err(ModuleError::Structure { .. })), "{depth} {each}");
    }
    // An alias of an outer component, and an export, name it again.
    let aliased = "(component $a (core module $m (memory 1)) (core instance (instantiate $m)))
        (component $b (alias outer 1 $a (component $c)) (instance (instantiate $c)) (instance (instantiate $c)))
        (export $d \"d\" (component $b)) (instance (instantiate $d)) (instance (instantiate $d))";
    assert_eq!(check(&component(aliased)).map(|found| found.memories), Ok(4));
    // An argument that is a module cannot be counted.
    for unknown in [
        "(import \"m\" (core module))",
        "(component (import \"c\" (component)))",
        "(import \"i\" (instance $i (export \"m\" (core module)))) (alias export $i \"m\" (core module))",
    ] {
        let refused = check(&component(unknown));
        assert!(matches!(&refused, Err(ModuleError::Invalid(text)) if text.contains("not supported")), "{refused:?}");
    }
}

#[test]
fn an_instances_size_is_that_of_its_parts() {
    let bytes = |module: &str, instances: u64| {
        let instances = repeated(instances, "(core instance (instantiate $m))");
        check(&component(&format!("(core module $m {module}) {instances}"))).expect("within limits").bytes
    };
    let none = bytes("", 0);
    let empty = bytes("", 1);
    assert!(empty > none);
    let globals = repeated(1000, "(global i64 (i64.const 0))");
    assert!(bytes(&globals, 1) >= empty + 16_000);
    assert_eq!(bytes(&globals, 60) - none, 60 * (bytes(&globals, 1) - none));
    let passive = format!("(func $f) (elem func {})", repeated(1000, "$f "));
    assert!(bytes(&passive, 1) >= empty + 16_000);
}

/// The parser reads nested types recursively, so they are refused before it does.
#[test]
fn types_that_nest_for_ever_are_refused_without_recursion() {
    for kind in [0x41u8, 0x42] {
        let depth = 1_000_000;
        let mut types = vec![1u8];
        for _ in 0..depth {
            types.extend([kind, 1, 1]);
        }
        types.extend([kind, 0]);
        let mut bytes = b"\0asm\x0d\0\x01\0\x07".to_vec();
        let mut size = types.len();
        while size >= 128 {
            bytes.push(size as u8 | 128);
            size >>= 7;
        }
        bytes.push(size as u8);
        bytes.extend(types);
        let refused = check(&bytes);
        assert!(
            matches!(&refused, Err(ModuleError::Structure { part, .. }) if part.contains("types nested")),
            "{refused:?}"
        );
    }
}

/// docs/modules.md has a row for each limit.
#[test]
fn the_page_says_the_limits() {
    let page = include_str!("../../../docs/modules.md");
    for Limit { name, max, .. } in &LIMITS {
        let row = format!("| {name} | {max} |");
        assert!(page.contains(&row), "docs/modules.md lacks {row:?}");
    }
}
