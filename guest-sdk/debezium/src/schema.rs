//! The form of a column's values, as the schema beside an event describes it.

use crate::columns::Columns;
use crate::decimal::Encoding;
use crate::envelope::{Event, EventError};
use crate::json::{JsonError, Kind, Value};

/// The form of a column's values, by the schema of an event. Only the columns that somebody wants are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// The schema does not describe the column, or the event has none: the configuration decides.
    #[default]
    Unknown,
    /// No decimal by itself: a text, which is that of a number if the column is one (`decimal.handling.mode=string`).
    Text,
    /// No decimal by itself: a number of any kind.
    Number,
    /// A decimal.
    Decimal(Encoding),
    /// A decimal whose scale cannot be read.
    BadScale,
    /// A list, a map or a struct that has decimals in it, each of which comes encoded.
    Nested,
    /// Another type.
    Other,
}

pub(crate) const NESTED_DECIMALS: &str =
    "it has decimals within it, which come encoded: set decimal.handling.mode=string in the connector";
/// Levels of a column's schema that are looked at: far more than any connector writes.
const DEPTH_MAX: u32 = 16;
/// The rows of an envelope. A connector describes both alike.
const ROWS: [&[u8]; 2] = [b"before", b"after"];

// === impl Form ===

impl Form {
    /// The encoding of a decimal of this form, where the configuration has said `configured`. `None`: the values are no
    /// decimals, or nobody has said so.
    ///
    /// # Errors
    /// Fails if the form is that of no decimal, although the configuration says that the column is one.
    pub fn encoding(self, configured: Option<Encoding>) -> Result<Option<Encoding>, &'static str> {
        match (self, configured) {
            (Form::BadScale, _) => Err("the scale in the event's schema is no number"),
            (Form::Nested, _) => Err(NESTED_DECIMALS),
            (Form::Decimal(encoding), _) => Ok(Some(encoding)),
            (Form::Unknown, configured) => Ok(configured),
            (Form::Text, Some(_)) => Ok(Some(Encoding::Text)),
            (Form::Number, Some(_)) => Ok(Some(Encoding::Double)),
            (Form::Other, Some(_)) => Err("the event's schema says that it is no decimal"),
            (_, None) => Ok(None),
        }
    }

    /// Returns true if a value of this form is the base64 of a decimal's digits, and so no text of its own.
    pub fn is_encoded(self, value: Value<'_>) -> bool {
        matches!(self, Form::Decimal(_) | Form::BadScale) && matches!(value.kind(), Kind::Text(_))
    }

    /// The form that a field's schema describes.
    fn of(field: Value<'_>) -> Result<Self, JsonError> {
        if let Some(form) = Self::of_name(field)? {
            return Ok(form);
        }
        Ok(match text(field, b"type")? {
            Some(b"string") => Form::Text,
            Some(b"int8" | b"int16" | b"int32" | b"int64" | b"float" | b"double" | b"float32" | b"float64") => Form::Number,
            Some(b"array" | b"map" | b"struct") if has_decimals(field, DEPTH_MAX)? => Form::Nested,
            Some(_) => Form::Other,
            None => Form::Unknown,
        })
    }

    /// The form of a decimal, if the schema's name is that of one.
    pub(crate) fn of_name(field: Value<'_>) -> Result<Option<Self>, JsonError> {
        Ok(match text(field, b"name")? {
            Some(b"org.apache.kafka.connect.data.Decimal") => {
                Some(schema_scale(field)?.map_or(Form::BadScale, |scale| Form::Decimal(Encoding::Precise { scale })))
            }
            Some(b"io.debezium.data.VariableScaleDecimal") => Some(Form::Decimal(Encoding::VariableScale)),
            _ => None,
        })
    }
}

// === impl Event ===

impl<'a> Event<'a> {
    /// Returns the form of each wanted column, by its number. `None`: the event came without a schema, so that the
    /// configuration decides.
    ///
    /// # Errors
    /// Fails if the schema is not JSON.
    pub fn forms(&self, columns: &Columns) -> Result<Option<Vec<Form>>, EventError> {
        if self.schema.is_none() {
            return Ok(None);
        }
        let mut forms = vec![Form::Unknown; columns.numbers().len()];
        let Some(fields) = self.row_fields()? else { return Ok(Some(forms)) };
        let mut fields = fields.elements().ok_or(JsonError::Structure)?;
        while let Some(field) = fields.next()? {
            let Some(Kind::Text(name)) = field.member(b"field")?.map(Value::kind) else { continue };
            if let Some(column) = columns.find(name) {
                forms[column] = Form::of(field)?;
            }
        }
        Ok(Some(forms))
    }

