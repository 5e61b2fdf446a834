//! `sandbar audit`: who changed what, and who was refused.

use clap::Args;

use crate::api_types::{AuditList, AuditView};
use crate::model::names::TeamName;
use crate::model::units::Span;

use super::super::error::Result;
use super::super::text::{Output, Table, emit, emit_value, optional};
use super::session::Session;
use super::url_part::span;

#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Only entries that concern this team [default: those of every team that you administer]
    #[arg(long)]
    team: Option<TeamName>,
    /// Time to look back, such as 10m or 7d
    #[arg(long, default_value = "1h", value_name = "DURATION")]
    since: Span,
}

/// Asks for page after page. With JSON each entry is a line.
pub fn audit(args: AuditArgs, session: &Session) -> Result<()> {
    let team = args.team.map(|team| format!("&team={team}")).unwrap_or_default();
    let mut place = format!("since={}", span(args.since));
    let mut table = Table::new(["AT", "ACTOR", "ADDRESS", "ACTION", "OUTCOME", "ON", "REVISION", "COUNT"]);
    loop {
        let answer = session.client.get(&format!("/v1/audit?{place}{team}"))?;
        let AuditList { entries, next } = answer.parse()?;
        for entry in entries {
            match session.output {
                Output::Json => emit_value(&entry)?,
                Output::Text => add(&mut table, entry),
            }
        }
        let Some(next) = next else { break };
        place = format!("from={next}");
    }
    match session.output {
        Output::Json => Ok(()),
        Output::Text => emit(&table.to_string()),
    }
}

fn add(table: &mut Table, entry: AuditView) {
    let object = match (&entry.team, &entry.transform, &entry.target) {
        (Some(team), Some(transform), _) => format!("{team}/{transform}"),
        (team, None, Some(target)) => [team.as_deref(), Some(target)].into_iter().flatten().collect::<Vec<_>>().join(" "),
        (team, _, None) | (team @ None, Some(_), _) => team.as_deref().unwrap_or_default().to_owned(),
    };
    let outcome = match &entry.code {
        Some(code) => format!("{} {code}", entry.outcome),
        None => entry.outcome.to_string(),
    };
    table.row([
        entry.at.into(),
        entry.actor.into(),
        optional(entry.address),
        entry.action.into(),
        outcome,
        object,
        optional(entry.revision),
        entry.count.to_string(),
    ]);
}
