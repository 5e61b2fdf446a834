//! The types of a key or a value.

mod array;

use crate::{Error, Result};
use serde::Deserialize;
use std::ops::{Deref, DerefMut};

/// A type that a record's value (or key) can be read as.
///
/// | type | null | other |
/// |---|---|---|
/// | `Option<T>` | `None` | as `T` |
/// | `&[u8]`, `Vec<u8>` | an error | the bytes |
/// | `&str`, `String` | an error | the text; an error where it is no UTF-8 |
/// | [`Json<T>`] | an error | parsed; `T` may borrow from the record |
///
/// A [`Table`](crate::Table)'s values are read alike, as a type that borrows nothing.
///
/// An error fails the record, and it alone.
#[diagnostic::on_unimplemented(
    message = "a record's value cannot be read as `{Self}`",
    note = "use `&[u8]`, `&str`, `Json<T>` with `T: Deserialize`, or an `Option` of these"
)]
pub trait FromValue<'a>: Sized {
    /// Reads the bytes, which are `None` for null.
    ///
    /// # Errors
    /// Fails if the bytes are no such value.
    fn from_value(bytes: Option<&'a [u8]>) -> Result<Self>;

    /// Reads the bytes as an `Option<Self>`. A type has its own method if some of its bytes say null, too: a tombstone in
    /// a wrapper does.
    ///
    /// # Errors
    /// Fails if the bytes are neither null nor such a value.
    fn from_nullable(bytes: Option<&'a [u8]>) -> Result<Option<Self>> {
        bytes.map(|bytes| Self::from_value(Some(bytes))).transpose()
    }
}

impl<'a, T: FromValue<'a>> FromValue<'a> for Option<T> {
    fn from_value(bytes: Option<&'a [u8]>) -> Result<Self> {
        T::from_nullable(bytes)
    }
}

impl<'a> FromValue<'a> for &'a [u8] {
    fn from_value(bytes: Option<&'a [u8]>) -> Result<Self> {
        bytes.ok_or_else(|| Error::new("null, where the transform expects bytes"))
    }
}

impl<'a> FromValue<'a> for &'a str {
    fn from_value(bytes: Option<&'a [u8]>) -> Result<Self> {
        let bytes = bytes.ok_or_else(|| Error::new("null, where the transform expects text"))?;
        Ok(str::from_utf8(bytes)?)
    }
}

impl<'a> FromValue<'a> for Vec<u8> {
    fn from_value(bytes: Option<&'a [u8]>) -> Result<Self> {
        <&[u8]>::from_value(bytes).map(<[u8]>::to_vec)
    }
}

impl<'a> FromValue<'a> for String {
    fn from_value(bytes: Option<&'a [u8]>) -> Result<Self> {
        <&str>::from_value(bytes).map(str::to_owned)
    }
}

/// A value in JSON: `record.value.field` reads through it.
///
/// A struct is a JSON object: a value that is an array of its fields, which serde takes for one, is an error. Within the
/// value serde reads alone: a field or an element of a list that is a struct may be such an array.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(
    /// The parsed value.
    pub T,
);

/// Reads JSON; an array is no struct.
pub(crate) fn read_json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> serde_json::Result<T> {
    if bytes.trim_ascii_start().starts_with(b"[") { array::read(bytes) } else { serde_json::from_slice(bytes) }
}

// === impl Json ===

impl<'a, T: Deserialize<'a>> FromValue<'a> for Json<T> {
    fn from_value(bytes: Option<&'a [u8]>) -> Result<Self> {
        let bytes = bytes.ok_or_else(|| Error::new("null, where the transform expects JSON"))?;
        Ok(Json(read_json(bytes)?))
    }
}

impl<T> Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Json<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// serde_json reads each of these as a neighbour of it, by its fast way.
    #[test]
    fn floats_are_exact() {
        for exact in [97.45365320034685, 51.248178375505404] {
            let text = format!("[{exact}]");
            let read = Json::<Vec<f64>>::from_value(Some(text.as_bytes())).expect("a list of a number");
            assert_eq!(read.0, [exact]);
            let text = exact.to_string();
            assert_eq!(Json::<f64>::from_value(Some(text.as_bytes())).expect("a number").0, exact);
        }
    }
}
