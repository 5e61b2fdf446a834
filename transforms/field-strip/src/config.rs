//! The `config` of the spec. A [`Config`] has been checked, and is laid out for the work on a record.

use sandbar_debezium::condition::{Condition, ConditionSpec};
use sandbar_debezium::decimal::SCALE_MAX;
use sandbar_debezium::{Columns, Encoding, Envelope, KeyColumns, Placeholder};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The names of the computed fields.
pub const ORDER_TOTAL: &str = "order_total";
pub const ITEM_COUNT: &str = "item_count";

/// A checked configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Spec")]
pub struct Config {
    /// Every column that is looked for in a row.
    pub columns: Columns,
    /// The first fields of the output, in its order.
    pub keep: Vec<OutputField>,
    pub key: KeyColumns,
    /// The column that holds the items; with none there are no totals.
    pub items: Option<usize>,
    /// The condition under which the service does not need an order.
    pub drop_when: Option<Condition>,
    /// The form of the events.
    pub envelope: Envelope,
    /// True if an order without any kept column may be written.
    pub allow_empty: bool,
}

/// A column that is kept.
#[derive(Clone, Debug)]
pub struct OutputField {
    pub column: usize,
    /// The text before the value in the output, for example `"status":`.
    pub label: Vec<u8>,
    /// The form of its decimals, if it is one, where the event's schema does not say it.
    pub encoding: Option<Encoding>,
}

/// The configuration as a user writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    keep: Vec<String>,
    drop_when: Option<ConditionSpec>,
    #[serde(default = "default_key_field")]
    key_field: KeySpec,
    #[serde(default = "default_items_field")]
    items_field: Option<String>,
    #[serde(default)]
    decimals: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    envelope: Envelope,
    unavailable_value_placeholder: Option<String>,
    #[serde(default)]
    allow_empty: bool,
}

/// One column, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum KeySpec {
    One(String),
    Several(Vec<String>),
}

fn default_key_field() -> KeySpec {
    KeySpec::One("order_id".to_owned())
}

fn default_items_field() -> Option<String> {
    Some("items".to_owned())
}

// === impl Config ===

impl TryFrom<Spec> for Config {
    type Error = String;

    fn try_from(spec: Spec) -> Result<Self, String> {
        spec.check()?;
        let mut columns = Columns::default();
        if let Some(text) = &spec.unavailable_value_placeholder {
            columns.set_placeholder(Placeholder::new(text)?);
        }
        let mut keep = Vec::new();
        for name in &spec.keep {
            keep.push(OutputField {
                column: columns.add(name),
                label: [json_text(name).as_slice(), b":"].concat(),
                encoding: spec.decimals.get(name).map(|decimal| encoding(name, decimal)).transpose()?,
            });
        }
        let key = match &spec.key_field {
            KeySpec::One(name) => KeyColumns::new([name.as_str()], &mut columns),
            KeySpec::Several(names) => KeyColumns::new(names.iter().map(String::as_str), &mut columns),
        }?;
        let items = spec.items_field.as_deref().map(|name| columns.add(name));
        let drop_when = spec.drop_when.map(|condition| Condition::new("drop_when", condition, &mut columns)).transpose()?;
        let Spec { envelope, allow_empty, .. } = spec;
        Ok(Config { columns, keep, key, items, drop_when, envelope, allow_empty })
    }
}

// === impl Spec ===

impl Spec {
    fn check(&self) -> Result<(), String> {
        let mut names = BTreeSet::new();
        for name in &self.keep {
            if !names.insert(name.as_str()) {
                return Err(format!("`keep` names {name:?} twice"));
            }
            if self.items_field.is_some() && [ORDER_TOTAL, ITEM_COUNT].contains(&name.as_str()) {
                return Err(format!(
                    "`keep` names {name:?}, which is the name of a computed field; set `items_field` to null to compute none"
                ));
            }
        }
        for name in self.decimals.keys() {
            if !names.contains(name.as_str()) {
                return Err(format!("`decimals` names {name:?}, which `keep` does not"));
            }
        }
        if let Some(condition) = &self.drop_when
            && self.decimals.contains_key(&condition.field)
        {
            return Err(format!("`drop_when` cannot look at {:?}: it is a decimal, which comes encoded", condition.field));
        }
        Ok(())
    }
}

/// The encoding of a column: `{ mode: precise, scale: 2 }`, `string`, `double`, or a scale alone, which leaves the mode
/// to each value.
fn encoding(name: &str, spec: &serde_json::Value) -> Result<Encoding, String> {
    let (mode, scale) = match spec {
        serde_json::Value::Object(members) => {
            if let Some(unknown) = members.keys().find(|name| !["mode", "scale"].contains(&name.as_str())) {
                return Err(format!("`decimals` has an unknown field {unknown:?} for {name:?}"));
            }
            (members.get("mode"), members.get("scale"))
        }
        serde_json::Value::String(_) => (Some(spec), None),
        scale => (None, Some(scale)),
    };
    let mode = mode.map(|mode| mode.as_str().unwrap_or("")).unwrap_or("any");
    let scale = scale.map(|scale| read_scale(name, scale)).transpose()?;
    match (mode, scale) {
        ("precise", Some(scale)) => Ok(Encoding::Precise { scale }),
        ("any", Some(scale)) => Ok(Encoding::Unsaid { scale }),
        ("precise" | "any", None) => Err(format!("`decimals` gives {name:?} no scale, which base64 needs")),
        ("string", None) => Ok(Encoding::Text),
        ("double", None) => Ok(Encoding::Double),
        ("string" | "double", Some(_)) => {
            Err(format!("`decimals` gives {name:?} a scale, which values of the mode {mode} bring themselves"))
        }
        _ => Err(format!("`decimals` gives {name:?} no mode of precise, string and double (decimal.handling.mode)")),
    }
}

