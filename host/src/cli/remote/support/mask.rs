//! Masks the values of a config: names stay, since they tell how a transform is set up.

use serde_json::Value;

/// Masks the config in the spec of a transform's view.
pub fn mask_config(view: &mut Value) {
    if let Some(config) = view.pointer_mut("/spec/config") {
        mask(config);
    }
}

/// Masks every value that holds no others. The documents that a host accepts are 128 deep at most, and so is the recursion:
/// the parser of the answer refuses deeper ones.
fn mask(value: &mut Value) {
    match value {
        Value::Null => {}
        Value::Bool(_) => *value = "<bool>".into(),
        Value::Number(_) => *value = "<number>".into(),
        Value::String(_) => *value = "<string>".into(),
        Value::Array(values) => values.iter_mut().for_each(mask),
        Value::Object(values) => values.values_mut().for_each(mask),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_value_of_a_config_is_left() {
        let mut view = json!({
            "team": "shop",
            "spec": {
                "inputs": ["orders"],
                "config": { "url": "https://u:hunter2@x", "pin": 4711, "on": true, "none": null, "deep": [{ "secret": "hunter2" }] },
            },
        });
        mask_config(&mut view);
        let config = json!({
            "url": "<string>", "pin": "<number>", "on": "<bool>", "none": null, "deep": [{ "secret": "<string>" }],
        });
        assert_eq!(view["spec"], json!({ "inputs": ["orders"], "config": config }));
        let mut other = json!({ "spec": "no object" });
        mask_config(&mut other);
        assert_eq!(other, json!({ "spec": "no object" }));
    }
}
