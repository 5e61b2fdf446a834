//! The decimals of a key. Kafka Connect writes one as the base64 of its digits, and its scale into the schema; Debezium also
//! writes an object of both. Two keys of one number would be two texts, and two numbers of other scales one.

use crate::json::Value;
use crate::number;

/// The name of Kafka Connect's schema of a decimal.
const DECIMAL: &str = "org.apache.kafka.connect.data.Decimal";
/// Longest decimal that is read, in bytes: 38 digits, as in the rows of `sandbar-debezium`.
const BYTES_MAX: usize = 16;

/// Replaces the decimals of a key by the numbers that they are. The schema is null if the key has none.
pub(crate) fn decode(key: &mut Value, schema: &Value) {
    match key {
        Value::Object(columns) => {
            let described = match schema.field("fields") {
                Some(Value::List(described)) => described.as_slice(),
                _ => &[],
            };
            for column in described {
                let Some(Value::Text(name)) = column.field("field") else { continue };
                if let Some(value) = columns.get_mut(name) {
                    decode_text(value, column);
                }
            }
            columns.values_mut().for_each(decode_object);
        }
        // A key of one value.
        value => decode_text(value, schema),
    }
}

fn decode_text(value: &mut Value, schema: &Value) {
    let Value::Text(digits) = &*value else { return };
    let decoded = scale_of(schema).and_then(|scale| number_of(digits, scale));
    if let Some(number) = decoded {
        *value = Value::Number(number);
    }
}

/// Replaces an object of a scale and a value, Debezium's `VariableScaleDecimal`.
fn decode_object(value: &mut Value) {
    let Value::Object(fields) = &*value else { return };
    let decoded = match (fields.get("scale"), fields.get("value")) {
        (Some(Value::Number(scale)), Some(Value::Text(digits))) if fields.len() == 2 => {
            scale.parse::<i32>().ok().and_then(|scale| number_of(digits, scale))
        }
        _ => None,
    };
    if let Some(number) = decoded {
        *value = Value::Number(number);
    }
}

/// The scale in a schema, if it is that of a decimal.
fn scale_of(schema: &Value) -> Option<i32> {
    match (schema.field("name")?, schema.field("parameters")?.field("scale")?) {
        (Value::Text(name), Value::Text(scale) | Value::Number(scale)) if name == DECIMAL => scale.parse().ok(),
        _ => None,
    }
}

/// The canonical form of a number whose digits are the base64 of a big-endian two's complement.
fn number_of(digits: &str, scale: i32) -> Option<String> {
    let bytes = base64(digits)?;
    let first = *bytes.first().filter(|_| bytes.len() <= BYTES_MAX)?;
    let mut wide = [if first < 0x80 { 0x00 } else { 0xff }; BYTES_MAX];
    wide[BYTES_MAX - bytes.len()..].copy_from_slice(&bytes);
    number::canonical(&format!("{}e{}", i128::from_be_bytes(wide), -i64::from(scale)))
}

/// Reads base64 of the standard alphabet, with its padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    let mut bits: u32 = 0;
    let mut bit_count = 0;
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        bit_count += 6;
        if bit_count >= 8 {
            bit_count -= 8;
            bytes.push((bits >> bit_count) as u8);
            bits &= (1 << bit_count) - 1;
        }
    }
    (bits == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical;

    #[track_caller]
    fn check(key: &str, expected: &str) {
        assert_eq!(String::from_utf8_lossy(&canonical(key.as_bytes())), expected, "{key}");
    }

    /// A key of one column under this schema.
    fn with_schema(column: &str, value: &str) -> String {
        let schema = format!(r#"{{"type":"struct","fields":[{{{column},"field":"id"}}]}}"#);
        format!(r#"{{"schema":{schema},"payload":{{"id":{value}}}}}"#)
    }

    fn decimal(scale: &str) -> String {
        format!(r#""type":"bytes","name":"{DECIMAL}","version":1,"parameters":{{"scale":{scale}}}"#)
    }

    #[test]
    fn a_decimal_is_the_number_that_it_is() {
        for (scale, digits, number) in [
            ("\"0\"", "Bw==", "7"),
            ("0", "Bw==", "7"),
            ("\"2\"", "Bw==", "0.07"),
            ("\"2\"", "Ctw=", "27.8"),
            ("\"4\"", "BD3w", "27.8"),
            ("\"-2\"", "Dw==", "1500"),
            ("\"2\"", "/w==", "-0.01"),
            ("\"0\"", "gA==", "-128"),
            ("\"0\"", "AIA=", "128"),
            ("\"0\"", "AA==", "0"),
            ("\"0\"", "f////////////////////w==", "170141183460469231731687303715884105727"),
        ] {
            let expected = format!(r#"{{"id":{number}}}"#);
            check(&with_schema(&decimal(scale), &format!("\"{digits}\"")), &expected);
            // With `decimal.format=NUMERIC` the number stands there.
            check(&with_schema(&decimal(scale), number), &expected);
        }
        check(&format!(r#"{{"schema":{{{}}},"payload":"Ctw="}}"#, decimal("\"2\"")), "27.8");
        let object = r#"{"scale":2,"value":"Ctw="}"#;
        check(&format!(r#"{{"id":{object}}}"#), r#"{"id":27.8}"#);
        check(&with_schema(r#""type":"struct","name":"io.debezium.data.VariableScaleDecimal""#, object), r#"{"id":27.8}"#);
    }

    #[test]
    fn other_texts_and_objects_stay() {
        let text = r#"{"id":"Bw=="}"#;
        check(text, text);
        check(&with_schema(r#""type":"string""#, "\"Bw==\""), text);
        check(&with_schema(r#""type":"bytes""#, "\"Bw==\""), text);
        check(&with_schema(&decimal("\"x\""), "\"Bw==\""), text);
        for digits in ["", "7", "Bw", "Bw=", "B===", "Bx==", "27.80", "AQAAAAAAAAAAAAAAAAAAAAA="] {
            check(&with_schema(&decimal("\"0\""), &format!("\"{digits}\"")), &format!(r#"{{"id":"{digits}"}}"#));
        }
        for object in [r#"{"scale":0}"#, r#"{"scale":0,"value":7}"#, r#"{"a":1,"scale":0,"value":"Bw=="}"#] {
            let key = format!(r#"{{"id":{object}}}"#);
            check(&key, &key);
        }
        // Columns of these names.
        let columns = r#"{"scale":0,"value":"Bw=="}"#;
        check(columns, columns);
    }
}
