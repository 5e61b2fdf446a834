//! Stores and tables of a module: the host's, by their handles. Each is opened once and kept for the instance's life,
//! so that to open one again is a look into a short list.

use crate::bindings::sandbar::transform::state::{Entry, Store};
use crate::bindings::sandbar::transform::tables::Table;
use std::cell::RefCell;

#[derive(Clone, Copy)]
pub(crate) struct StoreHandle(&'static Store);

#[derive(Clone, Copy)]
pub(crate) struct TableHandle(&'static Table);

/// The open stores and tables, by name.
type Opened<T> = RefCell<Vec<(String, &'static T)>>;

thread_local! {
    static STORES: Opened<Store> = const { RefCell::new(Vec::new()) };
    static TABLES: Opened<Table> = const { RefCell::new(Vec::new()) };
}

fn opened<T>(known: &Opened<T>, name: &str, open: fn(&str) -> Result<T, String>) -> Result<&'static T, String> {
    let found = known.borrow().iter().find(|(known, _)| known == name).map(|&(_, handle)| handle);
    match found {
        Some(handle) => Ok(handle),
        None => {
            // Never closed: an instance ends as a whole.
            let handle: &'static T = Box::leak(Box::new(open(name)?));
            known.borrow_mut().push((name.to_owned(), handle));
            Ok(handle)
        }
    }
}

// === impl StoreHandle ===

impl StoreHandle {
    pub(crate) fn open(name: &str) -> Result<Self, String> {
        STORES.with(|known| opened(known, name, Store::open)).map(StoreHandle)
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key)
    }

    pub(crate) fn put(&self, key: &[u8], value: &[u8]) {
        self.0.put(key, value);
    }

    pub(crate) fn delete(&self, key: &[u8]) {
        self.0.delete(key);
    }

    pub(crate) fn scan(&self, start: &[u8], end: Option<&[u8]>, limit: u32) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.0.scan(start, end, limit).into_iter().map(|Entry { key, value }| (key, value)).collect()
    }
}

// === impl TableHandle ===

impl TableHandle {
    pub(crate) fn open(name: &str) -> Result<Self, String> {
        TABLES.with(|known| opened(known, name, Table::open)).map(TableHandle)
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key)
    }
}
