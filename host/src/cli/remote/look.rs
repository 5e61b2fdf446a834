//! Verbs that show: list, describe, status, hosts. Each is one GET.

use std::collections::BTreeMap;

use clap::Args;

use crate::api_types::{
    HostList, OmittedPartitions, PlacementView, StatusView, TransformList, TransformStatus, TransformView,
};
use crate::model::names::TeamName;

use super::super::error::Result;
use super::super::text::{self, Table, fields, optional, short};
use super::session::{Session, Target, route};

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Show only this team's transforms
    pub team: Option<TeamName>,
}

#[derive(Debug, Args)]
pub struct HostsArgs {}

pub fn list(args: ListArgs, session: &Session) -> Result<()> {
    let path = args.team.map_or("/v1/transforms".into(), |team| format!("/v1/teams/{team}/transforms"));
    session.show(&session.client.get(&path)?, |list: TransformList| {
        let mut table = Table::new(["TRANSFORM", "REVISION", "RUNS", "ROLLOUT", "STATE", "LAG", "MODULE", "CHANGED"]);
        for it in list.transforms {
            let transform = format!("{}/{}", it.team, it.name);
            table.row([
                transform,
                it.revision.to_string(),
                numbers(&it.running_revisions),
                it.rollout.to_string(),
                it.state.to_string(),
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
    session.show(&answer, |it: TransformView| {
        let head = fields(&[
            ("transform", format!("{}/{}", it.team, it.name)),
            ("revision", it.revision.to_string()),
            ("runs", it.running_revisions.as_deref().map_or("-".to_owned(), runs)),
            ("rollout", optional(it.rollout.as_ref())),
            ("module", it.module.into()),
            ("signed_by", optional(it.signed_by.as_ref())),
            ("desired", it.desired.to_string()),
            ("changed", it.changed_at.into()),
        ]);
        let spec = text::yaml(&it.spec);
        let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
        format!("{head}spec:\n{spec}")
    })
}

pub fn status(target: Target, session: &Session) -> Result<()> {
    let answer = session.client.get(&route(&target.id()?, "/status"))?;
    session.show(&answer, |status: StatusView| {
        let mut rollout = format!("revision {} {}", status.rollout.revision, status.rollout.state);
        if let Some(error) = &status.rollout.error {
            rollout.push_str(&format!(": {error}"));
        }
        let mut lines = vec![
            ("transform", format!("{}/{}", status.team, status.name)),
            ("revision", status.revision.to_string()),
            ("runs", runs(&status.running_revisions)),
            ("desired", status.desired.to_string()),
            ("state", status.state.to_string()),
            ("lag", optional(status.lag)),
            ("rollout", rollout),
        ];
        lines.extend(status.placement.iter().flat_map(placement));
        format!("{}{}", fields(&lines), host_tables(&status.hosts))
    })
}

/// The number of hosts, the placed ones, and the others by the reason why they are not placed.
fn placement(it: &PlacementView) -> Vec<(&'static str, String)> {
    let mut others: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for other in &it.others {
        others.entry(&other.reason).or_default().push(&other.host);
    }
    let placed: Vec<&str> = it.hosts.iter().map(|host| &**host).collect();
    let mut lines = vec![("hosts", it.count.to_string()), ("placed", placed.join(", "))];
    lines.extend(others.into_iter().map(|(reason, hosts)| ("not placed", format!("{}: {reason}", hosts.join(", ")))));
    lines
}

/// The revisions that process records now, for a line of a description.
fn runs(revisions: &[u64]) -> String {
    if revisions.is_empty() { "no revision".to_owned() } else { numbers(revisions) }
}

fn numbers(revisions: &[u64]) -> String {
    let numbers: Vec<String> = revisions.iter().map(u64::to_string).collect();
    numbers.join(", ")
}

fn host_tables(hosts: &[TransformStatus]) -> String {
    let mut table = Table::new(["HOST", "STATE", "REVISION", "PARTITIONS", "ERROR"]);
    let mut partitions = Table::new(["TOPIC", "PARTITION", "HOST", "STATE", "REVISION", "SINCE", "OFFSET", "LAG", "ERROR"]);
    for host in hosts {
        let omitted = host.omitted.as_ref().map_or(0, |omitted| omitted.partitions);
        let owned = (host.partitions.len() + omitted).to_string();
        let name = host.host.to_string();
        let state = host.state.to_string();
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
        if let Some(OmittedPartitions { partitions: count, lag, state }) = &host.omitted {
            let more = format!("and {count} more");
            let dash = String::new;
            let host = host.host.to_string();
            partitions.row([more, dash(), host, state.to_string(), dash(), dash(), dash(), optional(*lag), dash()]);
        }
    }
    let parts = [table, partitions].into_iter().filter(|table| !table.is_empty());
    parts.map(|table| format!("\n{table}")).collect()
}

pub fn hosts(_: HostsArgs, session: &Session) -> Result<()> {
    session.show(&session.client.get("/v1/hosts")?, |list: HostList| {
        let mut table = Table::new(["HOST", "VERSION", "PLACED", "TRANSFORMS", "PARTITIONS", "STARTED", "SEEN"]);
        for it in list.hosts {
            table.row([
                it.host.into(),
                it.version.into(),
                optional(it.placed),
                it.transforms.to_string(),
                it.partitions.to_string(),
                it.started_at.into(),
                it.seen_at.into(),
            ]);
        }
        table.to_string()
    })
}
