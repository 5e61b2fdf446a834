//! References to secrets in the config of a spec: an object with the one field `secret`, `{secret: "file:NAME"}` or
//! `{secret: "env:NAME"}`, in any place. The spec holds the reference alone; a host puts the value in its place when it
//! makes an instance.
//!
//! An object `{secret: ".."}` whose text has neither prefix is an ordinary value, as it was before there were references.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::names::TeamName;
use super::text::brief;

/// Most references in a config.
pub const REFERENCES_MAX: usize = 64;
/// Longest name of a secret.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest path of a field in a message: keys of a config have any length.
const PATH_BYTES_MAX: usize = 256;
/// The field that makes an object a reference, if it is the only one.
const FIELD: &str = "secret";
/// The beginning of the name of every variable that holds a secret.
pub const VARIABLE_PREFIX: &str = "SANDBAR_SECRET_";

/// The place where the host looks for a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretSource {
    /// A file in the team's folder below the host's folder of secrets.
    File,
    /// A variable of the host's environment that belongs to the team.
    Env,
}

/// The name of a secret of a team, with its place. It never holds a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretRef {
    pub source: SecretSource,
    pub name: String,
}

/// The reason for which a host cannot give a secret to an instance. The text never holds a value.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, thiserror::Error)]
pub enum SecretError {
    /// The host does not have it.
    #[error("{0}")]
    Missing(String),
    /// The host has it, and cannot use it: it is too large, empty, not text, or unreadable.
    #[error("{0}")]
    Unusable(String),
}

/// The objects of a config that are references, or look like one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct References {
    /// Each secret once, in the order of the names.
    pub secrets: Vec<SecretRef>,
    /// References that are not valid: the path of each, and the reason.
    pub problems: Vec<(String, String)>,
    /// Paths of objects with the one field `secret` whose text is passed to the module as it stands.
    pub literals: Vec<String>,
}

// === impl SecretRef ===

impl SecretRef {
    /// The reference that an object is, if it is one.
    fn of_object(fields: &Map<String, Value>) -> Option<Result<Self, String>> {
        let text = secret_text(fields)?;
        ["file:", "env:"].iter().any(|prefix| text.starts_with(prefix)).then(|| text.parse())
    }

    /// The name of the variable that holds the secret of a team. Names of teams may have any number of dashes, so a single
    /// underscore behind the team could be a part of another team's name.
    pub fn variable(&self, team: &TeamName) -> String {
        let team = team.as_str().to_ascii_uppercase().replace('-', "_");
        format!("{VARIABLE_PREFIX}{team}__{}", self.name)
    }
}

impl FromStr for SecretRef {
    type Err = String;
    fn from_str(raw: &str) -> Result<Self, String> {
        let (source, name, rule) = match raw.split_once(':') {
            Some(("file", name)) => (SecretSource::File, name, "letters, digits, '.', '_' and '-', first a letter or digit"),
            Some(("env", name)) => (SecretSource::Env, name, "A-Z, 0-9 and single '_', first a letter or digit"),
            _ => return Err("is not file:NAME or env:NAME".to_owned()),
        };
        let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        let is_valid = name.len() <= NAME_BYTES_MAX
            && begins_well
            && match source {
                SecretSource::File => name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')),
                SecretSource::Env => {
                    let is_letter = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
                    name.chars().all(is_letter) && !name.contains("__") && !name.ends_with('_')
                }
            };
        if !is_valid {
            let name = brief(name, NAME_BYTES_MAX);
            return Err(format!("{name:?} is not the name of a secret: 1 to {NAME_BYTES_MAX} of {rule}"));
        }
        Ok(Self { source, name: name.to_owned() })
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match self.source {
            SecretSource::File => "file",
            SecretSource::Env => "env",
        };
        write!(f, "{source}:{}", self.name)
    }
}

// === impl References ===

impl References {
    /// Finds the references of a config, whose depth is limited.
    pub fn of(config: &Map<String, Value>) -> Self {
        let mut found = Self::default();
        for (name, value) in config {
            found.walk(value, &format!("config.{name}"));
        }
        found.secrets.sort();
        found.secrets.dedup();
        if found.secrets.len() > REFERENCES_MAX {
            let message = format!("names {} secrets, the limit is {REFERENCES_MAX}", found.secrets.len());
            found.problems.push(("config".to_owned(), message));
        }
        found
    }

    fn walk(&mut self, value: &Value, path: &str) {
        match value {
            Value::Object(fields) => match SecretRef::of_object(fields) {
                Some(Ok(secret)) => self.secrets.push(secret),
                Some(Err(message)) => {
                    self.problems.push((below(path, FIELD), message));
                }
                None => {
                    if secret_text(fields).is_some() {
                        self.literals.push(brief(path, PATH_BYTES_MAX));
                    }
                    fields.iter().for_each(|(name, value)| self.walk(value, &below(path, name)));
                }
            },
            Value::Array(values) => {
                values.iter().enumerate().for_each(|(index, value)| self.walk(value, &below(path, index)));
            }
            _ => {}
        }
    }
}

/// The path of a value below another; it grows no longer than a message shows of it.
fn below(path: &str, step: impl fmt::Display) -> String {
    brief(format_args!("{path}.{step}"), PATH_BYTES_MAX)
}

/// Puts the value of each reference in its place.
pub fn fill(value: &mut Value, value_of: &dyn Fn(&SecretRef) -> String) {
    match value {
        Value::Object(fields) => match SecretRef::of_object(fields) {
            Some(Ok(secret)) => *value = Value::String(value_of(&secret)),
            _ => fields.values_mut().for_each(|value| fill(value, value_of)),
        },
        Value::Array(values) => values.iter_mut().for_each(|value| fill(value, value_of)),
        _ => {}
    }
}

/// The text of an object with the one field `secret`.
fn secret_text(fields: &Map<String, Value>) -> Option<&str> {
    fields.get(FIELD).filter(|_| fields.len() == 1).and_then(Value::as_str)
}

#[cfg(test)]
#[path = "secret_tests.rs"]
mod tests;
