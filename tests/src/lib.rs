//! The harness of the end-to-end tests: real processes on this machine's loopback, and what is needed to look at them
//! from outside.
//!
//! [`KafkaCluster`] runs Apache Kafka, [`Host`] the `sandbar` binary; both can be killed, frozen and started again, and
//! neither outlives the test that started it. [`Producer`] and [`topics`] are the tests' own clients: what a test
//! claims about a topic was read by them, never told by the host.
//!
//! Nothing here sleeps and hopes: [`wait::until`] waits for a condition, and says what it waited for when time is up.
//! A test's randomness comes from [`Seed`], which is printed when the test fails.
//!
//! What a run leaves (logs, data) is under `target/e2e/`, and is removed by the next run.

pub mod child;
pub mod cli;
pub mod dirs;
pub mod guests;
pub mod host;
pub mod http;
pub mod kafka;
pub mod ports;
pub mod producer;
pub mod seed;
pub mod topics;
pub mod wait;

pub use cli::Cli;
pub use host::Host;
pub use http::{Api, Response};
pub use kafka::KafkaCluster;
pub use producer::{Message, Producer};
pub use seed::Seed;
pub use topics::{Progress, Record};
