//! Names, parsed once at the edge.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The reason why a name was refused. The message names the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {raw:?} {rule}")]
pub struct NameError {
    kind: &'static str,
    raw: String,
    rule: &'static str,
}

/// Longest team, transform or cluster name, in bytes.
pub const NAME_BYTES_MAX: usize = 63;
/// Longest Kafka topic name, in bytes (Kafka's `Topic.MAX_NAME_LENGTH`).
pub const TOPIC_BYTES_MAX: usize = 249;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(raw: &str) -> Result<Self, NameError> {
                match $check(raw) {
                    Ok(()) => Ok(Self(raw.to_owned())),
                    Err(rule) => Err(NameError { kind: $kind, raw: raw.chars().take(80).collect(), rule }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(raw: String) -> Result<Self, NameError> {
                raw.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A team: the owner of transforms. A DNS label (RFC 1123), so that it fits into URLs, group names and labels.
    TeamName,
    "team name",
    dns_label
);
name!(
    /// A transform's name within its team. A DNS label (RFC 1123).
    TransformName,
    "transform name",
    dns_label
);
name!(
    /// A cluster of hosts. A DNS label (RFC 1123); it is part of the control topics' names.
    ClusterName,
    "cluster name",
    dns_label
);
name!(
    /// A folder of specs, as the labels of its transforms name it. A DNS label (RFC 1123).
    FolderName,
    "folder name",
    dns_label
);
name!(
    /// The name of a token, for people. A DNS label (RFC 1123).
    TokenName,
    "token name",
    dns_label
);
name!(
    /// The id of a token, which is no secret. A DNS label (RFC 1123).
    TokenId,
    "token id",
    dns_label
);
name!(
    /// A Kafka topic, by Kafka's own rule (`org.apache.kafka.common.internals.Topic`).
    TopicName,
    "topic name",
    kafka_topic
);
name!(
    /// The name by which a guest calls an output, a store or a table.
    Alias,
    "name",
    dns_label
);

fn dns_label(raw: &str) -> Result<(), &'static str> {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if raw.is_empty() || raw.len() > NAME_BYTES_MAX {
        return Err("must have 1 to 63 characters");
    }
    if !raw.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
        return Err("may hold only a-z, 0-9 and '-'");
    }
    if !edge(raw.chars().next()) || !edge(raw.chars().last()) {
        return Err("must begin and end with a letter or digit");
    }
    Ok(())
}

fn kafka_topic(raw: &str) -> Result<(), &'static str> {
    if raw.is_empty() || raw.len() > TOPIC_BYTES_MAX {
        return Err("must have 1 to 249 characters");
    }
    if raw == "." || raw == ".." {
        return Err("must not be '.' or '..'");
    }
    if !raw.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')) {
        return Err("may hold only letters, digits, '.', '_' and '-'");
    }
    Ok(())
}

impl TopicName {
    /// Topics that belong to Sandbar or to Kafka itself: no transform may read or write them.
    pub fn is_internal(&self) -> bool {
        self.0.starts_with("_sandbar.") || self.0.starts_with("__")
    }
}

/// A transform within the cluster: `team/name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TransformId {
    pub team: TeamName,
    pub name: TransformName,
}

impl ClusterName {
    /// One of Sandbar's own topics, by the part of its name after the cluster's.
    pub fn control_topic(&self, name: &str) -> TopicName {
        format!("_sandbar.{self}.{name}").parse().expect("a cluster's name fits into a topic's")
    }
}

impl TransformId {
    /// The id before which a team has none.
    pub fn first_of(team: &TeamName) -> Self {
        Self { team: team.clone(), name: "0".parse().expect("a digit is a name") }
    }

    /// The consumer group of the transform.
    pub fn group(&self, cluster: &ClusterName) -> String {
        format!("sandbar.{cluster}.{}.{}", self.team, self.name)
    }
}

impl fmt::Display for TransformId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.team, self.name)
    }
}

impl FromStr for TransformId {
    type Err = NameError;
    fn from_str(raw: &str) -> Result<Self, NameError> {
        let (team, name) = raw.split_once('/').ok_or(NameError {
            kind: "transform",
            raw: raw.chars().take(80).collect(),
            rule: "must be team/name",
        })?;
        Ok(Self { team: team.parse()?, name: name.parse()? })
    }
}

/// A module's identity: the SHA-256 of its bytes, written `sha256:<64 hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The 64 hex digits alone: a file name.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = NameError;
    fn from_str(raw: &str) -> Result<Self, NameError> {
        let refused = || NameError {
            kind: "module digest",
            raw: raw.chars().take(80).collect(),
            rule: "must be sha256: and 64 hex digits",
        };
        let mut bytes = [0; 32];
        let digits = raw.strip_prefix("sha256:").ok_or_else(refused)?;
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| refused())?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = NameError;
    fn try_from(raw: String) -> Result<Self, NameError> {
        raw.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_by_rule() {
        #[track_caller]
        fn check_name(raw: &str, valid: bool) {
            assert_eq!(raw.parse::<TransformName>().is_ok(), valid, "{raw:?}");
        }
        check_name("orders", true);
        check_name("a", true);
        check_name("field-strip-2", true);
        check_name("", false);
        check_name("-a", false);
        check_name("a-", false);
        check_name("Orders", false);
        check_name("a/b", false);
        check_name("a b", false);
        check_name("a\u{0}b", false);
        check_name("../etc", false);
        check_name("ö", false);
        check_name(&"x".repeat(63), true);
        check_name(&"x".repeat(64), false);
        #[track_caller]
        fn check_topic(raw: &str, valid: bool) {
            assert_eq!(raw.parse::<TopicName>().is_ok(), valid, "{raw:?}");
        }
        check_topic("shop.public.new_orders", true);
        check_topic("..", false);
        check_topic("a b", false);
        check_topic("a/b", false);
    }

    #[test]
    fn a_digest_reads_back() {
        let digest = Digest::of(b"module");
        assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        assert!("sha256:zz".parse::<Digest>().is_err());
    }
}
