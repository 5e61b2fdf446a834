//! The web shop with all its real parts: PostgreSQL -> Debezium -> Kafka -> transforms -> JDBC sinks -> PostgreSQL.
//!
//! [`plan`] lists its parts. `make shop` (`src/main.rs`) and the test (`tests/e2e/shop.rs`) are two ways to use the
//! [`Shop`] of this crate. The crate stands above `sandbar-harness`, which starts the processes, and `sandbar-shop`,
//! which makes up the changes; neither knows it.

pub mod compare;
pub mod plan;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sandbar_harness::{Connect, Host, KafkaCluster, Postgres, Progress, guests, topics, wait};
use sandbar_shop::{Kind, Statements};
use serde_json::Value;

use compare::Comparison;
use plan::{
    DATABASES, PARTITIONS, RESTOCKS, SINKS, SLOT, SOURCE, SOURCE_CONNECTOR, TOPICS, TRANSFORMS, Transform, VARIABLES,
};

/// The cluster of hosts, and the group of the Connect worker.
const NAME: &str = "shop";
/// Statements before anything captures them: the connector's snapshot finds their rows.
const BEFORE_SNAPSHOT: usize = 100;
/// Changes that a host or a worker is killed over.
const WORK: usize = 200;
/// On a loaded machine the transactions of a killed host stay open until the next one takes over.
const SETTLE_WITHIN: Duration = Duration::from_secs(120);
/// Two ticks of the slowest transform, and their way to the sink.
const TICKS: Duration = Duration::from_secs(75);

/// A running shop. Its parts end in the order of the fields when it is dropped.
pub struct Shop<'k> {
    pub host: Host,
    pub connect: Connect,
    pub postgres: Postgres,
    kafka: &'k KafkaCluster,
    statements: Statements,
    /// The number of changes of the shop's tables so far, by kind.
    pub done: BTreeMap<Kind, usize>,
}

// === impl Shop ===

