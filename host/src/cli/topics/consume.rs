//! Shows the records of a topic.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::api_types::{Form, PartitionPosition};
use crate::model::names::TopicName;
use crate::model::units::Span;
use crate::topics::read::ReadStart;

use super::super::error::Result;
use super::super::text;
use super::Topics;

#[derive(Debug, Args)]
pub struct ConsumeArgs {
    /// The topic that is read
    topic: TopicName,
    /// Read this partition alone
    #[arg(long, short)]
    partition: Option<i32>,
    /// Where each partition begins: earliest, latest, an offset, or -N for N offsets before its end. (On Kafka the end of a
    /// transaction has an offset, too)
    #[arg(long, value_name = "OFFSET", default_value = "earliest", allow_hyphen_values = true, value_parser = start)]
    from: ReadStart,
    /// Number of records [default: all that are there now]
    #[arg(long, short = 'n', value_name = "RECORDS")]
    limit: Option<u64>,
    /// Go on with new records until it is interrupted
    #[arg(long, short)]
    follow: bool,
    /// Without --follow: time to wait for the first record
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    wait: Span,
    /// Keys and values that are JSON as JSON, or all as text, exactly
    #[arg(long, value_name = "FORM", default_value = "json")]
    form: FormArg,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormArg {
    Json,
    Text,
}

/// The records that are wanted.
pub struct Reading {
    /// None: all partitions.
    pub partition: Option<i32>,
    pub from: ReadStart,
    /// It goes on at the end, and waits for records.
    pub follow: bool,
    /// The time to wait for a first record.
    pub wait: Duration,
    pub form: Form,
}

fn start(raw: &str) -> Result<ReadStart, String> {
    ReadStart::parse(Some(raw), None).map_err(|error| error.to_string())
}

/// The ends of these partitions.
pub fn ends_of(positions: &[PartitionPosition]) -> BTreeMap<i32, i64> {
    positions.iter().map(|it| (it.partition, it.end_offset)).collect()
}

pub fn consume(args: ConsumeArgs, topics: &dyn Topics) -> Result<()> {
    let ConsumeArgs { topic, partition, from, limit, follow, wait: Span(wait), form } = args;
    let form = match form {
        FormArg::Json => Form::Json,
        FormArg::Text => Form::Text,
    };
    let mut left = limit.unwrap_or(u64::MAX);
    if left == 0 {
        return Ok(());
    }
    topics.consume(&topic, &Reading { partition, from, follow, wait, form }, &mut |record| {
        left -= 1;
        Ok(text::emit_while_read(&text::json_line(record))? && left > 0)
    })
}
