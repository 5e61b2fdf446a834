//! The options with which a host reaches its Kafka cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::telemetry::metrics::KafkaMetrics;

/// The address of a Kafka cluster, and the sources of its clients' properties. It is shown without values.
#[derive(Clone, Default)]
pub struct KafkaConfig {
    /// `host:port,host:port`.
    pub brokers: String,
    /// Properties of librdkafka (security.protocol, sasl.*, ssl.*, ...). A value may name a file or a variable.
    pub properties: BTreeMap<String, String>,
    /// A file of more properties, which is followed.
    pub file: Option<PathBuf>,
    /// A folder with the credentials of teams, each in `TEAM.properties`; it is followed. None: all are the host's.
    pub teams_dir: Option<PathBuf>,
    /// True if a team without a file may not connect at all.
    pub team_credentials_required: bool,
    /// The time of silence after which a worker loses its partitions; None: the default.
    pub session_timeout: Option<Duration>,
    pub metrics: Option<KafkaMetrics>,
}

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { brokers, properties, file, teams_dir, team_credentials_required, session_timeout, metrics: _ } = self;
        let names: Vec<&String> = properties.keys().collect();
        f.debug_struct("KafkaConfig")
            .field("brokers", brokers)
            .field("properties", &names)
            .field("file", file)
            .field("teams_dir", teams_dir)
            .field("team_credentials_required", team_credentials_required)
            .field("session_timeout", session_timeout)
            .finish()
    }
}
