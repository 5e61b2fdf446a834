//! The system's keyring: a Secret Service of the user's session, which `secret-tool` reaches (ADR 25).
//!
//! A token goes over standard input and output, never among the words of a command.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::super::error::{Error, Result};
use crate::model::codes::Code;
use crate::model::random::random_id;
use crate::model::text::{OneLine, cut};

const PROGRAM: &str = "secret-tool";
/// A locked keyring asks its user for a password.
const TIME_MAX: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);
/// Longest output that is read: that of the longest token.
const OUTPUT_BYTES_MAX: u64 = 32 * 1024;
const MESSAGE_BYTES_MAX: usize = 300;

/// The end of a run of the program.
struct Ran {
    status: ExitStatus,
    out: String,
    err: String,
}

/// Keeps a token for a URL. Returns the id of the entry, or the reason why it is not kept.
pub fn put(url: &str, token: &str) -> std::result::Result<String, String> {
    let id = random_id();
    let label = format!("--label=Sandbar: {}", OneLine(url));
    let ran = run(&["store", &label], &id, url, Some(token))?;
    match ran.status.success() {
        true => Ok(id),
        false if ran.err.is_empty() => Err(format!("{PROGRAM} failed")),
        false => Err(ran.err),
    }
}

/// The token of an entry. One that is not there is an error: without it the caller would be somebody else.
pub fn get(id: &str, url: &str) -> Result<String> {
    let ran = run(&["lookup"], id, url, None).map_err(|reason| unusable(&reason))?;
    if ran.status.success() && !ran.out.is_empty() {
        return Ok(ran.out);
    }
    // Without a message it has looked, and found nothing.
    Err(unusable(if ran.err.is_empty() { "it does not have the token of this context" } else { &ran.err }))
}

/// Removes an entry, if it is there.
pub fn clear(id: &str, url: &str) -> Result<()> {
    let ran = run(&["clear"], id, url, None).map_err(|reason| unusable(&reason))?;
    // An entry that is not there is no failure, although the program's status says so.
    if ran.status.success() || ran.err.is_empty() { Ok(()) } else { Err(unusable(&ran.err)) }
}

/// Runs the program on the entry of an id and a URL. An error is the reason why it did not end by itself.
fn run(words: &[&str], id: &str, url: &str, input: Option<&str>) -> std::result::Result<Ran, String> {
    let mut command = Command::new(PROGRAM);
    command.args(words).args(["application", "sandbar", "id", id, "url", url]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{PROGRAM}: {error}"))?;
    // A program that has ended says why on its own.
    let _ = child.stdin.take().map(|mut pipe| pipe.write_all(input.unwrap_or_default().as_bytes()));
    let status = wait(&mut child)?;
    let err = read(child.stderr.take());
    Ok(Ran { status, out: read(child.stdout.take()), err: OneLine(cut(err.trim(), MESSAGE_BYTES_MAX)).to_string() })
}

/// Its output is smaller than a pipe holds: it need not be read meanwhile.
fn wait(child: &mut Child) -> std::result::Result<ExitStatus, String> {
    let deadline = Instant::now() + TIME_MAX;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            ended => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(match ended {
                    Err(error) => format!("{PROGRAM}: {error}"),
                    Ok(_) => format!("{PROGRAM} did not end within {} s", TIME_MAX.as_secs()),
                });
            }
        }
    }
}

fn read(pipe: Option<impl Read>) -> String {
    let mut text = String::new();
    // Output that is not text is none.
    let _ = pipe.map(|pipe| pipe.take(OUTPUT_BYTES_MAX).read_to_string(&mut text));
    text
}

/// The error of a keyring that cannot be used, with the reason.
pub fn unusable(reason: &str) -> Error {
    Error::usage(format_args!("the system's keyring cannot be used: {reason}")).with(Code::Keyring)
}
