//! The key of a row, kept whole: two rows never have one key.
//!
//! A key may have more columns than a configuration names: a primary key of several columns, those of
//! `message.key.columns`, or the `__dbz__physicalTableIdentifier` by which `ByLogicalTableRouter` tells the tables of
//! one topic apart. A key with fewer columns would be that of several rows, and a delete of one would delete them all.

use crate::columns::Columns;
use crate::decimal::{Decimal, is_variable_scale};
use crate::envelope::name_of;
use crate::json::scan::Index;
use crate::json::text::unescape;
use crate::json::{self, JsonError, Kind, Value};
use crate::schema::Form;
use std::borrow::Cow;

/// The columns of a key, as a configuration names them.
#[derive(Clone, Debug)]
pub struct KeyColumns {
    /// The number of each column, and the text before its value, for example `"order_id":`.
    columns: Vec<(usize, Vec<u8>)>,
}

/// The key of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowKey<'a> {
    /// The key as Kafka Connect's JSON converter writes one without a schema: no spaces, the columns in the record's
    /// order. Numbers and texts are written as the connector wrote them.
    pub text: Cow<'a, [u8]>,
    /// True if the key has other columns than those of the configuration.
    pub is_wider: bool,
}

/// The reason why a record's key is not that of a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The reason is named.
    #[error("the record's key is not JSON: {0}")]
    Malformed(JsonError),
    /// A column that no key can have.
    #[error("the record's key has {1} as `{0}`, so that it cannot be kept whole")]
    Column(String, &'static str),
    /// A column that has two values, of which nothing says which one counts.
    #[error("the record's key has `{0}` twice")]
    Repeated(String),
    /// A decimal in base64, in a row that is to say its key.
    #[error("the row has {ENCODED} as `{0}`, of which no key can be made")]
    Encoded(String),
    /// A key of one of several tables, from which a row's own key would not tell it apart.
    #[error("the record's key has `{PHYSICAL_TABLE}`, but not `{0}`: the rows of several tables would have one key")]
    OtherColumns(String),
}

const ENCODED: &str = "an encoded decimal (set decimal.handling.mode to string or double)";

/// The column by which `ByLogicalTableRouter` tells the tables of one topic apart.
const PHYSICAL_TABLE: &str = "__dbz__physicalTableIdentifier";

// === impl KeyColumns ===

