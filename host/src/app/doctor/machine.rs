//! The limits of the machine, and of this process on it.

use bytesize::ByteSize;
use rustix::process::{Resource, getrlimit};

use crate::config;
use crate::model::finding::Finding;
use crate::system_clock::is_synchronised;

/// Open files that a host with some hundred transforms has.
const OPEN_FILES_GOOD: u64 = 16_384;
/// Threads that a host with some hundred transforms has: five or six for each worker.
const THREADS_GOOD: u64 = 4_096;
/// The kernel's own default. An instance has some mappings.
const MEMORY_MAPS_GOOD: u64 = 65_530;
/// Most of the machine's memory that guests may have, in percent: stores, clients of Kafka and compilers need the rest.
const GUEST_MEMORY_PERCENT_MAX: u64 = 75;

/// Facts. `None`: there is no limit, or the system does not say.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// The hard limit, to which a host raises its own.
    open_files_max: Option<u64>,
    address_space_bytes_max: Option<u64>,
    threads_max: Option<u64>,
    memory_maps_max: Option<u64>,
    /// The content of `vm.overcommit_memory`.
    overcommit: Option<u64>,
    memory_bytes: Option<u64>,
    is_clock_synchronised: Option<bool>,
}

/// The parts of a configuration that a machine must have room for.
#[derive(Debug, Clone, Copy)]
pub struct Needs {
    pub open_files: u64,
    pub guest_memory_bytes: u64,
}

impl Machine {
    pub fn read() -> Self {
        let of_process = getrlimit(Resource::Nproc).current;
        let of_group = config::group_limit("pids.max");
        let memory_bytes = config::memory_bytes();
        Self {
            open_files_max: getrlimit(Resource::Nofile).maximum,
            address_space_bytes_max: getrlimit(Resource::As).current,
            threads_max: of_process.into_iter().chain(of_group).chain(number("/proc/sys/kernel/threads-max")).min(),
            memory_maps_max: number("/proc/sys/vm/max_map_count"),
            overcommit: number("/proc/sys/vm/overcommit_memory"),
            memory_bytes: (memory_bytes != u64::MAX).then_some(memory_bytes),
            is_clock_synchronised: is_synchronised(),
        }
    }

    pub fn findings(&self, needs: &Needs) -> Vec<Finding> {
        vec![
            self.open_files(needs.open_files),
            self.address_space(),
            self.threads(),
            self.memory_maps(),
            self.memory(needs.guest_memory_bytes),
            self.clock(),
        ]
    }

    fn open_files(&self, needed: u64) -> Finding {
        let fix = "raise the hard limit (LimitNOFILE= of systemd, --ulimit nofile= of Docker), or lower --connections-max";
        match self.open_files_max {
            None => Finding::ok("open-files", "no limit"),
            Some(limit) if limit < needed => {
                Finding::failure("open-files", format!("{limit}, and {needed} are needed"), fix)
            }
            Some(limit) if limit < OPEN_FILES_GOOD => {
                Finding::warning("open-files", format!("{limit}: some hundred transforms need {OPEN_FILES_GOOD}"), fix)
            }
            Some(limit) => Finding::ok("open-files", format!("up to {limit}")),
        }
    }

    /// Each memory of a guest reserves gigabytes of addresses, and uses almost none of them.
    fn address_space(&self) -> Finding {
        let fix = "remove the limit (ulimit -v, LimitAS=) and limit resident memory instead (MemoryMax=, control groups)";
        if let Some(limit) = self.address_space_bytes_max {
            let found = format!("limited to {}: each memory of a guest reserves gigabytes of addresses", ByteSize(limit));
            return Finding::failure("address-space", found, fix);
        }
        if self.overcommit == Some(2) {
            let found = "vm.overcommit_memory is 2: the kernel counts each reserved address as memory";
            return Finding::failure("address-space", found, "set vm.overcommit_memory to 0 or 1");
        }
        Finding::ok("address-space", "no limit")
    }

