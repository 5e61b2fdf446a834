//! The harness of the end-to-end tests: real processes on this machine's loopback, and what is needed to look at them
//! from outside.
//!
//! [`KafkaCluster`] runs Apache Kafka, [`Host`] the `sandbar` binary; both can be killed, frozen and started again, and
//! neither outlives the test that started it. Between them there can be a [`proxy`] that loses requests and replies. [`Producer`] and [`topics`] are the tests' own clients: what a test
//! claims about a topic was read by them, never told by the host.
//!
//! Nothing here sleeps and hopes: [`wait::until`] waits for a condition, and says what it waited for when time is up.
//! A test's randomness comes from [`Seed`], which is printed when the test fails.
//!
//! What a run leaves (logs, data) is under `target/e2e/`, and is removed by the next run.

pub mod child;
pub mod dirs;
pub mod guests;
pub mod host;
pub mod http;
pub mod kafka;
pub mod ports;
pub mod producer;
pub mod proxy;
pub mod seed;
pub mod topics;
pub mod wait;

pub use host::Host;
pub use http::{Api, Response};
pub use kafka::KafkaCluster;
pub use producer::{Message, Producer};
pub use seed::Seed;
pub use topics::{Progress, Record};
