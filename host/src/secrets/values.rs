//! The values of the secrets that the instances of a revision were made with.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::model::json;
use crate::model::names::TeamName;
use crate::model::numbers::{self, Written};
use crate::model::secret::{SecretRef, fill};

/// Stands for a secret in a text.
const MASK: &str = "[secret]";
/// A shorter secret is not looked for: it would take a letter or a digit out of every text.
const REDACTED_BYTES_MIN: usize = 4;

/// The secrets of a team that an instance has. `Debug` shows no value.
#[derive(Default)]
pub struct SecretValues {
    team: Option<TeamName>,
    values: Vec<(SecretRef, String)>,
    /// The texts that are taken out, the longest first: a secret may be a part of another.
    redacted: Vec<String>,
    changed: AtomicBool,
}

impl fmt::Debug for SecretValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.values.iter().map(|(secret, _)| secret);
        f.debug_struct("SecretValues").field("team", &self.team).field("secrets", &names.collect::<Vec<_>>()).finish()
    }
}

impl SecretValues {
    pub(super) fn new(team: TeamName, values: Vec<(SecretRef, String)>) -> Self {
        let mut redacted = Vec::new();
        for (_, value) in values.iter().filter(|(_, value)| value.len() >= REDACTED_BYTES_MIN) {
            // Errors of JSON readers quote text in its escaped form.
            let quoted = serde_json::to_string(value).expect("text is JSON");
            redacted.extend([value.clone(), quoted[1..quoted.len() - 1].to_owned()]);
        }
        redacted.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        redacted.dedup();
        Self { team: Some(team), values, redacted, changed: AtomicBool::new(false) }
    }

    /// The config with the values in the place of their references.
    pub fn fill(&self, config: &str) -> String {
        let mut filled = json::read(config.as_bytes()).expect("a config is JSON");
        fill(&mut filled, &|secret| {
            let found = self.values.iter().find(|(own, _)| own == secret);
            found.map(|(_, value)| value.clone()).expect("every secret of the config was read")
        });
        numbers::text(&filled, &Written::of_json(config).expect("a config is JSON"))
    }

    /// Takes every occurrence of a secret out of a text, as far as `bytes_max` bytes of the result show it.
    pub fn redact<'a>(&self, text: &'a str, bytes_max: usize) -> Cow<'a, str> {
        if self.redacted.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut shown = String::new();
        let mut rest = text;
        while shown.len() < bytes_max
            && let Some(first) = rest.chars().next()
        {
            let found = self.redacted.iter().find(|secret| rest.starts_with(secret.as_str()));
            shown.push_str(found.map_or(&rest[..first.len_utf8()], |_| MASK));
            rest = &rest[found.map_or(first.len_utf8(), String::len)..];
        }
        // A reader of the text sees that it was cut.
        shown.push_str(rest.chars().next().map_or("", |_| "..."));
        Cow::Owned(shown)
    }

    /// Returns true if a value is another one by now: an instance with the old one is to be made again.
    pub fn have_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }

    pub fn is_same(&self, other: &Self) -> bool {
        self.values == other.values
    }

    pub(super) fn note_change(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }

    pub(super) fn team(&self) -> Option<&TeamName> {
        self.team.as_ref()
    }

    pub(super) fn secrets(&self) -> Vec<SecretRef> {
        self.values.iter().map(|(secret, _)| secret.clone()).collect()
    }
}
