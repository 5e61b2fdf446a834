//! Topics as people look at them: lists, new topics, pages of records over all partitions, and records from JSON.
//!
//! ```text
//! api: routes of `sandbar dev` --> topics --> Log (embedded)
//! cli: --brokers --------------> topics --> Log (Kafka)
//! ```
//!
//! Everything here blocks.

mod checks;
mod error;
mod list;
pub mod read;
mod write;

pub use checks::refuse_internal;
pub use error::TopicError;
pub use list::{create, find_before, list, outline, view};
pub use write::append;
