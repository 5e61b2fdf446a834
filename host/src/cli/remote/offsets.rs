//! `sandbar offsets`: the committed offsets of a transform. Only a paused transform lets them be set, which the host checks.

use std::str::FromStr;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::api_types::{MoveList, OffsetList};
use crate::model::names::TopicName;
use crate::model::units::Span;

use super::super::error::{Kind, Result};
use super::super::text::{Table, count, optional};
use super::body::Body;
use super::session::{Remote, Session, Target, route};

#[derive(Debug, Subcommand)]
pub enum OffsetsVerb {
    /// Show the committed offset and the lag of each input partition
    Get(Remote<Target>),
    /// Set the offsets of a paused transform
    Set(Remote<SetArgs>),
    /// Forget the offsets of a paused transform: the spec's `start` decides again
    Reset(Remote<ResetArgs>),
}

#[derive(Debug, Args)]
pub struct SetArgs {
    #[command(flatten)]
    target: Target,
    /// The position of every partition: earliest, latest, a time (2026-01-01T00:00:00Z), or a time ago (1h-ago)
    #[arg(long, value_name = "POSITION", required_unless_present = "offset", conflicts_with = "offset")]
    to: Option<Position>,
    /// The next offset of one partition; may be given several times
    #[arg(long, value_name = "TOPIC:PARTITION:OFFSET")]
    offset: Vec<PartitionOffset>,
    #[command(flatten)]
    dry_run: DryRunFlag,
}

#[derive(Debug, Args)]
pub struct ResetArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    dry_run: DryRunFlag,
}

#[derive(Debug, Args)]
struct DryRunFlag {
    /// Show the number of records that are processed again or skipped, change nothing
    #[arg(long)]
    dry_run: bool,
}

/// A position that is the same for every partition, as the API names it.
#[derive(Debug, Clone, PartialEq)]
struct Position(Value);

#[derive(Debug, Clone, PartialEq, Eq)]
struct PartitionOffset {
    topic: TopicName,
    partition: i32,
    offset: i64,
}

// === impl OffsetsVerb ===

impl OffsetsVerb {
    pub fn run(self) -> Result<()> {
        match self {
            Self::Get(verb) => verb.run(get),
            Self::Set(verb) => verb.run(set),
            Self::Reset(verb) => verb.run(reset),
        }
    }
}

fn get(target: Target, session: &Session) -> Result<()> {
    let answer = session.client.get(&route(&target.id()?, "/offsets"))?;
    session.show(&answer, |list: OffsetList| {
        let mut table = Table::new(["TOPIC", "PARTITION", "OFFSET", "END", "LAG"]);
        for it in list.offsets {
            let partition = it.partition.to_string();
            let offset = if it.forgotten { "forgotten".to_owned() } else { optional(it.offset) };
            table.row([it.topic.into(), partition, offset, optional(it.end_offset), optional(it.lag)]);
        }
        table.to_string()
    })
}

fn set(args: SetArgs, session: &Session) -> Result<()> {
    let one = |it: &PartitionOffset| json!({ "topic": it.topic.as_str(), "partition": it.partition, "offset": it.offset });
    let request = match args.to {
        Some(Position(position)) => json!({ "to": position }),
        None => json!({ "offsets": args.offset.iter().map(one).collect::<Vec<_>>() }),
    };
    change(args.target, session, "PATCH", &args.dry_run, &Body::json(&request))
}

fn reset(args: ResetArgs, session: &Session) -> Result<()> {
    change(args.target, session, "DELETE", &args.dry_run, &Body::default())
}

/// A move is sent once: a host does not know it again. Sent later, it may go elsewhere, and its answer is another.
fn change(target: Target, session: &Session, method: &str, dry_run: &DryRunFlag, body: &Body) -> Result<()> {
    let id = target.id()?;
    let answer = if dry_run.dry_run {
        session.client.send(method, &route(&id, "/offsets?dry_run=true"), body)
    } else {
        let sent = session.client.send_once(method, &route(&id, "/offsets"), body);
        sent.map_err(|error| match error.kind {
            Kind::Broken => {
                error.with_hint(format!("look with `sandbar offsets get {id}` first: the offsets may have moved"))
            }
            _ => error,
        })
    };
    session.show(&answer?, moves_text)
}

