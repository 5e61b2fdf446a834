//! `sandbar plan`, `apply` and `prune`: a folder of specs is the truth for the transforms that carry its label.
//!
//! ```text
//! folder.yaml, *.yaml --walk--> files --content--> Desired --+
//!                                                            +--plan (pure)--> Plan --> shown, or carried out
//! host ------------------GET---deployed----------> Cluster --+
//! ```
//!
//! A change of the cluster is made only by `apply` and `prune`, and each only if the transform is as the plan saw it.

mod apply;
mod content;
mod deployed;
mod difference;
mod fingerprint;
mod plan;
mod show;
mod walk;
mod write_failure;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use self::apply::{Accepted, ApplyResult, carry_out, conflict, foreign, in_part};
use self::content::FolderSpecs;
use self::deployed::{Cluster, Labelled, look_labelled};
use self::plan::{Change, Plan, plan as plan_of};
use self::show::PlanView;
use self::write_failure::WriteFailure;

use super::super::error::{Error, Kind, Result};
use super::super::text::{self, Output};
use super::body::{Body, Expected};
use super::control::confirm;
use super::rate::at_rate;
use super::registry::RegistryArgs;
use super::rollout::WaitArgs;
use super::session::{Session, route};

/// The exit code of a plan that has changes.
const CHANGES: u8 = 4;
/// The exit code of a plan that undoes changes by hand.
const DRIFT: u8 = 5;
/// The hint of a prune that ended between two deletions.
const PRUNE_AGAIN: &str = "correct the named cause and prune again: the transforms that are pruned by now stay deleted";

#[derive(Debug, Args)]
pub struct FolderArgs {
    /// The folder: folder.yaml with its name, and specs in *.yaml below it
    #[arg(long, short = 'f', value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// Plan for transforms of other folders too, as apply --take-over would change them
    #[arg(long)]
    take_over: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

#[derive(Debug, Args)]
pub struct ApplyArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// Take over transforms that belong to other folders
    #[arg(long)]
    take_over: bool,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(Debug, Args)]
pub struct PruneArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Delete all transforms of the folder, if there is no spec left in it
    #[arg(long)]
    all: bool,
}

/// Shows the changes that apply and prune would make. The exit code tells if there are any, and if any undoes a change by
/// hand.
pub fn plan(args: PlanArgs, session: &Session) -> Result<ExitCode> {
    let specs = FolderSpecs::read(&args.folder.folder)?;
    let folder = specs.folder.clone();
    let desired = specs.desired(&args.folder.folder, &args.registry)?;
    let cluster = Cluster::look(session, &folder, &desired)?;
    let plan = plan_of(&folder, &desired, &cluster, args.take_over);
    match session.output {
        Output::Text => text::emit(&show::text(&plan))?,
        Output::Json => text::emit_value(&PlanView::of(&plan))?,
    }
    let errors = plan.changes.iter().filter_map(|change| match change {
        Change::Foreign { id, folder, .. } => Some(foreign(id, folder)),
        _ => None,
    });
    if let Some(error) = Error::of_all(Kind::Failed, "transforms belong to other folders", errors.collect()) {
        return Err(error);
    }
    let summary = plan.summary();
    Ok(match summary.drift {
        0 if summary.is_empty() => ExitCode::SUCCESS,
        0 => ExitCode::from(CHANGES),
        _ => ExitCode::from(DRIFT),
    })
}

/// Makes the cluster as the folder says. Transforms that left the folder stay until `prune`.
pub fn apply(args: ApplyArgs, session: &Session) -> Result<()> {
    let specs = FolderSpecs::read(&args.folder.folder)?;
    let folder = specs.folder.clone();
    let desired = specs.desired(&args.folder.folder, &args.registry)?;
    let cluster = Cluster::look(session, &folder, &desired)?;
    let plan = plan_of(&folder, &desired, &cluster, args.take_over);
    let mut write_failure = WriteFailure::default();
    let done = make(&plan, &args, session, &mut write_failure);
    write_failure.end(done)
}

