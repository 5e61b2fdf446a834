//! Verbs that change how a transform runs: pause, resume, restart, delete.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;

use super::super::error::{Error, Result};
use super::body::Body;
use super::session::{Session, Target, route};

#[derive(Debug, Args)]
pub struct DeleteArgs {
    #[command(flatten)]
    target: Target,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub fn pause(target: Target, session: &Session) -> Result<()> {
    control(target, session, "pause", "pauses after its open transaction; its offsets stay")
}

pub fn resume(target: Target, session: &Session) -> Result<()> {
    control(target, session, "resume", "goes on from its committed offsets")
}

pub fn restart(target: Target, session: &Session) -> Result<()> {
    control(target, session, "restart", "starts again from its committed offsets")
}

fn control(target: Target, session: &Session, verb: &str, effect: &str) -> Result<()> {
    let id = target.id()?;
    let answer = session.client.send("POST", &route(&id, &format!("/{verb}")), &Body::default())?;
    session.show(&answer, |_: serde_json::Value| format!("{id} {effect}\n"))
}

pub fn delete(args: DeleteArgs, session: &Session) -> Result<()> {
    let id = args.target.id()?;
    if !args.yes && !confirm(&format!("Delete {id}? Its topics and offsets stay. [y/N] "))? {
        return Err(Error::usage("nothing was deleted"));
    }
    session.client.send("DELETE", &route(&id, ""), &Body::default())?;
    // With --output json there is no output: the API's answer is empty.
    session.text(&format!("{id} is deleted; its topics and offsets stay\n"))
}

/// Asks on the terminal. Without a terminal the verb needs `--yes`.
pub fn confirm(question: &str) -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(Error::usage("this needs a confirmation, and there is no terminal").with_hint("give --yes"));
    }
    let failed =
        |error: io::Error| Error::usage(format_args!("the terminal cannot be used: {error}")).with_hint("give --yes");
    let mut line = String::new();
    io::stderr().write_all(question.as_bytes()).map_err(failed)?;
    io::stdin().lock().read_line(&mut line).map_err(failed)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}
