//! The command line: one binary for the host, for authors and for whoever is on call.

mod build;
mod run;

use clap::{Parser, Subcommand};

use crate::config::{KafkaOptions, Options};

pub use build::BuildArgs;
pub use run::RunArgs;

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
        options: Box<Options>,
        #[command(flatten)]
        kafka: KafkaOptions,
    },
    /// Run a host on an embedded log: no Kafka needed, for one process, topics are reached over HTTP
    Dev {
        #[command(flatten)]
        options: Box<Options>,
    },
    /// Build a guest crate into a component that the host takes; prints its path
    Build(BuildArgs),
    Run(RunArgs),
    /// Compile a module away from the host (the host calls this itself)
    #[command(name = crate::guest::compile::SUBCOMMAND, hide = true)]
    CompileModule {
        module: std::path::PathBuf,
        artifact: std::path::PathBuf,
        memory_bytes_max: u64,
    },
}
