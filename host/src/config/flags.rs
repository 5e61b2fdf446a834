//! The flags of `serve` and `dev`, with their environment variables. Their names are the keys of the file as well.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Arg;
use clap::builder::{FalseyValueParser, OsStringValueParser, TypedValueParser};
use serde::Deserialize;

use crate::model::names::ClusterName;
use crate::model::units::{Bytes, Span};
use crate::telemetry::logging::LogFormat;

/// Reads a path, which may be empty: an empty variable of the environment names no file.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// The shape of a switch. It is a trait because clap's derive completes an option by methods of [`Arg`] alone.
trait SwitchArg {
    fn switch(self) -> Self;
}

impl SwitchArg for Arg {
    /// `--flag` turns it on, and `--flag=false` turns it off where the file has it on.
    fn switch(self) -> Self {
        self.value_name("true|false")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_parser(FalseyValueParser::new())
            .hide_possible_values(true)
    }
}

/// The callers that a host answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// Only callers that have signed in.
    Required,
    /// Everybody who reaches the API.
    #[default]
    Off,
}

/// Every option of `serve` and `dev`. Each flag has an environment variable and a key of the same name in the file.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Flags {
    /// A TOML file with any of these options (keys as the flags, without the dashes in front)
    #[arg(long, env = "SANDBAR_CONFIG", value_name = "FILE", value_parser = path())]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Address of the HTTP API. Beyond loopback the host starts only with TLS and sign-in, or with --insecure-no-tls and
    /// --insecure-no-auth [default: 127.0.0.1:8080]
    #[arg(long, env = "SANDBAR_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,

    /// The host's certificate and those between it and its authority, as PEM: the API speaks HTTPS. Newer files are taken
    /// within seconds, without a restart
    #[arg(long, env = "SANDBAR_TLS_CERT", value_name = "FILE", value_parser = path())]
    pub tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert, as PEM
    #[arg(long, env = "SANDBAR_TLS_KEY", value_name = "FILE", value_parser = path())]
    pub tls_key: Option<PathBuf>,

    /// Authorities of clients' certificates, as PEM. A client may then prove with a certificate who it is
    #[arg(long, env = "SANDBAR_TLS_CLIENT_CA", value_name = "FILE", value_parser = path())]
    pub tls_client_ca: Option<PathBuf>,

    /// Refuse clients without a certificate of --tls-client-ca [default: off]
    #[arg(long, env = "SANDBAR_TLS_CLIENT_REQUIRED", switch())]
    pub tls_client_required: Option<bool>,

    /// Listen beyond loopback without TLS: everybody on the way can read and change what is sent. For a host behind a proxy
    /// that nobody can pass by [default: off]
    #[arg(long, env = "SANDBAR_INSECURE_NO_TLS", switch())]
    pub insecure_no_tls: Option<bool>,

    /// Listen beyond loopback without sign-in: everybody who reaches the port owns the cluster. For a host behind a proxy
    /// with a login that nobody can pass by [default: off]
    #[arg(long, env = "SANDBAR_INSECURE_NO_AUTH", switch())]
    pub insecure_no_auth: Option<bool>,

    /// A server to which clients may be sent on for answers of another host, beside the hosts of --advertise and
    /// --allowed-host: a name, an address, or *.NAME for every name below it. May be given several times
    #[arg(long = "allowed-redirect", env = "SANDBAR_ALLOWED_REDIRECTS", value_name = "NAME[:PORT]", value_delimiter = ',')]
    #[serde(default)]
    pub allowed_redirects: Vec<String>,

    /// URL of this host's API for clients of other hosts, as http://host:port or https://host:port: they are sent here for
    /// answers that only this host has, such as entries of its part of a store [default: none]
    #[arg(long, env = "SANDBAR_ADVERTISE", value_name = "URL")]
    pub advertise: Option<String>,

    /// A name under which clients reach the API, beside localhost, every IP address and the name of --advertise: that of a
    /// proxy, a container or the machine. Requests for other names are refused, since a web page can point a name of its
    /// own here. May be given several times
    #[arg(long = "allowed-host", env = "SANDBAR_ALLOWED_HOSTS", value_name = "NAME[:PORT]", value_delimiter = ',')]
    #[serde(default)]
    pub allowed_hosts: Vec<String>,

    /// Most connections of the API at once. When they are all in use, the one that has kept the host waiting for the
    /// longest is closed [default: 1024]
    #[arg(long, env = "SANDBAR_CONNECTIONS_MAX", value_name = "N")]
    pub connections_max: Option<usize>,

    /// Most connections of one address; a proxy is one address [default: 512]
    #[arg(long, env = "SANDBAR_CONNECTIONS_PER_ADDRESS_MAX", value_name = "N")]
    pub connections_per_address_max: Option<usize>,

    /// Most requests at once on one connection of HTTP/2 [default: 64]
    #[arg(long, env = "SANDBAR_STREAMS_PER_CONNECTION_MAX", value_name = "N")]
    pub streams_per_connection_max: Option<std::num::NonZero<u32>>,

    /// Most memory for bodies of requests while they arrive and are worked on [default: 256MiB]
    #[arg(long, env = "SANDBAR_UPLOAD_BYTES_IN_FLIGHT_MAX", value_name = "SIZE")]
    pub upload_bytes_in_flight_max: Option<Bytes>,

    /// Most memory for answers that clients have not taken yet [default: 256MiB]
    #[arg(long, env = "SANDBAR_ANSWER_BYTES_IN_FLIGHT_MAX", value_name = "SIZE")]
    pub answer_bytes_in_flight_max: Option<Bytes>,

    /// The callers that the API answers: only those that have signed in, or everybody [default: off]
    #[arg(long, env = "SANDBAR_AUTH", value_name = "required|off")]
    pub auth: Option<Auth>,

    /// A file with a token, or the SHA-256 of one (sha256:..), a line each: whoever has it may do everything. With it the
    /// first tokens are made (`sandbar token create`); `sandbar token generate` makes one. Changes of the file take effect
    /// within a second [default: none]
    #[arg(long, env = "SANDBAR_ADMIN_TOKEN_FILE", value_name = "FILE", value_parser = path())]
    pub admin_token_file: Option<PathBuf>,

    /// A YAML file with the roles of clients that have a certificate of --tls-client-ca, by names in the certificate: they
    /// need no token. Changes of the file take effect within seconds (docs/security.md) [default: none, a certificate gives
    /// no roles]
    #[arg(long, env = "SANDBAR_CLIENT_ROLES", value_name = "FILE", value_parser = path())]
    pub client_roles: Option<PathBuf>,

    /// Most requests a second of one principal that has signed in [default: 200]
    #[arg(long, env = "SANDBAR_REQUESTS_PER_PRINCIPAL_MAX", value_name = "N")]
    pub requests_per_principal_max: Option<std::num::NonZero<u32>>,

    /// Most tokens of one team, and of the cluster itself [default: 1000]
    #[arg(long, env = "SANDBAR_TOKENS_PER_TEAM_MAX", value_name = "N")]
    pub tokens_per_team_max: Option<usize>,

    /// Time that entries of the audit topic are kept; it is set when the topic is created [default: 400d]
    #[arg(long, env = "SANDBAR_AUDIT_RETENTION", value_name = "DURATION")]
    pub audit_retention: Option<Span>,

    /// An OpenID provider whose JWTs are taken beside Sandbar's own tokens: its issuer, exactly as the provider writes it
    /// [default: none]
    #[arg(long, env = "SANDBAR_OIDC_ISSUER", value_name = "URL")]
    pub oidc_issuer: Option<String>,

    /// The audience (`aud`) that a JWT must have to be meant for this cluster
    #[arg(long, env = "SANDBAR_OIDC_AUDIENCE", value_name = "NAME")]
    pub oidc_audience: Option<String>,

    /// A YAML file with the roles of the provider's groups and subjects. It is read again when it changes
    #[arg(long, env = "SANDBAR_OIDC_ROLES", value_name = "FILE", value_parser = path())]
    pub oidc_roles: Option<PathBuf>,

    /// Algorithms of signatures that are taken, of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA
    /// [default: RS256,ES256]
    #[arg(long = "oidc-algorithms", env = "SANDBAR_OIDC_ALGORITHMS", value_name = "NAME", value_delimiter = ',')]
    #[serde(default)]
    pub oidc_algorithms: Vec<String>,

    /// The claim with the groups of a caller: its name, or a JSON pointer such as /realm_access/roles [default: groups]
    #[arg(long, env = "SANDBAR_OIDC_GROUPS_CLAIM", value_name = "CLAIM")]
    pub oidc_groups_claim: Option<String>,

    /// The claim with a name of the caller for people [default: preferred_username, then email, then sub]
    #[arg(long, env = "SANDBAR_OIDC_NAME_CLAIM", value_name = "CLAIM")]
    pub oidc_name_claim: Option<String>,

    /// Authorities of the provider's certificate, as PEM, in place of the system's
    #[arg(long, env = "SANDBAR_OIDC_CA", value_name = "FILE", value_parser = path())]
    pub oidc_ca: Option<PathBuf>,

    /// The public client at the provider with which people sign in (`sandbar login --oidc`) [default: none]
    #[arg(long, env = "SANDBAR_OIDC_CLIENT_ID", value_name = "ID")]
    pub oidc_client_id: Option<String>,

    /// Scopes that `sandbar login --oidc` asks for [default: openid profile email offline_access]
    #[arg(long, env = "SANDBAR_OIDC_SCOPES", value_name = "SCOPES")]
    pub oidc_scopes: Option<String>,

    /// The resource that `sandbar login --oidc` asks a token for (RFC 8707), if the provider needs one [default: none]
    #[arg(long, env = "SANDBAR_OIDC_RESOURCE", value_name = "URI")]
    pub oidc_resource: Option<String>,

    /// Most by which the clocks of the provider and of this host may differ [default: 1min]
    #[arg(long, env = "SANDBAR_OIDC_CLOCK_SKEW", value_name = "DURATION")]
    pub oidc_clock_skew: Option<Span>,

    /// Longest time from the issue of a JWT to its expiry; one with a longer is refused [default: 1day]
    #[arg(long, env = "SANDBAR_OIDC_TOKEN_LIFETIME_MAX", value_name = "DURATION")]
    pub oidc_token_lifetime_max: Option<Span>,

    /// Time between two fetches of the provider's keys: a key that the provider took back counts for as long
    /// [default: 5min]
    #[arg(long, env = "SANDBAR_OIDC_REFRESH_INTERVAL", value_name = "DURATION")]
    pub oidc_refresh_interval: Option<Span>,

    /// Time between two fetches because of JWTs that name an unknown key, whoever sends them [default: 30s]
    #[arg(long, env = "SANDBAR_OIDC_REFETCH_INTERVAL", value_name = "DURATION")]
    pub oidc_refetch_interval: Option<Span>,

    /// Time for which the keys count while the provider cannot be reached [default: 12h]
    #[arg(long, env = "SANDBAR_OIDC_KEYS_AGE_MAX", value_name = "DURATION")]
    pub oidc_keys_age_max: Option<Span>,

    /// Local files: compiled modules, caches, the host's identity, the embedded log. Everything that matters to a
    /// cluster is in Kafka [default: .sandbar/serve, or .sandbar/dev]
    #[arg(long, env = "SANDBAR_DATA_DIR", value_name = "FOLDER", value_parser = path())]
    pub data_dir: Option<PathBuf>,

    /// This host's name: its own within the cluster and stable over restarts (it is part of transactional ids), of A-Z, a-z,
    /// 0-9, '-', '.' and '_'
    /// [default: made once, kept in the data folder]
    #[arg(long, env = "SANDBAR_HOST", value_name = "NAME")]
    pub host: Option<String>,

    /// Filter of the log, in the syntax of tracing's EnvFilter: info, sandbar=debug, ... [default: info]
    #[arg(long, env = "SANDBAR_LOG", value_name = "FILTER")]
    pub log: Option<String>,

    /// Form of log lines [default: text]
    #[arg(long, env = "SANDBAR_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,

    /// URL of an OpenTelemetry collector (OTLP over HTTP): it gets the host's log, and a span of each record of a sampled
    /// trace (docs/tracing.md). Headers with secrets belong into the variable OTEL_EXPORTER_OTLP_HEADERS [default: none]
    #[arg(long, env = "SANDBAR_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// Authorities of the collector's certificate, as PEM, in place of the system's
    #[arg(long, env = "SANDBAR_OTLP_CA", value_name = "FILE", value_parser = path())]
    pub otlp_ca: Option<PathBuf>,

    /// Spans, and log lines, that wait for the collector at most: more of them are dropped and counted [default: 2048]
    #[arg(long, env = "SANDBAR_OTLP_QUEUE_MAX", value_name = "N")]
    pub otlp_queue_max: Option<std::num::NonZero<u16>>,

    /// Largest module that may be uploaded [default: 32MiB]
    #[arg(long, env = "SANDBAR_MODULE_BYTES_MAX", value_name = "SIZE")]
    pub module_bytes_max: Option<Bytes>,

    /// Longest time to compile a module: CPU time over all threads, and at most five times as much on the clock
    /// [default: 60s]
    #[arg(long, env = "SANDBAR_COMPILE_TIME_MAX", value_name = "DURATION")]
    pub compile_time_max: Option<Span>,

    /// Most memory to compile a module [default: 2GiB]
    #[arg(long, env = "SANDBAR_COMPILE_MEMORY_MAX", value_name = "SIZE")]
    pub compile_memory_max: Option<Bytes>,

    /// Most memory of the instances of all transforms together. An instance that needs more waits
    /// [default: half of the memory of the machine or of its control group]
    #[arg(long, env = "SANDBAR_GUEST_MEMORY_MAX", value_name = "SIZE")]
    pub guest_memory_max: Option<Bytes>,

    /// Guests that run at once, of all teams; more of them wait for their team's turn [default: the number of processors]
    #[arg(long, env = "SANDBAR_GUEST_CALLS_MAX", value_name = "N")]
    pub guest_calls_max: Option<std::num::NonZero<usize>>,

    /// Modules that are compiled at once, for the API and for deployed transforms together; each may take
    /// --compile-memory-max [default: half of the cores, at least 1]
    #[arg(long, env = "SANDBAR_COMPILERS_MAX", value_name = "N")]
    pub compilers_max: Option<std::num::NonZero<usize>>,

    /// Largest module when compiled [default: 256MiB]
    #[arg(long, env = "SANDBAR_COMPILED_MODULE_MAX", value_name = "SIZE")]
    pub compiled_module_max: Option<Bytes>,

    /// Most disk, and most memory, for compiled modules; those that were used longest ago are dropped, and compiled
    /// again when they are needed [default: 1GiB]
    #[arg(long, env = "SANDBAR_COMPILED_CACHE_MAX", value_name = "SIZE")]
    pub compiled_cache_max: Option<Bytes>,

    /// Most address space that the instances of all transforms may reserve together: 4 GiB and a little for each linear
    /// memory, however small it is [default: 32TiB]
    #[arg(long, env = "SANDBAR_GUEST_ADDRESS_SPACE_MAX", value_name = "SIZE")]
    pub guest_address_space_max: Option<Bytes>,

    /// Memory for blocks of all stores on disk together [default: 64MiB]
    #[arg(long, env = "SANDBAR_STATE_CACHE_MAX", value_name = "SIZE")]
    pub state_cache_max: Option<Bytes>,

    /// Memory for the hot entries of one partition of a store on disk [default: 4MiB]
    #[arg(long, env = "SANDBAR_STATE_HOT_MAX", value_name = "SIZE")]
    pub state_hot_max: Option<Bytes>,

    /// Memory for the hot entries of all stores on disk together: a partition gets a sixteenth of the rest at most
    /// [default: 256MiB]
    #[arg(long, env = "SANDBAR_STATE_HOT_TOTAL_MAX", value_name = "SIZE")]
    pub state_hot_total_max: Option<Bytes>,

    /// Memory for committed changes of all stores on disk that were not written yet. Above it a store writes its own as
    /// soon as they are an equal share of this, and 256 KiB at least [default: 256MiB]
    #[arg(long, env = "SANDBAR_STATE_BUFFERS_MAX", value_name = "SIZE")]
    pub state_buffers_max: Option<Bytes>,

    /// Most memory of all stores in memory together: keys, values, and 64 bytes for each entry. A transaction by which
    /// they would have more is not committed until there is room (E232) [default: 2GiB]
    #[arg(long, env = "SANDBAR_STATE_MEMORY_MAX", value_name = "SIZE")]
    pub state_memory_max: Option<Bytes>,

    /// Most disk of all local stores of a team, unused copies included. A transaction by which they would have more is
    /// not committed until there is room (E231) [default: none]
    #[arg(long, env = "SANDBAR_STATE_DISK_PER_TEAM_MAX", value_name = "SIZE")]
    pub state_disk_per_team_max: Option<Bytes>,

    /// Free disk under the data folder below which no local store grows (E212) [default: 64MiB]
    #[arg(long, env = "SANDBAR_STATE_DISK_FREE_MIN", value_name = "SIZE")]
    pub state_disk_free_min: Option<Bytes>,

    /// Partitions whose stores are restored at once; the teams that wait take turns [default: 8]
    #[arg(long, env = "SANDBAR_STATE_RESTORES_MAX", value_name = "N")]
    pub state_restores_max: Option<std::num::NonZero<usize>>,

    /// Time that the local copy of a partition's store stays on disk after no worker of this host has it open any more,
    /// because the partition moved or the transform is gone; the changelog topic has all of it [default: 20h]
    #[arg(long, env = "SANDBAR_STATE_CLEANUP_DELAY", value_name = "DURATION")]
    pub state_cleanup_delay: Option<Span>,

    /// Most memory of one table: a transform that uses a larger one does not start [default: 256MiB]
    #[arg(long, env = "SANDBAR_TABLE_BYTES_MAX", value_name = "SIZE")]
    pub table_bytes_max: Option<Bytes>,

    /// Most memory of all tables of this host; a table that is read again has it twice for that time [default: a quarter of
    /// the memory of the machine or container]
    #[arg(long, env = "SANDBAR_TABLE_MEMORY_MAX", value_name = "SIZE")]
    pub table_memory_max: Option<Bytes>,

    /// Most memory of the tables that the transforms of one team were the first to use [default: half of
    /// --table-memory-max]
    #[arg(long, env = "SANDBAR_TABLE_MEMORY_PER_TEAM_MAX", value_name = "SIZE")]
    pub table_memory_per_team_max: Option<Bytes>,

    /// Time without its topic's newest records after which a table is stale: transforms that use it are degraded then, and
    /// go on with its old content [default: 1min]
    #[arg(long, env = "SANDBAR_TABLE_STALE_AFTER", value_name = "DURATION")]
    pub table_stale_after: Option<Span>,

    /// Time that a module stays in the log after no transform uses it and no kept revision names it [default: 1day]
    #[arg(long, env = "SANDBAR_MODULE_RETENTION", value_name = "DURATION")]
    pub module_retention: Option<Span>,

    /// Time of silence after which the cluster forgets a host, with all that it told of itself; it is not listed 10 s after
    /// its last sign of life [default: 1day]
    #[arg(long, env = "SANDBAR_HOST_RETENTION", value_name = "DURATION")]
    pub host_retention: Option<Span>,

    /// Time between two visits to the consumer groups of transforms that nobody runs, such as paused ones: Kafka forgets
    /// the offsets of a group that has had no member for offsets.retention.minutes [default: 1day]
    #[arg(long, env = "SANDBAR_GROUP_KEEP_ALIVE_INTERVAL", value_name = "DURATION")]
    pub group_keep_alive_interval: Option<Span>,

    /// Time that log lines and events of transforms are kept, set when their topic is made [default: 1day]
    #[arg(long, env = "SANDBAR_LOGS_RETENTION", value_name = "DURATION")]
    pub logs_retention: Option<Span>,

    /// Log lines a second of all guests of a team on this host; the rest is counted and dropped [default: 1000]
    #[arg(long, env = "SANDBAR_TEAM_LOG_LINES_MAX", value_name = "LINES")]
    pub team_log_lines_max: Option<u32>,

    /// Bytes of these lines a second [default: 256KiB]
    #[arg(long, env = "SANDBAR_TEAM_LOG_BYTES_MAX", value_name = "SIZE")]
    pub team_log_bytes_max: Option<Bytes>,

    /// Most memory for events, log lines and samples that wait to be written: a quarter, a half and a quarter of it. Each
    /// team has a share; entries that do not fit are dropped [default: 8MiB]
    #[arg(long, env = "SANDBAR_JOURNAL_MAX", value_name = "SIZE")]
    pub journal_max: Option<Bytes>,

    /// A YAML file with the limits of teams. It is read again when it changes [default: none, all teams have the defaults]
    #[arg(long, env = "SANDBAR_TEAMS", value_name = "FILE", value_parser = path())]
    pub teams: Option<PathBuf>,

    /// A folder with the secrets of teams: DIR/TEAM/NAME is the file that a config of TEAM names with
    /// {secret: "file:NAME"}. A file is read when an instance is made, and its changes are followed [default: none]
    #[arg(long, env = "SANDBAR_SECRETS_DIR", value_name = "FOLDER", value_parser = path())]
    pub secrets_dir: Option<PathBuf>,

    /// Largest secret [default: 64KiB]
    #[arg(long, env = "SANDBAR_SECRET_BYTES_MAX", value_name = "SIZE")]
    pub secret_bytes_max: Option<Bytes>,
}

