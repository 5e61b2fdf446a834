//! Verbs that look: list, describe, status, hosts. Each is one GET.

use clap::Args;

use crate::model::names::TeamName;

use super::error::Result;
use super::session::{Session, Target, route};
use super::text::{self, Table, fields, optional, short};
use super::wire;

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only this team's
    pub team: Option<TeamName>,
}

#[derive(Debug, Args)]
pub struct HostsArgs {}

pub fn list(args: ListArgs, session: &Session) -> Result<()> {
    let path = args.team.map_or("/v1/transforms".into(), |team| format!("/v1/teams/{team}/transforms"));
    session.show(&session.client.get(&path)?, |list: wire::TransformList| {
        let mut table = Table::new(["TRANSFORM", "REVISION", "STATE", "LAG", "MODULE", "CHANGED"]);
        for it in list.transforms {
            let transform = format!("{}/{}", it.team, it.name);
            table.row([
                transform,
                it.revision.to_string(),
                it.state.into(),
                optional(it.lag),
                short(&it.module),
                it.changed_at.into(),
            ]);
        }
        table.to_string()
    })
}

pub fn describe(target: Target, session: &Session) -> Result<()> {
    let answer = session.client.get(&route(&target.id()?, ""))?;
    session.show(&answer, |it: wire::Transform| {
        let head = fields(&[
            ("transform", format!("{}/{}", it.team, it.name)),
            ("revision", it.revision.to_string()),
            ("module", it.module.into()),
            ("desired", it.desired.into()),
            ("changed", it.changed_at.into()),
        ]);
        let spec = text::yaml(&it.spec);
        let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
        format!("{head}spec:\n{spec}")
    })
}

pub fn status(target: Target, session: &Session) -> Result<()> {
    let answer = session.client.get(&route(&target.id()?, "/status"))?;
    session.show(&answer, |status: wire::Status| {
        let mut rollout = format!("revision {} {}", status.rollout.revision, status.rollout.state);
        let reasons = status.rollout.reason.iter().map(ToString::to_string);
        for why in reasons.chain(status.rollout.error.iter().map(ToString::to_string)) {
            rollout.push_str(&format!(": {why}"));
        }
        let head = fields(&[
            ("transform", format!("{}/{}", status.team, status.name)),
            ("revision", status.revision.to_string()),
            ("desired", status.desired.into()),
            ("state", status.state.into()),
            ("lag", optional(status.lag)),
            ("rollout", rollout),
        ]);
        format!("{head}{}", host_tables(&status.hosts))
    })
}

fn host_tables(hosts: &[wire::HostStatus]) -> String {
    let mut table = Table::new(["HOST", "STATE", "REVISION", "PARTITIONS", "ERROR"]);
    let mut partitions = Table::new(["TOPIC", "PARTITION", "HOST", "STATE", "REVISION", "SINCE", "OFFSET", "LAG", "ERROR"]);
    for host in hosts {
        let owned = host.partitions.len().to_string();
        let (name, state) = (host.host.to_string(), host.state.to_string());
        table.row([name, state, host.revision.to_string(), owned, optional(host.error.as_ref())]);
        for it in &host.partitions {
            partitions.row([
                it.topic.to_string(),
                it.partition.to_string(),
                host.host.to_string(),
                it.state.to_string(),
                it.revision.to_string(),
                it.revision_since.to_string(),
                optional(it.committed_offset),
                optional(it.lag),
                optional(it.error.as_ref()),
            ]);
        }
    }
    let parts = [table, partitions].into_iter().filter(|table| !table.is_empty());
    parts.map(|table| format!("\n{table}")).collect()
}

pub fn hosts(_: HostsArgs, session: &Session) -> Result<()> {
    session.show(&session.client.get("/v1/hosts")?, |list: wire::HostList| {
        let mut table = Table::new(["HOST", "VERSION", "TRANSFORMS", "PARTITIONS", "STARTED", "SEEN"]);
        for it in list.hosts {
            let (transforms, partitions) = (it.transforms.to_string(), it.partitions.to_string());
            table.row([it.host.into(), it.version.into(), transforms, partitions, it.started_at.into(), it.seen_at.into()]);
        }
        table.to_string()
    })
}
