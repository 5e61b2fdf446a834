//! Child processes that die with the test.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use crate::{dirs, wait};

/// A running process whose output goes to a log file. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    name: String,
}

// === impl Process ===

impl Process {
    /// Starts `command`, and appends its output to `log`.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Process {
        let mut file = append(log);
        writeln!(file, "--- {name}: {command:?}").expect("the log is writable");
        let errors = file.try_clone().expect("a second handle");
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        // A group of its own: a Ctrl-C is for us, and we end the others when we are through.
        command.process_group(0);
        let child = spawn(command).unwrap_or_else(|error| panic!("{name} could not be started: {error}"));
        Process { child, log: log.to_owned(), name: name.to_owned() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child")
    }

    #[expect(unsafe_code, reason = "a signal to a child")]
    /// Sends a signal to a process that has not ended.
    pub fn signal(&mut self, signal: libc::c_int) {
        assert!(self.ended().is_none(), "{} has ended:\n{}", self.name, dirs::tail(&self.log, 40));
        // SAFETY: kill has no memory effects. The process was not waited for yet, so its id is still its own.
        let result = unsafe { libc::kill(self.pid() as libc::pid_t, signal) };
        assert_eq!(result, 0, "{}: {}", self.name, io::Error::last_os_error());
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill9(mut self) {
        self.signal(libc::SIGKILL);
        let status = self.child.wait().expect("our own child");
        assert_eq!(status.signal(), Some(libc::SIGKILL), "{} ended by itself", self.name);
    }

    /// SIGTERM, and waits for its exit code; killed by a signal, it has none.
    pub fn terminate(mut self, deadline: Duration) -> Option<i32> {
        self.signal(libc::SIGTERM);
        let what = format!("{} ends after SIGTERM (log: {})", self.name, self.log.display());
        let status = wait::until(&what, deadline, || self.ended().ok_or_else(|| dirs::tail(&self.log, 40)));
        status.code()
    }

    #[expect(unsafe_code, reason = "a signal to a child")]
    /// Sends a signal to the process, and kills it if it does not end. Drops call this: it never panics.
    pub fn end(mut self, signal: libc::c_int, within: Duration) {
        if let Ok(None) = self.child.try_wait() {
            // SAFETY: as in `signal`.
            unsafe { libc::kill(self.pid() as libc::pid_t, signal) };
        }
        let deadline = Instant::now() + within;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn append(log: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(log).expect("the log's directory exists")
}

#[expect(unsafe_code, reason = "a child that ends with this process")]
/// Spawns a child that the kernel kills when this process ends, however it ends.
///
/// The kernel means the thread that spawned it, and each test has its own: so one thread, which lives as long as the
/// process, spawns for all.
fn spawn(mut command: Command) -> io::Result<Child> {
    type Job = (Command, Sender<io::Result<Child>>);
    static SPAWNER: LazyLock<Sender<Job>> = LazyLock::new(|| {
        let (sender, jobs) = channel::<Job>();
        let run = move || jobs.iter().for_each(|(mut command, answer)| drop(answer.send(command.spawn())));
        std::thread::Builder::new().name("spawner".to_owned()).spawn(run).expect("a thread");
        sender
    });
    // SAFETY: prctl is async-signal-safe, and the closure touches no memory of the parent.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    let (answer, child) = channel();
    SPAWNER.send((command, answer)).expect("the spawner lives as long as the process");
    child.recv().expect("it answers each job")
}
