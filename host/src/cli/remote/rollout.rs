//! The wait until a revision runs on every host: `deploy` and `rollback` end as the rollout does.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::api_types::{Desired, Rollout, RolloutState, StatusView, Word};
use crate::model::codes::Code;
use crate::model::names::TransformId;
use crate::model::units::Span;

use super::super::error::{Error, Kind, Result};
use super::super::text;
use super::client::Response;
use super::session::{Session, route};

/// Time between two requests for the status.
const INTERVAL: Duration = Duration::from_millis(200);
/// Time for one request: a host that hangs must not outlast `--timeout` by much.
const LOOK_TIME: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Do not wait until the hosts of the transform run the revision
    #[arg(long)]
    no_wait: bool,
    /// Longest wait
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    timeout: Span,
}

/// The progress that a status shows.
enum Progress {
    Underway,
    Complete,
}

impl WaitArgs {
    /// Waits until `revision` runs everywhere, or would run if the transform were not paused, or has failed. `change` is the
    /// answer that accepted the revision: with `--output json` the last answer of the host is shown, which is `change` if
    /// there is no wait.
    pub fn finish(&self, session: &Session, id: &TransformId, revision: u64, change: Response) -> Result<()> {
        if self.no_wait {
            return session.json(&change);
        }
        let last = self.wait(session, id, revision)?;
        session.json(&last)?;
        session.text(&outcome(id, revision, &last)?)
    }

    /// Waits as [`Self::finish`] does, and returns the text of the outcome: the caller has more than one transform. The text is
    /// empty if there is no wait.
    pub fn until_it_runs(&self, session: &Session, id: &TransformId, revision: u64) -> Result<String> {
        if self.no_wait {
            return Ok(String::new());
        }
        let last = self.wait(session, id, revision)?;
        outcome(id, revision, &last)
    }

    fn wait(&self, session: &Session, id: &TransformId, revision: u64) -> Result<Response> {
        let deadline = deadline(Instant::now(), self.timeout);
        let client = session.client.within(self.timeout.0.clamp(INTERVAL, LOOK_TIME));
        let display = Display::new(id);
        loop {
            let last = match client.get(&route(id, "/status")) {
                Ok(answer) => {
                    let status: StatusView = answer.parse()?;
                    let line = describe(&status);
                    display.update(&status, &line);
                    if let Progress::Complete = progress(session, &status, id, revision)? {
                        return Ok(answer);
                    }
                    line
                }
                // The host may be on its way back; the rollout goes on without this client.
                Err(error) if error.may_pass() => error.to_string(),
                Err(error) if error.has_code(Code::NotSignedIn) => {
                    let hint =
                        format!("the token ended, and the rollout goes on: sign in again, then `sandbar status {id}`");
                    return Err(error.with_hint(hint));
                }
                Err(error) => return Err(error),
            };
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                let message = format!("revision {revision} of {id} does not run everywhere after {}: {last}", self.timeout);
                let hint = format!("the rollout goes on: `sandbar status {id}` shows it, --timeout waits longer");
                return Err(Error::new(Kind::TimedOut, message).with_hint(hint));
            }
            std::thread::sleep(left.map_or(INTERVAL, |left| left.min(INTERVAL)));
        }
    }
}

/// Describes that the revision runs, or that it would.
fn outcome(id: &TransformId, revision: u64, last: &Response) -> Result<String> {
    let status: StatusView = last.parse()?;
    if status.desired == Word::Known(Desired::Paused) {
        let hint = format!("`sandbar resume {id}` starts it");
        return Ok(format!("{id} is accepted as revision {revision}, but is paused: {hint}\n"));
    }
    Ok(format!("{id} runs revision {revision}\n"))
}

/// The end of the wait. `None`: the clock does not reach that far, so the wait has no end.
fn deadline(now: Instant, timeout: Span) -> Option<Instant> {
    now.checked_add(timeout.0)
}

fn progress(session: &Session, status: &StatusView, id: &TransformId, revision: u64) -> Result<Progress> {
    let rollout = &status.rollout;
    if rollout.revision > revision {
        let message = format!("revision {revision} of {id} was replaced by {} while it was rolled out", rollout.revision);
        let hint = format!("`sandbar revisions {id}` shows who came after; --if-revision guards against it");
        return Err(Error::new(Kind::Failed, message).with_hint(hint));
    }
    match rollout.state {
        // A host that has not heard of the revision yet shows the rollout of the one before.
        _ if rollout.revision < revision => Ok(Progress::Underway),
        Word::Known(RolloutState::Complete) => Ok(Progress::Complete),
        Word::Known(RolloutState::Failed) => Err(failed(session, rollout, id)),
        Word::Known(RolloutState::InProgress | RolloutState::Ready) | Word::Unknown(_) => Ok(Progress::Underway),
    }
}

/// The error of a failed rollout, with the guest's message and the page of its code.
fn failed(session: &Session, rollout: &Rollout, id: &TransformId) -> Error {
    let head = format!("revision {} of {id} failed", rollout.revision);
    let goes_on = "the revision before goes on, if there is one";
    let Some(error) = &rollout.error else {
        return Error::new(Kind::Failed, format!("{head}: the host does not say why")).with_hint(goes_on);
    };
    let place = error.offset.map_or(String::new(), |offset| format!(" (at offset {offset})"));
    let page = session.client.url(&format!("/errors/{}", error.code));
    Error::new(Kind::Failed, format!("{head}: {}{place}", error.message))
        .with_code(&*error.code)
        .with_hint(format!("{page} says what to do; {goes_on}"))
}

fn describe(status: &StatusView) -> String {
    let arrived = status.hosts.iter().filter(|host| host.revision >= status.rollout.revision).count();
    format!("revision {} is {}, on {arrived} of {}", status.rollout.revision, status.rollout.state, {
        text::count(status.hosts.len() as u64, "host")
    })
}

/// Shows the progress: a bar over the partitions on a terminal, otherwise a line for each step.
struct Display {
    bar: Option<ProgressBar>,
    id: TransformId,
    shown: std::cell::RefCell<String>,
}

impl Display {
    fn new(id: &TransformId) -> Self {
        let style = ProgressStyle::with_template("{spinner} {prefix} [{bar:30}] {pos}/{len} partitions  {msg}");
        let style = style.expect("a valid template").progress_chars("=> ");
        let bar = || ProgressBar::new(0).with_style(style).with_prefix(id.to_string());
        Self { bar: std::io::stderr().is_terminal().then(bar), id: id.clone(), shown: Default::default() }
    }

    fn update(&self, status: &StatusView, line: &str) {
        let Some(bar) = &self.bar else {
            if self.shown.replace(line.to_owned()) != line {
                text::tell(format_args!("{}: {line}", self.id));
            }
            return;
        };
        let partitions = || status.hosts.iter().flat_map(|host| &host.partitions);
        bar.set_length(partitions().count() as u64);
        bar.set_position(partitions().filter(|partition| partition.revision >= status.rollout.revision).count() as u64);
        bar.set_message(line.to_owned());
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(timeout: &str, has_end: bool) {
        let timeout = timeout.parse().expect("a span");
        assert_eq!(deadline(Instant::now(), timeout).is_some(), has_end);
    }

    #[test]
    fn an_absurd_timeout_has_no_end() {
        check("60s", true);
        check("18446744073709551615s", false);
        check("500000000000years", false);
    }
}
