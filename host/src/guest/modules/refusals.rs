//! Refusals that are remembered: a module that may not run costs a compiler once, and not at each retry.
//!
//! The memory is the process's own: a restart, perhaps with other limits, forgets them. A refusal that follows from the
//! module alone stays until others push it out. One that depends on the host too (time, memory, a crash) is tried again
//! after a while, each time after a longer one.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::model::module::ModuleError;
use crate::model::names::Digest;
use crate::model::units::Backoff;

/// Most refusals; the one that was asked for longest ago goes first.
const REFUSALS_MAX: usize = 1000;
/// Time that a refusal is remembered which another attempt may not repeat.
const FOR_A_WHILE: Backoff = Backoff { first: Duration::from_secs(10 * 60), longest: Duration::from_secs(24 * 3600) };

/// The refusals of modules that a host remembers.
#[derive(Default)]
pub struct Refusals {
    of: HashMap<Digest, Entry>,
    /// Counts uses.
    clock: u64,
}

struct Entry {
    error: ModuleError,
    /// None: for as long as there is room.
    until: Option<Instant>,
    /// Attempts that came to it.
    attempts: u32,
    used: u64,
}

impl Refusals {
    /// The refusal of a module that need not be tried again now.
    pub fn get(&mut self, digest: &Digest, now: Instant) -> Option<ModuleError> {
        self.clock += 1;
        let remembered = self.of.get_mut(digest)?;
        remembered.used = self.clock;
        // Its attempts still count when its time is over.
        remembered.until.is_none_or(|until| now < until).then(|| remembered.error.clone())
    }

    /// Remembers a refusal, if it says something of the module.
    pub fn put(&mut self, digest: Digest, error: &ModuleError, now: Instant) {
        self.clock += 1;
        let before = self.of.get(&digest).map_or(0, |remembered| remembered.attempts);
        let until = match error.depends_on() {
            DependsOn::Module => None,
            DependsOn::Limits => Some(now + FOR_A_WHILE.after(before)),
            DependsOn::Host => return,
        };
        let remembered = Entry { error: error.clone(), until, attempts: before.saturating_add(1), used: self.clock };
        self.of.insert(digest, remembered);
        if self.of.len() > REFUSALS_MAX {
            let oldest = self.of.iter().min_by_key(|(_, remembered)| remembered.used).map(|(digest, _)| *digest);
            oldest.map(|digest| self.of.remove(&digest));
        }
    }

    /// Forgets a module that was compiled after all.
    pub fn forget(&mut self, digest: &Digest) {
        self.of.remove(digest);
    }
}

/// The cause that a refusal follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DependsOn {
    Module,
    /// The module, and how much time and memory there was.
    Limits,
    /// The host alone, or a configuration.
    Host,
}

impl ModuleError {
    fn depends_on(&self) -> DependsOn {
        match self {
            Self::CompileTimeout { .. } | Self::CompileMemory { .. } | Self::CompileCrash { .. } => DependsOn::Limits,
            Self::Host(_) | Self::Busy => DependsOn::Host,
            // They are about a configuration.
            Self::Init(_) | Self::Trap(_) | Self::Timeout(_) | Self::Memory(_) => DependsOn::Host,
            _ => DependsOn::Module,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn digest(number: usize) -> Digest {
        Digest::of(&number.to_le_bytes())
    }

    /// Puts the error `times` times, each when the one before is forgotten; then looks after some minutes.
    #[track_caller]
    fn check(error: ModuleError, times: u32, minutes: u32, is_remembered: bool) {
        let mut refusals = Refusals::default();
        let mut now = Instant::now();
        for _ in 0..times {
            while refusals.get(&digest(0), now).is_some() {
                now += MINUTE;
            }
            refusals.put(digest(0), &error, now);
        }
        let found = refusals.get(&digest(0), now + MINUTE * minutes);
        assert_eq!(found, is_remembered.then_some(error));
        assert_eq!(refusals.get(&digest(1), now), None);
    }

    #[test]
    fn a_refusal_is_remembered_for_as_long_as_it_says_something() {
        let crash = || ModuleError::CompileCrash { how: "SIGSEGV".into() };
        check(ModuleError::Invalid("no".into()), 1, 60 * 24 * 30, true);
        check(ModuleError::ForbiddenImport { name: "wasi".into() }, 1, 60 * 24 * 30, true);
        check(ModuleError::CompileTimeout { seconds: 60 }, 1, 9, true);
        check(ModuleError::CompileTimeout { seconds: 60 }, 1, 11, false);
        check(ModuleError::CompileMemory { bytes_max: 1 }, 1, 9, true);
        check(crash(), 1, 11, false);
        check(crash(), 2, 11, true);
        check(crash(), 2, 21, false);
        check(crash(), 20, 60 * 24 - 1, true);
        check(crash(), 20, 60 * 24 + 1, false);
        check(ModuleError::Host("no memory".into()), 1, 0, false);
        check(ModuleError::Busy, 1, 0, false);
    }

    #[test]
    fn refusals_are_bounded_and_the_oldest_goes_first() {
        let mut refusals = Refusals::default();
        let now = Instant::now();
        for number in 0..REFUSALS_MAX {
            refusals.put(digest(number), &ModuleError::NotWasm, now);
        }
        refusals.get(&digest(0), now);
        refusals.put(digest(REFUSALS_MAX), &ModuleError::NotWasm, now);
        let has = |refusals: &mut Refusals, number| refusals.get(&digest(number), now).is_some();
        assert_eq!(refusals.of.len(), REFUSALS_MAX);
        assert!(has(&mut refusals, 0) && !has(&mut refusals, 1) && has(&mut refusals, REFUSALS_MAX));
        refusals.forget(&digest(0));
        assert!(!has(&mut refusals, 0));
    }
}
