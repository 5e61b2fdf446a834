//! A web shop's orders and the change events that Debezium would write of them, made up from a seed.
//!
//! A seed gives the same events each time, byte for byte. Beside each event stands the expected output of `field-strip`
//! ([`ChangeEvent::expected`]). It comes from the order that the generator had in mind and never from the event, so
//! that tests may compare the two.
//!
//! ```
//! use sandbar_shop::{Generator, partition_for};
//!
//! for event in Generator::new(7).take(3) {
//!     let partition = partition_for(&event.key, 4);
//!     println!("{partition} {}", String::from_utf8_lossy(&event.key));
//! }
//! ```
//!
//! Values have 0.9 to 1.2 KB; those of updates up to 2 KB, because the table is under REPLICA IDENTITY FULL and they
//! carry the row twice. Plain orders have 600 B.
//!
//! | module | |
//! |---|---|
//! | `order` | an order, and how one comes about |
//! | `change` | a change of an order |
//! | `generator` | the life of the orders |
//! | `debezium` | events as bytes |
//! | `oracle` | the expected outputs of field-strip |
//! | `sql` | the same as statements, for a database that Debezium captures |
//! | `plain` | orders without an envelope, for benchmarks |
//! | `murmur2` | the partition of a key, as Java clients compute it |
//! | `random`, `time` | numbers and dates without a clock |

#![forbid(unsafe_code)]

mod change;
mod debezium;
mod generator;
mod murmur2;
mod oracle;
mod order;
mod plain;
mod random;
mod sql;
mod time;

pub use debezium::Format;
pub use generator::{ChangeEvent, Generator};
pub use murmur2::{murmur2, partition_for};
pub use oracle::ExpectedOutput;
pub use plain::{PlainOrder, PlainOrders};
pub use sql::{Kind, Statement, Statements};
