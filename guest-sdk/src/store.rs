//! Keyed state.

use crate::host::{self, StoreHandle};
use crate::key::Key;
use crate::value::read_json;
use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::ser::{Formatter, Serializer};
use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};
use std::{fmt, io};

/// State that outlives a record: entries by key, kept by the host and in a changelog topic.
///
/// A transform has one of each of its stores for every partition number of its inputs, and sees the one of its record's
/// partition. So count by the key by which the topic is partitioned. To count by another key, send the records to a
/// topic that is keyed by it first.
///
/// The writes of a record are kept together with its messages, exactly once: a record that fails leaves neither.
///
/// [`Key`] describes the keys. Values are JSON, so that the changelog can be read. They are read as [`Json`](crate::Json)
/// reads them.
///
/// ```
/// use sandbar_sdk::prelude::*;
///
/// #[derive(Deserialize, Serialize)]
/// struct Level {
///     pieces: i64,
/// }
///
/// /// Lowers the stock of a product by each quantity that is sold.
/// #[transform(stores = ["levels"])]
/// fn sell(sold: Record<'_, Json<i64>>) -> Result<Message<'_>> {
///     let levels = Store::<str, Level>::open("levels")?;
///     let product = sold.key_as::<&str>()?;
///     let before = levels.get(product)?.map_or(0, |level| level.pieces);
///     let level = Level { pieces: before - *sold.value };
///     levels.put(product, &level)?;
///     sold.forward().with_json(&level)
/// }
/// # use sandbar_sdk::testing::{Harness, Input};
/// # fn main() {
/// # let sold = |n: &str| Input::text(n).key("tea");
/// # let outcome = Harness::<sell>::new(()).run([sold("3"), sold("-1")]);
/// # assert_eq!(outcome.messages[1].text(), r#"{"pieces":-2}"#);
/// # }
/// ```
pub struct Store<K: ?Sized, V> {
    name: &'static str,
    handle: StoreHandle,
    types: PhantomData<fn(&K, V)>,
}

/// An entry of [`Store::scan_each`].
pub(crate) struct Scanned<K, V> {
    /// The bytes of the key.
    pub key: Vec<u8>,
    /// The entry, or the reason why it cannot be read.
    pub entry: Result<(K, V)>,
}

/// Keys of a [`Store::scan`]: `..`, `from..`, `from..to`, `from..=to`, `..to`, `..=to`, of references to keys.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no range of this store's keys",
    note = "ranges are of references, as in `\"a\"..\"b\"` or `&1..&9`; `..` is all keys"
)]
pub trait KeyRange<K: ?Sized> {
    /// The bytes of the first key, and those at which the range ends, itself excluded.
    fn to_bytes(&self) -> (Vec<u8>, Option<Vec<u8>>);
}

/// Writes JSON, and notes that it has a null: serde_json writes one for a float that is NaN or infinite, too.
struct NullWatch<'a>(&'a Cell<bool>);

/// Most entries of one page of a scan.
const SCAN_MAX: usize = 4096;
/// Bytes of keys and values after which a page of a scan ends.
const SCAN_BYTES_MAX: usize = 1 << 20;

// === impl Store ===

impl<K: Key + ?Sized, V: Serialize + DeserializeOwned> Store<K, V> {
    /// The store of this name. It costs little: call it where you need it.
    ///
    /// # Errors
    /// Fails if `#[transform(stores = [..])]` does not name the store.
    pub fn open(name: &str) -> Result<Self> {
        let (name, handle) = host::open_store(name)?;
        Ok(Store { name, handle, types: PhantomData })
    }

    /// The value of `key`, if there is one.
    ///
    /// # Errors
    /// Fails if the value is no `V`: an earlier revision has written it, for example.
    pub fn get(&self, key: &K) -> Result<Option<V>> {
        let key = key.to_bytes();
        self.handle.get(&key).map(|value| self.read(&key, &value)).transpose()
    }

    /// Sets the value of `key`.
    ///
    /// Beyond the store's limit (`max_bytes` of the spec) the call traps: the record fails, and so does every other
    /// until there is room.
    ///
    /// JSON has no NaN and no infinity: such a float becomes a null. An `Option<f64>` is read back as `None`; an `f64`
    /// could never be read again, so that it is an error.
    ///
    /// # Errors
    /// Fails if `V` refuses to be serialised, or refuses the null that was written for it.
    pub fn put(&self, key: &K, value: &V) -> Result<()> {
        let value = write(value).map_err(|error| self.error(error))?;
        self.handle.put(&key.to_bytes(), &value);
        Ok(())
    }

    /// Removes `key`, if it is there.
    ///
    /// # Errors
    /// The method never fails today.
    pub fn delete(&self, key: &K) -> Result<()> {
        self.handle.delete(&key.to_bytes());
        Ok(())
    }

    /// Replaces the value of `key` by the result of `change`, and returns that. `None` deletes the entry.
    ///
    /// # Errors
    /// Fails like [`Store::get`] and [`Store::put`].
    pub fn update(&self, key: &K, change: impl FnOnce(Option<V>) -> Option<V>) -> Result<Option<V>> {
        let value = change(self.get(key)?);
        match &value {
            Some(value) => self.put(key, value)?,
            None => self.delete(key)?,
        }
        Ok(value)
    }

