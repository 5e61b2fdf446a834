//! The parent's side of a compiler's process: started, read within a bound and a deadline, killed with its group, and
//! always reaped. No thread is needed, and no file on a disk.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::SUBCOMMAND;
use super::process_end::{End, ProcessEnd};

/// The child's standard error is kept up to here, and read on.
const ERRORS_BYTES_MAX: usize = 8 << 10;
/// Time between two looks at a child that is silent.
const LOOK: Duration = Duration::from_millis(50);
/// Time between two looks at a child that has closed its streams, since it is about to end.
const LAST_LOOK: Duration = Duration::from_millis(1);
const CHUNK_BYTES: usize = 64 << 10;

/// The limits that the child sets for itself.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Limits {
    pub cpu_seconds_max: u64,
    pub memory_bytes_max: u64,
    pub artifact_bytes_max: u64,
    pub threads: usize,
    /// The parent's process id: the child ends with it.
    pub parent: u32,
}

/// A compiler that runs. Dropped, it is killed and reaped.
pub struct Process {
    child: Child,
    is_reaped: bool,
    out: Option<ChildStdout>,
    err: Option<ChildStderr>,
    output: Vec<u8>,
    errors: Vec<u8>,
}

impl Process {
    /// Starts a compiler with `module` as its standard input and nothing else of the host's.
    pub fn start(program: &Path, limits: &Limits, module: &[u8]) -> io::Result<Self> {
        let limits = serde_json::to_string(limits).expect("limits are plain data");
        let mut child = Command::new(program)
            .args([SUBCOMMAND, &limits])
            .env_clear()
            // Memory that the allocator sets aside counts as data only once it is in use: the child's limit is on data.
            .env("MIMALLOC_ARENA_EAGER_COMMIT", "0")
            .process_group(0)
            .stdin(Stdio::from(memory_file(module)?))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take();
        let err = child.stderr.take();
        Ok(Self { child, is_reaped: false, out, err, output: Vec::new(), errors: Vec::new() })
    }

    /// Reads until the child has ended, the deadline has passed, or more than `output_bytes_max` have come. Then neither
    /// the child nor its group is left.
    pub fn run(mut self, deadline: Instant, output_bytes_max: usize) -> io::Result<ProcessEnd> {
        let killed_for = self.follow(deadline, output_bytes_max)?;
        let status = self.end()?;
        let end = killed_for.unwrap_or(End::Exited(status));
        Ok(ProcessEnd::new(end, std::mem::take(&mut self.output), std::mem::take(&mut self.errors)))
    }

    /// Follows the child until it has exited and all that it sent is read (None), or until it must be killed.
    fn follow(&mut self, deadline: Instant, output_bytes_max: usize) -> io::Result<Option<End>> {
        loop {
            let has_exited = self.has_exited()?;
            let left = deadline.saturating_duration_since(Instant::now());
            let is_heard = self.out.is_some() || self.err.is_some();
            let look = if is_heard { LOOK } else { LAST_LOOK };
            let has_read = self.read(if has_exited { Duration::ZERO } else { look.min(left) })?;
            if self.output.len() > output_bytes_max {
                return Ok(Some(End::Flood));
            }
            if has_exited && !has_read {
                return Ok(None);
            }
            if left.is_zero() {
                return Ok(Some(End::Deadline));
            }
        }
    }

    /// Waits for output and takes it in. False: there was none.
    fn read(&mut self, wait: Duration) -> io::Result<bool> {
        let look_at = |stream: Option<RawFd>| libc::pollfd { fd: stream.unwrap_or(-1), events: libc::POLLIN, revents: 0 };
        let out = self.out.as_ref().map(AsRawFd::as_raw_fd);
        let err = self.err.as_ref().map(AsRawFd::as_raw_fd);
        let mut streams = [look_at(out), look_at(err)];
        let wait_ms = libc::c_int::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(libc::c_int::MAX);
        // SAFETY: an array of ours, with its length; an entry of -1 is passed over.
        let ready = unsafe { libc::poll(streams.as_mut_ptr(), streams.len() as libc::nfds_t, wait_ms) };
        if ready == -1 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(true) } else { Err(error) };
        }
        if streams[0].revents != 0 {
            take(&mut self.out, &mut self.output, usize::MAX)?;
        }
        if streams[1].revents != 0 {
            take(&mut self.err, &mut self.errors, ERRORS_BYTES_MAX)?;
        }
        Ok(ready > 0)
    }

    /// Looks at the child without reaping it: until then its group's number is nobody else's.
    fn has_exited(&self) -> io::Result<bool> {
        // SAFETY: zeroes are a valid value of this plain struct.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: writes into a struct of ours.
        if unsafe { libc::waitid(libc::P_PID, self.child.id(), &mut info, options) } == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: waitid has filled it in, or left it zero.
        Ok(unsafe { info.si_pid() } != 0)
    }

    /// Kills the child's group, whoever is left of it, and reaps the child.
    fn end(&mut self) -> io::Result<ExitStatus> {
        if let Ok(group) = libc::pid_t::try_from(self.child.id()) {
            // SAFETY: takes plain numbers. The child is not reaped yet, so this is its group and no other.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
        self.is_reaped = true;
        self.child.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_reaped {
            let _ = self.end();
        }
    }
}

/// Reads once. Keeps no more than `kept_max` bytes in all; a stream that has ended becomes None.
fn take(stream: &mut Option<impl Read>, kept: &mut Vec<u8>, kept_max: usize) -> io::Result<()> {
    let Some(open) = stream else { return Ok(()) };
    let mut chunk = [0; CHUNK_BYTES];
    let bytes = match open.read(&mut chunk) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
        read => read?,
    };
    if bytes == 0 {
        *stream = None;
    }
    kept.extend_from_slice(&chunk[..bytes.min(kept_max.saturating_sub(kept.len()))]);
    Ok(())
}

/// A file that only memory holds, at its beginning, which nobody can change any more.
fn memory_file(bytes: &[u8]) -> io::Result<File> {
    const NAME: &CStr = c"module";
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let create = |flags| {
        // SAFETY: takes a string that ends with 0, and flags.
        match unsafe { libc::memfd_create(NAME.as_ptr(), flags) } {
            -1 => Err(io::Error::last_os_error()),
            // SAFETY: the descriptor is new and nobody else's.
            descriptor => Ok(unsafe { File::from_raw_fd(descriptor) }),
        }
    };
    // Kernels before 6.3 do not know that flag; some later ones insist on it.
    let mut file = create(flags | libc::MFD_NOEXEC_SEAL).or_else(|_| create(flags))?;
    file.write_all(bytes)?;
    file.rewind()?;
    let seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    // SAFETY: the descriptor is open, and the call takes a number.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(file),
    }
}
