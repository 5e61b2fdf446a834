//! The tick: it is counted in the store, and the count is put out under the partition's number.

use sandbar_sdk::bindings::sandbar::transform::types::Output;

use crate::{Mode, RUNNING, Stateful, fold, with_sums};
use bindings::exports::sandbar::transform::ticks::{Guest, Moment};

mod bindings {
    wit_bindgen::generate!({
        path: "../../../guest-sdk/wit",
        world: "ticker",
        with: { "sandbar:transform/types@0.1.0": ::sandbar_sdk::bindings::sandbar::transform::types },
    });
}

impl Guest for Stateful {
    fn tick(at: Moment) -> Result<Output, String> {
        let ticks = with_sums(|sums| {
            let key = [fold::OWN, b"ticks"].concat();
            let before = sums.get(&key).map_or(0, |ticks| String::from_utf8_lossy(&ticks).parse().expect("its own"));
            let now = before + 1u64;
            sums.put(&key, now.to_string().as_bytes());
            now
        });
        let mode = RUNNING.with_borrow(|running| running.as_ref().map(|running| running.mode));
        assert_ne!(mode, Some(Mode::TickPanic), "this mode panics on every tick");
        let key = format!("tick-{}", at.partition);
        let value = ticks.to_string();
        let middle = key.len() as u32;
        let end = (key.len() + value.len()) as u32;
        Ok(Output {
            data: [key.into_bytes(), value.into_bytes()].concat(),
            targets: vec![0],
            sources: vec![0],
            timestamps: Vec::new(),
            keys: vec![0, middle],
            values: vec![middle, end],
            header_counts: Vec::new(),
            headers: Vec::new(),
            failures: Vec::new(),
        })
    }
}

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "generated: functions that the host calls by name")]
mod exported {
    use super::{Stateful, bindings};

    bindings::export!(Stateful with_types_in bindings);
}
