//! Numbers of a document as they were written.
//!
//! A [`Value`] has doubles: `1.10` is 1.1 in it. [`Written`] has the texts of a document's numbers at their places, and [`text`]
//! writes a value with them. A text is taken only where it is a number of JSON that reads as the number of the value.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle};
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::json;

/// The texts of a document's numbers, in the shape of the document.
#[derive(Debug, PartialEq)]
pub enum Written {
    /// A number of JSON, or a plain scalar of YAML.
    Scalar(String),
    List(Vec<Written>),
    Fields(BTreeMap<String, Written>),
    Other,
}

impl Written {
    /// Reads a JSON text that was read as a value before.
    pub fn of_json(json: &str) -> serde_json::Result<Self> {
        let (marked, texts) = marked(json);
        json::read(marked.as_bytes()).map(|value| Self::unmarked(value, &texts))
    }

    /// Reads a YAML text that was read within the limits of [`super::yaml`] before: one tree for each document that is a
    /// mapping.
    pub fn of_yaml(yaml: &[u8]) -> Vec<Self> {
        let yaml = String::from_utf8_lossy(yaml);
        let events = Parser::new_from_str(&yaml).map_while(|next| next.ok().map(|(event, _)| event));
        let is_part = |event: &Event<'_>| event.is_node() || matches!(event, Event::SequenceEnd | Event::MappingEnd);
        let mut events = events.filter(is_part);
        let mut found = Vec::new();
        while let Some(event) = events.next() {
            let is_mapping = matches!(event, Event::MappingStart(..));
            let document = Self::of_event(event, &mut events);
            if is_mapping {
                found.push(document);
            }
        }
        found
    }

    /// Returns a field of an object.
    pub fn field(&self, name: &str) -> Option<&Self> {
        let Self::Fields(fields) = self else { return None };
        fields.get(name)
    }

    fn unmarked(value: Value, texts: &[&str]) -> Self {
        match value {
            Value::Number(index) => {
                let index = index.as_u64().and_then(|index| usize::try_from(index).ok());
                index.and_then(|index| texts.get(index)).map_or(Self::Other, |text| Self::Scalar((*text).to_owned()))
            }
            Value::Array(values) => Self::List(values.into_iter().map(|value| Self::unmarked(value, texts)).collect()),
            Value::Object(fields) => {
                Self::Fields(fields.into_iter().map(|(name, value)| (name, Self::unmarked(value, texts))).collect())
            }
            _ => Self::Other,
        }
    }

    /// Reads the node that begins with `event`. The first reader of the text limited its depth.
    fn of_event<'e>(event: Event<'e>, events: &mut impl Iterator<Item = Event<'e>>) -> Self {
        match event {
            Event::Scalar(text, ScalarStyle::Plain, _, None) => Self::Scalar(text.into_owned()),
            Event::SequenceStart(..) => {
                let mut values = Vec::new();
                while let Some(event) = events.next() {
                    match event {
                        Event::SequenceEnd => break,
                        event => values.push(Self::of_event(event, events)),
                    }
                }
                Self::List(values)
            }
            Event::MappingStart(..) => {
                let mut fields = BTreeMap::new();
                let mut key = None;
                while let Some(event) = events.next() {
                    match (event, key.take()) {
                        (Event::MappingEnd, _) => break,
                        (Event::Scalar(text, ..), None) => key = Some(text.into_owned()),
                        // No other key is taken.
                        (event, None) => drop(Self::of_event(event, events)),
                        (event, Some(name)) => {
                            fields.insert(name, Self::of_event(event, events));
                        }
                    }
                }
                Self::Fields(fields)
            }
            _ => Self::Other,
        }
    }
}

/// Writes a value as JSON without white space, its numbers as they were written.
pub fn text(value: &Value, written: &Written) -> String {
    serde_json::to_string(&Paired(value, Some(written))).expect("a value is plain data")
}

/// A value with the texts of its numbers.
struct Paired<'a>(&'a Value, Option<&'a Written>);

impl Serialize for Paired<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(value, written) = *self;
        match (value, written) {
            (Value::Number(number), Some(Written::Scalar(text))) if text.parse::<Number>().is_ok_and(|it| it == *number) => {
                RawValue::from_string(text.clone()).map_err(S::Error::custom)?.serialize(serializer)
            }
            (Value::Array(values), Some(Written::List(written))) => {
                serializer.collect_seq(values.iter().enumerate().map(|(index, value)| Paired(value, written.get(index))))
            }
            (Value::Object(fields), Some(Written::Fields(written))) => {
                serializer.collect_map(fields.iter().map(|(name, value)| (name, Paired(value, written.get(name)))))
            }
            (value, _) => value.serialize(serializer),
        }
    }
}

