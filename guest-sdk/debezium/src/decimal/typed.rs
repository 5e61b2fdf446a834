//! Decimals in typed rows.
//!
//! serde has no numbers but floats and those of up to 128 bits. So a decimal asks for the number's text: a row of
//! [`Change`](crate::Change) knows the newtype of this name, and gives the text with the schema applied; serde_json gives
//! the text of a number to the newtype of its `RawValue`. Any other format gives whole numbers and texts, and no floats. One
//! of them is serde's own buffer (`flatten`, `untagged`, `tag`), whose texts have lost their column: [`schema_texts`] knows them.

use super::{Decimal, DecimalError};
use crate::typed::schema_texts;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::ops::Deref;

/// The newtype by which [`Decimal`] asks for a number.
pub(crate) const TYPE: &str = "$sandbar_debezium::Decimal";
/// The newtype by which [`Precise`] asks for a text that may be base64, unchanged.
pub(crate) const PRECISE: &str = "$sandbar_debezium::Precise";
const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// A decimal that comes as `decimal.handling.mode=precise` writes it: base64, with this scale where the event has no
/// schema to say it. It reads as the [`Decimal`] that it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Precise<const SCALE: i32>(
    /// The number.
    pub Decimal,
);

/// A number or a text, of which `T` says the meaning.
struct Number<T>(&'static str, T);

// === impl Decimal ===

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(TYPE, Number(TYPE, Decimal::parse as fn(&[u8]) -> _))
    }
}

// === impl Precise ===

impl<const SCALE: i32> Deref for Precise<SCALE> {
    type Target = Decimal;

    fn deref(&self) -> &Decimal {
        &self.0
    }
}

impl<const SCALE: i32> Serialize for Precise<SCALE> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, const SCALE: i32> Deserialize<'de> for Precise<SCALE> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read: fn(&[u8]) -> Result<Decimal, DecimalError> = |text| Decimal::from_base64(text, SCALE);
        deserializer.deserialize_newtype_struct(PRECISE, Number(PRECISE, read)).map(Precise)
    }
}

// === impl Number ===

impl<F: Fn(&[u8]) -> Result<Decimal, DecimalError>> Number<F> {
    fn read<E: serde::de::Error>(&self, text: &str) -> Result<Decimal, E> {
        (self.1)(text.as_bytes()).map_err(|error| E::custom(format_args!("{text:?} {error}")))
    }
}

impl<'de, F: Fn(&[u8]) -> Result<Decimal, DecimalError>> Visitor<'de> for Number<F> {
    type Value = Decimal;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a decimal")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Decimal, D::Error> {
        if self.0 == RAW_VALUE {
            return deserializer.deserialize_any(self);
        }
        deserializer.deserialize_newtype_struct(RAW_VALUE, Number(RAW_VALUE, self.1))
    }

    /// The raw text of serde_json: a map of one member.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Decimal, A::Error> {
        let Some((name, text)) = map.next_entry::<String, String>()? else {
            return Err(serde::de::Error::custom("an object is no decimal"));
        };
        if name != RAW_VALUE {
            return Err(serde::de::Error::custom("an object is no decimal"));
        }
        match text.as_bytes() {
            [b'"', ..] => {
                let plain: String = serde_json::from_str(&text).map_err(serde::de::Error::custom)?;
                self.read(&plain)
            }
            [b'-' | b'0'..=b'9', ..] => Decimal::parse(text.as_bytes()).map_err(serde::de::Error::custom),
            _ => Err(serde::de::Error::custom(format_args!("{text} is no decimal"))),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Decimal, E> {
        // A row gives its texts to the newtype of this crate; those of serde_json's come from a buffer.
        let encoding = if self.0 == RAW_VALUE { schema_texts::encoding_of(text).map_err(E::custom)? } else { None };
        match encoding {
            None => self.read(text),
            Some(encoding) => {
                encoding.read_text(text.as_bytes()).map_err(|error| E::custom(format_args!("{text:?} {error}")))
            }
        }
    }

    /// The digits of a number, as a row has read them by the schema.
    fn visit_bytes<E: serde::de::Error>(self, digits: &[u8]) -> Result<Decimal, E> {
        Decimal::parse(digits).map_err(|error| E::custom(format_args!("{} {error}", String::from_utf8_lossy(digits))))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Decimal, E> {
        Ok(Decimal::from(number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Decimal, E> {
        Ok(Decimal::from(number))
    }

    fn visit_i128<E: serde::de::Error>(self, number: i128) -> Result<Decimal, E> {
        Ok(Decimal::from(number))
    }
}
