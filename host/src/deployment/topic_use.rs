//! The rules on the topics that a team may use: pure functions of the spec and of the rights of teams.

use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::model::spec::{Problem, Spec, Then};
use crate::model::topic_rights::{Denial, TopicRights, TopicUse};

use super::rejection::{Rejection, Violation};

/// The rules that a spec breaks by its topics. Nothing else is said of a denied topic: whether it exists is not the
/// team's business.
pub fn check(spec: &Spec, rights: &TopicRights) -> Vec<Violation> {
    let tables = spec.tables.iter().map(|(name, topic)| (format!("tables.{name}"), TopicUse::Read, topic));
    let outputs = spec.outputs.iter().map(|(alias, topic)| (format!("outputs.{alias}"), TopicUse::Write, topic));
    let dead_letters = (spec.then == Then::DeadLetter).then(|| {
        let field = "on_error.dead_letter_topic".to_owned();
        (field, TopicUse::Write, &spec.dead_letter_topic)
    });
    violations(spec, rights, inputs(spec).chain(tables).chain(outputs).chain(dead_letters))
}

/// Checks that a revision may use its topics on this host, whose file of teams may differ from another's, or have changed.
pub fn check_rights(spec: &Spec, rights: &TopicRights) -> Result<(), Rejection> {
    Rejection::of(check(spec, rights)).map_or(Ok(()), Err)
}

/// Checks that a revision may still read its inputs: offsets tell of them.
pub fn check_inputs(spec: &Spec, rights: &TopicRights) -> Result<(), Rejection> {
    Rejection::of(violations(spec, rights, inputs(spec))).map_or(Ok(()), Err)
}

fn inputs(spec: &Spec) -> impl Iterator<Item = (String, TopicUse, &TopicName)> {
    spec.inputs.iter().enumerate().map(|(i, topic)| (format!("inputs[{i}]"), TopicUse::Read, topic))
}

/// The rules that these uses break, each named by its field.
fn violations<'s>(
    spec: &Spec,
    rights: &TopicRights,
    uses: impl Iterator<Item = (String, TopicUse, &'s TopicName)>,
) -> Vec<Violation> {
    let mut denied = Vec::new();
    let mut owned = Vec::new();
    for (field, usage, topic) in uses {
        let Err(denial) = rights.check(&spec.id, usage, topic) else { continue };
        let problem = Problem { field, message: message(spec, topic, &denial) };
        match denial {
            Denial::NotAccepted { .. } => owned.push(problem),
            Denial::NotGranted { .. } | Denial::Protected { .. } => denied.push(problem),
        }
    }
    let rules = [Violation::of_fields(Code::TopicDenied, denied), Violation::of_fields(Code::TopicOwned, owned)];
    rules.into_iter().flatten().collect()
}

fn message(spec: &Spec, topic: &TopicName, denial: &Denial) -> String {
    let team = &spec.id.team;
    match denial {
        Denial::NotGranted { usage } => format!("team {team} may not {usage} topic {topic} (topics.{usage})"),
        Denial::Protected { usage } => {
            format!("team {team} may not {usage} topic {topic}: it is another program's, and only its whole name grants it")
        }
        Denial::NotAccepted { owner } => {
            format!("topic {topic} belongs to team {owner}, which does not accept records of team {team} (accepts_from)")
        }
    }
}
