//! End-to-end tests: the real `sandbar` binary on the real Apache Kafka. One binary, so that Kafka starts once.

mod bad_input;
mod browser;
mod catalog;
mod cli;
mod cluster;
mod collect;
mod conformance;
mod control_topics;
mod exactly_once;
mod faults;
mod formats;
mod graceful;
mod harness;
mod hostile;
mod hostile_corpus;
mod job;
mod lost_requests;
mod observe;
mod offsets;
mod quarantine;
mod query;
mod shop;
mod state;
mod state_stops;
mod stateful;
mod swap;