fn moves_text(changes: MoveList) -> String {
    let records: Vec<i64> = changes.offsets.iter().map(|it| it.records).collect();
    let mut table = Table::new(["TOPIC", "PARTITION", "FROM", "TO", "RECORDS"]);
    for it in changes.offsets {
        table.row([it.topic.into(), it.partition.to_string(), optional(it.from), optional(it.to), it.records.to_string()]);
    }
    let would = if changes.dry_run { "would be" } else { "will be" };
    format!("{table}{}\n", effects(&records, would))
}

/// Tells the records that are processed again, and those that are skipped: a sum of both would hide either.
fn effects(records: &[i64], would: &str) -> String {
    let sum = |is_counted: fn(i64) -> bool| {
        let counted = records.iter().copied().filter(|&records| is_counted(records));
        counted.fold(0_u64, |sum, records| sum.saturating_add(records.unsigned_abs()))
    };
    let again = sum(|records| records > 0);
    let skipped = sum(|records| records < 0);
    let effect = |records: u64, effect: &str| format!("{} {would} {effect}", count(records, "record"));
    match (again, skipped) {
        (again, 0) => effect(again, "processed again"),
        (0, skipped) => effect(skipped, "skipped"),
        (again, skipped) => format!("{}, {}", effect(again, "processed again"), effect(skipped, "skipped")),
    }
}

// === impl Position ===

impl FromStr for Position {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        if let "earliest" | "latest" = raw {
            return Ok(Self(raw.into()));
        }
        if let Some(ago) = raw.strip_suffix("-ago") {
            return Ok(Self(json!({ "ago": ago.parse::<Span>()?.to_string() })));
        }
        match humantime::parse_rfc3339(raw) {
            Ok(_) => Ok(Self(json!({ "timestamp": raw }))),
            Err(_) => {
                Err("expected earliest, latest, a time such as 2026-01-01T00:00:00Z, or one ago such as 1h-ago".into())
            }
        }
    }
}

// === impl PartitionOffset ===

impl FromStr for PartitionOffset {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        let refused = || "expected TOPIC:PARTITION:OFFSET, such as shop.orders:0:17".to_owned();
        let [topic, partition, offset] = raw.split(':').collect::<Vec<_>>().try_into().map_err(|_| refused())?;
        let topic = topic.parse().map_err(|error| format!("{error}"))?;
        let partition = partition.parse().ok().filter(|&partition| partition >= 0).ok_or_else(refused)?;
        let offset = offset.parse().ok().filter(|&offset| offset >= 0).ok_or_else(refused)?;
        Ok(Self { topic, partition, offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_offsets_are_read_or_refused() {
        for (raw, expected) in [
            ("latest", Some(json!("latest"))),
            ("90m-ago", Some(json!({ "ago": "1h 30m" }))),
            ("2026-01-01T00:00:00Z", Some(json!({ "timestamp": "2026-01-01T00:00:00Z" }))),
            ("yesterday", None),
            ("1-ago", None),
        ] {
            assert_eq!(raw.parse::<Position>().ok().map(|position| position.0), expected, "{raw}");
        }
        let valid: PartitionOffset = "shop.orders:0:17".parse().expect("valid");
        assert_eq!((valid.topic.as_str(), valid.partition, valid.offset), ("shop.orders", 0, 17));
        for raw in ["shop.orders:0", "shop.orders:-1:3", "shop.orders:0:-3", "a b:0:1", "shop.orders:0:x"] {
            assert!(raw.parse::<PartitionOffset>().is_err(), "{raw}");
        }
    }

    #[test]
    fn records_that_are_skipped_do_not_hide_those_that_are_processed_again() {
        for (records, expected) in [
            (&[][..], "0 records would be processed again"),
            (&[100, 0][..], "100 records would be processed again"),
            (&[-1][..], "1 record would be skipped"),
            (&[100, -100][..], "100 records would be processed again, 100 records would be skipped"),
        ] {
            assert_eq!(effects(records, "would be"), expected);
        }
    }
}
