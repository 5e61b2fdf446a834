//! `sandbar-bench compare`: every rival beside Sandbar, on one broker.
//!
//! Contenders are processes of their own and run one after the other, A B C A B C ..., so that other load on the machine
//! hits all alike. Each reads a whole topic, writes its results, and commits every 100 ms. Then its output is compared
//! with those of the others.

use std::collections::HashMap;

use anyhow::{Context, ensure};
use sandbar_harness::{KafkaCluster, topics};

use crate::contender::{Contender, Kind};
use crate::digest::{self, Digest, Form};
use crate::figures::Figures;
use crate::run::Job;
use crate::work::{CUSTOMERS, HOT_KEYS, Work};
use crate::{PARTITIONS, bento, broker, contenders, input, quick, report, streams, variable};

/// A contender runs by default unless it is this one, which a run has to name.
const ON_REQUEST: [&str; 1] = ["tailed"];

pub fn run() -> anyhow::Result<()> {
    let records: u64 = variable("RECORDS", if quick() { 120_000 } else { 2_000_000 })?;
    let rounds: usize = variable("ROUNDS", if quick() { 1 } else { 3 })?;
    let keys: u64 = variable("UNIFORM_KEYS", if quick() { 50_000 } else { 1_000_000 })?;
    let contenders = chosen()?;
    let kafka = broker::start()?;
    let bytes = produce(&kafka, &contenders, records, keys);
    println!(
        "{records} orders of {bytes} bytes on average, {keys} uniform keys, {PARTITIONS} partitions, lz4; {rounds} rounds"
    );
    if contenders.iter().any(|contender| matches!(contender.kind, Kind::Streams(_))) {
        println!("{}", streams::described());
    }
    let mut measured: Vec<Vec<Figures>> = Vec::new();
    for round in 1..=rounds {
        let mut outputs = HashMap::new();
        let mut figures = Vec::new();
        for contender in &contenders {
            let output = format!("bench.{}.{round}", contender.name);
            topics::create(&kafka, &[&output], PARTITIONS);
            let run = contender.run(&kafka, &output, records).with_context(|| contender.name.to_owned())?;
            println!("round {round}  {:26} {run}", contender.name);
            compare(contender, digest::of(&kafka, &output, form(contender))?, records, &mut outputs)?;
            Job { input: "", output: &output, table: "" }.delete_topics(&kafka)?;
            figures.push(run);
        }
        measured.push(figures);
    }
    report::write(&contenders, &measured)
}

/// Those of `ONLY`, a list of names of contenders or works; without it all.
fn chosen() -> anyhow::Result<Vec<Contender>> {
    let only = std::env::var("ONLY").unwrap_or_default();
    let names: Vec<&str> = only.split(',').filter(|name| !name.is_empty()).collect();
    let all = contenders::all();
    for name in &names {
        let is_known = all.iter().any(|contender| [contender.name, contender.work.name()].contains(name));
        ensure!(is_known, "ONLY={name}: no contender and no work has this name");
    }
    let is_wanted = |contender: &Contender| match names[..] {
        [] => !ON_REQUEST.contains(&contender.name),
        _ => {
            names.contains(&contender.name)
                || names.contains(&contender.work.name()) && !ON_REQUEST.contains(&contender.name)
        }
    };
    let mut chosen: Vec<Contender> = all.into_iter().filter(is_wanted).collect();
    if chosen.iter().any(|contender| matches!(contender.kind, Kind::Bento)) && bento::program()?.is_none() {
        println!("Bento is left out: there is no Go on this machine");
        chosen.retain(|contender| !matches!(contender.kind, Kind::Bento));
    }
    Ok(chosen)
}

/// Produces the inputs that the contenders need; answers with the bytes of an order.
fn produce(kafka: &KafkaCluster, contenders: &[Contender], records: u64, keys: u64) -> u64 {
    let mut bytes = 0;
    for work in Work::ALL {
        let is_needed = contenders.iter().any(|contender| contender.work == work);
        if is_needed && topics::partitions(kafka, work.input()).is_none() {
            topics::create(kafka, &[work.input()], PARTITIONS);
            bytes = input::produce(kafka, work.input(), records, work.keys(keys));
        }
    }
    if contenders.iter().any(|contender| contender.work == Work::Join) {
        topics::create_with(kafka, &[CUSTOMERS], PARTITIONS, &[("cleanup.policy", "compact")]);
        input::produce_customers(kafka, CUSTOMERS, HOT_KEYS);
    }
    bytes / records
}

fn form(contender: &Contender) -> Form {
    if contender.is_apart { Form::Bytes } else { contender.work.form() }
}

/// Checks that an output is complete, and equal to the one that was there first.
fn compare(
    contender: &Contender,
    digest: Digest,
    records: u64,
    outputs: &mut HashMap<&'static str, (&'static str, Digest)>,
) -> anyhow::Result<()> {
    let name = contender.name;
    let done = if form(contender) == Form::Counts { digest.total } else { digest.entries };
    ensure!(done == records, "the output of {name} stands for {done} records in place of {records}");
    if !contender.is_apart {
        let (first, expected) = *outputs.entry(contender.work.name()).or_insert((name, digest));
        ensure!(expected == digest, "the outputs of {first} and {name} differ: {expected:?} and {digest:?}");
    }
    Ok(())
}
