//! The rows of a table, by what their keys say. The host and the harness of `sandbar-sdk` have them from here, so that a
//! look-up finds in a test the row that it finds on a host.
//!
//! | module | |
//! |---|---|
//! | `key` | the canonical form of a key |
//! | `json` | reads and writes the JSON of a key |
//! | `decimal` | decimals that come encoded, as the numbers that they are |
//! | `number` | the canonical form of a number |
//! | `rows` | the last value of each key |

#![forbid(unsafe_code)]

mod decimal;
mod json;
mod key;
mod number;
mod rows;

pub use key::{KEY_BYTES_MAX, canonical};
pub use rows::{Respelled, Rows};
