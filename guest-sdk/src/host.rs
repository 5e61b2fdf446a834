//! Stores and tables, behind the module's imports or in the memory of a test. Both sides of this seam have the same
//! names.

#[cfg(target_arch = "wasm32")]
mod imports;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod memory;

#[cfg(target_arch = "wasm32")]
pub(crate) use imports::{StoreHandle, TableHandle};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use memory::{StoreHandle, TableHandle};

use crate::{Error, Result, Transform};
use std::cell::Cell;

/// Names in an attribute.
type Names = &'static [&'static str];

thread_local! {
    /// The stores and tables of the transform that runs. Tests run several on one thread.
    static NAMES: Cell<(Names, Names)> = const { Cell::new((&[], &[])) };
}

/// Makes `T` the transform whose stores and tables can be opened.
pub(crate) fn enter<T: Transform>() {
    NAMES.set((T::STORES, T::TABLES));
}

/// Opens all stores and tables of `T`, so that one that the spec does not declare refuses the deployment, with the
/// host's words.
pub(crate) fn open_all<T: Transform>() -> Result<(), String> {
    enter::<T>();
    for &name in T::STORES {
        StoreHandle::open(name)?;
    }
    for &name in T::TABLES {
        TableHandle::open(name)?;
    }
    Ok(())
}

/// The store of this name, if the attribute names it.
pub(crate) fn open_store(name: &str) -> Result<(&'static str, StoreHandle)> {
    let (stores, _) = NAMES.get();
    let Some(name) = stores.iter().copied().find(|&known| known == name) else {
        return Err(Error::new(format_args!(
            "the transform opens the store {name:?}, which its attribute does not name: #[transform(stores = [{name:?}])]"
        )));
    };
    match StoreHandle::open(name) {
        Ok(handle) => Ok((name, handle)),
        Err(error) => Err(Error::new(error)),
    }
}

/// The table of this name, if the attribute names it.
pub(crate) fn open_table(name: &str) -> Result<(&'static str, TableHandle)> {
    let (_, tables) = NAMES.get();
    let Some(name) = tables.iter().copied().find(|&known| known == name) else {
        return Err(Error::new(format_args!(
            "the transform opens the table {name:?}, which its attribute does not name: #[transform(tables = [{name:?}])]"
        )));
    };
    match TableHandle::open(name) {
        Ok(handle) => Ok((name, handle)),
        Err(error) => Err(Error::new(error)),
    }
}
