//! The file of options: it completes the flags, under the same names.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::flags::{Flags, KafkaFlags};
use crate::bounded_input;
use crate::model::by_name::ByName;

/// Keys of [`KafkaFlags`] in the file.
const KAFKA_KEYS: [&str; 7] =
    ["brokers", "cluster", "kafka-config", "kafka-properties", "kafka-teams-dir", "kafka-teams-required", "session-timeout"];
/// Largest file of options: with every option it has 10 KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Session timeouts in seconds. A worker polls at least every 60 s, and librdkafka wants the session timeout below that.
const SESSION_TIMEOUT_S: std::ops::RangeInclusive<u64> = 1..=45;

/// The file: both groups of options at its top level.
#[derive(Debug, Default, Deserialize)]
struct File {
    #[serde(flatten)]
    keys: toml::Table,
}

/// Builds options of which each is the flag's, or else the file's. An empty path, or an empty list, was not given. It is a
/// macro, since no function goes over the fields of a struct: each field is named once, and without a new one the host does
/// not compile.
macro_rules! completed {
    ($flags:ident or $file:ident {
        values: $($value:ident)*;
        paths: $($path:ident)*;
        lists: $($list:ident)*;
        $($other:ident: $content:expr,)*
    }) => {
        Self {
            $($value: $flags.$value.or($file.$value),)*
            $($path: given($flags.$path).or(given($file.$path)),)*
            $($list: if $flags.$list.is_empty() { $file.$list } else { $flags.$list },)*
            $($other: $content,)*
        }
    };
}

// === impl Flags ===

impl Flags {
    /// Completes the flags from the file.
    pub(super) fn with_file(self, kafka: Option<&mut KafkaFlags>) -> Result<Self, String> {
        let (file, file_kafka) = match given(self.config.clone()) {
            Some(path) => read_file(&path)?,
            None => Default::default(),
        };
        if let Some(kafka) = kafka {
            *kafka = std::mem::take(kafka).or(file_kafka)?;
        }
        // An empty variable of the environment names nothing.
        let own = Self { host: self.host.filter(|name| !name.is_empty()), ..self };
        Ok(own.or(file))
    }

    fn or(self, file: Self) -> Self {
        completed! {
            self or file {
                values:
                    listen tls_client_required insecure_no_tls insecure_no_auth advertise connections_max
                    connections_per_address_max streams_per_connection_max upload_bytes_in_flight_max
                    answer_bytes_in_flight_max auth requests_per_principal_max tokens_per_team_max
                    audit_retention oidc_issuer oidc_audience oidc_groups_claim oidc_name_claim oidc_client_id
                    oidc_scopes oidc_resource oidc_clock_skew oidc_token_lifetime_max oidc_refresh_interval
                    oidc_refetch_interval oidc_keys_age_max host log log_format otlp_endpoint otlp_queue_max
                    module_bytes_max compile_time_max compile_memory_max guest_memory_max guest_calls_max
                    compilers_max compiled_module_max compiled_cache_max guest_address_space_max state_cache_max
                    state_hot_max state_hot_total_max state_buffers_max state_memory_max state_disk_per_team_max
                    state_disk_free_min state_restores_max state_cleanup_delay table_bytes_max table_memory_max table_memory_per_team_max table_stale_after
                    module_retention host_retention group_keep_alive_interval logs_retention team_log_lines_max
                    team_log_bytes_max journal_max secret_bytes_max;
                paths:
                    tls_cert tls_key tls_client_ca admin_token_file client_roles oidc_roles oidc_ca data_dir
                    otlp_ca teams secrets_dir;
                lists:
                    allowed_redirects allowed_hosts oidc_algorithms;
                config: given(self.config),
            }
        }
    }
}

// === impl KafkaFlags ===

impl KafkaFlags {
    fn or(self, file: Self) -> Result<Self, String> {
        // An empty variable of the environment names nothing.
        let own = Self { brokers: self.brokers.filter(|brokers| !brokers.trim().is_empty()), ..self };
        let mut kafka = completed! {
            own or file {
                values: brokers cluster kafka_teams_required session_timeout;
                paths: kafka_config kafka_teams_dir;
                lists: ;
                kafka_property: own.kafka_property,
                kafka_properties: file.kafka_properties,
            }
        };
        if kafka.kafka_teams_required == Some(true) && kafka.kafka_teams_dir.is_none() {
            return Err("--kafka-teams-required needs --kafka-teams-dir".into());
        }
        if kafka.session_timeout.is_some_and(|span| !SESSION_TIMEOUT_S.contains(&span.0.as_secs())) {
            return Err("--session-timeout must be from 1s to 45s".into());
        }
        for property in kafka.kafka_property.iter().filter(|property| !property.trim().is_empty()) {
            // The value may be a secret: it is not repeated in the message.
            let (name, value) = property.split_once('=').ok_or("--kafka-property must be NAME=VALUE")?;
            kafka.kafka_properties.insert(name.trim().to_owned(), value.trim().to_owned());
        }
        Ok(kafka)
    }
}