impl KeyColumns {
    /// The columns of these names, which are added to `columns`.
    ///
    /// # Errors
    /// Fails if there are none, or one is there twice.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>, columns: &mut Columns) -> Result<Self, String> {
        let mut key: Vec<(usize, Vec<u8>)> = Vec::new();
        for name in names {
            let column = columns.add(name);
            if key.iter().any(|(known, _)| *known == column) {
                return Err(format!("the key names {name:?} twice"));
            }
            key.push((column, format!("{}:", serde_json::Value::from(name)).into_bytes()));
        }
        if key.is_empty() { Err("a key has one column at least".to_owned()) } else { Ok(KeyColumns { columns: key }) }
    }

    /// The key of the row that a record's key names, with all of its columns. The record's key is JSON with or without
    /// a schema around it. `None`: it does not have each of these columns.
    ///
    /// # Errors
    /// Fails if the key is not JSON, or has a column that cannot be kept.
    pub fn of_record<'a>(
        &self,
        columns: &Columns,
        key: &'a [u8],
        index: &mut Index,
    ) -> Result<Option<RowKey<'a>>, KeyError> {
        if self.is_plain(key) {
            return Ok(Some(RowKey { text: Cow::Borrowed(key), is_wider: false }));
        }
        let root = match json::read(key, index) {
            Ok(root) => root,
            // A key of one number or text, say: JSON, but no struct of columns.
            Err(_) if serde_json::from_slice::<serde::de::IgnoredAny>(key).is_ok() => return Ok(None),
            Err(error) => return Err(KeyError::Malformed(error)),
        };
        let (schema, row) = crate::envelope::unwrap(root).map_err(KeyError::Malformed)?;
        let whole = self.whole(columns, row)?;
        if whole.is_some()
            && let Some(name) = encoded_decimal(schema, row).map_err(KeyError::Malformed)?
        {
            return Err(KeyError::Column(name, ENCODED));
        }
        Ok(whole)
    }

    /// Returns true for one column with a number, as nearly all keys are: such a key is copied.
    #[inline]
    fn is_plain(&self, key: &[u8]) -> bool {
        let [(_, label)] = self.columns.as_slice() else { return false };
        let value = key.strip_prefix(b"{").and_then(|key| key.strip_prefix(label.as_slice()));
        value.and_then(|value| value.strip_suffix(b"}")).is_some_and(json::text::is_number)
    }

    fn whole<'a>(&self, columns: &Columns, row: Value<'_>) -> Result<Option<RowKey<'a>>, KeyError> {
        let Some(mut members) = row.members() else { return Ok(None) };
        let mut text = vec![b'{'];
        let mut seen: Vec<usize> = Vec::with_capacity(self.columns.len());
        let mut found = 0;
        let mut count = 0;
        let mut is_of_one_table = false;
        let mut bad = None;
        while let Some((name, value)) = members.next().map_err(KeyError::Malformed)? {
            let plain = plain_name(name).map_err(KeyError::Malformed)?;
            is_of_one_table |= *plain == *PHYSICAL_TABLE.as_bytes();
            let wanted = columns.find(&plain).filter(|column| self.columns.iter().any(|(known, _)| known == column));
            let is_wanted = wanted.is_some();
            count += 1;
            if let Some(column) = wanted {
                if seen.contains(&column) {
                    return Err(KeyError::Repeated(columns.name(column).to_owned()));
                }
                seen.push(column);
            }
            if is_wanted && (value.is_null() || columns.is_unavailable(value)) {
                continue;
            }
            found += usize::from(is_wanted);
            text.push(b'"');
            text.extend_from_slice(name);
            text.extend_from_slice(b"\":");
            match write_part(value, &mut text) {
                Ok(()) => {}
                Err(PartError::Malformed(error)) => return Err(KeyError::Malformed(error)),
                // A key that is not this one may have anything in it.
                Err(PartError::Kind(kind)) => bad = bad.or(Some((String::from_utf8_lossy(&plain).into_owned(), kind))),
            }
            text.push(b',');
        }
        if found < self.columns.len() && is_of_one_table {
            return Err(KeyError::OtherColumns(self.names(columns)));
        }
        if found < self.columns.len() {
            return Ok(None);
        }
        if let Some((name, kind)) = bad {
            return Err(KeyError::Column(name, kind));
        }
        text.pop();
        text.push(b'}');
        std::str::from_utf8(&text).map_err(|_| KeyError::Malformed(JsonError::Utf8))?;
        Ok(Some(RowKey { text: Cow::Owned(text), is_wider: count > found }))
    }

    /// The key by the values of a row, whose columns have these forms ([`Event::forms`](crate::Event::forms)). `None`: one
    /// is not there, was not sent, or is no number and no text.
    ///
    /// # Errors
    /// Fails if a column is a decimal that comes encoded.
    pub fn of_row<'v>(
        &self,
        columns: &Columns,
        forms: Option<&[Form]>,
        value: impl Fn(usize) -> Option<Value<'v>>,
    ) -> Result<Option<Vec<u8>>, KeyError> {
        let mut text = vec![b'{'];
        for (column, label) in &self.columns {
            let value = value(*column).filter(|value| !value.is_null() && !columns.is_unavailable(*value));
            let Some(value) = value else { return Ok(None) };
            if forms.is_some_and(|forms| forms[*column].is_encoded(value)) {
                return Err(KeyError::Encoded(columns.name(*column).to_owned()));
            }
            text.extend_from_slice(label);
            if write_part(value, &mut text).is_err() {
                return Ok(None);
            }
            text.push(b',');
        }
        text.pop();
        text.push(b'}');
        Ok(str::from_utf8(&text).is_ok().then_some(text))
    }

    /// The names of the columns, for an error.
    pub fn names(&self, columns: &Columns) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(column, _)| columns.name(*column)).collect();
        names.join("`, `")
    }
}

