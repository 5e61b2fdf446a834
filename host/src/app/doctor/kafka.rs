//! The checks that ask a Kafka cluster, in the order in which one needs the other.

use std::path::Path;
use std::time::Duration;

use super::{brokers, clock, control_topics};
use crate::app::foreign_writers::foreign_writers;
use crate::kafka::{KafkaConfig, KafkaLog};
use crate::model::codes::Code;
use crate::model::finding::Finding;
use crate::model::names::{ClusterName, TeamName};
use crate::model::units::Timestamp;
use crate::ports::{ExclusiveError, Log, LogError};

/// Most files of teams that are tried: each takes a connection.
const TEAMS_MAX: usize = 200;

/// The checks of a Kafka cluster, with the options of the host that they are made for.
pub struct KafkaChecks {
    pub kafka: KafkaConfig,
    pub cluster: ClusterName,
    pub group_keep_alive_interval: Duration,
}

impl KafkaChecks {
    pub fn findings(self) -> Vec<Finding> {
        let Self { kafka, cluster, group_keep_alive_interval } = self;
        let teams_dir = kafka.teams_dir.clone();
        let brokers = kafka.brokers.clone();
        let log = match KafkaLog::new(kafka) {
            Ok(log) => log,
            Err(error) => return vec![Finding::failure("kafka", error, "correct the properties of --kafka-config")],
        };
        let wanted = control_topics::wanted(&cluster);
        let survey = match log.survey(&wanted) {
            Ok(survey) => survey,
            Err(error) => return vec![unreachable(&error)],
        };
        let needs = brokers::Needs { session_timeout: log.session_timeout(), group_keep_alive_interval };
        let mut findings = vec![Finding::ok("kafka", format!("{brokers} lets the host in"))];
        findings.extend(brokers::findings(&survey, &needs));
        findings.extend(control_topics::findings(&survey, &wanted));
        findings.push(transactions(&log, &cluster));
        findings.push(writers(&log, &cluster));
        findings.extend(clock::finding(&log, &cluster, Timestamp::now));
        findings.extend(teams_dir.map(|folder| teams(&log, &folder)));
        findings
    }
}

fn unreachable(error: &LogError) -> Finding {
    let fix = match error {
        LogError::Unauthorized(_) => "correct the user and the password, or what the brokers know of them",
        LogError::NoToken(_) => "correct the properties of sasl.oauthbearer (docs/security.md, Tokens)",
        _ => "correct --brokers, security.protocol and ssl.ca.location, or what is between this machine and the brokers",
    };
    Finding::failure("kafka", error, fix)
}

/// Asks the coordinator of transactions for a producer: it answers, and the principal has the right.
fn transactions(log: &KafkaLog, cluster: &ClusterName) -> Finding {
    match log.exclusive(&format!("sandbar.{cluster}.doctor")) {
        Ok(_) => Finding::ok("transactions", "the coordinator has a producer for this host"),
        Err(ExclusiveError::Log(LogError::Unauthorized(message))) => Finding::failure(
            "transactions",
            message,
            format!("grant Write on the transactional ids with the prefix sandbar.{cluster}. (docs/security.md, ACLs)"),
        ),
        Err(error) => Finding::failure(
            "transactions",
            error,
            "look at __transaction_state: enough brokers for its min.insync.replicas must run",
        ),
    }
}

fn writers(log: &KafkaLog, cluster: &ClusterName) -> Finding {
    match foreign_writers(log, cluster) {
        Ok(None) => Finding::warning(
            "foreign-writers",
            "the ACLs of control topics are not known: there are none, or the host may not ask for them",
            "let nobody else write to them: whoever does can deploy (docs/security.md, ACLs)",
        ),
        Ok(Some(found)) if found.is_empty() => {
            Finding::ok("foreign-writers", "no other principal may write to a control topic")
        }
        Ok(Some(found)) => {
            let topics: Vec<String> = found.iter().map(|(topic, principals)| format!("{topic}: {principals}")).collect();
            Finding::warning("foreign-writers", topics.join("; "), Code::ControlTopicOpen.hint())
        }
        Err(error) => Finding::warning("foreign-writers", error, "ask again"),
    }
}

/// Logs in with the credentials of each team.
fn teams(log: &KafkaLog, folder: &Path) -> Finding {
    let files = match std::fs::read_dir(folder) {
        Ok(files) => files,
        Err(error) => {
            let found = format!("{}: {error}", folder.display());
            return Finding::failure("kafka-teams", found, "correct --kafka-teams-dir");
        }
    };
    let names = files.flatten().filter_map(|file| file.file_name().into_string().ok());
    let mut teams: Vec<TeamName> = names.filter_map(|name| name.strip_suffix(".properties")?.parse().ok()).collect();
    teams.sort();
    let refused: Vec<String> = teams.iter().take(TEAMS_MAX).filter_map(|team| refusal(log, team)).collect();
    if !refused.is_empty() {
        return Finding::failure("kafka-teams", refused.join("; "), "correct their files, or what the brokers know of them");
    }
    if teams.len() > TEAMS_MAX {
        let found = format!("{TEAMS_MAX} of {} teams were tried, and are let in", teams.len());
        return Finding::warning("kafka-teams", found, "look at the status of the others");
    }
    Finding::ok("kafka-teams", format!("{} teams are let in", teams.len()))
}

/// Tells why the brokers do not let a team in.
fn refusal(log: &KafkaLog, team: &TeamName) -> Option<String> {
    let reached = log.reach_as(team);
    reached.err().map(|error| format!("{team}: {error}"))
}
