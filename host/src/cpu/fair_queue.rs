//! The order in which threads get processors: start-time fair queueing over teams (Goyal, Vin and Cheng, "Start-time fair
//! queuing", SIGCOMM 1996).
//!
//! Each team has a virtual time: its CPU time divided by its weight. A free processor goes to the waiting team with the
//! least. Within a team, calls that gave their processor up come first, since their transactions are open; the others come
//! in their order. A team that asked for nothing for a while earns no more than [`CREDIT`] by that.

use std::collections::{BTreeMap, VecDeque};
use std::thread::Thread;
use std::time::Duration;

use crate::model::names::TeamName;

/// Virtual time by which a team may be behind the one that was served last. It evens out the moments in which a team's
/// threads wait for a broker, and bounds the time for which a team that was idle goes before all others.
const CREDIT: Duration = Duration::from_millis(100);

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// The free processors, and the calls of teams that wait for one.
pub(super) struct FairQueue {
    free: usize,
    /// Virtual time of the team that was served last.
    served: Duration,
    /// The teams that wait, run, or may have credit.
    teams: BTreeMap<TeamName, Team>,
    waiters: BTreeMap<Ticket, Waiter>,
    next: u64,
}

#[derive(Default)]
struct Team {
    time: Duration,
    in_calls: VecDeque<Ticket>,
    between_calls: VecDeque<Ticket>,
}

struct Waiter {
    team: TeamName,
    thread: Thread,
    state: Waiting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// The thread is elsewhere, and keeps its place.
    Away,
    Here,
    /// A processor is its own.
    Granted,
}

impl FairQueue {
    pub fn new(processors: usize) -> Self {
        let free = processors.max(1);
        Self { free, served: Duration::ZERO, teams: BTreeMap::new(), waiters: BTreeMap::new(), next: 0 }
    }

