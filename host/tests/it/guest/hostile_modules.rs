//! Components of the Sandbar world, written as text: guests that no compiler would make.
//!
//! A [`Hostile`] behaves unless something is put in its place: `init` accepts, `process` filters every record. Functions
//! are bodies in WebAssembly's text format, with these functions at hand:
//!
//! - `$alloc` (bytes) gives memory, all of it from 65,536 on; `$log` (level, pointer, length) logs;
//! - `$ok` gives a result without records, `$err` (pointer, length) an error, `$one` (headers) one record with so many
//!   empty headers, `$failed` (failures, pointer, length) so many failures with the same message. The result is at 1,024.

/// The pieces of a component. Fields are text, to be put in their place.
#[derive(Debug, Clone)]
pub struct Hostile {
    /// Sizes of the linear memory, in pages: `4`, `1 16`, ...
    pub memory: String,
    /// Name of the functions `init` and `process`, as a debugger would show them.
    pub name: String,
    /// Bodies of the exports. `init` and `process` give a pointer to their result.
    pub init: String,
    pub process: String,
    pub realloc: String,
    pub post: String,
    /// More fields of the core module: globals, tables, a start function, ...
    pub module: String,
    /// More fields of the component, before its core modules and after its instances.
    pub before: String,
    pub after: String,
}

impl Default for Hostile {
    fn default() -> Self {
        Self {
            memory: "4".into(),
            name: "f".into(),
            init: "(call $ok)".into(),
            process: "(call $ok)".into(),
            realloc: "(call $alloc (local.get 3))".into(),
            post: "(global.set $top (i32.const 65536))".into(),
            module: String::new(),
            before: String::new(),
            after: String::new(),
        }
    }
}

impl Hostile {
    /// One whose `process` has this body.
    pub fn process(body: impl Into<String>) -> Self {
        Self { process: body.into(), ..Self::default() }
    }

    /// One whose `init` has this body.
    pub fn init(body: impl Into<String>) -> Self {
        Self { init: body.into(), ..Self::default() }
    }

    /// One with more fields in its core module.
    pub fn module(fields: impl Into<String>) -> Self {
        Self { module: fields.into(), ..Self::default() }
    }

    /// The component's bytes.
    pub fn build(&self) -> Vec<u8> {
        wat::parse_str(self.text()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn text(&self) -> String {
        let Self { before, after, .. } = self;
        let memory = self.memory_module();
        let module = self.core_module();
        // The types of the world: once as they are lifted, once as the exported interface names them.
        let types = types();
        let shim = shim();
        format!(
            r#"(component
  (import "sandbar:transform/log@0.1.0" (instance $log
    (type $l (enum "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $l)))
    (export "log" (func (param "level" $level) (param "message" string)))))
  {before}
  {memory}
  (core instance $mem (instantiate $Memory))
  (alias core export $mem "memory" (core memory $memory))
  (core func $log (canon lower (func $log "log") (memory $memory)))
  {module}
  (core instance $guest (instantiate $Guest
    (with "env" (instance (export "memory" (memory $memory)) (export "log" (func $log))))))
  (alias core export $guest "realloc" (core func $realloc))
  (alias core export $guest "post" (core func $post))
  (alias core export $guest "init" (core func $core_init))
  (alias core export $guest "process" (core func $core_process))
  {types}
  (func $init (param "setup" $setup) (result (result (error string)))
    (canon lift (core func $core_init) (memory $memory) (realloc $realloc) (post-return $post)))
  (func $process (param "batch" $batch) (result (result $output (error string)))
    (canon lift (core func $core_process) (memory $memory) (realloc $realloc) (post-return $post)))
  {shim}
  (instance $exported (instantiate $Shim
    (with "setup" (type $setup)) (with "batch" (type $batch))
    (with "failure" (type $failure)) (with "output" (type $output))
    (with "init" (func $init)) (with "process" (func $process))))
  (export "sandbar:transform/transform@0.1.0" (instance $exported))
  {after}
)"#
        )
    }

    fn memory_module(&self) -> String {
        format!("(core module $Memory (memory (export \"memory\") {}))", self.memory)
    }

    fn core_module(&self) -> String {
        let Self { name, init, process, realloc, post, module, .. } = self;
        format!(
            r#"(core module $Guest
    (import "env" "memory" (memory 0))
    (import "env" "log" (func $log (param i32 i32 i32)))
    (global $top (mut i32) (i32.const 65536))
    (func $alloc (param $bytes i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16)))
      (global.set $top (i32.add (local.get $at) (local.get $bytes)))
      (block $enough
        (loop $more
          (br_if $enough (i32.le_u (global.get $top) (i32.mul (memory.size) (i32.const 65536))))
          (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
          (br $more)))
      (local.get $at))
    (func $ok (result i32)
      (memory.fill (i32.const 1024) (i32.const 0) (i32.const 80))
      (i32.const 1024))
    (func $err (param $at i32) (param $bytes i32) (result i32)
      (drop (call $ok))
      (i32.store8 (i32.const 1024) (i32.const 1))
      (i32.store (i32.const 1028) (local.get $at))
      (i32.store (i32.const 1032) (local.get $bytes))
      (i32.const 1024))
    ;; Column number $column (0: data) of the output: its place and length.
    (func $column (param $column i32) (param $at i32) (param $length i32)
      (i32.store offset=1028 (i32.mul (local.get $column) (i32.const 8)) (local.get $at))
      (i32.store offset=1032 (i32.mul (local.get $column) (i32.const 8)) (local.get $length)))
    ;; One record of the first input row: without key, its value empty, with so many headers without name or value.
    (func $one (param $headers i32) (result i32)
      (local $at i32)
      (drop (call $ok))
      ;; Zeros: target, source, the span of the value and those of the headers. 2048: a null span.
      (i64.store (i32.const 2048) (i64.const -1))
      (i32.store (i32.const 2056) (local.get $headers))
      (local.set $at (call $alloc (i32.add (i32.const 64) (i32.mul (local.get $headers) (i32.const 16)))))
      (memory.fill (local.get $at) (i32.const 0) (i32.add (i32.const 64) (i32.mul (local.get $headers) (i32.const 16))))
      (call $column (i32.const 1) (local.get $at) (i32.const 1))
      (call $column (i32.const 2) (local.get $at) (i32.const 1))
      (call $column (i32.const 4) (i32.const 2048) (i32.const 2))
      (call $column (i32.const 5) (local.get $at) (i32.const 2))
      (call $column (i32.const 6) (i32.const 2056) (i32.const 1))
      (call $column (i32.const 7) (local.get $at) (i32.mul (local.get $headers) (i32.const 4)))
      (i32.const 1024))
    ;; Failures of the first rows, all with the same message.
    (func $failed (param $failures i32) (param $message i32) (param $length i32) (result i32)
      (local $at i32) (local $row i32)
      (drop (call $ok))
      (local.set $at (call $alloc (i32.mul (local.get $failures) (i32.const 12))))
      (call $column (i32.const 8) (local.get $at) (local.get $failures))
      (loop $next
        (i32.store (local.get $at) (local.get $row))
        (i32.store offset=4 (local.get $at) (local.get $message))
        (i32.store offset=8 (local.get $at) (local.get $length))
        (local.set $at (i32.add (local.get $at) (i32.const 12)))
        (local.set $row (i32.add (local.get $row) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $row) (local.get $failures))))
      (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc})
    (func (export "post") (param i32) {post})
    (func (@name "{name}") (export "init") (param i32 i32 i32 i32 i32 i32) (result i32) {init})
    (func (@name "{name}") (export "process") (param $batch i32) (result i32) {process})
    {module})"#
        )
    }
}

