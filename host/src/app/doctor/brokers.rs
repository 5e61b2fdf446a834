//! Rules over the settings of the brokers.

use std::time::Duration;

use crate::kafka::{BrokerSurvey, Survey};
use crate::model::finding::Finding;
use crate::model::transaction_time::{BATCH_TIME_MAX, COMMIT_INTERVAL_MAX, timeout};

/// The oldest release on which Sandbar is tested.
const RELEASE_TESTED: (u32, u32) = (3, 7);
/// A setting that 4.0 has taken away. Older brokers have it, with their own release if nobody has set it.
const PROTOCOL: &str = "inter.broker.protocol.version";
/// Brokers from which on each record can have a copy elsewhere while one broker is down.
const BROKERS_GOOD: usize = 3;

/// Kafka's own topics, with the setting by which they are made.
const INTERNAL_TOPICS: [(&str, &str); 2] = [
    ("__transaction_state", "transaction.state.log.replication.factor"),
    ("__consumer_offsets", "offsets.topic.replication.factor"),
];

/// The settings of a host that brokers must allow.
#[derive(Debug, Clone, Copy)]
pub struct Needs {
    pub session_timeout: Duration,
    pub group_keep_alive_interval: Duration,
}

/// The values of one setting.
struct Setting<'a> {
    brokers: &'a [BrokerSurvey],
    name: &'static str,
}

pub fn findings(survey: &Survey, needs: &Needs) -> Vec<Finding> {
    let brokers = survey.brokers.as_slice();
    let mut findings = vec![number(brokers.len())];
    let hidden: Vec<String> =
        brokers.iter().filter(|broker| broker.settings.is_none()).map(|broker| broker.id.to_string()).collect();
    if !hidden.is_empty() {
        let found = format!("the settings of the brokers {} cannot be asked for", hidden.join(", "));
        let fix = "grant DescribeConfigs on the cluster to the host's principal while the doctor runs, or look yourself";
        findings.push(Finding::warning("broker-settings", found, fix));
    }
    let of = |name| Setting { brokers, name };
    if hidden.len() < brokers.len() {
        findings.push(release(&of(PROTOCOL)));
        findings.push(session_timeout(&of, needs.session_timeout));
        findings.push(transaction_timeout(&of("transaction.max.timeout.ms")));
        findings.push(retention(&of("offsets.retention.minutes"), needs.group_keep_alive_interval));
        findings.push(elections(&of("unclean.leader.election.enable")));
        findings.push(verification(&of("transaction.partition.verification.enable")));
        findings.push(internal_topics(&of, survey));
    }
    findings
}

fn number(brokers: usize) -> Finding {
    if brokers < BROKERS_GOOD {
        let fix = "for production, use three or more: with one replica of a record, its disk is the only copy";
        return Finding::warning("brokers", brokers, fix);
    }
    Finding::ok("brokers", brokers)
}

fn release(protocol: &Setting) -> Finding {
    let Some((_, oldest)) = protocol.texts().min_by_key(|(_, text)| parsed(text)) else {
        return Finding::ok("broker-release", "4.0 or newer");
    };
    match parsed(oldest) {
        Some(found) if found < RELEASE_TESTED => {
            let (major, minor) = RELEASE_TESTED;
            let fix = format!("upgrade the brokers: Sandbar is tested from {major}.{minor} on");
            Finding::warning("broker-release", format!("{oldest}, by {PROTOCOL}"), fix)
        }
        _ => Finding::ok("broker-release", format!("{oldest}, by {PROTOCOL}")),
    }
}

/// The release of a text such as `3.9-IV0`.
fn parsed(protocol: &str) -> Option<(u32, u32)> {
    let (major, rest) = protocol.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn session_timeout<'a>(of: &impl Fn(&'static str) -> Setting<'a>, wanted: Duration) -> Finding {
    let shown = format!("--session-timeout {}", humantime::format_duration(wanted));
    let wanted = wanted.as_millis() as i64;
    let too_short = of("group.min.session.timeout.ms").first(|least| wanted < least);
    let too_long = of("group.max.session.timeout.ms").first(|most| wanted > most);
    match too_short.or(too_long) {
        Some(broken) => Finding::failure(
            "session-timeout",
            format!("{shown}, and {broken}: brokers refuse each member of a group"),
            "change --session-timeout, or the setting of the brokers",
        ),
        None => Finding::ok("session-timeout", shown),
    }
}

