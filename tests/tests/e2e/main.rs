//! End-to-end tests: the real `sandbar` binary on the real Apache Kafka. One binary, so that Kafka starts once.

mod bad_input;
mod catalog;
mod cluster;
mod conformance;
mod exactly_once;
mod faults;
mod graceful;
mod harness;
mod hostile;
mod job;
mod lost_requests;
mod offsets;
mod state;
mod state_stops;
mod stateful;
mod swap;
