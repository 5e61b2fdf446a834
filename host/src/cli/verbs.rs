//! The verbs that talk to a host over HTTP.

use std::process::ExitCode;

use clap::Subcommand;

use super::control::{self, DeleteArgs};
use super::deploy::{self, DeployArgs};
use super::error::Result;
use super::logs::{self, LogsArgs, TailArgs};
use super::look::{self, HostsArgs, ListArgs};
use super::offsets::OffsetsVerb;
use super::revisions::{self, DiffArgs, RollbackArgs};
use super::session::{Remote, Target};
use super::state::StateVerb;
use super::trial::{self, TestArgs};

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Deploy the transforms of a spec file, and wait until they run
    Deploy(Remote<DeployArgs>),
    /// List transforms with their state and lag
    #[command(visible_alias = "ls")]
    List(Remote<ListArgs>),
    /// Show a transform's current revision and spec
    Describe(Remote<Target>),
    /// Show how a transform is doing, per host and partition
    Status(Remote<Target>),
    /// Show what a transform's guest logged, and what happened to it
    Logs(Remote<LogsArgs>),
    /// Show samples of a transform's records: what went in, and what came of it
    Tail(Remote<TailArgs>),
    /// List a transform's revisions, newest first
    Revisions(Remote<Target>),
    /// Show how two revisions differ in spec and module; exits with 1 if they do
    Diff(Remote<DiffArgs>),
    /// Bring an earlier revision's spec and module back, as a new revision, and wait until it runs
    Rollback(Remote<RollbackArgs>),
    /// Try a transform, or a candidate for it, on records, without any effect; exits with 1 if a record fails
    Test(Remote<TestArgs>),
    /// Show or set where a transform goes on
    #[command(subcommand)]
    Offsets(OffsetsVerb),
    /// Look into a transform's stores, or let it begin with empty ones
    #[command(subcommand)]
    State(StateVerb),
    /// Stop a transform after its open transaction; offsets stay
    Pause(Remote<Target>),
    /// Let a paused transform go on, also partitions that stopped before a bad record
    Resume(Remote<Target>),
    /// Restart a transform's workers from the committed offsets
    Restart(Remote<Target>),
    /// Delete a transform; its topics and offsets stay
    Delete(Remote<DeleteArgs>),
    /// List the cluster's hosts
    Hosts(Remote<HostsArgs>),
}

// === impl Verb ===

impl Verb {
    pub fn run(self) -> Result<ExitCode> {
        match self {
            Self::Deploy(verb) => verb.run(deploy::deploy),
            Self::List(verb) => verb.run(look::list),
            Self::Describe(verb) => verb.run(look::describe),
            Self::Status(verb) => verb.run(look::status),
            Self::Logs(verb) => verb.run(logs::logs),
            Self::Tail(verb) => verb.run(logs::tail),
            Self::Revisions(verb) => verb.run(revisions::revisions),
            Self::Diff(verb) => return verb.run(revisions::diff),
            Self::Rollback(verb) => verb.run(revisions::rollback),
            Self::Test(verb) => return verb.run(trial::test),
            Self::Offsets(verb) => verb.run(),
            Self::State(verb) => verb.run(),
            Self::Pause(verb) => verb.run(control::pause),
            Self::Resume(verb) => verb.run(control::resume),
            Self::Restart(verb) => verb.run(control::restart),
            Self::Delete(verb) => verb.run(control::delete),
            Self::Hosts(verb) => verb.run(look::hosts),
        }
        .map(|()| ExitCode::SUCCESS)
    }
}
