//! The time between two commits as a spec has it: one span, or a shortest and a longest.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::units::Span;

/// The shortest and the longest time between two commits. A single span is both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitInterval {
    /// Commits are no closer together, but for full memory and the like.
    pub min: Span,
    /// Work is open for no longer, but for slow calls.
    pub max: Span,
}

/// The longer form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    min: Span,
    max: Span,
}

impl CommitInterval {
    pub const fn fixed(interval: Span) -> Self {
        Self { min: interval, max: interval }
    }
}

impl Serialize for CommitInterval {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let &Self { min, max } = self;
        if min == max { max.serialize(serializer) } else { Range { min, max }.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for CommitInterval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

/// Reads either form.
struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = CommitInterval;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration, such as 100ms, or two: {min: 100ms, max: 1s}")
    }

    fn visit_str<E: Error>(self, written: &str) -> Result<CommitInterval, E> {
        written.parse().map(CommitInterval::fixed).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<CommitInterval, A::Error> {
        let Range { min, max } = Range::deserialize(MapAccessDeserializer::new(fields))?;
        Ok(CommitInterval { min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<CommitInterval, String> {
        crate::model::yaml::one(yaml.as_bytes()).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn check(yaml: &str, min_ms: u64, max_ms: u64, json: &str) {
        let interval = read(yaml).expect("valid");
        assert_eq!(interval, CommitInterval { min: Span::ms(min_ms), max: Span::ms(max_ms) });
        assert_eq!(serde_json::to_string(&interval).expect("plain data"), json);
    }

    #[test]
    fn a_single_span_is_both() {
        check("250ms", 250, 250, r#""250ms""#);
        check("{min: 250ms, max: 250ms}", 250, 250, r#""250ms""#);
        check("{min: 50ms, max: 2s}", 50, 2000, r#"{"min":"50ms","max":"2s"}"#);
    }

    #[test]
    fn other_forms_are_refused() {
        for (yaml, named) in [
            ("100", "min: 100ms"),
            ("[50ms, 2s]", "min: 100ms"),
            ("{min: 50ms}", "max"),
            ("{min: 50ms, max: 2s, most: 3s}", "most"),
            ("{min: soon, max: 2s}", "soon"),
        ] {
            let error = read(yaml).expect_err(yaml);
            assert!(error.contains(named), "{yaml}: {error}");
        }
    }
}
