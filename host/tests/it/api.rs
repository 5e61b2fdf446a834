//! The HTTP API of a host in this process, over an embedded log.

mod access;
mod catalog;
mod client_roles;
mod collect;
mod connections;
mod deployment;
mod dry_run;
mod fairness;
mod flow;
mod host;
mod http;
mod http2;
mod log;
mod logs;
mod offsets;
mod redaction;
mod state;
mod teams;
mod tls;
