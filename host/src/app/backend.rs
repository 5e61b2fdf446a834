//! The log that a host works on: Kafka, or the embedded one.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;

use crate::config::KafkaFlags;
use crate::embedded::{EmbeddedLog, Options as EmbeddedOptions};
use crate::kafka::{KafkaConfig, KafkaLog};
use crate::model::names::ClusterName;
use crate::model::text::OneLine;
use crate::ports::Log;
use crate::telemetry::metrics::Metrics;

/// The log that a host works on, before it is opened.
pub enum Backend {
    Kafka { config: KafkaConfig, cluster: ClusterName },
    Embedded,
}

/// An open log, and the cluster that the host belongs to.
pub(super) struct OpenLog {
    pub log: Arc<dyn Log>,
    pub cluster: ClusterName,
    pub is_embedded: bool,
}

impl Backend {
    pub fn kafka(flags: KafkaFlags) -> anyhow::Result<Self> {
        let brokers = flags.brokers.filter(|brokers| !brokers.trim().is_empty());
        let brokers = brokers.context("--brokers HOST:PORT is needed (or SANDBAR_BROKERS, or `brokers` in the file)")?;
        let cluster = flags.cluster.context("--cluster NAME is needed (or SANDBAR_CLUSTER, or `cluster` in the file)")?;
        let config = KafkaConfig {
            brokers,
            properties: flags.kafka_properties,
            file: flags.kafka_config,
            teams_dir: flags.kafka_teams_dir,
            team_credentials_required: flags.kafka_teams_required == Some(true),
            session_timeout: flags.session_timeout.map(|span| span.0),
            metrics: None,
        };
        Ok(Self::Kafka { config, cluster })
    }

    pub(super) fn open(self, data_dir: &Path, metrics: &Metrics) -> anyhow::Result<OpenLog> {
        Ok(match self {
            Self::Kafka { config, cluster } => {
                let config = KafkaConfig { metrics: Some(metrics.kafka.clone()), ..config };
                OpenLog { log: Arc::new(KafkaLog::new(config)?), cluster, is_embedded: false }
            }
            Self::Embedded => {
                let log = EmbeddedLog::open(EmbeddedOptions::new(log_dir(data_dir)))?;
                OpenLog { log: Arc::new(log), cluster: "dev".parse()?, is_embedded: true }
            }
        })
    }

    /// Says which log the host works on.
    pub(super) fn announce(&self, scheme: &str, address: SocketAddr, data_dir: &Path) {
        match self {
            Self::Kafka { config: kafka, cluster } => {
                let version = env!("CARGO_PKG_VERSION");
                tracing::info!(brokers = kafka.brokers, %cluster, scheme, %address, version, "sandbar starts");
            }
            Self::Embedded => {
                let log = log_dir(data_dir);
                let shown = format!(
                    "Sandbar on an embedded log in {} - for one process, for development.\n\
                     Production means Kafka: sandbar serve --brokers HOST:PORT --cluster NAME\n\
                     API: {scheme}://{address}/\n",
                    OneLine(log.display())
                );
                // The host runs although nobody may read this; `eprintln!` would panic then.
                let _ = io::stderr().write_all(shown.as_bytes());
            }
        }
    }
}

/// Connects to a Kafka cluster without being a host.
pub fn kafka_log(brokers: String, properties_file: Option<PathBuf>) -> anyhow::Result<Arc<dyn Log>> {
    let config = KafkaConfig { brokers, file: properties_file, ..KafkaConfig::default() };
    Ok(Arc::new(KafkaLog::new(config)?))
}

fn log_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("log")
}
