//! Redaction: the rules of a topic's owner for callers who may not see its records whole, and the masks that follow. Pure.
//!
//! A masked part shows as [`MASK`], whatever it was: no type, length or hash of it is left. Content in which the paths of a
//! rule cannot be looked for, such as bytes that are not JSON, is masked whole.

mod json_mask;

use std::collections::BTreeSet;

use super::access::{Principal, Role};
use super::json_path::JsonPath;
use super::names::TeamName;

pub use self::json_mask::Unmaskable;

/// The text in place of a masked part.
pub const MASK: &str = "***";
/// Most rules of one team in the file of teams.
pub const RULES_MAX: usize = 1000;
/// Most paths, and most headers, of one rule.
pub const PATHS_MAX: usize = 64;

/// Envelopes around a row, of Debezium and of Connect's JSON with schemas: a path of the row holds in them as well.
const ENVELOPES: [&[&str]; 5] = [&["payload"], &["before"], &["after"], &["payload", "before"], &["payload", "after"]];
/// The header in which a dead letter has the message of its failure, which may quote the record.
const ERROR_MESSAGE: &str = "sandbar.error.message";
/// The beginning of the new name of a header that a dead letter has renamed.
const RENAMED: &str = "was.";

/// The rule of an owner for a topic, or for several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedactionRule {
    /// The masked places of values, and of keys that are JSON.
    pub paths: Vec<JsonPath>,
    /// True if keys are masked.
    pub keys: bool,
    /// Names of the headers whose values are masked; `*` stands for all.
    pub headers: Vec<String>,
    /// True if values are masked whole.
    pub values: bool,
    /// True if callers without the role `data` see the records as well, masked.
    pub viewers: bool,
    /// Other teams whose role `data` shows the records whole, as that of the owner does.
    pub shown_to: BTreeSet<TeamName>,
}

/// All that is masked of a record for one caller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mask {
    paths: Vec<JsonPath>,
    keys: bool,
    headers: Vec<String>,
    values: bool,
    /// True for content of which no rule knows the structure: it shows no names of headers either.
    is_derived: bool,
}

/// A key or value after its masking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Masked {
    /// Nothing of it is masked.
    Same,
    /// JSON of which the paths are masked.
    Json(String),
    /// The whole of it is masked, because a rule says so, or because its paths cannot be looked for.
    Whole(Option<Unmaskable>),
}

// === impl RedactionRule ===

impl RedactionRule {
    /// Returns true if the rule of this owner keeps nothing from a caller.
    pub fn is_open_to(&self, caller: &Principal, owner: &TeamName) -> bool {
        caller.may_in(owner, Role::Data) || self.shown_to.iter().any(|team| caller.may_in(team, Role::Data))
    }

    pub fn masks_nothing(&self) -> bool {
        self.paths.is_empty() && self.headers.is_empty() && !self.keys && !self.values
    }
}

// === impl Mask ===

impl Mask {
    /// The mask of several rules: all that any of them masks.
    pub fn of<'a>(rules: impl Iterator<Item = &'a RedactionRule>) -> Self {
        let mut mask = Self::default();
        for rule in rules {
            mask.keys |= rule.keys;
            mask.values |= rule.values;
            mask.headers.extend(rule.headers.iter().map(|name| name.to_ascii_lowercase()));
            for path in &rule.paths {
                mask.paths.push(path.clone());
                // A descendant is found in every envelope.
                if path.segments().first().is_some_and(|first| !first.is_descendant) {
                    mask.paths.extend(ENVELOPES.map(|names| path.below(names)));
                }
            }
        }
        mask
    }

    /// The mask of content that came from redacted records: nothing of it is shown.
    pub fn whole() -> Self {
        Self { keys: true, values: true, is_derived: true, ..Self::default() }
    }

    /// Returns true if not even the names of headers are shown.
    pub fn hides_header_names(&self) -> bool {
        self.is_derived
    }

    /// Masks a key. `None`: it is not text.
    pub fn key(&self, key: Option<&str>) -> Masked {
        match key {
            _ if self.keys => Masked::Whole(None),
            _ if self.paths.is_empty() => Masked::Same,
            None => Masked::Whole(Some(Unmaskable::Binary)),
            // A plain word has no places that a path could mean.
            Some(word) if !word.contains(['{', '[', '"']) => Masked::Same,
            Some(text) => self.json(text),
        }
    }

    /// Masks a value. `None`: it is not text.
    pub fn value(&self, value: Option<&str>) -> Masked {
        match value {
            _ if self.values => Masked::Whole(None),
            _ if self.paths.is_empty() => Masked::Same,
            None => Masked::Whole(Some(Unmaskable::Binary)),
            Some(text) => self.json(text),
        }
    }

    /// Returns true if the value of this header is masked.
    pub fn has_header(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let is_named = |own: &String| own == "*" || *own == name || name.strip_prefix(RENAMED) == Some(own);
        first_name(&name) == ERROR_MESSAGE || self.headers.iter().any(is_named)
    }

    fn json(&self, text: &str) -> Masked {
        json_mask::masked(text, &self.paths).map_or_else(|why| Masked::Whole(Some(why)), Masked::Json)
    }
}

/// The name of a header before dead letters renamed it.
pub fn first_name(name: &str) -> &str {
    name.trim_start_matches(RENAMED)
}

#[cfg(test)]
#[path = "redaction/tests.rs"]
mod tests;
