//! The config that a spec has for its guest.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::model::json;
use crate::model::numbers::{self, Written};
use crate::model::yaml;

/// The name by which serde_json hands out the text of a value, as of [`RawValue`].
const RAW: &str = "$serde_json::private::RawValue";

/// A JSON object whose numbers stay as they were written, although rules read them as doubles. Clones share it: a host has
/// each spec several times, and a config may be large.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GuestConfig {
    fields: Arc<Map<String, Value>>,
    /// The object as JSON, if `fields` would be written with other numbers: keys sorted, no white space.
    exact: Option<Arc<str>>,
}

impl GuestConfig {
    /// Reads a YAML text that has nothing else.
    pub fn of_yaml(text: &[u8]) -> Result<Self, yaml::Error> {
        let mut config = yaml::one::<Self>(text)?;
        if let [written] = &Written::of_yaml(text)[..] {
            config.keep(written);
        }
        Ok(config)
    }

    /// Returns the config as JSON.
    pub fn to_json(&self) -> String {
        match &self.exact {
            Some(text) => text.to_string(),
            None => Value::Object(Map::clone(&self.fields)).to_string(),
        }
    }

    /// Returns the JSON of a config with a number that a double does not show.
    pub fn exact(&self) -> Option<&str> {
        self.exact.as_deref()
    }

    /// Returns the config with doubles.
    pub fn rounded(&self) -> Self {
        Self { fields: self.fields.clone(), exact: None }
    }

    /// Returns true if hosts can read it again: serde_json takes some names of fields for its own, and reads their values.
    pub fn is_readable(&self) -> bool {
        Self::of_json(&self.to_json()).is_ok()
    }

    /// Takes the numbers as they were written.
    pub(super) fn keep(&mut self, written: &Written) {
        let object = Value::Object(Arc::unwrap_or_clone(std::mem::take(&mut self.fields)));
        let text = numbers::text(&object, written);
        let rounded = object.to_string();
        self.exact = (text != rounded).then(|| text.into());
        if let Value::Object(fields) = object {
            self.fields = Arc::new(fields);
        }
    }

    fn of_json(text: &str) -> serde_json::Result<Self> {
        // This reader has a tree of its own, which is gone before the fields are another.
        let written = Written::of_json(text)?;
        let mut config = Self { fields: Arc::new(json::read(text.as_bytes())?), exact: None };
        config.keep(&written);
        Ok(config)
    }
}

impl Deref for GuestConfig {
    type Target = Map<String, Value>;

    fn deref(&self) -> &Self::Target {
        &self.fields
    }
}

impl Serialize for GuestConfig {
    /// Writers of other formats than JSON are given the [`rounded`](Self::rounded) config.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.exact {
            Some(text) => RawValue::from_string(text.to_string()).map_err(serde::ser::Error::custom)?.serialize(serializer),
            None => (*self.fields).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for GuestConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(RAW, ConfigVisitor)
    }
}

/// Takes the text of serde_json, or the object of another reader.
struct ConfigVisitor;

impl<'de> Visitor<'de> for ConfigVisitor {
    type Value = GuestConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<GuestConfig, D::Error> {
        Map::deserialize(deserializer).map(|fields| GuestConfig { fields: Arc::new(fields), exact: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<GuestConfig, A::Error> {
        let Some((_, text)) = access.next_entry::<String, String>()? else { return Ok(GuestConfig::default()) };
        GuestConfig::of_json(&text).map_err(|error| {
            // The place is one in the config: the reader of the whole adds its own.
            let message = error.to_string();
            A::Error::custom(message.split(" at line ").next().unwrap_or_default())
        })
    }
}

#[cfg(test)]
#[path = "guest_config_tests.rs"]
mod tests;
