//! The content of the file of teams: parsed and checked as a pure function of its text.
//!
//! Every key is optional. `defaults` complete the limits of each team, and the host's options complete `defaults`. Unknown
//! keys are refused, since a misspelt limit would be none.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::Deserialize;

use super::grants::RawGrants;
use super::redaction::rules_of;
use super::signing::RawSigning;
use crate::model::codes::Code;
use crate::model::names::TeamName;
use crate::model::signing_rules::{SigningRule, SigningRules};
use crate::model::spec::Problem;
use crate::model::team::TeamLimits;
use crate::model::topic_rights::TopicRights;
use crate::model::units::{Bytes, Span};
use crate::model::yaml;

/// Largest weight: larger ones say nothing that a ratio of these does not.
const CPU_WEIGHT_MAX: u32 = 10_000;
/// Largest number of anything that is counted.
const COUNT_MAX: u64 = 1_000_000_000;
/// Largest number of bytes: a pebibyte.
const BYTES_MAX: Bytes = Bytes::mib(1 << 30);
/// The shortest transaction that a spec may ask for: 10 ms for each of its parts.
const TRANSACTION_TIME_LEAST: Span = Span::ms(20);
/// An hour: far above every transaction.
const TRANSACTION_TIME_MOST: Span = Span::ms(3_600_000);

/// The reason why a file of teams is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    #[error(transparent)]
    Malformed(#[from] yaml::Error),
    /// An empty file may be in the middle of being written: it does not mean "no limits".
    #[error("it is empty; a file without limits is written as {{}}")]
    Empty,
    #[error("{}", shown(.0))]
    OutOfRange(Vec<Problem>),
    /// Rules of redaction are not valid, and nothing else is.
    #[error("{} ({})", shown(.0), Code::RedactionRule)]
    Redaction(Vec<Problem>),
}

impl FileError {
    pub fn code(&self) -> Code {
        match self {
            Self::Redaction(_) => Code::RedactionRule,
            Self::Unreadable(_) | Self::Malformed(_) | Self::Empty | Self::OutOfRange(_) => Code::TeamsFile,
        }
    }
}

fn shown(problems: &[Problem]) -> String {
    let all: Vec<String> = problems.iter().map(|Problem { field, message }| format!("{field} {message}")).collect();
    all.join("; ")
}

