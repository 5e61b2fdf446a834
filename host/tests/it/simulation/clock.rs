//! Virtual time: it stands still until somebody waits or works.

use std::cell::Cell;

use sandbar::model::units::Timestamp;

thread_local! {
    static NOW: Cell<i64> = const { Cell::new(0) };
}

pub fn now() -> Timestamp {
    Timestamp(NOW.get())
}

pub fn set(ms: i64) {
    NOW.set(ms);
}

pub fn advance(ms: i64) {
    NOW.set(NOW.get() + ms);
}
