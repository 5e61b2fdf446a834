//! The verb that shows teams: their limits, and their use of them.

use clap::Args;

use crate::api_types::{CeilingView, Line, RedactionView, SigningView, TeamList, TeamView, TopicGrantsView};
use crate::model::names::TeamName;

use super::super::error::Result;
use super::super::text::{Table, fields, optional};
use super::session::Session;

#[derive(Debug, Args)]
pub struct TeamsArgs {
    /// Show only this team, with every limit
    pub team: Option<TeamName>,
}

/// The ceilings that a list of teams has a column for.
const COLUMNS: [&str; 5] =
    ["transforms_max", "workers_max", "partition_workers_max", "memory_bytes_max", "stored_modules_max"];

pub fn teams(args: TeamsArgs, session: &Session) -> Result<()> {
    match args.team {
        Some(team) => session.show(&session.client.get(&format!("/v1/teams/{team}"))?, one),
        None => session.show(&session.client.get("/v1/teams")?, all),
    }
}

fn all(list: TeamList) -> String {
    let mut table = Table::new(["TEAM", "WEIGHT", "TRANSFORMS", "WORKERS", "PARTITION-WORKERS", "MEMORY", "MODULES"]);
    for it in list.teams {
        let [transforms, workers, partition_workers, memory, modules] = COLUMNS.map(|key| use_of_max(&it, key));
        let weight = it.cpu_weight.to_string();
        table.row([it.team.into(), weight, transforms, workers, partition_workers, memory, modules]);
    }
    format!("{table}{}", trouble(list.file_error))
}

/// `used/max`, where the host tells both.
fn use_of_max(team: &TeamView, key: &str) -> String {
    let ceiling = team.ceilings.iter().find(|ceiling| &*ceiling.key == key);
    ceiling.and_then(|it| Some(format!("{}/{}", it.show(it.used?), it.show(it.max)))).unwrap_or_default()
}

fn one(team: TeamView) -> String {
    let head = fields(&[
        ("team", team.team.to_string()),
        ("cpu_weight", team.cpu_weight.to_string()),
        ("allow_cycle", team.allow_cycle.to_string()),
    ]);
    let topics = team.topics.as_ref().map_or_else(String::new, topics);
    let signing = team.signing.as_ref().map_or_else(String::new, signing);
    let mut table = Table::new(["CEILING", "USED", "MAX", "OVER"]);
    for it in &team.ceilings {
        let CeilingView { key, used, max, scope, .. } = it;
        table.row([key.to_string(), optional(used.map(|used| it.show(used))), it.show(*max), scope.to_string()]);
    }
    format!("{head}{topics}{signing}\n{table}{}", trouble(team.file_error))
}

fn topics(grants: &TopicGrantsView) -> String {
    let TopicGrantsView { owns, read, write, accepts_from, redact } = grants;
    let head = fields(&[
        ("topics.owns", joined(owns)),
        ("topics.read", joined(read)),
        ("topics.write", joined(write)),
        ("topics.accepts_from", joined(accepts_from)),
    ]);
    let mut table = Table::new(["REDACTED", "PATHS", "HEADERS", "WHOLE", "VIEWERS", "SHOWN-TO"]);
    for RedactionView { topic, paths, keys, headers, values, viewers, shown_to } in redact {
        let whole = [(*keys, "keys"), (*values, "values")].into_iter().filter(|(is_whole, _)| *is_whole);
        let whole: Vec<&str> = whole.map(|(_, part)| part).collect();
        let viewers = if *viewers { "masked" } else { "" };
        table.row([
            topic.to_string(),
            joined(paths),
            joined(headers),
            whole.join(", "),
            viewers.to_owned(),
            joined(shown_to),
        ]);
    }
    if table.is_empty() { head } else { format!("{head}\n{table}") }
}

fn joined(list: &[Line]) -> String {
    list.iter().map(|line| &**line).collect::<Vec<_>>().join(", ")
}

fn signing(rule: &SigningView) -> String {
    let keys: Vec<String> = rule.keys.iter().map(|key| format!("{} ({})", key.id, key.key)).collect();
    fields(&[("signing.required", rule.required.to_string()), ("signing.keys", keys.join(", "))])
}

fn trouble(file_error: Option<Line>) -> String {
    file_error.map_or_else(String::new, |error| format!("\nthe newest file of teams is not in use: {error}\n"))
}
