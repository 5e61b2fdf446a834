//! The configuration of a host: flags, environment and a TOML file, in this order of precedence, then the defaults.
//!
//! Most components have a struct of options, whose `Default` holds the values of options that nobody gave; the rest are
//! constants of their components.

mod error;
pub mod exposure;
mod file;
mod flags;
mod machine;
mod oidc;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use error::OptionError;
pub use file::line_of;
pub use flags::{Auth, Flags, KafkaFlags};
pub use machine::{group_limit, memory_bytes};

use self::exposure::InsecureFlags;
use crate::access::OidcOptions;
use crate::api::{ApiLimits, Redirects, ServerLimits, TlsOptions};
use crate::audit::AUDIT_RETENTION;
use crate::catalog;
use crate::cluster;
use crate::guest::ModuleOptions;
use crate::guest::compile::{self, Compiler};
use crate::model::authority::Authority;
use crate::model::text::{cut, without_user};
use crate::model::units::{Bytes, Span};
use crate::otlp::{self, OtlpOptions};
use crate::positions;
use crate::secrets::SecretOptions;
use crate::stores::StoreLimits;
use crate::stores::tables::{self, TableLimits};
use crate::teams::{TeamLimits, TeamsOptions};
use crate::telemetry::logging::LogOptions;
use crate::telemetry::rate::{Rate, TEAM_LOG_RATE};

/// The options of a host, by component.
#[derive(Debug, Clone)]
pub struct Config {
    pub data_dir: PathBuf,
    /// The host's name; `None` takes the one in the data folder.
    pub host: Option<String>,
    pub log: LogOptions,
    /// None: nothing is exported.
    pub otlp: Option<OtlpOptions>,
    pub server: ServerOptions,
    pub api: ApiLimits,
    pub modules: ModuleOptions,
    pub stores: StoreLimits,
    pub tables: TableLimits,
    /// Time without its topic's newest records after which a table is stale.
    pub table_stale_after: Duration,
    /// Time that an unused module stays in the log.
    pub module_retention: Duration,
    /// Time of silence after which the cluster forgets a host.
    pub host_retention: Duration,
    /// Time between two visits to the consumer groups that nobody runs.
    pub group_keep_alive_interval: Duration,
    pub transform_log: TransformLogOptions,
    /// Guests that run at once. Default: one a processor.
    pub guest_calls_max: usize,
    pub teams: TeamsOptions,
    pub access: AccessOptions,
    pub secrets: SecretOptions,
}

/// The options of sign-in and audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessOptions {
    pub is_required: bool,
    pub admin_token_file: Option<PathBuf>,
    /// The roles of clients with a certificate.
    pub client_roles: Option<PathBuf>,
    pub audit_retention: Duration,
    /// None: no JWT is taken.
    pub oidc: Option<OidcOptions>,
}

/// The options of the HTTP server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    pub listen: SocketAddr,
    /// The URL of this host's API for other hosts' clients.
    pub advertise: Option<String>,
    pub allowed_hosts: Vec<Authority>,
    pub redirects: Redirects,
    /// `None`: plain HTTP.
    pub tls: Option<TlsOptions>,
    pub insecure: InsecureFlags,
    pub limits: ServerLimits,
}

/// The options of the log lines, events and samples of transforms.
#[derive(Debug, Clone)]
pub struct TransformLogOptions {
    /// Log lines of all guests of a team on this host.
    pub team_rate: Rate,
    /// Most memory of the queue, in bytes.
    pub bytes_max: usize,
    /// Time that lines and events stay in their topic.
    pub retention: Duration,
}

impl Default for TransformLogOptions {
    fn default() -> Self {
        Self { team_rate: TEAM_LOG_RATE, bytes_max: Bytes::mib(8).as_usize(), retention: cluster::LOGS_RETENTION }
    }
}

/// The largest request fits, and so does the largest answer.
const IN_FLIGHT_LEAST: Bytes = Bytes::mib(64);
/// Longest name of a host: that of a machine in DNS.
const HOST_BYTES_MAX: usize = 253;
/// Joining a group and leaving it takes some seconds.
const GROUP_KEEP_ALIVE_LEAST: Duration = Duration::from_secs(1);

