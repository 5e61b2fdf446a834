//! Sandbar's own topics: those that are there must fit, and a host must be able to create the others.

use crate::kafka::{PresentTopic, Right, Survey, TopicSurvey};
use crate::model::finding::Finding;
use crate::model::names::ClusterName;
use crate::ports::NewTopic;
use crate::{access, catalog, positions};

const CHECK: &str = "control-topics";
/// The replicas that a host asks for, where there are as many brokers.
const REPLICAS_GOOD: usize = 3;

/// The topics that drop records by age, after `_sandbar.<cluster>.`, with their partitions.
const BY_AGE: [(&str, i32); 4] = [("status", 1), ("logs", 8), ("samples", 8), ("audit", 1)];

/// Sandbar's own topics, as a host asks for them. Those that keep the last value of each key for ever come first.
pub fn wanted(cluster: &ClusterName) -> Vec<NewTopic> {
    let for_ever = catalog::control_topics(cluster).into_iter();
    let for_ever = for_ever.chain([positions::control_topic(cluster), access::control_topic(cluster)]);
    let by_age = BY_AGE.iter().map(|(name, partitions)| NewTopic {
        name: cluster.control_topic(name),
        partitions: *partitions,
        compacted: false,
        retention: None,
    });
    for_ever.chain(by_age).collect()
}

/// Judges the topics of a survey. The settings that a host relies on are those of its compacted topics.
pub fn findings(survey: &Survey, wanted: &[NewTopic]) -> Vec<Finding> {
    let looked_at = wanted.iter().filter_map(|topic| Some((topic, survey.topics.get(&topic.name)?)));
    let problems: Vec<Finding> = looked_at
        .filter_map(|(topic, found)| match found {
            TopicSurvey::Missing(Ok(())) => None,
            TopicSurvey::Missing(Err(error)) => Some(Finding::failure(
                CHECK,
                format!("{} is not there, and the host could not create it: {error}", topic.name),
                "grant Create on it to the host's principal, or create it (docs/security.md, ACLs)",
            )),
            TopicSurvey::Present(found) => problem(topic, found, survey.brokers.len()),
        })
        .collect();
    if !problems.is_empty() {
        return problems;
    }
    let missing = survey.topics.values().filter(|topic| matches!(topic, TopicSurvey::Missing(_))).count();
    let present = survey.topics.len() - missing;
    vec![Finding::ok(CHECK, format!("{present} are there, {missing} can be created"))]
}

