//! The `sandbar` binary.

use std::process::ExitCode;

use clap::Parser;
use sandbar::app::{self, Backend};
use sandbar::cli::{Cli, Command};

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::CompileModule { module, artifact, memory_bytes_max } => {
            return sandbar::guest::compile::child_main(&module, &artifact, memory_bytes_max);
        }
        Command::Run(run) => return run.run(),
        Command::Build(build) => build.run(),
        Command::Serve { options, mut kafka } => options
            .resolve(Some(&mut kafka), ".sandbar/serve")
            .map_err(anyhow::Error::msg)
            .and_then(|config| app::run(config, Backend::kafka(kafka)?)),
        Command::Dev { options } => options
            .resolve(None, ".sandbar/dev")
            .map_err(anyhow::Error::msg)
            .and_then(|config| app::run(config, Backend::Embedded)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
