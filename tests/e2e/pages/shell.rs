//! The shell of a reader: it runs the blocks of the pages that name one test as their runner, with what they show.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use sandbar_harness::child::Process;
use sandbar_harness::{Cli, dirs, wait};
use sandbar_pages::page::{self, Block};

/// Longest time of a block that `start` has started.
const PATIENCE: Duration = Duration::from_secs(60);

/// A block of commands, and the one with their output right behind it.
struct Commands {
    name: String,
    /// Page and line of its fence.
    at: String,
    text: String,
    shown: Option<String>,
}

/// The shell, with the blocks that are left.
pub(crate) struct PageShell {
    pub(crate) folder: PathBuf,
    /// What the pages call a thing, and what it is called here.
    names: Vec<(&'static str, String)>,
    variables: Vec<(&'static str, String)>,
    left: Vec<Commands>,
}

/// A block whose commands run while the test goes on.
pub(crate) struct RunningBlock {
    process: Process,
    log: PathBuf,
}

impl PageShell {
    /// All blocks with the comment `<!-- run by RUNNER: NAME -->`.
    pub(crate) fn new(runner: &str, names: Vec<(&'static str, String)>) -> Self {
        let mut left = Vec::new();
        for path in page::all() {
            let page = page::read(&path);
            let blocks = page::blocks(&page);
            for (index, block) in blocks.iter().enumerate() {
                let Some(name) = block.name_in(runner) else { continue };
                let at = format!("{}:{}", page::name(&path), block.line);
                assert_eq!(block.info, "sh", "{at} has no commands");
                let is_output = |next: &&Block<'_>| next.info == "text" && next.comment.is_none();
                let shown = blocks.get(index + 1).filter(is_output).map(|next| next.text.to_owned());
                left.push(Commands { name: name.to_owned(), at, text: block.text.to_owned(), shown });
            }
        }
        Self { folder: dirs::fresh("pages"), names, variables: Vec::new(), left }
    }

    /// Gives the commands a variable of the environment.
    pub(crate) fn set(&mut self, variable: &'static str, value: &str) {
        self.variables.push((variable, value.to_owned()));
    }

    /// Says what a thing of the pages is called here.
    pub(crate) fn name(&mut self, theirs: &'static str, ours: &str) {
        self.names.push((theirs, ours.to_owned()));
    }

    pub(crate) fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.folder.join(file), content).expect("written");
    }

    /// Adds a program that the commands find before those of this machine.
    pub(crate) fn add_program(&self, name: &str, script: &str) {
        let folder = self.folder.join("bin");
        std::fs::create_dir_all(&folder).expect("made");
        let file = folder.join(name);
        std::fs::write(&file, script).expect("written");
        std::fs::set_permissions(&file, Permissions::from_mode(0o755)).expect("it is ours");
    }

    pub(crate) fn path(&self, file: &str) -> String {
        self.folder.join(file).to_str().expect("UTF-8").to_owned()
    }

    /// Runs a block whose commands all succeed, compares its output with its page, and returns all that it printed.
    #[track_caller]
    pub(crate) fn runs(&mut self, name: &str) -> String {
        self.runs_with("set -euo pipefail", name)
    }

    /// Runs a block whose last command succeeds.
    #[track_caller]
    pub(crate) fn runs_to_the_end(&mut self, name: &str) -> String {
        self.runs_with("set -u", name)
    }

    /// Runs a block whose commands go on until they are interrupted.
    #[track_caller]
    pub(crate) fn interrupts(&mut self, name: &str) -> String {
        let block = self.take(name);
        self.run(&block, "set -euo pipefail", &page::interrupted(&block.text))
    }

    #[track_caller]
    fn runs_with(&mut self, options: &str, name: &str) -> String {
        let block = self.take(name);
        self.run(&block, options, &block.text)
    }

    #[track_caller]
    fn run(&self, block: &Commands, options: &str, commands: &str) -> String {
        let ran = Cli::ended(&mut self.command(options, commands));
        let Commands { at, shown, .. } = block;
        assert_eq!(ran.code, Some(0), "{at}: {commands}\n{}{}", ran.out, ran.err);
        if let Some(shown) = shown {
            assert!(sandbar_pages::matches(shown, &ran.out), "{at} shows:\n{shown}\nThe commands print:\n{}", ran.out);
        }
        ran.out + &ran.err
    }

    /// Starts a block. One that is a host is a single command, which this replaces the shell with.
    #[track_caller]
    pub(crate) fn start(&mut self, name: &str) -> RunningBlock {
        let block = self.take(name);
        let replaced = if block.text.lines().count() == 1 { format!("exec {}", block.text) } else { block.text };
        let log = self.folder.join(format!("{name}.log"));
        RunningBlock { process: Process::start(&block.at, self.command("set -euo pipefail", &replaced), &log), log }
    }

    fn take(&mut self, name: &str) -> Commands {
        let at = self.left.iter().position(|block| block.name == name);
        self.left.remove(at.unwrap_or_else(|| panic!("no page has {name}")))
    }

    pub(crate) fn command(&self, options: &str, commands: &str) -> Command {
        let commands = self.names.iter().fold(commands.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours));
        let own_path = std::env::var("PATH").expect("UTF-8");
        let binary = dirs::sandbar();
        let own = self.folder.join("bin");
        let programs = [&own, binary.parent().expect("it is in a folder")].map(Path::display);
        let mut command = Command::new("bash");
        command.args(["-c", &format!("{options}\n{commands}")]).current_dir(&self.folder).stdin(Stdio::null());
        command.env("PATH", format!("{}:{}:{own_path}", programs[0], programs[1]));
        // Nothing of a test goes into the keyring of whoever runs it.
        command.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/dev/null").env("XDG_CONFIG_HOME", self.folder.join("config"));
        command.env("SANDBAR_LISTEN", "127.0.0.1:0").envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Every block of this runner has run.
    #[track_caller]
    pub(crate) fn end(self) {
        let left: Vec<&str> = self.left.iter().map(|block| block.at.as_str()).collect();
        assert!(left.is_empty(), "nobody runs {left:?}");
    }
}

impl RunningBlock {
    /// All that it has printed.
    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(&self.log).expect("its output is there")
    }

    /// Waits until its commands are through, which all succeed.
    #[track_caller]
    pub(crate) fn ends(mut self) -> String {
        let ended = wait::until("the block is through", PATIENCE, || self.process.ended().ok_or_else(|| self.text()));
        assert!(ended.success(), "{}", self.text());
        self.text()
    }
}
