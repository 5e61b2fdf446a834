//! `make bench`: Sandbar beside its rivals and beside the least that a client can cost, and the figures of everything that
//! is promised. docs/benchmarks/method.md describes each program, docs/benchmarks/results.md has figures.
//!
//! Each program of [`PROGRAMS`] is `sandbar-bench NAME`; without a name it is `compare`. `all` runs those of `make bench`.
//! QUICK=1 makes each short, and leaves out two. RECORDS, ROUNDS and ONLY=name,name are for `compare`; KAFKA_PROPERTIES (name=value, by commas)
//! overrides a client property of all contenders that are built on librdkafka.

mod all;
mod ballast;
mod bento;
mod broker;
mod cold;
mod compare;
mod contender;
mod contenders;
mod curves;
mod deploy;
mod digest;
mod failover;
mod fair;
mod figures;
mod input;
mod job;
mod latency;
mod many;
mod partitions;
mod process_use;
mod report;
mod restart;
mod restore;
mod results;
#[expect(unsafe_code, reason = "librdkafka, as a C client would use it")]
mod rival;
mod rolling;
mod run;
mod sandbar;
mod sharing;
mod simulate;
mod stats;
mod streams;
mod svg;
mod swap;
mod table;
mod target;
mod trickle;
mod victim;
mod work;

use std::str::FromStr;

use anyhow::Context;

const PARTITIONS: i32 = 4;

/// A program of this binary.
struct Program {
    name: &'static str,
    run: fn() -> anyhow::Result<()>,
    part: Part,
    /// Variables that QUICK=1 sets for it, where it does not look at QUICK itself.
    quick: &'static [(&'static str, &'static str)],
}

/// The runs of `make bench` that a program is a part of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Always,
    /// Not with QUICK=1: in seconds it measures noise.
    Full,
    Never,
}

const PROGRAMS: [Program; 16] = [
    Program { name: "compare", run: compare::run, part: Part::Always, quick: &[] },
    Program { name: "latency", run: latency::run, part: Part::Always, quick: &[] },
    Program { name: "swap", run: swap::run, part: Part::Always, quick: &[("SWAPS", "10")] },
    Program { name: "restart", run: restart::run, part: Part::Always, quick: &[("TRANSFORMS", "10"), ("ROUNDS", "1")] },
    Program { name: "restore", run: restore::run, part: Part::Always, quick: &[("KEYS", "1000000")] },
    Program { name: "fair", run: fair::run, part: Part::Full, quick: &[] },
    Program { name: "many", run: many::run, part: Part::Always, quick: &[] },
    Program { name: "sharing", run: sharing::run, part: Part::Never, quick: &[] },
    Program { name: "partitions", run: partitions::run, part: Part::Always, quick: &[] },
    Program { name: "failover", run: failover::run, part: Part::Always, quick: &[] },
    Program { name: "cold", run: cold::run, part: Part::Always, quick: &[] },
    Program { name: "deploy", run: deploy::run, part: Part::Always, quick: &[] },
    Program { name: "rolling", run: rolling::run, part: Part::Full, quick: &[] },
    Program { name: "simulate", run: simulate::run, part: Part::Always, quick: &[] },
    Program { name: "curves", run: curves::run, part: Part::Always, quick: &[] },
    Program { name: "victim", run: victim::run, part: Part::Never, quick: &[] },
];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => compare::run(),
        ["all"] => all::run(),
        [rival::SUBCOMMAND, work, brokers, group, input, output] => rival::run(work.parse()?, brokers, group, input, output),
        [sharing::SUBCOMMAND, shape, brokers, input, transforms] => {
            sharing::run_clients(shape.parse()?, brokers, input, transforms.parse()?)
        }
        [name] => program(name),
        _ => anyhow::bail!("{}", usage()),
    }
}

fn program(name: &str) -> anyhow::Result<()> {
    let program = PROGRAMS.iter().find(|program| program.name == name).with_context(usage)?;
    (program.run)()
}

fn usage() -> String {
    let names: Vec<&str> = PROGRAMS.iter().map(|program| program.name).collect();
    format!("all, {}, or no argument; RECORDS, ROUNDS and QUICK are taken from the environment", names.join(", "))
}

/// A variable of the environment, or its default.
fn variable<T: FromStr>(name: &str, default: T) -> anyhow::Result<T> {
    match std::env::var(name) {
        Ok(raw) => raw.parse().ok().with_context(|| format!("{name}={raw} is no number")),
        Err(_) => Ok(default),
    }
}

/// Returns true if a short run is wanted.
fn quick() -> bool {
    std::env::var("QUICK").is_ok_and(|value| value == "1")
}