/// Leaves an empty path out.
fn given(path: Option<PathBuf>) -> Option<PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

fn read_file(path: &Path) -> Result<(Flags, KafkaFlags), String> {
    let here = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::File::open(path).and_then(|file| bounded_input::read_text(file, FILE_BYTES_MAX));
    let text = text.map_err(|error| here(&error))?;
    // The message of a TOML error quotes the line, which may be a secret: only its place is told.
    let parsed = toml::from_str::<ByName<File>>(&text).map(|ByName(file)| file);
    let place = |error: toml::de::Error| format!("line {}: {}", line_of(&error, &text), error.message());
    let file = parsed.map_err(|error| here(&place(error)))?;
    let (kafka, own): (toml::Table, toml::Table) =
        file.keys.into_iter().partition(|(key, _)| KAFKA_KEYS.contains(&key.as_str()));
    let own = of_keys(own).map_err(|error| here(&error))?;
    check_properties(&kafka).map_err(|error| here(&error))?;
    let kafka = of_keys(kafka).map_err(|error| here(&error))?;
    Ok((own, kafka))
}

/// Reads options; an error names the key.
fn of_keys<T: DeserializeOwned>(keys: toml::Table) -> Result<T, String> {
    serde_path_to_error::deserialize(toml::Value::Table(keys)).map(|ByName(options)| options).map_err(|error| {
        let path = error.path().to_string();
        // `?` stands for a key that is not known, which the message names.
        let key = path.trim_end_matches(['.', '?']);
        let message = error.inner().message();
        if key.is_empty() { message.to_owned() } else { format!("{key}: {message}") }
    })
}

/// Refuses properties of another shape, whose values the reader of TOML would quote.
fn check_properties(keys: &toml::Table) -> Result<(), String> {
    let Some(properties) = keys.get("kafka-properties") else { return Ok(()) };
    let are_texts = properties.as_table().is_some_and(|properties| properties.values().all(toml::Value::is_str));
    if are_texts { Ok(()) } else { Err("kafka-properties is no table of lines such as name = \"value\"".to_owned()) }
}

/// The line of an error of TOML.
pub fn line_of(error: &toml::de::Error, text: &str) -> usize {
    error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{Arg, Args, Command, Parser};

    use super::*;

    /// Options as clap reads them.
    #[derive(Parser)]
    struct Words {
        #[command(flatten)]
        own: Flags,
        #[command(flatten)]
        kafka: KafkaFlags,
    }

    #[test]
    fn no_path_is_empty() {
        let command = Words::augment_args(Command::new("sandbar"));
        let is_path =
            |arg: &&Arg| arg.get_value_names().into_iter().flatten().any(|name| *name == "FILE" || *name == "FOLDER");
        let flags: Vec<String> =
            command.get_arguments().filter(is_path).filter_map(Arg::get_long).map(|long| format!("--{long}=")).collect();
        assert!(flags.len() > 10, "{flags:?}");
        let words = std::iter::once("sandbar".to_owned()).chain(flags);
        let Words { own, mut kafka } = Words::try_parse_from(words).expect("valid");
        let own = own.with_file(Some(&mut kafka)).expect("valid");
        let found = format!("{own:?} {:?} {:?}", kafka.kafka_config, kafka.kafka_teams_dir);
        assert!(!found.contains("Some(\"\")"), "{found}");
    }

    #[test]
    fn a_refused_value_is_told_with_its_key() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        for (text, part) in [
            ("listen = \"nowhere\"\n", "listen: "),
            ("connections-max = \"many\"\n", "connections-max: "),
            ("allowed-hosts = [\"a\", 7]\n", "allowed-hosts[1]: "),
            ("cluster = \"No Name\"\n", "cluster: "),
            ("lisen = 1\n", "unknown field `lisen`"),
        ] {
            std::fs::write(file.path(), text).expect("written");
            let error = read_file(file.path()).map(drop).expect_err("refused");
            assert!(error.contains(part), "{error}");
        }
        std::fs::write(file.path(), "[kafka-properties]\n\"sasl.password\" = 12345\n").expect("written");
        let error = read_file(file.path()).map(drop).expect_err("refused");
        assert!(error.contains("kafka-properties") && !error.contains("12345"), "{error}");
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        file.as_file().set_len(FILE_BYTES_MAX + 1).expect("a file with a hole");
        let error = read_file(file.path()).map(drop).expect_err("too long");
        assert!(error.contains("has more than 1048576 bytes"), "{error}");
    }

    #[test]
    fn the_keys_of_kafka_are_its_flags() {
        let command = KafkaFlags::augment_args(Command::new("sandbar"));
        let longs = command.get_arguments().filter_map(Arg::get_long);
        // The file has a table in place of the flag that is given for each property.
        let keys: BTreeSet<&str> =
            longs.map(|long| if long == "kafka-property" { "kafka-properties" } else { long }).collect();
        assert_eq!(keys, BTreeSet::from(KAFKA_KEYS));
    }
}
