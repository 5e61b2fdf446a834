//! JVMs with Apache Kafka's jars: the broker, its tools, and Kafka Connect.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dirs;

const QUIET: [&str; 2] = ["-Xshare:auto", "-Djava.awt.headless=true"];
/// Flags for a JVM that lives shortly or does little: a quick start, and little memory.
pub const SMALL: [&str; 3] = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"];

/// A JVM with Kafka's jars, which `tools/setup.sh kafka` downloads: of `SANDBAR_KAFKA_VERSION`, or of the version that
/// `tools/kafka/pom.xml` names.
pub fn java(options: &[&str]) -> Command {
    let logging = dirs::root().join("tools/kafka/log4j2.properties");
    let version = std::env::var("SANDBAR_KAFKA_VERSION").map_or_else(|_| String::new(), |version| format!("-{version}"));
    let libs = cached(&format!("kafka{version}/libs"), "kafka");
    let mut command = Command::new("java");
    command.args(QUIET).args(options);
    command.arg(property("log4j2.configurationFile", &logging)).arg("-cp").arg(libs.join("*"));
    command
}

/// The directory of the downloads of `tools/setup.sh <mode>`.
pub fn cached(directory: &str, mode: &str) -> PathBuf {
    let cache = std::env::var_os("SANDBAR_CACHE").map_or_else(|| dirs::root().join(".sandbar"), PathBuf::from);
    let path = cache.join(directory);
    assert!(path.is_dir(), "{} is missing: run `make test`, or `tools/setup.sh {mode}` first", path.display());
    path
}

fn property(name: &str, value: &Path) -> String {
    format!("-D{name}={}", value.display())
}
