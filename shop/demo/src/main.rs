//! `make demo`: builds field-strip, starts `sandbar dev`, lets a made-up web shop write its change events, uploads the
//! transform as a team would, and shows records going in and coming out.
//!
//! At its end (Ctrl-C, or `--for`) it stops the shop, waits until everything is through, and compares all outputs with
//! the shop's expectation. The exit code is 0 if they are equal.

mod api;
mod host;
mod shop;
mod show;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;

use api::Api;
use shop::Shop;

const INPUT: &str = "shop.public.new_orders";
const OUTPUT: &str = "orders.orders";
const PARTITIONS: u32 = 4;
const TRANSFORM: &str = "/v1/teams/orders/transforms/field-strip";

/// A web shop's orders, without the fields that the orders service does not need
#[derive(Debug, Parser)]
struct Arguments {
    /// End by itself after this time, such as 10s; without it, Ctrl-C ends it
    #[arg(long = "for", value_name = "DURATION")]
    time: Option<humantime::Duration>,
    /// Change events a second
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// The seed of the shop's random numbers
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    match demo(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ndemo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(arguments: &Arguments) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    ctrlc::set_handler(move || stopped.store(true, Ordering::Relaxed))?;

    let sandbar = std::env::current_exe()?.with_file_name("sandbar");
    let module = build_transform(&sandbar)?;
    // The demo's own folder, and nobody else's: each run begins with an empty log.
    let data = PathBuf::from(".sandbar/demo");
    if data.exists() {
        std::fs::remove_dir_all(&data).with_context(|| data.display().to_string())?;
    }
    let host = host::Host::start(&sandbar, &data)?;
    let api = Api::new(host.address());
    show::step("waiting until the host is ready");
    host.wait_ready(&api, Duration::from_secs(30))?;
    show::step(&format!("creating the topics {INPUT} and {OUTPUT}"));
    api.create_topic(INPUT, PARTITIONS)?;
    api.create_topic(OUTPUT, PARTITIONS)?;
    let spec = std::fs::read_to_string("transforms/field-strip/transform.yaml").context("run this from the repository")?;
    let address = host.address();
    show::step("uploading the transform, as its team does:");
    println!("    curl -X PUT -F spec=@transforms/field-strip/transform.yaml -F module=@{} \\", module.display());
    println!("      http://{address}{TRANSFORM}");
    let accepted = api.deploy(TRANSFORM, &spec, &std::fs::read(&module)?)?;
    show::step(&format!("accepted as revision {}", accepted["revision"]));
    show::step(&format!("watch it in the console: http://{address}/"));

    let shop = Shop::open(api.clone(), arguments.seed, arguments.rate);
    let deadline = arguments.time.map(|time| Instant::now() + *time);
    let mut screen = show::Screen::new(&api);
    while !stop.load(Ordering::Relaxed) && deadline.is_none_or(|deadline| Instant::now() < deadline) {
        std::thread::sleep(Duration::from_millis(100));
        screen.refresh()?;
        ensure!(!shop.has_ended(), "the shop could not write its events");
    }
    let written = shop.close()?;
    finish(&api, &written)?;
    println!("\nThe host of this demo is stopped with it. To go on by hand, start it again on the same data:");
    println!("    target/debug/sandbar dev --data-dir .sandbar/demo");
    print_next(&format!("http://{address}"));
    host.stop()
}

fn build_transform(sandbar: &std::path::Path) -> anyhow::Result<PathBuf> {
    let out = PathBuf::from("target/field_strip.wasm");
    show::step("building transforms/field-strip (the first time takes a minute):");
    println!("    sandbar build --manifest-path transforms/field-strip/Cargo.toml --out {}", out.display());
    let built = Command::new(sandbar)
        .args(["build", "--manifest-path", "transforms/field-strip/Cargo.toml", "--out"])
        .arg(&out)
        .env("CARGO_TARGET_DIR", "target/guests")
        .stdout(std::process::Stdio::null())
        .status()
        .with_context(|| format!("starting {}", sandbar.display()))?;
    ensure!(built.success(), "sandbar build failed");
    Ok(out)
}

/// Waits until all is through, compares, prints the summary.
fn finish(api: &Api, written: &shop::Written) -> anyhow::Result<()> {
    let totals = wait_until_through(api, written.events)?;
    let found = shop::read_all(api, OUTPUT, PARTITIONS)?;
    let equal = found == written.expected;
    println!("\nsummary");
    println!("  records in        {:>9}   (the shop wrote {})", totals.records_in, written.events);
    println!("  records out       {:>9}   (expected {})", totals.records_out, written.outputs());
    println!("  dropped           {:>9}   (expected {})", totals.filtered, written.events - written.outputs());
    println!("  failed            {:>9}   (expected 0)", totals.failed);
    println!("  output, per key   {:>9}", if equal { "equal" } else { "DIFFERS" });
    ensure!(totals.records_in == written.events, "not every record was processed exactly once");
    ensure!(totals.records_out == written.outputs(), "the output has a wrong number of records");
    ensure!(totals.filtered == written.events - written.outputs() && totals.failed == 0, "records were dropped or failed");
    ensure!(equal, "the output differs from what the shop expects");
    Ok(())
}

fn wait_until_through(api: &Api, events: u64) -> anyhow::Result<show::Totals> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let totals = show::Totals::read(api)?;
        if totals.records_in >= events || Instant::now() > deadline {
            return Ok(totals);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn print_next(address: &str) {
    println!("\nTry next (in another terminal):");
    println!("    curl {address}{TRANSFORM}/status");
    println!("    curl '{address}/v1/topics/{OUTPUT}/records?partition=0&offset=-3&form=json'");
    println!("    curl -s {address}/metrics | grep ^sandbar_records");
}
