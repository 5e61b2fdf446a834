//! The HTTP API: everything that a team or an operator does to a host, under `/v1`, and the routes that watch the host.
//!
//! A request is parsed at the edge (`request`, `body`), decided on a blocking thread (the catalog and the log block), and
//! answered with a type of [`crate::api_types`] or with problem details that have a code (`problem`). The API has no state
//! of its own: the catalog has the desired state, the [`Runtime`] the running state.
//!
//! A file here uses the files below it and never this one: `shared` has the parts that all handlers need, `routes` puts the
//! handlers together.

mod access;
mod audit;
pub(crate) mod body;
mod budget;
mod console;
mod control;
mod dead_letters;
mod deploy;
mod deployments;
mod dry_run;
mod flow;
mod follow_permits;
mod framing;
mod gate;
mod group;
mod limits;
mod logs;
mod metrics_page;
mod modules;
mod newest;
mod observe;
mod offsets;
mod openapi;
mod pages;
mod permits;
pub(crate) mod problem;
mod redaction;
mod redirects;
mod request;
mod request_id;
mod revisions;
mod routes;
mod runtime;
mod server;
mod shared;
mod sign_in;
mod state;
mod teams;
mod tokens;
mod topics;
mod transforms;
mod views;

pub use flow::FlowRecorder;
pub use gate::Gate;
pub use limits::ApiLimits;
pub use redirects::Redirects;
pub use routes::router;
pub use runtime::Runtime;
pub use server::{Server, ServerLimits, Tls, TlsFileError, TlsOptions};
pub use shared::{ApiState, OnRequest};
