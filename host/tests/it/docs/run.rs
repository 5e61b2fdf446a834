//! Runs pages: the commands of each, in order, in one shell, with the files that the page shows, so that none says something
//! that is not so.
//!
//! | block | |
//! |---|---|
//! | `sh` | runs; a command that fails ends the test. After a block that ends with `&` its host is waited for |
//! | `sh`, after `<!-- not run: REASON -->` | is passed over |
//! | `sh`, after `<!-- run by PATH -->` | is run by that test or page, and passed over here |
//! | `sh`, after `<!-- run until it is interrupted -->` | each command is interrupted after some seconds; it fails if it ends before |
//! | `text` | is the output of the block before it: `..` stands for any text, a line `...` for any lines |
//! | any language with `file=PATH` | is written to PATH, in the folder that the shell is in |
//!
//! Other blocks are for the reader alone, but a tutorial has none. The pages of a folder run one after the other, in one shell.

use std::borrow::Cow;
use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sandbar_pages::matches;
use sandbar_pages::page::{self, Block};

use super::places::{PAGES, TUTORIAL};
use crate::cli::command::isolated;
use crate::cli::run::fixture;

/// Longest time for a tutorial. It compiles a crate several times.
const PATIENCE: Duration = Duration::from_secs(500);
const PAUSE: Duration = Duration::from_millis(50);
/// Begins the line in the output that precedes the output of a block; its page and the line of its fence follow.
const MARK: &str = "@@@@ ";
/// Begins each script. `listening` waits for the page's host.
const PRELUDE: &str = r#"set -euo pipefail
listening() { until command curl --silent --fail --output /dev/null "$HOST/readyz"; do sleep 0.1; done; }
"#;

/// A part of a tutorial.
#[derive(Debug, PartialEq)]
enum Step<'a> {
    Run { commands: Cow<'a, str>, shown: Option<&'a str>, at: String },
    Write { file: &'a str, content: &'a str },
}

/// The shell with all that it has started, which are killed when this is dropped.
struct Shell(Child);

#[test]
fn the_readme_runs() {
    run("README.md");
}

#[test]
fn the_tutorial_runs() {
    run("docs/tutorial.md");
}

#[test]
fn the_guide_runs() {
    run("docs/guide.md");
}

#[test]
fn the_page_of_the_api_runs() {
    run("docs/api.md");
}

#[test]
fn the_page_of_the_command_line_runs() {
    run("docs/cli.md");
}

#[test]
fn the_page_of_the_doctor_runs() {
    run("docs/doctor.md");
}

#[test]
fn the_page_of_folders_runs() {
    run("docs/folder.md");
}

#[test]
fn the_page_of_operators_runs() {
    run("docs/operate.md");
}

#[test]
fn the_page_of_secrets_runs() {
    run("docs/secrets.md");
}

#[test]
fn the_page_of_security_runs() {
    run("docs/security.md");
}

#[test]
fn the_page_of_state_runs() {
    run("docs/state.md");
}

#[test]
fn the_page_of_upgrades_runs() {
    run("docs/upgrading.md");
}

#[test]
fn the_runbooks_run() {
    run("docs/runbooks/");
}

#[test]
fn the_pages_of_errors_run() {
    run("docs/errors/");
}

#[test]
fn the_pages_of_the_shops_transforms_run() {
    run("transforms/");
}

