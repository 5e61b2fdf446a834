//! YAML that somebody else wrote, read within limits: specs, and configs on the command line.
//!
//! One parser reads it and counts as it goes: depth and nodes are limited, and anchors, aliases, merge keys and tags of
//! the reader's own making are refused where they stand, so no document becomes larger than its text. Time and memory
//! grow with the text and no faster. The types that are read decide on the meaning of a plain scalar (`1.10` is text where text
//! is wanted); where any value is wanted, YAML 1.2's core schema decides.

use std::fmt;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, IgnoredAny};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::options::{MergeKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{DuplicateKeyPolicy, Error as Saphyr, Options, budget, options};

use super::by_name::ByName;
use super::text::cut;

/// Mappings and sequences within each other.
const DEPTH_MAX: usize = 64;
/// Scalars, mappings and sequences of all documents.
pub const NODES_MAX: usize = 100_000;
/// Text of all documents.
pub const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Documents of one text.
pub const DOCUMENTS_MAX: usize = 1000;
/// Longest message: it may quote the text.
const MESSAGE_BYTES_MAX: usize = 1024;

/// Reasons for which a text is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The text is no YAML, or more of it than the limits allow.
    Malformed(String),
    /// The text is YAML of another shape: the field, as a path (empty for the whole), and its problem.
    Unfit { field: String, message: String },
}

/// Reads a text of one document.
pub fn one<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    let text = within(text)?;
    serde_saphyr::from_str_with_options::<Placed<T>>(text, limits(1))
        .map(|Placed(value)| value)
        .map_err(|error| classified(&error, text, 1))
}

/// Reads a text of any number of documents; empty ones are left out.
pub fn all<T: DeserializeOwned>(text: &[u8]) -> Result<Vec<T>, Error> {
    let text = within(text)?;
    serde_saphyr::from_multiple_with_options::<Placed<T>>(text, limits(DOCUMENTS_MAX))
        .map(|values| values.into_iter().map(|Placed(value)| value).collect())
        .map_err(|error| classified(&error, text, DOCUMENTS_MAX))
}

/// Reads a text of any number of documents, and goes on behind one that is unfit; empty ones are left out. A text that is no
/// YAML ends with that as the last one.
pub fn each<T: DeserializeOwned>(text: &[u8]) -> Result<Vec<Result<T, Error>>, Error> {
    let mut text = within(text)?.as_bytes();
    let documents = serde_saphyr::read_with_options::<_, Placed<T>>(&mut text, limits(DOCUMENTS_MAX));
    Ok(documents
        .map(|read| read.map(|Placed(value)| value).map_err(|error| placed(&error).unwrap_or_else(|| malformed(&error))))
        .collect())
}

fn limits(documents_max: usize) -> Options {
    options! {
        budget: budget! {
            max_documents: documents_max,
            max_depth: DEPTH_MAX,
            flow_nesting_limit: DEPTH_MAX + 8,
            max_nodes: NODES_MAX,
            max_anchors: 0,
            max_aliases: 0,
            max_merge_keys: 0,
            max_total_scalar_bytes: BYTES_MAX,
        },
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        non_finite_float_policy: NonFiniteFloatPolicy::Reject,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

fn within(text: &[u8]) -> Result<&str, Error> {
    if text.len() > BYTES_MAX {
        return Err(Error::Malformed(format!("has {} bytes, the limit is {BYTES_MAX}", text.len())));
    }
    std::str::from_utf8(text).map_err(|error| Error::Malformed(format!("is not UTF-8: {error}")))
}

/// A value whose error begins with the place of the problem, as a path, and [`PLACE_END`].
struct Placed<T>(T);

/// A key that has it too is shown cut; nothing else depends on it.
const PLACE_END: &str = " ~> ";

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Placed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_path_to_error::deserialize(deserializer).map(|ByName(value)| Self(value)).map_err(|error| {
            let place = error.path().to_string();
            D::Error::custom(format_args!("{place}{PLACE_END}{}", error.inner()))
        })
    }
}

/// Tells a text that is no YAML from one that is unfit. The text behind the place of the error was not read yet: it is
/// looked through once, within the same limits.
fn classified(error: &Saphyr, text: &str, documents_max: usize) -> Error {
    let Some(unfit) = placed(error) else { return malformed(error) };
    let mut passing = limits(documents_max);
    passing.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    if let Err(error) = serde_saphyr::from_multiple_with_options::<IgnoredAny>(text, passing) {
        return malformed(&error);
    }
    unfit
}

