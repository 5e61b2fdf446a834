//! Upgrades: hosts of version 0.1 and of this one in one cluster, under load, on a real Kafka.
//!
//! These tests need the program of 0.1, which `make upgrade` builds first. So `make test` leaves them out.

mod changes;
mod fields;
#[path = "../job.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod job;
mod load;
mod newer_records;
mod pair;
mod roll;
#[path = "../stateful.rs"]
mod stateful;
mod workload;