/// Replaces the numbers that doubles do not show, those of the JSON text `exact`, by the texts that stand for them.
pub fn replaced(fields: &Map<String, Value>, exact: &str, mut stand_in: impl FnMut(&str) -> String) -> Value {
    let mut value = Value::Object(fields.clone());
    if let Ok(written) = Written::of_json(exact) {
        replace(&mut value, &written, &mut stand_in);
    }
    value
}

fn replace(value: &mut Value, written: &Written, stand_in: &mut impl FnMut(&str) -> String) {
    match (value, written) {
        (value @ Value::Number(_), Written::Scalar(text)) if *text != value.to_string().as_str() => {
            *value = stand_in(text).into()
        }
        (Value::Array(values), Written::List(written)) => {
            values.iter_mut().zip(written).for_each(|(value, written)| replace(value, written, stand_in));
        }
        (Value::Object(fields), Written::Fields(written)) => {
            for (name, value) in fields {
                if let Some(written) = written.get(name) {
                    replace(value, written, stand_in);
                }
            }
        }
        _ => {}
    }
}

/// Puts the index of each number in its place, so that a reader of values tells where each is.
fn marked(json: &str) -> (String, Vec<&str>) {
    let mut marked = String::with_capacity(json.len());
    let mut texts = Vec::new();
    let mut rest = json;
    while let Some(start) = rest.find(|next: char| matches!(next, '"' | '-' | '0'..='9')) {
        let (before, found) = rest.split_at(start);
        marked.push_str(before);
        let is_text = found.starts_with('"');
        let end = if is_text { string_end(found.as_bytes()) } else { number_end(found) };
        let (token, behind) = found.split_at(end);
        if is_text {
            marked.push_str(token);
        } else {
            marked.push_str(&texts.len().to_string());
            texts.push(token);
        }
        rest = behind;
    }
    marked.push_str(rest);
    (marked, texts)
}

/// Returns the length of the JSON string that the text begins with, up to the text's end if the string has none.
pub fn string_end(text: &[u8]) -> usize {
    let mut is_escaped = false;
    let end = text.iter().skip(1).position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(text.len(), |index| index + 2)
}

fn number_end(text: &str) -> usize {
    text.find(|next: char| !matches!(next, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_json(json: &str, expected: &str) {
        let value: Value = serde_json::from_str(json).expect(json);
        assert_eq!(text(&value, &Written::of_json(json).expect(json)), expected, "{json}");
    }

    #[track_caller]
    fn check_yaml(yaml: &str, expected: &str) {
        let value: Value = crate::model::yaml::one(yaml.as_bytes()).expect(yaml);
        let written = Written::of_yaml(yaml.as_bytes());
        assert_eq!(written.len(), 1, "{yaml}");
        assert_eq!(text(&value, &written[0]), expected, "{yaml}");
    }

    #[test]
    fn json_keeps_its_numbers() {
        check_json(
            r#"{"b": 1.10, "a": [0.12345678901234567890, {"c": -0}]}"#,
            r#"{"a":[0.12345678901234567890,{"c":-0}],"b":1.10}"#,
        );
        check_json("123456789012345678901234567890", "123456789012345678901234567890");
        check_json(r#"{"1.10": "2.20", "\"3\\": 4.40}"#, r#"{"\"3\\":4.40,"1.10":"2.20"}"#);
        check_json(r#"{"a": 1.10, "a": 2.20}"#, r#"{"a":2.20}"#);
        check_json(r#"[1e2, 1E+2, 7, true, null, ""]"#, r#"[1e2,1E+2,7,true,null,""]"#);
        // A reader of values takes the text of this key for JSON.
        check_json(r#"[1.10, {"$serde_json::private::RawValue": "0"}]"#, "[1.10,0]");
        check_json(&"9".repeat(300), &"9".repeat(300));
    }

    #[test]
    fn yaml_keeps_numbers_that_are_json_too() {
        check_yaml(
            "b: 1.10 # a price\na:\n  - 0.30\n  # none\n  - {c: 1e2, d: '2.20'}\n",
            r#"{"a":[0.30,{"c":1e2,"d":"2.20"}],"b":1.10}"#,
        );
        check_yaml("{a: 0x1f, b: 0o17, c: -0.10, 1.10: 2.20}", r#"{"1.10":2.20,"a":31,"b":15,"c":-0.10}"#);
        check_yaml("a: !!str 1.10\nb: 007\nc: 1_000", r#"{"a":"1.10","b":"007","c":"1_000"}"#);
        check_yaml(r#"{"a": 1.10}"#, r#"{"a":1.10}"#);
    }

    #[test]
    fn only_a_text_of_the_same_number_is_taken() {
        let one = |written: &str| text(&Value::from(1.5), &Written::Scalar(written.to_owned()));
        assert_eq!(
            (one("1.50"), one("1.6"), one("1.5}"), one("")),
            ("1.50".into(), "1.5".into(), "1.5".into(), "1.5".into())
        );
        assert_eq!(text(&serde_json::json!({"a": [1.5]}), &Written::Other), r#"{"a":[1.5]}"#);
    }
}
