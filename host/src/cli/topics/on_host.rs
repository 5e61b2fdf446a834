//! The topics of `sandbar dev`, through its API.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use serde_json::value::RawValue;

use crate::api_types::{Form, PartitionPosition, RecordPage, TopicList, TopicSettings, TopicView, WriteResult};
use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::topics::read::ReadStart;

use super::super::error::{Error, Kind, Result};
use super::super::remote::{Body, Client};
use super::Topics;
use super::consume::{Reading, ends_of};

/// Records of one page.
const PAGE_RECORDS: usize = 1000;
/// Longest wait of one request.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Between two attempts to reach a host that is on its way back.
const RETRY_WAIT: Duration = Duration::from_secs(1);

pub struct OnHost<'a> {
    pub client: &'a Client,
}

impl Topics for OnHost<'_> {
    fn list(&self) -> Result<TopicList> {
        self.client.get("/v1/topics").and_then(|answer| answer.parse()).map_err(explained)
    }

    fn describe(&self, topic: &TopicName) -> Result<TopicView> {
        let found = self.list()?.topics.into_iter().find(|found| *found.name == *topic.as_str());
        found.ok_or_else(|| Error::new(Kind::Failed, format_args!("there is no topic {topic}")).with(Code::NoTopic))
    }

    fn create(&self, topic: &TopicName, settings: &TopicSettings) -> Result<TopicView> {
        let body = Body::json(&json!(settings));
        self.client.send("PUT", &format!("/v1/topics/{topic}"), &body).and_then(|answer| answer.parse()).map_err(explained)
    }

    /// It is sent once: a host keeps no keys of writes, and would write the records again.
    fn produce(&self, topic: &TopicName, lines: &[u8]) -> Result<usize> {
        let body = Body { content_type: "application/x-ndjson".into(), bytes: lines.to_vec(), ..Body::default() };
        let sent = self.client.send_once("POST", &format!("/v1/topics/{topic}/records"), &body);
        let answer = sent.map_err(|error| match error.kind {
            Kind::Broken => {
                error.with_hint("look with `sandbar consume`: the records may be written, and would be written again")
            }
            _ => explained(error),
        })?;
        answer.parse().map(|WriteResult { records }| records)
    }

    /// Ends, without `follow`, when each partition is read to the end that it had at the first page.
    fn consume(&self, topic: &TopicName, reading: &Reading, take: &mut dyn FnMut(&str) -> Result<bool>) -> Result<()> {
        let Reading { partition, from, follow, wait, form } = reading;
        let form = if *form == Form::Json { "json" } else { "text" };
        let partition = partition.map_or(String::new(), |partition| format!("&partition={partition}"));
        let route = format!("/v1/topics/{topic}/records?limit={PAGE_RECORDS}&form={form}{partition}");
        let began = Instant::now();
        let mut start = format!("offset={from}");
        let mut ends: Option<BTreeMap<i32, i64>> = None;
        loop {
            let left = if ends.is_none() { wait.saturating_sub(began.elapsed()) } else { Duration::ZERO };
            let time = if *follow { WAIT_MAX } else { left.min(WAIT_MAX) };
            let page = match self.page(&format!("{route}&{start}&wait={}ms", time.as_millis())) {
                // Whoever follows waits for a host that is on its way back.
                Err(error) if *follow && ends.is_some() && error.may_pass() => {
                    std::thread::sleep(RETRY_WAIT);
                    continue;
                }
                page => page?,
            };
            for record in &page.records {
                if !take(record.get())? {
                    return Ok(());
                }
            }
            start = format!("offsets={}", ReadStart::next(&page.partitions));
            if page.records.is_empty() && began.elapsed() < *wait && ends.is_none() {
                continue;
            }
            let ends = ends.get_or_insert_with(|| ends_of(&page.partitions));
            let is_read = |it: &PartitionPosition| ends.get(&it.partition).is_none_or(|end| it.next_offset >= *end);
            if !follow && page.partitions.iter().all(is_read) {
                return Ok(());
            }
        }
    }
}

impl OnHost<'_> {
    fn page(&self, path: &str) -> Result<RecordPage<Box<RawValue>>> {
        self.client.get_json(path).and_then(|answer| answer.parse()).map_err(explained)
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
