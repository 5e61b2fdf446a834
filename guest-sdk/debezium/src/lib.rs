//! The common parts of transforms over Debezium's change events: reading an event in any of its shapes, the wanted
//! columns of a row, ids in keys, exact decimals. Nothing here knows a table.
//!
//! There are two ways in. [`Change<T>`] is a record's (or a table's) value with typed rows, by serde:
//!
//! ```
//! use sandbar_debezium::{Change, Op};
//! use sandbar_sdk::prelude::*;
//!
//! #[derive(Deserialize)]
//! struct Restock {
//!     quantity: i64,
//! }
//!
//! /// The table is under REPLICA IDENTITY FULL: `before` has the quantity.
//! #[transform]
//! fn count(restock: Record<'_, Change<Restock>>) -> Result<Message<'_>> {
//!     let quantity = |row: &Option<Restock>| row.as_ref().map_or(0, |row| row.quantity);
//!     let change = quantity(&restock.value.after) - quantity(&restock.value.before);
//!     restock.forward().with_json(&change)
//! }
//! # use sandbar_sdk::testing::{Harness, Input};
//! # fn main() {
//! # let event = r#"{"before":{"quantity":2},"after":{"quantity":5},"op":"u"}"#;
//! # assert_eq!(Harness::<count>::new(()).run([Input::text(event)]).messages[0].text(), "3");
//! # }
//! ```
//!
//! [`Event::read`] finds the rows in the text, [`Columns::pick`] the values in a row, and nothing else is parsed ([`json`]):
//! use them if the names of the columns are configuration, or if speed counts.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

/// The example of the README is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod columns;
pub mod condition;
pub mod decimal;
pub mod envelope;
mod filler;
pub mod id;
pub mod json;
pub mod key;
pub mod schema;
pub mod typed;
pub mod unavailable;

pub use columns::{Columns, CompleteRow, Row, RowError};
pub use condition::Condition;
pub use decimal::{Decimal, DecimalError, Encoding, Precise, Rounding};
pub use envelope::{Envelope, Event, EventError, Op};
pub use filler::FILLER_HINT;
pub use id::Id;
pub use key::{KeyColumns, KeyError, RowKey};
pub use schema::Form;
pub use typed::{Change, ChangeOf, Connector, Sent};
pub use unavailable::Placeholder;
