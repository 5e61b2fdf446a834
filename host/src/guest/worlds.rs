//! The worlds that this host runs: every one that was released, since 0.1. A module that was deployed once runs on all later
//! hosts, so a world is added here and never taken away.
//!
//! A new world, 0.2 say, has its own bindings beside those of 0.1 and an entry in [`WORLDS`]; `tests/worlds` keeps a
//! component of each, which a test runs.

use wasmtime::component::{HasSelf, Linker};

use super::bindings::transformer::Transformer;
use super::context::Context;

/// The package whose world a module must fit.
pub const PACKAGE: &str = "sandbar:transform";

/// A name of an export, and its type as WIT writes it.
pub type Function = (&'static str, &'static str);

/// One version of the contract between host and module.
#[derive(Debug, Clone, Copy)]
pub struct World {
    /// Its version as its WIT has it. A module's is accepted where it differs in the part that breaks nothing: the last
    /// of 0.x.y.
    pub version: &'static str,
    /// Interfaces that a module may import.
    pub imports: &'static [&'static str],
    /// Exports of the interface `transform`. The WIT has them too; wasmtime compares the two only when an instance is made,
    /// and nothing of a module is run to check it.
    pub functions: &'static [Function],
    /// The export of the interface `ticks`, of a module whose spec may have a `tick`.
    pub tick: Function,
    /// Gives modules of this world their imports.
    pub link: fn(&mut Linker<Context>) -> wasmtime::Result<()>,
}

/// Every world, oldest first.
pub const WORLDS: &[World] = &[World {
    version: "0.1.0",
    imports: &["log", "state", "tables", "types"],
    functions: &FUNCTIONS_0_1,
    tick: TICK_0_1,
    link: |linker| Transformer::add_to_linker::<_, HasSelf<_>>(linker, |context| context),
}];

/// The world that a version belongs to.
pub fn of_version(version: &str) -> Option<&'static World> {
    WORLDS.iter().find(|world| series(world.version) == series(version))
}

/// Lists all of them, for the owner of a module that is of none.
pub fn listed() -> String {
    let names: Vec<String> = WORLDS.iter().map(|world| format!("{PACKAGE}@{}", world.version)).collect();
    names.join(", ")
}

/// Semver: below 1.0 the minor version is the one that breaks.
fn series(version: &str) -> (&str, Option<&str>) {
    let mut parts = version.splitn(3, '.');
    let major = parts.next().unwrap_or_default();
    (major, parts.next().filter(|_| major == "0"))
}

impl World {
    /// The full name of one of its interfaces.
    pub fn interface(&self, name: &str) -> String {
        format!("{PACKAGE}/{name}@{}", self.version)
    }
}

const FUNCTIONS_0_1: [Function; 2] = [
    ("init", "func(record{config: string, inputs: list<string>, outputs: list<string>}) -> result<_, string>"),
    (
        "process",
        "func(record{input: u32, partition: u32, now: s64, first-offset: s64, offset-deltas: list<u32>, \
         timestamps: list<s64>, data: list<u8>, keys: list<u32>, values: list<u32>, header-counts: list<u32>, \
         headers: list<u32>}) -> result<record{data: list<u8>, targets: list<u32>, sources: list<u32>, \
         timestamps: list<s64>, keys: list<u32>, values: list<u32>, header-counts: list<u32>, headers: list<u32>, \
         failures: list<record{row: u32, message: string}>}, string>",
    ),
];

const TICK_0_1: Function = (
    "tick",
    "func(record{input: u32, partition: u32, now: s64}) -> result<record{data: list<u8>, targets: list<u32>, \
     sources: list<u32>, timestamps: list<s64>, keys: list<u32>, values: list<u32>, header-counts: list<u32>, \
     headers: list<u32>, failures: list<record{row: u32, message: string}>}, string>",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_belongs_to_the_world_that_it_is_compatible_with() {
        #[track_caller]
        fn check(version: &str, expected: Option<&str>) {
            assert_eq!(of_version(version).map(|world| world.version), expected, "{version:?}");
        }
        check("0.1.0", Some("0.1.0"));
        check("0.1.7", Some("0.1.0"));
        check("0.1", Some("0.1.0"));
        check("0.1.0-rc.1", Some("0.1.0"));
        check("0.2.0", None);
        check("0.10.0", None);
        check("1.0.0", None);
        check("1.1.0", None);
        check("", None);
        check("0", None);
        assert_eq!(listed(), "sandbar:transform@0.1.0");
    }
}
