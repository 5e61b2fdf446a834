//! The command line: one binary for the host, for authors and for whoever is on call.

mod build;
mod client;
mod context;
mod control;
mod deploy;
mod error;
mod logs;
mod look;
mod manifest;
mod new;
mod offsets;
mod revisions;
mod rollout;
mod run;
mod session;
mod state;
mod text;
mod trial;
mod verbs;
mod wire;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{Flags, KafkaFlags};

pub use build::BuildArgs;
pub use context::ContextArgs;
pub use error::Error;
pub use new::NewArgs;
pub use run::RunArgs;
pub use verbs::Verb;

/// Runs teams' sandboxed WebAssembly transforms next to Kafka, exactly once
#[derive(Debug, Parser)]
#[command(name = "sandbar", version, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a host on a Kafka cluster
    Serve {
        #[command(flatten)]
        options: Box<Flags>,
        #[command(flatten)]
        kafka: KafkaFlags,
    },
    /// Run a host on an embedded log: no Kafka needed, for one process, topics are reached over HTTP
    Dev {
        #[command(flatten)]
        options: Box<Flags>,
    },
    /// Make a folder with a transform that builds and tests at once
    New(NewArgs),
    /// Build a guest crate into a component that the host takes; prints its path
    Build(BuildArgs),
    Run(RunArgs),
    #[command(flatten)]
    Remote(Verb),
    /// Name the clusters that you work with
    Context(ContextArgs),
    /// Print the completion script of a shell: source <(sandbar completion bash)
    Completion {
        shell: clap_complete::Shell,
    },
    /// Compile a module away from the host (the host calls this itself)
    #[command(name = crate::guest::compile::SUBCOMMAND, hide = true)]
    CompileModule {
        /// The parent's limits, as JSON
        limits: String,
    },
}

/// Prints the shell's completion script.
pub fn completion(shell: clap_complete::Shell) -> Result<ExitCode, Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sandbar", &mut script);
    text::emit(&String::from_utf8_lossy(&script)).map(|()| ExitCode::SUCCESS)
}

/// The exit code of a verb; says why where it did not succeed.
pub fn ended(result: Result<ExitCode, Error>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("{error}");
        error.exit_code()
    })
}
