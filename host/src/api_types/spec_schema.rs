//! The JSON Schema of `transform.yaml`, made of the types that describe the API. Editors complete and check a spec by it.

use serde_json::{Value, json};
use utoipa::{PartialSchema, ToSchema};

use super::spec::RawSpec;

/// The version of JSON Schema that OpenAPI 3.1 has.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// Fields that a file has to have. In a request the URL may have the names.
const REQUIRED: [&str; 4] = ["team", "name", "inputs", "outputs"];
/// The place of other types in OpenAPI, and in a schema.
const OPENAPI_TYPES: &str = "#/components/schemas/";
const TYPES: &str = "#/$defs/";
/// The beginning of the pattern of a size. A size may be a plain number as well, which OpenAPI does not say.
const SIZE_PATTERN: &str = r"^[0-9]+(\.[0-9]+)?";

/// Makes the schema.
pub fn spec_schema() -> Value {
    let mut named = Vec::new();
    <RawSpec as ToSchema>::schemas(&mut named);
    let value = |schema| serde_json::to_value(schema).expect("a schema is plain data");
    let types: serde_json::Map<String, Value> = named.into_iter().map(|(name, schema)| (name, value(schema))).collect();
    let mut schema = value(RawSpec::schema());
    schema["$schema"] = json!(DIALECT);
    schema["title"] = json!("The spec of a Sandbar transform");
    schema["required"] = json!(REQUIRED);
    schema["$defs"] = Value::Object(types);
    adapt(&mut schema);
    schema
}

/// Moves references to the place of the types, takes sizes as numbers too, and closes every object with named fields, as
/// the reader of specs does. The schema is ours, so its depth is known.
fn adapt(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(place)) = fields.get_mut("$ref") {
                *place = place.replace(OPENAPI_TYPES, TYPES);
            }
            let is_size = fields.get("pattern").and_then(Value::as_str).is_some_and(|it| it.starts_with(SIZE_PATTERN));
            if is_size {
                fields.insert("type".to_owned(), json!(["string", "integer"]));
            }
            fields.values_mut().for_each(adapt);
            // A field of a spec may have the name of a keyword, so an object is one by its type.
            if fields.get("type").is_some_and(|it| it == "object") && fields.contains_key("properties") {
                fields.entry("additionalProperties").or_insert(json!(false));
            }
        }
        Value::Array(values) => values.iter_mut().for_each(adapt),
        _ => {}
    }
}

#[cfg(test)]
#[path = "spec_schema_tests.rs"]
mod tests;
