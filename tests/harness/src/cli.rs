//! The command line against a host, as a person uses it: verbs that end, and verbs that go on.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::child::Process;
use crate::{Host, dirs};

/// The command line in a folder of its own, for one host.
pub struct Cli {
    pub folder: PathBuf,
    url: String,
    /// The caller's token, on a host that asks for one.
    token: Option<String>,
}

/// The result of a verb.
#[derive(Debug)]
pub struct CommandResult {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// A verb that goes on, and all that it has printed.
pub struct RunningCommand {
    pub process: Process,
    file: PathBuf,
}

impl Cli {
    pub fn new(name: &str, host: &Host) -> Self {
        Self::at(name, host.address())
    }

    /// For a host of any kind.
    pub fn at(name: &str, host: SocketAddr) -> Self {
        Self { folder: dirs::fresh(name), url: format!("http://{host}"), token: None }
    }

    /// With the token of a caller, as another verb has printed it.
    pub fn signed_in(self, token: &str) -> Self {
        Self { token: Some(token.trim().to_owned()), ..self }
    }

    pub fn command(&self, words: &str) -> Command {
        let mut command = Command::new(dirs::sandbar());
        command.args(words.split(' ')).current_dir(&self.folder).stdin(Stdio::null());
        command.env("SANDBAR_URL", &self.url).env("XDG_CONFIG_HOME", self.folder.join("config"));
        command.envs(self.token.iter().map(|token| ("SANDBAR_TOKEN", token)));
        command
    }

    pub fn run(&self, words: &str) -> CommandResult {
        Self::ended(&mut self.command(words))
    }

    /// Runs a command to its end.
    pub fn ended(command: &mut Command) -> CommandResult {
        let output = command.output().expect("the binary runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        CommandResult { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Runs a verb that must succeed, and returns its output.
    #[track_caller]
    pub fn succeeds(&self, words: &str) -> String {
        let ran = self.run(words);
        assert_eq!(ran.code, Some(0), "sandbar {words}: {ran:?}");
        ran.out
    }

    /// Runs a verb with `-o json` that must succeed, and returns its output.
    #[track_caller]
    pub fn json(&self, words: &str) -> Value {
        let out = self.succeeds(&format!("{words} -o json"));
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("sandbar {words}: {error} in {out}"))
    }

    /// Starts a verb that goes on.
    pub fn start(&self, words: &str) -> RunningCommand {
        let file = self.folder.join(format!("{}.out", words.replace(['/', ' '], "_")));
        RunningCommand { process: Process::start(words, self.command(words), &file), file }
    }
}

impl RunningCommand {
    /// All that it has printed.
    pub fn text(&self) -> String {
        std::fs::read_to_string(&self.file).expect("its output is there")
    }

    /// The lines of JSON that it has printed.
    pub fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.file).expect("its output is there");
        // A line that is still being written has no line break.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}
