//! The real binary: as a command that ends, and as a host on a free port.

use std::io::PipeWriter;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest time for a host to be ready.
const PATIENCE: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(20);

/// A run of the command line in a folder of its own.
pub struct Cli<'a> {
    pub folder: &'a Path,
    pub url: &'a str,
}

/// The exit code and the output of a run.
#[derive(Debug)]
pub struct RunResult {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// `sandbar dev`, which is killed when this is dropped.
pub struct Dev {
    pub url: String,
    process: Child,
}

/// The binary, without the settings of the test's environment.
pub fn sandbar(folder: &Path) -> Command {
    isolated(Command::new(env!("CARGO_BIN_EXE_sandbar")), folder)
}

/// A command in a folder, without the settings of the test's environment for `sandbar`.
pub fn isolated(mut command: Command, folder: &Path) -> Command {
    command
        .current_dir(folder)
        .env_remove("SANDBAR_URL")
        .env_remove("SANDBAR_TOKEN")
        .env_remove("SANDBAR_CA")
        // Nothing of a test goes into the keyring of whoever runs it.
        .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/dev/null")
        .env("XDG_CONFIG_HOME", folder.join("config"));
    command.stdin(Stdio::null());
    command
}

/// A standard error that nobody reads.
pub fn unread() -> PipeWriter {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer
}

// === impl Cli ===

impl Cli<'_> {
    /// Runs with these words, split at spaces.
    pub fn run(&self, words: &str) -> RunResult {
        RunResult::of(sandbar(self.folder).args(words.split(' ')).env("SANDBAR_URL", self.url))
    }

    /// Runs with success; returns the output.
    #[track_caller]
    pub fn succeeds(&self, words: &str) -> String {
        let ran = self.run(words);
        assert_eq!(ran.code, 0, "sandbar {words}: {ran:?}");
        ran.out
    }

    /// Runs with success and `-o json`; returns the output.
    #[track_caller]
    pub fn json(&self, words: &str) -> Value {
        let out = self.succeeds(&format!("{words} -o json"));
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error} in {out}"))
    }

    /// Runs and ends with this code; standard error has all of these parts.
    #[track_caller]
    pub fn fails(&self, words: &str, code: i32, parts: &[&str]) {
        let ran = self.run(words);
        assert_eq!(ran.code, code, "sandbar {words}: {ran:?}");
        for part in parts {
            assert!(ran.err.contains(part), "sandbar {words}: {part:?} is not in {ran:?}");
        }
    }
}

// === impl RunResult ===

impl RunResult {
    pub fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().expect("the binary starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Self { code: status.code().expect("no signal ended it"), out: text(stdout), err: text(stderr) }
    }
}

// === impl Dev ===

impl Dev {
    /// Starts a host with an empty data folder below `folder`, and waits until it is ready.
    pub fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    /// Starts a host with more options.
    pub fn start_with(folder: &Path, options: &[&str]) -> Self {
        Self::start_telling(folder, options, std::fs::File::create(folder.join("host.log")).expect("writable"))
    }

    /// Starts a host with more options, and with this standard error.
    pub fn start_telling(folder: &Path, options: &[&str], stderr: impl Into<Stdio>) -> Self {
        // The port is free now. A host that finds it taken ends, which the wait notices.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        let mut command = sandbar(folder);
        command.args(["dev", "--data-dir", "data", "--listen", &address.to_string()]).args(options);
        let process = command.stdout(Stdio::null()).stderr(stderr).spawn().expect("it starts");
        let url = format!("http://{address}");
        let mut host = Self { url: url.clone(), process };
        host.wait_ready(folder, || ureq::get(format!("{url}/readyz")).call().is_ok());
        host
    }

    /// Starts a host with TLS, which answers to `localhost`. `client` are the words with which the command line reaches it.
    pub fn start_secure(folder: &Path, options: &[&str], client: &[&str]) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        let log = std::fs::File::create(folder.join("host.log")).expect("writable");
        let mut command = sandbar(folder);
        command.args(["dev", "--data-dir", "data", "--listen", &address.to_string()]).args(options);
        let process = command.stdout(Stdio::null()).stderr(log).spawn().expect("it starts");
        let url = format!("https://localhost:{}", address.port());
        let mut host = Self { url: url.clone(), process };
        host.wait_ready(folder, || {
            let ran = RunResult::of(sandbar(folder).args(["hosts", "--url", &url]).args(client));
            assert!(ran.code == 0 || ran.err.contains("no host answers") || ran.err.contains("is starting"), "{ran:?}");
            ran.code == 0
        });
        host
    }

    fn wait_ready(&mut self, folder: &Path, ready: impl Fn() -> bool) {
        let started = Instant::now();
        while !ready() {
            let log = || std::fs::read_to_string(folder.join("host.log")).unwrap_or_default();
            let ended = self.process.try_wait().expect("our own child");
            assert!(ended.is_none() && started.elapsed() < PATIENCE, "no host ({ended:?}): {}", log());
            std::thread::sleep(PAUSE);
        }
    }

    pub fn create_topics(&self, names: &[&str]) {
        for name in names {
            let request = ureq::put(format!("{}/v1/topics/{name}", self.url)).header("content-type", "application/json");
            request.send("{\"partitions\": 2}").expect("created");
        }
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
