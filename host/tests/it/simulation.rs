//! The worker and its tasks under everything that can go wrong, in virtual time and from a seed.
//!
//! A broker in memory (`simulation/broker.rs`) has transactions, producer epochs and a consumer group; simulated
//! guests (`simulation/guests.rs`) trap, refuse and idle as their records say; a scheduler (`simulation/run.rs`) steps
//! the workers and makes calls fail, processes die or stall, partitions move, commits end unknown, sets the wall clock
//! forward and back, and deploys new revisions, some of which trap on everything or on some records. What must hold is checked at every commit as it
//! becomes visible (`Broker::apply`): it has the outputs and dead letters of exactly the records between the old and
//! the new offset, in order, all of the revision that the offset names, which is never lower than the one before; and
//! at the end: all is out, once, and no lag is left.
//!
//! `SANDBAR_SIM_SEED=n` runs one seed, `SANDBAR_SIM_SEEDS=n` the first n. A failure names its seed.
//!
//! The simulation was tried with faults: each of the changes below, made in `host/src`, must fail within the default
//! seeds. Repeat it when the worker or the task changes. (Two faults are not caught, for they do no harm: keeping the
//! tasks of lost partitions, or the transaction that they were in; a restart or a refused commit follows.)
//!
//! | file | change |
//! |---|---|
//! | worker/task_manager.rs | `run_once`: forget a rebalance when its transaction fails |
//! | worker/task_manager.rs | `poll_and_process`: ignore `Lost`; `at_boundary` before `commit` |
//! | worker/task_manager.rs | `at_boundary`: swap while a transaction is open; never `settle`. `next_task`: the first ready task every time |
//! | worker/task_manager.rs, worker/task_manager/pause.rs | `resume`, `pause_waiting`: leave out `resume`, or `seek` |
//! | worker/task_manager/commit.rs | `abort`: leave out the `seek`. `begin`: no deadline for a transaction that a tick opened |
//! | worker/task_manager/commit.rs | `commit`: never call `Task::committed`, or before `session.commit`; commit one offset more, or less; go on after a failed commit |
//! | worker/task_manager/commit.rs | `commit`: state committed before the transaction; changelogs not sent |
//! | worker/task_manager/rebalance.rs | `forget`: keep the tasks of revoked partitions, or the states that no task has. `new_task`: a task works before its state is open |
//! | worker/task_manager/swap.rs | `step_back`: leave out `abort`. `take_over` and `on_assigned`: never `pass_trial` |
//! | worker/rollout.rs | `reject`: keep the rejected revision |
//! | worker/partition_states.rs | `roll_back`: keep the writes of the transaction |
//! | task.rs | `go_back_to`: keep the batches, `expected`, `end_seen` or the next offset |
//! | task.rs | `offer`: keep records of a paused partition. `task/buffer.rs`, `push`: keep repeats |
//! | task.rs | `reached_end`: believe it while paused. `skip_control_records`: with work pending; never |
//! | task.rs | `is_outrun`: never. `swap`: keep the revision; keep `since` |
//! | task.rs | `rewind`: a tick that was undone is not due again |
//! | task/send.rs | `conclude`: send failed rows too; rows after a pausing one; pass a pausing row; leave out dead letters; ignore send errors |
//! | task/call.rs, task/step.rs | `call`: keep the instance after an error. `retry_row`: begin at row 0. `step_row`: retry for ever |
//! | task/step.rs | `step_batch`, `step_row`, `step_tick`: keep the writes of a failed call. `step_batch`: keep the writes of a batch of which some failed |
//! | state/store.rs | `committed`: nothing reaches the local store; hot entries stay as they were; a position that is too far |
//! | state/store.rs | `look_up`: the writes of the transaction before those of the call |
//! | stores/restore.rs | to the last stable offset only; without deletions; over a copy that is ahead of its changelog |

mod broker;
mod changelog;
mod clock;
mod guests;
mod rng;
mod run;
mod session;

use sandbar::model::revision::Progress;
use sandbar::model::spec::Then;
use sandbar::ports::TopicPartition;
use sandbar::task::Settings;

use guests::{Kind, Quality, TICK_MS};
use rng::Rng;
use run::Simulation;

const SEEDS: u64 = 1000;

/// Names the seed of a run that panics.
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

/// Runs one half of the seeds, so that two cores share them; a single seed is in the first.
fn check_seeds(half: u64) {
    let seeds = match number("SANDBAR_SIM_SEED") {
        Some(_) if half > 0 => return,
        Some(seed) => seed..seed + 1,
        None => {
            let count = number("SANDBAR_SIM_SEEDS").unwrap_or(SEEDS);
            half * count / 2..(half + 1) * count / 2
        }
    };
    let mut commits = 0;
    let mut swapped = 0;
    let mut refused = 0;
    for seed in seeds {
        let _naming = Naming(seed);
        let mut simulation = Simulation::of_seed(seed);
        simulation.run();
        commits += simulation.broker.borrow().commits;
        swapped += u64::from(simulation.has_swapped());
        refused += u64::from(simulation.has_refused());
    }
    println!("{commits} commits; {swapped} runs committed with a later revision, {refused} refused one at the end");
    let all_seeds = number("SANDBAR_SIM_SEED").is_none();
    assert!(commits > 0 && (!all_seeds || (swapped > 0 && refused > 0)), "too little happened to prove anything");
}

