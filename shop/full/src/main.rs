//! `make shop`: the whole shop on this machine, with all its real parts, traffic, and a host that may be killed.
//!
//! At its end (Ctrl-C, or `--for`) it stops the traffic, waits until everything is through, and compares each sink's
//! table with the result of SQL over the source. The exit code is 0 if they are equal.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use sandbar_harness::{KafkaCluster, dirs};
use sandbar_shop_full::Shop;
use sandbar_shop_full::plan::{SINKS, SOURCE, TRANSFORMS};

const ROUND: Duration = Duration::from_millis(500);
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// Changes while there is no host.
const MISSED: usize = 50;

/// The web shop end to end: PostgreSQL, Debezium, Kafka, transforms, JDBC sinks, PostgreSQL
#[derive(Debug, Parser)]
#[command(name = "shop")]
struct Arguments {
    /// End by itself after this time of trading, such as 60s, with two kill -9 of the host and a new column on the way;
    /// without it, Ctrl-C ends it
    #[arg(long = "for", value_name = "DURATION")]
    time: Option<humantime::Duration>,
    /// Changed rows a second
    #[arg(long, default_value_t = 40)]
    rate: usize,
    /// The seed of the shop's random numbers
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The events of a run with `--for`, each at its part of the time.
#[derive(Debug, Clone, Copy)]
enum Event {
    KillHost,
    AddColumn,
}

fn main() -> ExitCode {
    // The harness panics where something is not as it should be; here a person reads that.
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("an error without words");
        eprintln!("\nshop: {text}");
    }));
    let arguments = Arguments::parse();
    let interrupted = Arc::new(AtomicBool::new(false));
    let seen = interrupted.clone();
    ctrlc::set_handler(move || seen.store(true, Ordering::Relaxed)).expect("the first handler");

    println!("shop: starting PostgreSQL, Kafka, Kafka Connect and a host, and building the transforms (half a minute)");
    let kafka = KafkaCluster::start(1);
    let mut shop = Shop::open(&kafka, arguments.seed);
    show_addresses(&shop, &kafka);
    trade(&mut shop, &arguments, &interrupted);

    println!("shop: no more changes; waiting until all of them have arrived");
    shop.settle();
    let mut equal = true;
    for comparison in shop.compare() {
        println!("{comparison}");
        comparison.differences().iter().for_each(|difference| eprintln!("  {difference}"));
        equal &= comparison.is_equal();
    }
    println!("shop: {}", if equal { "every sink is equal to what SQL over the source says" } else { "NOT equal" });
    if equal { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Changes rows at the rate, until the time is over or somebody interrupts.
fn trade(shop: &mut Shop<'_>, arguments: &Arguments, interrupted: &AtomicBool) {
    let started = Instant::now();
    let whole = arguments.time.map(Duration::from);
    let at = |quarters| whole.map(|whole| whole * quarters / 4);
    let mut events = [(at(1), Event::KillHost), (at(2), Event::AddColumn), (at(3), Event::KillHost)].into_iter().peekable();
    let mut next_report = REPORT_EVERY;
    let per_round = (arguments.rate * ROUND.as_millis() as usize / 1_000).max(1);
    for round in 1_u32.. {
        let elapsed = started.elapsed();
        if interrupted.load(Ordering::Relaxed) || whole.is_some_and(|whole| elapsed >= whole) {
            return;
        }
        shop.trade(per_round);
        if let Some((_, event)) = events.next_if(|(at, _)| at.is_some_and(|at| elapsed >= at)) {
            match event {
                Event::KillHost => {
                    println!("shop: kill -9 {} (the host); {MISSED} changes without one, then a new one", pid(shop));
                    shop.kill_host(MISSED);
                }
                Event::AddColumn => {
                    println!("shop: ALTER TABLE new_orders ADD COLUMN coupon text");
                    shop.add_column();
                }
            }
        }
        if shop.host.has_ended() {
            println!("shop: the host is gone; starting it again");
            shop.host.start_again();
        }
        if elapsed >= next_report {
            report(shop, elapsed);
            next_report = elapsed + REPORT_EVERY;
        }
        std::thread::sleep((ROUND * round).saturating_sub(started.elapsed()));
    }
}

fn report(shop: &Shop<'_>, elapsed: Duration) {
    let changes: usize = shop.done.values().sum();
    let sinks: Vec<String> = SINKS
        .iter()
        .map(|sink| {
            let expected = shop.postgres.value(SOURCE.name, &format!("SELECT count(*) FROM ({}) AS row", sink.expected));
            let actual = shop.postgres.value(sink.database, &format!("SELECT count(*) FROM {}", sink.table));
            format!("{}.{}: {actual} rows of {expected}", sink.database, sink.table)
        })
        .collect();
    println!("shop: {:>4} s, {changes} changes; {}", elapsed.as_secs(), sinks.join(", "));
}

fn show_addresses(shop: &Shop<'_>, kafka: &KafkaCluster) {
    let psql = |database: &str| format!("psql -h 127.0.0.1 -p {} -U postgres {database}", shop.postgres.port());
    let host = shop.host.address();
    let connect = shop.connect.address();
    println!("shop: it is open. Kafka: {}, its logs: {}", kafka.brokers(), shop.host.log().display());
    println!("\nTry (in another terminal):");
    println!("    {} -c \"UPDATE new_orders SET status = 'cancelled' WHERE order_id % 10 = 0\"", psql(SOURCE.name));
    println!("    {} -c 'ALTER TABLE new_orders ADD COLUMN voucher text'", psql(SOURCE.name));
    for sink in SINKS {
        println!("    {} -c 'SELECT * FROM {} ORDER BY 1 DESC LIMIT 5'", psql(sink.database), sink.table);
    }
    for transform in TRANSFORMS {
        let (team, name) = transform.name.split_once('/').expect("team/name");
        println!("    curl http://{host}/v1/teams/{team}/transforms/{name}/status");
    }
    println!("    curl 'http://{connect}/connectors?expand=status'");
    println!("    {} --url http://{host} list", dirs::sandbar().display());
    println!("    kill -9 {}    # the host: another one is started, and goes on where it had committed", pid(shop));
    println!();
}

fn pid(shop: &Shop<'_>) -> u32 {
    shop.host.pid().expect("the host runs")
}
