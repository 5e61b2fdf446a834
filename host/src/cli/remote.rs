//! The verbs that talk to a host over HTTP: a client of the API, which knows no more than [`crate::api_types`].

mod access;
mod audit;
mod body;
mod client;
mod context;
mod control;
mod deploy;
mod dry_run;
mod event_stream;
mod folder;
mod keyring;
mod login;
mod logs;
mod look;
mod manifest;
mod offsets;
mod provider;
mod provider_login;
mod rate;
mod redirect;
mod registry;
mod revisions;
mod rollout;
mod session;
mod state;
mod support;
mod teams;
mod tokens;
mod url_part;

use std::process::ExitCode;

use clap::Subcommand;

use self::audit::AuditArgs;
use self::control::DeleteArgs;
use self::deploy::DeployArgs;
use self::dry_run::DryRunArgs;
use self::folder::{ApplyArgs, PlanArgs, PruneArgs};
use self::login::{LoginArgs, LogoutArgs};
use self::logs::{LogsArgs, TailArgs};
use self::look::{HostsArgs, ListArgs};
use self::offsets::OffsetsVerb;
use self::registry::PullArgs;
use self::revisions::{DiffArgs, RollbackArgs};
use self::session::Target;
use self::state::StateVerb;
use self::support::SupportBundleArgs;
use self::teams::TeamsArgs;
use self::tokens::{TokenVerb, WhoamiArgs};
use super::error::Result;

pub(super) use self::body::Body;
pub(super) use self::client::Client;
pub use self::context::ContextArgs;
pub(super) use self::session::Remote;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Deploy the transforms of a spec file, and wait until they run
    Deploy(Remote<DeployArgs>),
    /// Show the changes that would make the cluster as a folder of specs says; exits with 4 if there are any, with 5 if
    /// somebody changed the folder's transforms by hand
    Plan(Remote<PlanArgs>),
    /// Make the cluster as a folder of specs says, and wait until all runs
    Apply(Remote<ApplyArgs>),
    /// Delete the transforms that were applied from a folder and have left it
    Prune(Remote<PruneArgs>),
    /// Pull a module from an OCI registry into a file
    Pull(PullArgs),
    /// List transforms with their state and lag
    #[command(visible_alias = "ls")]
    List(Remote<ListArgs>),
    /// Show a transform's current revision and spec
    Describe(Remote<Target>),
    /// Show a transform's status, per host and partition
    Status(Remote<Target>),
    /// Show the log lines of a transform's guest, and the transform's events
    Logs(Remote<LogsArgs>),
    /// Show samples of a transform's input records, with their outputs
    Tail(Remote<TailArgs>),
    /// List a transform's revisions, newest first
    Revisions(Remote<Target>),
    /// Show the differences of two revisions in spec and module; exits with 1 if there are any
    Diff(Remote<DiffArgs>),
    /// Bring an earlier revision's spec and module back, as a new revision, and wait until it runs
    Rollback(Remote<RollbackArgs>),
    /// Run a transform, or a candidate for it, over records without any effect; exits with 1 if a record fails
    Test(Remote<DryRunArgs>),
    /// Show or set a transform's committed offsets
    #[command(subcommand)]
    Offsets(OffsetsVerb),
    /// Look up entries of a transform's stores, or empty the stores
    #[command(subcommand)]
    State(StateVerb),
    /// Stop a transform after its open transaction; offsets stay
    Pause(Remote<Target>),
    /// Resume a paused transform, also partitions that stopped before a bad record
    Resume(Remote<Target>),
    /// Restart a transform's workers from the committed offsets
    Restart(Remote<Target>),
    /// Delete a transform; its topics and offsets stay
    Delete(Remote<DeleteArgs>),
    /// List the cluster's hosts
    Hosts(Remote<HostsArgs>),
    /// Show the limits of teams, and their use of them
    Teams(Remote<TeamsArgs>),
    /// Sign in: keep a token in the context, if the host knows it
    Login(Remote<LoginArgs>),
    /// Forget the token of the context
    Logout(Remote<LogoutArgs>),
    /// Make, list and revoke tokens
    #[command(subcommand)]
    Token(TokenVerb),
    /// Show who the host takes you for, and your roles
    Whoami(Remote<WhoamiArgs>),
    /// Show who changed what, and who was refused
    Audit(Remote<AuditArgs>),
    /// Write all that a host tells of the cluster's state to an archive, for whoever helps; without configs and records
    SupportBundle(Remote<SupportBundleArgs>),
}

// === impl Verb ===

impl Verb {
    pub fn run(self) -> Result<ExitCode> {
        match self {
            Self::Deploy(verb) => verb.run(deploy::deploy),
            Self::Plan(verb) => return verb.run(folder::plan),
            Self::Apply(verb) => verb.run(folder::apply),
            Self::Prune(verb) => verb.run(folder::prune),
            Self::Pull(args) => registry::pull(args),
            Self::List(verb) => verb.run(look::list),
            Self::Describe(verb) => verb.run(look::describe),
            Self::Status(verb) => verb.run(look::status),
            Self::Logs(verb) => verb.run(logs::logs),
            Self::Tail(verb) => verb.run(logs::tail),
            Self::Revisions(verb) => verb.run(revisions::revisions),
            Self::Diff(verb) => return verb.run(revisions::diff),
            Self::Rollback(verb) => verb.run(revisions::rollback),
            Self::Test(verb) => return verb.run(dry_run::dry_run),
            Self::Offsets(verb) => verb.run(),
            Self::State(verb) => verb.run(),
            Self::Pause(verb) => verb.run(control::pause),
            Self::Resume(verb) => verb.run(control::resume),
            Self::Restart(verb) => verb.run(control::restart),
            Self::Delete(verb) => verb.run(control::delete),
            Self::Hosts(verb) => verb.run(look::hosts),
            Self::Teams(verb) => verb.run(teams::teams),
            Self::Login(verb) => login::login(verb),
            Self::Logout(verb) => login::logout(verb),
            Self::Token(verb) => verb.run(),
            Self::Whoami(verb) => verb.run(tokens::whoami),
            Self::Audit(verb) => verb.run(audit::audit),
            Self::SupportBundle(verb) => return verb.run(support::support_bundle),
        }
        .map(|()| ExitCode::SUCCESS)
    }
}
