//! The harness of the end-to-end tests: real processes on this machine's loopback, and what is needed to look at them
//! from outside.
//!
//! [`KafkaCluster`] runs Apache Kafka, [`Host`] the `sandbar` binary, [`Postgres`] and [`Connect`] what they say; they can
//! be killed, frozen and started again, and none outlives the test that started it. Between Kafka and a host there can be
//! a [`proxy`] that loses requests and replies. [`Producer`] and [`topics`] are the
//! tests' own clients: what a test claims about a topic was read by them, never told by the host.
//!
//! Nothing here sleeps and hopes: [`wait::until`] waits for a condition, and says what it waited for when time is up.
//! A test's randomness comes from [`Seed`], which is printed when the test fails.
//!
//! What a run leaves (logs, data) is under `target/e2e/`, and is removed by the next run. PostgreSQL's data is in the
//! system's directory for temporary files: as root, it runs as a user who may not reach into the checkout.

pub mod browser;
pub mod child;
pub mod cli;
pub mod connect;
pub mod dirs;
pub mod guests;
pub mod host;
pub mod hostile;
pub mod http;
pub mod jvm;
pub mod kafka;
pub mod ports;
pub mod postgres;
pub mod producer;
pub mod proxy;
pub mod seed;
pub mod topics;
pub mod wait;

pub use cli::Cli;
pub use connect::Connect;
pub use host::Host;
pub use http::{Api, Response};
pub use kafka::KafkaCluster;
pub use postgres::Postgres;
pub use producer::{Message, Producer};
pub use seed::Seed;
pub use topics::{Progress, Record};