    fn threads(&self) -> Finding {
        match self.threads_max {
            None => Finding::ok("threads", "no limit"),
            Some(limit) if limit < THREADS_GOOD => Finding::warning(
                "threads",
                format!("{limit}: some hundred transforms need {THREADS_GOOD}"),
                "raise TasksMax= of systemd, the pids limit of the container, or ulimit -u",
            ),
            Some(limit) => Finding::ok("threads", format!("up to {limit}")),
        }
    }

    fn memory_maps(&self) -> Finding {
        match self.memory_maps_max {
            None => Finding::ok("memory-maps", "the system does not tell"),
            Some(limit) if limit < MEMORY_MAPS_GOOD => {
                Finding::warning("memory-maps", limit, format!("set vm.max_map_count to {MEMORY_MAPS_GOOD} or more"))
            }
            Some(limit) => Finding::ok("memory-maps", format!("up to {limit}")),
        }
    }

    fn memory(&self, for_guests: u64) -> Finding {
        let Some(total) = self.memory_bytes else { return Finding::ok("memory", "the system does not tell") };
        let found = format!("{} for guests of {} that there are", ByteSize(for_guests), ByteSize(total));
        if for_guests / 100 * 100 > total / 100 * GUEST_MEMORY_PERCENT_MAX {
            return Finding::warning("memory", found, format!("lower --guest-memory-max below {}", ByteSize(total / 2)));
        }
        Finding::ok("memory", found)
    }

    /// Expiry of entries, ticks and starts by time follow the wall clock.
    fn clock(&self) -> Finding {
        match self.is_clock_synchronised {
            Some(true) => Finding::ok("clock", "the kernel's clock is synchronised"),
            Some(false) => Finding::warning(
                "clock",
                "no service has synchronised the kernel's clock",
                "run chrony or systemd-timesyncd on the machine (not in the container)",
            ),
            None => Finding::warning("clock", "this process may not ask for the clock's state", "look at timedatectl"),
        }
    }
}

/// Reads a file with one number. A file that says `max`, or that is missing, has none.
fn number(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::finding::Outcome;

    const GOOD: Machine = Machine {
        open_files_max: Some(1 << 20),
        address_space_bytes_max: None,
        threads_max: Some(30_000),
        memory_maps_max: Some(65_530),
        overcommit: Some(0),
        memory_bytes: Some(8 << 30),
        is_clock_synchronised: Some(true),
    };

    /// Judges a machine; `expected` has the checks that are not ok.
    #[track_caller]
    fn check(machine: &Machine, expected: &[(&str, Outcome)]) {
        let findings = machine.findings(&Needs { open_files: 1_536, guest_memory_bytes: 4 << 30 });
        let others = findings.iter().filter(|finding| finding.outcome != Outcome::Ok);
        let found: Vec<(&str, Outcome)> = others.map(|finding| (finding.check, finding.outcome)).collect();
        assert_eq!(found, expected, "{findings:?}");
        assert!(findings.iter().all(|finding| (finding.outcome == Outcome::Ok) == finding.fix.is_none()));
    }

    #[test]
    fn each_limit_has_its_check() {
        check(&GOOD, &[]);
        check(&Machine::default(), &[("clock", Outcome::Warning)]);
        check(&Machine { open_files_max: Some(1_024), ..GOOD }, &[("open-files", Outcome::Failure)]);
        check(&Machine { open_files_max: Some(4_096), ..GOOD }, &[("open-files", Outcome::Warning)]);
        check(&Machine { address_space_bytes_max: Some(1 << 40), ..GOOD }, &[("address-space", Outcome::Failure)]);
        check(&Machine { overcommit: Some(2), ..GOOD }, &[("address-space", Outcome::Failure)]);
        check(&Machine { threads_max: Some(512), ..GOOD }, &[("threads", Outcome::Warning)]);
        check(&Machine { memory_maps_max: Some(1_000), ..GOOD }, &[("memory-maps", Outcome::Warning)]);
        check(&Machine { memory_bytes: Some(5 << 30), ..GOOD }, &[("memory", Outcome::Warning)]);
        check(&Machine { is_clock_synchronised: Some(false), ..GOOD }, &[("clock", Outcome::Warning)]);
    }
}
