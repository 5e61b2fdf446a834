//! Verbs over topics. Without `--brokers` the topics are those of `sandbar dev`, which only its API reaches. With it they are
//! those of a Kafka cluster, which the command asks itself, with the credentials of whoever runs it: a token of a host's API
//! gives no right over topics.

mod consume;
mod on_host;
mod on_kafka;
mod produce;
mod show;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};

use crate::api_types::{TopicList, TopicSettings};
use crate::model::names::TopicName;
use crate::ports::Log;

use self::consume::{ConsumeArgs, Reading};
use self::on_host::OnHost;
use self::on_kafka::OnKafka;
use self::produce::{ProduceArgs, Rules};
use self::show::{CreateArgs, DescribeArgs, ListArgs, TopicDetails};
use super::error::{Error, Result};
use super::remote::Remote;
use super::text::Output;

/// Connects to a Kafka cluster.
pub type OpenKafka = fn(Brokers) -> anyhow::Result<Arc<dyn Log>>;

#[derive(Debug, Subcommand)]
pub enum TopicVerb {
    /// List, create and describe topics
    #[command(subcommand)]
    Topics(TopicsVerb),
    /// Write records to a topic: one JSON object a line, with key, value, headers, partition and timestamp
    Produce(OnTopics<ProduceArgs>),
    /// Show the committed records of a topic, from all of its partitions, as lines that `produce` takes
    Consume(OnTopics<ConsumeArgs>),
}

#[derive(Debug, Subcommand)]
pub enum TopicsVerb {
    /// List the topics, but those of Sandbar itself
    #[command(visible_alias = "ls")]
    List(OnTopics<ListArgs>),
    /// Create a topic; one that is there already stays as it is
    Create(OnTopics<CreateArgs>),
    /// Show a topic's partitions with their first and end offsets
    Describe(OnTopics<DescribeArgs>),
}

/// A verb with the place of its topics.
#[derive(Debug, Args)]
pub struct OnTopics<T: Args> {
    #[command(flatten)]
    remote: Remote<T>,
    #[command(flatten)]
    kafka: KafkaArgs,
}

#[derive(Debug, Args)]
struct KafkaArgs {
    /// The brokers of a Kafka cluster [default: none, the topics are those of `sandbar dev`]
    #[arg(long, value_name = "HOST:PORT,...", conflicts_with_all = ["url", "context"])]
    brokers: Option<String>,
    /// A file of librdkafka properties for --brokers, one name=value a line, as of `sandbar serve`
    #[arg(long, value_name = "FILE", requires = "brokers")]
    kafka_config: Option<PathBuf>,
}

/// A Kafka cluster, and the way to log in.
pub struct Brokers {
    pub addresses: String,
    pub config: Option<PathBuf>,
}

/// The topics of a log.
trait Topics {
    /// All topics. Offsets may be left out.
    fn list(&self) -> Result<TopicList>;

    fn describe(&self, topic: &TopicName) -> Result<TopicDetails>;

    /// Creates the topic. One that is there stays as it is, and is refused if it is known to have other settings.
    fn create(&self, topic: &TopicName, settings: &TopicSettings) -> Result<TopicDetails>;

    /// The rules of the topic for records that are written.
    fn rules(&self, topic: &TopicName) -> Result<Rules>;

    /// Writes records: lines of JSON, a few of them.
    fn produce(&self, topic: &TopicName, lines: &[u8]) -> Result<usize>;

    /// Hands over each record as JSON, until `take` returns false or the reading is over.
    fn consume(&self, topic: &TopicName, reading: &Reading, take: &mut dyn FnMut(&str) -> Result<bool>) -> Result<()>;
}

// === impl TopicVerb ===

impl TopicVerb {
    pub fn run(self, open: OpenKafka) -> Result<ExitCode> {
        match self {
            Self::Topics(TopicsVerb::List(verb)) => verb.run(open, show::list),
            Self::Topics(TopicsVerb::Create(verb)) => verb.run(open, show::create),
            Self::Topics(TopicsVerb::Describe(verb)) => verb.run(open, show::describe),
            Self::Produce(verb) => verb.run(open, produce::produce),
            Self::Consume(verb) => verb.run(open, |args, topics, _| consume::consume(args, topics)),
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

// === impl Brokers ===

impl Brokers {
    pub(super) fn open(self, open: OpenKafka) -> Result<Arc<dyn Log>> {
        if self.addresses.trim().is_empty() {
            return Err(Error::usage("--brokers names no broker").with_hint("it looks like kafka-1:9092,kafka-2:9092"));
        }
        open(self).map_err(Error::failed)
    }
}

// === impl OnTopics ===

impl<T: Args> OnTopics<T> {
    fn run(self, open: OpenKafka, run: impl FnOnce(T, &dyn Topics, Output) -> Result<()>) -> Result<()> {
        let Self { remote, kafka: KafkaArgs { brokers, kafka_config: config } } = self;
        let Some(addresses) = brokers else {
            return remote.run(|args, session| run(args, &OnHost { client: &session.client }, session.output));
        };
        let (args, options) = remote.into_parts();
        let log = Brokers { addresses, config }.open(open)?;
        run(args, &OnKafka { log }, options.output())
    }
}
