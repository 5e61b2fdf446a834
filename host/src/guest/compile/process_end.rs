//! The end of a compiler's process, and its reason.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// A compiler that has ended and was reaped.
pub struct ProcessEnd {
    end: End,
    pub output: Vec<u8>,
    /// The beginning of the process's standard error.
    pub errors: Vec<u8>,
}

/// The reason for which the process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Exited(ExitStatus),
    /// The host killed the process at its deadline.
    Deadline,
    /// The host killed the process, since it sent more than it may.
    Flood,
}

impl ProcessEnd {
    pub(super) fn new(end: End, output: Vec<u8>, errors: Vec<u8>) -> Self {
        Self { end, output, errors }
    }

    /// Returns true if the child ended as one does that has answered.
    pub fn has_answered(&self) -> bool {
        matches!(self.end, End::Exited(status) if status.success())
    }

    pub fn is_out_of_time(&self) -> bool {
        self.end == End::Deadline || self.signal() == Some(libc::SIGXCPU)
    }

    /// Returns true if the child gave up by itself, by a panic or an abort, and wrote its reason.
    pub fn has_given_up(&self) -> bool {
        matches!(self.end, End::Exited(status) if status.code().is_some()) || self.signal() == Some(libc::SIGABRT)
    }

    fn signal(&self) -> Option<i32> {
        match self.end {
            End::Exited(status) => status.signal(),
            End::Deadline | End::Flood => None,
        }
    }
}

impl fmt::Display for ProcessEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.end {
            End::Deadline => f.write_str("it did not end by its deadline"),
            End::Flood => write!(f, "it sent more than it may ({} bytes)", self.output.len()),
            End::Exited(status) => match (status.signal(), status.code()) {
                (Some(libc::SIGSYS), _) => f.write_str("SIGSYS: it made a system call that a compiler never makes"),
                (Some(libc::SIGKILL), _) => f.write_str("SIGKILL: somebody ended it, or the system's memory was short"),
                (Some(signal), _) => write!(f, "{}", signal_name(signal)),
                (None, Some(0)) => f.write_str("its answer was not whole"),
                (None, Some(code)) => write!(f, "exit code {code}"),
                (None, None) => write!(f, "{status}"),
            },
        }
    }
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGILL => "SIGILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGTERM => "SIGTERM",
        libc::SIGTRAP => "SIGTRAP",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}
