//! Guests of requests: each of their calls takes a processor of the team.

use crate::cpu::Processors;
use crate::model::batch::{Batch, Output};
use crate::model::names::TeamName;
use crate::ports::{Call, Guest, GuestError, GuestFactory};
use crate::state::KeyedState;

/// A factory whose instances make each call on a processor of their team. A worker takes a processor itself.
pub struct ScheduledFactory<F> {
    inner: F,
    processors: Processors,
    team: TeamName,
}

struct ScheduledGuest {
    inner: Box<dyn Guest>,
    processors: Processors,
    team: TeamName,
}

impl<F> ScheduledFactory<F> {
    pub fn new(inner: F, processors: &Processors, team: &TeamName) -> Self {
        Self { inner, processors: processors.clone(), team: team.clone() }
    }
}

impl<F: GuestFactory> GuestFactory for ScheduledFactory<F> {
    fn instantiate(&self) -> Result<Box<dyn Guest>, GuestError> {
        let Self { inner, processors, team } = self;
        let inner = processors.run(team, || inner.instantiate())?;
        Ok(Box::new(ScheduledGuest { inner, processors: processors.clone(), team: team.clone() }))
    }
}

impl Guest for ScheduledGuest {
    fn process(&mut self, batch: &Batch, call: Call, state: &mut KeyedState) -> Result<Output, GuestError> {
        let Self { inner, processors, team } = self;
        processors.run(team, || inner.process(batch, call, state))
    }

    fn tick(&mut self, call: Call, state: &mut KeyedState) -> Result<Output, GuestError> {
        let Self { inner, processors, team } = self;
        processors.run(team, || inner.tick(call, state))
    }

    fn memory_bytes(&self) -> usize {
        self.inner.memory_bytes()
    }

    fn is_outdated(&self) -> bool {
        self.inner.is_outdated()
    }
}
