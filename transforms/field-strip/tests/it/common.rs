//! The common parts of the tests: the shipped configuration, and records run through the transform as in a module.

use field_strip::field_strip;
use sandbar_sdk::testing::{Harness, Input, Value};

/// The outputs of a record: keys and values in order, or the reason of its failure.
pub type Outputs = Result<Vec<(String, Option<String>)>, String>;

/// The `config` of the spec that is shipped.
pub fn shipped_config() -> Value {
    let spec: Value = serde_norway::from_str(include_str!("../../transform.yaml")).expect("the spec is YAML");
    spec["config"].clone()
}

/// Runs one record.
pub fn run(config: &Value, input: Input) -> Outputs {
    let outcome = Harness::<field_strip>::new(config).run([input]);
    match outcome.failures.into_iter().next() {
        Some(failure) => Err(failure.message),
        None => {
            Ok(outcome.messages.into_iter().map(|sent| (text(sent.key).unwrap_or_default(), text(sent.value))).collect())
        }
    }
}

fn text(bytes: Option<Vec<u8>>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8(bytes).expect("what is written is UTF-8"))
}

/// `Ok` with one message.
pub fn put(key: &str, value: &str) -> Outputs {
    Ok(vec![(key.to_owned(), Some(value.to_owned()))])
}

/// `Ok` with one tombstone.
pub fn deleted(key: &str) -> Outputs {
    Ok(vec![(key.to_owned(), None)])
}
