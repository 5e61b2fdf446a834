//! Tools for the author of a transform: they need no host.

mod build;
mod new;
mod run;

pub use build::BuildArgs;
pub use new::NewArgs;
pub use run::RunArgs;