/// Makes the changes of a plan, and waits for their rollouts.
fn make(plan: &Plan<'_>, args: &ApplyArgs, session: &Session, write_failure: &mut WriteFailure) -> Result<()> {
    write_failure.keep(session.text(&show::text(plan)));
    let ApplyResult { accepted, error } = carry_out(plan, &args.registry, session, write_failure)?;
    if let Some(error) = error {
        write_failure.keep(applied(plan, &accepted, session));
        return Err(error);
    }
    // All are waited for, so that the first that fails hides no other.
    let mut failed = Vec::new();
    for Accepted { id, revision } in &accepted {
        match args.wait.until_it_runs(session, id, *revision) {
            Ok(text) => write_failure.keep(session.text(&text)),
            Err(error) => failed.push(error),
        }
    }
    write_failure.keep(applied(plan, &accepted, session));
    let kind = failed.first().map_or(Kind::Failed, |error| error.kind);
    Error::of_all(kind, "rollouts did not end well", failed).map_or(Ok(()), Err)
}

/// Shows the accepted changes, if the output is JSON: the text has them by now.
fn applied(plan: &Plan<'_>, accepted: &[Accepted], session: &Session) -> Result<()> {
    if session.output == Output::Text {
        return Ok(());
    }
    let accepted = accepted.iter().map(|it| json!({"transform": it.id.to_string(), "revision": it.revision}));
    text::emit_value(&json!({"plan": PlanView::of(plan), "applied": accepted.collect::<Vec<_>>()}))
}

/// Deletes the transforms that carry the folder's label and have no spec in it.
pub fn prune(args: PruneArgs, session: &Session) -> Result<()> {
    let specs = FolderSpecs::read(&args.folder.folder)?;
    // A folder that cannot be applied is not what its author wants, and tells nothing of what is to go.
    specs.check(&args.folder.folder)?;
    let labelled = look_labelled(session, &specs.folder)?;
    let gone = labelled.into_iter().filter(|it| !specs.specs.contains_key(&it.id)).collect::<Vec<_>>();
    let names: Vec<String> = gone.iter().map(|it| it.id.to_string()).collect();
    // A checkout that went wrong has no specs either.
    if specs.specs.is_empty() && !gone.is_empty() && !args.all {
        let message = format!("there is no spec in it, and its label is on {}", names.join(", "));
        return Err(Error::folder(&args.folder.folder, message).with_hint("--all deletes every transform of the folder"));
    }
    if gone.is_empty() {
        session.text(&format!("folder {}: nothing to prune\n", specs.folder))?;
    } else if !args.yes && !confirm(&format!("Delete {}? Topics and offsets stay. [y/N] ", names.join(", ")))? {
        return Err(Error::usage("nothing was deleted"));
    }
    let mut write_failure = WriteFailure::default();
    let mut pruned = 0;
    let done: Result<()> = gone.iter().try_for_each(|it| {
        delete(it, session)?;
        pruned += 1;
        write_failure.keep(session.text(&format!("{} is deleted; its topics and offsets stay\n", it.id)));
        Ok(())
    });
    if session.output == Output::Json && (pruned > 0 || done.is_ok()) {
        let names = &names[..pruned];
        write_failure.keep(text::emit_value(&json!({"folder": specs.folder.as_str(), "pruned": names})));
    }
    write_failure.end(done.map_err(|error| match pruned {
        0 => error,
        _ => in_part("pruned", &names[..pruned], &names[pruned..], &error).with_hint(PRUNE_AGAIN),
    }))
}

/// Deletes a transform, if it is as it was listed.
fn delete(it: &Labelled, session: &Session) -> Result<()> {
    let Labelled { id, revision } = it;
    let body = Body { expected: Expected::Revision(*revision), ..Body::default() };
    let deleted = at_rate(|| session.client.send("DELETE", &route(id, ""), &body));
    deleted.map(drop).map_err(|error| conflict(session, id, error).in_place(id))
}