/// The worst problem of a topic.
fn problem(wanted: &NewTopic, found: &PresentTopic, brokers: usize) -> Option<Finding> {
    let name = &wanted.name;
    let setting = |name: &str| found.settings.as_ref()?.get(name).map(String::as_str);
    let in_sync_min: usize = setting("min.insync.replicas").and_then(|text| text.parse().ok()).unwrap_or(1);
    let lacking: Vec<&str> = [(Right::Read, "Read"), (Right::Write, "Write")]
        .into_iter()
        .filter(|(right, _)| !found.rights.contains(right))
        .map(|(_, name)| name)
        .collect();
    if !lacking.is_empty() {
        let lacking = lacking.join(" and ");
        let fix = "grant it (docs/security.md, ACLs)";
        return Some(Finding::failure(CHECK, format!("the host's principal lacks {lacking} on {name}"), fix));
    }
    if wanted.compacted && found.partitions != wanted.partitions as usize {
        let found = format!("{name} has {} partitions, not {}", found.partitions, wanted.partitions);
        return Some(Finding::failure(CHECK, found, "use another --cluster, or restore the topic from a backup"));
    }
    if wanted.compacted && setting("cleanup.policy").is_some_and(|policy| policy != "compact") {
        let fix = format!("kafka-configs.sh --alter --topic {name} --add-config cleanup.policy=compact");
        return Some(Finding::failure(CHECK, format!("{name} does not have cleanup.policy=compact: it loses records"), fix));
    }
    if found.leaderless > 0 {
        let found = format!("{} partitions of {name} have no leader", found.leaderless);
        return Some(Finding::failure(CHECK, found, "bring back the brokers that have their replicas"));
    }
    if in_sync_min > found.replicas {
        let found = format!("{name} has {} replicas, and min.insync.replicas={in_sync_min}", found.replicas);
        return Some(Finding::failure(CHECK, found, "lower min.insync.replicas, or add replicas: nobody can write"));
    }
    if found.settings.is_none() {
        let fix = "grant DescribeConfigs on it (docs/security.md, ACLs)";
        return Some(Finding::warning(CHECK, format!("the settings of {name} cannot be asked for"), fix));
    }
    if found.under_replicated > 0 {
        let found = format!("{} partitions of {name} have replicas that are not in sync", found.under_replicated);
        return Some(Finding::warning(CHECK, found, "look at the brokers that are behind"));
    }
    if found.replicas < brokers.min(REPLICAS_GOOD) {
        let found = format!("{name} has {} replicas on {brokers} brokers", found.replicas);
        return Some(Finding::warning(CHECK, found, "add replicas (kafka-reassign-partitions.sh)"));
    }
    if brokers >= REPLICAS_GOOD && in_sync_min < 2 {
        let fix = format!("kafka-configs.sh --alter --topic {name} --add-config min.insync.replicas=2");
        return Some(Finding::warning(CHECK, format!("{name} acknowledges records that one broker has"), fix));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::kafka::BrokerSurvey;
    use crate::model::finding::Outcome;
    use crate::ports::LogError;

    fn good(partitions: i32, compacted: bool) -> PresentTopic {
        let policy = if compacted { "compact" } else { "delete" };
        let settings = [("cleanup.policy", policy), ("min.insync.replicas", "2")];
        PresentTopic {
            partitions: partitions as usize,
            replicas: 3,
            settings: Some(settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()),
            rights: BTreeSet::from([Right::Read, Right::Write]),
            ..PresentTopic::default()
        }
    }

    /// Judges a good cluster after `change` to the topic of deployments.
    #[track_caller]
    fn check(change: impl FnOnce(TopicSurvey) -> TopicSurvey, expected: Outcome) {
        let wanted = wanted(&"c".parse().expect("a name"));
        let brokers = (1..=3).map(|id| BrokerSurvey { id, settings: None }).collect();
        let present = |topic: &NewTopic| TopicSurvey::Present(good(topic.partitions, topic.compacted));
        let mut topics: BTreeMap<_, _> = wanted.iter().map(|topic| (topic.name.clone(), present(topic))).collect();
        topics.insert(wanted[0].name.clone(), change(present(&wanted[0])));
        let findings = findings(&Survey { brokers, topics, ..Survey::default() }, &wanted);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].outcome, expected, "{findings:?}");
    }

    #[track_caller]
    fn check_present(change: impl FnOnce(&mut PresentTopic), expected: Outcome) {
        let change = |topic| match topic {
            TopicSurvey::Present(mut topic) => {
                change(&mut topic);
                TopicSurvey::Present(topic)
            }
            missing @ TopicSurvey::Missing(_) => missing,
        };
        check(change, expected);
    }

    fn set(topic: &mut PresentTopic, name: &str, value: &str) {
        topic.settings.get_or_insert_default().insert(name.into(), value.into());
    }

    #[test]
    fn a_topic_must_fit() {
        check(|topic| topic, Outcome::Ok);
        check(|_| TopicSurvey::Missing(Ok(())), Outcome::Ok);
        check(|_| TopicSurvey::Missing(Err(LogError::Unauthorized("no".into()))), Outcome::Failure);
        check_present(|topic| topic.rights = BTreeSet::from([Right::Read]), Outcome::Failure);
        check_present(|topic| topic.partitions = 3, Outcome::Failure);
        check_present(|topic| set(topic, "cleanup.policy", "delete"), Outcome::Failure);
        check_present(|topic| set(topic, "cleanup.policy", "compact,delete"), Outcome::Failure);
        check_present(|topic| topic.leaderless = 1, Outcome::Failure);
        check_present(|topic| set(topic, "min.insync.replicas", "4"), Outcome::Failure);
        check_present(|topic| set(topic, "min.insync.replicas", "1"), Outcome::Warning);
        check_present(|topic| topic.under_replicated = 1, Outcome::Warning);
        check_present(|topic| topic.replicas = 2, Outcome::Warning);
        check_present(|topic| topic.settings = None, Outcome::Warning);
    }
}