impl Flags {
    /// Completes the flags from the file, then by default.
    pub fn resolve(self, kafka: Option<&mut KafkaFlags>, default_dir: &str) -> Result<Config, OptionError> {
        let flags = self.with_file(kafka)?;
        let transform_log = flags.transform_log();
        let keep_alive = duration(flags.group_keep_alive_interval, positions::KEEP_ALIVE_INTERVAL);
        Ok(Config {
            server: flags.server()?,
            api: flags.api(),
            modules: flags.modules(transform_log.team_rate),
            stores: flags.stores(),
            tables: flags.tables(),
            table_stale_after: duration(flags.table_stale_after, tables::STALE_AFTER),
            module_retention: duration(flags.module_retention, catalog::MODULE_RETENTION),
            host_retention: duration(flags.host_retention, cluster::HOST_RETENTION),
            group_keep_alive_interval: keep_alive.max(GROUP_KEEP_ALIVE_LEAST),
            teams: flags.teams_options(transform_log.team_rate),
            access: flags.access()?,
            secrets: flags.secrets(),
            transform_log,
            guest_calls_max: flags.guest_calls_max.map_or_else(machine::processors, std::num::NonZero::get),
            log: flags.log_options(),
            otlp: flags.otlp()?,
            data_dir: flags.data_dir.unwrap_or_else(|| PathBuf::from(default_dir)),
            host: host_name(flags.host)?,
        })
    }

