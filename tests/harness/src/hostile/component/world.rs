//! The Sandbar world in the text format: its types, its exports, and the interfaces that a module imports.

/// An interface that can be imported, at each level.
pub struct Import {
    pub interface: &'static str,
    pub declared: &'static str,
    pub lowered: &'static str,
    pub core: &'static str,
}

pub const IMPORTS: [Import; 2] = [
    Import {
        interface: "log",
        declared: r#"
(import "sandbar:transform/log@0.1.0" (instance $log
  (type $level_type (enum "debug" "info" "warn" "error"))
  (export "level" (type $level (eq $level_type)))
  (export "log" (func (param "level" $level) (param "message" string)))))
"#,
        lowered: r#"
(alias export $log "log" (func $log_func))
(core func $log_lowered (canon lower (func $log_func) (memory $memory)))
(core instance $log_core (export "log" (func $log_lowered)))
"#,
        core: r#"  (import "log" "log" (func $log (param i32 i32 i32)))
"#,
    },
    Import {
        interface: "state",
        declared: r#"
(import "sandbar:transform/state@0.1.0" (instance $state
  (export "store" (type $store (sub resource)))
  (type $entry_type (record (field "key" (list u8)) (field "value" (list u8))))
  (export "entry" (type $entry (eq $entry_type)))
  (export "[static]store.open" (func (param "name" string) (result (result (own $store) (error string)))))
  (export "[method]store.get" (func (param "self" (borrow $store)) (param "key" (list u8)) (result (option (list u8)))))
  (export "[method]store.put" (func (param "self" (borrow $store)) (param "key" (list u8)) (param "value" (list u8))))
  (export "[method]store.scan" (func (param "self" (borrow $store)) (param "start" (list u8))
    (param "end" (option (list u8))) (param "limit" u32) (result (list $entry))))))
"#,
        lowered: r#"
(alias export $state "[static]store.open" (func $open))
(core func $open_lowered (canon lower (func $open) (memory $memory) (realloc (core func $realloc))))
(alias export $state "[method]store.get" (func $get))
(core func $get_lowered (canon lower (func $get) (memory $memory) (realloc (core func $realloc))))
(alias export $state "[method]store.put" (func $put))
(core func $put_lowered (canon lower (func $put) (memory $memory) (realloc (core func $realloc))))
(alias export $state "[method]store.scan" (func $scan))
(core func $scan_lowered (canon lower (func $scan) (memory $memory) (realloc (core func $realloc))))
(core instance $state_core (export "open" (func $open_lowered)) (export "get" (func $get_lowered))
  (export "put" (func $put_lowered)) (export "scan" (func $scan_lowered)))
"#,
        core: r#"  (import "state" "open" (func $open (param i32 i32 i32)))
  (import "state" "get" (func $get (param i32 i32 i32 i32)))
  (import "state" "put" (func $put (param i32 i32 i32 i32 i32)))
  (import "state" "scan" (func $scan (param i32 i32 i32 i32 i32 i32 i32 i32)))
"#,
    },
];

/// The records of the world. `@failure` is the type of a failure.
const RECORDS: [(&str, &str); 5] = [
    ("setup", r#"(record (field "config" string) (field "inputs" (list string)) (field "outputs" (list string)))"#),
    (
        "batch",
        r#"(record (field "input" u32) (field "partition" u32) (field "now" s64) (field "first-offset" s64)
  (field "offset-deltas" (list u32)) (field "timestamps" (list s64)) (field "data" (list u8)) (field "keys" (list u32))
  (field "values" (list u32)) (field "header-counts" (list u32)) (field "headers" (list u32)))"#,
    ),
    ("failure", r#"(record (field "row" u32) (field "message" string))"#),
    (
        "output",
        r#"(record (field "data" (list u8)) (field "targets" (list u32)) (field "sources" (list u32))
  (field "timestamps" (list s64)) (field "keys" (list u32)) (field "values" (list u32))
  (field "header-counts" (list u32)) (field "headers" (list u32)) (field "failures" (list @failure)))"#,
    ),
    ("moment", r#"(record (field "input" u32) (field "partition" u32) (field "now" s64))"#),
];

/// The functions of the world: parameter, its type, result.
const FUNCTIONS: [(&str, &str, &str, &str); 3] = [
    ("init", "setup", "@setup", "(result (error string))"),
    ("process", "batch", "@batch", "(result @output (error string))"),
    ("tick", "at", "@moment", "(result @output (error string))"),
];

/// Puts the names of the records' types, which end so, in the place of `@name`.
fn named(text: &str, ending: &str) -> String {
    RECORDS.iter().fold(text.to_owned(), |text, (name, _)| text.replace(&format!("@{name}"), &format!("${name}{ending}")))
}

/// The types of the world's functions, for the component itself.
pub fn types() -> String {
    let mut text = String::new();
    for (name, record) in RECORDS {
        text += &named(&format!("(type @{name} {record})\n"), "");
    }
    for (name, parameter, ty, result) in FUNCTIONS {
        text += &named(&format!("(type ${name}_type (func (param \"{parameter}\" {ty}) (result {result})))\n"), "");
    }
    text
}

/// Exports functions as an interface of the world. Only types with names can be exported, and a component within gives
/// them theirs.
pub fn interface(name: &str, functions: &[&str], records: &[&str]) -> String {
    let records: Vec<_> = RECORDS.iter().filter(|(record, _)| records.contains(record)).collect();
    let functions: Vec<_> = FUNCTIONS.iter().filter(|(function, ..)| functions.contains(function)).collect();
    let mut text = format!("(component $Shim_{name}\n");
    let mut given = String::new();
    for (record, fields) in &records {
        text += &format!("(type ${record}_plain {})\n", fields.replace("@failure", "$failure"));
        text += &format!("(import \"{record}\" (type ${record} (eq ${record}_plain)))\n");
        given += &format!(" (with \"{record}\" (type ${record}))");
    }
    let signature = |parameter: &str, ty: &str, result: &str, ending: &str| {
        named(&format!("(param \"{parameter}\" {ty}) (result {result})"), ending)
    };
    for (function, parameter, ty, result) in &functions {
        text += &format!("(import \"{function}\" (func ${function} {}))\n", signature(parameter, ty, result, ""));
        given += &format!(" (with \"{function}\" (func ${function}))");
    }
    for (record, fields) in &records {
        text += &format!("(type ${record}_again {})\n", fields.replace("@failure", "$failure_out"));
        text += &format!("(export ${record}_out \"{record}\" (type ${record}_again))\n");
    }
    for (function, parameter, ty, result) in &functions {
        let ascribed = signature(parameter, ty, result, "_out");
        text += &format!("(export \"{function}\" (func ${function}) (func {ascribed}))\n");
    }
    text + &format!(
        ")\n(instance ${name} (instantiate $Shim_{name}{given}))\n\
         (export \"sandbar:transform/{name}@0.1.0\" (instance ${name}))\n"
    )
}
