//! The form of a column's values, as the schema beside an event describes it.

use crate::columns::Columns;
use crate::envelope::{Event, EventError, Op};
use crate::json::{JsonError, Kind, Value};

/// The encoding of a column's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Values are read unchanged.
    Plain,
    /// Values are decimals: the base64 of an unscaled value, or a number.
    Decimal {
        /// The number of digits after the point.
        scale: u32,
    },
}

// === impl Event ===

impl Event<'_> {
    /// Returns the form of each wanted column, by its number. `None`: the event came without a schema, so that the
    /// configuration decides.
    pub fn forms(&self, columns: &Columns) -> Result<Option<Vec<Form>>, EventError> {
        let Some(schema) = self.schema else { return Ok(None) };
        let row = if self.op == Op::Flat { Some(schema) } else { find_field(schema, b"after")? };
        let mut forms = vec![Form::Plain; columns.numbers().len()];
        let Some(fields) = row.map(|row| row.member(b"fields")).transpose()?.flatten() else { return Ok(Some(forms)) };
        let mut fields = fields.elements().ok_or(JsonError::Structure)?;
        while let Some(field) = fields.next()? {
            if let Some((column, form)) = decimal_field(field, columns)? {
                forms[column] = form;
            }
        }
        Ok(Some(forms))
    }
}

/// The field of this name in a struct's schema.
fn find_field<'a>(schema: Value<'a>, wanted: &[u8]) -> Result<Option<Value<'a>>, JsonError> {
    let Some(fields) = schema.member(b"fields")? else { return Ok(None) };
    let mut fields = fields.elements().ok_or(JsonError::Structure)?;
    while let Some(field) = fields.next()? {
        if matches!(field.member(b"field")?.map(Value::kind), Some(Kind::Text(name)) if name == wanted) {
            return Ok(Some(field));
        }
    }
    Ok(None)
}

/// The column that a field's schema describes and its form, where that is a wanted decimal.
fn decimal_field(field: Value<'_>, columns: &Columns) -> Result<Option<(usize, Form)>, JsonError> {
    let text = |name: &[u8]| Ok::<_, JsonError>(field.member(name)?.map(Value::kind));
    let Some(Kind::Text(name)) = text(b"name")? else { return Ok(None) };
    let scale = match name {
        b"org.apache.kafka.connect.data.Decimal" => schema_scale(field)?,
        // Each value brings its own scale.
        b"io.debezium.data.VariableScaleDecimal" => 0,
        _ => return Ok(None),
    };
    let Some(Kind::Text(column)) = text(b"field")? else { return Ok(None) };
    Ok(columns.find(column).map(|column| (column, Form::Decimal { scale })))
}

/// A field's scale. Kafka Connect writes it as a text.
fn schema_scale(field: Value<'_>) -> Result<u32, JsonError> {
    let parameters = field.member(b"parameters")?.ok_or(JsonError::Structure)?;
    let scale = match parameters.member(b"scale")?.map(Value::kind) {
        Some(Kind::Text(scale) | Kind::Number(scale)) => str::from_utf8(scale).ok().and_then(|scale| scale.parse().ok()),
        _ => None,
    };
    scale.ok_or(JsonError::Word)
}
