//! Rows by serde. Unlike serde_json's, this deserializer knows which values were not sent, gives a decimal the text and
//! the scale that it needs, and takes no array for a struct.

mod value;

use crate::RowError;
use crate::decimal::{Decimal, Encoding, PRECISE, TYPE};
use crate::envelope::{Event, name_of};
use crate::filler::may_be_filler;
use crate::json::text::unescape;
use crate::json::{JsonError, Kind, Members, Value};
use crate::schema::{Form, NESTED_DECIMALS};
use crate::typed::schema_texts::{self, SchemaTexts};
use crate::typed::sent::SENT;
use crate::unavailable::Placeholder;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use std::cell::Cell;
use std::fmt;
use value::{Plain, name_of_member};

/// A row, and the places where the values and the types are that it does not have itself.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub row: Value<'a>,
    /// The row `before`, for a row `after`.
    pub fallback: Option<Value<'a>>,
    pub event: &'a Event<'a>,
    pub placeholder: &'a Placeholder,
    /// Becomes true when the type reads a column.
    pub is_read: &'a Cell<bool>,
}

/// A column's value.
#[derive(Clone, Copy)]
struct Column<'a> {
    rows: Rows<'a>,
    /// The name, as the event writes it.
    name: &'a [u8],
    value: Value<'a>,
}

struct RowMembers<'a> {
    rows: Rows<'a>,
    members: Members<'a>,
    next: Option<(&'a [u8], Value<'a>)>,
}

/// The reason why a row is no `T`.
#[derive(Debug)]
pub(super) struct RowFault(String);

pub(super) fn read_row<T: DeserializeOwned>(rows: Rows<'_>) -> Result<T, RowFault> {
    let _texts = SchemaTexts::begin(rows.event.has_schema());
    T::deserialize(rows)
}

// === impl RowFault ===

impl fmt::Display for RowFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RowFault {}

impl serde::de::Error for RowFault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        RowFault(message.to_string())
    }
}

impl From<JsonError> for RowFault {
    fn from(error: JsonError) -> Self {
        RowFault(error.to_string())
    }
}

impl From<serde_json::Error> for RowFault {
    fn from(error: serde_json::Error) -> Self {
        RowFault(error.to_string())
    }
}

// === impl Rows ===

impl<'de> Deserializer<'de> for Rows<'de> {
    type Error = RowFault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowFault> {
        let Some(members) = self.row.members() else {
            return Err(RowFault(format!("the row is {}, and no JSON object", name_of(self.row))));
        };
        visitor.visit_map(RowMembers { rows: self, members, next: None })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowFault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, RowFault> {
        if value::is_raw(name) {
            return Plain::new(self.row).deserialize_newtype_struct(name, visitor);
        }
        visitor.visit_newtype_struct(self)
    }

    /// An object without any column of the type, and without an envelope, is no row of it for certain: with defaults for
    /// all columns it would be read as one.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, RowFault> {
        let row = self.deserialize_any(visitor)?;
        if self.event.is_flat && !fields.is_empty() && !self.is_read.get() {
            return Err(RowFault(format!("a flat row that has no column of the type {name}")));
        }
        Ok(row)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map enum identifier ignored_any
    }
}

// === impl RowMembers ===

impl<'de> MapAccess<'de> for RowMembers<'de> {
    type Error = RowFault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, RowFault> {
        self.next = self.members.next()?;
        self.next.map(|(name, _)| name_of_member(name, seed)).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, RowFault> {
        let (name, value) = self.next.take().ok_or_else(|| RowFault("a value is read before its name".to_owned()))?;
        let column = Column { rows: self.rows, name, value };
        seed.deserialize(column).map_err(|fault| column.named(fault))
    }
}

// === impl Column ===

