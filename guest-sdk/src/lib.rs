//! Write transforms for Sandbar: a plain function from a record to messages, compiled to a sandboxed WebAssembly
//! component.
//!
//! This is a complete module. Its crate is a `cdylib` that depends on `sandbar-sdk` and `serde`:
//!
//! ```
//! use sandbar_sdk::prelude::*;
//!
//! /// The `config` of the spec.
//! #[derive(Deserialize)]
//! struct Config {
//!     minimum_cents: u64,
//! }
//!
//! #[derive(Deserialize)]
//! struct Order<'a> {
//!     id: u64,
//!     total_cents: u64,
//!     #[serde(borrow)]
//!     status: Cow<'a, str>,
//! }
//!
//! #[derive(Serialize)]
//! struct Slim {
//!     id: u64,
//!     total_cents: u64,
//! }
//!
//! /// Keeps the paid orders from some amount on, and of these the fields that billing needs.
//! #[transform]
//! fn slim(order: Record<'_, Json<Order<'_>>>, config: &Config) -> Result<Option<Message<'_>>> {
//!     let Order { id, total_cents, status } = &*order.value;
//!     if status != "paid" || *total_cents < config.minimum_cents {
//!         return Ok(None);
//!     }
//!     Ok(Some(order.forward().with_json(&Slim { id: *id, total_cents: *total_cents })?))
//! }
//! # use sandbar_sdk::testing::{Harness, Input, json};
//! # fn main() {
//! # let sent = Harness::<slim>::new(json!({"minimum_cents": 100}))
//! #     .run([Input::json(&json!({"id": 7, "total_cents": 250, "status": "paid", "note": "-"}))]);
//! # assert_eq!(sent.messages[0].json(), json!({"id": 7, "total_cents": 250}));
//! # }
//! ```
//!
//! State is kept in stores. This module counts the orders of each customer, and once a while drops those who came only
//! once:
//!
//! ```
//! use sandbar_sdk::prelude::*;
//!
//! #[derive(Deserialize, Serialize)]
//! struct Customer {
//!     orders: u64,
//!     last_ms: i64,
//! }
//!
//! /// Counts, and sends the count. The topic's key is the customer: a store belongs to a partition, so count by its key.
//! #[transform(stores = ["customers"], tick = forget)]
//! fn count(order: Record<'_>) -> Result<Message<'_>> {
//!     let customers = Store::<str, Customer>::open("customers")?;
//!     let last_ms = order.timestamp_ms().unwrap_or(order.now_ms());
//!     let customer = customers.update(order.key_as()?, |known| {
//!         Some(Customer { orders: known.map_or(0, |known| known.orders) + 1, last_ms })
//!     })?;
//!     order.forward().with_json(&customer)
//! }
//!
//! /// Forgets who has ordered only once, a day ago or more.
//! fn forget(tick: Tick) -> Result<()> {
//!     let customers = Store::<str, Customer>::open("customers")?;
//!     for (name, Customer { orders, last_ms }) in customers.scan(.., 1000)? {
//!         if orders == 1 && last_ms <= tick.now_ms() - 86_400_000 {
//!             customers.delete(&name)?;
//!         }
//!     }
//!     Ok(())
//! }
//! # use sandbar_sdk::testing::{Harness, Input, json};
//! # fn main() {
//! # let mut count = Harness::<count>::new(json!({}));
//! # let order = |key: &str| Input::text("order").key(key).timestamp(5);
//! # let outcome = count.run([order("ada"), order("bo"), order("ada")]);
//! # assert_eq!(outcome.messages[2].json(), json!({"orders": 2, "last_ms": 5}));
//! # count.tick(86_400_005);
//! # assert!(count.state("customers").keys().eq([b"ada"]));
//! # }
//! ```
//!
//! [`transform`](macro@transform) lists the signatures, [`testing`] shows how to test a transform without a host.
//!
//! A transform has no randomness, no network and no files. Its only clock is [`Record::now_ms`] and, in a tick,
//! [`Tick::now_ms`]; a [`Table`] answers with the rows that the host has read so far. One that uses none of the three is
//! deterministic: same configuration, same records, same messages. The host may replace an instance at any time, so that
//! a `static` is a cache at best. A value that must stay belongs into a [`Store`].

#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(test)]
extern crate self as sandbar_sdk;

pub mod bindings;
mod cursor;
mod definition;
mod error;
mod host;
mod instance;
mod key;
pub mod log;
mod message;
mod output;
mod record;
mod returned;
mod rows;
mod span;
mod store;
mod table;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod tick;
mod value;

pub use cursor::Cursor;
pub use definition::Transform;
pub use error::{Error, Result};
pub use instance::Instance;
pub use key::Key;
pub use message::{IntoBytes, Message};
pub use output::Output;
pub use record::Record;
pub use returned::Returned;
pub use rows::{Header, Headers};
pub use sandbar_sdk_macros::transform;
pub use store::{KeyRange, Store};
pub use table::Table;
pub use tick::{Tick, Ticks};
pub use value::{FromValue, Json};

/// The names that a transform needs: `use sandbar_sdk::prelude::*;`.
pub mod prelude {
    pub use crate::{Cursor, Error, Header, Json, Message, Output, Record, Result, Store, Table, Tick};
    pub use crate::{bail, ensure, log, transform};
    pub use serde::{Deserialize, Serialize};
    pub use std::borrow::Cow;
}

/// The examples of pages are compiled and run. (A copy of the SDK has no pages, and no doctests.)
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../docs/sdk.md")]
    struct Book;

    #[doc = include_str!("../../docs/state.md")]
    struct State;

    #[doc = include_str!("../../docs/tracing.md")]
    struct Tracing;

    #[doc = include_str!("../../README.md")]
    struct Readme;

    #[doc = include_str!("../README.md")]
    struct OwnReadme;
}

/// The names that the macro's expansion needs. They are not for people.
#[doc(hidden)]
pub mod __private {
    pub use crate::instance::{Exports, TickExports};
    pub use crate::tick::{TickFunction, call_tick};
    pub use serde::de::IgnoredAny;

    /// Does nothing.
    pub const fn used<T: crate::Transform>() {}
}
