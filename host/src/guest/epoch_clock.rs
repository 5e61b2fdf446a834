//! The clock of an engine: it advances the epoch while a call of a guest runs, and rests otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

/// The time between two looks at the deadline of a running call: it is ended, or passes its processor on, at most this much
/// late. A look costs about 1 us.
const TICK: Duration = Duration::from_millis(5);

/// The running calls of an engine, and the thread that advances its epoch for them. Cloning shares it. Its thread ends with
/// the last of them. Fields are dropped in order: the thread is woken once the counter is gone.
#[derive(Clone)]
pub(super) struct EpochClock {
    running_calls: Arc<AtomicUsize>,
    thread: Arc<ClockThread>,
}

/// A call that runs. The clock ticks until the last of them is dropped.
#[must_use]
pub(super) struct RunningCall(Arc<AtomicUsize>);

struct ClockThread(Thread);

// === impl EpochClock ===

impl EpochClock {
    pub fn start(engine: &wasmtime::Engine) -> std::io::Result<Self> {
        let running_calls = Arc::new(AtomicUsize::new(0));
        let engine = engine.weak();
        let weak = Arc::downgrade(&running_calls);
        let work = move || {
            while let Some(running_calls) = weak.upgrade().map(|calls| calls.load(Ordering::SeqCst)) {
                if running_calls == 0 {
                    // A call that has begun since has left a token, so this returns at once.
                    thread::park();
                } else {
                    thread::sleep(TICK);
                    let Some(engine) = engine.upgrade() else { return };
                    engine.increment_epoch();
                }
            }
        };
        let thread = thread::Builder::new().name("epoch".into()).spawn(work)?.thread().clone();
        Ok(Self { running_calls, thread: Arc::new(ClockThread(thread)) })
    }

    pub fn begin_call(&self) -> RunningCall {
        if self.running_calls.fetch_add(1, Ordering::SeqCst) == 0 {
            self.thread.0.unpark();
        }
        RunningCall(self.running_calls.clone())
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for ClockThread {
    fn drop(&mut self) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use wasmtime::{Module, Store};

    use super::*;

    /// Runs a loop without an end until so many epochs have ended it.
    fn run_for_ever(engine: &wasmtime::Engine, epochs: u64) {
        let binary = wat::parse_str("(module (func (export \"f\") (loop (br 0))))").expect("valid text");
        let module = Module::new(engine, binary).expect("valid");
        let mut store = Store::new(engine, ());
        store.set_epoch_deadline(epochs);
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).expect("it starts");
        let function = instance.get_typed_func::<(), ()>(&mut store, "f").expect("it is there");
        function.call(&mut store, ()).expect_err("it does not end by itself");
    }

    #[test]
    fn it_ticks_for_each_call_after_a_rest() {
        let mut config = wasmtime::Config::new();
        config.epoch_interruption(true);
        let engine = wasmtime::Engine::new(&config).expect("an engine");
        let clock = EpochClock::start(&engine).expect("a thread");
        for rest_ms in [0, 20, 0] {
            thread::sleep(Duration::from_millis(rest_ms));
            let outer = clock.begin_call();
            drop(clock.begin_call());
            run_for_ever(&engine, 2);
            drop(outer);
        }
    }

    #[test]
    fn it_ends_with_its_last_call() {
        let clock = EpochClock::start(&wasmtime::Engine::default()).expect("a thread");
        let calls = Arc::downgrade(&clock.running_calls);
        let call = clock.begin_call();
        drop(clock);
        assert!(calls.upgrade().is_some(), "a call still runs");
        drop(call);
        // The thread holds the counter for the moment of a look.
        let started = Instant::now();
        while calls.upgrade().is_some() {
            assert!(started.elapsed() < Duration::from_secs(30), "it goes on");
            thread::yield_now();
        }
    }
}
