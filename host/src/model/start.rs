//! The start of a transform without committed offsets: as a spec has it ([`StartSpec`]), and as a session takes it
//! ([`Start`]). The same words name a place to which offsets are moved by hand.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::names::TopicName;
use super::units::{Rfc3339, Span, Timestamp};

/// Offsets by topic and partition.
pub type OffsetMap<T> = BTreeMap<T, BTreeMap<i32, i64>>;

/// `latest`, `earliest`, or an object with the one field `timestamp`, `ago` or `offsets`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StartSpec {
    /// After the last record.
    #[default]
    Latest,
    /// At the first record that is left.
    Earliest,
    /// At the first record that is not older than this moment (RFC 3339); after the last where there is none.
    Timestamp(Rfc3339),
    /// At the first record that is not older than this span, counted back from the last deployment, pause or resume: `1h`.
    Ago(Span),
    /// At these offsets, by topic and partition; a partition that is not named begins at its first record.
    Offsets(OffsetMap<String>),
}

/// The fields of the object form.
const FIELDS: &[&str] = &["timestamp", "ago", "offsets"];

/// The first record of a partition without a committed offset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Start {
    #[default]
    Latest,
    Earliest,
    /// At the first record that is not older; after the last where there is none.
    At(Timestamp),
    /// A partition that is not named begins at its first record: nothing is skipped that nobody named.
    Offsets(OffsetMap<TopicName>),
}

// === impl StartSpec ===

impl StartSpec {
    /// Resolves the start at `now`, from which `ago` is counted back. Names that are no topics are left out; a validated
    /// spec has none.
    pub fn resolve(&self, now: Timestamp) -> Start {
        match self {
            Self::Latest => Start::Latest,
            Self::Earliest => Start::Earliest,
            Self::Timestamp(Rfc3339(at)) => Start::At(*at),
            Self::Ago(Span(ago)) => Start::At(now.before(*ago)),
            Self::Offsets(offsets) => {
                let named = offsets.iter().filter_map(|(topic, of_topic)| Some((topic.parse().ok()?, of_topic.clone())));
                Start::Offsets(named.collect())
            }
        }
    }
}

impl Serialize for StartSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fn field<S: Serializer>(serializer: S, name: &str, value: &impl Serialize) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry(name, value)?;
            map.end()
        }
        match self {
            Self::Latest => serializer.serialize_str("latest"),
            Self::Earliest => serializer.serialize_str("earliest"),
            Self::Timestamp(at) => field(serializer, "timestamp", at),
            Self::Ago(ago) => field(serializer, "ago", ago),
            Self::Offsets(offsets) => field(serializer, "offsets", offsets),
        }
    }
}

/// Written by hand: derived, YAML would want a tag (`!ago 1h`) where JSON has an object.
impl<'de> Deserialize<'de> for StartSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;

        impl<'de> Visitor<'de> for Words {
            type Value = StartSpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("latest, earliest, or one of {timestamp: ..}, {ago: ..}, {offsets: ..}")
            }

            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<StartSpec, E> {
                match word {
                    "latest" => Ok(StartSpec::Latest),
                    "earliest" => Ok(StartSpec::Earliest),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StartSpec, A::Error> {
                let Some(field) = map.next_key::<String>()? else {
                    return Err(A::Error::invalid_length(0, &self));
                };
                let start = match field.as_str() {
                    "timestamp" => StartSpec::Timestamp(map.next_value()?),
                    "ago" => StartSpec::Ago(map.next_value()?),
                    "offsets" => {
                        let Unique(topics) = map.next_value::<Unique<String, Unique<i32, i64>>>()?;
                        let topics = topics.into_iter().map(|(topic, Unique(of_topic))| (topic, of_topic));
                        StartSpec::Offsets(topics.collect())
                    }
                    other => return Err(A::Error::unknown_field(other, FIELDS)),
                };
                match map.next_key::<String>()? {
                    None => Ok(start),
                    Some(_) => Err(A::Error::invalid_length(2, &self)),
                }
            }
        }

        deserializer.deserialize_any(Words)
    }
}

/// A map that refuses a key twice after parsing: `0` and `"0"` are one partition.
struct Unique<K, V>(BTreeMap<K, V>);

impl<'de, K: Deserialize<'de> + Ord + fmt::Display, V: Deserialize<'de>> Deserialize<'de> for Unique<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<K, V>(PhantomData<(K, V)>);

        impl<'de, K: Deserialize<'de> + Ord + fmt::Display, V: Deserialize<'de>> Visitor<'de> for Entries<K, V> {
            type Value = Unique<K, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique<K, V>, A::Error> {
                let mut unique = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<K, V>()? {
                    if unique.contains_key(&key) {
                        return Err(A::Error::custom(format_args!("{key} is there twice")));
                    }
                    unique.insert(key, value);
                }
                Ok(Unique(unique))
            }
        }

        deserializer.deserialize_map(Entries(PhantomData))
    }
}

// === impl Start ===