fn transaction_timeout(setting: &Setting) -> Finding {
    let longest = timeout(COMMIT_INTERVAL_MAX, BATCH_TIME_MAX).as_millis() as i64;
    match setting.first(|most| most < longest) {
        Some(broken) => Finding::warning(
            "transaction-timeout",
            format!("{broken}: a spec with long intervals or long calls asks for up to {longest}"),
            format!("set it to {longest} or more on each broker"),
        ),
        None => Finding::ok("transaction-timeout", format!("transactions may last {longest} ms")),
    }
}

/// Offsets of groups without members are deleted after this time; hosts visit them before.
fn retention(setting: &Setting, interval: Duration) -> Finding {
    let minutes = (interval.as_secs() / 60) as i64;
    match setting.first(|kept| kept <= minutes) {
        Some(broken) => Finding::failure(
            "offsets-retention",
            format!("{broken}, and hosts visit paused groups every {minutes} minutes: their offsets are lost between"),
            "lower --group-keep-alive-interval well below it, or raise it on the brokers",
        ),
        None => Finding::ok("offsets-retention", format!("longer than {minutes} minutes")),
    }
}

fn elections(setting: &Setting) -> Finding {
    match setting.texts().find(|(_, text)| *text == "true") {
        Some((broker, _)) => Finding::warning(
            "unclean-elections",
            format!("broker {broker} has {}=true: Kafka may lose records that it has acknowledged", setting.name),
            "set it to false: nothing is exactly once over a log that loses records",
        ),
        None => Finding::ok("unclean-elections", "off"),
    }
}

fn verification(setting: &Setting) -> Finding {
    match setting.texts().find(|(_, text)| *text == "false") {
        Some((broker, _)) => Finding::warning(
            "transaction-verification",
            format!("broker {broker} has {}=false: a late record can leave a transaction open for ever", setting.name),
            "set it to true (KIP-890)",
        ),
        None => Finding::ok("transaction-verification", "on, or older than the setting"),
    }
}

/// Judges the topics in which Kafka keeps transactions and offsets, by their own replicas: a topic keeps those that it was
/// made with. Where they cannot be seen, or are not there yet, the settings for new ones count.
fn internal_topics<'a>(of: &impl Fn(&'static str) -> Setting<'a>, survey: &Survey) -> Finding {
    if survey.brokers.len() < BROKERS_GOOD {
        return Finding::ok("internal-topics", "there are too few brokers for copies");
    }
    let few = |(topic, setting): &(&'static str, &'static str)| match survey.kafka_topics.get(*topic) {
        Some(replicas) if *replicas < BROKERS_GOOD => Some(format!("{topic} has {replicas} replicas")),
        Some(_) => None,
        None => of(setting).first(|replicas| replicas < BROKERS_GOOD as i64),
    };
    match INTERNAL_TOPICS.iter().find_map(few) {
        Some(broken) => Finding::warning(
            "internal-topics",
            format!("{broken}: transactions stop while that broker is down"),
            "raise it, and the replicas of the topics that exist (kafka-reassign-partitions.sh)",
        ),
        None => Finding::ok("internal-topics", "transactions and offsets have three replicas"),
    }
}

// === impl Setting ===

