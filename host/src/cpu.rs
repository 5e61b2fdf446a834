//! The processors of a host, which its teams share by weight.
//!
//! A thread takes a processor before it runs guests, and gives it back when it has no more work, or when a team that has
//! had less asks for one: between two calls ([`is_wanted`]), or within a call, at a tick of the engine's clock
//! ([`pass_on`]). So there are never more running guests than processors, and a team that asks for little waits for a tick
//! at most, whatever the others do. ADR 17 compares this with the alternatives.
//!
//! ```text
//!   take ---> waiting ---> running ---> dropped
//!                ^            |
//!                +--pass_on---+
//! ```
//!
//! The time of a thread is the CPU time of all that it does for its team, not of its guest alone. Threads of libraries,
//! such as librdkafka's, are not counted.

mod fair_queue;

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use self::fair_queue::{FairQueue, Ticket};
use crate::model::names::TeamName;
use crate::system_clock;
use crate::telemetry::metrics::{CpuMetrics, TeamCpuMetrics};

/// The share of a team, relative to the weights of the others that want processors.
pub type Weights = Arc<dyn Fn(&TeamName) -> u32 + Send + Sync>;

/// The processors of a host. Cloning shares them.
#[derive(Clone)]
pub struct Processors {
    queue: Arc<Mutex<FairQueue>>,
    weights: Weights,
    metrics: CpuMetrics,
}

/// A team, as its threads use the processors.
struct Tenant {
    processors: Processors,
    team: TeamName,
    meter: TeamCpuMetrics,
}

/// The access of one thread to the processors, for one team.
pub struct CpuAccount {
    tenant: Arc<Tenant>,
    /// Its place in the queue, while it waits.
    ticket: Option<Ticket>,
}

/// A processor that this thread has, until it is dropped.
#[must_use]
pub struct Processor {
    /// A processor belongs to the thread that took it.
    _thread: PhantomData<*const ()>,
}

/// The use of a processor by this thread.
struct Use {
    tenant: Arc<Tenant>,
    /// False after the wait for its return was given up.
    has_processor: bool,
}

thread_local! {
    static USE: RefCell<Option<Use>> = const { RefCell::new(None) };
    /// The part of this thread's CPU time that was charged.
    static CHARGED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

// === impl Processors ===

impl Processors {
    /// `count` guests may run at once.
    pub fn new(count: usize, weights: Weights, metrics: CpuMetrics) -> Self {
        Self { queue: Arc::new(Mutex::new(FairQueue::new(count))), weights, metrics }
    }

    pub fn account(&self, team: &TeamName) -> CpuAccount {
        let tenant = Tenant { processors: self.clone(), team: team.clone(), meter: self.metrics.team(team) };
        CpuAccount { tenant: Arc::new(tenant), ticket: None }
    }

    /// Runs `work` on a processor of the team. Blocks until the team gets one.
    pub fn run<T>(&self, team: &TeamName, work: impl FnOnce() -> T) -> T {
        // The thread may have worked for others before.
        CHARGED.set(thread_time());
        let mut account = self.account(team);
        loop {
            if let Some(_processor) = account.take(Duration::from_secs(1)) {
                return work();
            }
        }
    }
}

// === impl Tenant ===

impl Tenant {
    /// Waits for a processor for the ticket, until `until`.
    fn wait(&self, ticket: Ticket, until: Instant) -> bool {
        let asked = Instant::now();
        self.queue().lock().await_turn(ticket);
        let is_granted = loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut queue = self.queue().lock();
            if queue.take(ticket) {
                break true;
            }
            if left.is_zero() {
                queue.step_aside(ticket);
                break false;
            }
            drop(queue);
            std::thread::park_timeout(left);
        };
        self.meter.waited(asked.elapsed());
        is_granted
    }

    /// Charges this thread's time since the last charge to the team.
    fn charge(&self) {
        let now = thread_time();
        let time = now.saturating_sub(CHARGED.replace(now));
        let weight = (self.processors.weights)(&self.team);
        self.queue().lock().charge(&self.team, time, weight);
        self.meter.used(time);
    }

    fn queue(&self) -> &Mutex<FairQueue> {
        &self.processors.queue
    }
}

// === impl CpuAccount ===

impl CpuAccount {
    /// Takes a processor. Waits up to `wait` for the team's turn; after that the thread keeps its place in the queue, and
    /// may ask again.
    pub fn take(&mut self, wait: Duration) -> Option<Processor> {
        let Self { tenant, ticket } = self;
        let place = *ticket.get_or_insert_with(|| tenant.queue().lock().enqueue(&tenant.team, false));
        if !tenant.wait(place, Instant::now() + wait) {
            return None;
        }
        *ticket = None;
        let other = USE.replace(Some(Use { tenant: tenant.clone(), has_processor: true }));
        assert!(other.is_none(), "a thread has one processor at a time");
        Some(Processor { _thread: PhantomData })
    }

    /// Returns true if the last [`CpuAccount::take`] was in vain.
    pub fn is_waiting(&self) -> bool {
        self.ticket.is_some()
    }
}

impl Drop for CpuAccount {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.tenant.queue().lock().leave(ticket);
        }
    }
}

// === impl Processor ===

impl Drop for Processor {
    fn drop(&mut self) {
        let Use { tenant, has_processor } = USE.take().expect("a thread that has a processor uses it");
        tenant.charge();
        if has_processor {
            tenant.queue().lock().give_back();
        }
    }
}