impl<'a> Column<'a> {
    /// The value as it was sent, or as it was before.
    fn sent(self) -> Result<Value<'a>, RowFault> {
        self.find()?.ok_or_else(|| RowFault(RowError::Unavailable(self.plain_name()).to_string()))
    }

    /// Finds the value; `None` where it was not sent.
    fn find(self) -> Result<Option<Value<'a>>, RowFault> {
        let Rows { fallback, event, placeholder, is_read, .. } = self.rows;
        is_read.set(true);
        if !placeholder.is(self.value) {
            return Ok(Some(self.value));
        }
        let before = fallback.map(|row| row.member(self.name)).transpose()?.flatten();
        let Some(before) = before.filter(|value| !placeholder.is(*value)) else { return Ok(None) };
        let default = event.default_of(self.name)?;
        Ok(Some(before).filter(|value| !may_be_filler(*value, default)))
    }

    fn plain_name(self) -> String {
        let mut plain = Vec::new();
        match unescape(self.name, &mut plain) {
            Ok(()) => String::from_utf8_lossy(&plain).into_owned(),
            Err(_) => String::from_utf8_lossy(self.name).into_owned(),
        }
    }

    /// Says which column it is, where the message does not yet.
    fn named(self, fault: RowFault) -> RowFault {
        if fault.0.starts_with("column `") { fault } else { RowFault(format!("column `{}`: {fault}", self.plain_name())) }
    }

    /// The form of a decimal, where the schema says how it is written; `None`: the type of the field says it.
    fn encoding(self) -> Result<Option<Encoding>, RowFault> {
        match self.rows.event.form(self.name)? {
            Form::Decimal(encoding) => Ok(Some(encoding)),
            Form::Text => Ok(Some(Encoding::Text)),
            Form::Number => Ok(Some(Encoding::Double)),
            Form::BadScale => Err(RowFault("the scale in the event's schema is no number".to_owned())),
            Form::Unknown | Form::Nested | Form::Other => Ok(None),
        }
    }

    /// The number of a decimal, where the schema says how it is written.
    fn decimal(self, value: Value<'_>) -> Result<Option<Decimal>, RowFault> {
        let Some(encoding) = self.encoding()? else { return Ok(None) };
        let text = || String::from_utf8_lossy(value.text()).into_owned();
        encoding.read(value).map_err(|error| RowFault(format!("{} {error}", text())))
    }

    /// Notes a text that may go into serde's buffer, with its form by the schema.
    fn note_text(self, escaped: &[u8]) -> Result<(), RowFault> {
        if self.rows.event.has_schema() && schema_texts::is_noted(escaped) {
            let mut plain = Vec::new();
            unescape(escaped, &mut plain)?;
            schema_texts::note(String::from_utf8_lossy(&plain).into_owned(), self.encoding()?);
        }
        Ok(())
    }
}

impl<'de> Column<'de> {
    /// Reads the value. A type that serde buffers loses the column's schema: it gets the digits of an encoded decimal, as
    /// bytes, which only a decimal or a text can be read from.
    fn read<V: Visitor<'de>>(self, value: Value<'de>, visitor: V) -> Result<V::Value, RowFault> {
        let is_encoded = matches!(value.kind(), Kind::Text(_) | Kind::Object)
            && matches!(self.rows.event.form(self.name)?, Form::Decimal(_) | Form::BadScale);
        match if is_encoded { self.decimal(value)? } else { None } {
            Some(decimal) => visitor.visit_byte_buf(decimal.to_string().into_bytes()),
            None => self.plain()?.deserialize_any(visitor),
        }
    }

    /// The value, to be read without the schema. A list, a map or a struct is refused where the schema has decimals in it:
    /// each would be taken for another number, or for a text.
    fn plain(self) -> Result<Plain<'de>, RowFault> {
        let value = self.sent()?;
        let is_compound = matches!(value.kind(), Kind::Array | Kind::Object);
        if is_compound && self.rows.event.form(self.name)? == Form::Nested {
            return Err(RowFault(NESTED_DECIMALS.to_owned()));
        }
        Ok(Plain::new(value))
    }
}

impl<'de> Deserializer<'de> for Column<'de> {
    type Error = RowFault;

    /// Types that serde buffers ask for any value.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowFault> {
        let value = self.sent()?;
        if let Kind::Text(escaped) = value.kind() {
            self.note_text(escaped)?;
        }
        self.read(value, visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowFault> {
        self.read(self.sent()?, visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowFault> {
        self.read(self.sent()?, visitor)
    }

    /// A column that nobody reads may be anything, but it is JSON.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowFault> {
        self.value.check()?;
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowFault> {
        let value = self.sent()?;
        if value.is_null() { visitor.visit_none() } else { visitor.visit_some(Column { value, ..self }) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, RowFault> {
        if name == SENT {
            return match self.find()? {
                Some(value) => visitor.visit_newtype_struct(Column { value, ..self }),
                None => visitor.visit_unit(),
            };
        }
        let value = self.sent()?;
        if name == TYPE || name == PRECISE {
            return match self.decimal(value)? {
                Some(decimal) => visitor.visit_bytes(decimal.to_string().as_bytes()),
                None => Plain::new(value).deserialize_newtype_struct(name, visitor),
            };
        }
        if value::is_raw(name) {
            return Plain::new(value).deserialize_newtype_struct(name, visitor);
        }
        visitor.visit_newtype_struct(Column { value, ..self })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, RowFault> {
        self.plain()?.deserialize_struct(name, fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, RowFault> {
        self.plain()?.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowFault> {
        Plain::new(self.sent()?).deserialize_i128(visitor)
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowFault> {
        Plain::new(self.sent()?).deserialize_u128(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char bytes byte_buf unit unit_struct seq tuple tuple_struct map identifier
    }
}