const SETUP: &str = r#"(record (field "config" string) (field "inputs" (list string)) (field "outputs" (list string)))"#;
const BATCH: &str = r#"(record (field "input" u32) (field "partition" u32) (field "now" s64) (field "first-offset" s64)
  (field "offset-deltas" (list u32)) (field "timestamps" (list s64)) (field "data" (list u8)) (field "keys" (list u32))
  (field "values" (list u32)) (field "header-counts" (list u32)) (field "headers" (list u32)))"#;
const FAILURE: &str = r#"(record (field "row" u32) (field "message" string))"#;

fn output(failure: &str) -> String {
    format!(
        r#"(record (field "data" (list u8)) (field "targets" (list u32)) (field "sources" (list u32))
  (field "timestamps" (list s64)) (field "keys" (list u32)) (field "values" (list u32)) (field "header-counts" (list u32))
  (field "headers" (list u32)) (field "failures" (list {failure})))"#
    )
}

fn types() -> String {
    let output = output("$failure");
    format!("(type $setup {SETUP}) (type $batch {BATCH}) (type $failure {FAILURE}) (type $output {output})")
}

/// A component that only gives names to the types that it passes on.
fn shim() -> String {
    let imported = output("$failure");
    let exported = output("$exported_failure");
    format!(
        r#"(component $Shim
    (type $s {SETUP}) (import "setup" (type $setup (eq $s)))
    (type $b {BATCH}) (import "batch" (type $batch (eq $b)))
    (type $f {FAILURE}) (import "failure" (type $failure (eq $f)))
    (type $o {imported}) (import "output" (type $output (eq $o)))
    (import "init" (func $init (param "setup" $setup) (result (result (error string)))))
    (import "process" (func $process (param "batch" $batch) (result (result $output (error string)))))
    (type $xs {SETUP}) (export $exported_setup "setup" (type $xs))
    (type $xb {BATCH}) (export $exported_batch "batch" (type $xb))
    (type $xf {FAILURE}) (export $exported_failure "failure" (type $xf))
    (type $xo {exported}) (export $exported_output "output" (type $xo))
    (export "init" (func $init) (func (param "setup" $exported_setup) (result (result (error string)))))
    (export "process" (func $process)
      (func (param "batch" $exported_batch) (result (result $exported_output (error string))))))"#
    )
}

/// A mangled C++ name of nested substitutions: each of its `levels` (at most 36) names the one before `width` times, so
/// that it has `width` to the power of `levels` parts once it is demangled.
pub fn mangled(levels: u32, width: usize) -> String {
    let level = |level: u32| {
        let digit = char::from_digit(level, 36).expect("one digit").to_ascii_uppercase();
        format!("S_I{}E", format!("S{digit}_").repeat(width))
    };
    format!("_Z1f1AIiE{}", (0..levels).map(level).collect::<String>())
}
