//! The number of hosts that a spec asks for: a number, or `all`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The word for every host of the cluster.
const ALL: &str = "all";

/// The hosts that run a transform. Without it, the cluster decides by partitions and load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hosts {
    All,
    Number(u32),
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str(ALL),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

impl Serialize for Hosts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str(ALL),
            Self::Number(number) => serializer.serialize_u32(*number),
        }
    }
}

impl<'de> Deserialize<'de> for Hosts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HostsVisitor)
    }
}

struct HostsVisitor;

impl de::Visitor<'_> for HostsVisitor {
    type Value = Hosts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of hosts, or `all`")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Hosts, E> {
        let number = u32::try_from(number);
        number.map(Hosts::Number).map_err(|_| E::invalid_value(de::Unexpected::Other("a large number"), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Hosts, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
        }
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Hosts, E> {
        if word == ALL { Ok(Hosts::All) } else { Err(E::invalid_value(de::Unexpected::Str(word), &self)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Option<Hosts>) {
        let read = serde_json::from_str::<Hosts>(json);
        assert_eq!(read.as_ref().ok(), expected.as_ref(), "{json}: {read:?}");
        if let Ok(read) = read {
            assert_eq!(serde_json::to_string(&read).expect("plain data"), json);
        }
    }

    #[test]
    fn a_number_or_all() {
        check("3", Some(Hosts::Number(3)));
        check("\"all\"", Some(Hosts::All));
        check("\"some\"", None);
        check("-1", None);
        check("1.5", None);
        check("4294967296", None);
        check("[1]", None);
    }
}
