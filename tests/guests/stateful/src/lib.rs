//! One module with the store `sums` that behaves as its config says, `{"mode": "..."}`, and as its records' values say.
//!
//! The module speaks the raw state of the contract. Each write to an entry shows in an output, so that outputs prove
//! the contents of the store. Each mode has a test in `host/tests/it/guest/stateful.rs`.

mod fold;
mod ticks;

use std::cell::RefCell;

use sandbar_sdk::Instance;
use sandbar_sdk::bindings::exports::sandbar::transform::transform::Guest;
use sandbar_sdk::bindings::sandbar::transform::state::Store;
use sandbar_sdk::bindings::sandbar::transform::types::{Batch, Output, Setup};
use serde::Deserialize;

/// The behaviour of the module.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    /// Keeps a count and a sum for each key, and puts both out. See [`fold`].
    Fold,
    /// Puts `bytes` under the key of each record.
    Fat,
    /// Opens a store that no spec declares.
    Undeclared,
    /// Reads its store in `init`.
    Early,
    /// Counts like `fold`; its tick writes, then panics.
    TickPanic,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    mode: Mode,
    /// The bytes of an entry: all of them in mode `fat`, beside the numbers in mode `fold`.
    #[serde(default)]
    bytes: usize,
}

/// The exports.
pub struct Stateful;

/// The instance under way.
struct ActiveInstance {
    mode: Mode,
    fold: Instance<fold::Fold>,
}

thread_local! {
    static RUNNING: RefCell<Option<ActiveInstance>> = const { RefCell::new(None) };
    static SUMS: RefCell<Option<Store>> = const { RefCell::new(None) };
}

/// The store, which `init` has opened.
fn with_sums<T>(access: impl FnOnce(&Store) -> T) -> T {
    SUMS.with_borrow(|sums| access(sums.as_ref().expect("init opens it")))
}

impl Guest for Stateful {
    fn init(setup: Setup) -> Result<(), String> {
        sandbar_sdk::log::log_panics();
        let config: Config = serde_json::from_str(&setup.config).map_err(|error| format!("config: {error}"))?;
        let name = if config.mode == Mode::Undeclared { "no-such-store" } else { "sums" };
        SUMS.set(Some(Store::open(name)?));
        if config.mode == Mode::Early {
            with_sums(|sums| sums.get(b"key"));
        }
        let fold = Instance::new(setup)?;
        RUNNING.set(Some(ActiveInstance { mode: config.mode, fold }));
        Ok(())
    }

    fn process(batch: Batch) -> Result<Output, String> {
        RUNNING.with_borrow_mut(|running| running.as_mut().ok_or("`process` before `init`")?.fold.process(&batch))
    }
}

#[cfg(target_arch = "wasm32")]
sandbar_sdk::bindings::export!(Stateful);