impl<'k> Shop<'k> {
    /// Starts everything, and waits until changes of the shop's tables stream.
    #[track_caller]
    pub fn open(kafka: &'k KafkaCluster, seed: u64) -> Shop<'k> {
        for compacted in [false, true] {
            let names = TOPICS.iter().filter(|topic| topic.compacted == compacted).map(|topic| topic.name);
            let policy = if compacted { "compact" } else { "delete" };
            topics::create_with(kafka, &names.collect::<Vec<_>>(), PARTITIONS, &[("cleanup.policy", policy)]);
        }
        let postgres = Postgres::start();
        for database in [&SOURCE].into_iter().chain(DATABASES) {
            postgres.create(database.name, database.script);
        }
        // The slow ones at once: a JVM, a host, and building the modules.
        let (host, connect) = std::thread::scope(|scope| {
            let port = postgres.port().to_string();
            let variables = VARIABLES.iter().map(|(name, value)| ((*name).to_owned(), value.replace("{port}", &port)));
            let variables = variables.collect();
            let connect = scope.spawn(|| Connect::start(kafka, NAME, variables));
            let host = Host::start(kafka, NAME);
            TRANSFORMS.iter().for_each(|transform| drop(guests::component(transform.directory)));
            (host, connect.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        // At noon of yesterday: the orders of a run are all of one day, wherever it runs.
        let noon = "SELECT (extract(epoch FROM date_trunc('day', now() AT TIME ZONE 'UTC')) - 43200)::bigint * 1000000";
        let start_us = postgres.value(SOURCE.name, noon).parse().expect("a number");
        let statements = Statements::new(seed, start_us);
        let mut shop = Shop { host, connect, postgres, kafka, statements, done: BTreeMap::new() };
        shop.trade(BEFORE_SNAPSHOT);
        let sinks = SINKS.iter().map(|sink| (sink.connector, sink.config));
        for (connector, config) in [SOURCE_CONNECTOR].into_iter().chain(sinks) {
            shop.connect.configure(connector, &serde_json::from_str(config).expect("a configuration is JSON"));
        }
        shop.wait_streaming();
        shop.wait_captured();
        // Now that the snapshot is in Kafka: a transform that looks products up finds them from its first record on.
        for transform in TRANSFORMS {
            let module = guests::component(transform.directory);
            shop.host.api().deploy_manifest(transform.name, transform.manifest, &module);
        }
        shop
    }

    /// Changes `count` rows of the shop's tables, each in a transaction of its own.
    #[track_caller]
    pub fn trade(&mut self, count: usize) {
        let mut script = String::new();
        for statement in self.statements.by_ref().take(count) {
            script.push_str(&statement.sql);
            script.push('\n');
            *self.done.entry(statement.kind).or_default() += 1;
        }
        self.postgres.run(SOURCE.name, &script);
    }

    /// Adds a column to the orders, and fills it where there is an order already.
    #[track_caller]
    pub fn add_column(&self) {
        let script = "ALTER TABLE new_orders ADD COLUMN coupon text;\n\
                      UPDATE new_orders SET coupon = 'SPRING', version = version + 1 WHERE order_id % 7 = 0;";
        self.postgres.run(SOURCE.name, script);
    }

    /// `kill -9` to the host, in the middle of its work. The shop goes on trading while there is none; then it is started
    /// again.
    #[track_caller]
    pub fn kill_host(&mut self, trades_meanwhile: usize) {
        let first = &TRANSFORMS[0];
        let progress = Progress::new(self.kafka, &group(first), &inputs(first.manifest)[0]);
        let before = progress.total();
        self.trade(WORK);
        // A part is committed, so the host is at work and not still starting, and there is more behind it.
        wait::until("the host works", wait::PATIENCE, || {
            if progress.total() > before { Ok(()) } else { Err(format!("{} has committed {before}", first.name)) }
        });
        self.host.kill9();
        self.trade(trades_meanwhile);
        self.host.start_again();
    }

    /// `kill -9` to the Connect worker, in the middle of its work, and a new one after some trading.
    #[track_caller]
    pub fn kill_connect(&mut self, trades_meanwhile: usize) {
        self.trade(WORK);
        self.connect.kill9();
        self.trade(trades_meanwhile);
        self.connect.start_again();
        self.connect.wait_ready();
        self.wait_streaming();
    }

    /// A RUNNING connector may still be far from streaming: the holder of the replication slot counts.
    fn wait_streaming(&self) {
        let active = format!("SELECT active FROM pg_replication_slots WHERE slot_name = '{SLOT}'");
        wait::until("Debezium streams", wait::PATIENCE, || {
            self.connect.assert_alive(SOURCE_CONNECTOR.0);
            let rows = self.postgres.try_query(SOURCE.name, &active)?;
            if rows == ["t"] { Ok(()) } else { Err(format!("slot {SLOT} active: {rows:?}")) }
        });
    }

    /// Waits until all that was done to the shop's tables so far has gone its whole way: link by link, so that no sink
    /// is equal just because nothing has arrived yet.
    #[track_caller]
    pub fn settle(&self) {
        self.wait_captured();
        for transform in TRANSFORMS {
            for input in inputs(transform.manifest) {
                Progress::new(self.kafka, &group(transform), &input).wait_records(self.kafka, SETTLE_WITHIN, || {});
            }
        }
        for sink in SINKS {
            let progress = Progress::new(self.kafka, &format!("connect-{}", sink.connector), sink.topic);
            progress.wait_records(self.kafka, SETTLE_WITHIN, || self.connect.assert_alive(sink.connector));
        }
    }

    /// Waits until the connector has written the last change, which is one of our own: the connector writes the changes
    /// in the order of their commits.
    fn wait_captured(&self) {
        let insert = "INSERT INTO restocks (product_id, quantity) VALUES (1, 1) RETURNING restock_id";
        let last = format!("\"restock_id\":{},", self.postgres.value(SOURCE.name, insert));
        wait::until(&format!("Debezium has captured {last}"), SETTLE_WITHIN, || {
            self.connect.assert_alive(SOURCE_CONNECTOR.0);
            let records = topics::read_committed(self.kafka, RESTOCKS);
            let captured = records.iter().any(|record| record.value_text().contains(&last));
            if captured { Ok(()) } else { Err(format!("{} records are there", records.len())) }
        });
    }

    /// Reads each sink's table beside the result of SQL over the source, once all has settled. A transform that ticks
    /// may still send something after that, so a difference is looked at again for a while.
    #[track_caller]
    pub fn compare(&self) -> Vec<Comparison> {
        let deadline = Instant::now() + TICKS;
        loop {
            let comparisons: Vec<_> = SINKS.iter().map(|sink| Comparison::read(&self.postgres, sink)).collect();
            if comparisons.iter().all(Comparison::is_equal) || Instant::now() > deadline {
                return comparisons;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The consumer group of a transform.
fn group(transform: &Transform) -> String {
    format!("sandbar.{NAME}.{}", transform.name.replace('/', "."))
}

/// The topics that a manifest names as inputs.
fn inputs(manifest: &str) -> Vec<String> {
    let manifest: Value = serde_norway::from_str(manifest).expect("a manifest is YAML");
    let inputs = manifest["inputs"].as_array().expect("it has inputs");
    inputs.iter().map(|input| input.as_str().expect("an input is a topic").to_owned()).collect()
}