    /// Queues this thread.
    pub fn enqueue(&mut self, name: &TeamName, is_in_call: bool) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        let floor = self.served.saturating_sub(CREDIT);
        let team = self.teams.entry(name.clone()).or_default();
        team.time = team.time.max(floor);
        let queue = if is_in_call { &mut team.in_calls } else { &mut team.between_calls };
        queue.push_back(ticket);
        let waiter = Waiter { team: name.clone(), thread: std::thread::current(), state: Waiting::Away };
        self.waiters.insert(ticket, waiter);
        ticket
    }

    /// The thread waits for its turn.
    pub fn await_turn(&mut self, ticket: Ticket) {
        if let Some(waiter) = self.waiters.get_mut(&ticket).filter(|waiter| waiter.state == Waiting::Away) {
            waiter.state = Waiting::Here;
        }
        self.grant();
    }

    /// The thread goes away for a while.
    pub fn step_aside(&mut self, ticket: Ticket) {
        if let Some(waiter) = self.waiters.get_mut(&ticket).filter(|waiter| waiter.state == Waiting::Here) {
            waiter.state = Waiting::Away;
        }
    }

    /// Takes the processor that was granted. Returns false if none was yet.
    pub fn take(&mut self, ticket: Ticket) -> bool {
        let is_granted = self.waiters.get(&ticket).is_some_and(|waiter| waiter.state == Waiting::Granted);
        if is_granted {
            self.waiters.remove(&ticket);
        }
        is_granted
    }

    /// Gives the place up.
    pub fn leave(&mut self, ticket: Ticket) {
        let Some(waiter) = self.waiters.remove(&ticket) else { return };
        if let Some(team) = self.teams.get_mut(&waiter.team) {
            team.in_calls.retain(|&other| other != ticket);
            team.between_calls.retain(|&other| other != ticket);
        }
        if waiter.state == Waiting::Granted {
            self.give_back();
        }
    }

    /// Adds to the CPU time of a team.
    pub fn charge(&mut self, name: &TeamName, time: Duration, weight: u32) {
        let floor = self.served.saturating_sub(CREDIT);
        let team = self.teams.entry(name.clone()).or_default();
        team.time = team.time.max(floor) + time / weight.max(1);
    }

    /// A processor is free.
    pub fn give_back(&mut self) {
        self.free += 1;
        self.grant();
    }

    /// Returns true if another team waits that has had less than this one.
    pub fn is_outrun(&self, name: &TeamName) -> bool {
        let Some(own) = self.teams.get(name) else { return false };
        self.teams.iter().any(|(other, team)| other != name && team.time < own.time && self.first(team).is_some())
    }

    #[cfg(test)]
    pub fn free(&self) -> usize {
        self.free
    }

    fn grant(&mut self) {
        while self.free > 0 {
            let waiting = self.teams.iter().filter_map(|(name, team)| Some((team.time, name, self.first(team)?)));
            let Some((time, name, ticket)) = waiting.min() else { break };
            let name = name.clone();
            self.free -= 1;
            self.served = self.served.max(time);
            let team = self.teams.get_mut(&name).expect("it waits");
            team.in_calls.retain(|&other| other != ticket);
            team.between_calls.retain(|&other| other != ticket);
            let waiter = self.waiters.get_mut(&ticket).expect("it waits");
            waiter.state = Waiting::Granted;
            waiter.thread.unpark();
        }
        let floor = self.served.saturating_sub(CREDIT);
        // A team without a thread in the queue comes back with the credit of an idle one.
        self.teams.retain(|_, team| team.time > floor || !team.in_calls.is_empty() || !team.between_calls.is_empty());
    }

    /// The thread of the team that is next.
    fn first(&self, team: &Team) -> Option<Ticket> {
        let is_here = |ticket: &&Ticket| self.waiters.get(ticket).is_some_and(|waiter| waiter.state == Waiting::Here);
        team.in_calls.iter().chain(&team.between_calls).find(is_here).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team(name: &str) -> TeamName {
        name.parse().expect("valid")
    }

    /// A queue with one processor, which is taken, and waiting threads.
    fn queue(waiting: &[(&str, bool)]) -> (FairQueue, Vec<Ticket>) {
        let mut queue = FairQueue::new(1);
        let running = queue.enqueue(&team("running"), false);
        queue.await_turn(running);
        assert!(queue.take(running));
        let tickets = waiting.iter().map(|&(name, is_in_call)| {
            let ticket = queue.enqueue(&team(name), is_in_call);
            queue.await_turn(ticket);
            ticket
        });
        let tickets = tickets.collect();
        (queue, tickets)
    }

    /// Gives the processor back `count` times; returns the places of those that get it.
    fn served(queue: &mut FairQueue, tickets: &[Ticket], count: usize) -> Vec<usize> {
        let next = |queue: &mut FairQueue| {
            queue.give_back();
            tickets.iter().position(|&ticket| queue.take(ticket))
        };
        (0..count).filter_map(|_| next(queue)).collect()
    }

    #[track_caller]
    fn check(waiting: &[(&str, bool)], charges_ms: &[(&str, u64, u32)], order: &[usize]) {
        let (mut queue, tickets) = queue(waiting);
        for &(name, ms, weight) in charges_ms {
            queue.charge(&team(name), Duration::from_millis(ms), weight);
        }
        assert_eq!(served(&mut queue, &tickets, waiting.len()), order, "{waiting:?}, {charges_ms:?}");
    }

    #[test]
    fn the_team_that_has_had_least_for_its_weight_is_next() {
        let two = [("a", false), ("b", false)];
        check(&two, &[("a", 10, 1)], &[1, 0]);
        check(&two, &[("b", 10, 1)], &[0, 1]);
        check(&two, &[("a", 10, 1), ("b", 20, 3)], &[1, 0]);
        check(&two, &[("a", 10, 1), ("b", 40, 3)], &[0, 1]);
        // A weight of 0 counts as 1.
        check(&two, &[("a", 10, 1), ("b", 9, 0)], &[1, 0]);
    }

    #[test]
    fn within_a_team_open_calls_come_first_and_then_those_who_wait_longest() {
        check(&[("a", false), ("a", false), ("a", true)], &[], &[2, 0, 1]);
    }

    #[test]
    fn a_thread_that_is_away_is_passed_over_and_keeps_its_place() {
        let (mut queue, tickets) = queue(&[("a", false), ("a", false)]);
        queue.step_aside(tickets[0]);
        assert_eq!(served(&mut queue, &tickets, 1), [1]);
        queue.step_aside(tickets[0]);
        queue.give_back();
        assert!(!queue.take(tickets[0]));
        queue.await_turn(tickets[0]);
        assert!(queue.take(tickets[0]));
    }

    #[test]
    fn a_team_that_was_idle_has_some_credit_and_no_more() {
        let (mut queue, tickets) = queue(&[("busy", false)]);
        queue.charge(&team("busy"), Duration::from_secs(3600), 1);
        assert_eq!(served(&mut queue, &tickets, 1), [0]);
        let idle = queue.enqueue(&team("idle"), false);
        queue.await_turn(idle);
        assert!(queue.is_outrun(&team("busy")) && !queue.is_outrun(&team("idle")));
        queue.charge(&team("idle"), CREDIT + Duration::from_millis(1), 1);
        assert!(!queue.is_outrun(&team("busy")), "an hour of idleness earns 100 ms");
    }

    #[test]
    fn a_place_that_is_left_gives_its_processor_back() {
        let (mut queue, tickets) = queue(&[("a", false), ("b", false)]);
        queue.give_back();
        let [granted, waiting] = if queue.waiters[&tickets[0]].state == Waiting::Granted { [0, 1] } else { [1, 0] };
        queue.leave(tickets[granted]);
        assert!(queue.take(tickets[waiting]));
        queue.leave(tickets[waiting]);
        queue.give_back();
        assert_eq!((queue.free(), queue.waiters.len()), (1, 0));
    }
}