    /// Returns at most `limit` entries of these keys, in the order of their bytes, with the transform's own writes
    /// among them.
    ///
    /// ```
    /// # use sandbar_sdk::prelude::*;
    /// # fn example() -> Result<()> {
    /// let levels = Store::<str, i64>::open("levels")?;
    /// let teas = levels.scan("tea-".."tea.", 100)?;
    /// let sales = Store::<(u64, u32), i64>::open("sales")?;
    /// let of_product_7 = sales.scan(&(7, 0)..=&(7, u32::MAX), 100)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Fails if a key is no `K`, or a value no `V`.
    pub fn scan(&self, keys: impl KeyRange<K>, limit: usize) -> Result<Vec<(K::Owned, V)>> {
        let (start, end) = keys.to_bytes();
        let mut found = Vec::new();
        self.walk(start, end.as_deref(), limit, |key, value| {
            found.push(self.entry(&key, &value)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// Returns at most `limit` entries from the key of these bytes on, also those that cannot be read.
    pub(crate) fn scan_each(&self, start: Vec<u8>, limit: usize) -> Vec<Scanned<K::Owned, V>> {
        let mut found = Vec::new();
        let walked = self.walk(start, None, limit, |key, value| {
            let entry = self.entry(&key, &value);
            found.push(Scanned { key, entry });
            Ok(())
        });
        debug_assert!(walked.is_ok(), "no entry ends the walk");
        found
    }

    /// Gives at most `limit` entries to `each`, page by page, in the order of their keys.
    fn walk(
        &self,
        mut start: Vec<u8>,
        end: Option<&[u8]>,
        mut limit: usize,
        mut each: impl FnMut(Vec<u8>, Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        while limit > 0 {
            let wanted = limit.min(SCAN_MAX);
            let page = self.handle.scan(&start, end, wanted as u32);
            if let Some((last, _)) = page.last() {
                start = after(last);
            }
            let bytes: usize = page.iter().map(|(key, value)| key.len() + value.len()).sum();
            let is_last = page.len() < wanted && bytes < SCAN_BYTES_MAX;
            limit -= page.len();
            for (key, value) in page {
                each(key, value)?;
            }
            if is_last {
                break;
            }
        }
        Ok(())
    }

    fn entry(&self, key: &[u8], value: &[u8]) -> Result<(K::Owned, V)> {
        Ok((K::from_bytes(key).map_err(|error| self.error(error))?, self.read(key, value)?))
    }

    fn read(&self, key: &[u8], value: &[u8]) -> Result<V> {
        let key = || String::from_utf8_lossy(key);
        read_json(value).map_err(|error| self.error(format_args!("the value of {:?}: {error}", key())))
    }

    fn error(&self, error: impl fmt::Display) -> Error {
        Error::new(format_args!("store {:?}: {error}", self.name))
    }
}

impl<K: ?Sized, V> Clone for Store<K, V> {
    fn clone(&self) -> Self {
        Store { name: self.name, handle: self.handle.clone(), types: PhantomData }
    }
}

impl<K: ?Sized, V> fmt::Debug for Store<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.name).finish()
    }
}

// === impl NullWatch ===

impl Formatter for NullWatch<'_> {
    fn write_null<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.set(true);
        writer.write_all(b"null")
    }
}

/// Writes a value as JSON. Reads it back if it has a null, since only the type tells a null from a lost float.
fn write<V: Serialize + DeserializeOwned>(value: &V) -> Result<Vec<u8>> {
    let has_null = Cell::new(false);
    let mut json = Vec::with_capacity(128);
    value.serialize(&mut Serializer::with_formatter(&mut json, NullWatch(&has_null)))?;
    if has_null.get()
        && let Err(error) = read_json::<V>(&json)
    {
        let lost = "the value could not be read again (NaN and infinity are null in JSON)";
        return Err(Error::new(format_args!("{lost}: {error}")));
    }
    Ok(json)
}

// === impl KeyRange ===

fn bytes<K: Key + ?Sized>(key: &K) -> Vec<u8> {
    key.to_bytes().into_owned()
}

/// The least bytes that come after these.
fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

impl<K: Key + ?Sized> KeyRange<K> for RangeFull {
    fn to_bytes(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        (Vec::new(), None)
    }
}

impl<K: Key + ?Sized> KeyRange<K> for RangeFrom<&K> {
    fn to_bytes(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        (bytes(self.start), None)
    }
}

impl<K: Key + ?Sized> KeyRange<K> for Range<&K> {
    fn to_bytes(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        (bytes(self.start), Some(bytes(self.end)))
    }
}

impl<K: Key + ?Sized> KeyRange<K> for RangeInclusive<&K> {
    fn to_bytes(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        (bytes(*self.start()), Some(after(&bytes(*self.end()))))
    }
}

impl<K: Key + ?Sized> KeyRange<K> for RangeTo<&K> {
    fn to_bytes(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        (Vec::new(), Some(bytes(self.end)))
    }
}

impl<K: Key + ?Sized> KeyRange<K> for RangeToInclusive<&K> {
    fn to_bytes(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        (Vec::new(), Some(after(&bytes(self.end))))
    }
}