fn read_scale(name: &str, scale: &serde_json::Value) -> Result<i32, String> {
    let scale = scale.as_i64().ok_or_else(|| format!("`decimals` gives {name:?} {scale}, which is no scale"))?;
    let scale_max = i64::from(SCALE_MAX);
    match i32::try_from(scale) {
        Ok(scale) if (-scale_max..=scale_max).contains(&i64::from(scale)) => Ok(scale),
        _ => Err(format!("`decimals` gives {name:?} {scale} decimal places; there can be {SCALE_MAX}")),
    }
}

/// A text as JSON writes it, quotes included.
fn json_text(text: &str) -> Vec<u8> {
    serde_json::Value::from(text).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_whole_or_refused() {
        #[track_caller]
        fn check(config: &str, expected: Result<usize, &str>) {
            let read =
                serde_json::from_str::<Config>(config).map(|config| config.keep.len()).map_err(|error| error.to_string());
            match (read, expected) {
                (Err(error), Err(part)) => assert!(error.contains(part), "{config}: {error}"),
                (read, expected) => assert_eq!(read, expected.map_err(str::to_owned), "{config}"),
            }
        }
        check(r#"{"keep":["a","b"]}"#, Ok(2));
        check(r#"{"keep":[]}"#, Ok(0));
        check(r#"{"keep":["order_total"],"items_field":null}"#, Ok(1));
        check(
            r#"{"keep":["total"],"decimals":{"total":2},"drop_when":{"field":"status","in":["cancelled",null,7]}}"#,
            Ok(1),
        );
        check("{}", Err("missing field `keep`"));
        check(r#"{"keep":["a"],"kep":1}"#, Err("unknown field `kep`"));
        check(r#"{"keep":["a","a"]}"#, Err(r#"names "a" twice"#));
        check(r#"{"keep":["order_total"]}"#, Err("computed field"));
        check(r#"{"keep":["item_count"]}"#, Err("computed field"));
        check(r#"{"keep":["a"],"decimals":{"b":2}}"#, Err(r#"`decimals` names "b""#));
        check(r#"{"keep":["a"],"decimals":{"a":39}}"#, Err("there can be 38"));
        check(r#"{"keep":["a"],"decimals":{"a":-39}}"#, Err("there can be 38"));
        check(r#"{"keep":["a"],"decimals":{"a":-1}}"#, Ok(1));
        check(r#"{"keep":["a"],"decimals":{"a":{"mode":"precise","scale":2}}}"#, Ok(1));
        check(r#"{"keep":["a"],"decimals":{"a":{"mode":"string"}}}"#, Ok(1));
        check(r#"{"keep":["a"],"decimals":{"a":"double"}}"#, Ok(1));
        check(r#"{"keep":["a"],"decimals":{"a":"precise"}}"#, Err("no scale, which base64 needs"));
        check(r#"{"keep":["a"],"decimals":{"a":{"mode":"string","scale":2}}}"#, Err("bring themselves"));
        check(r#"{"keep":["a"],"decimals":{"a":{"mode":"exact","scale":2}}}"#, Err("no mode of precise"));
        check(r#"{"keep":["a"],"decimals":{"a":{"scale":2,"digits":9}}}"#, Err("unknown field \"digits\""));
        check(r#"{"keep":["a"],"decimals":{"a":1.5}}"#, Err("which is no scale"));
        check(r#"{"keep":["a"],"key_field":["order_id","line_no"],"envelope":"flat","allow_empty":true}"#, Ok(1));
        check(r#"{"keep":["a"],"key_field":[]}"#, Err("one column at least"));
        check(r#"{"keep":["a"],"key_field":["b","b"]}"#, Err("the key names \"b\" twice"));
        check(r#"{"keep":["a"],"envelope":"avro"}"#, Err("unknown variant `avro`"));
        check(r#"{"keep":["a"],"unavailable_value_placeholder":""}"#, Err("is empty"));
        check(r#"{"keep":["a"],"decimals":{"a":2},"drop_when":{"field":"a","in":["x"]}}"#, Err("comes encoded"));
        check(r#"{"keep":["a"],"drop_when":{"field":"a","in":[]}}"#, Err("is empty"));
        check(r#"{"keep":["a"],"drop_when":{"field":"a","in":[[1]]}}"#, Err("takes texts"));
        check(r#"{"keep":["a"],"drop_when":{"field":"a","in":[100.00]}}"#, Err("whole numbers"));
        check(r#"{"keep":["a"],"drop_when":{"field":"a","in":["x"],"not":1}}"#, Err("unknown field `not`"));
    }
}
