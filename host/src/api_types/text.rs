//! Text of the API, and words that a newer host may have more of.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize};

use crate::model::text;

/// One line of text, which anybody may have written. The host writes it as it is; reading it escapes its control
/// characters, line breaks too.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Line(String);

/// Text of several lines. Reading it escapes the control characters of each line; whoever shows the lines indents them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Lines(String);

/// A word of a list that may become longer: a client keeps one that it does not know as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Word<T> {
    Known(T),
    Unknown(Line),
}

// === impl Line ===

impl Line {
    /// Takes the value's text as it is.
    pub fn of(value: impl fmt::Display) -> Self {
        Self(value.to_string())
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|raw| Self(text::one_line(&raw).into_owned()))
    }
}

impl Deref for Line {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<String> for Line {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Line {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<Line> for String {
    fn from(line: Line) -> Self {
        line.0
    }
}

// === impl Lines ===

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|raw| Self(text::lines(&raw).into_owned()))
    }
}

impl Deref for Lines {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<String> for Lines {
    fn from(text: String) -> Self {
        Self(text)
    }
}

// === impl Word ===

impl<T> From<T> for Word<T> {
    fn from(word: T) -> Self {
        Self::Known(word)
    }
}

impl<T> Default for Word<T> {
    /// The word of a host that does not say one yet.
    fn default() -> Self {
        Self::Unknown(Line::default())
    }
}

/// Shows the word as JSON has it.
impl<T: Serialize> fmt::Display for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(word)) => f.pad(&word),
            _ => Err(fmt::Error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Weekday {
        SaintMonday,
    }

    #[test]
    fn a_word_that_is_not_known_stays_text() {
        for (json, word) in
            [(r#""saint-monday""#, Word::Known(Weekday::SaintMonday)), (r#""new""#, Word::Unknown("new".into()))]
        {
            let read: Word<Weekday> = serde_json::from_str(json).expect(json);
            assert_eq!(read, word);
            assert_eq!(serde_json::to_string(&read).expect("plain data"), json);
            assert_eq!(read.to_string(), json.trim_matches('"'));
        }
        assert!(serde_json::from_str::<Word<Weekday>>("7").is_err());
    }

    #[test]
    fn text_is_written_as_it_is_and_escaped_when_it_is_read() {
        let json = r#""a\n\u001b[31m""#;
        assert_eq!(serde_json::to_string(&Line::from("a\n\u{1b}[31m")).expect("plain data"), json);
        assert_eq!(&*serde_json::from_str::<Line>(json).expect("text"), "a\\n\\u{1b}[31m");
        assert_eq!(&*serde_json::from_str::<Lines>(json).expect("text"), "a\n\\u{1b}[31m");
        let unknown: Word<Weekday> = serde_json::from_str(json).expect("text");
        assert_eq!(unknown.to_string(), "a\\n\\u{1b}[31m");
    }
}