/// The problem of a text of another shape, with its place.
fn placed(error: &Saphyr) -> Option<Error> {
    let shown = error.to_string();
    let (place, message) = shown.split_once(PLACE_END)?;
    // `a.?` stands for a key of `a` that was not read to its end.
    let field = place.trim_end_matches(['.', '?']);
    // The library's own advice is for its callers.
    let message = message.replace(", set DuplicateKeyPolicy in Options if acceptable", "");
    Some(Error::Unfit {
        field: cut(field, MESSAGE_BYTES_MAX).to_owned(),
        message: cut(&message, MESSAGE_BYTES_MAX).to_owned(),
    })
}

fn malformed(error: &Saphyr) -> Error {
    let Saphyr::Budget { breach, location } = error else {
        return Error::Malformed(cut(&error.to_string(), MESSAGE_BYTES_MAX).to_owned());
    };
    let limit = match breach {
        BudgetBreach::Anchors { .. } | BudgetBreach::Aliases { .. } => "anchors and aliases are not taken".to_owned(),
        BudgetBreach::MergeKeys { .. } => "merge keys are not taken".to_owned(),
        BudgetBreach::Depth { .. } => format!("mappings and sequences are more than {DEPTH_MAX} deep"),
        BudgetBreach::Nodes { .. } => format!("there are more than {NODES_MAX} values"),
        BudgetBreach::Documents { .. } => "there are too many documents".to_owned(),
        other => format!("a limit was reached: {other:?}"),
    };
    Error::Malformed(format!("{limit} (line {}, column {})", location.line(), location.column()))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(message) => write!(f, "not YAML that is taken: {message}"),
            Self::Unfit { field, message } if field.is_empty() => f.write_str(message),
            Self::Unfit { field, message } => write!(f, "{field}: {message}"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Sample {
        name: String,
        on: bool,
        topics: Vec<String>,
        offsets: BTreeMap<i32, i64>,
        config: Value,
    }

    impl Default for Sample {
        fn default() -> Self {
            Self { name: String::new(), on: false, topics: Vec::new(), offsets: BTreeMap::new(), config: Value::Null }
        }
    }

    #[track_caller]
    fn check(text: &str, expected: Result<Value, &str>) {
        let read = one::<BTreeMap<String, Value>>(text.as_bytes()).map(|read| json!(read));
        match (read, expected) {
            (Ok(read), Ok(expected)) => assert_eq!(read, expected, "{text:?}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{text:?}: {error}"),
            (read, expected) => panic!("{text:?}: {read:?}, not {expected:?}"),
        }
    }

    #[test]
    fn any_value_is_what_the_core_schema_says() {
        #[track_caller]
        fn check_scalar(yaml: &str, value: Value) {
            check(&format!("v: {yaml}\n"), Ok(json!({"v": value})));
        }
        check_scalar("1", json!(1));
        check_scalar("-7", json!(-7));
        check_scalar("0.123", json!(0.123));
        check_scalar("10.10", json!(10.10));
        check_scalar("6.02e23", json!(6.02e23));
        check_scalar("18446744073709551615", json!(u64::MAX));
        check_scalar("0x1f", json!(31));
        check_scalar("0o17", json!(15));
        check_scalar("007", json!("007"));
        check_scalar("1_000", json!("1_000"));
        check_scalar("yes", json!("yes"));
        check_scalar("on", json!("on"));
        check_scalar("true", json!(true));
        check_scalar("~", Value::Null);
        check_scalar("", Value::Null);
        check_scalar("2026-01-01", json!("2026-01-01"));
        check_scalar("1:20", json!("1:20"));
        check_scalar("'1'", json!("1"));
        check_scalar("\"a\\u0041\"", json!("aA"));
        check_scalar("[a, {b: 1.5}]", json!(["a", {"b": 1.5}]));
        check_scalar("{1: a, true: b}", json!({"1": "a", "true": "b"}));
        check_scalar("|\n  a\n  b\n", json!("a\nb\n"));
        check_scalar("!!str 1", json!("1"));
    }

    #[test]
    fn types_decide_on_plain_scalars() {
        let text = "name: 1.10\non: true\ntopics: [7, no, 1e5]\noffsets: {0: 1, -1: 2}\nconfig: {a: 0.30}\n";
        let read: Sample = one(text.as_bytes()).expect("fits");
        let topics = ["7", "no", "1e5"].map(str::to_owned).to_vec();
        let offsets = BTreeMap::from([(0, 1), (-1, 2)]);
        assert_eq!(read, Sample { name: "1.10".into(), on: true, topics, offsets, config: json!({"a": 0.3}) });
    }

    #[test]
    fn what_grows_beyond_its_text_is_refused() {
        #[track_caller]
        fn check_refused(text: &str, message: &str) {
            check(text, Err(message));
        }
        check_refused("a: &x [1]\nb: *x", "anchors and aliases");
        check_refused("a: &x 1", "anchors and aliases");
        check_refused("a: [*x]", "anchor");
        check_refused("a: {<<: {b: 1}}", "merge keys");
        check_refused("a: !mine 1", "tag");
        check_refused("a: .inf", "non-finite");
        check_refused("a: {b: 1, b: 2}", "a: duplicate mapping key: b");
        check_refused("a: 1\na: 2", "duplicate mapping key");
        check_refused("a: 1\n---\na: 2", "too many documents");
        check_refused("a: [", "line 1");
        check_refused("\u{0}", "line 1");
        assert!(matches!(one::<Value>(b"a: \xff"), Err(Error::Malformed(_))));
    }

    #[test]
    fn errors_name_the_field_and_a_broken_text_is_told_apart() {
        #[track_caller]
        fn check_unfit(text: &str, field: &str, message: &str) {
            match one::<Sample>(text.as_bytes()) {
                Err(Error::Unfit { field: found, message: told }) => {
                    assert!(found == field && told.contains(message), "{text}: {found:?}: {told}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
        check_unfit("nmae: x", "nmae", "unknown field `nmae`");
        check_unfit("on: perhaps", "on", "line 1, column 5");
        check_unfit("topics: [a, {}]", "topics[1]", "");
        check_unfit("topics: x", "topics", "");
        check_unfit("x", "", "");
        for text in ["nmae: [", "nmae: &x 1\n", "nmae: x\nname: [[[[", "nmae: 1\n---\nname: 2"] {
            assert!(matches!(one::<Sample>(text.as_bytes()), Err(Error::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn documents_are_read_in_order_and_empty_ones_left_out() {
        let read: Vec<Sample> = all(b"name: a\n---\n---\nname: b\n---\n").expect("fits");
        assert_eq!(read.iter().map(|read| read.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(all::<Sample>(b""), Ok(Vec::new()));
        let many = "name: a\n---\n".repeat(DOCUMENTS_MAX + 1);
        assert!(all::<Sample>(many.as_bytes()).is_err());
    }

    /// Every text is refused or read in a time that its length explains; most took minutes or gigabytes elsewhere.
    #[test]
    fn hostile_texts_cost_no_more_than_their_length() {
        const BYTES: usize = 1 << 18;
        let laughs = |n: usize| format!("a{}: &a{n} [{}]\n", n, vec![format!("*a{}", n.saturating_sub(1)); 9].join(", "));
        let texts = [
            "[".repeat(BYTES),
            "{".repeat(BYTES),
            "a: [".repeat(BYTES / 4),
            "{a: ".repeat(BYTES / 4),
            "- ".repeat(BYTES / 2),
            "? ".repeat(BYTES / 2),
            "[? ".repeat(BYTES / 3),
            (0..1000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(),
            format!("[{}]", "a,".repeat(BYTES / 2)),
            format!("{{{}}}", (0..BYTES / 16).map(|n| format!("key{n}: 1, ")).collect::<String>()),
            format!("a: '{}", "''".repeat(BYTES / 2)),
            format!("a: \"{}", "\\n".repeat(BYTES / 2)),
            format!("a: {}", "x ".repeat(BYTES / 2)),
            format!("a: |\n{}", "\n".repeat(BYTES)),
            format!("a: {}", "x\n  ".repeat(BYTES / 4)),
            "\n".repeat(BYTES),
            " ".repeat(BYTES),
            "#\n".repeat(BYTES / 2),
            ":".repeat(BYTES),
            "---\n".repeat(BYTES / 4),
            (0..BYTES / 12).map(|n| format!("%TAG !{n}! x\n")).collect::<String>() + "---\na: 1\n",
            format!("a: !{}", "x".repeat(BYTES)),
            format!("a: &{} 1", "x".repeat(BYTES)),
            (0..BYTES / 64).map(laughs).collect(),
        ];
        for text in texts {
            let started = std::time::Instant::now();
            let _ = all::<Value>(text.as_bytes());
            let took = started.elapsed();
            // In a build without optimisation, on a busy machine.
            assert!(took.as_secs() < 20, "{took:?}: {}", &text[..40.min(text.len())]);
        }
    }
}
