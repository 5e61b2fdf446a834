//! The system calls of the compiler: memory, threads that exist, its three streams, its end.
//!
//! Whatever is not listed fails with EPERM, so that a library that tries something optional goes on. A call that only
//! an attacker makes kills the process with SIGSYS, which the host logs.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter_all_threads,
};

use super::Protection;

/// Calls that are allowed with any arguments.
const ALLOWED: &[libc::c_long] = &[
    // Its streams. No descriptor can be opened: these are the only ones.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_lseek,
    // Memory, within its limits.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // Threads that exist wait for each other, and one may have only just begun.
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_membarrier,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    // Signals to itself, and its end.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Calls that no compiler makes, whatever library it is built with.
const KILLED: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kill,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_memfd_create,
    libc::SYS_mount,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
];

/// Gives up all other system calls, for all threads of the process.
pub fn deny_syscalls() -> Protection {
    let applied = filters().and_then(|filters| {
        filters.iter().try_for_each(|filter| apply_filter_all_threads(filter)).map_err(|error| error.to_string())
    });
    match applied {
        Ok(()) => Protection::Full,
        Err(reason) => Protection::Absent(reason),
    }
}

/// Both filters are asked for each call, and the stricter answer counts. The first still lets the second be set.
fn filters() -> Result<[BpfProgram; 2], String> {
    let any = |calls: &[libc::c_long]| calls.iter().map(|&call| (call, Vec::new())).collect::<BTreeMap<_, _>>();
    let mut allowed = any(ALLOWED);
    // Private memory only, and none that counts as stack: other kinds escape the limit on data.
    let kind = u64::from((libc::MAP_TYPE | libc::MAP_GROWSDOWN) as u32);
    let private = only(3, SeccompCmpOp::MaskedEq(kind), u64::from(libc::MAP_PRIVATE as u32))?;
    allowed.insert(libc::SYS_mmap, private);
    // `abort` sends a signal to its own process.
    allowed.insert(libc::SYS_tgkill, only(0, SeccompCmpOp::Eq, u64::from(std::process::id()))?);
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    Ok([
        filter(any(KILLED), SeccompAction::Allow, SeccompAction::KillProcess)?,
        filter(allowed, denied, SeccompAction::Allow)?,
    ])
}

/// Rules for a call whose argument number `argument` must compare so.
fn only(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<Vec<SeccompRule>, String> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value);
    let rule = condition.and_then(|condition| SeccompRule::new(vec![condition]));
    Ok(vec![rule.map_err(|error| error.to_string())?])
}

fn filter(
    rules: BTreeMap<libc::c_long, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    listed: SeccompAction,
) -> Result<BpfProgram, String> {
    let arch = std::env::consts::ARCH.try_into().map_err(|error: seccompiler::BackendError| error.to_string())?;
    let filter = SeccompFilter::new(rules, otherwise, listed, arch);
    filter.and_then(BpfProgram::try_from).map_err(|error| error.to_string())
}