    fn server(&self) -> Result<ServerOptions, String> {
        if let Some(url) = self.advertise.as_ref().filter(|url| Authority::of_url(url).is_none()) {
            return Err(format!("--advertise {:?} is not a URL such as http://host:8080", without_user(url)));
        }
        // An empty variable of the environment names no host.
        let allowed_hosts = self.allowed_hosts.iter().filter(|name| !name.trim().is_empty());
        let default = ServerLimits::default();
        let limits = ServerLimits {
            connections_max: self.connections_max.unwrap_or(default.connections_max),
            connections_per_address_max: self.connections_per_address_max.unwrap_or(default.connections_per_address_max),
            streams_per_connection_max: self
                .streams_per_connection_max
                .map_or(default.streams_per_connection_max, std::num::NonZero::get),
            answer_bytes_in_flight_max: in_flight(self.answer_bytes_in_flight_max, default.answer_bytes_in_flight_max),
            ..default
        };
        if limits.connections_max == 0 || limits.connections_per_address_max == 0 {
            return Err("--connections-max and --connections-per-address-max must be at least 1".into());
        }
        let allowed_hosts = allowed_hosts.map(|name| allowed_host(name)).collect::<Result<Vec<_>, _>>()?;
        let tls = self.tls()?;
        let targets: Vec<_> = self.allowed_redirects.iter().filter(|name| !name.trim().is_empty()).cloned().collect();
        let redirects = Redirects::new(self.advertise.as_deref(), &allowed_hosts, &targets, tls.is_some())?;
        Ok(ServerOptions {
            listen: self.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080))),
            advertise: self.advertise.clone(),
            allowed_hosts,
            redirects,
            tls,
            insecure: InsecureFlags {
                no_tls: self.insecure_no_tls == Some(true),
                no_auth: self.insecure_no_auth == Some(true),
            },
            limits,
        })
    }

    fn tls(&self) -> Result<Option<TlsOptions>, String> {
        let client_authorities = self.tls_client_ca.clone();
        let client_required = self.tls_client_required == Some(true);
        if client_required && client_authorities.is_none() {
            return Err("--tls-client-required needs --tls-client-ca FILE".into());
        }
        match (self.tls_cert.clone(), self.tls_key.clone()) {
            (Some(certificate), Some(key)) => Ok(Some(TlsOptions { certificate, key, client_authorities, client_required })),
            (None, None) if client_authorities.is_none() => Ok(None),
            _ => Err("TLS needs both --tls-cert FILE and --tls-key FILE".into()),
        }
    }

    fn api(&self) -> ApiLimits {
        let default = ApiLimits::default();
        ApiLimits {
            module_bytes_max: self.module_bytes_max.map_or(default.module_bytes_max, Bytes::as_usize),
            upload_bytes_in_flight_max: in_flight(self.upload_bytes_in_flight_max, default.upload_bytes_in_flight_max),
            requests_per_principal_max: self
                .requests_per_principal_max
                .map_or(default.requests_per_principal_max, std::num::NonZero::get),
            tokens_per_team_max: self.tokens_per_team_max.unwrap_or(default.tokens_per_team_max),
            state_hot_bytes_max: self.stores().hot_bytes_max,
            ..default
        }
    }

    fn access(&self) -> Result<AccessOptions, OptionError> {
        let client_roles = self.client_roles.clone();
        if client_roles.is_some() && self.tls_client_ca.is_none() {
            return Err("--client-roles needs --tls-client-ca FILE: without it no client is asked for a certificate".into());
        }
        Ok(AccessOptions {
            is_required: self.auth.unwrap_or_default() == Auth::Required,
            admin_token_file: self.admin_token_file.clone(),
            client_roles,
            audit_retention: duration(self.audit_retention, AUDIT_RETENTION),
            oidc: oidc::options(self)?,
        })
    }

    /// A dry run of a deployment may log as much as a team.
    fn modules(&self, dry_run_log_rate: Rate) -> ModuleOptions {
        let default = ModuleOptions::default();
        let compiler = Compiler {
            program: None,
            time_max: duration(self.compile_time_max, default.compiler.time_max),
            memory_bytes_max: bytes(self.compile_memory_max, default.compiler.memory_bytes_max),
            artifact_bytes_max: bytes(self.compiled_module_max, default.compiler.artifact_bytes_max),
            at_once_max: self.compilers_max.map_or_else(compile::at_once_max, std::num::NonZero::get),
        };
        ModuleOptions {
            compiler,
            cache_bytes_max: bytes(self.compiled_cache_max, default.cache_bytes_max),
            address_space_bytes_max: bytes(self.guest_address_space_max, default.address_space_bytes_max),
            memory_bytes_max: bytes(self.guest_memory_max, machine::memory_bytes() / 2),
            dry_run_log_rate,
            ..default
        }
    }

    fn stores(&self) -> StoreLimits {
        let default = StoreLimits::default();
        StoreLimits {
            cache_bytes_max: bytes(self.state_cache_max, default.cache_bytes_max),
            hot_bytes_max: bytes(self.state_hot_max, default.hot_bytes_max),
            hot_total_bytes_max: bytes(self.state_hot_total_max, default.hot_total_bytes_max),
            buffers_bytes_max: bytes(self.state_buffers_max, default.buffers_bytes_max),
            memory_bytes_max: bytes(self.state_memory_max, default.memory_bytes_max),
            team_disk_bytes_max: self.state_disk_per_team_max.map(|limit| limit.0),
            disk_free_bytes_min: bytes(self.state_disk_free_min, default.disk_free_bytes_min),
            restores_max: self.state_restores_max.map_or(default.restores_max, std::num::NonZero::get),
            cleanup_delay: duration(self.state_cleanup_delay, default.cleanup_delay),
        }
    }

    fn tables(&self) -> TableLimits {
        let host = self.table_memory_max.unwrap_or(Bytes(machine::memory_bytes() / 4)).as_usize();
        TableLimits {
            table: self.table_bytes_max.map_or(tables::BYTES_MAX, Bytes::as_usize),
            team: self.table_memory_per_team_max.map_or(host / 2, Bytes::as_usize),
            host,
        }
    }

    fn transform_log(&self) -> TransformLogOptions {
        let default = TransformLogOptions::default();
        TransformLogOptions {
            team_rate: Rate {
                lines: self.team_log_lines_max.unwrap_or(default.team_rate.lines),
                bytes: bytes(self.team_log_bytes_max, default.team_rate.bytes),
            },
            bytes_max: self.journal_max.map_or(default.bytes_max, Bytes::as_usize),
            retention: duration(self.logs_retention, default.retention),
        }
    }

    /// The options are the limits of a team for which the file says nothing.
    fn teams_options(&self, log_rate: Rate) -> TeamsOptions {
        let base =
            TeamLimits { team_log_lines_max: log_rate.lines, team_log_bytes_max: log_rate.bytes, ..TeamLimits::default() };
        TeamsOptions { file: self.teams.clone(), base }
    }

    fn secrets(&self) -> SecretOptions {
        let default = SecretOptions::default();
        SecretOptions { folder: self.secrets_dir.clone(), bytes_max: bytes(self.secret_bytes_max, default.bytes_max) }
    }

    fn otlp(&self) -> Result<Option<OtlpOptions>, String> {
        // An empty variable of the environment names nothing.
        let Some(url) = self.otlp_endpoint.as_ref().filter(|url| !url.is_empty()) else { return Ok(None) };
        Ok(Some(OtlpOptions {
            endpoint: url.parse().map_err(|error| format!("--otlp-endpoint: {error}"))?,
            ca: self.otlp_ca.clone(),
            queue_max: self.otlp_queue_max.map_or(otlp::QUEUE_MAX, |queue| queue.get().into()),
        }))
    }

    fn log_options(&self) -> LogOptions {
        let default = LogOptions::default();
        LogOptions { filter: self.log.clone().unwrap_or(default.filter), format: self.log_format.unwrap_or(default.format) }
    }
}

