//! Tests of the host that need no Kafka, in one binary: wasmtime is linked once for all of them.

mod api;
mod backup;
mod changes;
mod cli;
mod cold_restart;
mod config_page;
mod docs;
mod guest;
mod instructions;
mod oidc;
mod otlp;
mod positions;
mod simulation;
mod stores;
mod supervisor;
mod support;
mod tables;
mod worker;
