//! `sandbar-bench all`: the programs of `make bench` one after the other, each in a process of its own, and all targets
//! together at the end.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};

use sandbar_harness::KafkaCluster;

use crate::{PROGRAMS, Part, Program, bento, broker, quick, results};

pub fn run() -> anyhow::Result<()> {
    build_bento()?;
    let shared = if quick() { Some(broker::start()?) } else { None };
    let mut targets = Vec::new();
    let mut failed = Vec::new();
    for program in PROGRAMS.iter().filter(|program| is_part(program.part)) {
        let started = Instant::now();
        println!("=== {}", program.name);
        let (found, is_well) = run_one(program, shared.as_ref())?;
        println!("=== {} took {:.0} s", program.name, started.elapsed().as_secs_f64());
        targets.extend(found);
        if !is_well {
            failed.push(program.name);
        }
    }
    println!("\n{}", targets.join("\n"));
    results::file("targets.md", &markdown(&targets))?;
    ensure!(failed.is_empty(), "these ended with an error: {}", failed.join(", "));
    Ok(())
}

fn is_part(part: Part) -> bool {
    part == Part::Always || part == Part::Full && !quick()
}

/// Go builds it once, in a minute or more: the time is none of the programs'.
fn build_bento() -> anyhow::Result<()> {
    let started = Instant::now();
    if bento::program()?.is_some() {
        println!("=== Bento was built in {:.0} s", started.elapsed().as_secs_f64());
    }
    Ok(())
}

/// The lines of its targets, and whether it ended well.
fn run_one(program: &Program, broker: Option<&KafkaCluster>) -> anyhow::Result<(Vec<String>, bool)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(program.name).stdout(Stdio::piped());
    for (name, value) in program.quick.iter().filter(|(name, _)| quick() && std::env::var_os(name).is_none()) {
        command.env(name, value);
    }
    if let Some(kafka) = broker {
        broker::share(kafka, &mut command)?;
    }
    let mut child = command.spawn()?;
    let mut targets = Vec::new();
    for line in BufReader::new(child.stdout.take().context("it is piped")?).lines() {
        let line = line?;
        println!("{line}");
        if line.starts_with("target ") {
            targets.push(line);
        }
    }
    Ok((targets, child.wait()?.success()))
}

/// The lines of targets as a table.
fn markdown(targets: &[String]) -> String {
    let mut text = "# Targets\n| target | measured | limit | |\n|---|---|---|---|\n".to_owned();
    for target in targets {
        let words: Vec<&str> = target.split(' ').skip(1).collect();
        text.push_str(&format!("| {} |\n", words.join(" | ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_row() {
        let rows = markdown(&["target strip_by_native_cpu 1.400 <=1.45 ok".to_owned()]);
        assert!(rows.ends_with("\n| strip_by_native_cpu | 1.400 | <=1.45 | ok |\n"), "{rows}");
    }

    #[test]
    fn each_program_has_a_name_of_its_own() {
        let mut names: Vec<&str> = PROGRAMS.iter().map(|program| program.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PROGRAMS.len());
    }
}
