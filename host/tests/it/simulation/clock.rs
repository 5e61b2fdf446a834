//! Virtual time: it stands still until somebody waits or works. The wall clock may be set apart from it.

use std::cell::Cell;

use sandbar::model::clock::{Monotonic, Now};
use sandbar::model::units::Timestamp;

thread_local! {
    static NOW_MS: Cell<i64> = const { Cell::new(0) };
    /// The time by which the wall clock is ahead.
    static AHEAD_MS: Cell<i64> = const { Cell::new(0) };
    /// The sum of its steps back.
    static SET_BACK_MS: Cell<i64> = const { Cell::new(0) };
}

pub fn now() -> Now {
    Now { wall: wall(), mono: Monotonic::from_millis(ms() as u64) }
}

/// The wall clock.
pub fn wall() -> Timestamp {
    Timestamp(ms() + AHEAD_MS.get())
}

/// The true time, which nobody sets back.
pub fn ms() -> i64 {
    NOW_MS.get()
}

/// Begins at a time, with a wall clock that shows it.
pub fn start(ms: i64) {
    NOW_MS.set(ms);
    AHEAD_MS.set(0);
    SET_BACK_MS.set(0);
}

pub fn advance(ms: i64) {
    NOW_MS.set(NOW_MS.get() + ms);
}

/// Sets the wall clock forward, or back.
pub fn step_wall(ms: i64) {
    AHEAD_MS.set(AHEAD_MS.get() + ms);
    SET_BACK_MS.set(SET_BACK_MS.get() - ms.min(0));
}

/// The time by which the wall clock was set back in all.
pub fn set_back_ms() -> i64 {
    SET_BACK_MS.get()
}
