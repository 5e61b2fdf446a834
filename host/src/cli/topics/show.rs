//! The verbs that list, create and describe topics.

use clap::Args;
use serde::Serialize;

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

/// A topic, with its compaction as far as it is known.
#[derive(Debug, Serialize)]
pub struct TopicDetails {
    #[serde(flatten)]
    pub view: TopicView,
    /// See [`crate::ports::TopicInfo::compacted`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compacted: Option<bool>,
    /// See [`crate::ports::TopicInfo::needs_keys`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs_keys: Option<bool>,
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

fn show(topic: &TopicDetails, output: Output) -> Result<()> {
    match output {
        Output::Json => text::emit_value(topic),
        Output::Text => text::emit(&topic.to_text()),
    }
}

// === impl TopicDetails ===

impl TopicDetails {
    /// A topic of which nobody tells the compaction.
    pub fn of(view: TopicView) -> Self {
        Self { view, compacted: None, needs_keys: None }
    }

    fn to_text(&self) -> String {
        let view = &self.view;
        let mut pairs = vec![
            ("topic", view.name.to_string()),
            ("partitions", view.partitions.to_string()),
            ("largest record", format!("{} bytes", view.record_bytes_max)),
        ];
        let compacted = match (self.compacted, self.needs_keys) {
            (Some(true), _) => Some("yes"),
            (Some(false), Some(true)) => Some("yes, and deleted by age"),
            (Some(false), _) => Some("no"),
            (None, _) => None,
        };
        pairs.extend(compacted.map(|compacted| ("compacted", compacted.to_owned())));
        let mut table = Table::new(["PARTITION", "FIRST", "END"]);
        for OffsetRange { partition, first, end } in &view.offsets {
            table.row([partition.to_string(), first.to_string(), end.to_string()]);
        }
        format!("{}\n{table}", fields(&pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api_types::Line;

    #[test]
    fn compaction_is_shown_where_it_is_known() {
        for (compacted, needs_keys, line, json) in [
            (None, None, "", "}"),
            (Some(true), Some(true), "compacted:       yes\n", r#","compacted":true,"needs_keys":true}"#),
            (Some(false), Some(false), "compacted:       no\n", r#","compacted":false,"needs_keys":false}"#),
            (
                Some(false),
                Some(true),
                "compacted:       yes, and deleted by age\n",
                r#","compacted":false,"needs_keys":true}"#,
            ),
        ] {
            let view = TopicView { name: Line::of("t"), partitions: 1, record_bytes_max: 9, offsets: Vec::new() };
            let topic = TopicDetails { view, compacted, needs_keys };
            let head = "topic:           t\npartitions:      1\nlargest record:  9 bytes\n";
            assert_eq!(topic.to_text(), format!("{head}{line}\nPARTITION  FIRST  END\n"));
            let shown = serde_json::to_string(&topic).expect("plain data");
            assert_eq!(shown, format!(r#"{{"name":"t","partitions":1,"record_bytes_max":9{json}"#));
        }
    }
}
