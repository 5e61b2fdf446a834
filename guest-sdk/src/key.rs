//! Keys of stores and tables as bytes whose order is the keys' own.

use crate::{Error, Result};
use std::borrow::Cow;

/// A type that can be the key of a [`Store`](crate::Store) or a [`Table`](crate::Table).
///
/// | type | bytes |
/// |---|---|
/// | `str`, `String` | its UTF-8: so a store's key can be the key of a Kafka record, and be asked for by name |
/// | `[u8]`, `Vec<u8>` | itself |
/// | `u8` to `u128` | big-endian |
/// | `i8` to `i128` | big-endian, the sign bit turned over, so that -1 comes before 0 |
/// | pairs and triples of these | one after the other; texts and bytes that are not the last have each zero byte followed by 0xFF, and end with 0x00 0x01 |
///
/// The order of the bytes is the order of the keys. [`Store::scan`](crate::Store::scan) follows it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the key of a store",
    note = "use `str`, `String`, `[u8]`, `Vec<u8>`, an integer, or a pair or triple of these"
)]
pub trait Key {
    /// The type that a scan returns: `String` for `str`, `Vec<u8>` for `[u8]`, for others the type itself.
    type Owned;

    /// The bytes.
    fn to_bytes(&self) -> Cow<'_, [u8]>;

    /// The key of these bytes.
    ///
    /// # Errors
    /// Fails if the bytes are no such key: the store was written with keys of another type.
    fn from_bytes(bytes: &[u8]) -> Result<Self::Owned>;

    /// Appends the bytes of this part of a key; other parts follow.
    fn write_part(&self, out: &mut Vec<u8>);

    /// Reads one part that [`Key::write_part`] has written, and returns the bytes after it.
    ///
    /// # Errors
    /// Fails like [`Key::from_bytes`].
    fn read_part(bytes: &[u8]) -> Result<(Self::Owned, &[u8])>;
}

/// The escape for a zero byte in a text that is not the last part, and the end of such a text. The end sorts first.
const ZERO: [u8; 2] = [0x00, 0xFF];
const END: [u8; 2] = [0x00, 0x01];

fn other_type(bytes: &[u8]) -> Error {
    Error::new(format_args!("the store has the key {bytes:?}, which was written as one of another type"))
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        match byte {
            0 => out.extend(ZERO),
            byte => out.push(byte),
        }
    }
    out.extend(END);
}

fn read_bytes(bytes: &[u8]) -> Result<(Vec<u8>, &[u8])> {
    let mut read = Vec::new();
    let mut rest = bytes;
    loop {
        match rest {
            [0x00, 0x01, after @ ..] => return Ok((read, after)),
            [0x00, 0xFF, after @ ..] => {
                read.push(0);
                rest = after;
            }
            [0x00, ..] | [] => return Err(other_type(bytes)),
            [byte, after @ ..] => {
                read.push(*byte);
                rest = after;
            }
        }
    }
}

macro_rules! bytes_key {
    ($($type:ty as $owned:ty: $bytes:expr, $read:expr;)*) => {$(
        impl Key for $type {
            type Owned = $owned;

            fn to_bytes(&self) -> Cow<'_, [u8]> {
                let bytes: fn(&Self) -> &[u8] = $bytes;
                Cow::Borrowed(bytes(self))
            }

            fn from_bytes(bytes: &[u8]) -> Result<Self::Owned> {
                let read: fn(Vec<u8>) -> Option<$owned> = $read;
                read(bytes.to_vec()).ok_or_else(|| other_type(bytes))
            }

            fn write_part(&self, out: &mut Vec<u8>) {
                write_bytes(&self.to_bytes(), out);
            }

            fn read_part(bytes: &[u8]) -> Result<(Self::Owned, &[u8])> {
                let (part, rest) = read_bytes(bytes)?;
                Ok((Self::from_bytes(&part)?, rest))
            }
        }
    )*};
}

bytes_key! {
    str as String: |text| text.as_bytes(), |bytes| String::from_utf8(bytes).ok();
    String as String: |text| text.as_bytes(), |bytes| String::from_utf8(bytes).ok();
    [u8] as Vec<u8>: |bytes| bytes, Some;
    Vec<u8> as Vec<u8>: |bytes| bytes, Some;
}

macro_rules! integer_key {
    ($($type:ty, $turned:expr;)*) => {$(
        impl Key for $type {
            type Owned = $type;

            fn to_bytes(&self) -> Cow<'_, [u8]> {
                Cow::Owned((*self ^ $turned).to_be_bytes().to_vec())
            }

            fn from_bytes(bytes: &[u8]) -> Result<$type> {
                match bytes.try_into() {
                    Ok(whole) => Ok(<$type>::from_be_bytes(whole) ^ $turned),
                    Err(_) => Err(other_type(bytes)),
                }
            }

            fn write_part(&self, out: &mut Vec<u8>) {
                out.extend((*self ^ $turned).to_be_bytes());
            }

            fn read_part(bytes: &[u8]) -> Result<($type, &[u8])> {
                match bytes.split_at_checked(size_of::<$type>()) {
                    Some((part, rest)) => Ok((Self::from_bytes(part)?, rest)),
                    None => Err(other_type(bytes)),
                }
            }
        }
    )*};
}

