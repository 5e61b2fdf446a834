//! Sandbar: runs teams' sandboxed WebAssembly transforms next to Kafka, exactly once.
//!
//! `ARCHITECTURE.md` is the map. The data plane (`worker`, `task`, `guest`, `kafka`, `embedded`) is synchronous
//! threads; the control plane (`api`, `catalog`, `supervisor`) is tokio.

pub mod access;
pub mod api;
pub mod api_types;
pub mod app;
pub mod audit;
pub mod backup;
pub mod bounded_input;
pub mod catalog;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod cpu;
pub mod crashes;
pub mod deployment;
pub mod embedded;
pub mod followed_file;
pub mod fuzzing;
pub mod guest;
pub mod kafka;
pub mod model;
pub mod oidc;
pub mod otlp;
pub mod placement;
pub mod ports;
pub mod positions;
pub mod private_file;
pub mod record_json;
pub mod round_robin;
pub mod secrets;
pub mod state;
pub mod steady_clock;
pub mod stores;
pub mod supervisor;
pub mod system_clock;
pub mod task;
pub mod teams;
pub mod telemetry;
pub mod threads;
pub mod topics;
pub mod trust;
pub mod worker;