/// The limits of every team.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TeamTable {
    /// The limits of a team that the file does not name.
    pub defaults: TeamLimits,
    pub teams: BTreeMap<TeamName, TeamLimits>,
    pub topics: TopicRights,
    pub signing: SigningRules,
}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawFile {
    defaults: Option<RawLimits>,
    teams: BTreeMap<TeamName, Option<RawLimits>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLimits {
    cpu_weight: Option<u32>,
    transforms_max: Option<u64>,
    workers_max: Option<u64>,
    partition_workers_max: Option<u64>,
    memory_bytes_max: Option<Bytes>,
    stored_modules_max: Option<u64>,
    stored_module_bytes_max: Option<Bytes>,
    revision_bytes_max: Option<Bytes>,
    uploads_per_day_max: Option<u64>,
    upload_bytes_per_day_max: Option<Bytes>,
    created_partitions_per_day_max: Option<u64>,
    team_log_lines_max: Option<u32>,
    team_log_bytes_max: Option<Bytes>,
    follows_per_team_max: Option<u64>,
    transaction_time_max: Option<Span>,
    allow_cycle: Option<bool>,
    topics: Option<RawGrants>,
    signing: Option<RawSigning>,
}

// === impl TeamTable ===

impl TeamTable {
    /// Reads the text of a file. `base` has the limits for which it says nothing.
    pub fn parse(text: &[u8], base: &TeamLimits) -> Result<Self, FileError> {
        let mut documents: Vec<RawFile> = yaml::all(text)?;
        let file = match (documents.pop(), documents.is_empty()) {
            (Some(file), true) => file,
            (None, true) => return Err(FileError::Empty),
            (_, false) => {
                return Err(FileError::Malformed(yaml::Error::Malformed("there are several documents".to_owned())));
            }
        };
        let RawFile { defaults, teams } = file;
        let mut problems = Vec::new();
        let defaults = defaults.unwrap_or_default();
        defaults.check("defaults", &mut problems);
        let topics = defaults.topics.as_ref().map(|raw| raw.of_defaults("defaults.topics", &mut problems));
        let signing = defaults.signing_over(&SigningRule::default(), "defaults", &mut problems);
        let defaults = defaults.over(base);
        let topics = TopicRights { defaults: topics, teams: BTreeMap::new() };
        let signing = SigningRules { defaults: signing, teams: BTreeMap::new() };
        let mut table = Self { defaults, teams: BTreeMap::new(), topics, signing };
        let mut of_redaction = Vec::new();
        for (team, limits) in teams {
            let limits = limits.unwrap_or_default();
            limits.check(&format!("teams.{team}"), &mut problems);
            if let Some(raw) = &limits.topics {
                let place = format!("teams.{team}.topics");
                let mut grants = raw.over(table.topics.defaults.as_ref(), &place, &mut problems);
                grants.redact = rules_of(raw.redact.as_ref(), &grants, &place, &mut of_redaction);
                table.topics.teams.insert(team.clone(), grants);
            }
            let signing = limits.signing_over(&table.signing.defaults, &format!("teams.{team}"), &mut problems);
            table.signing.teams.insert(team.clone(), signing);
            table.teams.insert(team, limits.over(&defaults));
        }
        match (problems.is_empty(), of_redaction.is_empty()) {
            (true, true) => Ok(table),
            (true, false) => Err(FileError::Redaction(of_redaction)),
            (false, _) => Err(FileError::OutOfRange(problems.into_iter().chain(of_redaction).collect())),
        }
    }

    /// The limits of a team.
    pub fn limits(&self, team: &TeamName) -> &TeamLimits {
        self.teams.get(team).unwrap_or(&self.defaults)
    }
}

// === impl RawLimits ===

impl RawLimits {
    /// Completes the limits from those below.
    fn over(&self, below: &TeamLimits) -> TeamLimits {
        let bytes = |own: Option<Bytes>, below: u64| own.map_or(below, |bytes| bytes.0);
        TeamLimits {
            cpu_weight: self.cpu_weight.unwrap_or(below.cpu_weight),
            transforms_max: self.transforms_max.unwrap_or(below.transforms_max),
            workers_max: self.workers_max.unwrap_or(below.workers_max),
            partition_workers_max: self.partition_workers_max.unwrap_or(below.partition_workers_max),
            memory_bytes_max: bytes(self.memory_bytes_max, below.memory_bytes_max),
            stored_modules_max: self.stored_modules_max.unwrap_or(below.stored_modules_max),
            stored_module_bytes_max: bytes(self.stored_module_bytes_max, below.stored_module_bytes_max),
            revision_bytes_max: bytes(self.revision_bytes_max, below.revision_bytes_max),
            uploads_per_day_max: self.uploads_per_day_max.unwrap_or(below.uploads_per_day_max),
            upload_bytes_per_day_max: bytes(self.upload_bytes_per_day_max, below.upload_bytes_per_day_max),
            created_partitions_per_day_max: self
                .created_partitions_per_day_max
                .unwrap_or(below.created_partitions_per_day_max),
            team_log_lines_max: self.team_log_lines_max.unwrap_or(below.team_log_lines_max),
            team_log_bytes_max: bytes(self.team_log_bytes_max, below.team_log_bytes_max),
            follows_per_team_max: self.follows_per_team_max.unwrap_or(below.follows_per_team_max),
            transaction_time_max: self.transaction_time_max.map_or(below.transaction_time_max, |time| time.0),
            allow_cycle: self.allow_cycle.unwrap_or(below.allow_cycle),
        }
    }

    /// Completes the signing rule from the one below.
    fn signing_over(&self, below: &SigningRule, place: &str, problems: &mut Vec<Problem>) -> SigningRule {
        let complete = |raw: &RawSigning| raw.over(below, &format!("{place}.signing"), problems);
        self.signing.as_ref().map_or_else(|| below.clone(), complete)
    }

    /// Adds a problem for each value that is out of its range.
    fn check(&self, place: &str, problems: &mut Vec<Problem>) {
        let mut ranges = Ranges { place, problems };
        ranges.within("cpu_weight", self.cpu_weight, 1, CPU_WEIGHT_MAX);
        ranges.within("transforms_max", self.transforms_max, 0, COUNT_MAX);
        ranges.within("workers_max", self.workers_max, 0, COUNT_MAX);
        ranges.within("partition_workers_max", self.partition_workers_max, 0, COUNT_MAX);
        ranges.within("memory_bytes_max", self.memory_bytes_max, Bytes(0), BYTES_MAX);
        ranges.within("stored_modules_max", self.stored_modules_max, 0, COUNT_MAX);
        ranges.within("stored_module_bytes_max", self.stored_module_bytes_max, Bytes(0), BYTES_MAX);
        ranges.within("revision_bytes_max", self.revision_bytes_max, Bytes(0), BYTES_MAX);
        ranges.within("uploads_per_day_max", self.uploads_per_day_max, 0, COUNT_MAX);
        ranges.within("upload_bytes_per_day_max", self.upload_bytes_per_day_max, Bytes(0), BYTES_MAX);
        ranges.within("created_partitions_per_day_max", self.created_partitions_per_day_max, 0, COUNT_MAX);
        ranges.within("team_log_bytes_max", self.team_log_bytes_max, Bytes(0), BYTES_MAX);
        ranges.within("follows_per_team_max", self.follows_per_team_max, 0, COUNT_MAX);
        ranges.within("transaction_time_max", self.transaction_time_max, TRANSACTION_TIME_LEAST, TRANSACTION_TIME_MOST);
    }
}

/// The problems of the limits at one place of the file.
struct Ranges<'a> {
    place: &'a str,
    problems: &'a mut Vec<Problem>,
}

