//! JSON by serde, without the arrays that serde takes for structs. Numbers, texts and words are serde_json's.

use super::RowFault;
use crate::decimal::{Decimal, PRECISE, TYPE, is_variable_scale};
use crate::envelope::name_of;
use crate::json::text::unescape;
use crate::json::{Elements, Kind, Members, Value};
use serde::de::value::{BorrowedStrDeserializer, StringDeserializer};
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::de::SliceRead;

/// A value within a row, and its depth in it.
#[derive(Clone, Copy)]
pub(super) struct Plain<'a>(Value<'a>, usize);

struct PlainMembers<'a> {
    members: Members<'a>,
    value: Option<Value<'a>>,
    depth: usize,
}

struct PlainElements<'a> {
    elements: Elements<'a>,
    depth: usize,
}

/// A variant of an enum, in an object of its name and its content.
struct Variant<'a> {
    name: &'a [u8],
    content: Plain<'a>,
}

/// The depth that serde_json allows, too: a type that holds itself is read recursively.
const DEPTH_MAX: usize = 128;

/// Returns true for the types of serde_json that read a value as it is written.
pub(super) fn is_raw(name: &str) -> bool {
    name.starts_with("$serde_json::private::")
}

/// Gives the name of a member, its escapes resolved.
pub(super) fn name_of_member<'de, S: DeserializeSeed<'de>>(name: &'de [u8], seed: S) -> Result<S::Value, RowFault> {
    if !name.contains(&b'\\') {
        let name = str::from_utf8(name).map_err(|_| RowFault("a name is not UTF-8".to_owned()))?;
        return seed.deserialize(BorrowedStrDeserializer::new(name));
    }
    let mut plain = Vec::new();
    unescape(name, &mut plain)?;
    let plain = String::from_utf8(plain).map_err(|_| RowFault("a name is not UTF-8".to_owned()))?;
    seed.deserialize(StringDeserializer::new(plain))
}

// === impl Plain ===

impl<'de> Plain<'de> {
    pub(super) fn new(value: Value<'de>) -> Self {
        Plain(value, 0)
    }

    /// A value within this one.
    fn deeper(depth: usize, value: Value<'de>) -> Result<Self, RowFault> {
        if depth >= DEPTH_MAX {
            Err(RowFault("arrays and objects are nested too deep".to_owned()))
        } else {
            Ok(Plain(value, depth + 1))
        }
    }

    /// Lets serde_json read the whole value.
    fn by_serde_json<T>(
        self,
        read: impl FnOnce(&mut serde_json::Deserializer<SliceRead<'de>>) -> Result<T, serde_json::Error>,
    ) -> Result<T, RowFault> {
        let mut deserializer = serde_json::Deserializer::from_slice(self.0.text());
        let value = read(&mut deserializer)?;
        deserializer.end()?;
        Ok(value)
    }

    fn decimal<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowFault> {
        match self.0.kind() {
            Kind::Object if is_variable_scale(self.0) => {
                let decimal = Decimal::from_variable_scale(self.0);
                let decimal = decimal.map_err(|error| RowFault(format!("{:?} {error}", self.0)))?;
                visitor.visit_bytes(decimal.to_string().as_bytes())
            }
            Kind::Number(digits) => visitor.visit_bytes(digits),
            Kind::Text(_) => self.deserialize_any(visitor),
            _ => Err(RowFault(format!("{} is no decimal", name_of(self.0)))),
        }
    }
}

impl<'de> Deserializer<'de> for Plain<'de> {
    type Error = RowFault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowFault> {
        if let Some(members) = self.0.members() {
            let mut access = PlainMembers { members, value: None, depth: self.1 };
            let value = visitor.visit_map(&mut access)?;
            return if access.members.next()?.is_none() { Ok(value) } else { Err(RowFault("too many members".to_owned())) };
        }
        if let Some(elements) = self.0.elements() {
            let mut access = PlainElements { elements, depth: self.1 };
            let value = visitor.visit_seq(&mut access)?;
            return if access.elements.next()?.is_none() {
                Ok(value)
            } else {
                Err(RowFault("too many elements".to_owned()))
            };
        }
        self.by_serde_json(|deserializer| deserializer.deserialize_any(visitor))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowFault> {
        self.0.check()?;
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowFault> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, RowFault> {
        if name == TYPE || name == PRECISE {
            return self.decimal(visitor);
        }
        if is_raw(name) {
            return self.by_serde_json(|deserializer| deserializer.deserialize_newtype_struct(name, visitor));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, RowFault> {
        match self.0.kind() {
            Kind::Array => Err(RowFault(format!("a JSON array, where the type {name} is a JSON object"))),
            Kind::Object => self.deserialize_any(visitor),
            _ => self.by_serde_json(|deserializer| deserializer.deserialize_struct(name, fields, visitor)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, RowFault> {
        let Some(mut members) = self.0.members() else {
            return self.by_serde_json(|deserializer| deserializer.deserialize_enum(name, variants, visitor));
        };
        match (members.next()?, members.next()?) {
            (Some((name, content)), None) => visitor.visit_enum(Variant { name, content: Plain::deeper(self.1, content)? }),
            _ => Err(RowFault(format!("no object of one member, which the enum {name} is"))),
        }
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowFault> {
        self.by_serde_json(|deserializer| deserializer.deserialize_i128(visitor))
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowFault> {
        self.by_serde_json(|deserializer| deserializer.deserialize_u128(visitor))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct
        map identifier
    }
}

// === impl PlainMembers ===

impl<'de> MapAccess<'de> for &mut PlainMembers<'de> {
    type Error = RowFault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, RowFault> {
        let Some((name, value)) = self.members.next()? else { return Ok(None) };
        self.value = Some(value);
        name_of_member(name, seed).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, RowFault> {
        let value = self.value.take().ok_or_else(|| RowFault("a value is read before its name".to_owned()))?;
        seed.deserialize(Plain::deeper(self.depth, value)?)
    }
}

// === impl PlainElements ===

impl<'de> SeqAccess<'de> for &mut PlainElements<'de> {
    type Error = RowFault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, RowFault> {
        let Some(element) = self.elements.next()? else { return Ok(None) };
        seed.deserialize(Plain::deeper(self.depth, element)?).map(Some)
    }
}

// === impl Variant ===

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = RowFault;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), RowFault> {
        Ok((name_of_member(self.name, seed)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = RowFault;

    fn unit_variant(self) -> Result<(), RowFault> {
        if self.content.0.is_null() {
            Ok(())
        } else {
            Err(RowFault("a variant has a content that its type has not".to_owned()))
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, RowFault> {
        seed.deserialize(self.content)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, RowFault> {
        self.content.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, RowFault> {
        self.content.deserialize_struct("of the variant", &[], visitor)
    }
}
