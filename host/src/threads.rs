//! Room for threads, before a library starts them that does not survive a refusal.
//!
//! The system may refuse a thread at any time: a limit of processes, of a control group, or memory. librdkafka asserts that
//! a new client's coordinator gets its thread, and a failed assertion ends the process; a runtime that is built panics. So
//! the room is tried out first, and those who need it wait for each other.

use std::io;
use std::thread::{Builder, JoinHandle};

use parking_lot::Mutex;

const STACK_BYTES: usize = 64 << 10;

/// Calls `make`, which starts up to `count` threads, if the system has as many left.
pub fn with_room<T>(count: usize, make: impl FnOnce() -> T) -> io::Result<T> {
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock();
    try_out(count, |thread| thread.spawn(std::thread::park))?;
    Ok(make())
}

/// Starts `count` threads at a time, and ends them.
fn try_out(count: usize, mut spawn: impl FnMut(Builder) -> io::Result<JoinHandle<()>>) -> io::Result<()> {
    let mut threads = Vec::new();
    let mut refused = Ok(());
    while threads.len() < count && refused.is_ok() {
        match spawn(Builder::new().name("try-out".into()).stack_size(STACK_BYTES)) {
            Ok(thread) => threads.push(thread),
            Err(error) => refused = Err(io::Error::new(error.kind(), format!("the system has no threads left: {error}"))),
        }
    }
    for thread in threads {
        thread.thread().unpark();
        // The thread has nothing to do that could fail.
        let _ = thread.join();
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A system that has `left` threads.
    fn system(left: usize) -> impl FnMut(Builder) -> io::Result<JoinHandle<()>> {
        let mut given = 0;
        move |thread| {
            given += 1;
            if given > left { Err(io::ErrorKind::WouldBlock.into()) } else { thread.spawn(std::thread::park) }
        }
    }

    #[test]
    fn a_refusal_is_an_error_and_leaves_nothing() {
        for (count, left, fits) in [(0, 0, true), (3, 3, true), (3, 2, false), (3, 0, false)] {
            assert_eq!(try_out(count, system(left)).is_ok(), fits, "{count} of {left}");
        }
        let refused = try_out(1, system(0)).expect_err("none left").to_string();
        assert!(refused.starts_with("the system has no threads left"), "{refused}");
        assert_eq!(with_room(4, || 7).expect("there is room"), 7);
    }
}
