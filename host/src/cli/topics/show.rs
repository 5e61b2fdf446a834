//! The verbs that list, create and describe topics.

use clap::Args;

use crate::api_types::{OffsetRange, TopicSettings, TopicView};
use crate::model::names::TopicName;

use super::super::error::Result;
use super::super::text::{self, Output, Table, fields};
use super::Topics;

#[derive(Debug, Args)]
pub struct ListArgs {}

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The name of the topic
    topic: TopicName,
    /// Number of partitions, which decides how many workers can share the topic
    #[arg(long, short, default_value_t = 1)]
    partitions: i32,
    /// Keep the last value of each key, instead of deleting by age
    #[arg(long)]
    compacted: bool,
}

#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// The name of the topic
    topic: TopicName,
}

pub fn list(_: ListArgs, topics: &dyn Topics, output: Output) -> Result<()> {
    let list = topics.list()?;
    match output {
        Output::Json => text::emit_value(&list),
        Output::Text => {
            let mut table = Table::new(["TOPIC", "PARTITIONS"]);
            list.topics.iter().for_each(|topic| table.row([topic.name.to_string(), topic.partitions.to_string()]));
            text::emit(&table.to_string())
        }
    }
}

pub fn create(args: CreateArgs, topics: &dyn Topics, output: Output) -> Result<()> {
    let CreateArgs { topic, partitions, compacted } = args;
    show(&topics.create(&topic, &TopicSettings { partitions, compacted })?, output)
}

pub fn describe(args: DescribeArgs, topics: &dyn Topics, output: Output) -> Result<()> {
    show(&topics.describe(&args.topic)?, output)
}

fn show(topic: &TopicView, output: Output) -> Result<()> {
    if output == Output::Json {
        return text::emit_value(topic);
    }
    let head = fields(&[
        ("topic", topic.name.to_string()),
        ("partitions", topic.partitions.to_string()),
        ("largest record", format!("{} bytes", topic.record_bytes_max)),
    ]);
    let mut table = Table::new(["PARTITION", "FIRST", "END"]);
    for OffsetRange { partition, first, end } in &topic.offsets {
        table.row([partition.to_string(), first.to_string(), end.to_string()]);
    }
    text::emit(&format!("{head}\n{table}"))
}