/// The name of a column whose decimal comes as the base64 of its digits: the key of the row's number is another text.
fn encoded_decimal(schema: Option<Value<'_>>, row: Value<'_>) -> Result<Option<String>, JsonError> {
    let fields = schema.map(|schema| schema.member(b"fields")).transpose()?.flatten();
    let Some(mut fields) = fields.and_then(Value::elements) else { return Ok(None) };
    while let Some(field) = fields.next()? {
        let Some(decimal) = Form::of_name(field)? else { continue };
        let Some(Kind::Text(name)) = field.member(b"field")?.map(Value::kind) else { continue };
        if row.member(name)?.is_some_and(|value| decimal.is_encoded(value)) {
            return Ok(Some(String::from_utf8_lossy(name).into_owned()));
        }
    }
    Ok(None)
}

enum PartError {
    Malformed(JsonError),
    Kind(&'static str),
}

fn plain_name(name: &[u8]) -> Result<Cow<'_, [u8]>, JsonError> {
    if !name.contains(&b'\\') {
        return Ok(Cow::Borrowed(name));
    }
    let mut plain = Vec::new();
    unescape(name, &mut plain)?;
    Ok(Cow::Owned(plain))
}

/// Appends a column's value. Oracle's `NUMBER` comes as an unscaled value with a scale, which may differ for equal
/// numbers, so that it is written as the number.
fn write_part(value: Value<'_>, out: &mut Vec<u8>) -> Result<(), PartError> {
    match value.kind() {
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => {
            value.check().map_err(PartError::Malformed)?;
            out.extend_from_slice(value.text());
            Ok(())
        }
        Kind::Object if is_variable_scale(value) => {
            let decimal = Decimal::from_variable_scale(value).map_err(|_| PartError::Kind("a number of too many digits"))?;
            decimal.normalized().write(out);
            Ok(())
        }
        Kind::Object | Kind::Array => Err(PartError::Kind(name_of(value))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Encoding;

    fn columns(names: &[&str]) -> (Columns, KeyColumns) {
        let mut columns = Columns::default();
        let key = KeyColumns::new(names.iter().copied(), &mut columns).expect("they differ");
        (columns, key)
    }

    #[test]
    fn a_records_key_is_kept_whole() {
        #[track_caller]
        fn check(names: &[&str], key: &str, expected: Result<Option<(&str, bool)>, &str>) {
            let (columns, wanted) = columns(names);
            let mut index = Index::default();
            let found = wanted.of_record(&columns, key.as_bytes(), &mut index);
            let found = found.map(|key| key.map(|key| (String::from_utf8_lossy(&key.text).into_owned(), key.is_wider)));
            let expected = expected.map(|key| key.map(|(text, is_wider)| (text.to_owned(), is_wider)));
            match (found.map_err(|error| error.to_string()), expected) {
                (Err(error), Err(part)) => assert!(error.contains(part), "{key}: {error}"),
                (found, expected) => assert_eq!(found, expected.map_err(str::to_owned), "{key}"),
            }
        }
        let one = ["id"];
        check(&one, r#"{"id":7}"#, Ok(Some((r#"{"id":7}"#, false))));
        check(&one, r#" { "id" : 7 } "#, Ok(Some((r#"{"id":7}"#, false))));
        check(&one, r#"{"id":"a\"b"}"#, Ok(Some((r#"{"id":"a\"b"}"#, false))));
        check(&one, r#"{"schema":{},"payload":{"id":7}}"#, Ok(Some((r#"{"id":7}"#, false))));
        check(&one, r#"{"id":7,"line":1}"#, Ok(Some((r#"{"id":7,"line":1}"#, true))));
        check(&one, r#"{"line": 1, "id": 7}"#, Ok(Some((r#"{"line":1,"id":7}"#, true))));
        check(&one, r#"{"id":7,"region":null}"#, Ok(Some((r#"{"id":7,"region":null}"#, true))));
        check(
            &one,
            r#"{"id":7,"__dbz__physicalTableIdentifier":"shop.public.orders_eu"}"#,
            Ok(Some((r#"{"id":7,"__dbz__physicalTableIdentifier":"shop.public.orders_eu"}"#, true))),
        );
        check(&["id", "line"], r#"{"id":7,"line":1}"#, Ok(Some((r#"{"id":7,"line":1}"#, false))));
        check(&["line", "id"], r#"{"id":7,"line":1}"#, Ok(Some((r#"{"id":7,"line":1}"#, false))));
        check(&["id", "line"], r#"{"id":7}"#, Ok(None));
        // Oracle's numbers: 10 with two scales is one key.
        check(&one, r#"{"id":{"scale":0,"value":"Cg=="}}"#, Ok(Some((r#"{"id":10}"#, false))));
        check(&one, r#"{"id":{"scale":-1,"value":"AQ=="}}"#, Ok(Some((r#"{"id":10}"#, false))));
        for foreign in [
            r#"{"line":7}"#,
            r#"{"place":{"x":1}}"#,
            r#"{"id":null,"line":1}"#,
            "7",
            "[7]",
            "null",
            r#""7""#,
            r#"{"id":null}"#,
            "{}",
        ] {
            check(&one, foreign, Ok(None));
        }
        let decimal = r#"{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","field":"id"}"#;
        let with_schema =
            |value: &str| format!(r#"{{"schema":{{"type":"struct","fields":[{decimal}]}},"payload":{{"id":{value}}}}}"#);
        check(&one, &with_schema(r#""Bw==""#), Err("has an encoded decimal"));
        check(&one, &with_schema("7"), Ok(Some((r#"{"id":7}"#, false))));
        check(&one, "{", Err("not JSON"));
        check(&one, "", Err("not JSON"));
        check(&one, r#"{"line":7,"__dbz__physicalTableIdentifier":"eu"}"#, Err("but not `id`"));
        check(&one, r#"{"id":7,"id":8}"#, Err("has `id` twice"));
        check(&one, r#"{"id":7,"\u0069d":null}"#, Err("has `id` twice"));
        check(&["a", "b"], r#"{"a":1,"a":2}"#, Err("has `a` twice"));
        check(&["a", "b"], r#"{"a":1,"b":2,"a":1}"#, Err("has `a` twice"));
        check(&["a", "b"], r#"{"b":2,"a":1}"#, Ok(Some((r#"{"b":2,"a":1}"#, false))));
        check(&one, r#"{"id":7,"place":{"x":1}}"#, Err("has a JSON object as `place`"));
        check(&one, r#"{"id":[7]}"#, Err("has a JSON array as `id`"));
    }

    #[test]
    fn a_rows_key_has_the_columns_of_the_configuration() {
        let (columns, key) = columns(&["id", "line"]);
        let of_row_with = |text: &str, forms: Option<&[Form]>| {
            let mut index = Index::default();
            let root = json::read(text.as_bytes(), &mut index).expect("the case is JSON");
            let row = columns.pick(root.members().expect("an object")).expect("the case is JSON");
            let key = key.of_row(&columns, forms, |column| row.get(column));
            key.map(|key| key.map(|key| String::from_utf8(key).expect("UTF-8"))).map_err(|error| error.to_string())
        };
        let of_row = |text: &str| of_row_with(text, None).expect("nothing is encoded");
        assert_eq!(of_row(r#"{"line":1,"x":2,"id":"a"}"#).as_deref(), Some(r#"{"id":"a","line":1}"#));
        // By the schema a text is one, or the digits of a decimal; a number is what it says.
        let by_schema = |id: Form, row: &str| of_row_with(row, Some([id, Form::Number].as_slice()));
        let decimal = Form::Decimal(Encoding::Precise { scale: 0 });
        let encoded = by_schema(decimal, r#"{"id":"Bw==","line":1}"#).expect_err("base64");
        assert!(encoded.contains("the row has an encoded decimal") && encoded.contains("as `id`"), "{encoded}");
        let seven = || Ok(Some(r#"{"id":7,"line":1}"#.to_owned()));
        assert_eq!(by_schema(decimal, r#"{"id":7,"line":1}"#), seven());
        let variable = Form::Decimal(Encoding::VariableScale);
        assert_eq!(by_schema(variable, r#"{"id":{"scale":0,"value":"Bw=="},"line":1}"#), seven());
        let text = r#"{"id":"Bw==","line":1}"#;
        assert_eq!(by_schema(Form::Text, text), Ok(Some(text.to_owned())));
        for row in [
            r#"{"id":7}"#,
            r#"{"id":7,"line":null}"#,
            r#"{"id":7,"line":[1]}"#,
            r#"{"id":7,"line":1.2.3}"#,
            r#"{"id":"__debezium_unavailable_value","line":1}"#,
        ] {
            assert_eq!(of_row(row), None, "{row}");
        }
        assert!(KeyColumns::new(["a", "a"], &mut Columns::default()).is_err());
        assert!(KeyColumns::new([], &mut Columns::default()).is_err());
    }
}
