//! PostgreSQL as a process of its own, with logical replication, and `psql` to talk to it.
//!
//! The tests use `psql` and not a client library: it comes with the server, costs no dependency, and takes the words
//! that a person would type.

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::child::Process;
use crate::ports::free_port;
use crate::{dirs, wait};

const STOP_WITHIN: Duration = Duration::from_secs(10);

/// A server with fresh data. Everybody on this machine may log in as anybody: it holds made-up data. Stopped when
/// dropped.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    programs: PathBuf,
    data: PathBuf,
    process: Option<Process>,
}

/// The user as whom the server runs.
#[derive(Debug, Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

// === impl Postgres ===

impl Postgres {
    /// Starts a server, and waits until it answers.
    #[track_caller]
    pub fn start() -> Postgres {
        let port = free_port();
        let programs = programs();
        let data = dirs::temporary("postgres");
        let log = dirs::fresh("postgres").join("log");
        let user = User::for_postgres();
        if let Some(user) = user {
            chown(&data, Some(user.uid), Some(user.gid)).expect("root may do so");
        }
        std::fs::set_permissions(&data, PermissionsExt::from_mode(0o700)).expect("our own directory");
        let mut initdb = command(&programs.join("initdb"), user);
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-D"]).arg(&data);
        let output = initdb.output().unwrap_or_else(|error| panic!("{initdb:?}: {error}"));
        assert!(output.status.success(), "{initdb:?}: {}", String::from_utf8_lossy(&output.stderr));

        let mut server = command(&programs.join("postgres"), user);
        server.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        let settings = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "wal_level=logical",
            "shared_buffers=64MB",
            // A lost write of made-up data does no harm when the machine fails.
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            // In the data directory instead of /dev/shm, where a killed server would leave it.
            "dynamic_shared_memory_type=mmap",
        ];
        server.args(settings.iter().flat_map(|setting| ["-c", setting]));
        let process = Some(Process::start("postgres", server, &log));
        let mut postgres = Postgres { port, programs, data, process };
        wait::until("PostgreSQL answers", wait::PATIENCE, || {
            let ended = postgres.process.as_mut().and_then(Process::ended);
            assert!(ended.is_none(), "PostgreSQL ended ({ended:?}):\n{}", dirs::tail(&log, 20));
            postgres.try_query("postgres", "SELECT 1").map(drop)
        });
        postgres
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Creates a database, and runs a script in it.
    #[track_caller]
    pub fn create(&self, database: &str, script: &str) {
        self.run("postgres", &format!("CREATE DATABASE {database};"));
        self.run(database, script);
    }

    /// Runs statements, each in its own transaction, up to the first that fails.
    #[track_caller]
    pub fn run(&self, database: &str, statements: &str) {
        self.psql(database, statements).unwrap_or_else(|error| panic!("{database}: {error}"));
    }

    /// The rows of a query, with `|` between columns.
    #[track_caller]
    pub fn query(&self, database: &str, query: &str) -> Vec<String> {
        self.try_query(database, query).unwrap_or_else(|error| panic!("{database}: {query}: {error}"))
    }

    /// The only value of a query that has one.
    #[track_caller]
    pub fn value(&self, database: &str, query: &str) -> String {
        let rows = self.query(database, query);
        let [row] = &rows[..] else { panic!("{query}: {} rows", rows.len()) };
        row.clone()
    }

    pub fn try_query(&self, database: &str, query: &str) -> Result<Vec<String>, String> {
        Ok(self.psql(database, query)?.lines().map(str::to_owned).collect())
    }

    fn psql(&self, database: &str, statements: &str) -> Result<String, String> {
        let mut command = Command::new(self.programs.join("psql"));
        // The settings of a person for their own servers do not count.
        command.env_clear().env("LC_ALL", "C.UTF-8").env("PGCONNECT_TIMEOUT", "10");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres"]);
        command.args(["-p", &self.port.to_string(), "-d", database, "-f", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A Ctrl-C is not for it.
        command.process_group(0);
        let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        // One that could not connect has hung up already; it says why on its stderr.
        let _ = child.stdin.take().expect("it was piped").write_all(statements.as_bytes());
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        if output.status.success() {
            String::from_utf8(output.stdout).map_err(|error| error.to_string())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            // A fast shutdown; killed, it would leave a segment of shared memory.
            process.end(libc::SIGINT, STOP_WITHIN);
        }
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

// === impl User ===

impl User {
    #[expect(unsafe_code, reason = "a number of this process")]
    /// PostgreSQL refuses to run as root: there it is the user that its package made. `None`: whoever we are.
    fn for_postgres() -> Option<User> {
        // SAFETY: it only reads a number of this process.
        if unsafe { libc::geteuid() } != 0 {
            return None;
        }
        let id = |which| {
            let output = Command::new("id").args([which, "postgres"]).output().expect("coreutils");
            let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            text.parse().unwrap_or_else(|_| panic!("there is no user postgres: run `tools/setup.sh shop`"))
        };
        Some(User { uid: id("-u"), gid: id("-g") })
    }
}

/// The folder of the server's programs: Debian's newest, or that on the PATH.
fn programs() -> PathBuf {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    let version = |path: &Path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let newest = debian.map(|path| (version(&path), path.join("bin"))).filter(|(_, bin)| bin.join("initdb").is_file()).max();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = || std::env::split_paths(&path).find(|bin| bin.join("initdb").is_file());
    let found = newest.map(|(_, bin)| bin).or_else(on_path);
    found.unwrap_or_else(|| panic!("PostgreSQL's initdb is missing: run `make test`, or `tools/setup.sh shop` first"))
}

fn command(program: &Path, user: Option<User>) -> Command {
    let mut command = Command::new(program);
    // The other user may not be allowed into our directory.
    command.env_clear().env("LC_ALL", "C.UTF-8").current_dir("/").stdin(Stdio::null());
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    command
}