/// The name of the host, if there is one. It is a part of transactional ids, and of names that people read.
fn host_name(flag: Option<String>) -> Result<Option<String>, String> {
    let Some(name) = flag.filter(|name| !name.is_empty()) else { return Ok(None) };
    let is_of_names = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let begins_well = name.starts_with(|first: char| first.is_ascii_alphanumeric());
    if !begins_well || name.len() > HOST_BYTES_MAX || !name.chars().all(is_of_names) {
        return Err(format!(
            "--host {:?} is no name of a host: it has 1 to {HOST_BYTES_MAX} of A-Z, a-z, 0-9, '-', '.' and '_', and begins \
             with a letter or digit",
            cut(&name, HOST_BYTES_MAX)
        ));
    }
    Ok(Some(name))
}

fn bytes(flag: Option<Bytes>, default: u64) -> u64 {
    flag.map_or(default, |bytes| bytes.0)
}

fn duration(flag: Option<Span>, default: Duration) -> Duration {
    flag.map_or(default, |span| span.0)
}

/// Returns the flag or its default, but at least [`IN_FLIGHT_LEAST`].
fn in_flight(flag: Option<Bytes>, default: usize) -> usize {
    flag.map_or(default, Bytes::as_usize).max(IN_FLIGHT_LEAST.as_usize())
}