impl Ranges<'_> {
    fn within<T: PartialOrd + Display>(&mut self, key: &str, value: Option<T>, least: T, most: T) {
        if let Some(value) = value.filter(|value| *value < least || *value > most) {
            let message = format!("is {value}, but must be {least} to {most}");
            self.problems.push(Problem { field: format!("{}.{key}", self.place), message });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn base() -> TeamLimits {
        TeamLimits { team_log_lines_max: 7, ..TeamLimits::default() }
    }

    #[track_caller]
    fn check(text: &str, team: &str, expected: TeamLimits) {
        let table = TeamTable::parse(text.as_bytes(), &base()).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(*table.limits(&team.parse().expect("valid")), expected, "{team} in {text}");
    }

    #[track_caller]
    fn check_refused(text: &str, parts: &[&str]) {
        let refused = TeamTable::parse(text.as_bytes(), &base()).expect_err(text).to_string();
        for part in parts {
            assert!(refused.contains(part), "{text}: {part:?} is not in {refused:?}");
        }
    }

    #[test]
    fn a_team_has_its_own_limits_over_the_defaults_over_the_options() {
        let text = "
defaults: {transforms_max: 20, memory_bytes_max: 8GiB}
teams:
  orders:
    cpu_weight: 3
    transforms_max: 0
    transaction_time_max: 500ms
    allow_cycle: false
  stock:
";
        let defaults = TeamLimits { transforms_max: 20, memory_bytes_max: 8 << 30, ..base() };
        let transaction_time_max = Duration::from_millis(500);
        let own = TeamLimits { cpu_weight: 3, transforms_max: 0, transaction_time_max, allow_cycle: false, ..defaults };
        check(text, "orders", own);
        check(text, "stock", defaults);
        check(text, "unnamed", defaults);
        check("{}", "orders", base());
        check("defaults:\nteams: {}\n", "orders", base());
        check("teams: {a: {upload_bytes_per_day_max: 12}}", "a", TeamLimits { upload_bytes_per_day_max: 12, ..base() });
    }

    #[test]
    fn every_key_is_read() {
        let text = "teams: {a: {cpu_weight: 2, transforms_max: 3, workers_max: 4, partition_workers_max: 5, \
            memory_bytes_max: 6, stored_modules_max: 7, stored_module_bytes_max: 8, upload_bytes_per_day_max: 9, \
            team_log_lines_max: 10, team_log_bytes_max: 11, follows_per_team_max: 12, transaction_time_max: 1s, revision_bytes_max: 13, \
            uploads_per_day_max: 14, created_partitions_per_day_max: 15, allow_cycle: false}}";
        let expected = TeamLimits {
            cpu_weight: 2,
            transforms_max: 3,
            workers_max: 4,
            partition_workers_max: 5,
            memory_bytes_max: 6,
            stored_modules_max: 7,
            stored_module_bytes_max: 8,
            revision_bytes_max: 13,
            uploads_per_day_max: 14,
            created_partitions_per_day_max: 15,
            upload_bytes_per_day_max: 9,
            team_log_lines_max: 10,
            team_log_bytes_max: 11,
            follows_per_team_max: 12,
            transaction_time_max: Duration::from_secs(1),
            allow_cycle: false,
        };
        check(text, "a", expected);
    }

    #[test]
    fn a_file_that_is_not_valid_is_refused_with_the_place() {
        check_refused("teams: {orders: {transform_max: 1}}", &["teams.orders", "transform_max", "transforms_max"]);
        check_refused("team: {}", &["team", "defaults"]);
        check_refused("teams: {Orders: {}}", &["teams", "a-z"]);
        check_refused("teams: {orders: {transforms_max: -1}}", &["teams.orders.transforms_max"]);
        check_refused("teams: {orders: {transforms_max: many}}", &["teams.orders.transforms_max"]);
        check_refused("defaults: {memory_bytes_max: 5 apples}", &["defaults.memory_bytes_max", "64MiB"]);
        check_refused("defaults: {transaction_time_max: 5}", &["defaults.transaction_time_max", "200ms"]);
        check_refused("teams: {a: {}, a: {}}", &["duplicate"]);
        check_refused("teams: [", &["line 1"]);
        check_refused("teams: [[a, {}]]", &["teams"]);
        check_refused("teams: {orders: [3, 4]}", &["teams.orders", "mapping"]);
        check_refused("[{}]", &["mapping"]);
        check_refused("", &["empty"]);
        check_refused("# nothing\n", &["empty"]);
        check_refused("{}\n---\n{}\n", &["several documents"]);
        let both = "defaults: {cpu_weight: 0}\nteams: {a: {transaction_time_max: 1ms, memory_bytes_max: 2PiB}}";
        check_refused(
            both,
            &[
                "defaults.cpu_weight is 0, but must be 1 to 10000",
                "teams.a.transaction_time_max is 1ms, but must be 20ms to 1h",
                "teams.a.memory_bytes_max is 2PiB, but must be 0B to 1PiB",
            ],
        );
    }
}
