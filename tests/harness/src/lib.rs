//! The harness of the end-to-end tests: real processes on this machine's loopback, and clients that look at them from
//! outside. It stands below `sandbar-shop-full`, `sandbar-e2e`, `sandbar-bench` and `sandbar-fuzz`, and uses no other
//! crate of this workspace: a test does not trust the code that it tests.
//!
//! [`KafkaCluster`] runs Apache Kafka, [`Host`] the `sandbar` binary, [`Postgres`] and [`Connect`] the servers of their
//! names. They can be killed, frozen and started again, and none outlives the test that started it. Between Kafka and a
//! host there can be a [`proxy`] that loses requests and replies. [`Producer`] and [`topics`] are the tests' own
//! clients: they have read every record that a test makes a claim about, and no host is asked.
//!
//! Nothing here sleeps and hopes: [`wait::until`] waits for a condition, and names it when time is up. A test's
//! randomness comes from [`Seed`], which is printed when the test fails.
//!
//! The files of a run (logs, data) are under `target/e2e/`, and the next run removes them. PostgreSQL's data is in the
//! system's directory for temporary files: as root, it runs as a user who may not reach into the checkout.

pub mod browser;
pub mod child;
pub mod cli;
pub mod connect;
pub mod console;
pub mod dirs;
pub mod guests;
pub mod host;
pub mod hostile;
pub mod http;
pub mod jvm;
pub mod kafka;
pub mod live_reader;
pub mod oidc;
pub mod ports;
pub mod postgres;
pub mod producer;
pub mod progress;
pub mod prometheus;
pub mod proxy;
pub mod registry;
pub mod secured;
pub mod seed;
pub mod token_provider;
pub mod topics;
pub mod wait;
pub mod wall_clock;

pub use cli::Cli;
pub use connect::Connect;
pub use host::Host;
pub use http::{Api, Response};
pub use kafka::{KafkaCluster, OwnKafka};
pub use live_reader::LiveReader;
pub use oidc::OidcProvider;
pub use postgres::Postgres;
pub use producer::{Message, Producer};
pub use progress::Progress;
pub use prometheus::Prometheus;
pub use secured::SecuredKafka;
pub use seed::Seed;
pub use token_provider::TokenProvider;
pub use topics::Record;
pub use wall_clock::WallClock;