#[test]
fn seeds_of_the_first_half() {
    check_seeds(0);
}

#[test]
fn seeds_of_the_second_half() {
    check_seeds(1);
}

/// A partition whose every batch takes longer than the commit interval has its turn, and no more.
#[test]
fn a_slow_partition_starves_no_other() {
    let [slow, quick] = [0, 1].map(|number| TopicPartition { input: 0, partition: number });
    let mut simulation = Simulation::new(Rng::new(1), run::settings(Then::DeadLetter, 0, 6), vec![slow, quick], 1);
    let mut broker = simulation.broker.borrow_mut();
    (0..600).for_each(|_| run::put(&mut broker, slow, Kind::Slow));
    (0..60).for_each(|_| run::put(&mut broker, quick, Kind::Echo));
    drop(broker);
    (0..100).for_each(|_| simulation.step(0));
    let broker = simulation.broker.borrow();
    let [slow, quick] = [slow, quick].map(|at| broker.committed_offset(at));
    assert_eq!(quick, 60, "the slow one is at {slow}");
    assert!((60..600).contains(&slow), "{slow}");
}

/// The thread's time is shared out, not the number of calls: one task with calls of 40 ms does few of them, beside another
/// with calls of a fraction of 1 ms.
#[test]
fn tasks_share_the_time_of_their_worker() {
    let [slow, quick] = [0, 1].map(|number| TopicPartition { input: 0, partition: number });
    let mut simulation = Simulation::new(Rng::new(1), run::settings(Then::DeadLetter, 0, 1), vec![slow, quick], 1);
    let mut broker = simulation.broker.borrow_mut();
    broker.reads_max = 1000;
    (0..400).for_each(|_| run::put(&mut broker, slow, Kind::Slow));
    (0..400).for_each(|_| run::put(&mut broker, quick, Kind::Echo));
    drop(broker);
    let committed = |simulation: &Simulation, at| simulation.broker.borrow().committed_offset(at);
    for _ in 0..1000 {
        if committed(&simulation, quick) == 400 {
            break;
        }
        simulation.step(0);
    }
    let offsets = [slow, quick].map(|at| committed(&simulation, at));
    assert!(offsets[1] == 400 && (1..100).contains(&offsets[0]), "{offsets:?}");
}

/// Runs one task with ticks and no records; `aborts` of its commits in 1,000 are aborted. Returns the number of commits,
/// and of the ticks that were due.
fn only_ticks(aborts: usize, steps: usize) -> (u64, u64) {
    let tick = Some(std::time::Duration::from_millis(TICK_MS as u64));
    let settings = Settings { tick, ..run::stateful(run::settings(Then::DeadLetter, 0, 6)) };
    let mut simulation = Simulation::new(Rng::new(1), settings, vec![TopicPartition { input: 0, partition: 0 }], 1);
    simulation.broker.borrow_mut().faults.aborts = aborts;
    let started = clock::ms();
    (0..steps).for_each(|_| simulation.step(0));
    let commits = simulation.broker.borrow().commits;
    (commits, (clock::ms() - started) as u64 / TICK_MS as u64)
}

/// Ticks are work of their own: they are committed where no record ever comes.
#[test]
fn ticks_are_committed_without_records() {
    let (commits, due) = only_ticks(0, 1000);
    assert!(due > 5 && commits + 2 > due, "{commits} commits, {due} ticks were due");
}

/// A tick whose transaction was aborted is due again: none is left out.
#[test]
fn ticks_that_were_undone_are_due_again() {
    let (commits, due) = only_ticks(500, 4000);
    // A long row of aborts waits for longer than a tick.
    assert!(due > 50 && commits + due / 20 + 2 > due, "{commits} commits, {due} ticks were due");
}

/// Ten records are done by revision 7, then another is swapped in. Returns the revision that processed the next ten.
fn swap_into(quality: Quality) -> (Simulation, u64) {
    let at = TopicPartition { input: 0, partition: 0 };
    let mut simulation = Simulation::new(Rng::new(1), run::settings(Then::DeadLetter, 0, 6), vec![at], 1);
    let put = |simulation: &Simulation, count: usize| {
        let mut broker = simulation.broker.borrow_mut();
        (0..count).for_each(|_| run::put(&mut broker, at, Kind::Echo));
    };
    put(&simulation, 10);
    (0..50).for_each(|_| simulation.step(0));
    assert_eq!(simulation.broker.borrow().committed_offset(at), 10);
    put(&simulation, 10);
    simulation.deploy(quality);
    simulation.tell(0);
    (0..50).for_each(|_| simulation.step(0));
    let broker = simulation.broker.borrow();
    assert_eq!(broker.committed_offset(at), 20, "nothing is lost, nothing stands still");
    let last = Progress::parse(&broker.metadata[&at], -1).expect("a host wrote it");
    assert_eq!(last.since, if last.revision == 7 { 0 } else { 10 });
    drop(broker);
    (simulation, last.revision)
}

#[test]
fn a_good_revision_takes_over_and_a_broken_one_is_refused() {
    let (simulation, revision) = swap_into(Quality::Good);
    assert!(revision == 8 && !simulation.has_refused());
    let (simulation, revision) = swap_into(Quality::Broken);
    assert!(revision == 7 && simulation.has_refused());
}