integer_key! {
    u8, 0; u16, 0; u32, 0; u64, 0; u128, 0;
    i8, i8::MIN; i16, i16::MIN; i32, i32::MIN; i64, i64::MIN; i128, i128::MIN;
}

impl<A: Key, B: Key> Key for (A, B) {
    type Owned = (A::Owned, B::Owned);

    fn to_bytes(&self) -> Cow<'_, [u8]> {
        let mut bytes = Vec::new();
        self.0.write_part(&mut bytes);
        bytes.extend_from_slice(&self.1.to_bytes());
        Cow::Owned(bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self::Owned> {
        let (first, rest) = A::read_part(bytes)?;
        Ok((first, B::from_bytes(rest)?))
    }

    fn write_part(&self, out: &mut Vec<u8>) {
        self.0.write_part(out);
        self.1.write_part(out);
    }

    fn read_part(bytes: &[u8]) -> Result<(Self::Owned, &[u8])> {
        let (first, rest) = A::read_part(bytes)?;
        let (second, rest) = B::read_part(rest)?;
        Ok(((first, second), rest))
    }
}

impl<A: Key, B: Key, C: Key> Key for (A, B, C) {
    type Owned = (A::Owned, B::Owned, C::Owned);

    fn to_bytes(&self) -> Cow<'_, [u8]> {
        let mut bytes = Vec::new();
        self.0.write_part(&mut bytes);
        self.1.write_part(&mut bytes);
        bytes.extend_from_slice(&self.2.to_bytes());
        Cow::Owned(bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self::Owned> {
        let (first, rest) = A::read_part(bytes)?;
        let (second, rest) = B::read_part(rest)?;
        Ok((first, second, C::from_bytes(rest)?))
    }

    fn write_part(&self, out: &mut Vec<u8>) {
        self.0.write_part(out);
        self.1.write_part(out);
        self.2.write_part(out);
    }

    fn read_part(bytes: &[u8]) -> Result<(Self::Owned, &[u8])> {
        let (first, rest) = A::read_part(bytes)?;
        let (second, rest) = B::read_part(rest)?;
        let (third, rest) = C::read_part(rest)?;
        Ok(((first, second, third), rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;

    /// `keys` ascend, and so do their bytes; each is read back.
    #[track_caller]
    fn check<K: Key<Owned = K> + Ord + Debug>(keys: &[K]) {
        assert!(keys.is_sorted_by(|a, b| a < b), "the case itself: {keys:?}");
        let bytes: Vec<Vec<u8>> = keys.iter().map(|key| key.to_bytes().into_owned()).collect();
        assert!(bytes.is_sorted_by(|a, b| a < b), "{keys:?} as {bytes:?}");
        for (key, bytes) in keys.iter().zip(&bytes) {
            assert_eq!(&K::from_bytes(bytes).expect("its own bytes"), key);
        }
    }

    #[test]
    fn the_order_of_the_bytes_is_that_of_the_keys() {
        let text = |text: &str| text.to_owned();
        check(&["", "\0", "a", "a\0", "ab", "b", "é"].map(text));
        check(&[vec![], vec![0], vec![0, 0], vec![0, 1], vec![1], vec![255], vec![255, 0]]);
        check(&[0u64, 1, 255, 256, u64::MAX]);
        check(&[i32::MIN, -256, -1, 0, 1, i32::MAX]);
        check(&[i128::MIN, -1, 0, i128::MAX]);
        check(&[(-1i64, u8::MAX), (0, 0), (0, 1), (1, 0)]);
        let words = ["", "\0", "\0\0", "\0\u{1}", "a", "a\0", "a\0\u{1}", "a\u{1}", "ab", "b"].map(text);
        let pairs: Vec<_> = words.iter().flat_map(|a| words.iter().map(|b| (a.clone(), b.clone()))).collect();
        check(&pairs);
        let with_number: Vec<_> = words.iter().flat_map(|a| [0u16, 255, 65535].map(|b| (a.clone(), b))).collect();
        check(&with_number);
        let triples: Vec<_> = words.iter().flat_map(|a| words.iter().map(|b| (a.clone(), b.clone(), -1i8))).collect();
        check(&triples);
        let nested: Vec<_> = pairs.iter().map(|pair| (pair.clone(), 7u8)).collect();
        check(&nested);
    }

    #[test]
    fn a_texts_key_is_its_bytes() {
        assert_eq!(&*"tea".to_bytes(), b"tea");
        assert_eq!(&*7u32.to_bytes(), [0, 0, 0, 7]);
        assert_eq!(&*(-1i16).to_bytes(), [0x7F, 0xFF]);
    }

    #[test]
    fn a_key_of_another_type_is_refused() {
        assert!(u64::from_bytes(b"tea").is_err());
        assert!(str::from_bytes(&[0xFF]).is_err());
        assert!(<(String, u8)>::from_bytes(b"tea").is_err());
        assert!(<(u64, u8)>::from_bytes(b"tea").is_err());
    }
}
