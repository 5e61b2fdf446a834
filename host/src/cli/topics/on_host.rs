//! The topics of `sandbar dev`, through its API.

use std::time::{Duration, Instant};

use serde_json::json;
use serde_json::value::RawValue;

use crate::api_types::{Form, RecordPage, TopicList, TopicSettings, TopicView, WriteResult};
use crate::model::codes::Code;
use crate::model::names::TopicName;

use super::super::error::{Error, Result};
use super::super::remote::{Body, Client};
use super::Topics;
use super::consume::Reading;

/// Records of one page.
const PAGE_RECORDS: usize = 1000;
/// Longest wait of one request.
const WAIT_MAX: Duration = Duration::from_secs(10);

pub struct OnHost<'a> {
    pub client: &'a Client,
}

impl Topics for OnHost<'_> {
    fn list(&self) -> Result<TopicList> {
        self.client.get("/v1/topics").and_then(|answer| answer.parse()).map_err(explained)
    }

    fn describe(&self, topic: &TopicName) -> Result<TopicView> {
        let found = self.list()?.topics.into_iter().find(|found| *found.name == *topic.as_str());
        found.ok_or_else(|| {
            let error = Error::new(super::super::error::Kind::Failed, format_args!("there is no topic {topic}"));
            error.with_code(Code::NoTopic.as_str()).with_hint(Code::NoTopic.hint())
        })
    }

    fn create(&self, topic: &TopicName, settings: &TopicSettings) -> Result<TopicView> {
        let body = Body::json(&json!(settings));
        self.client.send("PUT", &format!("/v1/topics/{topic}"), &body).and_then(|answer| answer.parse()).map_err(explained)
    }

    /// It is sent once: a host keeps no keys of writes, and would write the records again.
    fn produce(&self, topic: &TopicName, lines: &[u8]) -> Result<usize> {
        let body = Body { content_type: "application/x-ndjson".into(), bytes: lines.to_vec(), ..Body::default() };
        let answer = self.client.send_once("POST", &format!("/v1/topics/{topic}/records"), &body).map_err(explained)?;
        answer.parse().map(|WriteResult { records }| records)
    }

    fn consume(&self, topic: &TopicName, reading: &Reading, take: &mut dyn FnMut(&str) -> Result<bool>) -> Result<()> {
        let Reading { partition, from, follow, wait, form } = reading;
        let deadline = Instant::now() + *wait;
        let form = if *form == Form::Json { "json" } else { "text" };
        let partition = partition.map_or(String::new(), |partition| format!("&partition={partition}"));
        let mut start = format!("offset={from}");
        let mut is_first = true;
        loop {
            let left = if is_first { deadline.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            let wait = if *follow { WAIT_MAX } else { left.min(WAIT_MAX) };
            let wait = wait.as_millis();
            let path =
                format!("/v1/topics/{topic}/records?{start}{partition}&limit={PAGE_RECORDS}&wait={wait}ms&form={form}");
            let answer = self.client.get_json(&path).map_err(explained)?;
            let page: RecordPage<Box<RawValue>> = answer.parse()?;
            for record in &page.records {
                if !take(record.get())? {
                    return Ok(());
                }
            }
            is_first &= page.records.is_empty();
            let is_at_end = page.partitions.iter().all(|it| it.next_offset >= it.end_offset);
            if !follow && is_at_end && (!is_first || Instant::now() >= deadline) {
                return Ok(());
            }
            let next: Vec<String> =
                page.partitions.iter().map(|it| format!("{}:{}", it.partition, it.next_offset)).collect();
            start = format!("offsets={}", next.join(","));
        }
    }
}

/// A host on Kafka has no routes of topics.
fn explained(error: Error) -> Error {
    if error.has_code(Code::NoRoute) {
        return Error::usage("this host works on Kafka, and its API has no topics")
            .with_hint("give the brokers: --brokers HOST:PORT, and --kafka-config FILE where they want a log-in");
    }
    error
}