/// The options of a host on Kafka. They are shown without the values of properties.
#[derive(Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KafkaFlags {
    /// Kafka brokers to start from: host:port,host:port
    #[arg(long, env = "SANDBAR_BROKERS", value_name = "HOST:PORT,...")]
    pub brokers: Option<String>,

    /// Name of the cluster: equal hosts with the same name and brokers share the work
    #[arg(long, env = "SANDBAR_CLUSTER", value_name = "NAME")]
    pub cluster: Option<ClusterName>,

    /// A librdkafka property, such as security.protocol=SASL_SSL. May be given several times. The value file:PATH stands for
    /// the content of a file, env:NAME for a variable. Secrets belong there, in --kafka-config, in the file (table
    /// kafka-properties) or in the environment (one NAME=VALUE per line)
    #[arg(
        long = "kafka-property",
        env = "SANDBAR_KAFKA_PROPERTIES",
        value_name = "NAME=VALUE",
        value_delimiter = '\n',
        hide_env_values = true
    )]
    #[serde(skip)]
    pub kafka_property: Vec<String>,

    /// A file of librdkafka properties, one name=value a line. It is read again when it changes
    #[arg(long, env = "SANDBAR_KAFKA_CONFIG", value_name = "FILE", value_parser = path())]
    pub kafka_config: Option<PathBuf>,

    /// A folder with the Kafka credentials of teams: the transforms of TEAM connect with those of TEAM.properties, and the
    /// brokers' ACLs decide on their topics. It is read again when it changes [default: none, all teams have the host's]
    #[arg(long, env = "SANDBAR_KAFKA_TEAMS_DIR", value_name = "FOLDER", value_parser = path())]
    pub kafka_teams_dir: Option<PathBuf>,

    /// Teams without a file in --kafka-teams-dir do not connect, instead of with the host's credentials [default: off]
    #[arg(long, env = "SANDBAR_KAFKA_TEAMS_REQUIRED", switch())]
    pub kafka_teams_required: Option<bool>,

    /// Time of silence after which a host's workers lose their partitions to others. It is from 1 s to 45 s, and brokers
    /// have limits of their own (group.min.session.timeout.ms) [default: 6s]
    #[arg(long, env = "SANDBAR_SESSION_TIMEOUT", value_name = "DURATION")]
    pub session_timeout: Option<Span>,

    #[arg(skip)]
    #[serde(default)]
    pub kafka_properties: BTreeMap<String, String>,
}

impl fmt::Debug for KafkaFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { brokers, cluster, .. } = self;
        f.debug_struct("KafkaFlags").field("brokers", brokers).field("cluster", cluster).finish_non_exhaustive()
    }
}