impl Start {
    /// The moment whose offsets are to be looked up, where there is one.
    pub fn moment(&self) -> Option<Timestamp> {
        match self {
            Self::At(moment) => Some(*moment),
            Self::Latest | Self::Earliest | Self::Offsets(_) => None,
        }
    }

    /// The offset at which a partition begins that holds `first..end`. `found` is the first one that is not older than
    /// [`Start::moment`] (`None`: all are older, or there is no such moment).
    pub fn offset(&self, topic: &TopicName, partition: i32, (first, end): (i64, i64), found: Option<i64>) -> i64 {
        match self {
            Self::Latest => end,
            Self::Earliest => first,
            Self::At(_) => found.unwrap_or(end),
            Self::Offsets(offsets) => {
                let named = offsets.get(topic).and_then(|of_topic| of_topic.get(&partition));
                named.map_or(first, |named| (*named).max(first).min(end))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(partition: i32, offset: i64) -> StartSpec {
        StartSpec::Offsets([("t".to_owned(), [(partition, offset)].into())].into())
    }

    #[test]
    fn each_form_is_read_from_json_and_yaml_and_written_back() {
        #[track_caller]
        fn check(json: &str, yaml: &str, start: StartSpec) {
            assert_eq!(serde_json::from_str::<StartSpec>(json).expect(json), start);
            assert_eq!(crate::model::yaml::one::<StartSpec>(yaml.as_bytes()).expect(yaml), start);
            assert_eq!(serde_json::to_string(&start).expect("plain data"), json);
            let written = serde_norway::to_string(&start).expect("plain data");
            assert_eq!(crate::model::yaml::one::<StartSpec>(written.as_bytes()).expect(&written), start);
        }
        check(r#""latest""#, "latest", StartSpec::Latest);
        check(r#""earliest""#, "earliest", StartSpec::Earliest);
        check(
            r#"{"timestamp":"1970-01-01T00:00:01.500Z"}"#,
            "timestamp: 1970-01-01T00:00:01.500Z",
            StartSpec::Timestamp(Rfc3339(Timestamp(1500))),
        );
        check(r#"{"ago":"1h 30m"}"#, "{ago: 1h 30m}", StartSpec::Ago(Span::ms(5_400_000)));
        check(r#"{"offsets":{"t":{"3":17}}}"#, "{offsets: {t: {3: 17}}}", offsets(3, 17));
    }

    #[test]
    fn a_partition_has_one_offset() {
        let twice = |error: String| assert!(error.contains("0 is there twice"), "{error}");
        twice(serde_json::from_str::<StartSpec>(r#"{"offsets":{"t":{"0":0,"0":5}}}"#).expect_err("twice").to_string());
        let yaml = br#"{offsets: {t: {0: 0, "0": 5}}}"#;
        twice(crate::model::yaml::one::<StartSpec>(yaml).expect_err("twice").to_string());
    }

    #[test]
    fn other_forms_are_refused() {
        #[track_caller]
        fn check(json: &str, named: &str) {
            let error = serde_json::from_str::<StartSpec>(json).expect_err(json).to_string();
            assert!(error.contains(named), "{json}: {error}");
        }
        check(r#""now""#, "latest, earliest");
        check("3", "latest, earliest");
        check("{}", "latest, earliest");
        check(r#"{"ago":"1h","timestamp":"2026-01-01T00:00:00Z"}"#, "one of");
        check(r#"{"since":"1h"}"#, "since");
        check(r#"{"ago":"soon"}"#, "soon");
        check(r#"{"timestamp":"yesterday"}"#, "yesterday");
        check(r#"{"offsets":{"t":{"x":1}}}"#, "");
        check(r#"{"offsets":{"t":[1]}}"#, "");
    }

    #[test]
    fn a_start_becomes_an_offset_within_the_partition() {
        #[track_caller]
        fn check(start: StartSpec, at: Option<(i64, Option<i64>)>, expected: i64) {
            let start = start.resolve(Timestamp(10_000));
            let (moment, found) = at.unzip();
            assert_eq!(start.moment(), moment.map(Timestamp), "{start:?}");
            let topic = "t".parse().expect("valid");
            assert_eq!(start.offset(&topic, 0, (2, 9), found.flatten()), expected, "{start:?}");
        }
        check(StartSpec::Latest, None, 9);
        check(StartSpec::Earliest, None, 2);
        check(StartSpec::Timestamp(Rfc3339(Timestamp(4_000))), Some((4_000, Some(5))), 5);
        check(StartSpec::Ago(Span::ms(6_000)), Some((4_000, Some(5))), 5);
        check(StartSpec::Ago(Span::ms(20_000)), Some((-10_000, Some(2))), 2);
        check(StartSpec::Ago(Span::ms(0)), Some((10_000, None)), 9);
        check(offsets(0, 4), None, 4);
        check(offsets(0, 1), None, 2);
        check(offsets(0, 10), None, 9);
        check(offsets(1, 4), None, 2);
    }
}
