//! Keeps the fields of change events that a service needs: the seed case is "the orders service does not need some of
//! the fields". README.md describes it; [`strip`](strip::strip) is the whole of it, this file connects it.
//! `sandbar-debezium` reads events, rows and decimals.
//!
//! Measured in wasmtime (simd128, epoch interruption, a busy machine: ratios of CPU time within one run), finding seven
//! columns of an event: this reader 0.4-0.5 of serde_json (typed, `RawValue`), sonic-rs 2.7-3.3, its unchecked iterators
//! 0.7; sonic-rs needs flags to build for the target at all, as its getrandom does not. The whole transform executes
//! 26,700 wasm instructions for a plain order of 600 B (a typed serde_json loop: 30,300), 32,300 for the shop's events
//! (51,200).

#![forbid(unsafe_code)]

pub mod config;
pub mod items;
pub mod strip;

use config::Config;
use sandbar_sdk::prelude::*;
use std::cell::RefCell;
use strip::{Action, IgnoreReason, Scratch};

thread_local! {
    /// Kept from record to record for its memory only.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Translates a change event for a service, keyed by order.
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

fn log_ignored(why: IgnoreReason, offset: i64) {
    match why {
        IgnoreReason::Truncate => log::debug!(
            "offset {offset}: TRUNCATE is ignored, the orders stay: it names no keys, and Kafka can only delete by key"
        ),
        IgnoreReason::ForeignTombstone => {
            log::debug!("offset {offset}: a tombstone whose key does not say which order it is for")
        }
        IgnoreReason::Message => {}
    }
}
