//! The topics that teams may read and write, as the operator's file says them. Pure.
//!
//! A team that owns a topic reads and writes it. Other teams need a grant, `read` or `write`, and to write they need the
//! owner's word as well (`accepts_from`). A team without `topics` in the file is bound by the words of owners alone.
//!
//! A `*` in a pattern never stands for a protected topic: one of another program, whose content such a pattern does not
//! mean. Only the whole name grants one. Control topics, of Sandbar and of Kafka, are granted to nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use super::names::{TeamName, TopicName, TransformId};
use super::redaction::RedactionRule;

/// Most patterns in one list of the file.
pub const PATTERNS_MAX: usize = 1000;
/// Longest pattern, in bytes: as long as the longest name of a topic.
const PATTERN_BYTES_MAX: usize = 249;

/// Topics by their name: `*` stands for any characters, none too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPattern(String);

/// The rights of one team.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicGrants {
    pub owns: Vec<TopicPattern>,
    pub read: Vec<TopicPattern>,
    pub write: Vec<TopicPattern>,
    /// The teams that may write into the topics that this team owns.
    pub accepts_from: BTreeSet<TeamName>,
    /// The rules for callers who may not see the records of these topics whole. The team owns the topics.
    pub redact: Vec<(TopicPattern, RedactionRule)>,
}

/// The rights of all teams.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicRights {
    /// The rights of a team that the file does not name. `None`: the file does not bound them.
    pub defaults: Option<TopicGrants>,
    pub teams: BTreeMap<TeamName, TopicGrants>,
}

/// A use of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicUse {
    Read,
    Write,
}

/// The reason for which a team may not use a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// No pattern of the team has the topic.
    NotGranted { usage: TopicUse },
    /// The topic is one of another program, and the team is not granted its whole name.
    Protected { usage: TopicUse },
    /// This team owns it, and does not accept records of the other.
    NotAccepted { owner: TeamName },
}

// === impl TopicPattern ===

impl TopicPattern {
    fn has(&self, topic: &TopicName) -> bool {
        let is_literal = self.0 == topic.as_str();
        is_literal || (!is_protected(topic) && matches(self.0.as_bytes(), topic.as_str().as_bytes()))
    }
}

impl FromStr for TopicPattern {
    type Err = String;
    fn from_str(raw: &str) -> Result<Self, String> {
        let is_known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '*');
        if raw.is_empty() || raw.len() > PATTERN_BYTES_MAX || !raw.chars().all(is_known) {
            return Err(format!(
                "{raw:?} is no topic: it has 1 to {PATTERN_BYTES_MAX} letters, digits, '.', '_', '-' and '*'"
            ));
        }
        if raw.starts_with("_sandbar.") || raw.starts_with("__") {
            return Err(format!("{raw:?} names control topics, which are granted to nobody"));
        }
        if raw.contains('*') && is_protected_name(raw) {
            return Err(format!("{raw:?} names protected topics, which are granted by their whole names alone"));
        }
        Ok(Self(raw.to_owned()))
    }
}

/// Topics whose content is another program's own: of Kafka and the tools around it, of Kafka Connect, of Kafka Streams.
pub fn is_protected(topic: &TopicName) -> bool {
    is_protected_name(topic.as_str())
}

fn is_protected_name(name: &str) -> bool {
    let is_of_streams = ["-changelog", "-repartition"].iter().any(|end| name.ends_with(end));
    let is_of_connect = ["connect-", "connect_"].iter().any(|start| name.starts_with(start));
    name.starts_with('_') || is_of_connect || is_of_streams || name.contains("-KTABLE-FK-JOIN-SUBSCRIPTION-")
}

/// Returns true if the pattern matches all of the name. Goes back to the last `*` alone: the time is bounded by the product
/// of the lengths.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let mut p = 0;
    let mut n = 0;
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(letter) if *letter == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match &mut star {
                Some((at, taken)) => {
                    *taken += 1;
                    p = *at + 1;
                    n = *taken;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|letter| *letter == b'*')
}

// === impl TopicGrants ===

impl TopicGrants {
    /// Returns true if the team owns every topic of the pattern.
    pub fn owns_all(&self, pattern: &TopicPattern) -> bool {
        // A `*` in the pattern is matched by that of an owner alone.
        let has_all = |own: &TopicPattern| {
            *own == *pattern || (!is_protected_name(&pattern.0) && matches(own.0.as_bytes(), pattern.0.as_bytes()))
        };
        self.owns.iter().any(has_all)
    }
}

// === impl TopicRights ===

impl TopicRights {
    /// The rights of a team; `None`: they are not bounded.
    pub fn of(&self, team: &TeamName) -> Option<&TopicGrants> {
        self.teams.get(team).or(self.defaults.as_ref())
    }

    /// The rules of redaction for a topic, each with the team whose rule it is.
    pub fn redactions<'a>(&'a self, topic: &'a TopicName) -> impl Iterator<Item = (&'a TeamName, &'a RedactionRule)> {
        self.all_redactions().filter(|(_, pattern, _)| pattern.has(topic)).map(|(team, _, rule)| (team, rule))
    }

    /// All rules of redaction.
    pub fn all_redactions(&self) -> impl Iterator<Item = (&TeamName, &TopicPattern, &RedactionRule)> {
        let teams = self.teams.iter();
        teams.flat_map(|(team, grants)| grants.redact.iter().map(move |(topic, rule)| (team, topic, rule)))
    }

    /// Checks a use of a topic by a transform.
    pub fn check(&self, id: &TransformId, usage: TopicUse, topic: &TopicName) -> Result<(), Denial> {
        let own = self.of(&id.team);
        let owns = own.is_some_and(|own| has(&own.owns, topic));
        if usage == TopicUse::Write && !owns {
            self.check_owners(&id.team, topic)?;
        }
        let is_granted = match (own, usage) {
            (None, TopicUse::Read) => true,
            (None, TopicUse::Write) => !is_protected(topic),
            (Some(own), TopicUse::Read) => owns || has(&own.read, topic) || is_dead_letter_topic(id, topic),
            (Some(own), TopicUse::Write) => owns || has(&own.write, topic) || is_dead_letter_topic(id, topic),
        };
        match is_granted {
            true => Ok(()),
            false if is_protected(topic) => Err(Denial::Protected { usage }),
            false => Err(Denial::NotGranted { usage }),
        }
    }

    /// Each other owner of the topic must accept records of the team.
    fn check_owners(&self, team: &TeamName, topic: &TopicName) -> Result<(), Denial> {
        let refuses = |(owner, grants): &(&TeamName, &TopicGrants)| {
            *owner != team && has(&grants.owns, topic) && !grants.accepts_from.contains(team)
        };
        match self.teams.iter().find(refuses) {
            Some((owner, _)) => Err(Denial::NotAccepted { owner: owner.clone() }),
            None => Ok(()),
        }
    }
}

fn has(patterns: &[TopicPattern], topic: &TopicName) -> bool {
    patterns.iter().any(|pattern| pattern.has(topic))
}

/// The topic for the transform's dead letters that needs no grant: Sandbar creates it under the transform's name.
fn is_dead_letter_topic(id: &TransformId, topic: &TopicName) -> bool {
    topic.as_str() == format!("{}.{}.dead-letter", id.team, id.name)
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TopicUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

#[cfg(test)]
#[path = "topic_rights_tests.rs"]
mod tests;
