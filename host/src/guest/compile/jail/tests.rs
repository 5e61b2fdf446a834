//! The jail is tried out from inside: the test starts its own binary again, whose probe shuts itself in and then tries one
//! thing. The probes are in no other binary.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use super::*;

/// Names the layer and the probe to a process that was started for it.
const PROBE: &str = "SANDBAR_JAIL_PROBE";
/// Exit codes of a probe, beside an error's number.
const DONE: i32 = 200;
const NO_LAYER: i32 = 201;

fn limits() -> Limits {
    Limits {
        cpu_seconds_max: 1,
        memory_bytes_max: 256 << 20,
        artifact_bytes_max: 1 << 20,
        threads: 2,
        // SAFETY: takes nothing and cannot fail.
        parent: unsafe { libc::getppid() }.unsigned_abs(),
    }
}

/// Shuts the process in and tries the probe, if it was started for one.
#[test]
fn probe() {
    let Ok(wanted) = std::env::var(PROBE) else { return };
    let (layer, probe) = wanted.split_once(':').expect("a layer and a probe");
    let address_bytes = limit(&limits()).expect("the limits can be set");
    let protection = match layer {
        "limits" => limit_memory(256 << 20, address_bytes).map(|()| Protection::Full).expect("they can be set"),
        "landlock" => deny_files(),
        _ => deny_syscalls(),
    };
    let code = if protection == Protection::Full { attempt(probe) } else { NO_LAYER };
    // SAFETY: ends the process at once: a jailed one has no other way to say how it went.
    unsafe { libc::_exit(code) };
}

/// Tries one thing. Returns the error's number, or [`DONE`].
fn attempt(probe: &str) -> i32 {
    use libc::c_long as Long;
    const PATH: *const libc::c_char = c"/etc/passwd".as_ptr();
    let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let writable = libc::PROT_READ | libc::PROT_WRITE;
    let map = |bytes: usize, flags: i32| unsafe {
        // SAFETY: maps new memory, which nobody else uses.
        let at = libc::mmap(std::ptr::null_mut(), bytes, writable, flags, -1, 0);
        if at == libc::MAP_FAILED { -1 } else { 0 as Long }
    };
    // SAFETY: system calls with valid arguments; the process ends after one of them.
    let result: Long = unsafe {
        match probe {
            "open" => libc::open(PATH, libc::O_RDONLY).into(),
            "create" => libc::open(c"/tmp/sandbar-jail-probe".as_ptr(), libc::O_WRONLY | libc::O_CREAT, 0o600).into(),
            "readdir" => libc::open(c"/".as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY).into(),
            "connect" => connect(),
            "socket" => libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0).into(),
            "exec" => {
                let program = c"/bin/true".as_ptr();
                libc::execv(program, [program, std::ptr::null()].as_ptr()).into()
            }
            "fork" => libc::fork().into(),
            "kill" => libc::kill(libc::getppid(), 0).into(),
            "signal" => libc::syscall(libc::SYS_tgkill, libc::getppid(), libc::getppid(), 0),
            "ptrace" => libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0),
            "dup" => libc::dup(1).into(),
            "prlimit" => libc::setrlimit(libc::RLIMIT_CPU, &at_most(1)).into(),
            "map" => map(1 << 20, private),
            "map-shared" => map(1 << 20, libc::MAP_SHARED | libc::MAP_ANONYMOUS),
            "map-stack" => map(1 << 20, private | libc::MAP_GROWSDOWN),
            "map-much" => map(300 << 20, private),
            "map-shared-much" => map(64 << 30, libc::MAP_SHARED | libc::MAP_ANONYMOUS),
            "inherited" => libc::fcntl(FOREIGN, libc::F_GETFD).into(),
            "nice" => {
                if libc::getpriority(libc::PRIO_PROCESS, 0) == NICENESS {
                    0
                } else {
                    -1
                }
            }
            "dumpable" => libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0).into(),
            "spin" => loop {
                std::hint::spin_loop();
            },
            "abort" => libc::abort(),
            other => panic!("unknown probe {other}"),
        }
    };
    match result {
        -1 => io::Error::last_os_error().raw_os_error().unwrap_or(NO_LAYER),
        0 => DONE,
        _ => DONE + 2,
    }
}