/// Runs a page, or all pages below a folder.
#[track_caller]
fn run(name: &str) {
    let pages = page::all().into_iter().map(|path| page::name(&path)).filter(|page| page.starts_with(name));
    let pages: Vec<(String, String)> = pages.map(|page| (page.clone(), page::read(&page::root().join(page)))).collect();
    let steps = pages.iter().flat_map(|(page, text)| steps(page, text, name == TUTORIAL));
    let steps: Vec<Step> = steps.collect();
    let folder = tempfile::tempdir().expect("a folder");
    let place = PAGES.iter().find(|page| page.path == name).expect("a page of the list").place;
    let output = output_of(&script(place, &steps), folder.path());
    let parts: Vec<&str> = output.split(MARK).skip(1).collect();
    let runs = steps.iter().filter_map(|step| match step {
        Step::Run { shown, at, .. } => Some((shown, at)),
        Step::Write { .. } => None,
    });
    let runs: Vec<_> = runs.collect();
    assert_eq!(parts.len(), runs.len(), "each block has printed its mark:\n{output}");
    let mut wrong = String::new();
    for ((shown, at), part) in runs.into_iter().zip(parts) {
        let (_, actual) = part.split_once('\n').expect("a mark has a line of its own");
        if let Some(shown) = shown
            && !matches(shown, actual)
        {
            wrong.push_str(&format!("{at} shows:\n{shown}\nThe commands print:\n{actual}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// `all`: each block is to be a step.
fn steps<'a>(name: &str, page: &'a str, all: bool) -> Vec<Step<'a>> {
    let mut steps = Vec::new();
    let mut is_behind_another = false;
    for block in page::blocks(page) {
        let is_of_another = std::mem::replace(&mut is_behind_another, block.is_passed_over());
        let &Block { info, text, line, .. } = &block;
        // The output of commands that are passed over is passed over with them.
        if block.is_passed_over() || is_of_another && info == "text" {
            continue;
        }
        let file = info.split_whitespace().find_map(|word| word.strip_prefix("file="));
        match (info, file, steps.last_mut()) {
            (_, Some(file), _) => steps.push(Step::Write { file, content: text }),
            ("sh", None, _) => {
                let commands = if block.is_interrupted() { page::interrupted(text).into() } else { text.into() };
                steps.push(Step::Run { commands, shown: None, at: format!("{name}:{line}") });
            }
            ("text", None, Some(Step::Run { shown: shown @ None, .. })) => *shown = Some(text),
            _ if !all => {}
            _ => panic!("{name}:{line}: {info:?} is no block of a tutorial"),
        }
    }
    assert!(!all || steps.iter().any(|step| matches!(step, Step::Run { shown: Some(_), .. })), "nothing would be compared");
    steps
}

fn script(place: &[&str], steps: &[Step]) -> String {
    let mut script = format!("{PRELUDE}{}", place.concat());
    for step in steps {
        script.push_str(&match step {
            Step::Run { commands, at, .. } => {
                let wait = if commands.trim_end().ends_with('&') { "listening\n" } else { "" };
                // `set -e` does not end a script for a command before `&&`.
                let commands = commands.replace(" && ", "\n");
                format!("printf '{MARK}{at}\\n'\n{commands}{wait}")
            }
            Step::Write { file, content } => {
                format!("mkdir -p \"$(dirname {file})\"\ncat > {file} <<'END OF FILE'\n{content}END OF FILE\n")
            }
        });
    }
    script
}

/// Runs the script, and returns all that it printed.
fn output_of(script: &str, folder: &Path) -> String {
    // The port is free now.
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let binary = Path::new(env!("CARGO_BIN_EXE_sandbar")).parent().expect("it is in a folder");
    let own_path = std::env::var_os("PATH").expect("a PATH");
    let path = std::env::join_paths(std::iter::once(binary.to_owned()).chain(std::env::split_paths(&own_path)));
    let log = folder.join("output");
    let file = File::create(&log).expect("writable");
    let work = folder.join("work");
    std::fs::create_dir(&work).expect("made");
    let mut command = isolated(Command::new("bash"), &work);
    command.args(["-c", script]).stdout(file.try_clone().expect("a second handle")).stderr(file).stdin(Stdio::null());
    command.env("PATH", path.expect("no colon in the folder's name"));
    let url = format!("http://{address}");
    command.env("SANDBAR_LISTEN", address.to_string()).env("SANDBAR_URL", &url).env("HOST", url);
    command.env("ROOT", page::root()).env("TRANSFORMS", page::root().join("transforms"));
    command.env("GUESTS", fixture().parent().expect("it is in a folder"));
    // Crates of the templates are compiled there too.
    command.env("CARGO_TARGET_DIR", page::root().join("target/templates")).env("CARGO_NET_OFFLINE", "true");
    command.env("CARGO_TERM_COLOR", "never").process_group(0);
    let mut shell = Shell(command.spawn().expect("bash starts"));
    let started = Instant::now();
    let status = loop {
        let printed = || std::fs::read_to_string(&log).unwrap_or_default();
        if let Some(status) = shell.0.try_wait().expect("our own child") {
            break status;
        }
        assert!(started.elapsed() < PATIENCE, "not through after {PATIENCE:?}:\n{}", printed());
        std::thread::sleep(PAUSE);
    };
    let printed = std::fs::read_to_string(&log).expect("text");
    assert!(status.success(), "{status}:\n{printed}");
    printed
}

// === impl Shell ===

impl Drop for Shell {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        // Nobody may be left in it.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

#[test]
fn a_page_with_a_command_that_fails_is_wrong() {
    for (page, is_right) in [
        ("sandbar schema > schema.json", true),
        ("sandbar shema > schema.json\necho", false),
        ("sandbar shema && echo\necho", false),
    ] {
        let page = format!("```sh\n{page}\n```\n");
        let folder = tempfile::tempdir().expect("a folder");
        let ran = std::panic::catch_unwind(|| output_of(&script(&[], &steps("page", &page, false)), folder.path()));
        assert_eq!(ran.is_ok(), is_right, "{page}");
    }
}

#[test]
fn every_block_of_a_tutorial_is_a_step() {
    let page = "```rust file=src/lib.rs\nx\n```\n```sh\nls\n```\n```text\nsrc\n```\n";
    let run = Step::Run { commands: "ls\n".into(), shown: Some("src\n"), at: "page:4".into() };
    assert_eq!(steps("page", page, true), [Step::Write { file: "src/lib.rs", content: "x\n" }, run]);
    for page in ["```yaml\nx: 1\n```\n", "```text\nnothing before it\n```\n", "```sh\nls\n```\n"] {
        assert!(std::panic::catch_unwind(|| steps("page", page, true)).is_err(), "{page}");
    }
    let page = "```yaml\nx: 1\n```\n<!-- not run: it takes an hour -->\n```sh\nls\n```\n<!-- run by x.rs -->\n```sh\nls\n```\n```sh\npwd\n```\n";
    assert_eq!(steps("page", page, false), [Step::Run { commands: "pwd\n".into(), shown: None, at: "page:12".into() }]);
}

#[test]
fn a_command_that_is_to_be_interrupted_does_not_end_before() {
    for (command, is_right) in [("sleep 60  # until it is interrupted", true), ("true", false), ("false", false)] {
        let page = format!("<!-- run until it is interrupted -->\n```sh\n{command}\n```\n");
        let folder = tempfile::tempdir().expect("a folder");
        let ran = std::panic::catch_unwind(|| output_of(&script(&[], &steps("page", &page, false)), folder.path()));
        assert_eq!(ran.is_ok(), is_right, "{command}");
    }
}