    /// The form of one column, by the name as the event writes it.
    pub(crate) fn form(&self, column: &[u8]) -> Result<Form, JsonError> {
        let Some(fields) = self.row_fields()? else { return Ok(Form::Unknown) };
        find_in(fields, column)?.map_or(Ok(Form::Unknown), Form::of)
    }

    /// Returns true if the event came with a schema.
    pub(crate) fn has_schema(&self) -> bool {
        self.schema.is_some()
    }

    /// The default of each wanted column, by its number. No entries: the event came without a schema.
    pub(crate) fn defaults(&self, columns: &Columns) -> Result<Vec<Option<Value<'a>>>, JsonError> {
        let mut defaults = Vec::new();
        for row in ROWS {
            let Some(fields) = self.fields(row)? else { continue };
            defaults.resize(columns.numbers().len(), None);
            let mut fields = fields.elements().ok_or(JsonError::Structure)?;
            while let Some(field) = fields.next()? {
                let Some(Kind::Text(name)) = field.member(b"field")?.map(Value::kind) else { continue };
                if let Some(column) = columns.find(name) {
                    defaults[column] = field.member(b"default")?.or(defaults[column]);
                }
            }
        }
        Ok(defaults)
    }

    /// The default of one column, by the name as the event writes it.
    pub(crate) fn default_of(&self, column: &[u8]) -> Result<Option<Value<'a>>, JsonError> {
        for row in ROWS {
            let field = self.fields(row)?.map(|fields| find_in(fields, column)).transpose()?.flatten();
            if let Some(default) = field.map(|field| field.member(b"default")).transpose()?.flatten() {
                return Ok(Some(default));
            }
        }
        Ok(None)
    }

    /// The schemas of the columns of the row `after`.
    fn row_fields(&self) -> Result<Option<Value<'a>>, JsonError> {
        self.fields(b"after")
    }

    /// The schemas of the columns of one of the two rows; a flat row has one schema.
    fn fields(&self, row: &[u8]) -> Result<Option<Value<'a>>, JsonError> {
        let Some(schema) = self.schema else { return Ok(None) };
        let row = if self.is_flat {
            Some(schema)
        } else {
            schema.member(b"fields")?.map(|fields| find_in(fields, row)).transpose()?.flatten()
        };
        row.map(|row| row.member(b"fields")).transpose().map(Option::flatten)
    }
}

/// A member that is a text.
fn text<'a>(field: Value<'a>, name: &[u8]) -> Result<Option<&'a [u8]>, JsonError> {
    Ok(match field.member(name)?.map(Value::kind) {
        Some(Kind::Text(text)) => Some(text),
        _ => None,
    })
}

/// The field of this name among the fields of a struct's schema.
fn find_in<'a>(fields: Value<'a>, wanted: &[u8]) -> Result<Option<Value<'a>>, JsonError> {
    let mut fields = fields.elements().ok_or(JsonError::Structure)?;
    while let Some(field) = fields.next()? {
        if matches!(field.member(b"field")?.map(Value::kind), Some(Kind::Text(name)) if name == wanted) {
            return Ok(Some(field));
        }
    }
    Ok(None)
}

/// Returns true if the parts of a list, a map or a struct are decimals, or have some.
fn has_decimals(schema: Value<'_>, levels: u32) -> Result<bool, JsonError> {
    let is_decimal = |part: Value<'_>| {
        let form = Form::of_name(part)?;
        Ok::<_, JsonError>(form.is_some() || (levels > 0 && has_decimals(part, levels - 1)?))
    };
    for part in [b"items".as_slice(), b"keys", b"values"] {
        if let Some(part) = schema.member(part)?
            && is_decimal(part)?
        {
            return Ok(true);
        }
    }
    let Some(mut fields) = schema.member(b"fields")?.and_then(Value::elements) else { return Ok(false) };
    while let Some(field) = fields.next()? {
        if is_decimal(field)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A field's scale. Kafka Connect writes it as a text.
fn schema_scale(field: Value<'_>) -> Result<Option<i32>, JsonError> {
    let Some(parameters) = field.member(b"parameters")? else { return Ok(None) };
    Ok(match parameters.member(b"scale")?.map(Value::kind) {
        Some(Kind::Text(scale) | Kind::Number(scale)) => str::from_utf8(scale).ok().and_then(|scale| scale.parse().ok()),
        _ => None,
    })
}