fn allowed_host(raw: &str) -> Result<Authority, String> {
    let parsed = raw.trim().parse();
    parsed.map_err(|why| {
        format!("--allowed-host {raw:?} {why}: it is a name, such as sandbar.example or sandbar.example:8443")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> PathBuf {
        static FILES: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = FILES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sandbar-config-{}-{number}.toml", std::process::id()));
        std::fs::write(&path, text).expect("writable");
        path
    }

    #[test]
    fn flags_go_before_the_file_and_the_file_before_defaults() {
        let path = file(
            "listen = \"0.0.0.0:1\"\nlog = \"debug\"\nbrokers = \"k:1\"\ncluster = \"shop\"\n[kafka-properties]\n\"sasl.password\" = \"x\"\n",
        );
        let options = Flags { config: Some(path), log: Some("warn".into()), ..Flags::default() };
        let mut kafka = KafkaFlags { kafka_property: vec!["a.b=c=d".into()], ..KafkaFlags::default() };
        let config = options.resolve(Some(&mut kafka), "d").expect("valid");
        assert_eq!((config.server.listen.to_string().as_str(), config.log.filter.as_str()), ("0.0.0.0:1", "warn"));
        assert_eq!(kafka.brokers.as_deref(), Some("k:1"));
        assert_eq!(kafka.kafka_properties["a.b"], "c=d");
        assert_eq!(kafka.kafka_properties["sasl.password"], "x");
        assert_eq!(config.api.module_bytes_max, 32 << 20);
    }

    #[test]
    fn a_session_timeout_is_within_the_limits_of_a_worker() {
        for (text, expected) in [
            ("session-timeout = \"12s\"\n", Ok(Some(Duration::from_secs(12)))),
            ("\n", Ok(None)),
            ("session-timeout = \"500ms\"\n", Err(())),
            ("session-timeout = \"46s\"\n", Err(())),
        ] {
            let mut kafka = KafkaFlags::default();
            let resolved = Flags { config: Some(file(text)), ..Flags::default() }.resolve(Some(&mut kafka), "d");
            let found = resolved.map(|_| kafka.session_timeout.map(|span| span.0)).map_err(drop);
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn allowed_hosts_are_names() {
        let path = || Some(file("allowed-hosts = [\"sandbar.example\", \"Proxy:8443\"]\n"));
        let config = Flags { config: path(), ..Flags::default() }.resolve(None, "d").expect("valid");
        let shown = |config: &Config| config.server.allowed_hosts.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(shown(&config), ["sandbar.example", "proxy:8443"]);
        let flags = Flags { config: path(), allowed_hosts: vec!["a".into()], ..Flags::default() };
        assert_eq!(shown(&flags.resolve(None, "d").expect("valid")), ["a"]);
        for wrong in ["*", "http://a", "a b", "user@a"] {
            let options = Flags { allowed_hosts: vec![wrong.into()], ..Flags::default() };
            assert!(options.resolve(None, "d").is_err_and(|error| error.message.contains("--allowed-host")), "{wrong}");
        }
        for wrong in ["host-a:8080", "http://", "http://user@a"] {
            let options = Flags { advertise: Some(wrong.into()), ..Flags::default() };
            assert!(options.resolve(None, "d").is_err_and(|error| error.message.contains("--advertise")), "{wrong}");
        }
        let options = Flags { connections_max: Some(0), ..Flags::default() };
        assert!(options.resolve(None, "d").is_err());
    }

    #[test]
    fn a_host_has_a_name_or_none() {
        let host = |name: &str| Flags { host: Some(name.into()), ..Flags::default() }.resolve(None, "d").map(|it| it.host);
        assert_eq!(host(""), Ok(None));
        for name in ["a", "sandbar-0", "sandbar-0.sandbar.shop.svc.cluster.local", "Host_7"] {
            assert_eq!(host(name), Ok(Some(name.to_owned())));
        }
        for wrong in [" ", "a b", "a\nb", "a\u{1b}[31m", "-a", "é", "a/b", "a".repeat(254).as_str()] {
            assert!(host(wrong).is_err_and(|error| error.message.contains("--host")), "{wrong:?}");
        }
        // An empty variable of the environment leaves the file's name.
        let flags = Flags { config: Some(file("host = \"of-file\"\n")), host: Some(String::new()), ..Flags::default() };
        assert_eq!(flags.resolve(None, "d").expect("valid").host.as_deref(), Some("of-file"));
    }

    #[test]
    fn the_file_of_teams_is_completed_by_the_options() {
        let path = file("teams = \"from-file\"\nteam-log-lines-max = 7\n");
        let config = |flags: Flags| flags.resolve(None, "d").expect("valid").teams;
        let own = config(Flags { config: Some(path.clone()), ..Flags::default() });
        assert_eq!((own.file, own.base.team_log_lines_max), (Some("from-file".into()), 7));
        let flag = config(Flags { config: Some(path), teams: Some("flag".into()), ..Flags::default() });
        assert_eq!(flag.file, Some("flag".into()));
        // An empty variable of the environment names no file.
        assert_eq!(config(Flags { teams: Some("".into()), ..Flags::default() }), TeamsOptions::default());
    }

    #[test]
    fn tls_needs_its_files_together() {
        #[track_caller]
        fn check(files: [&str; 3], required: bool, expected: Result<bool, &str>) {
            let [cert, key, ca] = files.map(|file| (file != "-").then(|| file.into()));
            let flags = Flags {
                tls_cert: cert,
                tls_key: key,
                tls_client_ca: ca,
                tls_client_required: Some(required),
                ..Flags::default()
            };
            match (flags.resolve(None, "d"), expected) {
                (Ok(config), Ok(has_tls)) => assert_eq!(config.server.tls.is_some(), has_tls, "{files:?}"),
                (Err(error), Err(part)) => assert!(error.message.contains(part), "{error}"),
                (found, _) => panic!("{files:?}: {found:?}"),
            }
        }
        check(["-", "-", "-"], false, Ok(false));
        check(["", "", ""], false, Ok(false));
        check(["c", "k", "-"], false, Ok(true));
        check(["c", "k", "a"], true, Ok(true));
        check(["c", "-", "-"], false, Err("--tls-key"));
        check(["-", "k", "-"], false, Err("--tls-cert"));
        check(["-", "-", "a"], false, Err("--tls-cert"));
        check(["c", "k", "-"], true, Err("--tls-client-ca"));
    }

    #[test]
    fn roles_of_clients_need_their_authorities() {
        let files = |ca: Option<&str>, roles: Option<&str>| Flags {
            tls_cert: Some("c".into()),
            tls_key: Some("k".into()),
            tls_client_ca: ca.map(Into::into),
            client_roles: roles.map(Into::into),
            ..Flags::default()
        };
        let config = files(Some("a"), Some("r")).resolve(None, "d").expect("valid");
        assert_eq!(config.access.client_roles, Some("r".into()));
        assert!(files(None, Some("r")).resolve(None, "d").is_err_and(|error| error.message.contains("--tls-client-ca")));
        assert!(files(None, Some("")).resolve(None, "d").is_ok());
    }

    #[test]
    fn a_collector_is_a_url() {
        let of = |url: &str| Flags { otlp_endpoint: Some(url.into()), ..Flags::default() }.resolve(None, "d");
        let options = of("https://otel.example").expect("valid").otlp.expect("given");
        assert_eq!((options.ca, options.queue_max), (None, 2048));
        assert_eq!(of("").expect("valid").otlp, None);
        let refused = of("https://user:secret@otel.example").expect_err("it has a password");
        assert!(!refused.message.contains("secret"), "{}", refused.message);
        assert!(of("otel.example:4318").is_err_and(|error| error.message.starts_with("--otlp-endpoint: ")));
    }

    /// The options of a host on Kafka by its command line, as clap reads them.
    fn parsed(words: &[&str]) -> (Flags, KafkaFlags) {
        #[derive(clap::Parser)]
        struct Words {
            #[command(flatten)]
            own: Flags,
            #[command(flatten)]
            kafka: KafkaFlags,
        }
        let words = std::iter::once("sandbar").chain(words.iter().copied());
        let Words { own, kafka } = <Words as clap::Parser>::try_parse_from(words).expect("valid");
        (own, kafka)
    }

    #[test]
    fn a_switch_is_turned_off_where_the_file_turns_it_on() {
        let path = file("insecure-no-auth = true\nkafka-teams-required = true\nkafka-teams-dir = \"teams\"\n");
        let path = path.to_str().expect("text").to_owned();
        for (value, expected) in
            [("", true), ("=true", true), ("=1", true), ("=false", false), ("=off", false), ("=", false)]
        {
            let auth = format!("--insecure-no-auth{value}");
            let teams = format!("--kafka-teams-required{value}");
            let (own, mut kafka) = parsed(&["--config", &path, &auth, &teams]);
            let config = own.resolve(Some(&mut kafka), "d").expect("valid");
            assert_eq!((config.server.insecure.no_auth, kafka.kafka_teams_required), (expected, Some(expected)), "{value}");
        }
        let (own, mut kafka) = parsed(&["--config", &path]);
        let config = own.resolve(Some(&mut kafka), "d").expect("valid");
        assert_eq!((config.server.insecure.no_auth, config.server.insecure.no_tls), (true, false));
        assert_eq!(kafka.kafka_teams_required, Some(true));
    }

    #[test]
    fn an_empty_path_is_none() {
        let (own, mut kafka) = parsed(&["--config", "", "--tls-cert", "", "--data-dir", "", "--kafka-teams-dir", ""]);
        let config = own.resolve(Some(&mut kafka), "d").expect("valid");
        assert!(config.server.tls.is_none() && kafka.kafka_teams_dir.is_none());
        assert_eq!(config.data_dir, PathBuf::from("d"));
    }

    #[test]
    fn a_property_of_another_shape_is_refused_without_its_value() {
        for text in [
            "[kafka-properties]\n\"sasl.password\" = 12345678\n",
            "kafka-properties = \"hunter2\"\n",
            "[kafka-properties]\nsasl.password = \"hunter2\"\n",
        ] {
            let options = Flags { config: Some(file(text)), ..Flags::default() };
            let error = options.resolve(Some(&mut KafkaFlags::default()), "d").expect_err("refused").message;
            assert!(error.contains("kafka-properties is no table"), "{error}");
            assert!(!error.contains("12345678") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        for text in ["lsten = \"0.0.0.0:1\"\n", "not toml"] {
            let options = Flags { config: Some(file(text)), ..Flags::default() };
            assert!(options.resolve(None, "d").is_err(), "{text}");
        }
    }
}
