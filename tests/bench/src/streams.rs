//! Kafka Streams as a contender: the Java program of tests/bench/streams, with the settings of this file alone.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};
use sandbar_harness::{KafkaCluster, child::Process, dirs, jvm};

use crate::run::{Job, Running};

/// Its work, its guarantee, and the bytes of its cache before the stores.
#[derive(Debug, Clone, Copy)]
pub struct Streams {
    pub work: &'static str,
    pub guarantee: &'static str,
    pub cache_bytes: u64,
}

/// The default of Kafka Streams.
pub const CACHE_BYTES: u64 = 10 << 20;

/// A heap that does not grow, so that the collector works as little as it can, and the collector that takes the least CPU time
/// and memory for one thread on a small heap. The stores (RocksDB) are outside of the heap.
const JVM: [&str; 3] = ["-Xms512m", "-Xmx512m", "-XX:+UseSerialGC"];

/// Each is either the same as Sandbar's own (host/src/kafka/config.rs) or the advice of Kafka Streams' documentation.
/// Everything else has its default: RocksDB with bloom filters and a block cache of 50 MiB for each store, for example.
const SETTINGS: [(&str, &str); 15] = [
    ("commit.interval.ms", "100"),
    // A worker of Sandbar is a thread, and there is one by default.
    ("num.stream.threads", "1"),
    ("topology.optimization", "all"),
    ("auto.offset.reset", "earliest"),
    ("session.timeout.ms", "10000"),
    ("heartbeat.interval.ms", "2000"),
    ("consumer.fetch.max.wait.ms", "100"),
    ("consumer.max.poll.records", "4096"),
    ("consumer.receive.buffer.bytes", "-1"),
    ("producer.acks", "all"),
    ("producer.compression.type", "lz4"),
    ("producer.linger.ms", "5"),
    ("producer.batch.size", "524288"),
    ("producer.buffer.memory", "33554432"),
    ("producer.send.buffer.bytes", "-1"),
];

pub const EXACTLY_ONCE: &str = "exactly_once_v2";
pub const AT_LEAST_ONCE: &str = "at_least_once";

// === impl Streams ===

impl Streams {
    pub fn start(self, kafka: &KafkaCluster, job: &Job<'_>) -> anyhow::Result<Running> {
        let folder = dirs::fresh("streams");
        let settings = folder.join("settings");
        fs::write(&settings, self.properties(kafka.brokers(), job.output, &folder.join("state").to_string_lossy()))?;
        let mut command = Command::new("java");
        let class_path = format!("{}:{}/*", classes()?.display(), libraries().display());
        command.args(jvm_options()).args(["-cp", &class_path, "Rival", self.work]).arg(&settings);
        command.args([job.input, job.output, job.table]);
        let log = folder.join("log");
        let process = Process::start("streams", command, &log);
        Ok(Running { process, group: job.output.to_owned(), folder, log, ending: None })
    }

    /// The settings as the program reads them.
    fn properties(self, brokers: &str, application: &str, state: &str) -> String {
        let own = [
            ("bootstrap.servers", brokers.to_owned()),
            ("application.id", application.to_owned()),
            ("state.dir", state.to_owned()),
            ("processing.guarantee", self.guarantee.to_owned()),
            ("statestore.cache.max.bytes", self.cache_bytes.to_string()),
        ];
        let fixed = SETTINGS.map(|(name, value)| (name, value.to_owned()));
        let lines = own.into_iter().chain(fixed).map(|(name, value)| format!("{name}={value}\n"));
        lines.collect()
    }
}

/// The settings that all runs share, in one line.
pub fn described() -> String {
    let settings = SETTINGS.map(|(name, value)| format!("{name}={value}"));
    format!("Kafka Streams {}: {} {}", version(), jvm_options().join(" "), settings.join(" "))
}

/// `STREAMS_JVM` replaces the options of the JVM.
fn jvm_options() -> Vec<String> {
    match std::env::var("STREAMS_JVM") {
        Ok(options) => options.split_whitespace().map(str::to_owned).collect(),
        Err(_) => JVM.map(str::to_owned).to_vec(),
    }
}

fn libraries() -> PathBuf {
    jvm::cached("streams/libs", "streams")
}

fn version() -> String {
    let names = fs::read_dir(libraries()).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let version = |name: String| Some(name.strip_prefix("kafka-streams-")?.strip_suffix(".jar")?.to_owned());
    names.filter_map(version).next().unwrap_or_default()
}

/// The compiled program. javac takes a second, so that it is asked at every start.
fn classes() -> anyhow::Result<PathBuf> {
    let folder = dirs::target().join("bench/streams-classes");
    fs::create_dir_all(&folder)?;
    let sources = dirs::root().join("tests/bench/streams");
    let sources = ["Rival.java", "Topologies.java", "Orders.java"].map(|name| sources.join(name));
    let mut javac = Command::new("javac");
    javac.args(["--release", "17", "-d"]).arg(&folder);
    javac.arg("-cp").arg(format!("{}/*", libraries().display())).args(sources);
    let output = javac.output().context("javac is missing: run `tools/setup.sh streams`")?;
    ensure!(output.status.success(), "javac: {}", String::from_utf8_lossy(&output.stderr));
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_written_once() {
        let streams = Streams { work: "count", guarantee: EXACTLY_ONCE, cache_bytes: 0 };
        let properties = streams.properties("127.0.0.1:9092", "app", "/tmp/state");
        let mut names: Vec<&str> = properties.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), properties.lines().count()), (count, SETTINGS.len() + 5));
        assert!(properties.contains("processing.guarantee=exactly_once_v2\n"));
    }
}
