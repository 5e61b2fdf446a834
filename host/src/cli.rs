//! The command line: one binary for the host, for authors of transforms (`author`), for everybody who works with a
//! running cluster (`remote`, a client of the HTTP API), and for the records of topics (`topics`).

mod author;
mod backup;
mod doctor;
mod error;
mod remote;
mod text;
mod topics;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{Flags, KafkaFlags};

pub use author::{BuildArgs, NewArgs, RunArgs, SdkArgs, SignArgs, VerifyArgs};
pub use backup::{BackupArgs, RestoreArgs};
pub use doctor::DoctorArgs;
pub use error::Error;
pub use remote::{ContextArgs, Verb};
pub use topics::{Brokers, TopicVerb};

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
    Doctor(DoctorArgs),
    /// Make a folder with a transform that builds and tests at once
    New(NewArgs),
    /// Write the sources of this version's SDK to a folder, which transforms depend on
    Sdk(SdkArgs),
    /// Build a guest crate into a component that the host takes; prints its path
    Build(BuildArgs),
    Run(RunArgs),
    Sign(SignArgs),
    Verify(VerifyArgs),
    /// Print the JSON Schema of transform.yaml, by which editors complete and check a spec
    Schema,
    #[command(flatten)]
    Remote(Box<Verb>),
    #[command(flatten)]
    Topics(Box<TopicVerb>),
    Backup(BackupArgs),
    Restore(RestoreArgs),
    /// Name the clusters that you work with
    Context(ContextArgs),
    /// Print the completion script of a shell: source <(sandbar completion bash)
    Completion {
        shell: clap_complete::Shell,
    },
    /// Write the manual page of every verb to a folder (packages carry them)
    #[command(hide = true)]
    Man {
        /// The folder, which exists
        folder: PathBuf,
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
    let all = Cli::command();
    // The script would offer verbs that are not for people, too.
    let shown = all.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned();
    let mut command = clap::Command::new("sandbar").version(env!("CARGO_PKG_VERSION")).subcommands(shown);
    clap_complete::generate(shell, &mut command, "sandbar", &mut script);
    text::emit(&String::from_utf8_lossy(&script)).map(|()| ExitCode::SUCCESS)
}

/// Writes `sandbar.1`, and a page for each verb that is not hidden.
pub fn man(folder: &Path) -> Result<ExitCode, Error> {
    clap_mangen::generate_to(Cli::command(), folder).map_err(|error| Error::file(folder, error))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the JSON Schema of a spec.
pub fn schema() -> Result<ExitCode, Error> {
    let schema = serde_json::to_string_pretty(&crate::api_types::spec_schema()).expect("a schema is plain data");
    text::emit(&(schema + "\n")).map(|()| ExitCode::SUCCESS)
}

/// The exit code of a verb; prints the error of one that failed.
pub fn ended(result: Result<ExitCode, Error>) -> ExitCode {
    result.unwrap_or_else(|error| {
        text::tell(&error);
        error.exit_code()
    })
}
