//! Checks a candidate against every rule of a deployment: a pure function of the candidate, the facts and the time.

use crate::catalog::CatalogError;
use crate::model::codes::Code;
use crate::model::module::ModuleError;
use crate::model::names::Digest;
use crate::model::revision::Desired;
use crate::model::secret::References;
use crate::model::spec::{Problem, Spec, Start};
use crate::model::units::Timestamp;
use crate::ports::NewTopic;

use super::candidate::Candidate;
use super::facts::{Facts, ModuleFacts, changes_store_inputs};
use super::rejection::{Rejection, Violation};
use super::{fields, topic_rules, topic_use};

/// The steps of a deployment that breaks no rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The topics that are created before the change is made.
    pub new_topics: Vec<NewTopic>,
    /// The deployment is accepted, and may do something else than its author means.
    pub warnings: Vec<String>,
}

/// Plans the deployment, or names every rule that it breaks.
pub fn check(candidate: &Candidate<'_>, facts: &Facts, now: Timestamp) -> Result<Plan, Rejection> {
    let Candidate { raw, spec, .. } = candidate;
    let mut violations = topic_use::check(spec, &facts.rights);
    let may_use_topics = violations.is_empty();
    violations.extend(fields::check(raw, &facts.hosts));
    violations.extend(check_module(&spec.module, &facts.module));
    if may_use_topics {
        violations.extend(topic_rules::check(spec, &facts.topics));
        violations.extend(check_start_offsets(spec, facts, now));
    }
    violations.extend(check_store_inputs(spec, facts));
    violations.extend(check_init(&facts.module));
    match Rejection::of(violations) {
        Some(rejection) => Err(rejection),
        None => Ok(Plan {
            new_topics: topic_rules::topics_to_create(spec, &facts.topics),
            warnings: topic_rules::warnings(spec, &facts.topics).into_iter().chain(secret_warnings(spec)).collect(),
        }),
    }
}

/// Warns of values that look like references to secrets.
fn secret_warnings(spec: &Spec) -> impl Iterator<Item = String> {
    let literals = References::of(&spec.config).literals.into_iter();
    literals.map(|path| {
        format!(
            "{path} is an ordinary value, which everybody who may see the spec can read: a secret is file:NAME or env:NAME"
        )
    })
}

/// The module is there, compiles and fits a world.
pub fn check_module(digest: &Digest, module: &ModuleFacts) -> Option<Violation> {
    match module {
        ModuleFacts::Missing => {
            Some(Violation::of_field(Code::ModuleMissing, "module", format!("{digest} was never uploaded")))
        }
        ModuleFacts::Refused(error) => Some(of_module(error)),
        ModuleFacts::Untried | ModuleFacts::Sound { .. } => None,
    }
}

/// The module's `init` accepts the spec's config.
pub fn check_init(module: &ModuleFacts) -> Option<Violation> {
    match module {
        ModuleFacts::Sound { init: Err(error) } => Some(of_module(error)),
        ModuleFacts::Sound { init: Ok(()) } | ModuleFacts::Missing | ModuleFacts::Refused(_) | ModuleFacts::Untried => None,
    }
}

fn of_module(error: &ModuleError) -> Violation {
    let field = if matches!(error, ModuleError::Secret(_)) { "config" } else { "module" };
    Violation::of_field(error.code(), field, error.to_string())
}

/// The partitions of `start` exist. A new transform also finds its offsets there; later, offsets that were right when they
/// were written may be deleted.
fn check_start_offsets(spec: &Spec, facts: &Facts, now: Timestamp) -> Option<Violation> {
    let Start::Offsets(offsets) = spec.start.resolve(now) else { return None };
    let is_new = facts.live().is_none();
    let mut problems = Vec::new();
    for (topic, of_topic) in offsets {
        // A missing input breaks another rule.
        let Some(&partitions) = facts.topics.inputs.get(&topic) else { continue };
        for (partition, offset) in of_topic {
            let range = facts.start_ranges.get(&(topic.clone(), partition)).filter(|_| is_new);
            let message = match range {
                _ if !(0..partitions).contains(&partition) => format!("{topic} has partitions 0 to {}", partitions - 1),
                Some((first, end)) if !(*first..=*end).contains(&offset) => {
                    format!("{offset} is out of range: {topic}/{partition} has {first} to {end}")
                }
                _ => continue,
            };
            problems.push(Problem { field: format!("start.offsets.{topic}.{partition}"), message });
        }
    }
    Violation::of_fields(Code::Spec, problems)
}

/// Stores get other inputs only while no host can have them open: the transform is not to run, and its group is empty.
fn check_store_inputs(spec: &Spec, facts: &Facts) -> Option<Violation> {
    let known = facts.known.as_ref();
    if !changes_store_inputs(spec, known) {
        return None;
    }
    if known.is_some_and(|known| known.desired == Desired::Running) {
        let message = CatalogError::InputsInUse(spec.id.clone()).to_string();
        return Some(Violation::of_transform(Code::InputsInUse, message));
    }
    (facts.group_members > 0).then(|| {
        let Facts { group, group_members: members, .. } = facts;
        let group = format!("{} is paused, but group {group} has {members} members", spec.id);
        let message = format!("its stores may be open: {group}");
        Violation::of_transform(Code::InputsInUse, message)
            .with_hint("a host that is stopping, or has just crashed, leaves within seconds: repeat the request")
    })
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