/// A descriptor that the test leaves open for its probe, as a host might.
const FOREIGN: i32 = 77;

/// Connects to a port of this machine.
unsafe fn connect() -> libc::c_long {
    // SAFETY: zeroes are a valid address, which is filled in; the length is its own.
    unsafe {
        let mut address: libc::sockaddr_in = std::mem::zeroed();
        address.sin_family = libc::AF_INET as libc::sa_family_t;
        address.sin_port = 9u16.to_be();
        address.sin_addr.s_addr = u32::from_be_bytes([127, 0, 0, 1]).to_be();
        let socket = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
        let bytes = size_of_val(&address) as libc::socklen_t;
        libc::connect(socket, (&raw const address).cast(), bytes).into()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Denied(i32),
    Killed(i32),
}

#[track_caller]
fn check(layer: &str, probe: &str, expected: Outcome) {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    // Only what the probe may not see is inherited: this binary's descriptors are closed at the start of another program.
    let command = command
        .args(["--exact", "guest::compile::jail::tests::probe", "--nocapture", "--test-threads=1"])
        .env(PROBE, format!("{layer}:{probe}"));
    // SAFETY: duplicates a descriptor in the child, between fork and exec.
    unsafe {
        std::os::unix::process::CommandExt::pre_exec(command, || match libc::dup2(0, FOREIGN) {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        })
    };
    let output = command.output().expect("it starts");
    let found = match (output.status.code(), output.status.signal()) {
        (Some(NO_LAYER), _) => {
            eprintln!("this kernel does not have all of {layer}: {probe} was not tried");
            return;
        }
        (Some(DONE), _) => Outcome::Done,
        (Some(number), _) => Outcome::Denied(number),
        (None, signal) => Outcome::Killed(signal.expect("a signal")),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(found, expected, "{layer}: {probe}: {said}");
}

#[test]
fn limits_hold() {
    check("limits", "inherited", Outcome::Denied(libc::EBADF));
    check("limits", "open", Outcome::Denied(libc::EMFILE));
    check("limits", "dup", Outcome::Denied(libc::EMFILE));
    check("limits", "nice", Outcome::Done);
    check("limits", "dumpable", Outcome::Done);
    check("limits", "map", Outcome::Done);
    check("limits", "map-much", Outcome::Denied(libc::ENOMEM));
    check("limits", "map-shared-much", Outcome::Denied(libc::ENOMEM));
    check("limits", "spin", Outcome::Killed(libc::SIGXCPU));
}

#[test]
fn landlock_denies_files_and_connections() {
    check("landlock", "open", Outcome::Denied(libc::EACCES));
    check("landlock", "create", Outcome::Denied(libc::EACCES));
    check("landlock", "readdir", Outcome::Denied(libc::EACCES));
    check("landlock", "exec", Outcome::Denied(libc::EACCES));
    check("landlock", "connect", Outcome::Denied(libc::EACCES));
    check("landlock", "kill", Outcome::Denied(libc::EPERM));
    check("landlock", "map", Outcome::Done);
}

#[test]
fn seccomp_denies_and_kills() {
    for probe in ["open", "create", "fork", "signal", "dup", "prlimit", "map-shared", "map-stack"] {
        check("seccomp", probe, Outcome::Denied(libc::EPERM));
    }
    for probe in ["exec", "connect", "socket", "kill", "ptrace"] {
        check("seccomp", probe, Outcome::Killed(libc::SIGSYS));
    }
    check("seccomp", "map", Outcome::Done);
    check("seccomp", "abort", Outcome::Killed(libc::SIGABRT));
}
