//! Stores and tables of a test, in memory. A [`Memory`] belongs to a harness. While one of its calls runs it is the
//! thread's current one, and the writes of the call can be taken back.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;

use sandbar_table::Rows;

pub(crate) type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// The stores of all partitions, and the tables.
#[derive(Default)]
pub(crate) struct Memory {
    /// The names of the stores that the spec declares.
    pub(crate) declared: Vec<String>,
    pub(crate) tables: BTreeMap<String, Rows>,
    /// The partition whose stores a call sees.
    pub(crate) partition: u32,
    stores: BTreeMap<(u32, String), Entries>,
    /// The entries before each write since the last [`Memory::keep`].
    undo: Vec<Before>,
}

/// An entry before it was written; `None`: there was none.
struct Before {
    partition: u32,
    store: String,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

/// The entries that one page of a scan returns at most, as on a host.
const SCAN_MAX: usize = 4096;

thread_local! {
    static CURRENT: RefCell<Option<Rc<RefCell<Memory>>>> = const { RefCell::new(None) };
}

/// Runs `call` with this memory as the current one.
pub(crate) fn within<R>(memory: &Rc<RefCell<Memory>>, call: impl FnOnce() -> R) -> R {
    /// Makes the previous memory the current one again, also when `call` panics.
    struct Restore(Option<Rc<RefCell<Memory>>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let _restore = Restore(CURRENT.replace(Some(memory.clone())));
    call()
}

fn current() -> Result<Rc<RefCell<Memory>>, String> {
    CURRENT.with_borrow(Clone::clone).ok_or_else(|| {
        "there are stores and tables only while a transform runs; in a test call the function in `Harness::within`"
            .to_owned()
    })
}

// === impl Memory ===

impl Memory {
    /// The entries of a store of the current partition.
    pub(crate) fn entries(&self, store: &str) -> Entries {
        self.stores.get(&(self.partition, store.to_owned())).cloned().unwrap_or_default()
    }

    /// Returns true if a write has happened since the last [`Memory::keep`].
    pub(crate) fn has_written(&self) -> bool {
        !self.undo.is_empty()
    }

    /// Keeps all writes.
    pub(crate) fn keep(&mut self) {
        self.undo.clear();
    }

    /// Takes back all writes since the last [`Memory::keep`].
    pub(crate) fn take_back(&mut self) {
        while let Some(Before { partition, store, key, value }) = self.undo.pop() {
            let entries = self.stores.entry((partition, store)).or_default();
            match value {
                Some(value) => entries.insert(key, value),
                None => entries.remove(&key),
            };
        }
    }

    fn write(&mut self, store: &str, key: &[u8], value: Option<&[u8]>) {
        let entries = self.stores.entry((self.partition, store.to_owned())).or_default();
        let before = match value {
            Some(value) => entries.insert(key.to_vec(), value.to_vec()),
            None => entries.remove(key),
        };
        let partition = self.partition;
        let store = store.to_owned();
        let key = key.to_vec();
        self.undo.push(Before { partition, store, key, value: before });
    }
}

// === Handles ===

#[derive(Clone)]
pub(crate) struct StoreHandle {
    name: String,
    memory: Rc<RefCell<Memory>>,
}

#[derive(Clone)]
pub(crate) struct TableHandle {
    name: String,
    memory: Rc<RefCell<Memory>>,
}

impl StoreHandle {
    pub(crate) fn open(name: &str) -> Result<Self, String> {
        let memory = current()?;
        let declared = memory.borrow().declared.iter().any(|declared| declared == name);
        if declared {
            Ok(StoreHandle { name: name.to_owned(), memory })
        } else {
            Err(format!("the spec declares no store {name:?} (state: {{{name}: {{}}}})"))
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let memory = self.memory.borrow();
        memory.stores.get(&(memory.partition, self.name.clone()))?.get(key).cloned()
    }

    pub(crate) fn put(&self, key: &[u8], value: &[u8]) {
        self.memory.borrow_mut().write(&self.name, key, Some(value));
    }

    pub(crate) fn delete(&self, key: &[u8]) {
        self.memory.borrow_mut().write(&self.name, key, None);
    }

    pub(crate) fn scan(&self, start: &[u8], end: Option<&[u8]>, limit: u32) -> Vec<(Vec<u8>, Vec<u8>)> {
        let memory = self.memory.borrow();
        let Some(entries) = memory.stores.get(&(memory.partition, self.name.clone())) else { return Vec::new() };
        if end.is_some_and(|end| end <= start) {
            return Vec::new();
        }
        let end = end.map_or(Bound::Unbounded, Bound::Excluded);
        let found = entries.range::<[u8], _>((Bound::Included(start), end));
        found.take(SCAN_MAX.min(limit as usize)).map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

impl TableHandle {
    pub(crate) fn open(name: &str) -> Result<Self, String> {
        let memory = current()?;
        let declared = memory.borrow().tables.contains_key(name);
        if declared {
            Ok(TableHandle { name: name.to_owned(), memory })
        } else {
            Err(format!("the spec declares no table {name:?} (tables: {{{name}: TOPIC}})"))
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.memory.borrow().tables.get(&self.name)?.get(key).map(<[u8]>::to_vec)
    }
}
