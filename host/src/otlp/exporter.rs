//! A thread that takes items from a queue and sends them in batches.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;

use crate::telemetry::metrics::SignalMetrics;

/// Items of one request at most, and the time for which the first of them waits for more.
const BATCH_MAX: usize = 512;
const BATCH_TIME: Duration = Duration::from_secs(1);

/// The thread that empties one queue.
pub(super) struct Exporter {
    is_stopping: Arc<AtomicBool>,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
}

/// The thread's own part.
struct Loop<T, E> {
    signal: &'static str,
    waiting: Receiver<T>,
    metrics: SignalMetrics,
    export: E,
    is_stopping: Arc<AtomicBool>,
    /// The last request failed: the log says so once.
    has_failed: bool,
}

// === impl Exporter ===

impl Exporter {
    pub fn start<T: Send + 'static>(
        signal: &'static str,
        waiting: Receiver<T>,
        metrics: SignalMetrics,
        export: impl Fn(Vec<T>) -> OTelSdkResult + Send + 'static,
    ) -> io::Result<Self> {
        let is_stopping = Arc::<AtomicBool>::default();
        let (end, ended) = mpsc::channel();
        let mut run = Loop { signal, waiting, metrics, export, is_stopping: is_stopping.clone(), has_failed: false };
        thread::Builder::new().name(format!("otlp-{signal}")).spawn(move || {
            // Nothing that this thread logs, or a library on it, is exported.
            let _suppressed = Context::enter_telemetry_suppressed_scope();
            run.run();
            drop::<mpsc::Sender<()>>(end);
        })?;
        Ok(Self { is_stopping, ended })
    }

    /// From now on the thread sends all waiting items without a pause, and then it ends.
    pub fn ask_to_stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    /// Waits until the thread has ended, for `time` at most.
    pub fn wait(&self, time: Duration) {
        let _ = self.ended.recv_timeout(time);
    }
}

// === impl Loop ===

impl<T, E: Fn(Vec<T>) -> OTelSdkResult> Loop<T, E> {
    fn run(&mut self) {
        loop {
            let is_last = self.is_stopping.load(Ordering::Acquire);
            let batch = self.next_batch();
            if !batch.is_empty() {
                self.send(batch);
            } else if is_last {
                return;
            }
        }
    }

    /// Waits for a full batch, or until the time of one has passed.
    fn next_batch(&self) -> Vec<T> {
        let mut batch = Vec::new();
        let ends = Instant::now() + BATCH_TIME;
        while batch.len() < BATCH_MAX {
            let left = if self.is_stopping.load(Ordering::Acquire) {
                Duration::ZERO
            } else {
                ends.saturating_duration_since(Instant::now())
            };
            match self.waiting.recv_timeout(left) {
                Ok(item) => batch.push(item),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        batch
    }

    fn send(&mut self, batch: Vec<T>) {
        let signal = self.signal;
        let count = batch.len() as u64;
        match (self.export)(batch) {
            Ok(()) => {
                self.metrics.exported.inc_by(count);
                if std::mem::take(&mut self.has_failed) {
                    tracing::info!(signal, "the OpenTelemetry collector takes telemetry again");
                }
            }
            Err(error) => {
                self.metrics.failed.inc_by(count);
                if !std::mem::replace(&mut self.has_failed, true) {
                    tracing::warn!(signal, %error, "the OpenTelemetry collector takes no telemetry: it is lost meanwhile");
                }
            }
        }
    }
}
