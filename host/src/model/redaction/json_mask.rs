//! Masks places of a JSON text, and copies the rest as it is: numbers keep their digits, and a name that occurs twice is
//! masked twice.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::MASK;
use crate::model::json;
use crate::model::json_path::{Child, JsonPath};

/// Deepest nesting that is looked into: a walk reads a text once for each level.
const DEPTH_MAX: usize = 64;

/// The reason for which paths cannot be looked for in a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmaskable {
    /// The content is not text.
    Binary,
    /// The text is no JSON object or array, or other text follows it.
    NotJson,
    /// The text is nested deeper than [`DEPTH_MAX`].
    TooDeep,
}

/// A place within a path: the number of the path, and its next segment.
type Place = (usize, usize);

/// The members of an object, in their order, with names that occur twice.
struct Members<'a>(Vec<(String, &'a RawValue)>);

/// Masks the places of the paths in a text.
pub fn masked(text: &str, paths: &[JsonPath]) -> Result<String, Unmaskable> {
    let root: &RawValue = json::read(text.as_bytes()).map_err(|_| Unmaskable::NotJson)?;
    // The structure of anything else is not known: it may be a text with JSON in it.
    if !root.get().starts_with(['{', '[']) {
        return Err(Unmaskable::NotJson);
    }
    let mut walk = Walk { paths, masked: String::with_capacity(text.len()) };
    let places: Vec<Place> = (0..paths.len()).map(|path| (path, 0)).collect();
    walk.write(root.get(), &places, DEPTH_MAX)?;
    Ok(walk.masked)
}

struct Walk<'a> {
    paths: &'a [JsonPath],
    masked: String,
}

// === impl Walk ===

impl Walk<'_> {
    /// Writes a JSON text, masked. `places` are those at which the paths are here.
    fn write(&mut self, text: &str, places: &[Place], depth_left: usize) -> Result<(), Unmaskable> {
        match text.as_bytes().first() {
            Some(b'{') => {
                let Members(members) = json::read(text.as_bytes()).map_err(|_| Unmaskable::NotJson)?;
                self.masked.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    self.separate(index);
                    self.write_text(name);
                    self.masked.push(':');
                    self.write_child(Child::Member(name), value.get(), places, depth_left)?;
                }
                self.masked.push('}');
            }
            Some(b'[') => {
                let elements: Vec<&RawValue> = json::read(text.as_bytes()).map_err(|_| Unmaskable::NotJson)?;
                self.masked.push('[');
                for (index, value) in elements.iter().enumerate() {
                    self.separate(index);
                    self.write_child(Child::Element(index), value.get(), places, depth_left)?;
                }
                self.masked.push(']');
            }
            Some(b'"') if may_hold_json(text) => self.write_text(MASK),
            _ => self.masked.push_str(text),
        }
        Ok(())
    }

    fn write_child(&mut self, child: Child<'_>, text: &str, places: &[Place], depth_left: usize) -> Result<(), Unmaskable> {
        let Some(depth_left) = depth_left.checked_sub(1) else { return Err(Unmaskable::TooDeep) };
        match self.step(child, places) {
            Some(places) => self.write(text, &places, depth_left),
            None => {
                self.write_text(MASK);
                Ok(())
            }
        }
    }

    /// Takes the paths on to a child. `None`: one of them ends there.
    fn step(&self, child: Child<'_>, places: &[Place]) -> Option<Vec<Place>> {
        let mut next = Vec::new();
        for &(path, at) in places {
            let segments = self.paths[path].segments();
            let segment = &segments[at];
            if segment.selector.has(child) {
                if at + 1 == segments.len() {
                    return None;
                }
                next.push((path, at + 1));
            }
            if segment.is_descendant {
                next.push((path, at));
            }
        }
        next.sort_unstable();
        next.dedup();
        Some(next)
    }

    fn separate(&mut self, index: usize) {
        if index > 0 {
            self.masked.push(',');
        }
    }

    fn write_text(&mut self, text: &str) {
        self.masked.push_str(&serde_json::to_string(text).expect("a text is JSON"));
    }
}

/// Returns true for a JSON string that may have JSON in it: its places would pass every path.
fn may_hold_json(text: &str) -> bool {
    let Ok(inner) = json::read::<String>(text.as_bytes()) else { return true };
    inner.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}').starts_with(['{', '[', '"'])
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

// === impl Unmaskable ===

impl Unmaskable {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::NotJson => "not_json",
            Self::TooDeep => "too_deep",
        }
    }
}
