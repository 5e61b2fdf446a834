//! Keeps the fields of change events that a service needs: the seed case is "the orders service does not need some of
//! the fields". See README.md for what it does; [`strip`](strip::strip) is the whole of it, this file connects it.
//!
//! Measured, in wasmtime with epoch interruption, ns of CPU a record (create of 1,070 B / update with `before` of 1,700 B),
//! seven columns found: this reader 1,310 / 1,590, serde_json (typed, RawValue) 2,725 / 3,860, sonic-rs 9,900 / 14,000
//! (unchecked iterators 2,790, and its getrandom does not build for the target without flags).

pub mod columns;
pub mod config;
pub mod decimal;
pub mod envelope;
pub mod items;
pub mod json;
pub mod strip;

use config::Config;
use sandbar_sdk::prelude::*;
use std::cell::RefCell;
use strip::{Action, Ignored, Scratch};

thread_local! {
    /// Kept from record to record for its memory only.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Sends what a change event means to a service, keyed by order.
#[transform]
pub fn field_strip(record: Record<'_, Option<&[u8]>>, config: &Config, out: &mut Output) -> Result<()> {
    SCRATCH.with_borrow_mut(|scratch| {
        let verdict = strip::strip(config, record.key(), record.value, scratch)?;
        if let Some(key) = verdict.moved_from {
            out.send(Message::new().key(key).tombstone())?;
        }
        match verdict.action {
            Action::Put(key) => out.send(Message::new().key(key).value(scratch.value.as_slice())),
            Action::Delete(key) => out.send(Message::new().key(key).tombstone()),
            Action::Ignore(why) => {
                log_ignored(why, record.offset());
                Ok(())
            }
        }
    })
}

fn log_ignored(why: Ignored, offset: i64) {
    match why {
        Ignored::Truncate => log::debug!(
            "offset {offset}: TRUNCATE is ignored, the orders stay: it names no keys, and Kafka can only delete by key"
        ),
        Ignored::ForeignTombstone => {
            log::debug!("offset {offset}: a tombstone whose key does not say which order it is for")
        }
        Ignored::Message | Ignored::DroppedAtOnce => {}
    }
}
