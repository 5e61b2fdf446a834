//! The place in a store at which the next tick goes on.

use crate::key::Key;
use crate::{Error, Result, Store, log};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Borrow;
use std::fmt;

/// A cursor over the entries of a store: each call takes the page after the last one, and begins again after the last page.
/// So the work of a tick has a limit, and each entry has its turn.
///
/// Its place is the one entry of a store of its own: `next`, the key at which the next page begins, or `next_bytes`, the bytes
/// of a key that cannot be read. Like every write, it is undone if the tick fails.
///
/// An entry that cannot be read is passed over, and logged as a warning: an earlier revision may have written it.
///
/// ```
/// use sandbar_sdk::prelude::*;
///
/// #[transform(stores = ["levels", "recheck"], tick = recheck)]
/// fn sell(sold: Record<'_, Json<i64>>) -> Result<()> {
///     let levels = Store::<str, i64>::open("levels")?;
///     levels.update(sold.key_as()?, |level| Some(level.unwrap_or(0) - *sold.value))?;
///     Ok(())
/// }
///
/// /// Sends all levels again, two in each tick.
/// fn recheck(_: Tick, out: &mut Output) -> Result<()> {
///     let levels = Store::<str, i64>::open("levels")?;
///     for (product, level) in Cursor::<str>::open("recheck")?.next_page(&levels, 2)? {
///         out.send_json(Message::new().key(product), &level)?;
///     }
///     Ok(())
/// }
/// # use sandbar_sdk::testing::{Harness, Input};
/// # fn main() {
/// # let mut sell = Harness::<sell>::new(());
/// # sell.run(["cup", "pot", "tea"].map(|product| Input::text("1").key(product)));
/// # let counts: Vec<usize> = (0..4).map(|now_ms| sell.tick(now_ms).messages.len()).collect();
/// # assert_eq!(counts, [2, 1, 2, 1]);
/// # }
/// ```
pub struct Cursor<K: Key + ?Sized> {
    /// The store of its place, where that is `next`.
    keys: Store<str, K::Owned>,
    /// The store of its place, where that is `next_bytes`: the same store by another type.
    bytes: Store<str, Vec<u8>>,
}

/// The place of a cursor.
struct Place {
    /// The bytes of the key at which the next page begins; none for the first entry.
    start: Vec<u8>,
    /// The entry that holds it.
    entry: Option<&'static str>,
}

/// The key of the cursor's one entry.
const NEXT: &str = "next";
/// The key in its place where the next entry's own key is no `K`.
const NEXT_BYTES: &str = "next_bytes";

// === impl Cursor ===

impl<K: Key + ?Sized> Cursor<K>
where
    K::Owned: Borrow<K> + Serialize + DeserializeOwned,
{
    /// The cursor whose place is kept in the store of this name.
    ///
    /// # Errors
    /// Fails like [`Store::open`].
    pub fn open(name: &str) -> Result<Self> {
        Ok(Cursor { keys: Store::open(name)?, bytes: Store::open(name)? })
    }

    /// Returns the next entries of the store in the order of their keys, and moves on: `limit` entries, or as many as are
    /// left before the end. A limit of 0 counts as 1. Entries that cannot be read count, and are left out.
    ///
    /// # Errors
    /// Fails like [`Store::put`].
    pub fn next_page<V: Serialize + DeserializeOwned>(
        &self,
        entries: &Store<K, V>,
        limit: usize,
    ) -> Result<Vec<(K::Owned, V)>> {
        let limit = limit.max(1);
        let place = self.place();
        // With the entry after the page, at which the next one begins.
        let mut page = entries.scan_each(place.start, limit.saturating_add(1));
        let next = if page.len() > limit { page.pop() } else { None };
        self.go_on_at(next.as_ref().map(|next| next.key.as_slice()), place.entry)?;
        let mut read = Vec::new();
        for scanned in page {
            match scanned.entry {
                Ok(entry) => read.push(entry),
                Err(error) => log::warn!("an entry is passed over: {error}"),
            }
        }
        Ok(read)
    }

    fn place(&self) -> Place {
        match self.keys.get(NEXT) {
            Ok(Some(next)) => {
                let start = <K::Owned as Borrow<K>>::borrow(&next).to_bytes().into_owned();
                Place { start, entry: Some(NEXT) }
            }
            Ok(None) => match self.bytes.get(NEXT_BYTES) {
                Ok(Some(start)) => Place { start, entry: Some(NEXT_BYTES) },
                Ok(None) => Place { start: Vec::new(), entry: None },
                Err(error) => Place::lost(NEXT_BYTES, &error),
            },
            Err(error) => Place::lost(NEXT, &error),
        }
    }

    /// Stores the place; `None`: the next page begins with the first entry. `before` is the entry of the place until now: to
    /// delete one that is not there would be a change, too.
    fn go_on_at(&self, next: Option<&[u8]>, before: Option<&'static str>) -> Result<()> {
        let entry = match next.map(|next| (next, K::from_bytes(next))) {
            None => None,
            Some((_, Ok(key))) => {
                self.keys.put(NEXT, &key)?;
                Some(NEXT)
            }
            Some((next, Err(_))) => {
                self.bytes.put(NEXT_BYTES, &next.to_vec())?;
                Some(NEXT_BYTES)
            }
        };
        match before {
            Some(before) if entry != Some(before) => self.bytes.delete(before),
            _ => Ok(()),
        }
    }
}

// === impl Place ===

impl Place {
    fn lost(entry: &'static str, error: &Error) -> Self {
        log::warn!("the cursor begins again: {error}");
        Place { start: Vec::new(), entry: Some(entry) }
    }
}

impl<K: Key + ?Sized> fmt::Debug for Cursor<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cursor").field(&self.keys).finish()
    }
}