/// Returns the CPU time that this thread has had.
pub fn thread_time() -> Duration {
    system_clock::read(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Returns true if a team that has had less waits for the processor of this thread, or if the thread has lost it: then its
/// work ends here.
pub fn is_wanted() -> bool {
    USE.with_borrow(|current| {
        current.as_ref().is_some_and(|Use { tenant, has_processor }| {
            tenant.charge();
            !has_processor || tenant.queue().lock().is_outrun(&tenant.team)
        })
    })
}

/// Passes this thread's processor on, if another team has had less, and waits for its return until `until`. Does nothing
/// on a thread that takes none. Returns false if the time was over first: then the thread is without a processor, and must
/// end its work.
pub fn pass_on(until: Instant) -> bool {
    if !is_wanted() {
        return true;
    }
    USE.with_borrow_mut(|current| {
        let Some(Use { tenant, has_processor }) = current else { return true };
        // A processor that was lost is not given back once more.
        if !*has_processor {
            return false;
        }
        let ticket = {
            let mut queue = tenant.queue().lock();
            let ticket = queue.enqueue(&tenant.team, true);
            queue.give_back();
            ticket
        };
        *has_processor = tenant.wait(ticket, until);
        if !*has_processor {
            tenant.queue().lock().leave(ticket);
        }
        *has_processor
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn unweighted(count: usize) -> Processors {
        Processors::new(count, Arc::new(|_| 1), crate::telemetry::metrics::Metrics::new().cpu)
    }

    fn team(name: &str) -> TeamName {
        name.parse().expect("valid")
    }

    /// Spins on a processor, and passes it on each 2 ms, until `ends`; returns the CPU time.
    fn spin(processors: &Processors, name: &str, ends: &AtomicBool) -> Duration {
        let mut account = processors.account(&team(name));
        let began = thread_time();
        while !ends.load(Ordering::Relaxed) {
            let Some(_processor) = account.take(Duration::from_millis(50)) else { continue };
            let began = thread_time();
            while thread_time() - began < Duration::from_millis(20) && !ends.load(Ordering::Relaxed) {
                let tick = thread_time();
                while thread_time() - tick < Duration::from_millis(2) {}
                assert!(pass_on(Instant::now() + Duration::from_secs(60)));
            }
        }
        thread_time() - began
    }

    #[test]
    fn teams_get_processors_by_weight_whatever_their_number_of_threads() {
        let weights: Weights = Arc::new(|team| if team.as_str() == "b" { 3 } else { 1 });
        let metrics = crate::telemetry::metrics::Metrics::new();
        let processors = Processors::new(1, weights, metrics.cpu);
        let ends = AtomicBool::new(false);
        let [a, b] = std::thread::scope(|scope| {
            let all: Vec<_> = [("a", 6), ("b", 2)]
                .map(|(name, threads)| {
                    let spin = || spin(&processors, name, &ends);
                    (0..threads).map(|_| scope.spawn(spin)).collect::<Vec<_>>()
                })
                .into();
            std::thread::sleep(Duration::from_millis(800));
            ends.store(true, Ordering::Relaxed);
            let sums: Vec<Duration> =
                all.into_iter().map(|threads| threads.into_iter().map(|t| t.join().expect("no panic")).sum()).collect();
            [sums[0], sums[1]]
        });
        let ratio = b.as_secs_f64() / a.as_secs_f64();
        // The bench measures it; this is the direction.
        assert!(ratio > 2.0, "3:1 became {ratio:.2} ({b:?}, {a:?})");
        assert_eq!(processors.queue.lock().free(), 1, "all are given back");
    }

    #[test]
    fn a_wait_that_is_given_up_leaves_nothing() {
        let processors = unweighted(1);
        let mut first = processors.account(&team("a"));
        let held = first.take(Duration::ZERO);
        assert!(held.is_some());
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let mut account = processors.account(&team("b"));
                let is_given = account.take(Duration::from_millis(5)).is_some();
                (is_given, account.is_waiting())
            });
            assert_eq!(other.join().expect("no panic"), (false, true));
        });
        drop(held);
        let again = first.take(Duration::ZERO);
        assert!(again.is_some(), "the other one is gone");
        drop(again);
        assert!(pass_on(Instant::now()), "a thread without a processor has none to pass on");
    }

    #[test]
    fn a_processor_that_does_not_come_back_in_time_is_lost() {
        let processors = unweighted(1);
        let mut account = processors.account(&team("a"));
        let held = account.take(Duration::ZERO);
        let began = thread_time();
        while thread_time() - began < Duration::from_millis(3) {}
        let (taken, is_taken) = std::sync::mpsc::channel();
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        let all = &processors;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut account = all.account(&team("b"));
                let held = account.take(Duration::from_secs(60));
                taken.send(held.is_some()).expect("it waits");
                let _ = is_done.recv();
            });
            // The other thread needs a moment to ask.
            while pass_on(Instant::now() + Duration::from_millis(5)) {
                std::thread::yield_now();
            }
            assert_eq!(is_taken.recv(), Ok(true));
            let ends_at = Instant::now() + Duration::from_secs(60);
            assert!(is_wanted() && !pass_on(ends_at) && Instant::now() < ends_at, "it has none to pass on or to wait for");
            drop(held);
            assert_eq!(processors.queue.lock().free(), 0, "it is the other's");
            done.send(()).expect("it waits");
        });
        assert_eq!(processors.queue.lock().free(), 1);
    }
}
