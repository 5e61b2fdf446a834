//! The compiler's jail: the child gives up whatever a compiler does not need before it reads a byte of a module.
//!
//! Limits and priorities hold everywhere. Landlock (no file, no TCP port) and seccomp (few system calls) hold where the
//! kernel has them; the host says at its start where it does not. A compiler that a module took over can still compute, up
//! to its limits, and answer with a wrong artifact.

mod syscalls;

use std::fmt;
use std::io;

use landlock::{ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus, Scope};

use super::process::Limits;

pub use syscalls::deny_syscalls;

/// The process's name; 15 characters are shown.
const NAME: &str = "sandbar-compile";
/// Running transforms come first: beside a busy thread a compiler has a tenth of a processor. At 19, the lowest priority, it
/// has a seventieth, and a deployment on a busy host took minutes.
const NICENESS: libc::c_int = 10;
/// Descriptors 0, 1 and 2 are open, and no other can be opened.
const DESCRIPTORS_MAX: u64 = 3;
/// Address space that a thread may reserve beside the memory that it uses: an arena of the allocator, and a stack.
const THREAD_ADDRESS_BYTES: u64 = 136 << 20;
/// Address space for whatever else is mapped once.
const OTHER_ADDRESS_BYTES: u64 = 256 << 20;
/// The newest Landlock whose rights are asked for; of an older one, all that it has are used.
const LANDLOCK: ABI = ABI::V6;

#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = libc::c_int;

/// The layers of the jail that depend on the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Jail {
    /// No file system, no TCP.
    pub landlock: Protection,
    /// No other system calls than those that a compiler needs.
    pub seccomp: Protection,
}

impl Jail {
    pub fn is_full(&self) -> bool {
        self.landlock == Protection::Full && self.seccomp == Protection::Full
    }
}

/// The strength of a layer of the jail on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Protection {
    Full,
    /// The kernel has an older version of it.
    Partial,
    /// The kernel has it not, or the reason why it could not be had.
    Absent(String),
    /// Nobody has tried.
    #[default]
    Unknown,
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("active"),
            Self::Partial => f.write_str("active in part"),
            Self::Absent(reason) => write!(f, "absent: {reason}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// Sets the limits that hold on every kernel. Returns the limit on address space, for [`limit_memory`].
pub fn limit(limits: &Limits) -> Result<u64, String> {
    let failed = |name: &'static str| move |error: io::Error| format!("{name}: {error}");
    // The parent's end is the child's end. It may have come before this call.
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong).map_err(failed("PR_SET_PDEATHSIG"))?;
    // SAFETY: takes nothing and cannot fail.
    if unsafe { libc::getppid() } != limits.parent as libc::pid_t {
        return Err("its parent has ended".into());
    }
    // For whoever lists processes: by default it is named after the link that it was started by.
    let _ = std::fs::write("/proc/self/comm", NAME);
    // Only while the process may be looked at; without it the system may take the host first when memory is short.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let address_bytes = address_bytes().map_err(failed("/proc/self/statm"))?;
    prctl(libc::PR_SET_DUMPABLE, 0).map_err(failed("PR_SET_DUMPABLE"))?;
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1).map_err(failed("PR_SET_NO_NEW_PRIVS"))?;
    std::env::set_current_dir("/").map_err(failed("/"))?;
    // SAFETY: takes plain numbers; 0 is this process.
    let niceness = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    // Not every host may take back a niceness that it was started with.
    let niceness = NICENESS.max(niceness);
    // SAFETY: takes plain numbers; 0 is this process.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) }).map_err(failed("setpriority"))?;
    close_descriptors().map_err(failed("close_range"))?;
    // A second more for whoever ignores the signal of the first limit.
    let cpu = libc::rlimit { rlim_cur: limits.cpu_seconds_max, rlim_max: limits.cpu_seconds_max + 1 };
    set_limit(libc::RLIMIT_CPU, cpu).map_err(failed("RLIMIT_CPU"))?;
    for (name, resource) in [("RLIMIT_CORE", libc::RLIMIT_CORE), ("RLIMIT_FSIZE", libc::RLIMIT_FSIZE)] {
        set_limit(resource, at_most(0)).map_err(failed(name))?;
    }
    Ok(address_bytes + limits.threads as u64 * THREAD_ADDRESS_BYTES + OTHER_ADDRESS_BYTES)
}

/// Gives up the file system and the network, for this thread and those that it starts. Then no descriptor can be opened.
pub fn deny_files() -> Protection {
    let restricted = || {
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(LANDLOCK))?
            .handle_access(AccessNet::from_all(LANDLOCK))?
            .scope(Scope::from_all(LANDLOCK))?;
        ruleset.create()?.restrict_self()
    };
    let restricted: Result<_, landlock::RulesetError> = restricted();
    match restricted.map(|status| status.ruleset) {
        Ok(RulesetStatus::FullyEnforced) => Protection::Full,
        Ok(RulesetStatus::PartiallyEnforced) => Protection::Partial,
        Ok(RulesetStatus::NotEnforced) => Protection::Absent("this kernel has no Landlock".into()),
        Err(error) => Protection::Absent(error.to_string()),
    }
}

/// Limits memory: data, which compiling takes, and beyond it address space, as pages that are no longer writable
/// do not count as data. From here on no thread, no process and no descriptor is made.
pub fn limit_memory(bytes_max: u64, address_bytes_more: u64) -> Result<(), String> {
    let failed = |name: &'static str| move |error: io::Error| format!("{name}: {error}");
    set_limit(libc::RLIMIT_NOFILE, at_most(DESCRIPTORS_MAX)).map_err(failed("RLIMIT_NOFILE"))?;
    set_limit(libc::RLIMIT_NPROC, at_most(0)).map_err(failed("RLIMIT_NPROC"))?;
    set_limit(libc::RLIMIT_DATA, at_most(bytes_max)).map_err(failed("RLIMIT_DATA"))?;
    let address_bytes_max = bytes_max.saturating_add(address_bytes_more);
    set_limit(libc::RLIMIT_AS, at_most(address_bytes_max)).map_err(failed("RLIMIT_AS"))
}

fn at_most(value: u64) -> libc::rlimit {
    libc::rlimit { rlim_cur: value, rlim_max: value }
}

/// Sets a limit, or keeps the process's own where that is lower and fixed.
fn set_limit(resource: Resource, wanted: libc::rlimit) -> io::Result<()> {
    let mut own = at_most(0);
    // SAFETY: writes into a struct of ours.
    check(unsafe { libc::getrlimit(resource, &mut own) })?;
    let limit = libc::rlimit { rlim_cur: wanted.rlim_cur.min(own.rlim_max), rlim_max: wanted.rlim_max.min(own.rlim_max) };
    // SAFETY: sets this process's own limit from a valid struct.
    check(unsafe { libc::setrlimit(resource, &limit) })
}

/// Closes whatever the host left open beside the three standard streams.
fn close_descriptors() -> io::Result<()> {
    // SAFETY: this process has opened none of them: nothing uses them.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) } as libc::c_int)
}

/// Address space that is mapped now.
fn address_bytes() -> io::Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split(' ').next().and_then(|pages| pages.parse::<u64>().ok());
    // SAFETY: takes a constant.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let bytes = pages.zip(u64::try_from(page_bytes).ok()).map(|(pages, bytes)| pages * bytes);
    bytes.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

fn prctl(option: libc::c_int, value: libc::c_ulong) -> io::Result<()> {
    // SAFETY: the options that are used here take one number.
    check(unsafe { libc::prctl(option, value, 0, 0, 0) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