impl Setting<'_> {
    /// The value on each broker that tells it.
    fn texts(&self) -> impl Iterator<Item = (i32, &str)> {
        self.brokers.iter().filter_map(|broker| Some((broker.id, broker.settings.as_ref()?.get(self.name)?.as_str())))
    }

    /// The first broker with a value for which `is_broken` holds, as a text.
    fn first(&self, is_broken: impl Fn(i64) -> bool) -> Option<String> {
        let is_broken = |text: &str| text.parse().is_ok_and(&is_broken);
        let (broker, text) = self.texts().find(|(_, text)| is_broken(text))?;
        Some(format!("broker {broker} has {}={text}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::finding::Outcome;

    const NEEDS: Needs =
        Needs { session_timeout: Duration::from_secs(6), group_keep_alive_interval: Duration::from_secs(86_400) };
    const GOOD: [(&str, &str); 6] = [
        ("group.min.session.timeout.ms", "6000"),
        ("group.max.session.timeout.ms", "1800000"),
        ("transaction.max.timeout.ms", "900000"),
        ("offsets.retention.minutes", "10080"),
        ("transaction.state.log.replication.factor", "3"),
        ("offsets.topic.replication.factor", "3"),
    ];

    /// Judges three good brokers, the last of which has one setting more; `expected` has the checks that are not ok.
    #[track_caller]
    fn check(name: &str, value: &str, expected: &[(&str, Outcome)]) {
        let good: BTreeMap<String, String> = GOOD.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let mut last = good.clone();
        last.insert(name.into(), value.into());
        let settings = [good.clone(), good, last];
        let brokers: Vec<BrokerSurvey> =
            (1..).zip(settings).map(|(id, settings)| BrokerSurvey { id, settings: Some(settings) }).collect();
        check_survey(&Survey { brokers, ..Survey::default() }, expected);
    }

    #[track_caller]
    fn check_survey(survey: &Survey, expected: &[(&str, Outcome)]) {
        let findings = findings(survey, &NEEDS);
        let others = findings.iter().filter(|finding| finding.outcome != Outcome::Ok);
        let found: Vec<(&str, Outcome)> = others.map(|finding| (finding.check, finding.outcome)).collect();
        assert_eq!(found, expected, "{findings:?}");
    }

    #[test]
    fn one_broker_with_a_wrong_setting_is_enough() {
        check("num.partitions", "1", &[]);
        check("group.min.session.timeout.ms", "10000", &[("session-timeout", Outcome::Failure)]);
        check("group.max.session.timeout.ms", "5000", &[("session-timeout", Outcome::Failure)]);
        check("transaction.max.timeout.ms", "20000", &[("transaction-timeout", Outcome::Warning)]);
        check("offsets.retention.minutes", "1440", &[("offsets-retention", Outcome::Failure)]);
        check("unclean.leader.election.enable", "true", &[("unclean-elections", Outcome::Warning)]);
        check("transaction.partition.verification.enable", "false", &[("transaction-verification", Outcome::Warning)]);
        check("transaction.state.log.replication.factor", "1", &[("internal-topics", Outcome::Warning)]);
        check("offsets.topic.replication.factor", "2", &[("internal-topics", Outcome::Warning)]);
        check(PROTOCOL, "3.9-IV0", &[]);
        check(PROTOCOL, "3.6-IV2", &[("broker-release", Outcome::Warning)]);
        check(PROTOCOL, "2.10-IV0", &[("broker-release", Outcome::Warning)]);
        check(PROTOCOL, "of no release", &[]);
    }

    #[test]
    fn few_brokers_and_hidden_settings_are_told() {
        let hidden = |id| BrokerSurvey { id, settings: None };
        let survey =
            |brokers: &[i32]| Survey { brokers: brokers.iter().copied().map(hidden).collect(), ..Survey::default() };
        check_survey(&survey(&[1]), &[("brokers", Outcome::Warning), ("broker-settings", Outcome::Warning)]);
        check_survey(&survey(&[1, 2, 3]), &[("broker-settings", Outcome::Warning)]);
    }

    /// A cluster that was begun with one broker has the settings of three, and the topics of one.
    #[test]
    fn replicas_of_topics_count_before_settings_for_new_ones() {
        let settings: BTreeMap<String, String> =
            GOOD.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let broker = |id| BrokerSurvey { id, settings: Some(settings.clone()) };
        let survey = |replicas| Survey {
            brokers: (1..=3).map(broker).collect(),
            kafka_topics: BTreeMap::from([("__transaction_state".to_owned(), replicas)]),
            ..Survey::default()
        };
        check_survey(&survey(3), &[]);
        check_survey(&survey(1), &[("internal-topics", Outcome::Warning)]);
    }
}
