//! Components of the Sandbar world whose core code is written by hand, as text.
//!
//! Each has two core modules: `$Base` has the memory and its allocator, so that imports can be lowered before `$Main`,
//! which has the exports, exists. Around them stand the world's types.

mod world;

use std::fmt::Write;

use world::{IMPORTS, Import, interface, types};

/// The parts of a core module, in the text format. A part that is not set behaves.
#[derive(Debug, Clone)]
pub struct Component {
    imports: Vec<&'static str>,
    /// More of the component, before everything else: types, core modules, instances.
    before: String,
    /// The type of the memory, in pages.
    memory: String,
    /// More of `$Main`: data, globals, functions, a start function.
    fields: String,
    realloc: String,
    init: String,
    init_name: String,
    process: String,
    process_name: String,
    tick: Option<String>,
    post_init: Option<String>,
    post_process: Option<String>,
}

/// Takes `size` bytes above `$top`, and grows the memory where that is needed.
const REALLOC: &str = "
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16)))
    (global.set $top (i32.add (local.get $at) (local.get $size)))
    (block $fits (loop $grow
      (br_if $fits (i32.le_u (global.get $top) (i32.mul (memory.size) (i32.const 65536))))
      (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
      (br $grow)))
    (local.get $at)";

/// Returns `ok` without a value: there are zeros at 1024 that nothing writes to.
pub const INIT_OK: &str = "(i32.const 1024)";
/// Returns an output without rows: every record is filtered. It frees its memory again.
pub const FILTER: &str = "(global.set $top (i32.const 65536)) (i32.const 1024)";

// === impl Component ===

impl Default for Component {
    fn default() -> Self {
        Component {
            imports: Vec::new(),
            before: String::new(),
            memory: "4".to_owned(),
            fields: String::new(),
            realloc: REALLOC.to_owned(),
            init: INIT_OK.to_owned(),
            init_name: "$init".to_owned(),
            process: FILTER.to_owned(),
            process_name: "$process".to_owned(),
            tick: None,
            post_init: None,
            post_process: None,
        }
    }
}

impl Component {
    /// A module that takes every record and puts out none.
    pub fn new() -> Self {
        Self::default()
    }

    /// Imports an interface of the world: `log` gives `$log`, `state` gives `$open`, `$get`, `$put` and `$scan`.
    pub fn importing(mut self, interface: &'static str) -> Self {
        self.imports.push(interface);
        self
    }

    pub fn before(mut self, text: impl Into<String>) -> Self {
        self.before = text.into();
        self
    }

    pub fn memory(mut self, pages: impl Into<String>) -> Self {
        self.memory = pages.into();
        self
    }

    pub fn fields(mut self, text: impl Into<String>) -> Self {
        self.fields = text.into();
        self
    }

    /// The body of `realloc`: parameters `$old`, `$old_size`, `$align`, `$size`; a pointer.
    pub fn realloc(mut self, body: impl Into<String>) -> Self {
        self.realloc = body.into();
        self
    }

    /// The body of `init`: six parameters, a pointer to its result.
    pub fn init(mut self, body: impl Into<String>) -> Self {
        self.init = body.into();
        self
    }

    /// The name that the name section gives to `init`.
    pub fn init_name(mut self, name: &str) -> Self {
        self.init_name = format!("$\"{name}\"");
        self
    }

    /// The body of `process`: parameter `$batch`, a pointer to its result.
    pub fn process(mut self, body: impl Into<String>) -> Self {
        self.process = body.into();
        self
    }

    /// The name that the name section gives to `process`.
    pub fn process_name(mut self, name: &str) -> Self {
        self.process_name = format!("$\"{name}\"");
        self
    }

    /// The body of `tick`: parameters input, partition, now; a pointer to its result.
    pub fn tick(mut self, body: impl Into<String>) -> Self {
        self.tick = Some(body.into());
        self
    }

    /// Runs after the result of `init` was read.
    pub fn post_init(mut self, body: impl Into<String>) -> Self {
        self.post_init = Some(body.into());
        self
    }

    /// Runs after the result of `process` was read.
    pub fn post_process(mut self, body: impl Into<String>) -> Self {
        self.post_process = Some(body.into());
        self
    }

    /// The component's bytes.
    #[track_caller]
    pub fn bytes(&self) -> Vec<u8> {
        let text = self.text();
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"))
    }

    fn text(&self) -> String {
        let mut text = String::from("(component\n");
        let imported = IMPORTS.iter().filter(|import| self.imports.contains(&import.interface));
        let lowered: Vec<&Import> = imported.collect();
        lowered.iter().for_each(|import| text.push_str(import.declared));
        text.push_str(&self.before);
        text.push_str(&types());
        text.push_str(&self.base());
        lowered.iter().for_each(|import| text.push_str(import.lowered));
        text.push_str(&self.main(&lowered));
        text.push_str(&self.lifted());
        text.push_str(&interface("transform", &["init", "process"], &["setup", "batch", "failure", "output"]));
        if self.tick.is_some() {
            text.push_str(&interface("ticks", &["tick"], &["failure", "output", "moment"]));
        }
        text.push(')');
        text
    }

    fn base(&self) -> String {
        let Component { memory, realloc, .. } = self;
        format!(
            r#"
(core module $Base
  (memory (export "memory") {memory})
  (global $top (export "top") (mut i32) (i32.const 65536))
  (func (export "realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    {realloc}))
(core instance $base (instantiate $Base))
(alias core export $base "memory" (core memory $memory))
(alias core export $base "realloc" (core func $realloc))
"#
        )
    }

    fn main(&self, imports: &[&Import]) -> String {
        let mut text = String::from(
            r#"
(core module $Main
  (import "base" "memory" (memory 0))
  (import "base" "top" (global $top (mut i32)))
  (import "base" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
"#,
        );
        imports.iter().for_each(|import| text.push_str(import.core));
        let Component { fields, init, init_name, process, process_name, .. } = self;
        let written = write!(
            text,
            r#"{fields}
  (func {init_name} (export "init") (param i32 i32 i32 i32 i32 i32) (result i32) {init})
  (func {process_name} (export "process") (param $batch i32) (result i32) {process})
"#
        );
        written.expect("a String takes everything");
        let more = [
            ("tick", "(param i32 i32 i64) (result i32)", &self.tick),
            ("post-init", "(param i32)", &self.post_init),
            ("post-process", "(param i32)", &self.post_process),
        ];
        for (name, signature, body) in more {
            if let Some(body) = body {
                writeln!(text, r#"  (func (export "{name}") {signature} {body})"#).expect("a String takes everything");
            }
        }
        let given: String =
            imports.iter().map(|import| format!(r#" (with "{}" (instance ${0}_core))"#, import.interface)).collect();
        text + &format!(")\n(core instance $main (instantiate $Main (with \"base\" (instance $base)){given}))\n")
    }

    fn lifted(&self) -> String {
        let lift = |name: &str, ty: &str, post: Option<&str>| {
            let alias = |name: &str| format!("(alias core export $main \"{name}\" (core func $main_{name}))\n");
            let given = post.map(|post| format!(" (post-return (core func $main_{post}))")).unwrap_or_default();
            alias(name)
                + &post.map(alias).unwrap_or_default()
                + &format!(
                    "(func ${name} (type ${ty}) (canon lift (core func $main_{name}) (memory $memory) (realloc (core func $realloc)){given}))\n"
                )
        };
        let mut text = lift("init", "init_type", self.post_init.as_ref().map(|_| "post-init"));
        text += &lift("process", "process_type", self.post_process.as_ref().map(|_| "post-process"));
        if self.tick.is_some() {
            text += &lift("tick", "tick_type", None);
        }
        text
    }
}
