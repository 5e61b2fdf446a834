//! The `sandbar` binary.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use sandbar::app::{self, Backend};
use sandbar::cli::{self, Cli, Command};
use sandbar::config::{Config, Flags, KafkaFlags};
use sandbar::ports::Log;
use sandbar::telemetry::logging;

/// A store's path allocates several short texts for each record, which the C library's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    logging::report_panics();
    match Cli::parse().command {
        Command::CompileModule { limits } => sandbar::guest::compile::child_main(&limits),
        Command::Run(run) => cli::ended(run.run()),
        Command::Build(build) => cli::ended(build.run()),
        Command::Serve { options, kafka } => cli::ended(serve(*options, kafka)),
        Command::Dev { options } => cli::ended(dev(*options)),
        Command::Doctor(doctor) => cli::ended(doctor.run(app::doctor)),
        Command::New(new) => cli::ended(new.run()),
        Command::Sdk(sdk) => cli::ended(sdk.run()),
        Command::Sign(sign) => cli::ended(sign.run()),
        Command::Verify(verify) => cli::ended(verify.run()),
        Command::Schema => cli::ended(cli::schema()),
        Command::Remote(verb) => cli::ended(verb.run()),
        Command::Topics(verb) => cli::ended(verb.run(open_kafka)),
        Command::Backup(args) => cli::ended(args.run(open_kafka)),
        Command::Restore(args) => cli::ended(args.run(open_kafka)),
        Command::Context(args) => cli::ended(args.run()),
        Command::Completion { shell } => cli::ended(cli::completion(shell)),
        Command::Man { folder } => cli::ended(cli::man(&folder)),
    }
}

fn open_kafka(cli::Brokers { addresses, config }: cli::Brokers) -> anyhow::Result<Arc<dyn Log>> {
    app::kafka_log(addresses, config)
}

fn serve(options: Flags, mut kafka: KafkaFlags) -> Result<ExitCode, cli::Error> {
    let config = options.resolve(Some(&mut kafka), ".sandbar/serve").map_err(cli::Error::option)?;
    let backend = Backend::kafka(kafka).map_err(|error| cli::Error::usage(format_args!("{error:#}")))?;
    run(config, backend)
}

fn dev(options: Flags) -> Result<ExitCode, cli::Error> {
    let config = options.resolve(None, ".sandbar/dev").map_err(cli::Error::option)?;
    run(config, Backend::Embedded)
}

/// Runs a host to its end.
fn run(config: Config, backend: Backend) -> Result<ExitCode, cli::Error> {
    app::run(config, backend).map(|()| ExitCode::SUCCESS).map_err(cli::Error::failed)
}
