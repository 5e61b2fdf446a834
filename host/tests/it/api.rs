//! The HTTP API of a host in this process, over an embedded log.

mod catalog;
mod collect;
mod connections;
mod deployment;
mod dry_run;
mod fairness;
mod host;
mod http;
mod log;
mod logs;
mod offsets;
mod state;
mod teams;
