//! The `sandbar` binary.

use std::process::ExitCode;

use clap::Parser;
use sandbar::cli::{Cli, Command};

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::CompileModule { module, artifact, memory_bytes_max } => {
            return sandbar::guest::compile::child_main(&module, &artifact, memory_bytes_max);
        }
        Command::Build(build) => build.run(),
        _ => Err(anyhow::anyhow!("soon")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
