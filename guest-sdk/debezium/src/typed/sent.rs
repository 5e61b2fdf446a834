//! A column whose value may be one that was not sent.

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// The newtype by which [`Sent`] asks for a column.
pub(crate) const SENT: &str = "$sandbar_debezium::Sent";

/// A column of a typed row that goes on without its value, if that was not sent and `before` does not have it: it is
/// what a store remembers, say. A column that may be null is a `Sent<Option<T>>`.
///
/// `before` of an Oracle table has no large objects either, so that rows of such a table need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent<T> {
    /// The value.
    Value(T),
    /// The change left the value as it was, and did not send it.
    NotSent,
}

struct SentVisitor<T>(PhantomData<T>);

// === impl Sent ===

impl<T> Sent<T> {
    /// The value, if it was sent.
    pub fn value(self) -> Option<T> {
        match self {
            Sent::Value(value) => Some(value),
            Sent::NotSent => None,
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Sent<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(SENT, SentVisitor(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for SentVisitor<T> {
    type Value = Sent<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Sent<T>, D::Error> {
        T::deserialize(deserializer).map(Sent::Value)
    }

    fn visit_unit<E: Error>(self) -> Result<Sent<T>, E> {
        Ok(Sent::NotSent)
    }
}
