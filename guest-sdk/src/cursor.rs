//! The place in a store at which the next tick goes on.

use crate::key::Key;
use crate::{Result, Store};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Borrow;
use std::fmt;

/// A cursor over the entries of a store: each call takes the page after the last one, and begins again after the last page.
/// So the work of a tick has a limit, and each entry has its turn.
///
/// Its place is the one entry, `next`, of a store of its own: the key at which the next page begins. Like every write, it
/// is undone if the tick fails.
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
    place: Store<str, K::Owned>,
}

/// The key of the cursor's one entry.
const NEXT: &str = "next";

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
        Ok(Cursor { place: Store::open(name)? })
    }

    /// Returns the next entries of the store in the order of their keys, and moves on: `limit` entries, or as many as are
    /// left before the end. A limit of 0 counts as 1.
    ///
    /// # Errors
    /// Fails like [`Store::scan`] and [`Store::put`].
    pub fn next_page<V: Serialize + DeserializeOwned>(
        &self,
        entries: &Store<K, V>,
        limit: usize,
    ) -> Result<Vec<(K::Owned, V)>> {
        let limit = limit.max(1);
        let first = self.place.get(NEXT)?;
        // With the entry after the page, at which the next one begins.
        let mut page = match &first {
            Some(first) => entries.scan(<K::Owned as Borrow<K>>::borrow(first).., limit.saturating_add(1))?,
            None => entries.scan(.., limit.saturating_add(1))?,
        };
        let next = if page.len() > limit { page.pop() } else { None };
        match next {
            Some((key, _)) => self.place.put(NEXT, &key)?,
            None if first.is_some() => self.place.delete(NEXT)?,
            None => {}
        }
        Ok(page)
    }
}

impl<K: Key + ?Sized> fmt::Debug for Cursor<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cursor").field(&self.place).finish()
    }
}
