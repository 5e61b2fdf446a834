//! The hostile corpus: modules that their authors made to hurt, each with its rule.
//!
//! A rule gives the cost of a module for its owner, as the codes of the refusals that the owner gets. Nobody else pays:
//! that holds for all cases, and `tests/e2e/hostile_corpus.rs` holds two hosts against it.
//!
//! The modules are built from source: most by hand ([`Component`]), as no compiler writes such code. [`corpus`] has them
//! all, over every entry point and every resource.

pub mod attack;
mod boundary;
mod compiling;
mod component;
mod instances;
mod names;
mod processing;
mod stores;
mod ticks;
pub mod watch;
pub mod web;

use serde_json::{Value, json};

pub use component::Component;

/// One hostile module.
#[derive(Debug, Clone)]
pub struct Case {
    /// A name that a transform can have.
    pub name: &'static str,
    pub entry: Entry,
    pub resource: Resource,
    pub rule: Rule,
    pub module: Vec<u8>,
    /// Fields of its spec besides topics and module.
    pub spec: Value,
}

/// The entry point at which the author's code, or text, begins to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    Compile,
    /// Making an instance: memories, tables and globals, and the start function.
    Start,
    Init,
    Process,
    Tick,
    /// The allocator that the host calls for the values that it passes.
    Realloc,
    PostReturn,
}

/// The target of the attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    Cpu,
    Stack,
    LinearMemory,
    Tables,
    Globals,
    Instances,
    AddressSpace,
    Names,
    /// Errors and failures that are shown to people.
    Text,
    Logs,
    State,
    Outputs,
    Headers,
    Handles,
    /// Values that cross the boundary: pointers, lengths, discriminants.
    Contract,
}

/// The cost for the module's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The upload is refused with one of these codes.
    Upload(&'static [&'static str]),
    /// The upload is refused with one of these codes, or the module compiles and does no harm: an optimised host gets further
    /// with the same stack and time.
    Harmless(&'static [&'static str]),
    /// The upload is taken, but no instance can be made: a deployment is refused with one of these codes.
    Instance(&'static [&'static str]),
    /// Each of its records becomes a dead letter with one of these codes.
    Record(&'static [&'static str]),
    /// The module processes its records. Beyond a limit it loses lines, time or ticks of its own.
    Runs,
}

// === impl Entry ===

impl Entry {
    pub const ALL: [Entry; 7] =
        [Entry::Compile, Entry::Start, Entry::Init, Entry::Process, Entry::Tick, Entry::Realloc, Entry::PostReturn];
}

// === impl Resource ===

impl Resource {
    pub const ALL: [Resource; 15] = [
        Resource::Cpu,
        Resource::Stack,
        Resource::LinearMemory,
        Resource::Tables,
        Resource::Globals,
        Resource::Instances,
        Resource::AddressSpace,
        Resource::Names,
        Resource::Text,
        Resource::Logs,
        Resource::State,
        Resource::Outputs,
        Resource::Headers,
        Resource::Handles,
        Resource::Contract,
    ];
}

// === impl Case ===

impl Case {
    fn new(name: &'static str, (entry, resource): (Entry, Resource), rule: Rule, module: Vec<u8>) -> Self {
        // The limit is short, so that a corpus of endless loops is through soon. Others must not reach it on a busy
        // machine.
        let batch_time = if resource == Resource::Cpu { "100ms" } else { "1s" };
        let spec = json!({"limits": {"batch_time": batch_time, "memory": "32MiB"}, "start": "earliest"});
        Case { name, entry, resource, rule, module, spec }
    }

    /// With other limits than the corpus has.
    fn limits(mut self, limits: Value) -> Self {
        let own = self.spec["limits"].as_object_mut().expect("an object");
        own.extend(limits.as_object().expect("an object").clone());
        self
    }

    /// With other fields in its spec.
    fn with(mut self, fields: Value) -> Self {
        let own = self.spec.as_object_mut().expect("an object");
        own.extend(fields.as_object().expect("an object").clone());
        self
    }

    /// Returns true if a host takes a deployment of the module.
    pub fn runs(&self) -> bool {
        matches!(self.rule, Rule::Record(_) | Rule::Runs)
    }
}

/// Every case.
pub fn corpus() -> Vec<Case> {
    let all =
        [compiling::cases(), instances::cases(), processing::cases(), boundary::cases(), stores::cases(), ticks::cases()];
    all.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_entry_point_and_every_resource_has_a_case() {
        let corpus = corpus();
        let entries: BTreeSet<Entry> = corpus.iter().map(|case| case.entry).collect();
        assert_eq!(entries, Entry::ALL.into_iter().collect());
        let resources: BTreeSet<Resource> = corpus.iter().map(|case| case.resource).collect();
        assert_eq!(resources, Resource::ALL.into_iter().collect());
        let names: BTreeSet<&str> = corpus.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), corpus.len(), "each name is there once");
    }
}
