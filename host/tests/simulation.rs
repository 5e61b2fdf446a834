//! The worker and its tasks under everything that can go wrong, in virtual time and from a seed.
//!
//! A broker in memory (`simulation/broker.rs`) has transactions, producer epochs and a consumer group; simulated
//! guests (`simulation/guests.rs`) trap, refuse and idle as their records say; a scheduler (`simulation/run.rs`) steps
//! the workers and makes calls fail, processes die or stall, partitions move, commits end unknown. What must hold is
//! checked at every commit as it becomes visible (`Broker::apply`): it has the outputs and dead letters of exactly the
//! records between the old and the new offset, in order; and at the end: all is out, once, and no lag is left.
//!
//! `SANDBAR_SIM_SEED=n` runs one seed, `SANDBAR_SIM_SEEDS=n` the first n. A failure names its seed.
//!
//! Whether this catches faults was tried with faults: each of the changes below, made in `host/src`, must fail within
//! the default seeds. Repeat it when the worker or the task changes.
//!
//! | file | change |
//! |---|---|
//! | worker/cycle.rs | `abort`: leave out the `seek` |
//! | worker/cycle.rs | `lose`: keep the tasks |
//! | worker/cycle.rs | `round`: forget a rebalance when its transaction fails |
//! | worker/cycle.rs | `finish`: do not call `Task::committed`; or call it before `commit`; or commit one offset too many |
//! | worker/cycle.rs | `apply`: give partitions up before `finish` |
//! | worker/cycle.rs | `process`: begin with the first partition every time |
//! | task.rs | `rewind`: keep `pending`; keep `expected`; keep `end_seen`; keep `next_offset` |
//! | task.rs | `offer`: do not drop repeats; do not drop records of a paused partition |
//! | task.rs | `conclude`: do not leave out the outputs of failed rows; go on past a pausing row |
//! | task.rs | `call`: keep the instance after an error |
//! | task.rs | `step_row`: begin anew at row 0 after a retry |

#[path = "simulation/broker.rs"]
mod broker;
#[path = "simulation/clock.rs"]
mod clock;
#[path = "simulation/guests.rs"]
mod guests;
#[path = "simulation/rng.rs"]
mod rng;
#[path = "simulation/run.rs"]
mod run;
#[path = "simulation/session.rs"]
mod session;

use run::Simulation;

const SEEDS: u64 = 300;

/// Says which seed it was when a run panics.
struct Naming(u64);

impl Drop for Naming {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with SANDBAR_SIM_SEED={}", self.0);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|raw| raw.parse().expect("a number"))
}

#[test]
fn seeds() {
    let seeds = match number("SANDBAR_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SANDBAR_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let mut commits = 0;
    for seed in seeds {
        let _naming = Naming(seed);
        let mut simulation = Simulation::of_seed(seed);
        simulation.run();
        commits += simulation.broker.borrow().commits;
    }
    assert!(commits > 0, "nothing was committed at all");
}
