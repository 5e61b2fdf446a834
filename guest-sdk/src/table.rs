//! Look-ups.

use crate::host::{self, TableHandle};
use crate::key::Key;
use crate::value::FromValue;
use crate::{Error, Result};
use std::fmt;
use std::marker::PhantomData;

/// A look-up: a compacted topic that every host holds whole, with the last value of each key, for all partitions.
///
/// A JSON key is found by what it says: `{"product_id":7}` finds the row of `{"product_id": 7}`, of another order of
/// columns, and of the same key with Kafka Connect's schema around it. Any other key is found byte for byte. The value is
/// read as a record's value is: `Table<str, Json<Product>>`, or `Table<[u8], Vec<u8>>` for the bytes.
///
/// The transform starts when its tables have caught up. After that they follow their topics at their own pace, so that
/// a look-up returns the value that the host has read so far.
pub struct Table<K: ?Sized, V> {
    name: &'static str,
    handle: TableHandle,
    types: PhantomData<fn(&K) -> V>,
}

// === impl Table ===

impl<K: Key + ?Sized, V: for<'a> FromValue<'a>> Table<K, V> {
    /// The table of this name. It costs little: call it where you need it.
    ///
    /// # Errors
    /// Fails if `#[transform(tables = [..])]` does not name the table.
    pub fn open(name: &str) -> Result<Self> {
        let (name, handle) = host::open_table(name)?;
        Ok(Table { name, handle, types: PhantomData })
    }

    /// The value of `key`, if there is one that is not null.
    ///
    /// # Errors
    /// Fails if the value is no `V`.
    pub fn get(&self, key: &K) -> Result<Option<V>> {
        let key = key.to_bytes();
        let Some(value) = self.handle.get(&key) else { return Ok(None) };
        V::from_nullable(Some(&value)).map_err(|error| {
            let name = self.name;
            let key = String::from_utf8_lossy(&key);
            Error::new(format_args!("table {name:?}: the value of {key:?}: {error}"))
        })
    }
}

impl<K: ?Sized, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        Table { name: self.name, handle: self.handle.clone(), types: PhantomData }
    }
}

impl<K: ?Sized, V> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Table").field(&self.name).finish()
    }
}
