//! Shows the records of a topic.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::api_types::Form;
use crate::model::names::TopicName;
use crate::model::units::Span;

use super::super::error::Result;
use super::super::text;
use super::Topics;

#[derive(Debug, Args)]
pub struct ConsumeArgs {
    topic: TopicName,
    /// Read this partition alone
    #[arg(long, short)]
    partition: Option<i32>,
    /// The first record of each partition: earliest, latest, an offset, or -N for the last N
    #[arg(long, value_name = "OFFSET", default_value = "earliest", allow_hyphen_values = true)]
    from: String,
    /// Number of records [default: all that are there]
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
    /// `earliest`, `latest`, an offset, or -n.
    pub from: String,
    /// It goes on at the end, and waits for records.
    pub follow: bool,
    /// The time to wait for a first record.
    pub wait: Duration,
    pub form: Form,
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
