//! The topics of `sandbar dev`, through its API.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use serde_json::value::RawValue;

use crate::api_types::{Form, PartitionPosition, RecordPage, TopicList, TopicSettings, WriteResult};
use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::model::random::random_u64;
use crate::model::units::Backoff;
use crate::topics::read::ReadStart;

use super::super::error::{Error, Kind, Result};
use super::super::remote::{Body, Client};
use super::super::text;
use super::Topics;
use super::consume::{Reading, ends_of};
use super::produce::Rules;
use super::show::TopicDetails;

/// Records of one page.
const PAGE_RECORDS: usize = 1000;
/// Longest wait of one request.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Between two attempts to reach a host that is on its way back: as `logs -f` waits.
const RECONNECT: Backoff = Backoff { first: Duration::from_millis(250), longest: Duration::from_secs(5) };
/// Longest line: a host takes so many bytes of records in one request (`records_bytes_max` of docs/api.md).
const LINE_BYTES_MAX: usize = 8 << 20;

pub struct OnHost<'a> {
    pub client: &'a Client,
}

impl Topics for OnHost<'_> {
    fn list(&self) -> Result<TopicList> {
        self.client.get("/v1/topics").and_then(|answer| answer.parse()).map_err(explained_read)
    }

    fn describe(&self, topic: &TopicName) -> Result<TopicDetails> {
        let found = self.list()?.topics.into_iter().find(|found| *found.name == *topic.as_str());
        let missing = || Error::new(Kind::Failed, format_args!("there is no topic {topic}")).with(Code::NoTopic);
        found.map(TopicDetails::of).ok_or_else(missing)
    }

    fn create(&self, topic: &TopicName, settings: &TopicSettings) -> Result<TopicDetails> {
        let body = Body::json(&json!(settings));
        let sent = self.client.send("PUT", &format!("/v1/topics/{topic}"), &body);
        sent.and_then(|answer| answer.parse()).map(TopicDetails::of).map_err(explained)
    }

    /// A host tells nothing of keys. Its log writes the records of one request that name one partition, or none, as one.
    fn rules(&self, _topic: &TopicName) -> Result<Rules> {
        Ok(Rules { line_bytes_max: LINE_BYTES_MAX, needs_keys: false, is_all_or_nothing: true })
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

    /// Ends, without `follow`, when each partition is read to the end that it had at the first page. With `follow` it goes on
    /// at the same offsets when the host is back.
    fn consume(&self, topic: &TopicName, reading: &Reading, take: &mut dyn FnMut(&str) -> Result<bool>) -> Result<()> {
        let Reading { partition, from, follow, wait, form } = reading;
        let form = if *form == Form::Json { "json" } else { "text" };
        let partition = partition.map_or(String::new(), |partition| format!("&partition={partition}"));
        let route = format!("/v1/topics/{topic}/records?limit={PAGE_RECORDS}&form={form}{partition}");
        let began = Instant::now();
        let mut start = format!("offset={from}");
        let mut ends: Option<BTreeMap<i32, i64>> = None;
        let mut failures = 0;
        loop {
            let time = match (*follow, &ends) {
                (true, Some(_)) => WAIT_MAX,
                (false, None) => wait.saturating_sub(began.elapsed()).min(WAIT_MAX),
                // A first page has the offsets to go on at, which a reader that follows needs before a host restarts.
                (true, None) | (false, Some(_)) => Duration::ZERO,
            };
            let page = match self.page(&format!("{route}&{start}&wait={}ms", time.as_millis())) {
                // A host that never answered is an error; a host that did may be back soon.
                Err(error) if ends.is_none() && failures == 0 && error.kind != Kind::Unavailable => return Err(error),
                Err(error) if *follow && error.may_pass() => {
                    // In silence it would look like a topic without new records.
                    if failures == 0 {
                        text::tell(format_args!("trying again: {error}"));
                    }
                    std::thread::sleep(RECONNECT.spread(failures, random_u64()));
                    failures += 1;
                    continue;
                }
                page => page?,
            };
            failures = 0;
            for record in &page.records {
                if !take(record.get())? {
                    return Ok(());
                }
            }
            start = format!("offsets={}", ReadStart::next(&page.partitions));
            if !follow && page.records.is_empty() && began.elapsed() < *wait && ends.is_none() {
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
        self.client.get_json(path).and_then(|answer| answer.parse()).map_err(explained_read)
    }
}

/// The error of a request that changes nothing.
fn explained_read(error: Error) -> Error {
    match error.kind {
        Kind::Broken => error.with_hint("nothing was changed: the same command may be given again"),
        _ => explained(error),
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
